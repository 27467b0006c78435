//! A virtual watch's folder: the flash of its chip, and the little its own processor remembers (nothing secret).

use std::path::{Path, PathBuf};

use chip::virtual_chip::VirtualChip;

use crate::fault::Fault;
use crate::profile::Place;

/// Where one watch lives.
#[derive(Debug, Clone)]
pub struct WatchFolder {
    path: PathBuf,
}

impl WatchFolder {
    /// The folder of the watch with this name.
    ///
    /// # Errors
    /// `watch_name`.
    pub fn named(place: &Place, name: &str) -> Result<Self, Fault> {
        let is_plain =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !is_plain {
            return Err(Fault::new("watch_name", "a watch's name holds letters, digits, - and _ only").at("watch"));
        }
        Ok(Self { path: place.data.join("watches").join(name) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn flash(&self) -> PathBuf {
        self.path.join("chip.flash")
    }

    /// A value of the SDK's own storage.
    pub fn value(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A new watch with a blank chip.
    ///
    /// # Errors
    /// `watch_exists`, or a fault of the file.
    pub fn create(&self) -> Result<VirtualChip, Fault> {
        if self.flash().exists() {
            let message = format!("there is a watch in {} already", self.path.display());
            return Err(Fault::new("watch_exists", message).hint("choose another name with --watch NAME"));
        }
        std::fs::create_dir_all(&self.path).map_err(|error| Fault::file(&self.path, error))?;
        VirtualChip::create(self.flash()).map_err(|error| Fault::new("chip", error.to_string()))
    }

    /// The watch's chip, powered up.
    ///
    /// # Errors
    /// `no_watch`, or a fault of the chip.
    pub fn open(&self) -> Result<VirtualChip, Fault> {
        if !self.flash().exists() {
            let message = format!("there is no watch in {}", self.path.display());
            return Err(Fault::new("no_watch", message).hint("make one with `paychip watch new`"));
        }
        VirtualChip::open(self.flash()).map_err(|error| Fault::new("chip", error.to_string()))
    }

    /// A copy of everything, as a thief who could read the chip's flash would make it.
    ///
    /// # Errors
    /// A fault with the path.
    pub fn copy_to(&self, other: &Self) -> Result<(), Fault> {
        std::fs::create_dir_all(&other.path).map_err(|error| Fault::file(&other.path, error))?;
        for entry in std::fs::read_dir(&self.path).map_err(|error| Fault::file(&self.path, error))? {
            let entry = entry.map_err(|error| Fault::file(&self.path, error))?;
            let to = other.path.join(entry.file_name());
            std::fs::copy(entry.path(), &to).map_err(|error| Fault::file(&to, error))?;
        }
        Ok(())
    }
}
