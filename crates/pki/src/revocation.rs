//! Revocation lists (X.509 version 2 CRLs, RFC 5280 §5): signed by the authority whose certificates they end.

use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use x509_cert::crl::CertificateList;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlNumber;

use crate::certificate::{scheme_of, signed_part};
use crate::scheme::signature_from_der;
use crate::{Certificate, Fault, Serial};

/// The longest list that is read, bytes.
pub const MAX_LIST_BYTES: usize = 1_024 * 1_024;
/// The most certificates a list ends.
pub const MAX_REVOKED: usize = 20_000;

pub(crate) const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");

/// A list that its authority has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The serial numbers it ends.
    pub revoked: Vec<Serial>,
    /// The list's number (RFC 5280 §5.2.3): each list of an authority has a higher one than those before it.
    pub number: u64,
    /// When it was made, Unix seconds.
    pub this_update_s: u64,
    /// When the next one is due at the latest, Unix seconds.
    pub next_update_s: u64,
}

impl RevocationList {
    /// The DER of a list that a file holds in PEM or in DER.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for PEM that is no list.
    pub fn der_of_file(bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        if !bytes.starts_with(b"-----BEGIN") {
            return Ok(bytes.to_vec());
        }
        let (label, der) = der::pem::decode_vec(bytes).map_err(|_| Fault::Malformed)?;
        if label == "X509 CRL" { Ok(der) } else { Err(Fault::Malformed) }
    }

    /// Reads a list, and checks that this authority has signed it and that it is of the present.
    ///
    /// # Errors
    /// [`Fault::OtherIssuer`], [`Fault::Forged`], [`Fault::NotYetValid`], [`Fault::Expired`], [`Fault::TooLong`],
    /// [`Fault::Malformed`], also for a list without a next date, and for one without a number below 2⁶⁴, by which nobody
    /// could tell whether it is newer than another.
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
        let number = number(tbs.crl_extensions.as_deref().unwrap_or_default())?;
        let revoked = entries.iter().map(|entry| entry.serial_number.as_bytes().to_vec()).collect();
        Ok(Self { revoked, number, this_update_s, next_update_s })
    }
}

/// The number among a list's extensions, of which there must be one.
fn number(extensions: &[Extension]) -> Result<u64, Fault> {
    let mut numbers = extensions.iter().filter(|extension| extension.extn_id == CRL_NUMBER);
    let (one, None) = (numbers.next().ok_or(Fault::Malformed)?, numbers.next()) else { return Err(Fault::Malformed) };
    let number = CrlNumber::from_der(one.extn_value.as_bytes())?;
    let bytes = number.0.as_bytes();
    let mut wide = [0; 8];
    let at = wide.len().checked_sub(bytes.len()).ok_or(Fault::Malformed)?;
    wide.get_mut(at..).ok_or(Fault::Malformed)?.copy_from_slice(bytes);
    Ok(u64::from_be_bytes(wide))
}
