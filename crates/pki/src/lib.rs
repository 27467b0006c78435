//! Certificates of makers and of their chips: X.509 version 3 (RFC 5280) on two curves, ECDSA on P-256 with SHA-256 and SM2
//! with SM3. No clock, no files, no randomness of its own: whoever asks brings the time.
//!
//! | file | holds |
//! |---|---|
//! | `scheme.rs` | the two ways to sign; public and secret keys |
//! | `certificate.rs` | reading one certificate |
//! | `chain.rs` | is this chain good under that root, at this time |
//! | `revocation.rs` | lists of certificates that are good no more |
//! | [`seal`] | a secret for one recipient: how keys reach a factory |
//! | [`issue`] | making certificates and lists: what a maker's own authority does |
//!
//! Nothing of the input is trusted: sizes, counts and depth are bounded, and what is not understood is refused.

mod certificate;
mod chain;
pub mod issue;
mod revocation;
mod scheme;
pub mod seal;

pub use certificate::{Certificate, Fingerprint, MAX_CERTIFICATE_BYTES, Serial};
pub use chain::{MAX_CHAIN, first_of_chain, split_chain, verify_chain};
pub use revocation::{MAX_LIST_BYTES, MAX_REVOKED, RevocationList};
pub use scheme::{POINT_BYTES, PublicKey, SECRET_BYTES, SIGNATURE_BYTES, Scheme, SecretKey};

/// The hash that goes with a scheme, of these parts one behind the other: SHA-256, or SM3 with SM2.
pub fn hash(scheme: Scheme, parts: &[&[u8]]) -> [u8; 32] {
    fn of<D: sha2::Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
        parts.iter().fold(D::new(), |hash, part| hash.chain_update(part)).finalize()
    }
    match scheme {
        Scheme::P256 => of::<sha2::Sha256>(parts).into(),
        Scheme::Sm2 => of::<sm3::Sm3>(parts).into(),
    }
}

/// Why a certificate, a chain or a list is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not DER, or not what RFC 5280 says, or holds something critical that is not understood.
    Malformed,
    /// It is longer, or of more parts, than allowed.
    TooLong,
    /// It is of a kind of key or signature that is not taken.
    UnknownScheme,
    /// It names an issuer that is not the one it is checked against.
    OtherIssuer,
    /// A signature does not fit, or who signed had no right to.
    Forged,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
}

impl Fault {
    /// A stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "certificate_malformed",
            Self::TooLong => "certificate_too_long",
            Self::UnknownScheme => "certificate_scheme_unknown",
            Self::OtherIssuer => "certificate_of_another_issuer",
            Self::Forged => "certificate_forged",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::Expired => "certificate_expired",
        }
    }
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "this is not an X.509 version 3 certificate or list as it has to be",
            Self::TooLong => "this certificate, chain or list is longer than allowed",
            Self::UnknownScheme => "only P-256 with SHA-256 and SM2 with SM3 are taken",
            Self::OtherIssuer => "another authority has issued this certificate",
            Self::Forged => "a signature in this chain does not fit, or the signer had no right to sign",
            Self::NotYetValid => "this certificate is not valid yet",
            Self::Expired => "this certificate has expired",
        })
    }
}

impl std::error::Error for Fault {}

impl From<der::Error> for Fault {
    fn from(_: der::Error) -> Self {
        Self::Malformed
    }
}
