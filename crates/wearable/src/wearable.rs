//! The SDK itself: one value beside the firmware's own, polled, without heap or threads. Everything a
//! call learns comes from the chip at that moment; what is kept is one code and how far binding has come.

use core::fmt;

use protocol::apdu::StatusWord;
use protocol::applet::{
    self, CHIP_ID_BYTES, ChipStatus, CodeForm, CodeRequest, DataObject, Lifecycle, MAX_COMMAND_BYTES, MAX_LABEL_BYTES,
    Passcode, PasscodeChange, PasscodeState,
};

use crate::code::{PaymentCode, Text};
use crate::element::{Answer, Element, wipe};
use crate::error::Error;
use crate::host::Host;
use crate::offer::{NONCE_BYTES, Offer};
use crate::relay::{Progress, Relay};
use crate::results::PaymentResult;

/// How often the opening of a channel is asked for while the chip holds it back (`9305`): `spec/secure-channel.md` 9.3.
const MAX_ASKED_AGAIN: u8 = 40;

/// How the chip stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// Where the chip is in its life; it pays when `Bound`.
    pub lifecycle: Lifecycle,
    /// How the passcode stands.
    pub passcode: PasscodeState,
    /// Passcode tries left.
    pub tries_left: u8,
    /// Codes left before a sync is needed, if an account is bound.
    pub codes_left: Option<u16>,
    account: Text<MAX_LABEL_BYTES>,
}

impl Status {
    /// The masked name of the account that pays by default; empty without one.
    pub fn account(&self) -> &str {
        self.account.as_str()
    }

    /// Whether an account is bound, even if the chip is frozen.
    pub fn is_bound(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Bound | Lifecycle::Suspended)
    }

    fn of(status: &ChipStatus<'_>) -> Self {
        Self {
            lifecycle: status.lifecycle,
            passcode: status.passcode,
            tries_left: status.tries_left,
            codes_left: status.codes_left,
            account: Text::new(status.account_label.unwrap_or("")),
        }
    }

    /// Why the chip cannot pay, if it cannot.
    fn can_pay(&self) -> Result<(), Error> {
        match self.lifecycle {
            Lifecycle::Bound => Ok(()),
            Lifecycle::Ready => Err(Error::NotBound),
            Lifecycle::Suspended => Err(Error::Suspended),
            Lifecycle::Terminated => Err(Error::Terminated),
            Lifecycle::Blank => Err(Error::NotPersonalised),
        }
    }
}

impl fmt::Debug for Status {
    /// The account's name is the wearer's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("lifecycle", &self.lifecycle)
            .field("passcode", &self.passcode)
            .field("tries_left", &self.tries_left)
            .field("codes_left", &self.codes_left)
            .finish_non_exhaustive()
    }
}

/// The SDK over one device. It takes about 7 KB of memory, nearly all of it buffers for the relay.
pub struct Wearable<H> {
    element: Element<H>,
    code: Option<PaymentCode>,
    account: Option<Text<MAX_LABEL_BYTES>>,
    relay: Relay,
}

impl<H: Host> Wearable<H> {
    /// The SDK over the maker's callbacks. Nothing is called yet.
    pub const fn new(host: H) -> Self {
        Self { element: Element::new(host), code: None, account: None, relay: Relay::new() }
    }

    /// The maker's own side.
    pub const fn host(&self) -> &H {
        self.element.host()
    }

    /// The maker's own side, to be changed between two calls.
    pub const fn host_mut(&mut self) -> &mut H {
        self.element.host_mut()
    }

    /// Starts the chip and reads how far binding had come. The payment page must not open before this
    /// has succeeded once; calling it again starts the chip anew.
    pub fn pre_init(&mut self) -> Result<Status, Error> {
        self.element.start()?;
        let status = self.status()?;
        self.relay.load(self.element.host_mut());
        self.relay.load_results(self.element.host_mut(), status.is_bound());
        self.host_mut().log(if status.is_bound() { "paychip: started, bound" } else { "paychip: started, not bound" });
        Ok(status)
    }

    /// Powers the chip down until the next call. This closes the passcode session and the channel of a
    /// binding under way, which the cloud then begins anew.
    pub fn sleep(&mut self) -> Result<(), Error> {
        self.forget_code();
        self.element.sleep()
    }

    /// How the chip stands now.
    pub fn status(&mut self) -> Result<Status, Error> {
        let read = |data: &[u8]| ChipStatus::decode(data).map(|status| Status::of(&status));
        let status = self.element.get(DataObject::Status, read)?;
        self.account = Some(status.account.clone());
        Ok(status)
    }

    /// The name of the chip: what the help desk asks for.
    pub fn chip_id(&mut self) -> Result<[u8; CHIP_ID_BYTES], Error> {
        self.element.get(DataObject::ChipId, |data| applet::decode_chip_id(data).copied())
    }

    /// A fresh offer to bind this chip, to be shown as a QR code. An offer made earlier is void.
    ///
    /// The nonce comes from the chip's answer to the opening of a channel that is then not used: it holds
    /// a cryptogram nobody without the chip's keys can foretell, so the SDK needs no source of randomness.
    /// The challenge must differ from offer to offer for that, over reboots and with a clock that stands.
    pub fn binding_offer(&mut self) -> Result<Offer, Error> {
        let chip_id = self.chip_id()?;
        let number = self.relay.next_offer(self.element.host_mut());
        let challenge = u64::from(number) << 32 | self.host().unix_time_s() & 0xFFFF_FFFF;
        let nonce = self.card_nonce(&challenge.to_be_bytes()).map_err(|error| self.ended_or(error))?;
        self.relay.offered(self.element.host_mut());
        Ok(Offer::new(&chip_id, &nonce))
    }

    /// A nonce out of the chip's answer to a channel's opening. A chip at whose channel somebody without keys tried
    /// refuses for a while, and is asked again.
    fn card_nonce(&mut self, challenge: &[u8; 8]) -> Result<[u8; NONCE_BYTES], Error> {
        let command = applet::initialize_update(0, challenge);
        let mut answer = Answer::new();
        for _ in 0..MAX_ASKED_AGAIN {
            match self.element.run(&command, &mut answer) {
                Err(Error::Refused(StatusWord::CHANNEL_HELD_BACK)) => {}
                result => return result.and_then(|()| Ok(fold(answer.response()?.data))),
            }
        }
        Err(Error::Refused(StatusWord::CHANNEL_HELD_BACK))
    }

    /// Asks to be unbound: closes the passcode session, takes the code off the screen, and gives an offer
    /// to show. The owner's app reads it and tells the cloud, which removes the token from the chip over
    /// the relay; only the cloud can, for only it knows that no payment is open.
    pub fn unbind(&mut self) -> Result<Offer, Error> {
        self.lock()?;
        self.binding_offer()
    }

    /// Gives up a binding that takes too long (watches wait 30 to 60 seconds). The chip is not touched.
    pub fn cancel_binding(&mut self) {
        self.relay.cancel(self.element.host_mut());
    }

    /// Hands in a frame as the link delivered it. Quick: nothing is sent and no command is run.
    pub fn on_link_data(&mut self, frame: &[u8]) {
        self.relay.receive(self.element.host_mut(), frame);
    }

    /// The link was closed. What is half received is dropped; what was run is answered again when the
    /// other end comes back and asks.
    pub fn on_link_lost(&mut self) {
        self.relay.link_lost();
    }

    /// Does the next small piece of work: runs one command of the cloud's on the chip, or sends what is
    /// due. Call it every few ten milliseconds while the link is open. [`Error::LinkDown`] means that the
    /// link took no more; the next poll goes on from there.
    pub fn poll(&mut self) -> Result<Progress, Error> {
        if !self.relay.is_running() {
            self.relay.send(self.element.host_mut())?;
        } else if self.relay.step(&mut self.element) {
            // The token may be another one now.
            self.account = None;
            self.forget_code();
        }
        Ok(self.relay.progress())
    }

    /// How far the work between cloud and chip has come.
    pub fn progress(&self) -> Progress {
        self.relay.progress()
    }

    /// What became of the last payments, newest code first, at most [`MAX_RESULTS`](crate::MAX_RESULTS): told by the cloud in a sync, and vouched for by
    /// the chip, so that no phone can make it up. What it has not been told of yet may have been paid all the same.
    pub fn results(&self) -> impl Iterator<Item = PaymentResult<'_>> {
        self.relay.results().iter()
    }

    /// What became of the newest code that the cloud has told of.
    pub fn last_result(&self) -> Option<PaymentResult<'_>> {
        self.results().next()
    }

    /// The cloud's code for why the work has failed, for the help desk; empty unless it has.
    pub fn failure_code(&self) -> &str {
        self.relay.failure()
    }

    /// The code to show now: the one shown before while its half minute lasts, else a new one. Call it
    /// once a second while the payment page is visible, and not otherwise: every code comes out of the
    /// budget of the last sync.
    ///
    /// ```
    /// # use wearable::{Host, Wearable, Error, CodeForm, screen::{Page, Screen, ScreenShape, View}};
    /// # fn show<H: Host, D>(wearable: &mut Wearable<H>, display: &mut D) -> Result<(), Error>
    /// # where D: embedded_graphics::draw_target::DrawTarget<Color = embedded_graphics::pixelcolor::Rgb565> {
    /// let screen = Screen::new(ScreenShape::round(466));
    /// let now = wearable.host().unix_time_s();
    /// let code = wearable.payment_code(CodeForm::Digits)?;
    /// let _ = screen.draw(display, &Page::Code { view: View::Combined, face: code.face(now) });
    /// # Ok(()) }
    /// ```
    pub fn payment_code(&mut self, form: CodeForm) -> Result<&PaymentCode, Error> {
        let now = self.host().unix_time_s();
        // One `match` would be nicer; the borrow checker wants the check before the loan.
        if !self.code.as_ref().is_some_and(|code| code.serves(form, now)) {
            self.code = Some(self.make_code(form, now)?);
        }
        self.code.as_ref().ok_or(Error::ChipGarbled)
    }

    /// A new code although the last one's half minute is not over: it was spent, and the wearer pays once
    /// more. Four in half a minute are possible; then the error tells how long to wait.
    pub fn next_payment_code(&mut self, form: CodeForm) -> Result<&PaymentCode, Error> {
        self.forget_code();
        self.payment_code(form)
    }

    /// The code shown last, if the cloud would still take it: what to show when a new one was refused.
    pub fn last_code(&self) -> Option<&PaymentCode> {
        let now = self.host().unix_time_s();
        self.code.as_ref().filter(|code| code.seconds_left(now) > 0)
    }

    /// The code on the screen was spent, or the page was left: it will not be shown again.
    pub fn forget_code(&mut self) {
        self.code = None;
    }

    fn make_code(&mut self, form: CodeForm, now: u64) -> Result<PaymentCode, Error> {
        let mut command = [0; MAX_COMMAND_BYTES];
        let request = CodeRequest { form, slot: None, unix_seconds: now };
        let command = request.encode(&mut command).map_err(|_| Error::ClockBehind)?;
        let account = match &self.account {
            Some(account) => account.clone(),
            None => self.status()?.account,
        };
        let mut answer = Answer::new();
        self.element.run_encoded(command, &mut answer).map_err(|error| self.explain(error))?;
        let code = applet::PaymentCode::decode(answer.response()?.data).map_err(|_| Error::ChipGarbled)?;
        Ok(PaymentCode::new(&code, form, account.as_str()))
    }

    /// Opens the passcode session: codes made from now on count as verified.
    pub fn unlock(&mut self, passcode: &str) -> Result<(), Error> {
        let passcode = Passcode::new(passcode.as_bytes()).map_err(|_| Error::PasscodeFormat)?;
        let opened = self.element.run(&applet::verify(Some(passcode)), &mut Answer::new());
        opened.map_err(|error| self.explain_passcode(error, Error::PasscodeNotSet))?;
        // The code on the screen was made without the passcode, and the cloud would see that.
        self.forget_code();
        Ok(())
    }

    /// Closes the passcode session. Call it as soon as the wearable leaves the wrist.
    pub fn lock(&mut self) -> Result<(), Error> {
        self.forget_code();
        self.element.run(&applet::lock(), &mut Answer::new())
    }

    /// Sets the passcode where none is set; an account must be bound.
    pub fn set_first_passcode(&mut self, new: &str) -> Result<(), Error> {
        let new = Passcode::new(new.as_bytes()).map_err(|_| Error::PasscodeFormat)?;
        let set = self.change(&PasscodeChange::First { new });
        set.map_err(|error| self.explain_passcode(error, Error::PasscodeExists))
    }

    /// Replaces the passcode in force.
    pub fn change_passcode(&mut self, old: &str, new: &str) -> Result<(), Error> {
        let old = Passcode::new(old.as_bytes()).map_err(|_| Error::PasscodeFormat)?;
        let new = Passcode::new(new.as_bytes()).map_err(|_| Error::PasscodeFormat)?;
        let changed = self.change(&PasscodeChange::Replace { old, new });
        changed.map_err(|error| self.explain_passcode(error, Error::PasscodeNotSet))
    }

    fn change(&mut self, change: &PasscodeChange<'_>) -> Result<(), Error> {
        let mut command = [0; MAX_COMMAND_BYTES];
        let result = match change.encode(&mut command) {
            Ok(encoded) => self.element.run_encoded(encoded, &mut Answer::new()),
            Err(_) => Err(Error::PasscodeFormat),
        };
        wipe(&mut command);
        result
    }

    /// A refusal "not in this state" says which state, where the chip's status tells it.
    fn explain(&mut self, error: Error) -> Error {
        match error {
            Error::Refused(_) => self.status().and_then(|status| status.can_pay()).err().unwrap_or(error),
            other => other,
        }
    }

    /// A chip that was ended opens no channel, and says so.
    fn ended_or(&mut self, error: Error) -> Error {
        match (error, self.status()) {
            (Error::Refused(_), Ok(status)) if status.lifecycle == Lifecycle::Terminated => Error::Terminated,
            _ => error,
        }
    }

    fn explain_passcode(&mut self, error: Error, in_the_way: Error) -> Error {
        match self.explain(error) {
            Error::Refused(_) => in_the_way,
            other => other,
        }
    }
}

/// Folds an answer into a nonce: what cannot be foretold in any part of it cannot be in the whole.
fn fold(data: &[u8]) -> [u8; NONCE_BYTES] {
    let mut nonce = [0u8; NONCE_BYTES];
    for (at, byte) in data.iter().enumerate() {
        if let Some(place) = nonce.get_mut(at % NONCE_BYTES) {
            *place = place.rotate_left(3) ^ byte;
        }
    }
    nonce
}
