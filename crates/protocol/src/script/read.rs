//! Reading messages. `Message::decode` checks the whole message once; the iterators over commands and answers
//! then cannot fail.

use super::{
    CONTINUE_ON_FAILURE, Error, FORMAT_VERSION, KIND_OUTCOME, KIND_RESULTS, KIND_SCRIPT, MAX_ANSWER_BYTES,
    MAX_COMMANDS, MAX_MESSAGE_BYTES, Outcome, ResultsWriter, SessionId,
};
use crate::apdu::{Response, StatusWord};
use core::fmt;

/// Any message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// From the cloud: commands to run.
    Script(Script<'a>),
    /// From the wearable: what the chip answered.
    Results(Results<'a>),
    /// From the cloud: the work is over.
    Outcome(Outcome<'a>),
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// Any of [`Error`] but [`Error::NoRoom`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(Error::BadLength);
        }
        let mut input = Input(bytes);
        if input.byte()? != FORMAT_VERSION {
            return Err(Error::UnknownVersion);
        }
        let kind = input.byte()?;
        let session = SessionId(input.array()?);
        match kind {
            KIND_SCRIPT => Script::decode(session, input).map(Self::Script),
            KIND_RESULTS => Results::decode(session, input).map(Self::Results),
            KIND_OUTCOME => Outcome::decode(session, input).map(Self::Outcome),
            _ => Err(Error::UnknownKind),
        }
    }
}

/// Commands for the chip. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Script<'a> {
    /// Which work this belongs to.
    pub session: SessionId,
    /// The place of this script in its session, from 1.
    pub number: u16,
    /// How far the work is once this script has run, 0 to 100; for the screen.
    pub progress_percent: u8,
    commands: &'a [u8],
    count: usize,
}

impl<'a> Script<'a> {
    fn decode(session: SessionId, mut input: Input<'a>) -> Result<Self, Error> {
        let number = u16::from_be_bytes(input.array()?);
        let progress_percent = input.byte()?;
        let count = usize::from(input.byte()?);
        if number == 0 || progress_percent > 100 {
            return Err(Error::BadValue);
        }
        if count == 0 || count > MAX_COMMANDS {
            return Err(Error::BadCount);
        }
        let commands = input.0;
        for _ in 0..count {
            if input.byte()? & !CONTINUE_ON_FAILURE != 0 {
                return Err(Error::BadValue);
            }
            if input.counted()?.is_empty() {
                return Err(Error::BadLength);
            }
        }
        input.end()?;
        Ok(Self { session, number, progress_percent, commands, count })
    }

    /// How many commands there are: 1 to 16.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Never: a script holds at least one command.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The commands in their order.
    #[must_use]
    pub const fn commands(&self) -> Commands<'a> {
        Commands { input: Input(self.commands) }
    }

    /// Runs the script and writes its results.
    ///
    /// `exchange` takes a command to the chip and writes the answer, status word included, to the slice it is
    /// given (never shorter than [`MAX_ANSWER_BYTES`]); it gives the answer's length, or `None` when the chip
    /// did not answer. The script stops after the first answer that is not `9000`, unless its command goes on
    /// regardless; it always stops when the chip did not answer, and before a command whose answer might not
    /// fit. The cloud sees by the number of answers where it stopped.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when `out` is too small for the answer to even the first command.
    pub fn run<'b>(
        &self,
        out: &'b mut [u8],
        mut exchange: impl FnMut(&[u8], &mut [u8]) -> Option<usize>,
    ) -> Result<&'b [u8], Error> {
        let mut results = ResultsWriter::new(out, self.session, self.number)?;
        for (place, command) in self.commands().enumerate() {
            let answer = match results.next_answer(|answer| exchange(command.apdu, answer)) {
                Err(Error::NoRoom) if place > 0 => break,
                answer => answer?,
            };
            // An answer that is no answer counts as none.
            let Some(status) = answer else { break };
            if !status.is_ok() && !command.continue_on_failure {
                break;
            }
        }
        Ok(results.finish())
    }
}

impl fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("session", &self.session)
            .field("number", &self.number)
            .field("progress_percent", &self.progress_percent)
            .field("commands", &self.count)
            .finish()
    }
}

/// One command of a script. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ScriptCommand<'a> {
    /// The command APDU.
    pub apdu: &'a [u8],
    /// Whether the script goes on when the answer is not `9000`.
    pub continue_on_failure: bool,
}

impl fmt::Debug for ScriptCommand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScriptCommand({} bytes)", self.apdu.len())
    }
}

/// The commands of a script, in order.
#[derive(Clone)]
pub struct Commands<'a> {
    input: Input<'a>,
}

impl<'a> Iterator for Commands<'a> {
    type Item = ScriptCommand<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // `decode` has read exactly these without a fault.
        let flags = self.input.byte().ok()?;
        let apdu = self.input.counted().ok()?;
        Some(ScriptCommand { apdu, continue_on_failure: flags & CONTINUE_ON_FAILURE != 0 })
    }
}

impl fmt::Debug for Commands<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commands(..)")
    }
}

/// The chip's answers to a script, as many as were run. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Results<'a> {
    /// The session of the script.
    pub session: SessionId,
    /// The number of the script.
    pub number: u16,
    responses: &'a [u8],
    count: usize,
}

impl<'a> Results<'a> {
    fn decode(session: SessionId, mut input: Input<'a>) -> Result<Self, Error> {
        let number = u16::from_be_bytes(input.array()?);
        let count = usize::from(input.byte()?);
        if number == 0 {
            return Err(Error::BadValue);
        }
        if count == 0 || count > MAX_COMMANDS {
            return Err(Error::BadCount);
        }
        let responses = input.0;
        for _ in 0..count {
            // Empty: the chip did not answer. One byte is no answer either, and nothing a wearable may send.
            if matches!(input.counted()?.len(), 1 | MAX_TOO_LONG..) {
                return Err(Error::BadLength);
            }
        }
        input.end()?;
        Ok(Self { session, number, responses, count })
    }

    /// How many commands were run: 1 to 16.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Never: results hold at least one answer.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The answers in their order; `None` where the chip did not answer.
    #[must_use]
    pub const fn responses(&self) -> Responses<'a> {
        Responses { input: Input(self.responses) }
    }
}

const MAX_TOO_LONG: usize = MAX_ANSWER_BYTES + 1;

impl fmt::Debug for Results<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("session", &self.session)
            .field("number", &self.number)
            .field("responses", &self.count)
            .finish()
    }
}

/// The answers of results, in order: the whole answer with its status word, or `None` where the chip did not
/// answer.
#[derive(Clone)]
pub struct Responses<'a> {
    input: Input<'a>,
}

impl<'a> Iterator for Responses<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        // `decode` has read exactly these without a fault.
        let answer = self.input.counted().ok()?;
        Some((!answer.is_empty()).then_some(answer))
    }
}

impl fmt::Debug for Responses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responses(..)")
    }
}

/// What has not been read yet.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Error::BadLength)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Error::BadLength)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A length of two bytes and as many bytes.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Error> {
        let bytes = u16::from_be_bytes(self.array()?);
        self.take(usize::from(bytes))
    }

    pub(super) const fn end(&self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::BadLength) }
    }
}

/// The status word at the end of an answer.
pub(super) fn status_of(answer: &[u8]) -> Option<StatusWord> {
    Response::parse(answer).ok().map(|response| response.status)
}
