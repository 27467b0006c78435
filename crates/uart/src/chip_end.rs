//! The chip's end of the line: bytes come in, a command is run once, frames go out.

use crate::frame::{Frame, Kind, MAX_PAYLOAD_BYTES, Receiver, State};
use zeroize::Zeroize;

/// What stands behind the line.
pub trait Card {
    /// A reset without loss of power; and what the chip is.
    fn reset(&mut self) -> State;

    /// Makes a blank chip, where there is none.
    fn create(&mut self) -> State;

    /// Answers a command APDU; gives the length of the answer.
    fn process(&mut self, command: &[u8], answer: &mut [u8]) -> usize;

    /// Answers a question of a measurement; gives the length of the answer. A product answers nothing.
    fn measure(&mut self, question: &[u8], answer: &mut [u8]) -> usize {
        let _ = (question, answer);
        0
    }
}

/// The chip's end.
#[derive(Debug)]
pub struct ChipEnd {
    receiver: Receiver,
    /// The number of the last frame obeyed; none before the first reset.
    last: Option<u8>,
    /// The answer to it, kept until the next one is wanted, in case it is lost.
    kept: Kept,
}

#[derive(Debug)]
struct Kept {
    kind: Kind,
    bytes: [u8; MAX_PAYLOAD_BYTES],
    used: usize,
}

impl Kept {
    /// Wipes what was kept and keeps what `answer` writes.
    fn replace(&mut self, kind: Kind, answer: impl FnOnce(&mut [u8]) -> usize) {
        if let Some(used) = self.bytes.get_mut(..self.used) {
            used.zeroize();
        }
        self.kind = kind;
        self.used = answer(&mut self.bytes).min(MAX_PAYLOAD_BYTES);
    }
}

impl Default for ChipEnd {
    fn default() -> Self {
        Self::new()
    }
}

impl ChipEnd {
    /// Waits for a reset.
    #[must_use]
    pub const fn new() -> Self {
        let kept = Kept { kind: Kind::Ready, bytes: [0; MAX_PAYLOAD_BYTES], used: 0 };
        Self { receiver: Receiver::new(), last: None, kept }
    }

    /// Takes the next byte from the line; what is to be sent goes to `send`.
    pub fn receive(&mut self, byte: u8, card: &mut impl Card, mut send: impl FnMut(&[u8])) {
        let Some(frame) = self.receiver.push(byte) else {
            return;
        };
        let sequence = frame.sequence;
        let is_next = self.last.is_some_and(|last| sequence == last.wrapping_add(1));
        let ready = |state: State| move |answer: &mut [u8]| written(answer, &[crate::VERSION, state as u8]);
        match frame.kind {
            Kind::Reset => {
                let state = card.reset();
                self.kept.replace(Kind::Ready, ready(state));
            }
            // What is sent again gets the answer again. Nothing is run twice.
            _ if self.last == Some(sequence) => {}
            Kind::Create if is_next => {
                let state = card.create();
                self.kept.replace(Kind::Ready, ready(state));
            }
            Kind::Command if is_next => {
                Frame { kind: Kind::Accepted, sequence, payload: &[] }.send(&mut send);
                self.kept.replace(Kind::Answer, |answer| card.process(frame.payload, answer));
            }
            Kind::Measure if is_next => {
                self.kept.replace(Kind::Measured, |answer| card.measure(frame.payload, answer));
            }
            // Out of turn, or not for a chip: whoever sent it has lost count, and has to reset.
            _ => return,
        }
        self.last = Some(sequence);
        let payload = self.kept.bytes.get(..self.kept.used).unwrap_or_default();
        Frame { kind: self.kept.kind, sequence, payload }.send(send);
    }
}

fn written(answer: &mut [u8], bytes: &[u8]) -> usize {
    answer.get_mut(..bytes.len()).map_or(0, |to| {
        to.copy_from_slice(bytes);
        bytes.len()
    })
}
