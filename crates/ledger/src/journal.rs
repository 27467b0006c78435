//! The journal: entries in order, each record bound to the one before by a SHA-256 hash, so that a record
//! changed, dropped or moved later is found by [`verify`].

use sha2::{Digest, Sha256};

use crate::{Entry, Side};

/// The hash before the first record.
pub const GENESIS: [u8; 32] = [0; 32];

/// Where the journal ends: the number of its last record (0 when empty) and that record's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record.
    pub sequence: u64,
    /// The hash of the last record.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of an empty journal.
    pub const EMPTY: Self = Self { sequence: 0, hash: GENESIS };

    /// The head after `entry` is appended.
    pub fn append(&self, entry: &Entry) -> Self {
        let sequence = self.sequence + 1;
        Self { sequence, hash: record_hash(&self.hash, sequence, entry) }
    }
}

/// The hash of one record: SHA-256 over the hash before it, its number (8 bytes), kind (1), reference (16),
/// time (8), number of legs (1) and, for each leg, account key (20), side (1: `D` or `C`), minor units (8);
/// integers big-endian.
pub fn record_hash(previous: &[u8; 32], sequence: u64, entry: &Entry) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(sequence.to_be_bytes());
    hash.update([entry.kind() as u8]);
    hash.update(entry.reference());
    hash.update(entry.at_ms().to_be_bytes());
    // MAX_LEGS is 16, so the count fits one byte.
    hash.update([entry.legs().len() as u8]);
    for leg in entry.legs() {
        hash.update(leg.account.to_key());
        hash.update([if leg.side == Side::Debit { b'D' } else { b'C' }]);
        hash.update(leg.amount.minor().to_be_bytes());
    }
    hash.finalize().into()
}

/// Follows a journal from its beginning and returns its head.
///
/// # Errors
/// The number of the first record that is missing, out of order, or does not have the hash it should.
pub fn verify<'a>(records: impl IntoIterator<Item = (u64, &'a Entry, [u8; 32])>) -> Result<Head, u64> {
    let mut head = Head::EMPTY;
    for (sequence, entry, hash) in records {
        let expected = head.append(entry);
        if sequence != expected.sequence || hash != expected.hash {
            return Err(expected.sequence);
        }
        head = expected;
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Amount, Currency, posting};

    fn entries(amounts: &[u64]) -> Vec<Entry> {
        let cause = posting::Cause { reference: [1; 16], at_ms: 5 };
        amounts
            .iter()
            .map(|minor| posting::top_up(cause, [2; 16], Amount::new(*minor, Currency::CNY).unwrap()).unwrap())
            .collect()
    }

    fn chain(entries: &[Entry]) -> Vec<(u64, [u8; 32])> {
        let heads = entries.iter().scan(Head::EMPTY, |head, entry| {
            *head = head.append(entry);
            Some((head.sequence, head.hash))
        });
        heads.collect()
    }

    #[test]
    fn a_changed_missing_or_moved_record_is_named() {
        let good = entries(&[1, 2, 3, 4]);
        let marks = chain(&good);
        let check = |entries: &[Entry], marks: &[(u64, [u8; 32])]| {
            verify(entries.iter().zip(marks).map(|(entry, (sequence, hash))| (*sequence, entry, *hash)))
        };
        assert_eq!(check(&good, &marks).unwrap().sequence, 4);

        let mut altered = good.clone();
        altered[2] = entries(&[33]).remove(0);
        assert_eq!(check(&altered, &marks), Err(3));

        let (mut missing, mut missing_marks) = (good.clone(), marks.clone());
        missing.remove(1);
        missing_marks.remove(1);
        assert_eq!(check(&missing, &missing_marks), Err(2));

        let (mut moved, mut moved_marks) = (good, marks);
        moved.swap(0, 1);
        moved_marks.swap(0, 1);
        assert_eq!(check(&moved, &moved_marks), Err(1));
    }
}
