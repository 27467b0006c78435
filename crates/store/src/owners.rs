//! Whose token a number is, in memory: so that a payment asks for its wearer's purse at once, and not first for the row that says
//! whose purse it is.
//!
//! What is told here is looked for in the purse, which says it for certain: whatever is missing here, or wrong, a payment
//! comes out the same, only later. So nothing here need be as new as the database is.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLockReadGuard};

use hashbrown::HashMap;
use paycode::TokenIndex;
use platform::AccountId;

use crate::rows::{NOBODY, OwnersRow, SPAN};

/// The most blocks of [`SPAN`] numbers that are kept, of a kilobyte each: those of sixteen million tokens and more, where they
/// lie side by side. What does not fit is looked for in the database.
const MAX_BLOCKS: usize = 131_072;

type Block = [AtomicU64; SPAN];

/// The accounts that tokens of one code format are of, as far as they are known here.
#[derive(Default)]
pub struct Owners(RwLock<HashMap<u64, Box<Block>>>);

impl Owners {
    /// The number of the account whose token this probably is.
    pub(crate) fn of(&self, index: TokenIndex) -> Option<u64> {
        let (block, slot) = place(index);
        let owner = self.blocks().get(&block)?.get(slot)?.load(Ordering::Relaxed);
        Some(owner).filter(|number| *number != NOBODY)
    }

    /// Keeps whose token this is, where there is room.
    pub fn learn(&self, index: TokenIndex, account: AccountId) {
        let (block, slot) = place(index);
        self.learn_in(block, |known| {
            if let Some(owner) = known.get(slot) {
                owner.store(account.number(), Ordering::Relaxed);
            }
        });
    }

    /// Keeps whose tokens a block of numbers is of; what the row does not know stays. Says whether there was room.
    pub(crate) fn learn_row(&self, block: u64, row: &OwnersRow) -> bool {
        self.learn_in(block, |known| {
            for (slot, owner) in known.iter().zip(row) {
                if let Some(owner) = owner {
                    slot.store(*owner, Ordering::Relaxed);
                }
            }
        })
    }

    fn learn_in(&self, block: u64, learn: impl Fn(&Block)) -> bool {
        if let Some(known) = self.blocks().get(&block) {
            learn(known);
            return true;
        }
        let mut blocks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_room = blocks.len() < MAX_BLOCKS || blocks.contains_key(&block);
        if is_room {
            learn(blocks.entry(block).or_insert_with(|| Box::new([const { AtomicU64::new(NOBODY) }; SPAN])));
        }
        is_room
    }

    fn blocks(&self) -> RwLockReadGuard<'_, HashMap<u64, Box<Block>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The block that a number is in, and its place there.
pub(crate) fn place(index: TokenIndex) -> (u64, usize) {
    let span = SPAN as u64;
    // The remainder is below the span.
    (index.get() / span, (index.get() % span) as usize)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn index(number: u64) -> TokenIndex {
        TokenIndex::new(number).unwrap()
    }

    #[test]
    fn what_was_learned_last_is_told_and_nothing_else() {
        let owners = Owners::default();
        assert_eq!(owners.of(index(0)), None);
        for (number, account) in [(0, 7), (127, 0), (128, 9), (9_999_999_999, u64::MAX >> 1), (0, 8)] {
            owners.learn(index(number), AccountId::numbered(5, account));
        }
        let told = [0, 1, 126, 127, 128, 129, 9_999_999_998, 9_999_999_999].map(|number| owners.of(index(number)));
        assert_eq!(told, [Some(8), None, None, Some(0), Some(9), None, None, Some(u64::MAX >> 1)]);
        let mut row = [None; SPAN];
        row[1] = Some(5);
        assert!(owners.learn_row(0, &row));
        assert_eq!([0, 1, 127].map(|number| owners.of(index(number))), [Some(8), Some(5), Some(0)]);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let owners = Owners::default();
        let mut row = [None; SPAN];
        row[3] = Some(1);
        let learned = (0..MAX_BLOCKS as u64 + 5).filter(|block| owners.learn_row(*block, &row)).count();
        assert_eq!(learned, MAX_BLOCKS);
        let beyond = index((MAX_BLOCKS * SPAN + 3) as u64);
        owners.learn(beyond, AccountId::numbered(5, 1));
        assert_eq!((owners.of(index(3)), owners.of(beyond)), (Some(1), None));
        owners.learn(index(4), AccountId::numbered(5, 2));
        assert_eq!(owners.of(index(4)), Some(2), "of a block that is kept more is learned");
    }
}
