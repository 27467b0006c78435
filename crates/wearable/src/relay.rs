//! Carrying the cloud's sealed commands to the chip and its answers back. A message that arrives broken is
//! asked for again, a script that arrives twice is run once and answered twice, and a link lost at any byte
//! leaves the chip as it was or with the whole order done: every order is one command, and the chip takes
//! a command whole or not at all.
//!
//! What is inside the sealed commands neither concerns nor shows itself to this code. What a relay puts in the clear does:
//! whoever is at the other end of the link may be a stranger, and gets no code and no try at the passcode.

use protocol::applet::may_be_carried;
use protocol::link::{self, Fragments, MAX_FRAME_BYTES, MIN_FRAME_BYTES, Reassembler, Received, resend_request};
use protocol::script::{
    MAX_ANSWER_BYTES, MAX_CODE_BYTES, MAX_COMMANDS, MAX_MESSAGE_BYTES, Memory, Message, Outcome, ResultsWriter,
    SESSION_ID_BYTES, SessionId, Verdict,
};

use crate::code::Text;
use crate::element::{Answer, Element};
use crate::error::Error;
use crate::host::{Host, Key};
use crate::results::Results;

/// How far the work between cloud and chip has come: binding, most of all; sync and unbinding as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is under way.
    Idle,
    /// An offer is on the screen; nobody has answered it yet.
    Offered,
    /// The phone is there: hide the offer, show the percentage.
    Working {
        /// 10 to 99: 10 link up, 30 receiving, 70 saved in the chip, 90 finishing.
        percent: u8,
    },
    /// The cloud says that the work is done.
    Done,
    /// The cloud says that the work has failed; the chip is as it was before.
    Failed,
}

impl Progress {
    /// 0 to 100; a failure counts as 0.
    pub const fn percent(self) -> u8 {
        match self {
            Self::Idle | Self::Offered | Self::Failed => 0,
            Self::Working { percent } => percent,
            Self::Done => 100,
        }
    }
}

/// Link up, before the first script.
const CONNECTED: u8 = 10;
/// Saved in the chip.
const SAVED: u8 = 70;
/// The chip's confirmation of what it saved has left for the cloud.
const FINISHING: u8 = 90;
/// Only the cloud's last word makes it 100.
const NEARLY: u8 = 99;
/// First byte of what is kept across a reboot.
const RECORD_VERSION: u8 = 1;
const RECORD_BYTES: usize = 2 + SESSION_ID_BYTES + OFFERS_BYTES;
const OFFERS_BYTES: usize = 4;
/// Bytes of a results message before the first answer, rounded up.
const RESULTS_HEAD_BYTES: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing to do.
    Idle,
    /// `work` holds a script, of which so many commands have been run.
    Running { done: usize },
    /// `work` holds results, of which so many frames of a size have gone out.
    Sending { frames: usize, frame_bytes: usize },
    /// `work` holds results that have gone out, in case they are asked for again.
    Sent,
}

/// What a frame brought.
enum Arrived {
    Nothing,
    /// Our last message is wanted again.
    Again,
    /// A script to run.
    Script,
    /// The cloud's last word, with its code if the work failed.
    Outcome(Option<Text<MAX_CODE_BYTES>>),
    /// The cloud's last word: done, and nobody is bound now.
    Unbound,
    /// A script with a command that is not the cloud's to give.
    Forbidden,
}

/// The state of the relay: three buffers of one message each, and where it stands.
pub(crate) struct Relay {
    inbox: Reassembler<MAX_MESSAGE_BYTES>,
    /// The script while it runs, then its results.
    work: Buffer,
    /// Answers so far, each after its length in two bytes; the length is 0 where the chip was silent.
    answers: Buffer,
    memory: Memory,
    phase: Phase,
    progress: Progress,
    session: Option<SessionId>,
    failure: Text<MAX_CODE_BYTES>,
    /// Offers made so far, over all reboots.
    offers: u32,
    /// What the cloud has told of payments.
    results: Results,
    /// The number of our last message.
    number: u8,
    /// The number of a message that arrived broken.
    broken: Option<u8>,
}

/// A message of bounded length.
struct Buffer {
    bytes: [u8; MAX_MESSAGE_BYTES],
    length: usize,
}

impl Buffer {
    const EMPTY: Self = Self { bytes: [0; MAX_MESSAGE_BYTES], length: 0 };

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends all or nothing.
    fn append(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(more);
            self.length = end;
        }
    }
}

impl Relay {
    pub(crate) const fn new() -> Self {
        Self {
            inbox: Reassembler::new(),
            work: Buffer::EMPTY,
            answers: Buffer::EMPTY,
            memory: Memory::new(),
            phase: Phase::Idle,
            progress: Progress::Idle,
            session: None,
            failure: Text::EMPTY,
            offers: 0,
            results: Results::new(),
            number: 0,
            broken: None,
        }
    }

    pub(crate) const fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) const fn results(&self) -> &Results {
        &self.results
    }

    /// Reads the results that were kept, where they are still somebody's.
    pub(crate) fn load_results<H: Host>(&mut self, host: &mut H, is_bound: bool) {
        self.results.load(host);
        if !is_bound {
            self.results.forget(host);
        }
    }

    pub(crate) fn failure(&self) -> &str {
        self.failure.as_str()
    }

    /// Reads where the work stood before a reboot. The chip's channel did not survive it, so the cloud will
    /// begin anew; until then the screen shows how far it was, and the cloud's last word still counts.
    pub(crate) fn load<H: Host>(&mut self, host: &mut H) {
        let mut record = [0; RECORD_BYTES];
        match host.load(Key::Progress, &mut record) {
            Ok(RECORD_BYTES) => {}
            Ok(_) => return,
            Err(_) => return host.log("paychip: progress could not be read"),
        }
        let ([RECORD_VERSION, percent, rest @ ..], Progress::Idle) = (record, self.progress) else { return };
        if let Some((session, offers)) = rest.split_first_chunk() {
            self.offers = offers.try_into().map_or(0, u32::from_be_bytes);
            if (CONNECTED..=NEARLY).contains(&percent) {
                self.progress = Progress::Working { percent };
                self.session = Some(SessionId(*session));
            }
        }
    }

    /// Keeps what `load` reads. Failing costs a repeated step after a reboot, so it only goes to the log.
    fn save<H: Host>(&self, host: &mut H) {
        let working = match (self.progress, self.session) {
            (Progress::Working { percent }, Some(session)) => (percent, session),
            _ => (0, SessionId([0; SESSION_ID_BYTES])),
        };
        let (percent, SessionId(session)) = working;
        let mut record = [0; RECORD_BYTES];
        let fields = [RECORD_VERSION, percent].into_iter().chain(session).chain(self.offers.to_be_bytes());
        record.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        if host.store(Key::Progress, &record).is_err() {
            host.log("paychip: progress could not be stored");
        }
    }

    /// The number of the next offer, never used before if storage keeps its promise.
    pub(crate) fn next_offer<H: Host>(&mut self, host: &mut H) -> u32 {
        self.offers = self.offers.wrapping_add(1);
        self.save(host);
        self.offers
    }

    /// A new offer is shown: what was under way before is given up.
    pub(crate) fn offered<H: Host>(&mut self, host: &mut H) {
        self.cancel(host);
        self.progress = Progress::Offered;
    }

    /// Gives up what is under way.
    pub(crate) fn cancel<H: Host>(&mut self, host: &mut H) {
        let stored = self.session.is_some();
        self.inbox.reset();
        self.memory.forget();
        (self.phase, self.progress, self.session) = (Phase::Idle, Progress::Idle, None);
        (self.broken, self.failure) = (None, Text::EMPTY);
        if stored {
            self.save(host);
        }
    }

    /// The link is gone: half a message will not be completed.
    pub(crate) fn link_lost(&mut self) {
        self.inbox.reset();
        self.broken = None;
        if let Phase::Sending { .. } = self.phase {
            // The other end will ask by sending the script again.
            self.phase = Phase::Sent;
        }
    }

    /// Takes a frame from the link. Commands are not run here but in `step`.
    pub(crate) fn receive<H: Host>(&mut self, host: &mut H, frame: &[u8]) {
        let before = (self.progress, self.session);
        match self.sort(frame) {
            Ok(Arrived::Nothing) => {}
            // As if it had not come: whoever sent it is told nothing.
            Ok(Arrived::Forbidden) => return host.log("paychip: a script asked for what no relay may give"),
            Ok(Arrived::Again) => self.send_again(),
            Ok(Arrived::Script) => {
                self.phase = Phase::Running { done: 0 };
                // Another session is other work, or the same from the start.
                let same = before.1 == self.session;
                let percent = if same { self.progress.percent().clamp(CONNECTED, NEARLY) } else { CONNECTED };
                self.progress = Progress::Working { percent };
            }
            Ok(Arrived::Outcome(failure)) => self.finish(failure),
            Ok(Arrived::Unbound) => {
                self.finish(None);
                self.results.forget(host);
            }
            Err(_) => {
                self.broken = frame.first().copied();
                return;
            }
        }
        if self.progress == Progress::Offered {
            self.progress = Progress::Working { percent: CONNECTED };
        }
        if (self.progress, self.session) != before {
            self.save(host);
        }
    }

    /// Puts the frame to what has arrived of its message; a script to run is kept in `work`.
    fn sort(&mut self, frame: &[u8]) -> Result<Arrived, link::Error> {
        let bytes = match self.inbox.accept(frame)? {
            Received::Incomplete => return Ok(Arrived::Nothing),
            Received::ResendRequested { number } => {
                return Ok(if number == self.number { Arrived::Again } else { Arrived::Nothing });
            }
            Received::Message { bytes, .. } => bytes,
        };
        Ok(match Message::decode(bytes) {
            Ok(Message::Script(script)) if !script.commands().all(|command| may_be_carried(command.apdu)) => {
                Arrived::Forbidden
            }
            Ok(Message::Script(script)) => match self.memory.judge(&script) {
                Verdict::Run => {
                    self.memory.ran(&script);
                    self.session = Some(script.session);
                    self.answers.clear();
                    self.work.clear();
                    self.work.append(bytes);
                    Arrived::Script
                }
                Verdict::AnswerAgain => Arrived::Again,
                Verdict::Drop => Arrived::Nothing,
            },
            Ok(Message::Outcome(outcome)) if Some(outcome.session()) == self.session => match outcome {
                Outcome::Done { account_label: "", .. } => Arrived::Unbound,
                Outcome::Done { .. } => Arrived::Outcome(None),
                Outcome::Failed { code, .. } => Arrived::Outcome(Some(Text::new(code))),
            },
            // Results are ours to send; the outcome of other work, or what cannot be read, is not for us.
            Ok(_) | Err(_) => Arrived::Nothing,
        })
    }

    fn send_again(&mut self) {
        if let Phase::Sent | Phase::Sending { .. } = self.phase {
            self.phase = Phase::Sending { frames: 0, frame_bytes: 0 };
        }
    }

    fn finish(&mut self, failure: Option<Text<MAX_CODE_BYTES>>) {
        self.progress = if failure.is_some() { Progress::Failed } else { Progress::Done };
        self.failure = failure.unwrap_or(Text::EMPTY);
        (self.phase, self.session) = (Phase::Idle, None);
        self.memory.forget();
    }

    /// Whether commands wait to be run.
    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Runs one command of the script. Returns whether it was the last.
    pub(crate) fn step<H: Host>(&mut self, element: &mut Element<H>) -> bool {
        let Phase::Running { done } = self.phase else { return false };
        let Ok(Message::Script(script)) = Message::decode(self.work.get()) else {
            self.phase = Phase::Idle;
            return true;
        };
        let Some(command) = script.commands().nth(done) else {
            self.phase = Phase::Idle;
            return true;
        };
        let mut answer = Answer::new();
        let silent = element.exchange(command.apdu, &mut answer).is_err() || answer.whole().len() > MAX_ANSWER_BYTES;
        let bytes = if silent { &[][..] } else { answer.whole() };
        let accepted = !silent && answer.response().is_ok_and(|response| response.status.is_ok());
        // Without an answer it may have been carried out as well.
        if (accepted || silent) && self.results.is_of_another_token(command.apdu) {
            self.results.forget(element.host_mut());
        }
        if accepted && self.results.carried_out(command.apdu) {
            self.results.save(element.host_mut());
        }
        self.answers.append(&(bytes.len() as u16).to_be_bytes());
        self.answers.append(bytes);
        let room = RESULTS_HEAD_BYTES + self.answers.length + 2 + MAX_ANSWER_BYTES <= MAX_MESSAGE_BYTES;
        let goes_on = accepted || (command.continue_on_failure && !silent);
        let done = done + 1;
        if goes_on && room && done < script.len() {
            self.phase = Phase::Running { done };
            return false;
        }
        let (session, number, percent) = (script.session, script.number, script.progress_percent);
        let complete = goes_on && done == script.len();
        self.write_results(session, number);
        if complete {
            let percent = percent.max(self.progress.percent()).clamp(CONNECTED, NEARLY);
            self.progress = Progress::Working { percent };
        }
        self.save(element.host_mut());
        true
    }

    /// Puts the results where the script was, as the next message to send.
    fn write_results(&mut self, session: SessionId, number: u16) {
        self.work.clear();
        let Ok(mut results) = ResultsWriter::new(&mut self.work.bytes, session, number) else {
            self.phase = Phase::Idle;
            return;
        };
        let mut rest = self.answers.bytes.get(..self.answers.length).unwrap_or(&[]);
        for _ in 0..MAX_COMMANDS {
            let Some((length, after)) = rest.split_first_chunk() else { break };
            let Some((answer, after)) = after.split_at_checked(u16::from_be_bytes(*length).into()) else { break };
            // It fits: `step` stopped before an answer that might not.
            let _ = results.push((!answer.is_empty()).then_some(answer));
            rest = after;
        }
        self.work.length = results.finish().len();
        self.number = self.number.wrapping_add(1);
        self.phase = Phase::Sending { frames: 0, frame_bytes: 0 };
    }

    /// Sends what is due, as far as the link takes it.
    pub(crate) fn send<H: Host>(&mut self, host: &mut H) -> Result<(), Error> {
        if let Some(number) = self.broken {
            host.link_send(&resend_request(number)).map_err(|_| Error::LinkDown)?;
            self.broken = None;
        }
        let Phase::Sending { frames, frame_bytes } = self.phase else { return Ok(()) };
        let mtu = host.link_mtu().clamp(MIN_FRAME_BYTES, MAX_FRAME_BYTES);
        // Frames of another size cannot continue a message: begin it again.
        let mut frames = if frame_bytes == mtu { frames } else { 0 };
        let Ok(mut fragments) = Fragments::new(self.work.get(), self.number, mtu) else {
            self.phase = Phase::Idle;
            return Ok(());
        };
        let mut buffer = [0; MAX_FRAME_BYTES];
        let mut at = 0;
        while let Ok(Some(frame)) = fragments.next_frame(&mut buffer) {
            if at >= frames {
                if host.link_send(frame).is_err() {
                    self.phase = Phase::Sending { frames, frame_bytes: mtu };
                    return Err(Error::LinkDown);
                }
                frames += 1;
            }
            at += 1;
        }
        self.phase = Phase::Sent;
        if let Progress::Working { percent: SAVED..FINISHING } = self.progress {
            self.progress = Progress::Working { percent: FINISHING };
            self.save(host);
        }
        Ok(())
    }
}
