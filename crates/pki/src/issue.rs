//! Making certificates and revocation lists: what a maker's authority does. A real maker keeps its keys in an HSM and makes
//! the same bytes there.

use core::time::Duration;

use der::asn1::{Any, BitString, GeneralizedTime, OctetString, Uint, UtcTime};
use der::{Encode, Sequence};
use x509_cert::certificate::{Rfc5280, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};
use x509_cert::{AlgorithmIdentifier, SubjectPublicKeyInfo};

use crate::certificate::{BASIC_CONSTRAINTS, EC_PUBLIC_KEY, KEY_USAGE};
use crate::revocation::CRL_NUMBER;
use crate::scheme::signature_to_der;
use crate::{Certificate, Fault, PublicKey, Scheme, SecretKey};

/// From this second on dates have four digits of the year (RFC 5280 §4.1.2.5).
const YEAR_2050_S: u64 = 2_524_608_000;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A maker's root: it issues authorities.
    Root,
    /// An authority that issues chips' certificates, and signs manifests and revocation lists.
    Issuing,
    /// A chip.
    Chip,
}

/// A certificate to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewCertificate<'a> {
    /// What for.
    pub role: Role,
    /// Its number: 1 to 20 bytes, the first below 128 and not zero.
    pub serial: &'a [u8],
    /// Whose it is.
    pub subject: Subject<'a>,
    /// The key it is for.
    pub key: &'a PublicKey,
    /// Valid from this Unix second on.
    pub not_before_s: u64,
    /// Valid until this Unix second.
    pub not_after_s: u64,
}

/// The name a certificate is for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The maker.
    pub organisation: &'a str,
    /// The model, in a chip's certificate.
    pub unit: Option<&'a str>,
    /// The chip's id, or what the authority is called.
    pub common_name: &'a str,
}

/// The signed part, field for field as RFC 5280 §4.1 has it; the library reads it and has no way to write it without its
/// own signers, which know no SM2.
#[derive(Sequence)]
struct ToBeSigned {
    #[asn1(context_specific = "0")]
    version: Version,
    serial_number: SerialNumber<Rfc5280>,
    signature: AlgorithmIdentifier,
    issuer: Name,
    validity: Validity<Rfc5280>,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfo,
    #[asn1(context_specific = "3")]
    extensions: Extensions,
}

#[derive(Sequence)]
struct Signed {
    to_be_signed: ToBeSigned,
    algorithm: AlgorithmIdentifier,
    signature: BitString,
}

/// Who signs: a certificate and its secret key.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: SecretKey,
}

/// Makes a root, which signs itself.
///
/// # Errors
/// [`Fault::Malformed`] for a number or a name that no certificate can hold.
pub fn root(new: &NewCertificate<'_>, key: &SecretKey) -> Result<Certificate, Fault> {
    make(new, &name(&new.subject)?, key)
}

impl Authority {
    /// Issues a certificate.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a number or a name that no certificate can hold.
    pub fn issue(&self, new: &NewCertificate<'_>) -> Result<Certificate, Fault> {
        let issuer = <Name as der::Decode>::from_der(&self.certificate.subject)?;
        make(new, &issuer, &self.key)
    }

    /// Signs a revocation list that ends these serial numbers. Its own number must be higher than that of the one before.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a number that is none.
    pub fn revoke(
        &self,
        number: u64,
        serials: &[&[u8]],
        this_update_s: u64,
        next_update_s: u64,
    ) -> Result<Vec<u8>, Fault> {
        let algorithm = algorithm(self.key.public().scheme());
        let date = time(this_update_s)?;
        let entry = |serial: &&[u8]| {
            Ok(RevokedCert {
                serial_number: SerialNumber::new(serial)?,
                revocation_date: date,
                crl_entry_extensions: None,
            })
        };
        let entries = serials.iter().map(entry).collect::<Result<Vec<_>, Fault>>()?;
        let tbs_cert_list = TbsCertList::<Rfc5280> {
            version: Version::V2,
            signature: algorithm.clone(),
            issuer: <Name as der::Decode>::from_der(&self.certificate.subject)?,
            this_update: date,
            next_update: Some(time(next_update_s)?),
            // An empty sequence must be left out (RFC 5280 §5.1.2.6).
            revoked_certificates: (!entries.is_empty()).then_some(entries),
            crl_extensions: Some(vec![crl_number(number)?]),
        };
        let signature = signature_to_der(&self.key.sign(&tbs_cert_list.to_der()?)?)?;
        let list = CertificateList {
            tbs_cert_list,
            signature_algorithm: algorithm,
            signature: BitString::from_bytes(&signature)?,
        };
        Ok(list.to_der()?)
    }
}

fn make(new: &NewCertificate<'_>, issuer: &Name, key: &SecretKey) -> Result<Certificate, Fault> {
    let algorithm = algorithm(key.public().scheme());
    let to_be_signed = ToBeSigned {
        version: Version::V3,
        serial_number: SerialNumber::new(new.serial)?,
        signature: algorithm.clone(),
        issuer: issuer.clone(),
        validity: Validity::new(time(new.not_before_s)?, time(new.not_after_s)?),
        subject: name(&new.subject)?,
        subject_public_key_info: SubjectPublicKeyInfo {
            algorithm: AlgorithmIdentifier {
                oid: EC_PUBLIC_KEY,
                parameters: Some(Any::encode_from(&new.key.scheme().curve())?),
            },
            subject_public_key: BitString::from_bytes(new.key.point())?,
        },
        extensions: extensions(new.role)?,
    };
    let signature = signature_to_der(&key.sign(&to_be_signed.to_der()?)?)?;
    let signed = Signed { to_be_signed, algorithm, signature: BitString::from_bytes(&signature)? };
    Certificate::from_der(&signed.to_der()?)
}

fn extensions(role: Role) -> Result<Extensions, Fault> {
    let authority = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
    let (most_below, usage) = match role {
        Role::Root => (Some(1), authority),
        Role::Issuing => (Some(0), authority | KeyUsages::DigitalSignature),
        Role::Chip => (None, KeyUsages::DigitalSignature.into()),
    };
    let constraints = BasicConstraints { ca: role != Role::Chip, path_len_constraint: most_below };
    let critical = |extn_id, value: Vec<u8>| {
        Ok::<_, Fault>(Extension { extn_id, critical: true, extn_value: OctetString::new(value)? })
    };
    Ok(vec![critical(BASIC_CONSTRAINTS, constraints.to_der()?)?, critical(KEY_USAGE, KeyUsage(usage).to_der()?)?])
}

fn crl_number(number: u64) -> Result<Extension, Fault> {
    let value = Uint::new(&number.to_be_bytes())?.to_der()?;
    Ok(Extension { extn_id: CRL_NUMBER, critical: false, extn_value: OctetString::new(value)? })
}

fn algorithm(scheme: Scheme) -> AlgorithmIdentifier {
    AlgorithmIdentifier { oid: scheme.algorithm(), parameters: None }
}

/// A name in the order that most tools write: organisation, unit, common name.
fn name(subject: &Subject<'_>) -> Result<Name, Fault> {
    let parts = [("CN", Some(subject.common_name)), ("OU", subject.unit), ("O", Some(subject.organisation))];
    let text: Vec<String> =
        parts.iter().filter_map(|(kind, text)| Some(format!("{kind}={}", escaped((*text)?)))).collect();
    // RFC 4514 writes a name back to front.
    text.join(",").parse().map_err(|_: der::Error| Fault::Malformed)
}

/// Escapes what has a meaning in the text of a name (RFC 4514 §2.4).
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|letter| r##",+"\<>;=# "##.contains(letter).then_some('\\').into_iter().chain([letter]))
        .collect()
}

fn time(unix_s: u64) -> Result<Time, Fault> {
    let since = Duration::from_secs(unix_s);
    if unix_s < YEAR_2050_S {
        Ok(Time::UtcTime(UtcTime::from_unix_duration(since)?))
    } else {
        Ok(Time::GeneralTime(GeneralizedTime::from_unix_duration(since)?))
    }
}
