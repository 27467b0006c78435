//! Who asks: tills, wearers at their phones, and people who try what they should not. And the network between them and
//! the servers.

use ledger::{Amount, Currency};
use paycode::{Sequence, Stamp, TimeStep, TokenIndex};
use platform::payments::confirm::Answer;
use platform::payments::{MerchantNumber, Payment, PaymentState};
use platform::tokens::TokenAction;
use platform::{MerchantId, PaymentId, Reason};
use store::Failure;
use store::commands::Paid;

use crate::faults::Fault;
use crate::message::{Reply, Request};
use crate::watch::code;
use crate::world::{Event, Shop, World};

/// How often a till asks for a payment before it cancels.
const PAY_TRIES: u32 = 4;
/// How often anything else is asked.
const TRIES: u32 = 60;
/// Codes that thieves of the mask key try at once: more than freeze a token.
const GUESSES: usize = 14;
/// How long a till waits for an answer.
const TILL_WAITS_MS: u64 = 3_000;

/// One thing a client wants to know, asked until it is answered.
pub(crate) struct Exchange {
    pub(crate) request: Request,
    tries_left: u32,
    answered: bool,
    /// The client has not heard well: it asks once more after its answer.
    asks_again: bool,
}

impl World {
    /// A message, on its way to wherever it is for.
    pub(crate) fn send(&mut self, event: Event) {
        if self.befalls(self.plan.lost) {
            self.faults.count(Fault::MessageLost);
            return;
        }
        if self.befalls(self.plan.repeated)
            && let Some(again) = event.again()
        {
            self.faults.count(Fault::MessageRepeated);
            let after_ms = self.random.u64(1..20_000);
            self.after(after_ms, again);
        }
        let mut after_ms = self.random.u64(2..80);
        if self.befalls(self.plan.delayed) {
            self.faults.count(Fault::MessageDelayed);
            after_ms += self.random.u64(200..40_000);
        }
        self.after(after_ms, event);
    }

    /// Begins to ask.
    fn ask(&mut self, request: Request) {
        self.truth.asked(&request);
        let tries_left = if matches!(request, Request::Pay { .. }) { PAY_TRIES } else { TRIES };
        let asks_again = self.befalls(60);
        self.exchanges.push(Exchange { request, tries_left, answered: false, asks_again });
        self.timer(self.exchanges.len() - 1);
    }

    /// Asks again, at any server, where no answer has come.
    pub(crate) fn timer(&mut self, number: usize) {
        let server = self.random.usize(0..self.servers.len());
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        if exchange.answered && !core::mem::take(&mut exchange.asks_again) {
            return;
        }
        let request = exchange.request.clone();
        let Some(left) = exchange.tries_left.checked_sub(1) else {
            if let Request::Pay { merchant, order, .. } = request {
                exchange.answered = true;
                self.ask(Request::Cancel { merchant, order });
            }
            return;
        };
        exchange.tries_left = left;
        self.after(TILL_WAITS_MS, Event::Timer(number));
        self.send(Event::Arrives { server, exchange: Some(number), request });
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, number: usize, reply: &Reply) {
        let Some(exchange) = self.exchanges.get_mut(number) else { return };
        if !reply.is_definite() || exchange.answered {
            return;
        }
        exchange.answered = true;
        match (exchange.request.clone(), reply) {
            (Request::Pay { merchant, order, .. }, Reply::Paid(Ok(Paid::Payment(payment))))
                if payment.state == PaymentState::Succeeded =>
            {
                if self.befalls(200) {
                    let paid_minor = payment.amount.map_or(1, Amount::minor);
                    self.give_back(merchant, payment.id, paid_minor);
                }
                if self.befalls(40) {
                    self.ask(Request::Cancel { merchant, order });
                }
            }
            (Request::Pay { .. }, Reply::Paid(Ok(Paid::Payment(payment))))
                if matches!(payment.state, PaymentState::RequiresConfirmation { .. }) =>
            {
                self.phone_shows(payment);
            }
            (Request::Answer { .. }, Reply::Confirmed(Ok(payment)))
                if payment.state == PaymentState::Succeeded && self.befalls(300) =>
            {
                let paid_minor = payment.amount.map_or(1, Amount::minor);
                self.give_back(payment.merchant, payment.id, paid_minor);
            }
            (
                Request::Act { token, account, action: TokenAction::Freeze | TokenAction::Lost, .. },
                Reply::Acted(Ok(_)),
            ) => {
                // Found again, soon or late; sometimes the operator does it.
                let by_operator = self.befalls(500);
                self.resume_later(Request::Act { token, account, action: TokenAction::Resume, by_operator });
            }
            (Request::Pay { merchant, .. }, Reply::Paid(Err(Failure::Refused(refusal))))
                if refusal.reason == Reason::MerchantSuspended =>
            {
                self.faults.count(Fault::MerchantSuspended);
                if self.befalls(300) {
                    self.ask(Request::Reinstate { merchant });
                }
            }
            // What is not the wearer's to lift: the operator does it then.
            (
                Request::Act { token, account, action: TokenAction::Resume, by_operator: false },
                Reply::Acted(Err(Failure::Refused(refusal))),
            ) if refusal.reason == Reason::OperatorOnly => {
                self.resume_later(Request::Act { token, account, action: TokenAction::Resume, by_operator: true });
            }
            _ => {}
        }
    }

    fn resume_later(&mut self, resume: Request) {
        self.truth.asked(&resume);
        self.exchanges.push(Exchange { request: resume, tries_left: TRIES, answered: false, asks_again: false });
        let number = self.exchanges.len() - 1;
        self.after_about(60_000, Event::Timer(number));
    }

    /// A payment waits, and the phone shows it: its wearer answers soon, late or never, now and then both ways, and
    /// sometimes a stranger tries to.
    fn phone_shows(&mut self, payment: &Payment) {
        let Some(owner) = payment.account else { return };
        let stranger = self.random.usize(0..self.watches.len());
        let stranger = self.watches.get(stranger).map_or(owner, |watch| watch.account);
        let (confirms, refuses, tries) = (self.befalls(700), self.befalls(200), self.befalls(100));
        for (does, caller, answer) in
            [(confirms, owner, Answer::Confirm), (refuses, owner, Answer::Refuse), (tries, stranger, Answer::Confirm)]
        {
            if does {
                let request = Request::Answer { payment: payment.id, owner, caller, answer };
                self.truth.asked(&request);
                self.exchanges.push(Exchange { request, tries_left: TRIES, answered: false, asks_again: false });
                let number = self.exchanges.len() - 1;
                self.after_about(12_000, Event::Timer(number));
            }
        }
    }

    /// Several tills of a shop give back parts of one payment at once, together perhaps more than was paid.
    fn give_back(&mut self, merchant: MerchantId, payment: PaymentId, paid_minor: u64) {
        for _ in 0..self.random.u32(1..=4) {
            let amount_minor = self.random.u64(1..=paid_minor);
            let text = format!("r{}", self.number());
            let Ok(number) = MerchantNumber::parse(&text, "refund") else { return };
            self.ask(Request::Refund { merchant, payment, number, amount_minor });
        }
    }

    /// Somebody buys something, or tries to without paying.
    pub(crate) fn sale(&mut self) {
        if self.calm {
            return;
        }
        self.after_about(self.plan.sale_every_ms, Event::Sale);
        // A few wearers are always at the same till: so that tokens and shops meet.
        let crowd = if self.befalls(300) { self.watches.len().min(3) } else { self.watches.len() };
        let watch = self.random.usize(0..crowd);
        let verified = self.random.bool();
        let now_ms = self.now_ms;
        let synced = self.befalls(700);
        let Some(wearer) = self.watches.get_mut(watch) else { return };
        if wearer.wants_sync() && synced {
            wearer.sync(now_ms);
        }
        let index = wearer.index;
        let attack = self.random.u32(0..1_000);
        let text = match attack {
            0..30 if !self.truth.codes.is_empty() => {
                self.faults.count(Fault::Replay);
                let old = self.random.usize(0..self.truth.codes.len());
                self.truth.codes.get(old).map(|shown| shown.text.clone())
            }
            30..40 => {
                self.faults.count(Fault::ForgedCode);
                Some(format!("71{:018}", self.random.u64(0..1_000_000_000_000_000_000)))
            }
            40..55 => {
                // A thief of the mask key, without the pay key.
                self.faults.count(Fault::ForgedCode);
                let step = TimeStep::from_unix_seconds(now_ms / 1_000).ok();
                let stamp = step.map(|step| Stamp::new(step, Sequence::FIRST));
                stamp.and_then(|stamp| code(index, stamp, true, 2)).map(|code| code.as_str().to_owned())
            }
            _ if (120..124).contains(&attack) => {
                self.guess_together(index);
                return;
            }
            _ => wearer.show(now_ms, verified).map(|shown| {
                let text = shown.text.clone();
                self.truth.shown(shown);
                text
            }),
        };
        let Some(text) = text else { return };
        let till = self.random.usize(0..self.plan.tills);
        let Some(Shop { id: merchant, currency }) = self.shops.get(till % self.shops.len()).copied() else { return };
        let Ok(order) = MerchantNumber::parse(&format!("o{}", self.number()), "order") else { return };
        self.charge(&text, merchant, currency, order.clone());
        match attack {
            55..90 => {
                self.faults.count(Fault::CodeTwice);
                let Ok(other) = MerchantNumber::parse(&format!("o{}", self.number()), "order") else { return };
                self.charge(&text, merchant, currency, other);
            }
            90..110 => {
                self.faults.count(Fault::OtherParameters);
                self.charge(&text, merchant, currency, order);
            }
            // The customer has changed his mind, while the payment is on its way.
            110..120 => self.ask(Request::Cancel { merchant, order }),
            _ => {}
        }
    }

    /// Thieves of the mask key guess at one wearer's codes, at as many tills as they can.
    fn guess_together(&mut self, index: TokenIndex) {
        let Ok(now) = TimeStep::from_unix_seconds(self.now_ms / 1_000) else { return };
        for guess in 0..GUESSES {
            self.faults.count(Fault::ForgedCode);
            let stamp = Stamp::new(now, Sequence::ALL[guess % Sequence::ALL.len()]);
            let Some(text) = code(index, stamp, true, 2 + guess as u8) else { return };
            let shop = self.shops.get(guess % self.shops.len()).copied();
            let order = MerchantNumber::parse(&format!("o{}", self.number()), "order");
            if let (Some(shop), Ok(order)) = (shop, order) {
                self.charge(text.as_str(), shop.id, shop.currency, order);
            }
        }
    }

    /// A till charges a code under an order number.
    fn charge(&mut self, text: &str, merchant: MerchantId, currency: Currency, order: MerchantNumber) {
        let minor = match self.random.u32(0..100) {
            0..3 => self.random.u64(15_000..25_000),
            3..40 => self.random.u64(1_000..8_000),
            _ => self.random.u64(1..1_000),
        };
        let Ok(amount) = Amount::new(minor, currency) else { return };
        self.ask(Request::Pay { merchant, order, code: text.to_owned(), amount });
    }

    /// A wearer puts money in, stops a lost watch, or syncs it.
    pub(crate) fn phone(&mut self) {
        if self.calm {
            return;
        }
        self.after_about(self.plan.sale_every_ms * 6, Event::Phone);
        let crowd = if self.befalls(300) { self.watches.len().min(3) } else { self.watches.len() };
        let watch = self.random.usize(0..crowd);
        let what = self.random.u32(0..100);
        let minor = self.random.u64(1..20_000);
        let reference = format!("t{}", self.number());
        let now_ms = self.now_ms;
        let by_operator = self.random.bool();
        let Some(wearer) = self.watches.get_mut(watch) else { return };
        let (token, account) = (wearer.token, wearer.account);
        match what {
            0..60 => {
                let currency = self.queries.account(account).ok().flatten().map(|account| account.currency);
                let amount = currency.and_then(|currency| Amount::new(minor, currency).ok());
                let Some(amount) = amount else { return };
                self.ask(Request::TopUp { account, reference: reference.clone(), amount });
                if what < 8 {
                    // Twice under one reference, from two windows.
                    self.ask(Request::TopUp { account, reference, amount });
                }
            }
            60..80 => self.ask(Request::Act { token, account, action: TokenAction::Freeze, by_operator }),
            80..85 => self.ask(Request::Act { token, account, action: TokenAction::Lost, by_operator }),
            85..87 => {
                let number = self.number();
                self.ask(Request::SetRules { number });
            }
            _ => wearer.sync(now_ms),
        }
    }
}

impl Event {
    /// The same message once more, where it is one.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Arrives { server, exchange, request } => {
                Some(Self::Arrives { server: *server, exchange: *exchange, request: request.clone() })
            }
            Self::Answered { exchange, reply } => Some(Self::Answered { exchange: *exchange, reply: reply.clone() }),
            _ => None,
        }
    }
}
