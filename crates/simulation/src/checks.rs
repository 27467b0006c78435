//! What must be so: of each answer as it leaves a server, of everything promised after each restart, and of the whole
//! world when it has come to rest.

use ledger::AccountKind;
use platform::accounts::TopUp;
use platform::payments::confirm::Answer;
use platform::payments::{Decline, Payment, PaymentState, Refund};
use platform::risk::{Cause, Effect, RuleSet, Test};
use platform::tokens::TokenState;
use platform::{PaymentId, Reason};
use store::commands::Paid;
use store::engine::Engine;
use store::{Failure, StoreError, Tables};

use crate::database::SimulatedEngine;
use crate::faults::Fault;
use crate::message::{Reply, Request, Ticket, ToldBefore};
use crate::truth::agrees;
use crate::world::World;

/// Rounds of postings by every server after which everything must have reached the merchants: refunds that one server
/// has booked may wait for payments that another one posts.
const POSTING_ROUNDS: usize = 3;
/// The pause before each of them.
const REST_MS: u64 = 60_000;

impl World {
    /// An answer leaves a server. Whatever it says must be durable now, and true.
    pub(crate) fn told(&mut self, server: usize, ticket: &Ticket, reply: &Reply) -> Result<(), String> {
        self.trace.line(format!("server {server} tells {reply:?}"));
        match (&ticket.request, reply) {
            (Request::Pay { merchant, order, code, amount }, Reply::Paid(answer)) => {
                let stored = self.stored(|tables| tables.payment_by_order(*merchant, order))?;
                let name = format!("order {} of {merchant}", order.as_str());
                match answer {
                    Ok(Paid::Payment(told)) => {
                        if told.merchant != *merchant || told.order != *order || told.amount != Some(*amount) {
                            return Err(format!("{name}: the answer is of another payment, {told:?}"));
                        }
                        if !self.truth.was_asked(*merchant, order.as_str(), code, *amount) {
                            return Err(format!("{name}: an answer to what was never asked"));
                        }
                        self.money_is_as_told(told)?;
                        self.truth.told_payment(told, &ticket.told_before, stored.as_ref())
                    }
                    Ok(Paid::Wait { .. }) if ticket.told_before.id.is_some() => {
                        Err(format!("{name} was told to wait after it had been answered"))
                    }
                    Err(Failure::Refused(refusal)) => refused_payment(refusal.reason, stored.as_ref(), code, *amount)
                        .map_err(|what| format!("{name} was refused: {what}")),
                    Ok(Paid::Wait { .. }) | Err(Failure::Store(_)) => Ok(()),
                }
            }
            (Request::Cancel { merchant, order }, Reply::Cancelled(answer)) => match answer {
                Ok(told) => {
                    let stored = self.stored(|tables| tables.payment_by_order(*merchant, order))?;
                    let over = matches!(told.state, PaymentState::Cancelled | PaymentState::Failed(_));
                    if !over {
                        return Err(format!("order {} is not over after its cancel: {told:?}", order.as_str()));
                    }
                    self.money_is_as_told(told)?;
                    self.truth.told_payment(told, &ticket.told_before, stored.as_ref())
                }
                Err(failure) => never(failure, "a cancel"),
            },
            (Request::Refund { merchant, payment, number, amount_minor }, Reply::Refunded(answer)) => {
                let stored = self.stored(|tables| tables.refund(*merchant, number))?;
                match answer {
                    Ok(told) => {
                        if told.payment != *payment || told.amount.minor() != *amount_minor {
                            return Err(format!("refund {}: another was answered", number.as_str()));
                        }
                        if self.books.refunds.get(&told.id.0) != Some(amount_minor) {
                            return Err(format!("refund {} was acknowledged and never booked", number.as_str()));
                        }
                        self.truth.told_refund(told, stored.as_ref())
                    }
                    Err(Failure::Refused(refusal)) => {
                        let paid = self.books.paid.get(payment).ok_or("a refund of what was never paid")?;
                        let fits = paid.refunded_minor + i128::from(*amount_minor) <= paid.minor;
                        let refusable =
                            matches!(refusal.reason, Reason::RefundExceedsPayment | Reason::PaymentNotRefundable);
                        if fits || !refusable || stored.is_some() {
                            return Err(format!("refund {} was refused: {refusal}", number.as_str()));
                        }
                        Ok(())
                    }
                    Err(Failure::Store(_)) => Ok(()),
                }
            }
            (Request::TopUp { account, reference, .. }, Reply::ToppedUp(answer)) => match answer {
                Ok(told) => {
                    let stored = self.stored(|tables| tables.top_up(*account, reference))?;
                    self.truth.told_top_up(told, stored.as_ref())?;
                    self.booked(told)
                }
                Err(failure) => never(failure, "a top-up"),
            },
            (Request::Act { token, action, by_operator, .. }, Reply::Acted(answer)) => {
                let act = (*action, *by_operator);
                if answer.as_ref().is_ok_and(|token| token.state == TokenState::FrozenByRisk) {
                    self.faults.count(Fault::FrozenByRisk);
                }
                self.truth.told_token(*token, act, server, &ticket.told_before, answer.as_ref().ok())
            }
            (Request::SetRules { .. }, Reply::RulesSet(answer)) => match answer {
                Ok(told) => {
                    let stored = self.stored(|tables| tables.rule_set(told.version))?;
                    let stored =
                        stored.ok_or_else(|| format!("rules {} were told and are not durable", told.version))?;
                    if RuleSet::parse(&stored.text, told.version, &self.env.settings).as_ref() != Ok(told) {
                        return Err(format!("rules {} were told, and others are stored", told.version));
                    }
                    // Every server looks for them soon; here at once.
                    self.env.rules.put(told.clone());
                    Ok(())
                }
                Err(failure) => never(failure, "risk rules"),
            },
            (Request::Reinstate { .. }, Reply::Reinstated(answer)) => match answer {
                Ok(told) if told.suspended_ms.is_some() => {
                    Err(format!("{} is suspended after its reinstatement", told.id))
                }
                Ok(_) => Ok(()),
                Err(failure) => never(failure, "a reinstatement"),
            },
            (Request::Answer { payment, owner, caller, answer }, Reply::Confirmed(reply)) => {
                self.confirmed(*payment, owner == caller, *answer, reply)
            }
            (Request::Sweep, Reply::Swept(answer)) => answer.iter().flatten().try_for_each(|told| {
                let stored = self.stored(|tables| tables.payment_by_order(told.merchant, &told.order))?;
                self.money_is_as_told(told)?;
                self.truth.told_payment(told, &ticket.told_before, stored.as_ref())
            }),
            (Request::Post, Reply::Posted(_)) | (Request::PostPart(_), Reply::PostedPart(_)) => Ok(()),
            (request, reply) => Err(format!("{reply:?} is no answer to {request:?}")),
        }
    }

    /// A wearer is told what became of a payment that waited; a stranger never is.
    fn confirmed(
        &mut self,
        payment: PaymentId,
        is_owner: bool,
        answer: Answer,
        reply: &Result<Payment, Failure>,
    ) -> Result<(), String> {
        match reply {
            Ok(_) if !is_owner => Err(format!("a stranger has answered {payment}")),
            Ok(told) => {
                let right = match answer {
                    Answer::Confirm => told.state == PaymentState::Succeeded,
                    _ => told.state == PaymentState::Failed(Decline::RefusedByWearer),
                };
                if !right || told.id != payment {
                    return Err(format!("{payment} was answered with {answer:?} and is {told:?}"));
                }
                let stored = self.stored(|tables| tables.payment_by_order(told.merchant, &told.order))?;
                self.money_is_as_told(told)?;
                self.truth.told_payment(told, &ToldBefore::default(), stored.as_ref())
            }
            Err(Failure::Refused(refusal)) => match refusal.reason {
                Reason::PaymentNotFound if !is_owner => Ok(()),
                Reason::ConfirmationOver if is_owner => Ok(()),
                _ => Err(format!("an answer to {payment} was refused: {refusal}")),
            },
            Err(Failure::Store(_)) => Ok(()),
        }
    }

    /// Where a payment says that money has moved, it has; where it says that none has, none has.
    fn money_is_as_told(&self, told: &Payment) -> Result<(), String> {
        let paid = self.books.paid.get(&told.id);
        let refunded_minor = i128::from(told.refunded_minor);
        let as_told = match told.state {
            PaymentState::Succeeded => paid.is_some_and(|paid| refunded_minor <= paid.refunded_minor),
            PaymentState::Cancelled => paid.is_none_or(|paid| refunded_minor == paid.minor),
            PaymentState::RequiresConfirmation { .. } => self.books.was_held(told.id),
            PaymentState::Failed(_) => paid.is_none(),
        };
        if as_told && (paid.is_some() || refunded_minor == 0) {
            return Ok(());
        }
        Err(format!("{told:?} was told, and the journal says {paid:?}"))
    }

    fn booked(&self, told: &TopUp) -> Result<(), String> {
        let booked = self.books.top_ups.get(&told.id.0);
        if booked == Some(&(told.account.0, told.amount.minor())) {
            return Ok(());
        }
        Err(format!("top-up {} was told, and the journal says {booked:?}", told.reference))
    }

    /// A payment that moved its money, or set it aside, was decided under rules that are durable, and as they say.
    pub(crate) fn was_ruled(&self, payment: &Payment, was_asked: bool) -> Result<(), String> {
        let id = payment.id;
        let decision = payment.decision.as_ref().ok_or_else(|| format!("{id} moved money and no rules were asked"))?;
        let rules = match decision.version {
            0 => RuleSet::built_in(&self.env.settings),
            version => {
                let stored = self.queries.rules(version).map_err(|error| error.to_string())?;
                let stored =
                    stored.ok_or_else(|| format!("{id} was decided by rules {version}, which nobody has set"))?;
                RuleSet::parse(&stored.text, version, &self.env.settings).map_err(|fault| fault.to_string())?
            }
        };
        let asked_for = decision.fired.as_ref();
        let effect = asked_for.map(|fired| fired.effect);
        if effect != was_asked.then_some(Effect::Confirm) {
            return Err(format!("{id}: the rules said {effect:?}, and asked was {was_asked}"));
        }
        // Whether its amount alone asks the phone, worked out here.
        let Some(amount) = payment.amount else { return Err(format!("{id} has no amount")) };
        let above = rules.rules.iter().any(|rule| {
            let is_of_it = rule.effect == Effect::Confirm && rule.when.currency == Some(amount.currency());
            is_of_it && matches!(rule.test, Test::Payment { max_minor } if amount.minor() > max_minor)
        });
        let by_amount = asked_for.is_some_and(|fired| fired.cause == Cause::Payment);
        if above == by_amount { Ok(()) } else { Err(format!("{id} of {amount:?} was decided against {rules:?}")) }
    }

    /// What is durable, read as the commands read it.
    fn stored<T>(&self, read: impl FnOnce(&mut Tables<'_>) -> Result<T, StoreError>) -> Result<T, String> {
        let mut engine = SimulatedEngine::shared(&self.disk, 0);
        engine
            .begin()
            .and_then(|()| Tables::open(&mut engine).and_then(|mut tables| read(&mut tables)))
            .map_err(|error| format!("what is durable cannot be read: {error}"))
    }

    /// Everything that was ever acknowledged is durable, as it was told or as it may have become since.
    pub(crate) fn all_that_was_told_is_there(&self) -> Result<(), String> {
        self.stored(|tables| {
            let mut missing = Vec::new();
            for told in self.truth.told() {
                let stored = tables.payment_by_order(told.merchant, &told.order)?;
                if stored.as_ref().is_none_or(|stored| agrees(told, stored).is_err()) {
                    missing.push(format!("{told:?} was acknowledged, and stored is {stored:?}"));
                }
            }
            for told in self.truth.refunds.values() {
                let stored: Option<Refund> = tables.refund(told.merchant, &told.number)?;
                if stored.as_ref() != Some(told) {
                    missing.push(format!("{told:?} was acknowledged, and stored is {stored:?}"));
                }
            }
            for told in self.truth.top_ups.values() {
                if tables.top_up(told.account, &told.reference)?.as_ref() != Some(told) {
                    missing.push(format!("{told:?} was acknowledged and is gone"));
                }
            }
            Ok(missing)
        })?
        .into_iter()
        .next()
        .map_or(Ok(()), Err)
    }

    /// The world comes to rest: everything under way ends, everything is posted, everything must add up.
    pub(crate) fn rest(&mut self) -> Result<u64, String> {
        self.calm = true;
        for number in 0..self.servers.len() {
            self.after(0, crate::world::Event::Restart(number));
            if let Some(server) = self.servers.get_mut(number) {
                server.disk_full_until_ms = 0;
            }
        }
        let mut steps = 0;
        for _ in 0..=POSTING_ROUNDS {
            while self.step()? {
                steps += 1;
            }
            // Long enough for whatever waits for its wearer to be over by every clock.
            for number in 0..self.servers.len() {
                self.after(REST_MS, crate::world::Event::Post(number));
            }
        }
        while self.step()? {
            steps += 1;
        }
        self.all_that_was_told_is_there()?;
        self.sound()?;
        self.merchants_have_theirs()?;
        if let Some(id) = self.books.still_waits() {
            return Err(format!("{id} still waits, and its time is long over"));
        }
        Ok(steps)
    }

    /// The store's own audit, the model's own sums, and both of them the same.
    pub(crate) fn sound(&self) -> Result<(), String> {
        let audit = self.queries.audit().map_err(|error| error.to_string())?;
        if let Some(finding) = audit.findings.first() {
            return Err(format!("the audit finds: {finding}"));
        }
        self.books.conserved()?;
        for (account, minor) in self.books.balances() {
            let stored = self.queries.balance(account).map_err(|error| error.to_string())?;
            if i128::from(stored) != minor {
                return Err(format!("{account:?} is stored as {stored} and adds up to {minor}"));
            }
        }
        for (id, paid) in &self.books.paid {
            let payment = self.queries.payment(*id).map_err(|error| error.to_string())?;
            let refunded_minor = payment.map_or(-1, |payment| i128::from(payment.refunded_minor));
            if refunded_minor != paid.refunded_minor {
                return Err(format!("{id} says {refunded_minor} was given back, and it was {}", paid.refunded_minor));
            }
        }
        Ok(())
    }

    /// Nothing waits in clearing any more, but refunds of a shop that has nothing to give back.
    fn merchants_have_theirs(&self) -> Result<(), String> {
        for shop in &self.shops {
            let owed = self.books.owed(shop.id);
            let payable = ledger::posting::payable(shop.id.0, shop.currency);
            let has = self.queries.balance(&payable).map_err(|error| error.to_string())?;
            let waits = self.queries.unposted_of(shop.id, shop.currency).map_err(|error| error.to_string())?;
            if i128::from(has) != owed.max(0) || i128::from(waits) != owed.min(0) {
                return Err(format!("{} is owed {owed}, has {has}, and {waits} waits", shop.id));
            }
        }
        let in_clearing: i128 = self
            .books
            .balances()
            .filter(|(account, _)| account.kind == AccountKind::Clearing)
            .map(|(_, minor)| minor)
            .sum();
        let owed_back: i128 = self.shops.iter().map(|shop| self.books.owed(shop.id).min(0)).sum();
        if in_clearing == owed_back { Ok(()) } else { Err(format!("{in_clearing} is still in clearing")) }
    }
}

/// A payment is refused for what is durable under its number, and for nothing else.
fn refused_payment(reason: Reason, stored: Option<&Payment>, code: &str, amount: ledger::Amount) -> Result<(), String> {
    let print = platform::payments::code::fingerprint(code, amount);
    let right = match (reason, stored.map(|payment| payment.fingerprint)) {
        (Reason::OrderParametersDiffer, Some(Some(other))) => other != print,
        (Reason::OrderCancelled, Some(None)) => true,
        // Nothing of it was looked at.
        (Reason::MerchantSuspended, None) => true,
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("{reason:?}, and stored is {stored:?}")) }
}

/// What these clients ask is never refused; a store that failed has promised nothing.
fn never(failure: &Failure, what: &str) -> Result<(), String> {
    match failure {
        Failure::Refused(refusal) => Err(format!("{what} was refused: {refusal}")),
        Failure::Store(_) => Ok(()),
    }
}
