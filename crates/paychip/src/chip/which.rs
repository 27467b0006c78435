//! Finds the chip that is meant. Every command powers it up and down again: sessions do not outlive it.

use ::chip::virtual_chip::VirtualChip;

use super::Card;
use super::command::WhichChip;
use super::pcscd::Service;
use crate::fault::Fault;
use crate::profile::Place;
use crate::watch::folder::WatchFolder;
use crate::watch::session;

/// The chip that is meant, powered up.
pub(super) fn open(place: &Place, which: &WhichChip) -> Result<Box<dyn Card + Send>, Fault> {
    if let Some(reader) = &which.reader {
        return Ok(Box::new(Service::connect()?.open(reader)?));
    }
    if let Some(file) = &which.flash {
        if !file.exists() {
            let message = format!("there is no chip in {}", file.display());
            return Err(Fault::new("no_chip", message).hint("make a blank one with `paychip chip new --flash FILE`"));
        }
        let chip = VirtualChip::open(file).map_err(|error| Fault::new("chip", error.to_string()))?;
        return Ok(Box::new(chip));
    }
    let folder = WatchFolder::named(place, &which.watch)?;
    let chip = folder.open()?;
    session::forget(&folder)?;
    Ok(Box::new(chip))
}

/// A blank chip in a new file.
pub(super) fn create(which: &WhichChip) -> Result<String, Fault> {
    let Some(file) = &which.flash else {
        return Err(Fault::new("no_file", "name the file of the new chip with --flash FILE")
            .hint("a watch and its chip are made with `paychip watch new`"));
    };
    VirtualChip::create(file).map_err(|error| Fault::new("chip", error.to_string()))?;
    Ok(file.display().to_string())
}

/// The names of the virtual watches in the data folder.
pub(super) fn watches(place: &Place) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place.data.join("watches")) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.path().join("chip.flash").exists());
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
