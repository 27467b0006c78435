//! Whether a chain of certificates leads from a chip to a root that the operator has been given (RFC 5280 §6, as far as
//! there are no policies, no name constraints and no cross-certificates).

use der::{Decode, Header, Reader, SliceReader};

use crate::{Certificate, Fault, MAX_CERTIFICATE_BYTES};

/// The most certificates of a chain, the root among them.
pub const MAX_CHAIN: usize = 4;

/// Certificates in DER, one behind the other, the chip's own first.
///
/// # Errors
/// Those of [`Certificate::from_der`]; [`Fault::TooLong`] for more than [`MAX_CHAIN`]; [`Fault::Malformed`] for none.
pub fn split_chain(mut der: &[u8]) -> Result<Vec<Certificate>, Fault> {
    let mut chain = Vec::new();
    while !der.is_empty() {
        if chain.len() == MAX_CHAIN {
            return Err(Fault::TooLong);
        }
        let (one, rest) = first_of(der)?;
        chain.push(Certificate::from_der(one)?);
        der = rest;
    }
    if chain.is_empty() { Err(Fault::Malformed) } else { Ok(chain) }
}

/// The first certificate of a chain in DER; what follows is not looked at, and may be cut off.
///
/// # Errors
/// Those of [`Certificate::from_der`].
pub fn first_of_chain(der: &[u8]) -> Result<Certificate, Fault> {
    let (one, _) = first_of(der)?;
    Certificate::from_der(one)
}

/// The bytes of the first certificate, and those behind it.
fn first_of(der: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let mut reader = SliceReader::new(der)?;
    let header = Header::decode(&mut reader)?;
    let head = usize::try_from(reader.position()).map_err(|_| Fault::Malformed)?;
    let length = head + usize::try_from(header.length()).map_err(|_| Fault::Malformed)?;
    if length > MAX_CERTIFICATE_BYTES {
        return Err(Fault::TooLong);
    }
    der.split_at_checked(length).ok_or(Fault::Malformed)
}

/// Checks that a chain, the chip's certificate first, leads to this root, and that all of it is valid now. The root may
/// stand at its end or be left out.
///
/// # Errors
/// [`Fault::OtherIssuer`] where the chain ends at another root; [`Fault::Forged`] where a link of it does not hold;
/// [`Fault::Expired`], [`Fault::NotYetValid`]; [`Fault::TooLong`].
pub fn verify_chain(chain: &[Certificate], root: &Certificate, now_s: u64) -> Result<(), Fault> {
    let chain = match chain.split_last() {
        Some((last, rest)) if last == root => rest,
        _ => chain,
    };
    let (leaf, top) = chain.first().zip(chain.last()).ok_or(Fault::Malformed)?;
    if chain.len() >= MAX_CHAIN {
        return Err(Fault::TooLong);
    }
    if top.issuer != root.subject {
        return Err(Fault::OtherIssuer);
    }
    if !leaf.is_of_an_end() {
        return Err(Fault::Forged);
    }
    let issuers = chain.iter().skip(1).chain([root]);
    for (below, (one, issuer)) in chain.iter().zip(issuers).enumerate() {
        if one.issuer != issuer.subject || !issuer.may_issue(below) || !one.is_signed_by(issuer.key()) {
            return Err(Fault::Forged);
        }
    }
    chain.iter().chain([root]).try_for_each(|one| one.check_time(now_s))
}

impl Certificate {
    /// Checks that this is an authority that the root has made, and that both are valid now.
    ///
    /// # Errors
    /// Those of [`verify_chain`].
    pub fn check_issued_by_root(&self, root: &Self, now_s: u64) -> Result<(), Fault> {
        if self.issuer != root.subject {
            return Err(Fault::OtherIssuer);
        }
        if !root.may_issue(1) || !self.may_issue(0) || !self.is_signed_by(root.key()) {
            return Err(Fault::Forged);
        }
        self.check_time(now_s)?;
        root.check_time(now_s)
    }

    /// Checks that this is a root: an authority that has signed itself.
    ///
    /// # Errors
    /// [`Fault::Forged`], and those of the time.
    pub fn check_is_root(&self, now_s: u64) -> Result<(), Fault> {
        if !self.is_self_issued() || !self.may_issue(0) || !self.is_signed_by(self.key()) {
            return Err(Fault::Forged);
        }
        self.check_time(now_s)
    }

    /// Whether this certificate was issued and signed by that authority, whatever the time.
    pub fn is_issued_by(&self, authority: &Self) -> bool {
        self.issuer == authority.subject && authority.may_issue(0) && self.is_signed_by(authority.key())
    }

    /// Whether it names that authority as its issuer; its signature is not looked at.
    pub fn names_as_issuer(&self, authority: &Self) -> bool {
        self.issuer == authority.subject
    }
}
