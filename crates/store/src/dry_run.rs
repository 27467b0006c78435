//! Stored payments under other risk rules: what an operator asks before it sets them.

use std::collections::HashMap;

use platform::merchants::Position;
use platform::payments::Payment;
use platform::risk::RuleSet;
use platform::risk::replay::{Replay, Replayed, Ruling};
use platform::{MerchantId, Settings, TokenId};

use crate::engine::View;
use crate::key::{Key, Numbered};
use crate::queries::{self, MAX_PAGE, Queries, partitions};
use crate::rows::codec::unseal;
use crate::{StoreError, rows};

/// The most payments one dry run reads.
pub const MAX_REPLAYED: usize = 200_000;
/// Rows read at a time.
const PIECE: usize = 4_096;
/// How long before the first payment that is told of the reading begins, so that sums of days and months are right: 32 days.
const WARM_UP_MS: u64 = 32 * 86_400_000;

/// What a dry run comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DryRun {
    /// Payments that the rules were asked about.
    pub payments: u64,
    /// Those that would have been decided otherwise.
    pub differ: u64,
    /// Of those: that would be declined, would be asked about, would pass.
    pub declined: u64,
    /// See `declined`.
    pub asked: u64,
    /// See `declined`.
    pub passed: u64,
    /// The first of them, oldest first, at most [`MAX_PAGE`].
    pub first: Vec<(Payment, Replayed)>,
}

impl Queries {
    /// Runs rules over the payments since a moment, as they are at this one. `None` where they are more than
    /// [`MAX_REPLAYED`], with those of the month before that sums are made of.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn dry_run(&self, rules: &RuleSet, settings: &Settings, since_ms: u64) -> Result<Option<DryRun>, StoreError> {
        let mut answer = None;
        self.reader().snapshot(&mut |view| {
            answer = dry_run(view, rules, settings, since_ms)?;
            Ok(())
        })?;
        Ok(answer)
    }
}

fn dry_run(
    view: &mut dyn View,
    rules: &RuleSet,
    settings: &Settings,
    since_ms: u64,
) -> Result<Option<DryRun>, StoreError> {
    let from_ms = since_ms.saturating_sub(WARM_UP_MS);
    let Some(payments) = payments_since(view, from_ms)? else { return Ok(None) };
    let mut replay = Replay::new(rules, settings, from_ms);
    let (mut places, mut tokens) = (HashMap::new(), HashMap::new());
    let mut run = DryRun::default();
    for payment in payments {
        let position = place_of(view, &mut places, payment.merchant)?;
        let created_ms = match payment.token {
            Some(token) => made_at(view, &mut tokens, token)?,
            None => 0,
        };
        let Some(replayed) = replay.next(&payment, position, created_ms) else { continue };
        if payment.created_ms < since_ms {
            continue;
        }
        run.payments += 1;
        if replayed.then == replayed.now {
            continue;
        }
        run.differ += 1;
        match replayed.now {
            Ruling::Declined => run.declined += 1,
            Ruling::Asked => run.asked += 1,
            Ruling::Passed => run.passed += 1,
        }
        if run.first.len() < MAX_PAGE {
            run.first.push((payment, replayed));
        }
    }
    Ok(Some(run))
}

/// Every payment since a moment, oldest first; `None` where they are too many.
fn payments_since(view: &mut dyn View, from_ms: u64) -> Result<Option<Vec<Payment>>, StoreError> {
    let mut payments = Vec::new();
    for (number, state) in partitions(view)? {
        let begin = ledger::journal::Head::empty(number).number;
        let mut after = first_before(view, from_ms, begin, state.last_number)?;
        loop {
            let rows = view.scan(Numbered::Payments, after, state.last_number, PIECE)?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            for (number, row) in &rows {
                let payment = rows::payment(unseal(&Key::Number(Numbered::Payments, *number), row)?)?;
                if payment.created_ms >= from_ms {
                    payments.push(payment);
                }
            }
            if payments.len() > MAX_REPLAYED {
                return Ok(None);
            }
        }
    }
    payments.sort_unstable_by_key(|payment| (payment.created_ms, payment.id));
    Ok(Some(payments))
}

/// A number of a partition below which every payment is older than this: numbers are given out in time, but for what the
/// clocks of servers differ by.
fn first_before(view: &mut dyn View, from_ms: u64, begin: u64, end: u64) -> Result<u64, StoreError> {
    const CLOCKS_DIFFER_MS: u64 = 600_000;
    let (mut below, mut above) = (begin, end);
    while above.saturating_sub(below) > PIECE as u64 {
        let middle = below + (above - below) / 2;
        let next = view.scan(Numbered::Payments, middle, above, 1)?.pop();
        let is_older = match next {
            None => false,
            Some((number, row)) => {
                let payment = rows::payment(unseal(&Key::Number(Numbered::Payments, number), &row)?)?;
                payment.created_ms.saturating_add(CLOCKS_DIFFER_MS) < from_ms
            }
        };
        if is_older { below = middle } else { above = middle }
    }
    Ok(below)
}

fn place_of(
    view: &mut dyn View,
    known: &mut HashMap<MerchantId, Option<Position>>,
    id: MerchantId,
) -> Result<Option<Position>, StoreError> {
    if let Some(place) = known.get(&id) {
        return Ok(*place);
    }
    let place = queries::merchant(view, id)?.and_then(|merchant| merchant.position);
    known.insert(id, place);
    Ok(place)
}

fn made_at(view: &mut dyn View, known: &mut HashMap<TokenId, u64>, id: TokenId) -> Result<u64, StoreError> {
    if let Some(created_ms) = known.get(&id) {
        return Ok(*created_ms);
    }
    let created_ms = queries::token(view, id)?.map_or(0, |token| token.created_ms);
    known.insert(id, created_ms);
    Ok(created_ms)
}
