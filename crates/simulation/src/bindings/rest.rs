//! The world comes to rest: nothing goes wrong any more, and every device is bound as it says, or can be bound.

use platform::bindings::BindingState;
use platform::payments::PaymentState;
use platform::tokens::{Token, TokenAction, TokenState};
use platform::{Caller, TokenId};
use store::commands::Paid;

use super::attacker::Attacker;
use super::cloud::{Answer, Ask, Trouble};
use super::device::Hardship;
use super::world::{About, Shown, World};

/// Turns of a phone within which an honest binding must come to its end: a chip that holds its channel back is asked up to
/// forty times.
const TURNS: u32 = 400;
/// Requests at the door, or answers to one, at most.
const MANY: u32 = 2_000;
/// How often a device at rest pays and is synced.
const ROUNDS: u32 = 6;
/// The shop that nobody has sent wrong codes from, and the ones they come from.
const QUIET_SHOP: usize = 11;
const OTHER_SHOPS: core::ops::Range<usize> = 0..11;

impl World {
    /// Lets everything under way come to its end, and looks at every device.
    pub(super) fn comes_to_rest(&mut self) -> Result<(), String> {
        self.relay.attacker = Attacker::Nobody;
        (self.plan.attacks, self.plan.frames, self.plan.lost, self.plan.reboots) = (0, 0, 0, 0);
        self.cloud.trouble = Trouble::default();
        for wrist in &mut self.wrists {
            wrist.hardware.borrow_mut().hardship = Hardship::default();
            wrist.start();
        }
        for _ in 0..TURNS {
            let open: Vec<usize> = self.open().collect();
            for number in open {
                self.turn(number)?;
                self.cloud_works()?;
            }
        }
        self.sessions.iter_mut().for_each(|session| session.over = true);
        for _ in 0..MANY {
            if self.cloud.is_quiet() {
                break;
            }
            self.cloud_works()?;
        }
        self.cloud.sync();
        self.settle()?;
        self.truth.look_at_all(&self.cloud.queries)?;
        for wrist in 0..self.wrists.len() {
            let token = self.is_as_it_says(wrist)?;
            if self.random.bool() {
                self.second_hand(wrist, &token)?;
            }
        }
        self.truth.look_at_all(&self.cloud.queries)
    }

    /// Phones that are still at it.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        self.sessions.iter().enumerate().filter(|(_, session)| !session.over).map(|(number, _)| number)
    }

    /// A device whose token lives holds exactly that one; any other can be bound. Gives its token.
    fn is_as_it_says(&mut self, wrist: usize) -> Result<Token, String> {
        let chip = self.wrists.get(wrist).map(|wrist| wrist.chip).ok_or("no such device")?;
        let living = self.truth.living(chip).cloned();
        let token = match living {
            Some(token) if token.state == TokenState::Pending => self.is_bound_anew(wrist)?,
            None => self.is_bound_anew(wrist)?,
            Some(token) if token.state == TokenState::Active => token,
            Some(token) => {
                self.is_done(token.id, Caller::Operator, TokenAction::Resume)?;
                token
            }
        };
        if self.random.bool() {
            self.is_refilled(wrist, TURNS)?;
        }
        self.pays_for(wrist, &token)?;
        self.is_told(wrist, &token)?;
        Ok(token)
    }

    /// Some payments are made, given back, confirmed or refused; a sync tells, and another one has nothing to tell.
    fn is_told(&mut self, wrist: usize, token: &Token) -> Result<(), String> {
        for _ in 0..ROUNDS {
            self.now_ms += 60_000;
            self.clocks();
            for _ in 0..self.random.u32(1..4) {
                match self.shows(wrist) {
                    Some(shown) if self.random.bool() => {
                        let (shop, minor) = (self.random.usize(OTHER_SHOPS), self.amount());
                        self.pay(shown, shop, minor);
                    }
                    _ => self.goes_on(Some(token.id)),
                }
                self.cloud.work(self.now_ms, &mut self.random);
                self.cloud.sync();
                self.settle()?;
            }
            self.is_told_once(wrist, token)?;
        }
        Ok(())
    }

    /// An honest sync tells what the books say, the newest payments first; once more, and it has nothing to tell.
    pub(super) fn is_told_once(&mut self, wrist: usize, token: &Token) -> Result<(), String> {
        self.is_refilled(wrist, TURNS)?;
        self.screen(wrist, true)?;
        let must = self.tellings.must_show(wrist, token.id);
        let shows = self.tellings.on_screen(wrist);
        if shows != must {
            return Err(format!("{}: synced, the device shows {shows:?}, and the books say {must:?}", token.id));
        }
        let before = self.tellings.shown;
        self.is_refilled(wrist, TURNS)?;
        self.screen(wrist, true)?;
        if self.tellings.shown == before { Ok(()) } else { Err(format!("{}: told once more", token.id)) }
    }

    /// The watch changes hands: its wearer ends the token, another binds it, and what the first one had is worth nothing.
    fn second_hand(&mut self, wrist: usize, token: &Token) -> Result<(), String> {
        self.now_ms += 60_000;
        self.clocks();
        let old = self.shows(wrist).ok_or("a bound device shows no code")?;
        self.is_done(token.id, Caller::Wearer(token.account), TokenAction::Revoke)?;
        if self.random.bool() {
            self.is_wiped(wrist, TURNS)?;
        }
        let new = self.is_bound_anew(wrist)?;
        self.pays_for(wrist, &new)?;
        let shop = self.random.usize(OTHER_SHOPS);
        match self.is_paid(old, shop)? {
            Some(paid) => Err(format!("a code of the one before has paid: {paid:?}")),
            None => Ok(()),
        }
    }

    /// Any wearer binds the device, honestly and without trouble: it must be done.
    fn is_bound_anew(&mut self, wrist: usize) -> Result<Token, String> {
        let wearer = self.random.usize(..self.wearers.len());
        let chip = self.wrists.get(wrist).map(|wrist| wrist.chip).ok_or("no such device")?;
        let number = self.begins(wrist, wearer, true)?.ok_or_else(|| format!("{chip} makes no offer any more"))?;
        for _ in 0..TURNS {
            self.turn(number)?;
            self.cloud_works()?;
            if self.sessions.get(number).is_none_or(|session| session.over) {
                break;
            }
        }
        let session = self.sessions.get(number).ok_or("no such session")?;
        if session.ended != Some(BindingState::Done) {
            let (ended, refused) = (session.ended, session.refused);
            return Err(format!("{chip} can not be bound any more: {ended:?}, {refused:?}"));
        }
        let token = self.truth.living(chip).cloned().ok_or_else(|| format!("{chip} is bound to nobody"))?;
        if (token.account, token.state) != (self.account(wearer), TokenState::Active) {
            return Err(format!("{chip} was bound by {}, and its token is {token:?}", self.account(wearer)));
        }
        Ok(token)
    }

    /// The chip holds this token and no other, shows its account, and makes codes that pay for it.
    fn pays_for(&mut self, wrist: usize, token: &Token) -> Result<(), String> {
        self.now_ms += 60_000;
        self.clocks();
        let held = self.held(wrist);
        let account = self.cloud.queries.account(token.account).map_err(|error| error.to_string())?;
        let label = account.map(|account| account.masked_name()).unwrap_or_default();
        let keys = self.channel_keys(token.chip)?;
        let device = self.wrists.get_mut(wrist).ok_or("no such device")?;
        let told = device.hardware.borrow_mut().tokens(&keys)?;
        if held != [token.id] || told != [token.id.0] {
            return Err(format!("{}: the chip holds {held:?} and says {told:02x?}", token.id));
        }
        // Whoever looked into the chip has closed its channel, and its power may be off.
        let status = device.sdk.pre_init().map_err(|error| error.to_string())?;
        if status.account() != label {
            return Err(format!("{}: the device shows {:?}, not {label:?}", token.id, status.account()));
        }
        let shown = self.shows(wrist).ok_or_else(|| format!("{}: bound, and no code is shown", token.id))?;
        match self.is_paid(shown, QUIET_SHOP)? {
            Some(Paid::Payment(payment)) if payment.account == Some(token.account) => Ok(()),
            other => Err(format!("{}: its code did not pay for {}: {other:?}", token.id, token.account)),
        }
    }

    /// Pays, and gives the payment where it has succeeded.
    fn is_paid(&mut self, shown: Shown, shop: usize) -> Result<Option<Paid>, String> {
        self.pay(shown, shop, 1);
        match self.answer()? {
            Answer::Paid(Ok(Paid::Payment(payment))) if payment.state == PaymentState::Succeeded => {
                Ok(Some(Paid::Payment(payment)))
            }
            Answer::Paid(_) => Ok(None),
            other => Err(format!("a payment was answered {other:?}")),
        }
    }

    fn is_done(&mut self, token: TokenId, caller: Caller, action: TokenAction) -> Result<(), String> {
        self.ask(Ask::Act { token, caller, action }, About::Act { by_stranger: false });
        match self.answer()? {
            Answer::Acted(Ok(_)) => Ok(()),
            other => Err(format!("{token}: {} was answered {other:?}", action.name())),
        }
    }

    /// The answer to the only thing that was asked.
    fn answer(&mut self) -> Result<Answer, String> {
        self.cloud.work(self.now_ms, &mut self.random);
        self.cloud.sync();
        let (number, answer) = self.cloud.take_answers().pop().ok_or("a request was not answered")?;
        self.judged(number, &answer)?;
        Ok(answer)
    }
}
