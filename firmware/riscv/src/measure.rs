//! What an image built for measuring tells: instructions of the last command and of the start-up, the deepest stack,
//! and what the primitives under a payment code cost in this very image. Numbers are 32 bits, big-endian.
//!
//! | question | answer |
//! |---|---|
//! | `00` | instructions of the last command, of the start-up, deepest stack in bytes |
//! | `01` | one block each of AES-128, SHA-256, SM4, SM3; what a code of the international suite takes of them; and of the Chinese |

use board::time;

/// What has been counted.
pub(crate) struct Counts {
    start_up: u32,
    command: u32,
}

/// Counts until it is dropped.
pub(crate) struct Counting<'a> {
    began: u32,
    into: &'a mut u32,
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        *self.into = time::instructions().wrapping_sub(self.began);
    }
}

impl Counts {
    /// Called when the chip has just been opened.
    pub(crate) fn since_power_up() -> Self {
        Self { start_up: time::instructions(), command: 0 }
    }

    /// Counts a command.
    pub(crate) fn command(&mut self) -> Counting<'_> {
        Counting { began: time::instructions(), into: &mut self.command }
    }

    /// Answers a question; nothing for one that is not known.
    pub(crate) fn answer(&self, question: &[u8], answer: &mut [u8]) -> usize {
        match question {
            [0] => written(answer, &[self.command, self.start_up, time::stack_used_bytes() as u32]),
            [1] => written(answer, &primitives::count_all()),
            _ => 0,
        }
    }
}

fn written(answer: &mut [u8], numbers: &[u32]) -> usize {
    for (to, number) in answer.chunks_exact_mut(4).zip(numbers) {
        to.copy_from_slice(&number.to_be_bytes());
    }
    numbers.len() * 4
}
