//! What is remembered between commands, in the data folder: where the cloud is, and the keys of the accounts and
//! shops made here. A play of one person on one machine; real wallets and tills keep their own keys.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::fault::Fault;

const PROFILE_FILE: &str = "profile.json";
const URL_FILE: &str = "server.url";

/// The data folder and the cloud's URL, as the command line gave them.
#[derive(Debug, Clone)]
pub struct Place {
    /// The data folder.
    pub data: PathBuf,
    /// The URL given, if one was.
    pub server: Option<String>,
}

/// Someone whose key is kept here.
#[derive(Clone, Serialize, Deserialize)]
pub struct Party {
    /// The name.
    pub name: String,
    /// The cloud's id.
    pub id: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The wallet key or API key.
    pub key: String,
}

/// The accounts and shops made here, oldest first.
#[derive(Default, Serialize, Deserialize)]
pub struct Profile {
    /// Wearers.
    pub accounts: Vec<Party>,
    /// Shops.
    pub merchants: Vec<Party>,
}

impl Place {
    /// The cloud's URL.
    ///
    /// # Errors
    /// `no_server` where none was given and none was started here.
    pub fn url(&self) -> Result<String, Fault> {
        if let Some(url) = &self.server {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        let path = self.data.join(URL_FILE);
        match fs::read_to_string(&path) {
            Ok(url) => Ok(url.trim().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = format!("no cloud has been started in {}", self.data.display());
                Err(Fault::new("no_server", message)
                    .hint("start one with `paychip serve`, or name it with --server URL"))
            }
            Err(error) => Err(Fault::file(&path, error)),
        }
    }

    /// Remembers where the cloud listens.
    ///
    /// # Errors
    /// A fault with the path.
    pub fn write_url(&self, url: &str) -> Result<(), Fault> {
        let path = self.data.join(URL_FILE);
        fs::write(&path, format!("{url}\n")).map_err(|error| Fault::file(&path, error))
    }

    /// The cloud, as its operator.
    ///
    /// # Errors
    /// A fault with the path of the operator's key.
    pub fn operator(&self) -> Result<Api, Fault> {
        let path = self.data.join(server::OPERATOR_KEY_FILE);
        let key = std::env::var("PAYCHIP_OPERATOR_KEY").or_else(|_| fs::read_to_string(&path));
        let key = key.map_err(|error| {
            Fault::file(&path, error).hint("set PAYCHIP_OPERATOR_KEY, or use the cloud's own data folder")
        })?;
        Ok(Api::new(self.url()?, key.trim().to_owned()))
    }

    /// The cloud, as this party.
    ///
    /// # Errors
    /// Those of [`Place::url`].
    pub fn as_party(&self, party: &Party) -> Result<Api, Fault> {
        Ok(Api::new(self.url()?, party.key.clone()))
    }

    /// What is remembered; nothing in a new folder.
    ///
    /// # Errors
    /// A fault with the path.
    pub fn profile(&self) -> Result<Profile, Fault> {
        let path = self.data.join(PROFILE_FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Fault::file(&path, error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Profile::default()),
            Err(error) => Err(Fault::file(&path, error)),
        }
    }

    /// Changes the profile, atomically: the old or the new one is on disk.
    ///
    /// # Errors
    /// A fault with the path.
    pub fn update(&self, change: impl FnOnce(&mut Profile)) -> Result<(), Fault> {
        let mut profile = self.profile()?;
        change(&mut profile);
        let text = serde_json::to_vec_pretty(&profile).map_err(|error| Fault::internal(error.to_string()))?;
        write_private(&self.data.join(PROFILE_FILE), &text)
    }

    /// The account with this name or id; the newest when none is named.
    ///
    /// # Errors
    /// `no_account`.
    pub fn account(&self, name: Option<&str>) -> Result<Party, Fault> {
        let hint = "open one with `paychip account new NAME`";
        find(self.profile()?.accounts, name)
            .ok_or_else(|| Fault::new("no_account", "no such account was opened here").hint(hint))
    }

    /// The shop with this name or id; the newest when none is named.
    ///
    /// # Errors
    /// `no_merchant`.
    pub fn merchant(&self, name: Option<&str>) -> Result<Party, Fault> {
        let hint = "take one on with `paychip merchant new NAME`";
        find(self.profile()?.merchants, name)
            .ok_or_else(|| Fault::new("no_merchant", "no such shop was taken on here").hint(hint))
    }
}

fn find(parties: Vec<Party>, name: Option<&str>) -> Option<Party> {
    parties.into_iter().rev().find(|party| name.is_none_or(|name| party.name == name || party.id == name))
}

/// Replaces a file that only its owner may read; the old or the new one is there, never half of one.
///
/// # Errors
/// A fault with the path.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|error| Fault::file(folder, error))?;
    // A temporary file is made readable by its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| Fault::file(folder, error))?;
    std::io::Write::write_all(&mut file, bytes).map_err(|error| Fault::file(path, error))?;
    file.as_file().sync_all().map_err(|error| Fault::file(path, error))?;
    file.persist(path).map_err(|error| Fault::file(path, error.error))?;
    Ok(())
}
