//! The chip: takes a command APDU, gives an answer, and keeps everything it promised in flash.
//!
//! One way through: secure messaging comes off (what it proves goes along as rights), the command is parsed
//! into [`Command`], the lifecycle is checked once, in front, then one line of [`Chip::run`] does it. Every
//! change is one transaction of the store. After a flash failure the answer is 6F00 and whatever RAM knew of
//! the flash is forgotten, so the next command goes by what is really there.

use crate::answers;
use crate::attestation;
use crate::channel::{Channel, plain};
use crate::command::{Command, Received, Rights};
use crate::domain::Domain;
use crate::hal::Platform;
use crate::hardened::Verdict;
use crate::health::Checked;
use crate::keys::{self, TRANSPORT_KEY_SET};
use crate::orders;
use crate::passcode;
use crate::payment;
use crate::records::{self, CHANNEL_SEQUENCE, LIFECYCLE, PASSCODE, TRANSPORT_KEYS, lifecycle_value};
use crate::scratch::Scratch;
use crate::session::Session;
use crate::signature;
use crate::store::{Store, StoreError, Update};
use crate::token::LoadedToken;
use core::fmt;
use protocol::apdu::{self, StatusWord};
#[cfg(feature = "virtual")]
use protocol::applet::PasscodeState;
use protocol::applet::{DataObject, Lifecycle, Order, Passcode, PasscodeChange, Scheme, StateChange, ins};
use zeroize::Zeroize;

/// The longest command taken, in bytes: a short APDU is at most 261.
pub const MAX_COMMAND_BYTES: usize = 300;
/// A response buffer of this many bytes holds any answer with its status word.
pub const MAX_RESPONSE_BYTES: usize = 300;

/// Why a chip could not be opened or created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The flash holds no chip: it was never created, or creating was cut short. Create it.
    NotCreated,
    /// The flash holds something damaged. Nothing was changed; it is not safe to go on with it.
    Damaged,
    /// The flash failed.
    Flash,
    /// A known answer did not come out: the silicon or the image is faulty.
    SelfTest,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCreated => "the flash holds no chip yet",
            Self::Damaged => "the flash is damaged",
            Self::Flash => "the flash could not be read or written",
            Self::SelfTest => "a known-answer test failed",
        })
    }
}

impl core::error::Error for OpenError {}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFormatted => Self::NotCreated,
            StoreError::Flash => Self::Flash,
            StoreError::Corrupt | StoreError::Full | StoreError::Invalid => Self::Damaged,
        }
    }
}

/// A payment chip on one platform.
pub struct Chip<P: Platform> {
    store: Store<P::Flash>,
    rng: Checked<P::Rng>,
    channel: Channel,
    /// The passcode session: open from the right passcode to LOCK, reset or a change of owner.
    session: Session,
    loaded: Option<LoadedToken>,
    /// The signature scheme whose known answers came out since power-up.
    proven: Option<Scheme>,
}

impl<P: Platform> Chip<P> {
    /// Powers up the chip in this flash: known answers are tested, and what a power cut interrupted is
    /// finished or undone.
    ///
    /// # Errors
    /// [`OpenError`]; the flash comes back with it.
    pub fn open(flash: P::Flash, rng: P::Rng) -> Result<Self, (OpenError, P::Flash)> {
        if !crate::self_test::passes() {
            return Err((OpenError::SelfTest, flash));
        }
        let mut store = Store::open(flash).map_err(|(error, flash)| (error.into(), flash))?;
        match store.contains(LIFECYCLE) {
            Ok(true) => {
                let mut chip = Self::over(store, rng);
                match chip.mind_tampering() {
                    Ok(()) => Ok(chip),
                    Err(_) => Err((OpenError::Flash, chip.store.into_flash())),
                }
            }
            Ok(false) => Err((OpenError::NotCreated, store.into_flash())),
            Err(error) => Err((error.into(), store.into_flash())),
        }
    }

    /// Makes a blank chip in this flash, with the GlobalPlatform test keys `40…4F` as key set FF. Whatever
    /// the flash held is erased. May be cut short and done again.
    ///
    /// # Errors
    /// [`OpenError`]; the flash comes back with it.
    pub fn create(flash: P::Flash, rng: P::Rng) -> Result<Self, (OpenError, P::Flash)> {
        let mut store = Store::format(flash).map_err(|(error, flash)| (error.into(), flash))?;
        let born = store.transact(&[
            Update::Put(TRANSPORT_KEYS, &TRANSPORT_KEY_SET),
            Update::Put(CHANNEL_SEQUENCE, &[0; 4]),
            Update::Put(LIFECYCLE, &lifecycle_value(Lifecycle::Blank)),
        ]);
        match born {
            Ok(()) => Self::open(store.into_flash(), rng),
            Err(error) => Err((error.into(), store.into_flash())),
        }
    }

    fn over(store: Store<P::Flash>, rng: P::Rng) -> Self {
        Self {
            store,
            rng: Checked::new(rng),
            channel: Channel::default(),
            session: Session::CLOSED,
            loaded: None,
            proven: None,
        }
    }

    /// Powers down: gives flash and random source back.
    pub fn into_parts(self) -> (P::Flash, P::Rng) {
        (self.store.into_flash(), self.rng.into_source())
    }

    /// The passcode session, for the image of a virtual chip's RAM.
    #[cfg(feature = "virtual")]
    pub(crate) fn session(&self) -> Verdict {
        self.session.is_open()
    }

    /// Puts the passcode session back, from the image of a virtual chip's RAM, where the flash allows one to be
    /// open: bound, a passcode set and not blocked. No real chip has this.
    #[cfg(feature = "virtual")]
    pub(crate) fn set_session(&mut self, session: Verdict) {
        let bound = records::lifecycle(&mut self.store) == Ok(Lifecycle::Bound);
        let passcode = passcode::state(&mut self.store, Verdict::NO);
        let may_open = matches!(passcode, Ok((PasscodeState::Closed, _)));
        self.session = Session::opened(session.and(Verdict::of(|| bound && may_open)), None);
    }

    /// A reset without loss of power: the secure channel and the passcode session end.
    pub fn reset(&mut self) {
        self.channel.close();
        self.session = Session::CLOSED;
        self.loaded = None;
    }

    /// Answers one command APDU: data and status word are written to `response`, their length in bytes is
    /// returned. [`MAX_RESPONSE_BYTES`] are enough for any answer; an answer that does not fit becomes 6700. Only
    /// with fewer than two bytes there is no answer at all, and 0 is returned.
    pub fn process(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        // An answer is made where it is to be; only in a buffer that not every answer fits, it is made beside it.
        if let Some(out) = response.get_mut(..MAX_RESPONSE_BYTES) {
            return self.answer(command, out);
        }
        let mut out = Scratch::<MAX_RESPONSE_BYTES>::new();
        let answer_bytes = self.answer(command, out.whole());
        match (response.get_mut(..answer_bytes), out.used().get(..answer_bytes)) {
            (Some(to), Some(answer)) => {
                to.copy_from_slice(answer);
                answer_bytes
            }
            _ => plain(response, 0, StatusWord::WRONG_LENGTH).unwrap_or(0),
        }
    }

    /// Answers into a buffer that any answer fits.
    #[inline(never)]
    fn answer(&mut self, command: &[u8], out: &mut [u8]) -> usize {
        match self.receive(command, out) {
            Ok(answer_bytes) => answer_bytes,
            Err(status) => {
                // What was written before the refusal is nobody's.
                out.zeroize();
                plain(out, 0, status).unwrap_or(0)
            }
        }
    }

    /// Takes the secure messaging off, obeys, and puts it on the answer. Gives the length of the whole answer,
    /// or the status word that is all of it.
    fn receive(&mut self, command: &[u8], out: &mut [u8]) -> Result<usize, StatusWord> {
        self.mind_tampering()?;
        if command.len() > MAX_COMMAND_BYTES {
            return Err(StatusWord::WRONG_LENGTH);
        }
        let apdu = apdu::Command::parse(command).map_err(|_| StatusWord::WRONG_LENGTH)?;
        check_class(apdu.class)?;
        if apdu.instruction == ins::EXTERNAL_AUTHENTICATE {
            self.channel.authenticate(&mut self.store, command)?;
            return plain(out, 0, StatusWord::OK);
        }
        if !apdu.class.is_secured() {
            let data_bytes = self.obey(Received { apdu, rights: Rights::NONE }, out)?;
            return plain(out, data_bytes, StatusWord::OK);
        }
        self.receive_secured(command, out)
    }

    /// The same for a command that is decrypted where it lies: in a copy of its own.
    #[inline(never)]
    fn receive_secured(&mut self, command: &[u8], out: &mut [u8]) -> Result<usize, StatusWord> {
        let mut buffer = Scratch::<MAX_COMMAND_BYTES>::holding(command).ok_or(StatusWord::WRONG_LENGTH)?;
        let received = self.channel.unwrap(buffer.used())?;
        match self.obey(received, out) {
            Ok(data_bytes) => self.channel.wrap(out, data_bytes, StatusWord::OK),
            Err(status) => self.channel.wrap(out, 0, status),
        }
    }

    /// Where a tamper sensor has tripped, the chip's life ends here. 6F00 where even that can't be written.
    fn mind_tampering(&mut self) -> Result<(), StatusWord> {
        if Verdict::of(|| !P::is_tampered_with()).is_yes() {
            return Ok(());
        }
        self.reset();
        if records::lifecycle(&mut self.store)? != Lifecycle::Terminated {
            orders::terminate(&mut self.store)?;
        }
        Ok(())
    }

    /// Parses a command without its secure messaging, checks that the chip's life allows it, and runs it.
    fn obey(&mut self, received: Received<'_>, out: &mut [u8]) -> Result<usize, StatusWord> {
        let command = Command::try_from(received)?;
        let lifecycle = records::lifecycle(&mut self.store)?;
        if !Verdict::of(|| allows(lifecycle, &command)).is_yes() {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        let answered = self.run(&command, out);
        if answered == Err(StatusWord::INTERNAL) {
            // RAM may know something flash does not.
            self.loaded = None;
        }
        answered
    }

    /// Every command, one line each. What does it is kept out of line, so that the stack of one command does not hold
    /// the buffers of all.
    fn run(&mut self, command: &Command<'_>, out: &mut [u8]) -> Result<usize, StatusWord> {
        match command {
            Command::Select => self.select(out),
            Command::InitializeUpdate { key_version, host_challenge } => {
                self.channel.initialize(&mut self.store, *key_version, host_challenge, out)
            }
            Command::PutKey { domain, replaced_version, data } => {
                keys::put(&mut self.store, *domain, self.channel.dek()?, *replaced_version, data, out)
            }
            Command::StoreData(domain, order) => self.store_data(*domain, order),
            Command::GetData(domain, object) => {
                answers::get_data(&mut self.store, self.session.is_open(), *domain, *object, out)
            }
            Command::AskPasscode => passcode::ask(&mut self.store, self.session.is_open()).map(|()| 0),
            Command::Verify { passcode, unix_seconds } => self.verify(passcode, *unix_seconds),
            Command::ChangePasscode(change) => self.change_passcode(change),
            Command::Lock => self.lock(),
            Command::GetPaymentCode(request) => {
                payment::make(&mut self.store, &mut self.loaded, &mut self.session, request, out)
            }
            Command::Attest { challenge } => self.attest(challenge, out),
            Command::ChooseSlot(slot) => records::choose_slot(&mut self.store, *slot).map(|()| 0),
            Command::SelfTest => self.self_test(),
            Command::GenerateKey(scheme) => self.generate_key(*scheme, out),
            Command::Vouch(domain, slot) => answers::vouch(&mut self.store, *domain, *slot),
        }
    }

    fn select(&mut self, out: &mut [u8]) -> Result<usize, StatusWord> {
        self.channel.close();
        answers::select(out)
    }

    fn store_data(&mut self, domain: Domain, order: &Order<'_>) -> Result<usize, StatusWord> {
        self.loaded = None;
        orders::obey(&mut self.store, domain, order)?;
        // An installation may have taken a former owner's passcode with it, and then the session it had opened goes as well.
        let passcode_changed = matches!(order, Order::Passcode(_))
            || (matches!(order, Order::InstallToken(_)) && !self.store.contains(PASSCODE)?);
        if passcode_changed || records::lifecycle(&mut self.store)? != Lifecycle::Bound {
            self.session = Session::CLOSED;
        }
        Ok(0)
    }

    /// A wrong passcode also ends the session that a right one opened before.
    fn verify(&mut self, passcode: &Passcode<'_>, unix_seconds: Option<u64>) -> Result<usize, StatusWord> {
        self.session = Session::CLOSED;
        let verdict = passcode::verify(&mut self.store, passcode)?;
        self.session = Session::opened(verdict, unix_seconds);
        Ok(0)
    }

    /// After a change the new passcode has to be entered: who set it proves to know it.
    fn change_passcode(&mut self, change: &PasscodeChange<'_>) -> Result<usize, StatusWord> {
        self.session = Session::CLOSED;
        passcode::change(&mut self.store, &mut self.rng, change)?;
        Ok(0)
    }

    /// Known answers of every primitive, and fresh bytes of the random source.
    fn self_test(&mut self) -> Result<usize, StatusWord> {
        let signs = [Scheme::P256, Scheme::Sm2].into_iter().all(signature::known_answers_come_out);
        if signs && crate::self_test::passes() && self.rng.test().is_ok() { Ok(0) } else { Err(StatusWord::INTERNAL) }
    }

    fn attest(&mut self, challenge: &[u8], out: &mut [u8]) -> Result<usize, StatusWord> {
        let scheme = attestation::scheme(&mut self.store)?.ok_or(StatusWord::CONDITIONS_OF_USE)?;
        self.prove(scheme)?;
        attestation::attest(&mut self.store, &mut self.rng, challenge, out)
    }

    fn generate_key(&mut self, scheme: Scheme, out: &mut [u8]) -> Result<usize, StatusWord> {
        self.prove(scheme)?;
        attestation::generate(&mut self.store, &mut self.rng, scheme, out)
    }

    /// Known answers of a signature scheme, before its first use since power-up.
    fn prove(&mut self, scheme: Scheme) -> Result<(), StatusWord> {
        if self.proven != Some(scheme) {
            if !signature::known_answers_come_out(scheme) {
                return Err(StatusWord::INTERNAL);
            }
            self.proven = Some(scheme);
        }
        Ok(())
    }

    fn lock(&mut self) -> Result<usize, StatusWord> {
        self.session = Session::CLOSED;
        Ok(0)
    }
}

impl<P: Platform> fmt::Debug for Chip<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chip").finish_non_exhaustive()
    }
}

/// The class bytes taken: channel 0, no chaining, no secure messaging or GlobalPlatform's.
fn check_class(class: apdu::Class) -> Result<(), StatusWord> {
    if class.channel() != 0 {
        return Err(StatusWord::CHANNEL_NOT_SUPPORTED);
    }
    if class.is_chained() {
        return Err(StatusWord::UNKNOWN_CLASS);
    }
    if class.is_secured() && !class.is_gp_secured() {
        return Err(StatusWord::SECURE_MESSAGING_NOT_SUPPORTED);
    }
    Ok(())
}

/// Whether a chip in this stage of its life obeys this command.
fn allows(lifecycle: Lifecycle, command: &Command<'_>) -> bool {
    use Lifecycle::{Blank, Bound, Ready, Suspended, Terminated};
    match command {
        Command::Select | Command::Lock | Command::SelfTest => true,
        Command::GetData(_, DataObject::Lifecycle | DataObject::ChipId | DataObject::Versions | DataObject::Status) => {
            true
        }
        Command::GetData(..) | Command::AskPasscode => lifecycle != Terminated,
        Command::InitializeUpdate { .. } | Command::PutKey { .. } => lifecycle != Terminated,
        Command::GenerateKey(_) => lifecycle == Blank,
        Command::Attest { .. } => matches!(lifecycle, Ready | Bound | Suspended),
        Command::StoreData(_, order) => match order {
            Order::FactoryData(_) | Order::StoreCertificate(_) => lifecycle == Blank,
            Order::InstallToken(_) => matches!(lifecycle, Ready | Bound),
            Order::Sync(_) => lifecycle == Bound,
            Order::RemoveToken(_) => matches!(lifecycle, Ready | Bound | Suspended),
            Order::Passcode(_) | Order::SetRules(_) => matches!(lifecycle, Bound | Suspended),
            Order::SetState(StateChange::Terminate) => lifecycle != Terminated,
            Order::SetState(StateChange::Suspend | StateChange::Resume) => matches!(lifecycle, Bound | Suspended),
        },
        Command::Vouch(..) => matches!(lifecycle, Bound | Suspended),
        Command::Verify { .. } | Command::ChangePasscode(_) | Command::GetPaymentCode(_) | Command::ChooseSlot(_) => {
            lifecycle == Bound
        }
    }
}
