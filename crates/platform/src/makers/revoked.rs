//! Revocation lists: certificates that their authority has ended. One list an authority, the newest; it stays in force when
//! the next one is late, for what was ended stays ended.

use pki::{Certificate, Fingerprint, RevocationList, Serial};

use super::{Maker, MakerCode, event, refused};
use crate::{Change, Reason, Refusal, UnixMs};

/// The newest revocation list of one authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedList {
    /// SHA-256 of the authority's certificate.
    pub authority: Fingerprint,
    /// Whose it is.
    pub maker: MakerCode,
    /// Its number.
    pub number: u64,
    /// When it was made, Unix seconds.
    pub this_update_s: u64,
    /// When the next one is due, Unix seconds.
    pub next_update_s: u64,
    /// The serial numbers it ends, in ascending order, each once.
    pub revoked: Vec<Serial>,
}

impl RevokedList {
    /// Whether it ends the certificate with this serial number.
    pub fn ends(&self, serial: &[u8]) -> bool {
        self.revoked.binary_search_by(|known| known.as_slice().cmp(serial)).is_ok()
    }
}

/// The authority that a list is of: a certificate of the maker's line, or its root where none is given.
///
/// # Errors
/// Those of a certificate the maker's root has not issued.
pub fn authority_of(maker: &Maker, line: Option<&[u8]>, now_ms: UnixMs) -> Result<Certificate, Refusal> {
    let Some(line) = line else { return Ok(maker.root.clone()) };
    let at = |fault| refused(fault, "authority");
    let line = Certificate::from_file(line).map_err(at)?;
    line.check_issued_by_root(&maker.root, now_ms / 1_000).map_err(at)?;
    Ok(line)
}

/// Takes in a list. The one that is in force already changes nothing; only one with a higher number takes its place.
///
/// # Errors
/// Those of a list that its authority has not signed or that is not of the present; [`Reason::RevocationListOlder`].
pub fn take_in_list(
    maker: &Maker,
    authority: &Certificate,
    list: &[u8],
    before: Option<RevokedList>,
    now_ms: UnixMs,
) -> Result<(RevokedList, Vec<Change>), Refusal> {
    let read = RevocationList::verify(list, authority, now_ms / 1_000).map_err(|fault| refused(fault, "list"))?;
    let mut revoked = read.revoked;
    revoked.sort_unstable();
    revoked.dedup();
    let list = RevokedList {
        authority: authority.fingerprint(),
        maker: maker.code.clone(),
        number: read.number,
        this_update_s: read.this_update_s,
        next_update_s: read.next_update_s,
        revoked,
    };
    match before {
        Some(before) if before == list => return Ok((before, Vec::new())),
        Some(before) if before.number >= list.number => {
            return Err(Refusal::at(Reason::RevocationListOlder, "list"));
        }
        _ => {}
    }
    let event = event(maker.subject(), now_ms, "revocation_list_taken_in");
    Ok((list.clone(), vec![Change::PutRevokedList(list), Change::AddEvent(event)]))
}
