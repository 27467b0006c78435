//! Rows that payments read again and again, as the engine last read or wrote them: merchants, tokens, purses, and balances
//! and state of its partition. Only the engine writes its file, so a row kept here is never behind it. All of them have the
//! right seal: one that is read is looked at as it comes here, and nobody needs to do so again.
//!
//! Bounded by bytes. There are two halves: when the younger is full it becomes the older, and the older is forgotten; a
//! row that is read from the older half moves to the younger. What is in use so stays, at the cost of one look.
//!
//! There are many small such pairs, each with its share of the rows, and not a large one: the writer waits for what is done
//! here, and everybody for the writer. A map of a hundred thousand rows that grew, or a new one whose pages the system had to
//! zero, held all of them up for 40 to 60 ms; and so many rows are not freed at once either.

use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap};

use crate::key::{Key, Named, Numbered};
use crate::rows::codec::unseal;

/// Pairs of halves.
const PARTS: usize = 64;
/// Bytes of keys and rows in each of two halves, and what a map needs beside them: 48 MiB in all the younger together.
const HALF_BYTES: usize = (48 << 20) / PARTS;
/// What an entry takes beyond the bytes of its key and row: both their places, a map's own, and what an allocator
/// rounds up.
const ENTRY_BYTES: usize = 128;

/// The rows kept; `None` where there is none.
pub(super) struct Kept {
    parts: [Part; PARTS],
    place: DefaultHashBuilder,
}

impl Default for Kept {
    fn default() -> Self {
        Self { parts: core::array::from_fn(|_| Part::default()), place: DefaultHashBuilder::default() }
    }
}

/// Those of some keys.
#[derive(Default)]
struct Part {
    younger: HashMap<Key, Option<Vec<u8>>>,
    younger_bytes: usize,
    older: HashMap<Key, Option<Vec<u8>>>,
}

impl Kept {
    /// The row, where it is kept; the inner `None` where it is known that there is none.
    pub(super) fn row(&mut self, key: &Key) -> Option<Option<Vec<u8>>> {
        self.part(key).row(key)
    }

    /// Whether a row is kept, or that there is none.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.parts[self.part_of(key)].younger.contains_key(key)
    }

    /// Keeps a row that was read, where it is of a table that is kept and has the right seal.
    pub(super) fn keep_read(&mut self, key: &Key, row: Option<&[u8]>) {
        if is_kept(key) && row.is_none_or(|row| unseal(key, row).is_ok()) {
            self.part(key).keep(key, row);
        }
    }

    /// Keeps a row that was written, where it is of a table that is kept.
    pub(super) fn keep(&mut self, key: &Key, row: Option<&[u8]>) {
        if is_kept(key) {
            self.part(key).keep(key, row);
        }
    }

    fn part(&mut self, key: &Key) -> &mut Part {
        &mut self.parts[self.part_of(key)]
    }

    fn part_of(&self, key: &Key) -> usize {
        self.place.hash_one(key) as usize % PARTS
    }
}

impl Part {
    fn row(&mut self, key: &Key) -> Option<Option<Vec<u8>>> {
        if let Some(row) = self.younger.get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.older.remove_entry(key)?;
        self.insert(key, row.clone());
        Some(row)
    }

    fn keep(&mut self, key: &Key, row: Option<&[u8]>) {
        if let Some(known) = self.younger.get_mut(key) {
            let before = known.as_ref().map_or(0, Vec::len);
            *known = row.map(<[u8]>::to_vec);
            self.younger_bytes = self.younger_bytes - before + row.map_or(0, <[u8]>::len);
            return;
        }
        // What the older half may hold of it is behind this one, and forgotten first.
        self.insert(key.clone(), row.map(<[u8]>::to_vec));
    }

    fn insert(&mut self, key: Key, row: Option<Vec<u8>>) {
        if self.younger_bytes >= HALF_BYTES {
            self.older = core::mem::take(&mut self.younger);
            self.younger_bytes = 0;
        }
        self.younger_bytes += bytes(&key, row.as_deref());
        self.younger.insert(key, row);
    }
}

fn is_kept(key: &Key) -> bool {
    match key {
        Key::Number(table, _) => matches!(table, Numbered::Merchants | Numbered::Purses | Numbered::Partitions),
        Key::Name(table, _) => matches!(table, Named::TokenNumbers | Named::Balances),
    }
}

fn bytes(key: &Key, row: Option<&[u8]>) -> usize {
    let name = match key {
        Key::Number(..) => 0,
        Key::Name(_, name) => name.len(),
    };
    ENTRY_BYTES + name + row.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purse(number: u64) -> Key {
        Key::Number(Numbered::Purses, number)
    }

    #[test]
    fn what_was_written_last_is_read() {
        let mut kept = Kept::default();
        kept.keep(&purse(1), Some(&[1]));
        kept.keep(&purse(1), Some(&[2, 2]));
        assert_eq!(kept.row(&purse(1)), Some(Some(vec![2, 2])));
        kept.keep(&purse(1), None);
        assert_eq!(kept.row(&purse(1)), Some(None));
        assert_eq!(kept.row(&purse(2)), None);
    }

    #[test]
    fn what_is_not_of_a_kept_table_is_not_kept() {
        let mut kept = Kept::default();
        let payment = Key::Number(Numbered::Payments, 1);
        kept.keep(&payment, Some(&[1]));
        assert_eq!(kept.row(&payment), None);
    }

    #[test]
    fn what_is_in_use_stays_within_the_bound() {
        let mut kept = Part::default();
        let row = vec![7; 1 << 14];
        kept.keep(&purse(0), Some(b"in use"));
        for number in 1..200 {
            kept.keep(&purse(number), Some(&row));
            assert_eq!(kept.row(&purse(0)), Some(Some(b"in use".to_vec())), "{number}");
            let held = |half: &HashMap<Key, Option<Vec<u8>>>| half.values().flatten().map(Vec::len).sum::<usize>();
            assert!(held(&kept.younger) + held(&kept.older) <= 2 * (HALF_BYTES + (1 << 14)));
        }
        assert_eq!(kept.row(&purse(1)), None);
    }

    /// Whoever waits for the writer waits for a map that is made, moved or freed as a whole.
    #[test]
    fn however_many_rows_come_no_map_is_large() {
        let mut kept = Kept::default();
        for number in 0..1_000_000 {
            kept.keep(&purse(number), Some(&[7; 100]));
        }
        let most = 2 * HALF_BYTES / ENTRY_BYTES;
        for Part { younger, older, .. } in &kept.parts {
            assert!(!older.is_empty(), "each part has its share");
            assert!(younger.capacity().max(older.capacity()) <= most, "{}, {}", younger.capacity(), older.capacity());
        }
        assert!((0..1_000_000).filter(|number| kept.row(&purse(*number)).is_some()).count() > 200_000);
        assert!(most <= 16_384, "{most}");
    }

    #[test]
    fn an_old_form_of_a_row_never_comes_back() {
        let mut kept = Part::default();
        let row = vec![7; 1 << 14];
        kept.keep(&purse(0), Some(b"old"));
        for number in 1..60 {
            kept.keep(&purse(number), Some(&row));
        }
        assert!(kept.older.contains_key(&purse(0)), "its old form is in the older half");
        kept.keep(&purse(0), Some(b"new"));
        for number in 60..200 {
            assert!(kept.row(&purse(0)).is_none_or(|row| row.as_deref() == Some(b"new")), "{number}");
            kept.keep(&purse(number), Some(&row));
        }
    }
}
