//! A virtual watch's folder: the flash of its chip, and the little its own processor remembers (nothing secret). A chip
//! in QEMU also has its program there, as a chip has its ROM: that file is what tells such a watch from others.

use std::path::{Path, PathBuf};

use chip::virtual_chip::VirtualChip;

use super::inside::WatchChip;
use crate::chip::qemu::{Options, QemuChip};
use crate::factory::house::House;
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

    /// The program of a chip in QEMU.
    fn image(&self) -> PathBuf {
        self.path.join("chip.elf")
    }

    /// A new watch with a blank chip whose code is in this program.
    ///
    /// # Errors
    /// `watch_exists`, or a fault of the file.
    pub fn create(&self) -> Result<WatchChip, Fault> {
        self.make()?;
        VirtualChip::create(self.flash()).map(WatchChip::Virtual).map_err(|error| Fault::new("chip", error.to_string()))
    }

    /// A new watch with a blank chip in QEMU, which runs this RISC-V image.
    ///
    /// # Errors
    /// `watch_exists`, `chip_image`, `chip_emulator`, or a fault of a file.
    pub fn create_in_qemu(&self, image: &Path) -> Result<WatchChip, Fault> {
        self.make()?;
        std::fs::copy(image, self.image()).map_err(|error| {
            Fault::new("chip_image", format!("{}: {error}", image.display()))
                .hint("make one with `cargo xtask firmware`, or name it with --image FILE")
        })?;
        QemuChip::create(&self.image(), &self.flash(), Options::default()).map(WatchChip::Qemu)
    }

    /// A new watch with the next chip of a maker's factory.
    ///
    /// # Errors
    /// `watch_exists`, `no_chips_left`, or a fault of a file.
    pub fn create_with_chip_of(&self, factory: &Path) -> Result<(), Fault> {
        self.make()?;
        House::take_chip(factory, &self.flash())
    }

    fn make(&self) -> Result<(), Fault> {
        if self.flash().exists() {
            let message = format!("there is a watch in {} already", self.path.display());
            return Err(Fault::new("watch_exists", message).hint("choose another name with --watch NAME"));
        }
        std::fs::create_dir_all(&self.path).map_err(|error| Fault::file(&self.path, error))
    }

    /// The watch's chip, powered up.
    ///
    /// # Errors
    /// `no_watch`, or a fault of the chip.
    pub fn open(&self) -> Result<WatchChip, Fault> {
        if !self.flash().exists() {
            let message = format!("there is no watch in {}", self.path.display());
            return Err(Fault::new("no_watch", message).hint("make one with `paychip watch new`"));
        }
        if self.image().exists() {
            return QemuChip::open(&self.image(), &self.flash(), Options::default()).map(WatchChip::Qemu);
        }
        VirtualChip::open(self.flash()).map(WatchChip::Virtual).map_err(|error| Fault::new("chip", error.to_string()))
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
