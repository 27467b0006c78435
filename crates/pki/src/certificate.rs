//! One certificate, read: what later checks look at, and the bytes that were signed. Nothing here says whether it is to be
//! believed.

use der::asn1::ObjectIdentifier;
use der::{Decode, Encode, Reader, SliceReader};
use sha2::{Digest, Sha256};
use x509_cert::AlgorithmIdentifier;
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::name::Name;

use crate::scheme::signature_from_der;
use crate::{Fault, PublicKey, SIGNATURE_BYTES, Scheme};

/// The longest certificate that is read, bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 2_048;

pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(crate) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANISATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANISATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");

/// A certificate's serial number: at most 20 bytes, big-endian, as its DER holds it.
pub type Serial = Vec<u8>;
/// SHA-256 of a certificate's DER.
pub type Fingerprint = [u8; 32];

/// A certificate that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    signed: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
    pub(crate) signed_with: Scheme,
    serial: Serial,
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    names: Vec<(ObjectIdentifier, String)>,
    key: PublicKey,
    pub(crate) not_before_s: u64,
    not_after_s: u64,
    constraints: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Fault::TooLong`], [`Fault::Malformed`], [`Fault::UnknownScheme`].
    pub fn from_der(der: &[u8]) -> Result<Self, Fault> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(Fault::TooLong);
        }
        let read = x509_cert::Certificate::from_der(der)?;
        // One certificate has one form: what reads the same and is written otherwise is not taken.
        if read.to_der()? != der {
            return Err(Fault::Malformed);
        }
        let tbs = read.tbs_certificate();
        if tbs.version() != Version::V3 || tbs.signature() != read.signature_algorithm() {
            return Err(Fault::Malformed);
        }
        let signature = read.signature().as_bytes().ok_or(Fault::Malformed)?;
        let mut known = Extensions::default();
        for extension in tbs.extensions().into_iter().flatten() {
            known.take_in(extension)?;
        }
        let validity = tbs.validity();
        Ok(Self {
            signed: signed_part(der)?.to_vec(),
            signature: signature_from_der(signature)?,
            signed_with: scheme_of(read.signature_algorithm())?,
            serial: tbs.serial_number().as_bytes().to_vec(),
            issuer: tbs.issuer().to_der()?,
            subject: tbs.subject().to_der()?,
            names: names_of(tbs.subject()),
            key: public_key(tbs.subject_public_key_info())?,
            not_before_s: validity.not_before.to_unix_duration().as_secs(),
            not_after_s: validity.not_after.to_unix_duration().as_secs(),
            constraints: known.constraints,
            usage: known.usage,
            der: der.to_vec(),
        })
    }

    /// Reads a certificate in PEM or in DER, as a file may hold it.
    ///
    /// # Errors
    /// Those of [`Certificate::from_der`].
    pub fn from_file(bytes: &[u8]) -> Result<Self, Fault> {
        if !bytes.starts_with(b"-----BEGIN") {
            return Self::from_der(bytes);
        }
        let (label, der) = der::pem::decode_vec(bytes).map_err(|_| Fault::Malformed)?;
        if label == "CERTIFICATE" { Self::from_der(&der) } else { Err(Fault::Malformed) }
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as PEM.
    ///
    /// # Errors
    /// [`Fault::Malformed`], never in practice.
    pub fn pem(&self) -> Result<String, Fault> {
        let ending = der::pem::LineEnding::LF;
        der::pem::encode_string("CERTIFICATE", ending, &self.der).map_err(|_| Fault::Malformed)
    }

    /// SHA-256 of the DER.
    pub fn fingerprint(&self) -> Fingerprint {
        Sha256::digest(&self.der).into()
    }

    /// The key it is for.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Its serial number.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The last second it is valid in, Unix time.
    pub fn not_after_s(&self) -> u64 {
        self.not_after_s
    }

    /// The common name of whom it is for: a chip's id in a chip's certificate.
    pub fn common_name(&self) -> Option<&str> {
        self.name(COMMON_NAME)
    }

    /// The organisation of whom it is for: the maker.
    pub fn organisation(&self) -> Option<&str> {
        self.name(ORGANISATION)
    }

    /// The unit of whom it is for: a chip's model in a chip's certificate.
    pub fn unit(&self) -> Option<&str> {
        self.name(ORGANISATIONAL_UNIT)
    }

    fn name(&self, of: ObjectIdentifier) -> Option<&str> {
        self.names.iter().find(|(kind, _)| *kind == of).map(|(_, text)| text.as_str())
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether it may issue certificates, with at most `below` other authorities between.
    pub(crate) fn may_issue(&self, below: usize) -> bool {
        let is_authority = self.constraints.as_ref().is_some_and(|constraints| {
            constraints.ca && constraints.path_len_constraint.is_none_or(|most| below <= usize::from(most))
        });
        is_authority && self.is_used_for(KeyUsages::KeyCertSign)
    }

    /// Whether it may sign revocation lists.
    pub(crate) fn may_revoke(&self) -> bool {
        self.constraints.as_ref().is_some_and(|constraints| constraints.ca) && self.is_used_for(KeyUsages::CRLSign)
    }

    /// Whether it is of one that signs for itself only: a chip.
    pub(crate) fn is_of_an_end(&self) -> bool {
        !self.constraints.as_ref().is_some_and(|constraints| constraints.ca) && self.may_sign()
    }

    /// Whether its key may sign data.
    pub fn may_sign(&self) -> bool {
        self.is_used_for(KeyUsages::DigitalSignature)
    }

    fn is_used_for(&self, usage: KeyUsages) -> bool {
        self.usage.as_ref().is_some_and(|known| known.0.contains(usage))
    }

    /// Whether this key has signed the certificate.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signed_with == key.scheme() && key.has_signed(&self.signed, &self.signature)
    }

    /// Whether it is valid at this second.
    ///
    /// # Errors
    /// [`Fault::NotYetValid`], [`Fault::Expired`].
    pub fn check_time(&self, now_s: u64) -> Result<(), Fault> {
        if now_s < self.not_before_s {
            return Err(Fault::NotYetValid);
        }
        if now_s > self.not_after_s { Err(Fault::Expired) } else { Ok(()) }
    }
}

/// The extensions that are understood.
#[derive(Default)]
struct Extensions {
    constraints: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
}

impl Extensions {
    fn take_in(&mut self, extension: &Extension) -> Result<(), Fault> {
        let value = extension.extn_value.as_bytes();
        let is_repeated = match extension.extn_id {
            BASIC_CONSTRAINTS => self.constraints.replace(BasicConstraints::from_der(value)?).is_some(),
            KEY_USAGE => self.usage.replace(KeyUsage::from_der(value)?).is_some(),
            _ => extension.critical,
        };
        if is_repeated { Err(Fault::Malformed) } else { Ok(()) }
    }
}

/// The first element of a signed structure, as it was signed.
pub(crate) fn signed_part(der: &[u8]) -> Result<&[u8], Fault> {
    let mut reader = SliceReader::new(der)?;
    let part = reader.sequence(|inner| {
        let part = inner.tlv_bytes()?;
        let rest = inner.remaining_len();
        inner.read_slice(rest)?;
        Ok::<_, der::Error>(part)
    })?;
    Ok(part)
}

/// The scheme of a signature. Neither has parameters (RFC 5758 §3.2, RFC 8998 §3.2.1).
pub(crate) fn scheme_of(algorithm: &AlgorithmIdentifier) -> Result<Scheme, Fault> {
    if algorithm.parameters.is_some() {
        return Err(Fault::UnknownScheme);
    }
    Scheme::ALL.into_iter().find(|scheme| scheme.algorithm() == algorithm.oid).ok_or(Fault::UnknownScheme)
}

fn public_key(info: &x509_cert::SubjectPublicKeyInfo) -> Result<PublicKey, Fault> {
    let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let scheme = Scheme::ALL.into_iter().find(|scheme| Some(scheme.curve()) == curve).ok_or(Fault::UnknownScheme)?;
    if info.algorithm.oid != EC_PUBLIC_KEY {
        return Err(Fault::UnknownScheme);
    }
    PublicKey::new(scheme, info.subject_public_key.as_bytes().ok_or(Fault::Malformed)?)
}

/// The parts of a name that are text.
fn names_of(name: &Name) -> Vec<(ObjectIdentifier, String)> {
    let text = |value: &der::Any| core::str::from_utf8(value.value()).ok().map(str::to_owned);
    name.iter().filter_map(|part| Some((part.oid, text(&part.value)?))).collect()
}
