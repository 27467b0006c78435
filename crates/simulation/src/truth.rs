//! What has been promised: every answer that left a server, and what it must agree with. Nothing here is read from the
//! store before a server has said it.

use std::collections::{BTreeMap, BTreeSet};

use ledger::Amount;
use paycode::Stamp;
use platform::accounts::TopUp;
use platform::payments::code::fingerprint;
use platform::payments::confirm::Answer;
use platform::payments::{Decline, Fingerprint, Payment, PaymentState, Refund};
use platform::tokens::{Token, TokenAction, TokenState};
use platform::{AccountId, MerchantId, PaymentId, TokenId};

use crate::message::{Request, ToldBefore};
use crate::watch::ShownCode;

/// An order number as it was asked to be paid.
struct Attempt {
    fingerprint: Fingerprint,
    /// The code, where a watch has shown it.
    code: Option<usize>,
}

/// One order number.
#[derive(Default)]
pub(crate) struct Order {
    attempts: Vec<Attempt>,
    cancel_asked: bool,
    told: Option<Payment>,
    refunded_told_minor: u64,
}

/// A freeze that was acknowledged, and what might still end it.
#[derive(Default)]
struct Freeze {
    told: bool,
    /// Servers that have a resume and have not said what became of it.
    resumes_inside: Vec<usize>,
    /// How often a resume came to a server or left it. Where one did while a freeze was inside, the two may have happened
    /// in either order.
    resumes: u64,
}

/// Everything promised so far.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) codes: Vec<ShownCode>,
    by_text: BTreeMap<String, usize>,
    spent: BTreeMap<usize, PaymentId>,
    last_paid: BTreeMap<TokenId, Stamp>,
    pub(crate) orders: BTreeMap<(MerchantId, String), Order>,
    pub(crate) refunds: BTreeMap<(MerchantId, String), Refund>,
    pub(crate) top_ups: BTreeMap<(AccountId, String), TopUp>,
    confirms: BTreeSet<PaymentId>,
    refusals: BTreeSet<PaymentId>,
    /// By token, and by whether only the operator lifts it.
    freezes: BTreeMap<(TokenId, bool), Freeze>,
}

impl Truth {
    /// A watch shows a code.
    pub(crate) fn shown(&mut self, code: ShownCode) {
        self.by_text.insert(code.text.clone(), self.codes.len());
        self.codes.push(code);
    }

    /// A client sends this for the first time.
    pub(crate) fn asked(&mut self, request: &Request) {
        match request {
            Request::Pay { merchant, order, code, amount } => {
                let attempt =
                    Attempt { fingerprint: fingerprint(code, *amount), code: self.by_text.get(code).copied() };
                self.orders.entry((*merchant, order.as_str().to_owned())).or_default().attempts.push(attempt);
            }
            Request::Cancel { merchant, order } => {
                self.orders.entry((*merchant, order.as_str().to_owned())).or_default().cancel_asked = true;
            }
            Request::Answer { payment, owner, caller, answer } if owner == caller => {
                let asked = if *answer == Answer::Confirm { &mut self.confirms } else { &mut self.refusals };
                asked.insert(*payment);
            }
            _ => {}
        }
    }

    /// A request reaches a server: what has been told before binds the answer.
    pub(crate) fn arrives(&mut self, request: &Request, server: usize) -> ToldBefore {
        match request {
            Request::Act { token, action: TokenAction::Resume, by_operator, .. } => {
                for kind in lifted(*by_operator) {
                    let freeze = self.freezes.entry((*token, *kind)).or_default();
                    freeze.told = false;
                    freeze.resumes += 1;
                    freeze.resumes_inside.push(server);
                }
                ToldBefore::default()
            }
            Request::Act { token, action, by_operator, .. } => {
                let freeze = self.freezes.get(&(*token, only_operator_lifts(*action, *by_operator)));
                ToldBefore { resumes: freeze.map_or(0, |freeze| freeze.resumes), ..ToldBefore::default() }
            }
            Request::Pay { merchant, order, .. } | Request::Cancel { merchant, order } => {
                let order = self.orders.get(&(*merchant, order.as_str().to_owned()));
                order.map_or_else(ToldBefore::default, |order| ToldBefore {
                    id: order.told.as_ref().map(|payment| payment.id),
                    rank: order.told.as_ref().map_or(0, |told| rank(told.state)),
                    refunded_minor: order.refunded_told_minor,
                    resumes: 0,
                })
            }
            _ => ToldBefore::default(),
        }
    }

    /// A server is gone, and everything that was inside with it; what may still land is held by `heir`.
    pub(crate) fn server_gone(&mut self, server: usize, heir: Option<usize>) {
        for freeze in self.freezes.values_mut().filter(|freeze| freeze.resumes_inside.contains(&server)) {
            freeze.resumes += 1;
            match heir {
                Some(heir) => {
                    freeze.resumes_inside.iter_mut().filter(|one| **one == server).for_each(|one| *one = heir)
                }
                None => freeze.resumes_inside.retain(|one| *one != server),
            }
        }
    }

    /// What was set aside is paid: has its wearer said so?
    pub(crate) fn confirmed(&self, id: PaymentId) -> Result<(), String> {
        let asked = self.confirms.contains(&id);
        if asked { Ok(()) } else { Err(format!("{id} was paid and its wearer has not confirmed it")) }
    }

    /// A payment has become durable, its money moved or set aside: is it one that may be?
    pub(crate) fn spent(&mut self, payment: &Payment) -> Result<(), String> {
        let id = payment.id;
        let order = self.orders.get(&(payment.merchant, payment.order.as_str().to_owned()));
        let order = order.ok_or_else(|| format!("{id} was paid for an order that nobody has asked for"))?;
        let attempt = order.attempts.iter().find(|attempt| Some(attempt.fingerprint) == payment.fingerprint);
        let attempt = attempt.ok_or_else(|| format!("{id} was paid with parameters that nobody has asked for"))?;
        let code = attempt.code.ok_or_else(|| format!("{id} was paid with a code that no watch has shown"))?;
        if let Some(before) = self.spent.insert(code, id) {
            return Err(format!("one code paid {before} and {id}"));
        }
        let shown = self.codes.get(code).ok_or("a code is gone")?;
        let token = shown.token;
        if payment.token != Some(token) {
            return Err(format!("{id} was paid with a code of {token}"));
        }
        if self.last_paid.insert(token, shown.stamp).is_some_and(|last| last >= shown.stamp) {
            return Err(format!("{id} was paid with a code older than one that has paid"));
        }
        if payment.verified != shown.verified {
            return Err(format!("{id} takes its code for one shown with verified={}", payment.verified));
        }
        let now_step = i64::try_from(payment.created_ms / 30_000).unwrap_or(i64::MAX);
        if !(-1..=2).contains(&(now_step - i64::from(shown.stamp.step.0))) {
            return Err(format!("{id} was paid with a code out of its time"));
        }
        if [false, true].iter().any(|kind| self.freezes.get(&(token, *kind)).is_some_and(|freeze| freeze.told)) {
            return Err(format!("{id} was paid by {token} after its freeze was acknowledged"));
        }
        Ok(())
    }

    /// A server has told what became of an order. `stored` is what is durable at that moment.
    pub(crate) fn told_payment(
        &mut self,
        told: &Payment,
        before: &ToldBefore,
        stored: Option<&Payment>,
    ) -> Result<(), String> {
        let id = told.id;
        let name = format!("order {} of {}", told.order.as_str(), told.merchant);
        let stored = stored.ok_or_else(|| format!("{name} was acknowledged as {id} and is not durable"))?;
        agrees(told, stored).map_err(|what| format!("{name}, told and stored: {what}"))?;
        let order = self.orders.entry((told.merchant, told.order.as_str().to_owned())).or_default();
        if let Some(first) = &order.told {
            let (earlier, later) = if is_later(first, told) { (told, first) } else { (first, told) };
            agrees(earlier, later).map_err(|what| format!("{name}, told twice: {what}"))?;
        }
        if before.id.is_some_and(|known| known != id) {
            return Err(format!("{name} is {id} now"));
        }
        if rank(told.state) < before.rank {
            return Err(format!("{name} went back to {}", told.state.name()));
        }
        if told.state == PaymentState::Failed(Decline::RefusedByWearer) && !self.refusals.contains(&id) {
            return Err(format!("{name} was refused and its wearer has not done so"));
        }
        if told.refunded_minor < before.refunded_minor {
            return Err(format!("{name} forgot a refund"));
        }
        if told.state == PaymentState::Cancelled && !order.cancel_asked {
            return Err(format!("{name} was cancelled and nobody has asked for it"));
        }
        order.refunded_told_minor = order.refunded_told_minor.max(told.refunded_minor);
        if order.told.as_ref().is_none_or(|known| is_later(told, known)) {
            order.told = Some(told.clone());
        }
        Ok(())
    }

    /// A server has told of a refund. `stored` is what is durable under its number.
    pub(crate) fn told_refund(&mut self, told: &Refund, stored: Option<&Refund>) -> Result<(), String> {
        let name = format!("refund {} of {}", told.number.as_str(), told.merchant);
        if stored != Some(told) {
            return Err(format!("{name} was acknowledged and is not durable: {stored:?}"));
        }
        let known = self.refunds.entry((told.merchant, told.number.as_str().to_owned())).or_insert(told.clone());
        if known == told { Ok(()) } else { Err(format!("{name} is another refund now")) }
    }

    /// A server has told of a top-up. `stored` is what is durable under its reference.
    pub(crate) fn told_top_up(&mut self, told: &TopUp, stored: Option<&TopUp>) -> Result<(), String> {
        if stored != Some(told) {
            return Err(format!("top-up {} was acknowledged and is not durable", told.reference));
        }
        let known = self.top_ups.entry((told.account, told.reference.clone())).or_insert(told.clone());
        if known == told { Ok(()) } else { Err(format!("top-up {} is another one now", told.reference)) }
    }

    /// A server has told what a token is now; `None` where it has told nothing.
    pub(crate) fn told_token(
        &mut self,
        token: TokenId,
        (action, by_operator): (TokenAction, bool),
        server: usize,
        before: &ToldBefore,
        told: Option<&Token>,
    ) -> Result<(), String> {
        if action == TokenAction::Resume {
            for kind in lifted(by_operator) {
                let freeze = self.freezes.entry((token, *kind)).or_default();
                if let Some(place) = freeze.resumes_inside.iter().position(|one| *one == server) {
                    freeze.resumes_inside.swap_remove(place);
                    freeze.resumes += 1;
                }
            }
        }
        let Some(told) = told else { return Ok(()) };
        use TokenState::{Active, FrozenByOperator, FrozenByRisk, FrozenByWearer, Lost};
        let right = match (action, by_operator) {
            (TokenAction::Freeze, true) => matches!(told.state, FrozenByOperator | Lost),
            (TokenAction::Freeze, false) => {
                matches!(told.state, FrozenByWearer | FrozenByOperator | FrozenByRisk | Lost)
            }
            (TokenAction::Lost, _) => told.state == Lost,
            _ => told.state == Active,
        };
        if !right {
            return Err(format!("{token} is {} after {}", told.state.name(), action.name()));
        }
        if action != TokenAction::Resume {
            let freeze = self.freezes.entry((token, only_operator_lifts(action, by_operator))).or_default();
            // Nothing that could have lifted it was there meanwhile.
            freeze.told |= freeze.resumes_inside.is_empty() && freeze.resumes == before.resumes;
        }
        Ok(())
    }

    /// The payments told so far: the latest of each order.
    pub(crate) fn told(&self) -> impl Iterator<Item = &Payment> {
        self.orders.values().filter_map(|order| order.told.as_ref())
    }

    /// Whether somebody asked for this order with these parameters.
    pub(crate) fn was_asked(&self, merchant: MerchantId, order: &str, code: &str, amount: Amount) -> bool {
        let order = self.orders.get(&(merchant, order.to_owned()));
        let print = fingerprint(code, amount);
        order.is_some_and(|order| order.attempts.iter().any(|attempt| attempt.fingerprint == print))
    }
}

/// Whether only the operator lifts what this leads to.
fn only_operator_lifts(action: TokenAction, by_operator: bool) -> bool {
    by_operator || action == TokenAction::Lost
}

/// Which freezes a resume lifts: a wearer's lifts the wearer's own.
fn lifted(by_operator: bool) -> &'static [bool] {
    if by_operator { &[false, true] } else { &[false] }
}

/// Whether one answer is a later one of the same order than the other.
fn is_later(one: &Payment, other: &Payment) -> bool {
    let place = |payment: &Payment| (rank(payment.state), payment.refunded_minor);
    place(one) > place(other)
}

/// How far a payment in this state is: it never goes back.
pub(crate) fn rank(state: PaymentState) -> u8 {
    match state {
        PaymentState::RequiresConfirmation { .. } => 1,
        PaymentState::Succeeded => 2,
        _ => 3,
    }
}

/// Whether an earlier answer may have become the later one.
pub(crate) fn agrees(earlier: &Payment, later: &Payment) -> Result<(), String> {
    let becomes = match (earlier.state, later.state) {
        (one, other) if one == other => true,
        (PaymentState::RequiresConfirmation { .. }, PaymentState::Failed(why)) => {
            matches!(why, Decline::RefusedByWearer | Decline::NotConfirmed)
        }
        (PaymentState::RequiresConfirmation { .. }, PaymentState::Succeeded | PaymentState::Cancelled) => true,
        (PaymentState::Succeeded, PaymentState::Cancelled) => true,
        _ => false,
    };
    let Payment { state, refunded_minor, refunds, .. } = *later;
    let same = Payment { state, refunded_minor, refunds, ..earlier.clone() } == *later;
    // Each refund gives something back, and nothing is given back without one.
    let given = |payment: &Payment| (payment.refunded_minor, payment.refunds);
    let grown = match given(earlier) {
        before if before == given(later) => true,
        (minor, refunds) => minor < later.refunded_minor && refunds < later.refunds,
    };
    if becomes && same && grown {
        return Ok(());
    }
    Err(format!("{earlier:?} became {later:?}"))
}

#[cfg(test)]
mod tests;
