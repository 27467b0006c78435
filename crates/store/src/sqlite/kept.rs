//! Rows that payments read again and again, as the engine last read or wrote them: merchants, tokens, purses, and balances
//! and state of its partition. Only the engine writes its file, so a row kept here is never behind it. All of them have the
//! right seal: one that is read is looked at as it comes here, and nobody needs to do so again.
//!
//! Bounded by bytes. There are two halves: when the younger is full it becomes the older, and the older is forgotten; a
//! row that is read from the older half moves to the younger. What is in use so stays, at the cost of one look.
//!
//! The writer waits for whatever is done here, and everybody for the writer: so nothing is done to a whole half at once. A map has
//! room for all of it from the beginning, and what is forgotten is freed a row or two at a time.

use hashbrown::{HashMap, hash_map};

use crate::key::{Key, Named, Numbered};
use crate::rows::codec::unseal;

/// Bytes of keys and rows in each of the two halves, and what a map needs beside them.
const HALF_BYTES: usize = 48 << 20;
/// What an entry takes beyond the bytes of its key and row: both their places, a map's own, and what an allocator
/// rounds up.
const ENTRY_BYTES: usize = 128;
/// Rows that a half has room for before its map has to grow: about as many as fill it. A map that grows is moved as a whole,
/// which took the writer 40 ms where the rows of many wearers were kept.
const ROOM: usize = HALF_BYTES / (2 * ENTRY_BYTES);
/// Forgotten rows that are freed with each new one: all of them are gone before as many are to be forgotten again.
const FREED_EACH: usize = 2;

/// The rows kept; `None` where there is none.
pub(super) struct Kept {
    younger: HashMap<Key, Option<Vec<u8>>>,
    younger_bytes: usize,
    older: HashMap<Key, Option<Vec<u8>>>,
    /// What is left to free of the half before the older.
    forgotten: hash_map::IntoIter<Key, Option<Vec<u8>>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            younger: HashMap::with_capacity(ROOM),
            younger_bytes: 0,
            older: HashMap::new(),
            forgotten: HashMap::new().into_iter(),
        }
    }
}

impl Kept {
    /// The row, where it is kept; the inner `None` where it is known that there is none.
    pub(super) fn row(&mut self, key: &Key) -> Option<Option<Vec<u8>>> {
        if let Some(row) = self.younger.get(key) {
            return Some(row.clone());
        }
        let (key, row) = self.older.remove_entry(key)?;
        self.insert(key, row.clone());
        Some(row)
    }

    /// Whether a row is kept, or that there is none.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.younger.contains_key(key)
    }

    /// Keeps a row that was read, where it is of a table that is kept and has the right seal.
    pub(super) fn keep_read(&mut self, key: &Key, row: Option<&[u8]>) {
        if is_kept(key) && row.is_none_or(|row| unseal(key, row).is_ok()) {
            self.keep(key, row);
        }
    }

    /// Keeps a row that was written, where it is of a table that is kept.
    pub(super) fn keep(&mut self, key: &Key, row: Option<&[u8]>) {
        if !is_kept(key) {
            return;
        }
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
            let room = self.younger.len().max(ROOM);
            let younger = core::mem::replace(&mut self.younger, HashMap::with_capacity(room));
            self.forgotten = core::mem::replace(&mut self.older, younger).into_iter();
            self.younger_bytes = 0;
        }
        self.forgotten.by_ref().take(FREED_EACH).for_each(drop);
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
        let mut kept = Kept::default();
        let row = vec![7; 1 << 20];
        kept.keep(&purse(0), Some(b"in use"));
        for number in 1..200 {
            kept.keep(&purse(number), Some(&row));
            assert_eq!(kept.row(&purse(0)), Some(Some(b"in use".to_vec())), "{number}");
            let held = |half: &HashMap<Key, Option<Vec<u8>>>| half.values().flatten().map(Vec::len).sum::<usize>();
            assert!(held(&kept.younger) + held(&kept.older) <= 2 * (HALF_BYTES + (1 << 20)));
        }
        assert_eq!(kept.row(&purse(1)), None);
    }

    /// Rows that differ in size, so that halves differ in how many they hold.
    #[test]
    fn what_is_forgotten_is_freed_little_by_little_and_a_map_does_not_grow() {
        let mut kept = Kept::default();
        let (mut halves, mut left) = (0, 0);
        for number in 0..1_000_000_u64 {
            kept.keep(&purse(number), Some(&[7; 150][..50 + number as usize % 100]));
            let now = kept.forgotten.len();
            if now > left {
                assert_eq!(left, 0, "half {halves} was freed before the next was forgotten");
                halves += 1;
            } else {
                assert!(left - now <= FREED_EACH, "{} at once", left - now);
            }
            left = now;
            assert!(kept.younger.capacity() >= ROOM && kept.younger.capacity() < 2 * ROOM, "room from the beginning");
        }
        assert!(halves >= 2, "{halves}");
    }

    #[test]
    fn an_old_form_of_a_row_never_comes_back() {
        let mut kept = Kept::default();
        let row = vec![7; 1 << 20];
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
