//! One world of bindings: wearers, devices, phones and servers, and one random number generator that decides everything.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ledger::{Amount, Currency};
use platform::accounts::Account;
use platform::accounts::TopUp;
use platform::bindings::StartRequest;
use platform::chips::Chip;
use platform::merchants::Merchant;
use platform::payments::cancel::CancelRequest;
use platform::payments::refund::RefundRequest;
use platform::payments::{MerchantNumber, PaymentState, confirm};
use platform::tokens::{TokenAction, TokenState};
use platform::{
    AccountId, BindingId, Caller, Change, ChipId, KeyHash, Limits, MerchantId, Reason, RefundId, Settings, TokenId,
    TopUpId,
};
use protocol::scp03::KeySet;
use store::commands::{Paid, TopUpAccount};
use store::engine::{Engine, Outcome};
use store::{Batch, Env};
use wearable::CodeForm;

use super::attacker::{Attacker, Relay};
use super::cloud::{Answer, Ask, Cloud};
use super::device::Wrist;
use super::maker::House;
use super::plan::Plan;
use super::session::Session;
use super::told::{OnScreen, Tellings};
use super::truth::Truth;
use crate::database::SimulatedEngine;
use crate::keys::OpenVault;
use crate::trace::Trace;
use crate::world::Install;

/// 2025-11-23, 09:26:40 UTC.
pub(super) const START_MS: u64 = 1_763_890_000_000;
/// Shops; the last is visited only when the world has come to rest.
const SHOPS: usize = 12;
/// Minor units above which the phone is asked.
const ASKED_ABOVE: u64 = 80;
/// Codes that are kept to be tried again later, at most.
const HARVEST: usize = 40;

/// A code that a device has shown, and which tokens' keys its chip held then.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) digits: String,
    pub(super) of: Vec<TokenId>,
    /// Those of them that were revoked, on disk, before the code was tried.
    pub(super) void: Vec<TokenId>,
    /// Where it was shown.
    pub(super) on: OnScreen,
}

/// What an answer is about.
#[derive(Debug, Clone)]
pub(super) enum About {
    /// A message or the start of this session, by its own wearer or a stranger.
    Session { number: usize, by_stranger: bool },
    /// Something done to a token, by somebody who may or a stranger.
    Act { by_stranger: bool },
    /// A payment.
    Pay(Shown),
    /// A refund, a cancel, or what a wearer says to a payment that waits.
    Afterwards,
}

/// Everything.
pub(super) struct World {
    pub(super) random: fastrand::Rng,
    pub(super) plan: Plan,
    pub(super) now_ms: u64,
    pub(super) trace: Trace,
    pub(super) cloud: Cloud,
    pub(super) relay: Relay,
    pub(super) wearers: Vec<AccountId>,
    pub(super) shops: Vec<MerchantId>,
    pub(super) wrists: Vec<Wrist>,
    pub(super) offers: Vec<(usize, String)>,
    pub(super) sessions: Vec<Session>,
    pub(super) truth: Truth,
    pub(super) tellings: Tellings,
    harvest: Vec<Shown>,
    asked: BTreeMap<u64, About>,
    numbers: u64,
    shown: u64,
    pub(super) counts: super::Counts,
}

impl World {
    /// A world as it begins: chips fresh from the factory, wearers with money.
    pub(super) fn of(mut random: fastrand::Rng, plan: Plan, attacker: Attacker, trace: Trace) -> Result<Self, String> {
        // A world is short of days: its wearers begin as many bindings in one as others in a year.
        // What is paid here is small, so that what waits for the phone is.
        let limits = Limits { unconfirmed_minor: ASKED_ABOVE, ..Limits::CHINA };
        let limits = BTreeMap::from([(Currency::CNY, limits)]);
        let settings = Settings { bindings_a_day: u8::MAX, limits, ..Settings::default() };
        let env = Env::new(Arc::new(OpenVault), Arc::new(settings)).map_err(|error| error.to_string())?;
        let mut wrists = Vec::new();
        let mut house = plan.maker.map(|scheme| House::found(scheme, &mut random, START_MS)).transpose()?;
        for _ in 0..plan.wrists {
            let chip = ChipId(random.u128(..).to_be_bytes());
            let keys = channel_keys(&env, chip, house.is_some())?;
            wrists.push(Wrist::new(chip, &keys, plan.mtu, &mut random, house.as_mut())?);
        }
        let cloud = Cloud::new(env, plan.servers);
        let mut world = Self {
            random,
            plan,
            now_ms: START_MS,
            trace,
            cloud,
            relay: Relay::new(attacker),
            wearers: Vec::new(),
            shops: Vec::new(),
            wrists,
            offers: Vec::new(),
            sessions: Vec::new(),
            truth: Truth::default(),
            tellings: Tellings::default(),
            harvest: Vec::new(),
            asked: BTreeMap::new(),
            numbers: 0,
            shown: 0,
            counts: super::Counts::default(),
        };
        world.trace.line(format!("{:?}", world.plan));
        world.people(house)?;
        world.clocks();
        for wrist in &mut world.wrists {
            wrist.reboot();
            wrist.hardware.borrow_mut().hardship = world.plan.hardship;
        }
        world.cloud.trouble = world.plan.trouble;
        Ok(world)
    }

    fn people(&mut self, house: Option<House>) -> Result<(), String> {
        let by_hand = if house.is_none() { self.wrists.as_slice() } else { &[] };
        let mut changes = Vec::new();
        for wrist in by_hand {
            changes.push(Change::PutChip(Chip {
                id: wrist.chip,
                key_version: 1,
                registered_ms: START_MS,
                origin: None,
            }));
        }
        changes.extend(house.map(House::known).unwrap_or_default());
        for number in 0..SHOPS {
            let id = MerchantId(self.random.u128(..).to_be_bytes());
            changes.push(Change::PutMerchant(Merchant {
                id,
                name: shop_name(number),
                currency: Currency::CNY,
                api_key: KeyHash([number as u8 + 1; 32]),
                created_ms: START_MS,
                wrong_codes: Default::default(),
                suspended_ms: None,
                category: None,
                position: None,
            }));
            self.shops.push(id);
        }
        let mut batch = Batch::default();
        for number in 0..self.plan.wearers {
            let id = AccountId(self.random.u128(..).to_be_bytes());
            changes.push(Change::PutAccount(Account {
                id,
                name: format!("{}earer", char::from(b'A' + number as u8)),
                currency: Currency::CNY,
                wallet_key: KeyHash([number as u8 + 100; 32]),
                created_ms: START_MS,
            }));
            self.wearers.push(id);
        }
        batch.push(Install(changes), |_| {});
        let amount = Amount::new(1_000_000, Currency::CNY).map_err(|error| error.to_string())?;
        for (number, account) in self.wearers.iter().enumerate() {
            let id = TopUpId([number as u8 + 1; 16]);
            let reference = "first".to_owned();
            batch.push(TopUpAccount(TopUp { id, account: *account, reference, amount, created_ms: START_MS }), |_| {});
        }
        let mut engine = SimulatedEngine::shared(&self.cloud.disk, 0);
        let writes = batch.decide(&mut engine, &self.cloud.env).map_err(|outcome| format!("{outcome:?}"))?;
        match engine.commit(writes) {
            Outcome::Committed => Ok(()),
            outcome => Err(format!("the world could not begin: {outcome:?}")),
        }
    }

    /// Every device's clock shows the world's time.
    pub(super) fn clocks(&mut self) {
        for wrist in &self.wrists {
            wrist.hardware.borrow_mut().now_s = self.now_ms / 1_000;
        }
    }

    pub(super) fn befalls(&mut self, in_a_thousand: u32) -> bool {
        self.random.u32(0..1_000) < in_a_thousand
    }

    /// Asks the cloud something; the request may be lost, come twice, or come late.
    pub(super) fn ask(&mut self, ask: Ask, about: About) {
        if let Ask::Start(request) = &ask {
            self.truth.asked(request);
        }
        self.numbers += 1;
        self.trace.line(format!("{} asks {} {ask:?}", self.now_ms, self.numbers));
        self.asked.insert(self.numbers, about);
        if self.befalls(self.plan.lost) {
            self.counts.lost += 1;
            return;
        }
        let job = (self.numbers, ask);
        // A binding that starts gets ids of its own at the door; every other request may come twice as it is.
        if self.befalls(self.plan.lost) && !matches!(job.1, Ask::Start(_)) {
            self.counts.repeated += 1;
            self.cloud.door.push_back(job.clone());
        }
        let at = self.random.usize(0..=self.cloud.door.len());
        self.cloud.door.insert(at, job);
    }

    /// Fresh ids for a binding, as the server's door makes them.
    pub(super) fn request(&mut self, wearer: usize, offer: platform::bindings::Offer) -> StartRequest {
        StartRequest {
            id: BindingId(self.random.u128(..).to_be_bytes()),
            token: TokenId(self.random.u128(..).to_be_bytes()),
            account: self.account(wearer),
            offer,
            host_challenge: self.random.u64(..).to_be_bytes(),
            now_ms: self.now_ms,
        }
    }

    pub(super) fn account(&self, wearer: usize) -> AccountId {
        self.wearers.get(wearer).copied().unwrap_or(AccountId([0; 16]))
    }

    /// The cloud works, and everything it makes durable or says is held against the truth.
    pub(super) fn cloud_works(&mut self) -> Result<(), String> {
        if let Some(learned) = self.relay.learned.take() {
            return Err(learned);
        }
        self.cloud.work(self.now_ms, &mut self.random);
        self.settle()
    }

    /// Reads what has become durable.
    fn looks(&mut self) -> Result<(), String> {
        if self.cloud.disk.take_committed().is_empty() {
            return Ok(());
        }
        self.truth.look(&self.cloud.queries)?;
        self.tellings.look(&self.cloud.queries)
    }

    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.looks()?;
        for (number, answer) in self.cloud.take_answers() {
            let Some(about) = self.asked.get(&number).cloned() else { continue };
            self.trace.line(format!("{} answer {number} {answer:?}", self.now_ms));
            self.judge(&answer, &about)?;
            if self.befalls(self.plan.lost) {
                self.counts.lost += 1;
                continue;
            }
            match (answer, about) {
                (Answer::Relayed(answer), About::Session { number, .. }) => self.session_answered(number, answer),
                (Answer::Synced(answer), About::Session { number, .. }) => self.sync_answered(number, answer),
                _ => {}
            }
        }
        Ok(())
    }

    /// Holds an answer against the truth that somebody waits for.
    pub(super) fn judged(&mut self, number: u64, answer: &Answer) -> Result<(), String> {
        self.looks()?;
        self.trace.line(format!("{} answer {number} {answer:?}", self.now_ms));
        let about = self.asked.get(&number).cloned().ok_or("an answer to nothing")?;
        self.judge(answer, &about)
    }

    fn judge(&mut self, answer: &Answer, about: &About) -> Result<(), String> {
        if let Answer::Synced(Ok(answer)) = answer {
            self.tellings.synced(answer)?;
        }
        match (answer, about) {
            (Answer::Relayed(Ok(_)) | Answer::Synced(Ok(_)), About::Session { by_stranger: true, .. })
            | (Answer::Acted(Ok(_)), About::Act { by_stranger: true }) => {
                Err(format!("a stranger was obeyed: {answer:?}"))
            }
            (Answer::Relayed(Ok(answer)), _) => {
                let row = self.cloud.queries.binding(answer.binding.id).map_err(|error| error.to_string())?;
                let row = row.ok_or_else(|| format!("{} was told of and is not there", answer.binding.id))?;
                let over = answer.binding.state.progress_percent() % 100 == 0;
                if over && row.state != answer.binding.state {
                    return Err(format!(
                        "{} was told to be {:?}, and is {:?}",
                        row.id, answer.binding.state, row.state
                    ));
                }
                Ok(())
            }
            // There are no clones in this world.
            (Answer::Synced(Ok(answer)), _) if answer.sync.failure == Some(Reason::ChipCloned) => {
                Err(format!("an honest chip was taken for a clone: {:?}", answer.sync))
            }
            (Answer::Paid(Ok(Paid::Payment(payment))), About::Pay(shown)) => {
                if payment.state != PaymentState::Succeeded {
                    return Ok(());
                }
                let of = |token: &&TokenId| {
                    let known = self.truth.tokens.get(*token);
                    known.is_some_and(|known| known.was_active && Some(known.request.account) == payment.account)
                };
                match shown.of.iter().find(of) {
                    Some(token) if !shown.void.contains(token) => Ok(()),
                    Some(token) => Err(format!("a code of {token} paid after it was revoked: {payment:?}")),
                    None => Err(format!("a code of {:?} paid for another: {payment:?}", shown.of)),
                }
            }
            (Answer::Became(Ok(payment)), _) if !self.tellings.said(payment) => {
                Err(format!("told and not durable: {payment:?}"))
            }
            (Answer::Refunded(Ok(refund)), _) => {
                let row = self.cloud.queries.payment(refund.payment).map_err(|error| error.to_string())?;
                let is_in = row.is_some_and(|row| row.refunded_minor >= refund.amount.minor());
                if is_in { Ok(()) } else { Err(format!("told and not durable: {refund:?}")) }
            }
            _ => Ok(()),
        }
    }

    /// What the chip of this device has in its flash now, where an order of the cloud may have changed it.
    pub(super) fn look_into(&mut self, number: usize) -> Result<(), String> {
        let Some(wrist) = self.wrists.get(number) else { return Ok(()) };
        let mut hardware = wrist.hardware.borrow_mut();
        if let Some(broken) = hardware.broken.take() {
            return Err(broken);
        }
        if core::mem::take(&mut hardware.orders) == 0 {
            return Ok(());
        }
        let vault = &self.cloud.env.vault;
        for known in self.truth.tokens.values_mut().filter(|known| known.request.offer.chip == wrist.chip) {
            let Some(row) = known.row.as_ref().filter(|_| !known.installed) else { continue };
            let key = vault.pay_key(&row.format, row.index, row.pay_key_version).map_err(|error| error.to_string())?;
            known.installed = hardware.holds(&*key);
        }
        drop(hardware);
        self.screen(number, true)
    }

    /// What a device shows of payments, where it is other than before or its chip may hold another token.
    pub(super) fn screen(&mut self, wrist: usize, anyway: bool) -> Result<(), String> {
        let news = |(device, tellings): (&Wrist, &Tellings)| tellings.is_news(wrist, device.sdk.results());
        if !anyway && !self.wrists.get(wrist).is_some_and(|device| news((device, &self.tellings))) {
            return Ok(());
        }
        let held = self.held(wrist);
        let Some(device) = self.wrists.get(wrist) else { return Ok(()) };
        self.tellings.shows(wrist, device.sdk.results(), &held)?;
        self.trace.line(format!("{} device {wrist} shows {:?}", self.now_ms, self.tellings.on_screen(wrist)));
        Ok(())
    }

    /// The tokens whose keys stand in the flash of this device's chip.
    pub(super) fn held(&self, wrist: usize) -> Vec<TokenId> {
        let Some(wrist) = self.wrists.get(wrist) else { return Vec::new() };
        let hardware = wrist.hardware.borrow();
        let held = self.truth.of_chip(wrist.chip).filter(|(_, known)| {
            let key = known
                .row
                .as_ref()
                .and_then(|row| self.cloud.env.vault.pay_key(&row.format, row.index, row.pay_key_version).ok());
            key.is_some_and(|key| hardware.holds(&*key))
        });
        held.map(|(id, _)| *id).collect()
    }

    /// A code on this device's screen, where it makes one.
    pub(super) fn shows(&mut self, wrist: usize) -> Option<Shown> {
        let of = self.held(wrist);
        let sdk = &mut self.wrists.get_mut(wrist)?.sdk;
        let code = Rc::new(sdk.next_payment_code(CodeForm::Digits).ok()?.clone());
        self.shown += 1;
        let on = OnScreen { wrist, number: self.shown, code: Rc::clone(&code) };
        Some(Shown { digits: code.digits().to_owned(), of, void: Vec::new(), on })
    }

    /// Somebody pays with a new code or one that was written down.
    pub(super) fn pays(&mut self, wrist: usize) {
        let new = self.shows(wrist);
        if let Some(shown) = new.clone() {
            if self.harvest.len() == HARVEST {
                self.harvest.remove(0);
            }
            self.harvest.push(shown);
        }
        let old = self.random.choice(0..self.harvest.len()).and_then(|at| self.harvest.get(at).cloned());
        let shown = if self.random.bool() { new.or(old) } else { old };
        let shop = self.random.usize(..SHOPS - 1);
        if let Some(shown) = shown {
            self.counts.codes += 1;
            let minor = self.amount();
            self.pay(shown, shop, minor);
        }
    }

    pub(super) fn pay(&mut self, mut shown: Shown, shop: usize, minor: u64) {
        let revoked = |token: &TokenId| {
            self.truth.tokens.get(token).is_none_or(|known| known.state() == Some(TokenState::Revoked))
        };
        shown.void = shown.of.iter().copied().filter(revoked).collect();
        self.numbers += 1;
        let Ok(order) = MerchantNumber::parse(&format!("o{}", self.numbers), "order") else { return };
        let Some(merchant) = self.shops.get(shop).copied() else { return };
        self.tellings.asked(merchant, &order, &shop_name(shop), shown.on.clone());
        self.ask(Ask::Pay { merchant, order, code: shown.digits.clone(), minor }, About::Pay(shown));
    }

    /// Now and then more than the phone is not asked about.
    pub(super) fn amount(&mut self) -> u64 {
        self.random.u64(1..=ASKED_ABOVE + ASKED_ABOVE / 4)
    }

    /// Somebody gives back a payment, of this token where one is named, in part or with its order, or says to the phone
    /// whether it is to be.
    pub(super) fn goes_on(&mut self, of: Option<TokenId>) {
        let payments = self.tellings.payments().filter(|(_, row)| of.is_none() || row.token == of);
        let payments: Vec<_> = payments.map(|(order, row)| (order.clone(), row.clone())).collect();
        let Some((order, payment)) = self.random.choice(payments) else { return };
        let (merchant, id, now_ms) = (payment.merchant, payment.id, self.now_ms);
        let refund_id = RefundId(self.random.u128(..).to_be_bytes());
        let ask = match (payment.state, payment.account, self.random.u32(0..4)) {
            (PaymentState::RequiresConfirmation { .. }, Some(account), 1..) => {
                let answer = if self.random.bool() { confirm::Answer::Confirm } else { confirm::Answer::Refuse };
                Ask::Answer { caller: Caller::Wearer(account), payment: id, answer }
            }
            (PaymentState::Succeeded, _, 1..) => {
                self.numbers += 1;
                let Ok(number) = MerchantNumber::parse(&format!("r{}", self.numbers), "refund") else { return };
                let request = RefundRequest { id: refund_id, number, amount_minor: self.random.u64(1..20), now_ms };
                Ask::Refund { merchant, payment: id, request }
            }
            _ => Ask::Cancel(CancelRequest { merchant, order, payment_id: id, refund_id, now_ms }),
        };
        self.ask(ask, About::Afterwards);
    }

    /// Something is done to a chip's token: by its wearer, by the operator, or by somebody who must not.
    pub(super) fn acts(&mut self, wrist: usize) {
        let Some(token) = self.wrists.get(wrist).and_then(|wrist| self.truth.living(wrist.chip)) else { return };
        let (token, owner) = (token.id, token.account);
        let action = self.random.choice(TokenAction::ALL).unwrap_or(TokenAction::Freeze);
        let (caller, by_stranger) = match self.random.u32(0..4) {
            0 => (Caller::Operator, false),
            1 => (Caller::Wearer(AccountId([0xEE; 16])), true),
            _ => (Caller::Wearer(owner), false),
        };
        self.ask(Ask::Act { token, caller, action }, About::Act { by_stranger });
    }
}

/// The name of a shop: some are longer than a watch has room for.
fn shop_name(number: usize) -> String {
    let length = if number.is_multiple_of(3) { 30 } else { 0 };
    format!("shop {number} {}", "é".repeat(length)).trim_end().to_owned()
}

/// The keys of a chip's channel, as its maker has derived them from its batch, or the operator by itself.
fn channel_keys(env: &Env, chip: ChipId, is_shipped: bool) -> Result<KeySet, String> {
    if is_shipped {
        return House::keys(env.vault.as_ref(), chip);
    }
    env.vault.chip_keys(chip, 1).map_err(|error| error.to_string())
}

impl World {
    /// The keys of this chip's channel.
    pub(super) fn channel_keys(&self, chip: ChipId) -> Result<KeySet, String> {
        channel_keys(&self.cloud.env, chip, self.plan.maker.is_some())
    }
}
