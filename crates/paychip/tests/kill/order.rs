//! What tills were told of one order, and what must therefore be true of it. This knows nothing of the platform but what its
//! answers said.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A payment as an answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: String,
    pub order: String,
    pub state: String,
    pub amount: Option<u64>,
    pub refunded: u64,
}

impl Seen {
    pub fn of(payment: &Value) -> Self {
        let text = |name: &str| payment[name].as_str().unwrap_or_else(|| panic!("no {name}: {payment}")).to_owned();
        let refunded = payment["refunded"].as_u64().unwrap_or_else(|| panic!("no refunded: {payment}"));
        let amount = payment.get("amount").map(|amount| amount.as_u64().unwrap());
        Self { id: text("id"), order: text("order"), state: text("state"), amount, refunded }
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub enum Told {
    /// Paid, or waiting for the phone, with this code of this wearer's.
    Paid {
        wearer: usize,
        code: String,
        seen: Seen,
    },
    /// Declined, and why.
    Declined {
        reason: String,
        seen: Seen,
    },
    /// The order number is another payment's, or closed.
    NotPaid {
        reason: String,
    },
    /// Given back.
    Refunded {
        number: String,
        amount: u64,
        id: String,
    },
    NotRefunded {
        number: String,
    },
    Cancelled(Seen),
    /// The wearer answered on the phone, and the payment is in this state.
    Answered {
        state: String,
    },
    /// The wearer's answer came too late.
    AnsweredLate,
}

/// An order number, and all that was told of it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose it is.
    pub shop: usize,
    pub number: String,
    pub told: Vec<Told>,
}

/// What must be true of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seen: Seen,
    /// Whose money it is, by which code, where some was taken.
    pub payer: Option<(usize, String)>,
    /// What the merchant keeps.
    pub kept: u64,
    /// Refund numbers that were given back, with amount and id.
    pub refunds: BTreeMap<String, (u64, String)>,
    /// Refund numbers that were refused.
    pub refused: BTreeSet<String>,
}

impl Order {
    /// Why it was declined, where it was.
    pub fn decline(&self) -> Option<&str> {
        self.told.iter().find_map(|told| match told {
            Told::Declined { reason, .. } => Some(reason.as_str()),
            _ => None,
        })
    }

    /// What the answers come to. Fails where they contradict each other.
    pub fn outcome(&self) -> Outcome {
        let fails = |what: &str| -> ! { panic!("order {}: {what}: {:#?}", self.number, self.told) };
        let (mut ids, mut amounts) = (BTreeSet::new(), BTreeSet::new());
        let (mut payers, mut cancelled) = (BTreeSet::new(), None::<&Seen>);
        let (mut was_taken, mut has_failed, mut was_late) = (false, false, false);
        let (mut refunds, mut refused) = (BTreeMap::new(), BTreeSet::new());
        for told in &self.told {
            if let Told::Paid { seen, .. } | Told::Declined { seen, .. } | Told::Cancelled(seen) = told {
                ids.insert(&seen.id);
                amounts.extend(seen.amount);
                if seen.order != self.number {
                    fails("an answer is about another order");
                }
            }
            match told {
                Told::Paid { wearer, code, seen } => {
                    was_taken |= seen.state == "succeeded";
                    payers.insert((*wearer, code.clone()));
                }
                Told::Declined { .. } => has_failed = true,
                Told::AnsweredLate => was_late = true,
                Told::NotPaid { .. } => {}
                Told::Refunded { number, amount, id } => {
                    let before = refunds.insert(number.clone(), (*amount, id.clone()));
                    if before.is_some_and(|before| before != (*amount, id.clone())) {
                        fails("one refund number is two refunds");
                    }
                }
                Told::NotRefunded { number } => {
                    refused.insert(number.clone());
                }
                Told::Cancelled(seen) => {
                    if cancelled.is_some_and(|before| before != seen) {
                        fails("a repeated cancel was answered otherwise");
                    }
                    cancelled = Some(seen);
                }
                Told::Answered { state } => {
                    was_taken |= state == "succeeded";
                    has_failed |= state == "failed";
                }
            }
        }
        let given_back: u64 = refunds.values().map(|(amount, _)| amount).sum();
        if ids.len() != 1 || amounts.len() > 1 || payers.len() > 1 {
            fails("not one payment, one amount, one payer");
        }
        if refunds.keys().any(|number| refused.contains(number)) {
            fails("a refund was given and refused");
        }
        let amount = amounts.first().copied();
        let (state, refunded) = match cancelled {
            Some(seen) if seen.state == "cancelled" => {
                let before_any_money = !was_taken && seen.refunded == 0;
                let all_back = seen.amount == Some(seen.refunded);
                if has_failed || !(before_any_money || all_back) || given_back > seen.refunded {
                    fails("cancelled, and not all of it given back");
                }
                ("cancelled", seen.refunded)
            }
            Some(seen) if seen.state != "failed" || was_taken => fails("cancelled, and still paid"),
            Some(_) => ("failed", 0),
            None if was_taken && has_failed => fails("paid and failed"),
            None if was_taken => ("succeeded", given_back),
            None if has_failed || was_late => ("failed", 0),
            None => fails("nobody was told how it ended"),
        };
        if amount.is_none_or(|amount| given_back > amount) && given_back > 0 {
            fails("more was given back than paid");
        }
        let seen_amount = if cancelled.is_some_and(|seen| seen.amount.is_none()) { None } else { amount };
        let kept = if state == "succeeded" { amount.unwrap_or_default() - given_back } else { 0 };
        let id = ids.first().map_or_else(String::new, |id| (*id).clone());
        let seen = Seen { id, order: self.number.clone(), state: state.to_owned(), amount: seen_amount, refunded };
        let payer = payers.first().filter(|_| was_taken).cloned();
        Outcome { seen, payer, kept, refunds, refused }
    }
}
