//! Names of tokens as numbers.
//!
//! SQLite keeps the rows of a table with names in the inner pages of its tree as well, and those of one with numbers in the
//! leaves alone. With ten million tokens the inner pages then have 8 MB, which stay in memory, where they had 100, which do not. A
//! token's name is a code format and an index, and of those there are fewer than a number has room for.

use crate::StoreError;
use crate::key::{Key, Name, Named, name};

/// Digits of a code: a format has seven lengths.
const MIN_DIGITS: u64 = 18;
const LENGTHS: u64 = 7;
/// The longest prefix.
const MAX_PREFIX_DIGITS: u32 = 8;
/// Prefixes of one to eight digits.
const PREFIXES: u64 = prefixes_below(MAX_PREFIX_DIGITS + 1);
/// Indices of a format.
const INDICES: u64 = 10_u64.pow(10);

const _: () = assert!(i64::MAX.cast_unsigned() / INDICES / PREFIXES >= LENGTHS);

/// Prefixes with fewer digits.
const fn prefixes_below(digits: u32) -> u64 {
    let (mut below, mut of) = (0, 1);
    while of < digits {
        below += 10_u64.pow(of);
        of += 1;
    }
    below
}

/// Whether the names of this table are kept as numbers.
pub(super) fn is_packed(table: Named) -> bool {
    matches!(table, Named::TokenNumbers)
}

/// The number of a name made by [`Key::token_number`]; numbers are in the order of their names.
pub(super) fn number(of: &[u8]) -> Option<i64> {
    let (&[digits, prefix_digits], rest) = of.split_first_chunk()?;
    let (prefix, index) = rest.split_at_checked(usize::from(prefix_digits))?;
    let length = u64::from(digits).checked_sub(MIN_DIGITS).filter(|length| *length < LENGTHS)?;
    let index = Some(u64::from_be_bytes(index.try_into().ok()?)).filter(|index| *index < INDICES)?;
    let is_prefix = (1..=MAX_PREFIX_DIGITS).contains(&prefix_digits.into()) && prefix.iter().all(u8::is_ascii_digit);
    if !is_prefix {
        return None;
    }
    let value = prefix.iter().fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
    let prefix = prefixes_below(prefix_digits.into()) + value;
    i64::try_from((length * PREFIXES + prefix) * INDICES + index).ok()
}

/// The name with this number.
pub(super) fn name_of(number: i64) -> Option<Name> {
    let number = u64::try_from(number).ok()?;
    let (format, index) = (number / INDICES, number % INDICES);
    let (length, prefix) = (format / PREFIXES, format % PREFIXES);
    let prefix_digits = (1..=MAX_PREFIX_DIGITS).rev().find(|digits| prefixes_below(*digits) <= prefix)?;
    let width = prefix_digits as usize;
    let prefix = format!("{:0width$}", prefix - prefixes_below(prefix_digits));
    // At most 24 digits, at most 8 of them the prefix's.
    let lengths = [u8::try_from(MIN_DIGITS + length).ok().filter(|_| length < LENGTHS)?, prefix_digits as u8];
    Some(name(&[&lengths, prefix.as_bytes(), &index.to_be_bytes()]))
}

/// The number of a key of a packed table; nothing for a key of another.
pub(super) fn key(of: &Key) -> Option<Result<i64, StoreError>> {
    match of {
        Key::Name(table, of) if is_packed(*table) => Some(number(of).ok_or(StoreError::Corrupt(table.name()))),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use paycode::{CodeFormat, TokenIndex};

    use super::*;

    fn token(prefix: &str, digits: u8, index: u64) -> Name {
        let format = CodeFormat::new(prefix, digits).unwrap();
        match Key::token_number(&format, TokenIndex::new(index).unwrap()) {
            Key::Name(_, name) => name,
            Key::Number(..) => panic!("a token's key is a name"),
        }
    }

    #[test]
    fn every_name_has_a_number_of_its_own_in_the_order_of_names() {
        let mut names = Vec::new();
        for prefix in [
            "0", "2", "71", "99", "00", "710", "9999", "71000", "710000", "7100000", "00000000", "71000001", "99999999",
        ] {
            for digits in 18..=24 {
                if CodeFormat::new(prefix, digits).is_ok() {
                    for index in [0, 1, 9_999_999_999] {
                        names.push(token(prefix, digits, index));
                    }
                }
            }
        }
        assert!(names.len() > 100, "{}", names.len());
        names.sort_unstable();
        let numbers: Vec<i64> = names.iter().map(|name| number(name).unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
        for (name, number) in names.iter().zip(numbers) {
            assert_eq!(name_of(number).as_ref(), Some(name));
        }
    }

    #[test]
    fn what_is_no_name_has_no_number_and_the_other_way_round() {
        let good = token("71", 20, 5).to_vec();
        assert!(number(&good).is_some());
        let with = |place: usize, byte: u8| {
            let mut bad = good.clone();
            bad[place] = byte;
            bad
        };
        for bad in
            [with(0, 17), with(0, 25), with(1, 0), with(1, 1), with(1, 3), with(1, 255), with(2, b'x'), with(4, 1)]
        {
            assert_eq!(number(&bad), None, "{bad:?}");
        }
        for cut in 0..good.len() {
            assert_eq!(number(&good[..cut]), None);
        }
        assert_eq!(number(&[good.as_slice(), &[0]].concat()), None);
        let last = (LENGTHS * PREFIXES * INDICES).cast_signed() - 1;
        assert!(name_of(last).is_some());
        assert_eq!([name_of(-1), name_of(last + 1), name_of(i64::MAX)], [None, None, None]);
    }
}
