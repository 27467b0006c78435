//! The secure element as the SDK sees it: one command, one answer, and every refusal as an [`Error`].
//! Buffers that held a passcode or a code are wiped before they are let go.

use protocol::apdu::{Command, Response, StatusWord};
use protocol::applet::{self, DataObject, MAX_TEMPLATE_BYTES, SelectAnswer};

use crate::error::Error;
use crate::host::Host;

/// The longest answer: a template of a short answer and its status word.
pub(crate) const ANSWER_BYTES: usize = MAX_TEMPLATE_BYTES + 8;
/// The longest command the SDK itself makes; scripts bring their own.
const COMMAND_BYTES: usize = 40;

/// A buffer for one answer, wiped when dropped.
pub(crate) struct Answer {
    bytes: [u8; ANSWER_BYTES],
    length: usize,
}

impl Answer {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; ANSWER_BYTES], length: 0 }
    }

    /// Data and status word together, as the chip sent them.
    pub(crate) fn whole(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    pub(crate) fn response(&self) -> Result<Response<'_>, Error> {
        Response::parse(self.whole()).map_err(|_| Error::ChipGarbled)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

/// Overwrites, and keeps the compiler from leaving that out because nobody reads it.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    core::hint::black_box(bytes);
}

/// Whether the applet is selected and will answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    /// It has not been started yet.
    Unknown,
    /// Asleep, or silent at the last command: it is started again before the next.
    Down,
    Up,
}

/// The secure element behind the maker's callbacks.
pub(crate) struct Element<H> {
    host: H,
    power: Power,
}

impl<H: Host> Element<H> {
    pub(crate) const fn new(host: H) -> Self {
        Self { host, power: Power::Unknown }
    }

    pub(crate) const fn host(&self) -> &H {
        &self.host
    }

    pub(crate) const fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }

    /// Powers the element and selects the applet.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        self.power = Power::Unknown;
        self.wake()
    }

    fn wake(&mut self) -> Result<(), Error> {
        self.host.se_power(true).map_err(|_| Error::ChipSilent)?;
        let mut command = [0; COMMAND_BYTES];
        let command = applet::select().encode(&mut command).map_err(|_| Error::NoApplet)?;
        let mut answer = Answer::new();
        self.send(command, &mut answer)?;
        let response = answer.response()?;
        if !response.status.is_ok() || SelectAnswer::decode(response.data).is_err() {
            return Err(Error::NoApplet);
        }
        self.power = Power::Up;
        Ok(())
    }

    /// Powers the element down until the next command.
    pub(crate) fn sleep(&mut self) -> Result<(), Error> {
        if self.power == Power::Up {
            self.power = Power::Down;
        }
        self.host.se_power(false).map_err(|_| Error::ChipSilent)
    }

    /// Sends bytes that are a whole command and takes whatever is answered.
    pub(crate) fn exchange(&mut self, command: &[u8], answer: &mut Answer) -> Result<(), Error> {
        match self.power {
            Power::Unknown => return Err(Error::NotStarted),
            Power::Down => self.wake()?,
            Power::Up => {}
        }
        let result = self.send(command, answer);
        if result.is_err() {
            // It may have lost power, and session and channel with it: the next command starts it again.
            self.power = Power::Down;
        }
        result
    }

    fn send(&mut self, command: &[u8], answer: &mut Answer) -> Result<(), Error> {
        answer.length = 0;
        let length = self.host.se_exchange(command, &mut answer.bytes).map_err(|_| Error::ChipSilent)?;
        if length < 2 || length > answer.bytes.len() {
            return Err(Error::ChipGarbled);
        }
        answer.length = length;
        Ok(())
    }

    /// Sends an encoded command and asks for the status word `9000`.
    pub(crate) fn run_encoded(&mut self, command: &[u8], answer: &mut Answer) -> Result<(), Error> {
        self.exchange(command, answer)?;
        match answer.response()?.status {
            StatusWord::OK => Ok(()),
            status => Err(Error::of_status(status, self.host.unix_time_s())),
        }
    }

    /// The same for a command still to be encoded; what it held is wiped.
    pub(crate) fn run(&mut self, command: &Command<'_>, answer: &mut Answer) -> Result<(), Error> {
        let mut bytes = [0; COMMAND_BYTES];
        let result = match command.encode(&mut bytes) {
            Ok(encoded) => self.run_encoded(encoded, answer),
            Err(_) => Err(Error::ChipGarbled),
        };
        wipe(&mut bytes);
        result
    }

    /// Reads one object and hands it to `read`.
    pub(crate) fn get<T>(
        &mut self,
        object: DataObject,
        read: impl FnOnce(&[u8]) -> Result<T, applet::Error>,
    ) -> Result<T, Error> {
        let mut answer = Answer::new();
        self.run(&object.command(), &mut answer)?;
        read(answer.response()?.data).map_err(|_| Error::ChipGarbled)
    }
}
