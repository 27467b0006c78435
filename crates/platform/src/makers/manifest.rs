//! A shipment's manifest (spec/manifest.md): a header, a line for each chip, and a signature over all of it. Written by a
//! maker's line, read by the cloud, with the same code.

use pki::{Certificate, SIGNATURE_BYTES, Scheme, SecretKey};
use protocol::link::crc16;

use super::{BatchId, MakerCode, ModelName};
use crate::ids::from_hex;
use crate::{ChipId, Reason, Refusal};

/// The most chips of one shipment.
pub const MAX_SHIPPED: u32 = 2_000_000;
/// The longest header, bytes: a certificate in hex, and the rest.
pub const MAX_HEADER_BYTES: usize = 2 * pki::MAX_CERTIFICATE_BYTES + 1_024;
/// The longest number of a shipment, characters.
pub const MAX_SHIPMENT_NUMBER_LEN: usize = 64;
/// Bytes of a line, its end left out.
pub const LINE_BYTES: usize = 32 + 1 + 64 + 1 + 4;
const TITLE: &str = "paychip manifest 1";
/// The last line of a header.
pub const HEADER_END: &str = "chips:";
/// What the last line of a manifest begins with.
pub const SIGNATURE: &str = "signature: ";
/// What a manifest's signature is over, before the running hash.
const DOMAIN: &[u8] = b"paychip manifest signature 1";

/// A shipment's number, as its maker counts: 1 to 64 letters, digits, `-`, `.` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShipmentNumber(String);

impl ShipmentNumber {
    /// Reads one.
    ///
    /// # Errors
    /// [`Reason::FieldMalformed`], at `shipment`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let fits = (1..=MAX_SHIPMENT_NUMBER_LEN).contains(&text.len());
        if is_plain && fits { Ok(Self(text.to_owned())) } else { Err(Refusal::at(Reason::FieldMalformed, "shipment")) }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands before the chips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHeader {
    /// Who made the chips.
    pub maker: MakerCode,
    /// Which model they are.
    pub model: ModelName,
    /// The maker's number for the shipment.
    pub shipment: ShipmentNumber,
    /// The batch whose key their keys are derived from.
    pub batch: BatchId,
    /// The version of their keys.
    pub key_version: u8,
    /// How many there are.
    pub count: u32,
    /// When the manifest was made, Unix seconds.
    pub made_s: u64,
    /// The certificate of the line that has signed it, and the chips' certificates.
    pub authority: Certificate,
}

/// What is wrong with a manifest, and in which of its lines, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine {
    /// The line.
    pub number: u64,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with one line of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFault {
    /// A line of the header is not what must stand there.
    Header(&'static str),
    /// It is shorter or longer than a chip's line.
    Length,
    /// Something that must be hexadecimal is not, or its parts are not where they must be.
    Form,
    /// Its check sum is wrong: it was altered on the way.
    Check,
    /// Its chip does not come after the one before: it is out of order, or stands there twice.
    Order,
    /// There are more chips than the header says, or fewer.
    Count,
    /// The chip is known already.
    Exists,
    /// The signature is not the line's, or something was altered.
    Signature,
}

impl LineFault {
    /// A stable name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Header(_) => "manifest_header_malformed",
            Self::Length => "manifest_line_length",
            Self::Form => "manifest_line_malformed",
            Self::Check => "manifest_line_altered",
            Self::Order => "manifest_line_out_of_order",
            Self::Count => "manifest_count_wrong",
            Self::Exists => "chip_exists",
            Self::Signature => "manifest_signature_wrong",
        }
    }
}

impl core::fmt::Display for BadLine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {}: ", self.number)?;
        f.write_str(match self.fault {
            LineFault::Header(field) => return write!(f, "`{field}` must stand here, in its right form"),
            LineFault::Length => "a chip's line has 102 characters",
            LineFault::Form => "this is not a chip id, the hash of its key and a check sum, in lower-case hexadecimal",
            LineFault::Check => "the check sum is wrong: the line was altered on the way",
            LineFault::Order => "this chip does not come after the one before: it is out of order, or there twice",
            LineFault::Count => "the manifest holds another number of chips than its header says",
            LineFault::Exists => "this chip is known already, from elsewhere",
            LineFault::Signature => "the signature does not fit: something was altered, or another line has signed",
        })
    }
}

impl std::error::Error for BadLine {}

impl ManifestHeader {
    /// The header as text, up to and with [`HEADER_END`].
    pub fn to_text(&self) -> String {
        format!(
            "{TITLE}\nmaker: {}\nmodel: {}\nshipment: {}\nbatch: {}\nkey-version: {}\ncount: {}\nmade: {}\nauthority: {}\n{HEADER_END}\n",
            self.maker,
            self.model,
            self.shipment.as_str(),
            self.batch,
            self.key_version,
            self.count,
            self.made_s,
            hex(self.authority.der()),
        )
    }

    /// Reads a header. One header has one form.
    ///
    /// # Errors
    /// The line that is not as it must be.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let bad = |number, field| BadLine { number, fault: LineFault::Header(field) };
        if text.len() > MAX_HEADER_BYTES {
            return Err(bad(1, TITLE));
        }
        let mut lines = (1..).zip(text.split('\n'));
        let mut line = |field: &'static str| {
            let (number, line) = lines.next().unwrap_or((0, ""));
            line.strip_prefix(field).ok_or(bad(number, field)).map(|value| (number, value))
        };
        line(TITLE).and_then(|(number, rest)| if rest.is_empty() { Ok(()) } else { Err(bad(number, TITLE)) })?;
        let mut value = |field: &'static str| line(field).map(|(number, value)| (value, bad(number, field)));
        let (maker, fault) = value("maker: ")?;
        let maker = MakerCode::parse(maker).map_err(|_| fault)?;
        let (model, fault) = value("model: ")?;
        let model = ModelName::parse(model).map_err(|_| fault)?;
        let (shipment, fault) = value("shipment: ")?;
        let shipment = ShipmentNumber::parse(shipment).map_err(|_| fault)?;
        let (batch, fault) = value("batch: ")?;
        let batch = from_hex(batch).map(BatchId).ok_or(fault)?;
        let (key_version, fault) = value("key-version: ")?;
        let key_version = key_version.parse().ok().filter(|version| (1..=127).contains(version)).ok_or(fault)?;
        let (count, fault) = value("count: ")?;
        let count = count.parse().ok().filter(|count| (1..=MAX_SHIPPED).contains(count)).ok_or(fault)?;
        let (made_s, fault) = value("made: ")?;
        let made_s = made_s.parse().map_err(|_| fault)?;
        let (authority, fault) = value("authority: ")?;
        let authority = bytes(authority).and_then(|der| Certificate::from_der(&der).ok()).ok_or(fault)?;
        let header = Self { maker, model, shipment, batch, key_version, count, made_s, authority };
        // What reads the same and is written otherwise, such as a number with a sign, is not taken.
        if header.to_text() == text { Ok(header) } else { Err(bad(1, TITLE)) }
    }

    /// The line of the file in which this chip stands, counted from 1.
    pub const fn line_of(index: u64) -> u64 {
        // Ten lines of header.
        11 + index
    }
}

/// One chip of a shipment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShippedChip {
    /// Its id.
    pub id: ChipId,
    /// [`key_hash`] of its public device key.
    pub key_hash: [u8; 32],
}

/// The hash by which a device key is known: SHA-256, or SM3 with SM2, over scheme and point.
pub fn key_hash(key: &pki::PublicKey) -> [u8; 32] {
    pki::hash(key.scheme(), &[&[key.scheme() as u8], key.point()])
}

impl ShippedChip {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, LineFault> {
        let bytes: &[u8; LINE_BYTES] = line.as_bytes().try_into().map_err(|_| LineFault::Length)?;
        let (body, check) = line.rsplit_once(' ').ok_or(LineFault::Form)?;
        let (id, key) = body.split_once(' ').ok_or(LineFault::Form)?;
        let is_plain = bytes.iter().all(|byte| b"0123456789abcdef ".contains(byte));
        let sum =
            u16::from_str_radix(check, 16).ok().filter(|_| check.len() == 4 && is_plain).ok_or(LineFault::Form)?;
        if sum != crc16(body.as_bytes()) {
            return Err(LineFault::Check);
        }
        let (first, second) = key.split_at_checked(32).ok_or(LineFault::Form)?;
        let (first, second) = from_hex(first).zip(from_hex(second)).ok_or(LineFault::Form)?;
        let mut key_hash = [0; 32];
        let (to_first, to_second) = key_hash.split_at_mut(16);
        to_first.copy_from_slice(&first);
        to_second.copy_from_slice(&second);
        Ok(Self { id: ChipId(from_hex(id).ok_or(LineFault::Form)?), key_hash })
    }

    /// The line, without its end.
    pub fn to_line(self) -> String {
        let body = format!("{} {}", self.id, hex(&self.key_hash));
        format!("{body} {:04x}", crc16(body.as_bytes()))
    }
}

/// How far a manifest has been read: a hash that each chip is added to, so that it can be stopped anywhere and gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The hash over the header and every chip up to here.
    pub hash: [u8; 32],
    /// How many chips have been read.
    pub chips: u32,
    /// The last of them.
    pub last: Option<ChipId>,
}

impl Running {
    /// Nothing but the header has been read.
    pub fn of_header(header: &ManifestHeader) -> Self {
        let scheme = header.authority.key().scheme();
        Self { hash: pki::hash(scheme, &[header.to_text().as_bytes()]), chips: 0, last: None }
    }

    /// Adds a chip.
    ///
    /// # Errors
    /// [`LineFault::Order`].
    pub fn add(&mut self, scheme: Scheme, chip: &ShippedChip) -> Result<(), LineFault> {
        if self.last.is_some_and(|last| chip.id <= last) {
            return Err(LineFault::Order);
        }
        self.hash = pki::hash(scheme, &[&self.hash, &chip.id.0, &chip.key_hash]);
        self.chips = self.chips.saturating_add(1);
        self.last = Some(chip.id);
        Ok(())
    }

    fn statement(&self) -> Vec<u8> {
        [DOMAIN, &self.hash].concat()
    }

    /// The line's signature over all that was read.
    ///
    /// # Errors
    /// Those of the key.
    pub fn sign(&self, key: &SecretKey) -> Result<[u8; SIGNATURE_BYTES], pki::Fault> {
        key.sign(&self.statement())
    }

    /// Whether this is the authority's signature over all that was read.
    pub fn is_signed(&self, authority: &Certificate, signature: &[u8; SIGNATURE_BYTES]) -> bool {
        authority.may_sign() && authority.key().has_signed(&self.statement(), signature)
    }
}

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let is_hex = hex.len().is_multiple_of(2) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = is_hex.then(|| (0..hex.len()).step_by(2))?;
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
