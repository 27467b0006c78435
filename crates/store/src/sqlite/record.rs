//! What a record of the log looks like on the disk.
//!
//! A mark (4 bytes), the content's length (4), how much of the segment was durable when it was written (8), a check (8), and
//! the content: numbers big-endian. The check is the beginning of a SHA-256 over the segment's number, what was durable, and
//! the content, so that what an earlier segment left behind in a file that is used again is no record of this one.

use sha2::{Digest, Sha256};

use crate::engine::{RowWrite, Writes};
use crate::key::{Key, List, Named, Numbered};

/// What a record begins with.
const MARK: [u8; 4] = *b"pclS";
/// What the record behind a segment's last begins with; it has no content.
const END_MARK: [u8; 4] = *b"pclE";
/// What records began with when a segment had a file of its own: their check does not know of the segment's number, and
/// their last one ends the file.
const FIRST_MARK: [u8; 4] = *b"pclR";
/// Bytes in front of a record's content.
const HEAD_BYTES: usize = 24;
/// The longest content of a record. A batch is far shorter; a longer length is damage.
const MAX_CONTENT_BYTES: usize = 256 * 1024 * 1024;

/// A whole record.
pub(super) enum Record<'b> {
    /// A transaction.
    Transaction {
        content: &'b [u8],
        /// Bytes of the segment that were durable when it was written.
        durable: u64,
        /// Where the next one begins.
        end: usize,
        /// Whether its segment ends with its file.
        is_first_form: bool,
    },
    /// The segment's end.
    End,
}

/// Writes a transaction's record in the place of what the buffer holds.
pub(super) fn write(segment: u64, writes: &Writes, durable: u64, to: &mut Vec<u8>) {
    to.clear();
    to.extend([0; HEAD_BYTES]);
    encode(writes, to);
    finish(MARK, segment, durable, to);
}

/// The same with the record that ends a segment.
pub(super) fn write_end(segment: u64, durable: u64, to: &mut Vec<u8>) {
    to.clear();
    to.extend([0; HEAD_BYTES]);
    finish(END_MARK, segment, durable, to);
}

/// Fills in the head in front of the content.
fn finish(mark: [u8; 4], segment: u64, durable: u64, record: &mut [u8]) {
    let Some((head, content)) = record.split_first_chunk_mut::<HEAD_BYTES>() else { return };
    let check = check(mark, segment, durable, content);
    // A batch is far shorter than 4 GiB.
    let length = content.len() as u32;
    let parts = mark.into_iter().chain(length.to_be_bytes()).chain(durable.to_be_bytes()).chain(check);
    head.iter_mut().zip(parts).for_each(|(to, byte)| *to = byte);
}

/// The record of this segment that begins here, if a whole one does.
pub(super) fn at(segment: u64, bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let mut rest = bytes.get(at..)?;
    let mark = take(&mut rest)?;
    let length = u32::from_be_bytes(take(&mut rest)?) as usize;
    let durable = u64::from_be_bytes(take(&mut rest)?);
    let right = take::<8>(&mut rest)?;
    let is_possible = match mark {
        MARK | FIRST_MARK => (1..=MAX_CONTENT_BYTES).contains(&length),
        END_MARK => length == 0,
        _ => false,
    };
    let content = rest.get(..length).filter(|_| is_possible)?;
    if check(mark, segment, durable, content) != right {
        return None;
    }
    let end = at + HEAD_BYTES + length;
    Some(match mark {
        END_MARK => Record::End,
        mark => Record::Transaction { content, durable, end, is_first_form: mark == FIRST_MARK },
    })
}

/// Whether a record behind this place says that more than what is before it had been durable.
pub(super) fn was_durable(segment: u64, bytes: &[u8], bad: usize) -> bool {
    let rest = bytes.get(bad..).unwrap_or_default();
    let marks = rest.windows(MARK.len()).enumerate();
    let marks = marks.filter(|(_, window)| [MARK, END_MARK, FIRST_MARK].iter().any(|mark| mark == window));
    marks.filter_map(|(place, _)| at(segment, bytes, bad + place)).any(|record| match record {
        Record::Transaction { durable, .. } => durable > bad as u64,
        // It is written once everything before it is durable.
        Record::End => true,
    })
}

/// A record as they were when a segment had a file of its own.
#[cfg(test)]
pub(super) fn of_first_form(writes: &Writes, durable: u64) -> Vec<u8> {
    let mut record = vec![0; HEAD_BYTES];
    encode(writes, &mut record);
    finish(FIRST_MARK, 0, durable, &mut record);
    record
}

fn check(mark: [u8; 4], segment: u64, durable: u64, content: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    if mark != FIRST_MARK {
        hash.update(mark);
        hash.update(segment.to_be_bytes());
    }
    hash.update(durable.to_be_bytes());
    hash.update(content);
    let mut check = [0; 8];
    check.copy_from_slice(&hash.finalize()[..8]);
    check
}

/// The first byte of each piece of a record.
const NUMBERED: u8 = 1;
const NAMED: u8 = 2;
const LISTED: u8 = 3;
/// What becomes of a row.
const NEW: u8 = 1;
const CHANGED: u8 = 2;
const REMOVED: u8 = 3;

fn encode(writes: &Writes, to: &mut Vec<u8>) {
    for RowWrite { key, before, after } in &writes.rows {
        match key {
            Key::Number(table, number) => {
                to.extend([NUMBERED, *table as u8]);
                to.extend(number.to_be_bytes());
            }
            Key::Name(table, name) => {
                to.extend([NAMED, *table as u8]);
                put_bytes(name, to);
            }
        }
        match (before, after) {
            (None, Some(row)) => {
                to.push(NEW);
                put_bytes(row, to);
            }
            (Some(_), Some(row)) => {
                to.push(CHANGED);
                put_bytes(row, to);
            }
            (_, None) => to.push(REMOVED),
        }
    }
    for (list, owner, id) in &writes.listed {
        to.extend([LISTED, *list as u8]);
        put_bytes(owner, to);
        to.extend(id);
    }
}

fn put_bytes(bytes: &[u8], to: &mut Vec<u8>) {
    // Rows and names are far shorter than 4 GiB.
    to.extend((bytes.len() as u32).to_be_bytes());
    to.extend(bytes);
}

/// Nothing where the content is not what [`encode`] wrote.
pub(super) fn decode(mut rest: &[u8]) -> Option<Writes> {
    let mut writes = Writes::default();
    while let Some((kind, after)) = rest.split_first() {
        rest = after;
        let table = usize::from(take::<1>(&mut rest)?[0]);
        let key = match *kind {
            NUMBERED => Key::Number(*Numbered::ALL.get(table)?, u64::from_be_bytes(take(&mut rest)?)),
            NAMED => Key::Name(*Named::ALL.get(table)?, take_bytes(&mut rest)?.into()),
            LISTED => {
                let owner = take_bytes(&mut rest)?.to_vec();
                writes.listed.push((*List::ALL.get(table)?, owner, take(&mut rest)?));
                continue;
            }
            _ => return None,
        };
        let (before, after) = match take::<1>(&mut rest)?[0] {
            NEW => (None, Some(take_bytes(&mut rest)?.to_vec())),
            // What it was before is of no use any more, only that it was.
            CHANGED => (Some(Vec::new()), Some(take_bytes(&mut rest)?.to_vec())),
            REMOVED => (Some(Vec::new()), None),
            _ => return None,
        };
        writes.rows.push(RowWrite { key, before, after });
    }
    Some(writes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (value, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*value)
}

fn take_bytes<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let length = u32::from_be_bytes(take(rest)?) as usize;
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}
