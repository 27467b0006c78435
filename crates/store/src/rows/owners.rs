//! Whose tokens are that have numbers side by side.

use super::FORM;
use super::codec::{Decoder, Encoder};
use crate::StoreError;

/// Token numbers of one row. A row of them has about a kilobyte.
pub(crate) const SPAN: usize = 128;

/// The number of the account that each of the tokens is of; nothing where there is no such token, or none that this row knows
/// of.
pub(crate) type OwnersRow = [Option<u64>; SPAN];

/// No account's number: those are below 2^63.
pub(crate) const NOBODY: u64 = u64::MAX;

pub(crate) fn put_owners(owners: &OwnersRow) -> Vec<u8> {
    owners.iter().fold(Encoder::new(FORM), |row, owner| row.u64(owner.unwrap_or(NOBODY))).finish()
}

pub(crate) fn owners(fields: &[u8]) -> Result<OwnersRow, StoreError> {
    let mut row = Decoder::new("token_owners", FORM, fields)?;
    let mut owners = [None; SPAN];
    for owner in &mut owners {
        *owner = Some(row.u64()?).filter(|number| *number != NOBODY);
    }
    row.end().map(|()| owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_come_back_as_they_were_written() {
        let mut known = [None; SPAN];
        assert_eq!(owners(&put_owners(&known)), Ok(known));
        (known[0], known[5], known[SPAN - 1]) = (Some(0), Some(u64::MAX >> 1), Some(7));
        let bytes = put_owners(&known);
        assert_eq!(owners(&bytes), Ok(known));
        for cut in 0..bytes.len() {
            assert!(owners(&bytes[..cut]).is_err());
        }
    }
}
