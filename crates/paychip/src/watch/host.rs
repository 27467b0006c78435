//! The virtual watch's own side of the SDK: the eight callbacks a device maker writes.

use std::io::{ErrorKind, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use wearable::{Device, Host, HostFault, Key};

use super::folder::WatchFolder;
use super::inside::WatchChip;
use crate::chip::Card;

/// Frames the link holds before it is full, as a BLE stack's queue would be.
const LINK_FRAMES: usize = 64;

/// A watch on this machine: its chip, its folder, its link to the phone.
pub struct VirtualHost {
    chip: WatchChip,
    folder: WatchFolder,
    sent: Vec<Vec<u8>>,
    clock_ahead_s: u64,
}

impl VirtualHost {
    /// A watch around this chip.
    pub fn new(chip: WatchChip, folder: WatchFolder) -> Self {
        Self { chip, folder, sent: Vec::new(), clock_ahead_s: 0 }
    }

    /// Sets the watch's clock ahead of this machine's.
    pub fn set_clock_ahead(&mut self, seconds: u64) {
        self.clock_ahead_s = seconds;
    }

    /// The frames the watch has sent since the last call, as the phone receives them.
    pub fn take_sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent)
    }

    /// The chip, for what happens outside the SDK.
    pub fn chip_mut(&mut self) -> &mut WatchChip {
        &mut self.chip
    }
}

impl Host for VirtualHost {
    fn se_exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, HostFault> {
        self.chip.exchange(command, answer).map_err(|fault| {
            tracing::warn!(%fault, "the chip could not be reached");
            HostFault
        })
    }

    fn link_send(&mut self, frame: &[u8]) -> Result<(), HostFault> {
        if self.sent.len() >= LINK_FRAMES {
            return Err(HostFault);
        }
        self.sent.push(frame.to_vec());
        Ok(())
    }

    fn unix_time_s(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() + self.clock_ahead_s
    }

    fn load(&mut self, key: Key, value: &mut [u8]) -> Result<usize, HostFault> {
        match std::fs::read(self.folder.value(key.name())) {
            Ok(stored) => {
                let room = value.get_mut(..stored.len()).ok_or(HostFault)?;
                room.copy_from_slice(&stored);
                Ok(stored.len())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(_) => Err(HostFault),
        }
    }

    fn store(&mut self, key: Key, value: &[u8]) -> Result<(), HostFault> {
        let replace = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.folder.path())?;
            file.write_all(value)?;
            file.as_file().sync_all()?;
            file.persist(self.folder.value(key.name())).map_err(|error| error.error)?;
            Ok(())
        };
        replace().map_err(|_| HostFault)
    }

    fn log(&mut self, line: &str) {
        tracing::debug!(line, "watch");
    }

    fn device(&self) -> Device<'_> {
        Device { model: "virtual round watch 466", id: "virtual" }
    }
}
