//! A chip somewhere: in a file on this machine, in a reader, in an emulator. Whatever carries APDUs to it and back.

use ::chip::virtual_chip::VirtualChip;
use protocol::apdu::{Response, StatusWord};

use crate::fault::Fault;

/// The longest answer of a chip with its status word, bytes.
pub const ANSWER_BYTES: usize = ::chip::MAX_RESPONSE_BYTES;

/// Something that answers command APDUs. A new kind of chip (another reader, an emulator) is one more of these.
pub trait Card {
    /// Sends a command, writes the whole answer to `answer` ([`ANSWER_BYTES`] are enough) and returns its length.
    ///
    /// # Errors
    /// The chip could not be reached. Whether it obeyed is then not known.
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, Fault>;

    /// Resets the chip: its sessions end, what it keeps stays.
    ///
    /// # Errors
    /// The chip could not be reached.
    fn reset(&mut self) -> Result<(), Fault>;
}

impl Card for VirtualChip {
    fn exchange(&mut self, command: &[u8], answer: &mut [u8]) -> Result<usize, Fault> {
        Ok(self.process(command, answer))
    }

    fn reset(&mut self) -> Result<(), Fault> {
        Self::reset(self);
        Ok(())
    }
}

/// An answer: data and status word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The data field.
    pub data: Vec<u8>,
    /// SW1 SW2.
    pub status: StatusWord,
}

impl Reply {
    /// The data of an answer that must be 9000.
    ///
    /// # Errors
    /// `chip_refused`, with what was asked and the status word.
    pub fn accepted(self, asked: &str) -> Result<Vec<u8>, Fault> {
        if self.status.is_ok() {
            return Ok(self.data);
        }
        Err(Fault::new("chip_refused", format!("the chip answered {} to {asked}", self.status)))
    }
}

/// Sends a command and takes the answer apart.
///
/// # Errors
/// The chip could not be reached; `chip_protocol` where it answers less than a status word.
pub fn send(card: &mut dyn Card, command: &[u8]) -> Result<Reply, Fault> {
    let mut buffer = [0; ANSWER_BYTES];
    let length = card.exchange(command, &mut buffer)?;
    let response = Response::parse(buffer.get(..length).unwrap_or_default())
        .map_err(|error| Fault::new("chip_protocol", error.to_string()))?;
    Ok(Reply { data: response.data.to_vec(), status: response.status })
}
