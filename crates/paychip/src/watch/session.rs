//! The virtual chip's RAM between two commands of this program: the passcode session, in a file beside the flash.
//!
//! A real chip keeps it for as long as it has power. Here the power is the file: `watch lock`, a wrong passcode or
//! removing the file ends the session. It is no weaker than the flash file beside it, which holds the keys.

use std::io::ErrorKind;

use chip::virtual_chip::Ram;

use super::Watch;
use super::folder::WatchFolder;
use super::inside::WatchChip;
use crate::fault::Fault;
use crate::profile::write_private;

const RAM_FILE: &str = "chip.ram";

/// Gives a chip the RAM it had when it was kept.
pub(super) fn resume(folder: &WatchFolder, chip: &mut WatchChip) -> Result<(), Fault> {
    let path = folder.value(RAM_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            // Anything but a whole, valid image is a power loss: the session is closed.
            if let Some(ram) = Ram::from_bytes(&bytes) {
                chip.restore(ram);
            }
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::file(&path, error)),
    }
}

/// The chip loses its power: what it had in RAM is gone.
pub(crate) fn forget(folder: &WatchFolder) -> Result<(), Fault> {
    let path = folder.value(RAM_FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::file(&path, error)),
        _ => Ok(()),
    }
}

/// Keeps the RAM of a watch's chip for the next command.
pub(super) fn keep(folder: &WatchFolder, mut watch: Watch) -> Result<(), Fault> {
    match watch.host_mut().chip_mut().ram() {
        Some(ram) => write_private(&folder.value(RAM_FILE), &ram.to_bytes()),
        None => Ok(()),
    }
}
