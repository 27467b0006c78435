//! Attestation: how a chip proves to be one its maker made, and in which state it is.
//!
//! The device key is made in the chip and signs nothing but the [`Attestation::statement`], which begins with a
//! domain string of its own. Chip and verifier build statement and state description with the same code.

use super::answers::Versions;
use super::fields::{Fields, ensure};
use super::values::Lifecycle;
use super::{CHIP_ID_BYTES, Error, SLOTS, TOKEN_ID_BYTES, tag};
use core::fmt;
use tlv::{Tag, Writer};

/// Bytes of a challenge.
pub const CHALLENGE_BYTES: core::ops::RangeInclusive<usize> = 16..=32;
/// Bytes of a signature: r and s, 32 bytes each.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of a public key: `04`, x, y.
pub const PUBLIC_KEY_BYTES: usize = 65;
/// Bytes of the hash of [`AttestedState`].
pub const STATE_HASH_BYTES: usize = 32;
/// How many parts a certificate chain may have.
pub const CERTIFICATE_PARTS: u8 = 10;
/// The longest part of a certificate chain, in bytes.
pub const MAX_CERTIFICATE_PART_BYTES: usize = 200;
/// What every statement begins with.
const DOMAIN: &[u8; 21] = b"paychip attestation 1";
/// The longest statement, in bytes.
pub const MAX_STATEMENT_BYTES: usize = DOMAIN.len() + 2 + *CHALLENGE_BYTES.end() + CHIP_ID_BYTES + 4 + STATE_HASH_BYTES;
/// The longest state description, in bytes.
pub const MAX_STATE_BYTES: usize = 2 + SLOTS as usize * (2 + TOKEN_ID_BYTES);

/// How the device key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scheme {
    /// ECDSA on P-256 with SHA-256 (FIPS 186-5).
    P256 = 0x01,
    /// SM2 with SM3 (GB/T 32918.2), under the default identifier `1234567812345678`.
    Sm2 = 0x02,
}

impl Scheme {
    /// The scheme this byte stands for.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::P256),
            0x02 => Some(Self::Sm2),
            _ => None,
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self as u8
    }
}

/// One part of the certificate chain: 0 to 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificatePart(u8);

impl CertificatePart {
    /// The part with this number; `None` above 9.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < CERTIFICATE_PARTS { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The part before it; `None` for the first.
    #[must_use]
    pub const fn before(self) -> Option<Self> {
        match self.0 {
            0 => None,
            number => Some(Self(number - 1)),
        }
    }

    /// All parts in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CERTIFICATE_PARTS).map(Self)
    }

    /// The tag GET DATA reads it by.
    #[must_use]
    pub const fn tag(self) -> Tag {
        match Tag::from_u32(tag::CERTIFICATE.to_u32() + self.0 as u32) {
            Ok(tag) => tag,
            Err(_) => tag::CERTIFICATE,
        }
    }
}

/// `E7`: one part of the certificate chain, 1 to [`MAX_CERTIFICATE_PART_BYTES`] bytes. Part 0 begins a new chain,
/// each other one follows the one before it. To the chip they are just bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCertificate<'a> {
    /// Which part.
    pub part: CertificatePart,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl<'a> StoreCertificate<'a> {
    pub(super) fn decode_objects(objects: &'a [u8]) -> Result<Self, Error> {
        let fields = Fields::of_order(objects, &[tag::PART_NUMBER, tag::PART])?;
        let order =
            Self { part: fields.one_of(tag::PART_NUMBER, CertificatePart::new)?, bytes: fields.required(tag::PART)? };
        order.check()?;
        Ok(order)
    }

    fn check(&self) -> Result<(), Error> {
        ensure(tag::PART, (1..=MAX_CERTIFICATE_PART_BYTES).contains(&self.bytes.len()))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        self.check()?;
        writer.nest(tag::STORE_CERTIFICATE, |w| {
            w.put(tag::PART_NUMBER, &[self.part.number()])?;
            w.put(tag::PART, self.bytes)
        })?;
        Ok(())
    }
}

/// Writes the GET DATA answer that holds one part of the certificate chain.
///
/// # Errors
/// [`Error::Tlv`] when `out` is too small.
pub fn encode_certificate_part<'b>(part: CertificatePart, bytes: &[u8], out: &'b mut [u8]) -> Result<&'b [u8], Error> {
    let mut writer = Writer::new(out);
    writer.put(part.tag(), bytes)?;
    Ok(writer.finish())
}

/// Reads the GET DATA answer that holds this part of the certificate chain.
///
/// # Errors
/// [`Error::Missing`] where it holds something else, [`Error::Tlv`].
pub fn decode_certificate_part(part: CertificatePart, data: &[u8]) -> Result<&[u8], Error> {
    tlv::find(data, part.tag())?.ok_or(Error::Missing(part.tag()))
}

/// `DF24` and the answer to GENERATE KEY: scheme and public half of the device key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKey<'a> {
    /// How it signs.
    pub scheme: Scheme,
    /// The point, not compressed (SEC 1 §2.3.3).
    pub public: &'a [u8; PUBLIC_KEY_BYTES],
}

impl<'a> DeviceKey<'a> {
    /// Reads the object.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::BadValue`], [`Error::Tlv`].
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        let wrong = Error::BadValue(tag::DEVICE_KEY);
        let value = tlv::find(data, tag::DEVICE_KEY)?.ok_or(Error::Missing(tag::DEVICE_KEY))?;
        let (&scheme, public) = value.split_first().ok_or(wrong)?;
        Ok(Self { scheme: Scheme::from_byte(scheme).ok_or(wrong)?, public: public.try_into().map_err(|_| wrong)? })
    }

    /// Writes the object.
    ///
    /// # Errors
    /// [`Error::Tlv`] when `out` is too small; 69 bytes are enough.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut value = [self.scheme.to_byte(); 1 + PUBLIC_KEY_BYTES];
        let (_, public) = value.split_at_mut(1);
        public.copy_from_slice(self.public);
        let mut writer = Writer::new(out);
        writer.put(tag::DEVICE_KEY, &value)?;
        Ok(writer.finish())
    }
}

/// What the chip holds, of which an attestation signs the hash: SHA-256, or SM3 with SM2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttestedState<'a> {
    /// Version of the root's key set.
    pub root_key_version: u8,
    /// Whether a passcode is set.
    pub passcode_set: bool,
    /// For each slot the version of its own key set (0: none), and the id of its token.
    pub slots: [(u8, Option<&'a [u8; TOKEN_ID_BYTES]>); SLOTS as usize],
}

impl AttestedState<'_> {
    /// The bytes that are hashed; gives how many of `out` they are.
    #[must_use]
    pub fn to_bytes(&self, out: &mut [u8; MAX_STATE_BYTES]) -> usize {
        let mut at = Append { out, used: 0 };
        at.put(&[self.root_key_version, u8::from(self.passcode_set)]);
        for (key_version, token_id) in &self.slots {
            at.put(&[*key_version, u8::from(token_id.is_some())]);
            if let Some(token_id) = token_id {
                at.put(*token_id);
            }
        }
        at.used
    }
}

/// `E8`: what a chip says of itself, signed with its device key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attestation<'a> {
    /// How it is signed.
    pub scheme: Scheme,
    /// The chip's name.
    pub chip_id: &'a [u8; CHIP_ID_BYTES],
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// The version of the applet.
    pub versions: Versions,
    /// Hash of [`AttestedState`].
    pub state_hash: &'a [u8; STATE_HASH_BYTES],
    /// Signature over [`Attestation::statement`]: r and s.
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> Attestation<'a> {
    /// Reads the template. The signature is not checked here.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub fn decode(data: &'a [u8]) -> Result<Self, Error> {
        let objects = tlv::find(data, tag::ATTESTATION)?.ok_or(Error::Missing(tag::ATTESTATION))?;
        let fields = Fields::of_answer(objects)?;
        let [major, minor, patch] = *fields.array(tag::VERSIONS)?;
        Ok(Self {
            scheme: fields.one_of(tag::SCHEME, Scheme::from_byte)?,
            chip_id: fields.array(tag::FACTORY_CHIP_ID)?,
            lifecycle: fields.one_of(tag::STATUS_LIFECYCLE, Lifecycle::from_byte)?,
            versions: Versions { major, minor, patch },
            state_hash: fields.array(tag::STATE_HASH)?,
            signature: fields.array(tag::SIGNATURE)?,
        })
    }

    /// Writes the template.
    ///
    /// # Errors
    /// [`Error::Tlv`] when `out` is too small; 140 bytes are enough.
    pub fn encode<'b>(&self, out: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let mut writer = Writer::new(out);
        writer.nest(tag::ATTESTATION, |w| {
            w.put(tag::SCHEME, &[self.scheme.to_byte()])?;
            w.put(tag::FACTORY_CHIP_ID, self.chip_id)?;
            w.put(tag::STATUS_LIFECYCLE, &[self.lifecycle.to_byte()])?;
            w.put(tag::VERSIONS, &[self.versions.major, self.versions.minor, self.versions.patch])?;
            w.put(tag::STATE_HASH, self.state_hash)?;
            w.put(tag::SIGNATURE, self.signature)
        })?;
        Ok(writer.finish())
    }

    /// What is signed, for this challenge:
    /// `"paychip attestation 1" ‖ scheme ‖ length of the challenge ‖ challenge ‖ chip id ‖ lifecycle ‖ major ‖
    /// minor ‖ patch ‖ state hash`.
    ///
    /// # Errors
    /// [`Error::BadCommand`] for a challenge that is not 16 to 32 bytes long.
    pub fn statement<'b>(&self, challenge: &[u8], out: &'b mut [u8; MAX_STATEMENT_BYTES]) -> Result<&'b [u8], Error> {
        if !CHALLENGE_BYTES.contains(&challenge.len()) {
            return Err(Error::BadCommand);
        }
        let mut at = Append { out, used: 0 };
        at.put(DOMAIN);
        at.put(&[self.scheme.to_byte(), challenge.len() as u8]);
        at.put(challenge);
        at.put(self.chip_id);
        let Versions { major, minor, patch } = self.versions;
        at.put(&[self.lifecycle.to_byte(), major, minor, patch]);
        at.put(self.state_hash);
        let used = at.used;
        out.get(..used).ok_or(Error::BadCommand)
    }
}

impl fmt::Debug for Attestation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestation")
            .field("scheme", &self.scheme)
            .field("lifecycle", &self.lifecycle)
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}

/// Writes parts one after the other. The buffers above are as long as the longest sum of parts.
struct Append<'b> {
    out: &'b mut [u8],
    used: usize,
}

impl Append<'_> {
    fn put(&mut self, bytes: &[u8]) {
        for (to, from) in self.out.iter_mut().skip(self.used).zip(bytes) {
            *to = *from;
        }
        self.used += bytes.len();
    }
}
