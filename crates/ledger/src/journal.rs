//! The journal: entries in order, each record bound to the one before by a SHA-256 hash, so that a record changed,
//! dropped or moved later is found by following the chain.
//!
//! Every line of a record also says the balance after it and which record moved that account before. So the book of an
//! account, and its balance at any past moment, are read by walking back from its last record, without an index that
//! would have to be written with every payment.
//!
//! A partition has a chain of its own. A record's number holds the partition's number above [`SEQUENCE_BITS`] bits of
//! sequence, so numbers of all chains together are unique.

use sha2::{Digest, Sha256};

use crate::entry::check;
use crate::{Amount, Entry, EntryKind, LedgerAccount, LedgerError, Leg, MAX_LEGS, Side, posting::Cause};

/// The hash before the first record of a chain.
pub const GENESIS: [u8; 32] = [0; 32];
/// Bits of a record's number that count within its partition: a million records a second for twelve days would be
/// needed to fill them.
pub const SEQUENCE_BITS: u32 = 40;
/// The number of partitions a record's number has room for.
pub const MAX_PARTITIONS: u32 = 1 << 22;

/// The first byte of a record as it is stored: the version of its form.
const VERSION: u8 = 2;
/// Bytes of a stored record before its legs: version, kind, reference, counterparty, time, number of legs.
const HEADER_BYTES: usize = 1 + 1 + 16 + 16 + 8 + 1;
/// Bytes of a stored leg: account, side, minor units, balance after it, number of the record before.
const LEG_BYTES: usize = LedgerAccount::KEY_LEN + 1 + 8 + 8 + 8;

/// Where a chain ends: the number of its last record and that record's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record; of an empty chain, the number before its first.
    pub number: u64,
    /// The hash of the last record.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of the empty chain of a partition.
    pub const fn empty(partition: u32) -> Self {
        Self { number: (partition as u64) << SEQUENCE_BITS, hash: GENESIS }
    }

    /// How many records the chain holds.
    pub const fn sequence(&self) -> u64 {
        self.number & ((1 << SEQUENCE_BITS) - 1)
    }

    /// The partition whose chain it is.
    pub const fn partition(&self) -> u32 {
        (self.number >> SEQUENCE_BITS) as u32
    }

    /// The head after the next record with this content.
    #[must_use]
    pub fn append(&self, content: &[u8]) -> Self {
        let number = self.number + 1;
        let mut hash = Sha256::new();
        hash.update(self.hash);
        hash.update(number.to_be_bytes());
        hash.update(content);
        Self { number, hash: hash.finalize().into() }
    }
}

/// One line of a record: a leg, with what it left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The movement.
    pub leg: Leg,
    /// The account's balance after it, minor units.
    pub balance_minor: i64,
    /// The number of the record that moved the account before; 0 where this is the first.
    pub previous: u64,
}

/// A record of the journal: an entry, with what it left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What was booked.
    pub kind: EntryKind,
    /// Why and when.
    pub cause: Cause,
    /// The lines, in the order of the entry's legs.
    pub lines: Vec<Line>,
}

impl Record {
    /// An entry as a record; `after` gives each account's balance after the entry and its previous record.
    pub fn of(entry: &Entry, after: impl Fn(&LedgerAccount) -> (i64, u64)) -> Self {
        let line = |leg: &Leg| {
            let (balance_minor, previous) = after(&leg.account);
            Line { leg: *leg, balance_minor, previous }
        };
        Self { kind: entry.kind(), cause: entry.cause(), lines: entry.legs().iter().map(line).collect() }
    }

    /// The record's content as it is stored and hashed; integers big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.lines.len() * LEG_BYTES);
        bytes.extend([VERSION, self.kind as u8]);
        bytes.extend(self.cause.reference);
        bytes.extend(self.cause.counterparty);
        bytes.extend(self.cause.at_ms.to_be_bytes());
        // MAX_LEGS is 16, so the count fits one byte.
        bytes.push(self.lines.len() as u8);
        for line in &self.lines {
            bytes.extend(line.leg.account.to_key());
            bytes.push(if line.leg.side == Side::Debit { b'D' } else { b'C' });
            bytes.extend(line.leg.amount.minor().to_be_bytes());
            bytes.extend(line.balance_minor.to_be_bytes());
            bytes.extend(line.previous.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Record::to_bytes`] wrote. The legs must balance, as those of every entry.
    ///
    /// # Errors
    /// [`LedgerError::RecordMalformed`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LedgerError> {
        let malformed = LedgerError::RecordMalformed;
        let (header, lines) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(malformed)?;
        let count = usize::from(header[HEADER_BYTES - 1]);
        if header[0] != VERSION || count > MAX_LEGS || lines.len() != count * LEG_BYTES {
            return Err(malformed);
        }
        let kind = EntryKind::from_number(header[1]).ok_or(malformed)?;
        let cause = Cause {
            reference: array(header, 2).ok_or(malformed)?,
            counterparty: array(header, 18).ok_or(malformed)?,
            at_ms: array(header, 34).map(u64::from_be_bytes).ok_or(malformed)?,
        };
        let mut read = Vec::with_capacity(count);
        for bytes in lines.chunks_exact(LEG_BYTES) {
            read.push(line(bytes).ok_or(malformed)?);
        }
        check(read.iter().map(|line| &line.leg)).map_err(|_| malformed)?;
        Ok(Self { kind, cause, lines: read })
    }
}

fn line(bytes: &[u8]) -> Option<Line> {
    const SIDE: usize = LedgerAccount::KEY_LEN;
    let account = LedgerAccount::from_key(bytes.get(..SIDE)?).ok()?;
    let side = match bytes.get(SIDE)? {
        b'D' => Side::Debit,
        b'C' => Side::Credit,
        _ => return None,
    };
    let amount = Amount::new(array(bytes, SIDE + 1).map(u64::from_be_bytes)?, account.currency).ok()?;
    let balance_minor = array(bytes, SIDE + 9).map(i64::from_be_bytes)?;
    let previous = array(bytes, SIDE + 17).map(u64::from_be_bytes)?;
    Some(Line { leg: Leg { account, side, amount }, balance_minor, previous })
}

fn array<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Currency, posting};

    fn record(minor: u64) -> Record {
        let cause = Cause { reference: [1; 16], counterparty: [3; 16], at_ms: 5 };
        let parties = posting::Parties { wearer: [2; 16], ..posting::Parties::default() };
        let amount = Amount::new(minor, Currency::CNY).unwrap();
        let entry = posting::entry(posting::Event::TopUp, cause, parties, amount).unwrap();
        Record::of(&entry, |account| (i64::from(account.kind as u8), 9))
    }

    /// The heads of a chain over these contents, and the contents, as they are stored.
    fn chain(contents: &[Vec<u8>]) -> Vec<Head> {
        let heads = contents.iter().scan(Head::empty(7), |head, content| {
            *head = head.append(content);
            Some(*head)
        });
        heads.collect()
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let record = record(1250);
        assert_eq!(Record::from_bytes(&record.to_bytes()), Ok(record.clone()));
        let bytes = record.to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Record::from_bytes(&bytes[..cut]), Err(LedgerError::RecordMalformed), "{cut}");
        }
        let mut unbalanced = bytes;
        unbalanced[HEADER_BYTES + LedgerAccount::KEY_LEN + 8] ^= 1;
        assert_eq!(Record::from_bytes(&unbalanced), Err(LedgerError::RecordMalformed));
    }

    #[test]
    fn a_number_tells_partition_and_sequence() {
        let head = Head::empty(7).append(b"one").append(b"two");
        assert_eq!((head.partition(), head.sequence(), head.number), (7, 2, 7 << 40 | 2));
    }

    #[test]
    fn any_changed_byte_missing_or_moved_record_breaks_the_chain() {
        let contents: Vec<Vec<u8>> = [1, 2, 3, 4].map(|minor| record(minor).to_bytes()).into();
        let sound = chain(&contents);
        for (number, content) in contents.iter().enumerate() {
            for at in 0..content.len() {
                let mut altered = contents.clone();
                altered[number][at] ^= 0x40;
                assert_ne!(chain(&altered)[number].hash, sound[number].hash);
            }
        }
        let missing = [contents[0].clone(), contents[2].clone()];
        assert_ne!(chain(&missing)[1].hash, sound[2].hash);
        let moved = [contents[1].clone(), contents[0].clone()];
        assert_ne!(chain(&moved)[0].hash, sound[0].hash);
    }
}
