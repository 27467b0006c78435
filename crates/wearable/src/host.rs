//! What the device maker writes: nine callbacks, three of which have a usable default.
//! None of them may call back into the SDK, and none sees a secret it could leak: keys exist only inside
//! the chip, and a passcode passes through [`Host::se_exchange`] only.

/// A callback could not do its work. The maker logs the reason; the SDK only needs to know that it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFault;

/// What the SDK keeps across a reboot. No key is in it; losing it costs at most one repeated binding step and the last
/// results. Who was paid is the wearer's business: keep it as you keep the wearer's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// How far binding has come: [`Host::store`] is given at most 32 bytes.
    Progress,
    /// What became of the last payments: [`Host::store`] is given 453 bytes, after a sync that told something.
    Results,
}

impl Key {
    /// A short name, for makers whose storage is files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Progress => "paychip-progress",
            Self::Results => "paychip-results",
        }
    }
}

/// What kind of device this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device<'a> {
    /// Model, as the maker's contract names it.
    pub model: &'a str,
    /// Serial number or address, for the help desk; not used for security.
    pub id: &'a str,
}

/// The device under the SDK.
pub trait Host {
    /// Sends one command APDU to the secure element, waits for the whole answer and returns its length.
    ///
    /// Promise: all of the answer or a fault, never a part; at least 260 bytes each way; no retry (a
    /// command that may have run must not run twice); gives up after about two seconds.
    fn se_exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, HostFault>;

    /// Powers the secure element up or down. A chip that is always powered keeps the default.
    ///
    /// Promise: after `true` returns the chip answers. Powering down closes the passcode session.
    fn se_power(&mut self, on: bool) -> Result<(), HostFault> {
        let _ = on;
        Ok(())
    }

    /// Sends one frame to the phone (BLE notification) or to the open connection.
    ///
    /// Promise: the frame arrives whole or not at all, in order; a full queue is a fault, and the SDK
    /// tries again at the next poll.
    fn link_send(&mut self, frame: &[u8]) -> Result<(), HostFault>;

    /// Longest frame the link takes, in bytes. 20 is what every BLE link carries.
    fn link_mtu(&self) -> usize {
        20
    }

    /// The wall clock: seconds since 1970-01-01 00:00 UTC. The chip bounds how far it can be wrong.
    fn unix_time_s(&self) -> u64;

    /// Reads a stored value into the buffer and returns its length, 0 if there is none.
    fn load(&mut self, key: Key, value: &mut [u8]) -> Result<usize, HostFault>;

    /// Stores a value so that it survives a reboot: the old or the new value, never a mixture.
    fn store(&mut self, key: Key, value: &[u8]) -> Result<(), HostFault>;

    /// Writes a line to the maker's log. It never holds a code, a passcode or a key.
    fn log(&mut self, line: &str) {
        let _ = line;
    }

    /// What device this is.
    fn device(&self) -> Device<'_>;
}
