//! Merchants that have authenticated lately, by their key's hash: looking one up takes two rows, and a busy till does it
//! with every payment. What is kept of a merchant here never changes; one whose key is taken away is known for
//! [`KEPT`] longer at most.
//!
//! One that goes on asking is looked up again before that, beside its payments, and not all merchants at once: those that came
//! together after a start would else be forgotten together, and all their payments wait for the database at that moment.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use platform::KeyHash;
use platform::merchants::Merchant;
use store::Queries;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a merchant is known without looking again.
const KEPT: Duration = Duration::from_secs(5);
/// From this age on a merchant is looked up again beside what it asks for; by its key, up to [`SPREAD`] later.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const SPREAD: Duration = Duration::from_secs(2);
/// Merchants looked up beside at a time.
const MAX_BESIDE: usize = 4;
/// Merchants known at a time; when there are more, all are forgotten and looked up again.
const MAX_KNOWN: usize = 20_000;

/// The merchants known.
pub(crate) struct KnownMerchants {
    known: RwLock<HashMap<[u8; 32], Known>>,
    beside: Arc<Semaphore>,
}

struct Known {
    merchant: Merchant,
    since: Instant,
    /// Whether it is being looked up again, or has been in vain.
    is_looked_up: AtomicBool,
}

impl Default for KnownMerchants {
    fn default() -> Self {
        Self { known: RwLock::default(), beside: Arc::new(Semaphore::new(MAX_BESIDE)) }
    }
}

/// The right to look a merchant up again: one has it at a time.
pub(crate) struct Turn(OwnedSemaphorePermit);

impl KnownMerchants {
    /// The merchant with this key, if it was looked up lately; and the turn of whoever asks to look it up again, where
    /// that is due.
    pub(crate) fn find(&self, key: KeyHash) -> Option<(Merchant, Option<Turn>)> {
        self.find_at(key, Instant::now())
    }

    fn find_at(&self, key: KeyHash, now: Instant) -> Option<(Merchant, Option<Turn>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(&key.0)?;
        let age = now.saturating_duration_since(found.since);
        if age >= KEPT {
            return None;
        }
        let is_due = age >= again_after(key) && !found.is_looked_up.load(Ordering::Relaxed);
        let turn = if is_due { self.turn(found) } else { None };
        Some((found.merchant.clone(), turn))
    }

    /// Where enough are looked up at this moment, the next who asks may have it.
    fn turn(&self, found: &Known) -> Option<Turn> {
        let permit = Arc::clone(&self.beside).try_acquire_owned().ok()?;
        let is_first = !found.is_looked_up.swap(true, Ordering::Relaxed);
        is_first.then_some(Turn(permit))
    }

    /// Remembers a merchant that was looked up.
    pub(crate) fn remember(&self, merchant: &Merchant) {
        self.remember_at(merchant, Instant::now());
    }

    fn remember_at(&self, merchant: &Merchant, since: Instant) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let new = Known { merchant: merchant.clone(), since, is_looked_up: AtomicBool::new(false) };
        known.insert(merchant.api_key.0, new);
    }

    /// Forgets a merchant whose key is no more.
    fn forget(&self, key: KeyHash) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(&key.0);
    }

    /// Looks a merchant up again, on a thread that may wait. Where that fails, it is known for as long as it would have been.
    pub(crate) fn look_up_again(self: &Arc<Self>, queries: &Arc<Queries>, key: KeyHash, turn: Turn) {
        let (known, queries) = (Arc::clone(self), Arc::clone(queries));
        tokio::task::spawn_blocking(move || {
            match queries.merchant_by_key(key) {
                Ok(Some(merchant)) => known.remember(&merchant),
                Ok(None) => known.forget(key),
                Err(error) => tracing::warn!(%error, "a merchant could not be looked up again"),
            }
            // Held until here.
            drop(turn.0);
        });
    }
}

/// The age from which on the merchant with this key is looked up again: that of each is another.
fn again_after(key: KeyHash) -> Duration {
    let [high, low, ..] = key.0;
    AGAIN_AFTER + SPREAD * u32::from(u16::from_be_bytes([high, low])) / (u32::from(u16::MAX) + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use ledger::Currency;
    use platform::MerchantId;
    use platform::merchants::{TakeOn, WrongCodes};
    use store::commands::TakeOnMerchant;

    use super::*;

    const _: () = assert!(AGAIN_AFTER.as_millis() + SPREAD.as_millis() < KEPT.as_millis());

    fn merchant(number: u32) -> Merchant {
        Merchant {
            id: MerchantId(u128::from(number).to_be_bytes()),
            name: format!("shop {number}"),
            currency: Currency::parse("CNY").unwrap(),
            api_key: KeyHash::of(&format!("sk_{number}")),
            created_ms: 0,
            wrong_codes: WrongCodes::default(),
            suspended_ms: None,
            category: None,
            position: None,
        }
    }

    fn known(numbers: core::ops::Range<u32>, since: Instant) -> KnownMerchants {
        let known = KnownMerchants::default();
        numbers.for_each(|number| known.remember_at(&merchant(number), since));
        known
    }

    #[test]
    fn one_of_many_who_ask_looks_up_again_and_nobody_waits_for_it() {
        let (since, one) = (Instant::now(), merchant(1));
        let known = known(1..2, since);
        let ask = |age| known.find_at(one.api_key, since + age).map(|(found, turn)| (found == one, turn));
        let due = again_after(one.api_key);
        assert!(matches!(ask(due - Duration::from_millis(1)), Some((true, None))), "it is not due");
        let Some((true, Some(turn))) = ask(due) else { panic!("it is due") };
        assert!(matches!(ask(due), Some((true, None))), "another has the turn");
        // It came to nothing: no more is asked, and the merchant is known as long as before.
        drop(turn);
        assert!(matches!(ask(KEPT - Duration::from_millis(1)), Some((true, None))));
        assert!(ask(KEPT).is_none());
        // It was found: everything begins anew.
        known.remember_at(&one, since + due);
        assert!(matches!(ask(KEPT), Some((true, None))));
        assert!(matches!(ask(2 * due), Some((true, Some(_)))));
        known.forget(one.api_key);
        assert!(ask(due).is_none());
    }

    /// Both have seen that it is due before either has the turn.
    #[test]
    fn of_two_who_ask_in_the_same_moment_one_has_the_turn() {
        let (since, one) = (Instant::now(), merchant(1));
        let known = known(1..2, since);
        let all = known.known.read().unwrap();
        let [first, second] = [(); 2].map(|()| known.turn(&all[&one.api_key.0]).is_some());
        assert_eq!((first, second), (true, false));
    }

    #[test]
    fn no_more_are_looked_up_at_a_time_than_may_be_and_the_next_who_asks_has_the_turn_then() {
        let (since, count) = (Instant::now(), 10 * MAX_BESIDE as u32);
        let known = known(0..count, since);
        let ask = |number| known.find_at(merchant(number).api_key, since + AGAIN_AFTER + SPREAD).unwrap().1;
        let mut left: Vec<u32> = (0..count).collect();
        while !left.is_empty() {
            let asked: Vec<_> = left.iter().map(|number| (*number, ask(*number))).collect();
            let turns = asked.iter().filter(|(_, turn)| turn.is_some()).count();
            assert_eq!(turns, MAX_BESIDE);
            left = asked.iter().filter(|(_, turn)| turn.is_none()).map(|(number, _)| *number).collect();
        }
    }

    /// Until nobody is looked up beside.
    async fn settled(known: &KnownMerchants) {
        drop(known.beside.acquire_many(MAX_BESIDE as u32).await.unwrap());
    }

    #[tokio::test]
    async fn one_that_is_there_is_known_anew_and_one_whose_key_is_no_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (database, keys) = (crate::Database::Sqlite, crate::Keys::default());
        let data = crate::Data::open(folder.path(), &database, platform::Settings::default(), &keys).unwrap();
        let Merchant { id, name, currency, api_key, .. } = merchant(1);
        let there = TakeOn { id, name, currency, category: None, position: None, api_key, now_ms: 1 };
        let there = data.store.execute(TakeOnMerchant(there)).await.unwrap();
        let gone = merchant(2);
        let queries = Arc::new(data.queries);
        let (known, now) = (Arc::new(KnownMerchants::default()), Instant::now());
        let long_ago = now.checked_sub(AGAIN_AFTER + SPREAD).unwrap();
        for merchant in [&there, &gone] {
            known.remember_at(merchant, long_ago);
            let (_, turn) = known.find_at(merchant.api_key, now).unwrap();
            known.look_up_again(&queries, merchant.api_key, turn.unwrap());
        }
        settled(&known).await;
        let later = now + AGAIN_AFTER;
        assert!(matches!(known.find_at(there.api_key, later), Some((found, _)) if found == there));
        assert!(known.find_at(gone.api_key, now).is_none());
    }

    /// All of them were looked up at one moment, as after a start.
    #[test]
    fn merchants_that_came_together_are_not_due_together() {
        let mut due = [0; 8];
        for number in 0..1_000 {
            let later = again_after(merchant(number).api_key) - AGAIN_AFTER;
            due[(8 * later.as_millis() / SPREAD.as_millis()) as usize] += 1;
        }
        assert!(due.iter().all(|count| (75..175).contains(count)), "{due:?}");
    }
}
