//! `paychip vault`: the master keys, sealed in the data folder or in a PKCS#11 token. No key is ever shown.

use std::path::Path;

use serde_json::{Value, json};
use server::{MasterKeyView, Passphrase, StoredVault, TokenAccess, VaultFault};

use crate::cli::{VaultArgs, VaultCommand};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

/// Leaves no copy of this process's memory on a disk when it dies, and lets no other process of this user read it.
pub(crate) fn forbid_memory_dumps() -> Result<(), Fault> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let failed = |error: rustix::io::Errno| Fault::internal(format!("core dumps cannot be turned off: {error}"));
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(failed)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed)?;
    }
    Ok(())
}

/// A vault's fault as this program's.
pub(crate) fn told(fault: &VaultFault) -> Fault {
    Fault::new(fault.code(), fault.to_string())
}

pub(crate) fn run(place: &Place, command: &VaultCommand, vault: &VaultArgs, output: Output) -> Result<(), Fault> {
    forbid_memory_dumps()?;
    let opener = match vault.token()? {
        Some(token) => Opener::Token(token, vault.passphrase()?),
        // Nobody is asked for a passphrase that is of no use.
        None if place.data.join(server::TOKEN_FILE).exists() => return Err(told(&server::TokenFault::Needed.into())),
        None => Opener::Passphrase(match vault.passphrase()? {
            Some(given) => given,
            None => typed(output)?,
        }),
    };
    change(place, command, &opener).map(|versions| tell(&versions, output)).map_err(|fault| told(&fault))
}

/// What opens the vault that is meant.
enum Opener {
    Passphrase(Passphrase),
    /// A token, and the passphrase of a sealed vault that goes into it.
    Token(TokenAccess, Option<Passphrase>),
}

impl Opener {
    fn init(&self, folder: &Path) -> Result<StoredVault, VaultFault> {
        match self {
            Self::Passphrase(given) => StoredVault::init(folder, given),
            Self::Token(token, _) => StoredVault::init_in_token(folder, token),
        }
    }

    fn seal(&self, folder: &Path) -> Result<StoredVault, VaultFault> {
        match self {
            Self::Passphrase(given) => StoredVault::seal(folder, given),
            Self::Token(..) => Err(VaultFault::KeyInToken),
        }
    }

    fn import(&self, folder: &Path) -> Result<StoredVault, VaultFault> {
        match self {
            Self::Passphrase(_) => Err(server::TokenFault::Needed.into()),
            Self::Token(token, passphrase) => StoredVault::import(folder, token, passphrase.as_ref()),
        }
    }

    fn open(&self, folder: &Path) -> Result<StoredVault, VaultFault> {
        match self {
            Self::Passphrase(given) => StoredVault::open(folder, given),
            Self::Token(token, _) => StoredVault::open_in_token(folder, token),
        }
    }
}

fn change(place: &Place, command: &VaultCommand, opener: &Opener) -> Result<Vec<MasterKeyView>, VaultFault> {
    let folder = place.data.as_path();
    let open = || opener.open(folder);
    let vault = match command {
        VaultCommand::Init => opener.init(folder)?,
        VaultCommand::Seal => opener.seal(folder)?,
        VaultCommand::Import => opener.import(folder)?,
        VaultCommand::Show => open()?,
        VaultCommand::Rotate { prepare: true } => changed(open()?, StoredVault::prepare)?,
        VaultCommand::Rotate { prepare: false } => changed(open()?, StoredVault::rotate)?,
        VaultCommand::Activate => changed(open()?, StoredVault::activate)?,
        VaultCommand::Retire { version } => changed(open()?, |vault| vault.retire(*version))?,
        VaultCommand::ChangePassphrase { new_passphrase_file } => {
            let new = Passphrase::File(new_passphrase_file.clone());
            changed(open()?, |vault| vault.change_passphrase(&new))?
        }
    };
    Ok(vault.versions())
}

fn changed(
    mut vault: StoredVault,
    change: impl FnOnce(&mut StoredVault) -> Result<(), VaultFault>,
) -> Result<StoredVault, VaultFault> {
    change(&mut vault)?;
    Ok(vault)
}

fn typed(output: Output) -> Result<Passphrase, Fault> {
    output.prompt("passphrase of the key vault (it is shown as you type; --passphrase-file does not)");
    let mut line = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_line(&mut line).map_err(|error| Fault::new("vault_passphrase_needed", error.to_string()))?;
    Passphrase::typed(&line).map_err(|fault| told(&fault))
}

fn tell(versions: &[MasterKeyView], output: Output) {
    let line = |key: &MasterKeyView| {
        let origin = if key.was_open { "  was once a development key in the open" } else { "" };
        format!(
            "  version {:<3} {:<9} check value {}{origin}",
            key.version,
            key.state.name(),
            hex::encode(key.check_value)
        )
    };
    let document = |key: &MasterKeyView| -> Value {
        json!({
            "version": key.version, "state": key.state.name(), "created_ms": key.created_ms,
            "was_open": key.was_open, "check_value": hex::encode(key.check_value),
        })
    };
    let lines: Vec<String> = versions.iter().map(line).collect();
    let documents: Vec<Value> = versions.iter().map(document).collect();
    output.answer(&format!("The master key:\n{}", lines.join("\n")), &json!({ "versions": documents }));
}
