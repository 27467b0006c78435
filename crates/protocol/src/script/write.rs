//! Writing messages into a caller's buffer, one command or answer at a time. A `push` that fails leaves the
//! message as it was, so what is finished is always whole.

use super::read::status_of;
use super::{
    CONTINUE_ON_FAILURE, Error, FORMAT_VERSION, KIND_RESULTS, KIND_SCRIPT, MAX_ANSWER_BYTES, MAX_COMMANDS,
    MAX_MESSAGE_BYTES, SESSION_ID_BYTES, SessionId,
};
use crate::apdu::StatusWord;

/// Writes a script, command by command.
#[derive(Debug)]
pub struct ScriptWriter<'b> {
    output: Output<'b>,
}

impl<'b> ScriptWriter<'b> {
    /// Begins script `number` (from 1) of a session; the screen shows `progress_percent` (0 to 100) once it ran.
    ///
    /// # Errors
    /// [`Error::BadValue`], [`Error::NoRoom`].
    pub fn new(buffer: &'b mut [u8], session: SessionId, number: u16, progress_percent: u8) -> Result<Self, Error> {
        if number == 0 || progress_percent > 100 {
            return Err(Error::BadValue);
        }
        let [high, low] = number.to_be_bytes();
        Ok(Self { output: Output::new(buffer, KIND_SCRIPT, session, &[high, low, progress_percent])? })
    }

    /// Adds a command; `continue_on_failure` lets the script go on when its answer is not `9000`.
    ///
    /// # Errors
    /// [`Error::BadCount`] after [`MAX_COMMANDS`], [`Error::BadLength`] for an empty command,
    /// [`Error::NoRoom`]; nothing is added then.
    pub fn push(&mut self, apdu: &[u8], continue_on_failure: bool) -> Result<(), Error> {
        if apdu.is_empty() {
            return Err(Error::BadLength);
        }
        let length = u16::try_from(apdu.len()).map_err(|_| Error::NoRoom)?;
        let [high, low] = length.to_be_bytes();
        let flags = if continue_on_failure { CONTINUE_ON_FAILURE } else { 0 };
        self.output.append(&[&[flags, high, low], apdu])
    }

    /// The script.
    ///
    /// # Errors
    /// [`Error::BadCount`] when it holds no command.
    pub fn finish(self) -> Result<&'b [u8], Error> {
        if self.output.count == 0 { Err(Error::BadCount) } else { Ok(self.output.finish()) }
    }
}

/// Writes results, answer by answer. [`super::Script::run`] does it for a wearable.
#[derive(Debug)]
pub struct ResultsWriter<'b> {
    output: Output<'b>,
}

impl<'b> ResultsWriter<'b> {
    /// Begins the results of script `number` of a session.
    ///
    /// # Errors
    /// [`Error::BadValue`], [`Error::NoRoom`].
    pub fn new(buffer: &'b mut [u8], session: SessionId, number: u16) -> Result<Self, Error> {
        if number == 0 {
            return Err(Error::BadValue);
        }
        Ok(Self { output: Output::new(buffer, KIND_RESULTS, session, &number.to_be_bytes())? })
    }

    /// Adds an answer with its status word; `None` when the chip did not answer.
    ///
    /// # Errors
    /// [`Error::BadCount`] after [`MAX_COMMANDS`], [`Error::BadLength`] for an answer shorter than a status word
    /// or longer than [`MAX_ANSWER_BYTES`], [`Error::NoRoom`]; nothing is added then.
    pub fn push(&mut self, answer: Option<&[u8]>) -> Result<(), Error> {
        let answer = answer.unwrap_or_default();
        if answer.len() == 1 || answer.len() > MAX_ANSWER_BYTES {
            return Err(Error::BadLength);
        }
        let length = u16::try_from(answer.len()).map_err(|_| Error::NoRoom)?;
        self.output.append(&[&length.to_be_bytes(), answer])
    }

    /// Lets `exchange` write the next answer where it belongs; gives its status word, `None` when there was
    /// no answer, which is recorded as such.
    pub(super) fn next_answer(
        &mut self,
        exchange: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<Option<StatusWord>, Error> {
        let start = self.output.used + 2;
        let area = self.output.buffer.get_mut(start..start + MAX_ANSWER_BYTES).ok_or(Error::NoRoom)?;
        let answered = exchange(area).filter(|length| (2..=MAX_ANSWER_BYTES).contains(length));
        let length = answered.unwrap_or(0);
        let status = area.get(..length).and_then(status_of);
        let [.., high, low] = length.to_be_bytes();
        self.output.append(&[&[high, low]])?;
        self.output.used += length;
        Ok(status)
    }

    /// The results.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        self.output.finish()
    }
}

/// A message whose number of items is written as they come.
#[derive(Debug)]
struct Output<'b> {
    buffer: &'b mut [u8],
    used: usize,
    count: usize,
    /// Where the count is written: the last byte of the head.
    count_at: usize,
}

impl<'b> Output<'b> {
    fn new(buffer: &'b mut [u8], kind: u8, session: SessionId, fields: &[u8]) -> Result<Self, Error> {
        let bound = buffer.len().min(MAX_MESSAGE_BYTES);
        let buffer = buffer.get_mut(..bound).ok_or(Error::NoRoom)?;
        let mut output = Self { buffer, used: 0, count: 0, count_at: 2 + SESSION_ID_BYTES + fields.len() };
        output.copy(&[&[FORMAT_VERSION, kind], &session.0, fields, &[0]])?;
        Ok(output)
    }

    /// Adds one item made of these parts.
    fn append(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        if self.count == MAX_COMMANDS {
            return Err(Error::BadCount);
        }
        self.copy(parts)?;
        self.count += 1;
        let [.., count] = self.count.to_be_bytes();
        *self.buffer.get_mut(self.count_at).ok_or(Error::NoRoom)? = count;
        Ok(())
    }

    /// Copies all of the parts or none.
    fn copy(&mut self, parts: &[&[u8]]) -> Result<(), Error> {
        let mut end = self.used;
        for part in parts {
            let next = end.checked_add(part.len()).ok_or(Error::NoRoom)?;
            self.buffer.get_mut(end..next).ok_or(Error::NoRoom)?.copy_from_slice(part);
            end = next;
        }
        self.used = end;
        Ok(())
    }

    fn finish(self) -> &'b [u8] {
        let buffer: &'b [u8] = self.buffer;
        buffer.get(..self.used).unwrap_or_default()
    }
}
