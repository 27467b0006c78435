//! Revocation lists (X.509 version 2 CRLs, RFC 5280 §5): signed by the authority whose certificates they end.

use der::{Decode, Encode};
use x509_cert::crl::CertificateList;

use crate::certificate::{scheme_of, signed_part};
use crate::scheme::signature_from_der;
use crate::{Certificate, Fault, Serial};

/// The longest list that is read, bytes.
pub const MAX_LIST_BYTES: usize = 1_024 * 1_024;
/// The most certificates a list ends.
pub const MAX_REVOKED: usize = 20_000;

/// A list that its authority has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The serial numbers it ends.
    pub revoked: Vec<Serial>,
    /// When it was made, Unix seconds.
    pub this_update_s: u64,
    /// When the next one is due at the latest, Unix seconds.
    pub next_update_s: u64,
}

impl RevocationList {
    /// Reads a list, and checks that this authority has signed it and that it is of the present.
    ///
    /// # Errors
    /// [`Fault::OtherIssuer`], [`Fault::Forged`], [`Fault::NotYetValid`], [`Fault::Expired`], [`Fault::TooLong`],
    /// [`Fault::Malformed`], also for a list without a next date.
    pub fn verify(der: &[u8], authority: &Certificate, now_s: u64) -> Result<Self, Fault> {
        if der.len() > MAX_LIST_BYTES {
            return Err(Fault::TooLong);
        }
        let read = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der)?;
        let tbs = &read.tbs_cert_list;
        if read.to_der()? != der || tbs.signature != read.signature_algorithm {
            return Err(Fault::Malformed);
        }
        if tbs.issuer.to_der()? != authority.subject {
            return Err(Fault::OtherIssuer);
        }
        let signature = signature_from_der(read.signature.as_bytes().ok_or(Fault::Malformed)?)?;
        let is_signed = scheme_of(&read.signature_algorithm)? == authority.key().scheme()
            && authority.key().has_signed(signed_part(der)?, &signature);
        if !is_signed || !authority.may_revoke() {
            return Err(Fault::Forged);
        }
        let entries = tbs.revoked_certificates.as_deref().unwrap_or_default();
        let of_entries = entries.iter().flat_map(|entry| entry.crl_entry_extensions.iter().flatten());
        // A critical extension changes what the list means (a part of a list, another issuer): such lists are not taken.
        if tbs.crl_extensions.iter().flatten().chain(of_entries).any(|extension| extension.critical) {
            return Err(Fault::Malformed);
        }
        if entries.len() > MAX_REVOKED {
            return Err(Fault::TooLong);
        }
        let this_update_s = tbs.this_update.to_unix_duration().as_secs();
        let next_update_s = tbs.next_update.ok_or(Fault::Malformed)?.to_unix_duration().as_secs();
        if now_s < this_update_s {
            return Err(Fault::NotYetValid);
        }
        if now_s > next_update_s {
            return Err(Fault::Expired);
        }
        let revoked = entries.iter().map(|entry| entry.serial_number.as_bytes().to_vec()).collect();
        Ok(Self { revoked, this_update_s, next_update_s })
    }
}
