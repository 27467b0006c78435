//! Stretches of names where no row is: so that a new order number, which is above the last of its till, is known to be
//! new without a look at the file.
//!
//! A look for a name that is not there tells the next name that is, and nothing lies between the two. Whoever counts
//! its orders up stays within the stretch above its last one; whoever draws them at random is looked up as before.
//! Only the engine writes its file, and it tells every name it adds.
//!
//! Bounded in number, in two halves, as the rows kept are (`kept.rs`).

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::key::{Key, Named, name};

/// Stretches in each half.
const HALF: usize = 32_768;
/// Names begin with the number of whose they are; a stretch ends where those of the next begin.
const OWNER_LEN: usize = 8;

/// What is known to be empty: above the first name of an entry, and below its second.
#[derive(Default)]
pub(super) struct Gaps {
    younger: BTreeMap<Key, Key>,
    older: BTreeMap<Key, Key>,
}

/// Whether stretches of this table are kept: new names of it are asked for all the time.
pub(super) fn are_kept(table: Named) -> bool {
    matches!(table, Named::Orders | Named::RefundNumbers)
}

/// The first key that is no name of the same owner any more; nothing for the last owner there can be, of whom no stretch
/// is kept: it would go on into another table.
pub(super) fn end_of_owner(key: &Key) -> Option<Key> {
    let Key::Name(table, of) = key else { return None };
    let owner = u64::from_be_bytes(*of.first_chunk::<OWNER_LEN>()?);
    Some(Key::Name(*table, name(&[&owner.checked_add(1)?.to_be_bytes()])))
}

/// The stretch around a key: its lower end and its upper one.
fn around<'g>(gaps: &'g BTreeMap<Key, Key>, key: &Key) -> Option<(&'g Key, &'g Key)> {
    let below = (Bound::Unbounded, Bound::Excluded(key));
    gaps.range::<Key, _>(below).next_back().filter(|(_, upper)| key < *upper)
}

impl Gaps {
    /// Whether it is known that there is no row under this key.
    pub(super) fn hold(&mut self, key: &Key) -> bool {
        if around(&self.younger, key).is_some() {
            return true;
        }
        let Some(lower) = around(&self.older, key).map(|(lower, _)| lower.clone()) else { return false };
        if let Some(upper) = self.older.remove(&lower) {
            self.insert(lower, upper);
        }
        true
    }

    /// There is nothing between these two.
    pub(super) fn learn(&mut self, lower: &Key, upper: Key) {
        self.insert(lower.clone(), upper);
    }

    /// A row is under this key from now on.
    pub(super) fn fill(&mut self, key: &Key) {
        for of in [&mut self.younger, &mut self.older] {
            let Some(lower) = around(of, key).map(|(lower, _)| lower.clone()) else { continue };
            if let Some(upper) = of.remove(&lower) {
                // The part below is left out: whoever counts up does not come back to it.
                of.insert(key.clone(), upper);
            }
        }
    }

    /// Adds a stretch. Those of a half never overlap: one look finds the only one around a key.
    fn insert(&mut self, lower: Key, upper: Key) {
        if self.younger.len() >= HALF {
            self.older = core::mem::take(&mut self.younger);
        }
        let within = (Bound::Excluded(&lower), Bound::Excluded(&upper));
        let covered: Vec<Key> = self.younger.range::<Key, _>(within).map(|(covered, _)| covered.clone()).collect();
        for covered in covered {
            self.younger.remove(&covered);
        }
        let below = (Bound::Unbounded, Bound::Excluded(&lower));
        if let Some((_, end)) = self.younger.range_mut::<Key, _>(below).next_back().filter(|(_, end)| **end > lower) {
            end.clone_from(&lower);
        }
        self.younger.insert(lower, upper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(owner: u64, number: &str) -> Key {
        Key::Name(Named::Orders, name(&[&owner.to_be_bytes(), number.as_bytes()]))
    }

    #[test]
    fn what_lies_between_is_known_to_be_absent_until_it_is_added() {
        let mut gaps = Gaps::default();
        assert!(!gaps.hold(&order(1, "b")));
        gaps.learn(&order(1, "a"), order(1, "k"));
        for (name, absent) in [("a", false), ("a0", true), ("j", true), ("k", false), ("l", false)] {
            assert_eq!(gaps.hold(&order(1, name)), absent, "{name}");
        }
        gaps.fill(&order(1, "d"));
        for (name, absent) in [("b", false), ("d", false), ("e", true), ("k", false)] {
            assert_eq!(gaps.hold(&order(1, name)), absent, "{name}");
        }
        gaps.fill(&order(1, "k"));
        assert!(gaps.hold(&order(1, "e")));
        assert!(!gaps.hold(&Key::Name(Named::RefundNumbers, name(&[&[0; 9]]))));
    }

    #[test]
    fn a_stretch_ends_with_its_owner() {
        assert_eq!(end_of_owner(&order(7, "x")), Some(Key::Name(Named::Orders, name(&[&8_u64.to_be_bytes()]))));
        assert_eq!(end_of_owner(&order(u64::MAX, "x")), None);
        assert_eq!(end_of_owner(&Key::Name(Named::Orders, name(&[&[1]]))), None);
    }

    #[test]
    fn of_many_those_in_use_stay_and_none_is_ever_wrong() {
        let mut gaps = Gaps::default();
        let end = |owner| end_of_owner(&order(owner, "")).expect("an end");
        gaps.learn(&order(0, "0000000"), end(0));
        for owner in 1..=3 * HALF as u64 {
            gaps.learn(&order(owner, "a"), end(owner));
            let number = format!("{owner:07}");
            assert!(gaps.hold(&order(0, &number)), "{owner}");
            gaps.fill(&order(0, &number));
            assert!(!gaps.hold(&order(0, &number)), "{owner}");
            assert!(gaps.younger.len() <= HALF && gaps.older.len() <= HALF);
        }
        assert!(!gaps.hold(&order(1, "b")), "the first are forgotten");
    }

    #[test]
    fn looks_that_go_down_leave_one_stretch_and_not_one_each() {
        let mut gaps = Gaps::default();
        for number in ["m", "k", "c", "e"] {
            if !gaps.hold(&order(1, number)) {
                gaps.learn(&order(1, number), order(1, "z"));
            }
        }
        assert_eq!(gaps.younger.len(), 1);
        gaps.fill(&order(1, "x"));
        assert!(!gaps.hold(&order(1, "x")));
        // One that reaches less far cuts off what reaches over it.
        gaps.learn(&order(2, "a"), order(2, "k"));
        gaps.insert(order(2, "f"), order(2, "z"));
        gaps.fill(&order(2, "g"));
        assert!(gaps.hold(&order(2, "b")) && !gaps.hold(&order(2, "g")) && gaps.hold(&order(2, "h")));
    }

    /// A stretch in the older half must not outlive what is added to it.
    #[test]
    fn what_is_added_is_taken_out_of_both_halves() {
        let mut gaps = Gaps::default();
        gaps.learn(&order(0, "a"), order(0, "z"));
        for owner in 1..=HALF as u64 {
            gaps.learn(&order(owner, "a"), order(owner, "z"));
        }
        assert!(gaps.older.contains_key(&order(0, "a")));
        gaps.fill(&order(0, "m"));
        assert!(!gaps.hold(&order(0, "m")));
        assert!(!gaps.hold(&order(0, "c")));
        assert!(gaps.hold(&order(0, "n")));
    }
}
