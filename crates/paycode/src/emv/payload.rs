//! Any payload of EMVCo's consumer-presented mode: bounded, checked down to the transparent templates,
//! then borrowed from. Objects this crate does not know are kept, not judged.

use base64ct::{Base64, Encoding};
use tlv::{Element, Reader, Tag};

use super::{Error, tag};

/// The largest payload read, in bytes after base64 decoding. A terminal's QR code holds fewer in practice.
pub const MAX_PAYLOAD_BYTES: usize = 512;
/// The longest text read, in characters: [`MAX_PAYLOAD_BYTES`] in base64.
pub const MAX_PAYLOAD_TEXT: usize = MAX_PAYLOAD_BYTES.div_ceil(3) * 4;

const FORMAT_INDICATOR: &[u8] = b"CPV01";
/// What the format indicator looks like in base64, as far as the object after it has no part in it.
const TEXT_BEGINNING: &str = "hQVDUFYwM";

/// True where a scanned text can only be an EMV QR code, not a payment code in digits.
#[must_use]
pub fn is_payload(text: &str) -> bool {
    text.starts_with(TEXT_BEGINNING)
}

/// A well-formed payload, borrowed from the buffer it was decoded into.
///
/// ```
/// use paycode::emv::{MAX_PAYLOAD_BYTES, Payload, tag};
///
/// let mut buffer = [0; MAX_PAYLOAD_BYTES];
/// let payload = Payload::parse("hQVDUFYwMWEaTwegAAAAVVVVVw8SNFZ4kBI0WNGRIgESNF8=", &mut buffer)?;
/// let application = payload.applications().next().unwrap();
/// assert_eq!(application.get(tag::AID), Some(&[0xA0, 0, 0, 0, 0x55, 0x55, 0x55][..]));
/// # Ok::<(), paycode::emv::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Payload<'b> {
    objects: Objects<'b>,
}

impl<'b> Payload<'b> {
    /// Decodes and checks the text of an EMV QR code. Needs a buffer of the decoded size,
    /// [`MAX_PAYLOAD_BYTES`] at most.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Base64`], [`Error::Room`], and those of [`Payload::from_bytes`].
    pub fn parse(text: &str, buffer: &'b mut [u8]) -> Result<Self, Error> {
        if text.len() > MAX_PAYLOAD_TEXT {
            return Err(Error::TooLong);
        }
        let too_long_decoded = decoded_bytes(text) > MAX_PAYLOAD_BYTES;
        let bytes = Base64::decode(text, buffer).map_err(|error| match error {
            base64ct::Error::InvalidLength if !text.len().is_multiple_of(4) => Error::Base64,
            base64ct::Error::InvalidLength if too_long_decoded => Error::TooLong,
            base64ct::Error::InvalidLength => Error::Room,
            base64ct::Error::InvalidEncoding => Error::Base64,
        })?;
        Self::from_bytes(bytes)
    }

    /// Checks the decoded bytes of an EMV QR code.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Tlv`], [`Error::FormatIndicator`] or [`Error::Templates`].
    pub fn from_bytes(bytes: &'b [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLong);
        }
        let mut objects = Reader::new(bytes);
        match objects.next() {
            Some(Ok(first)) if first.tag == tag::PAYLOAD_FORMAT_INDICATOR && first.value == FORMAT_INDICATOR => {}
            Some(Err(_)) => return Err(Error::Tlv),
            _ => return Err(Error::FormatIndicator),
        }
        let (mut applications, mut commons) = (0, 0);
        for object in objects {
            let object = object.map_err(|_| Error::Tlv)?;
            match object.tag {
                tag::PAYLOAD_FORMAT_INDICATOR => return Err(Error::FormatIndicator),
                tag::APPLICATION_TEMPLATE => {
                    check_template(object.value, tag::APPLICATION_TRANSPARENT_TEMPLATE)?;
                    applications += 1;
                }
                tag::COMMON_DATA_TEMPLATE => {
                    check_template(object.value, tag::COMMON_TRANSPARENT_TEMPLATE)?;
                    commons += 1;
                }
                _ => {}
            }
        }
        if applications == 0 || commons > 1 {
            return Err(Error::Templates);
        }
        // A payload itself has no transparent template; only its `bytes` and `iter` are used.
        Ok(Self { objects: Objects { bytes, transparent: tag::COMMON_TRANSPARENT_TEMPLATE } })
    }

    /// The application templates (tag 61), at least one, most preferred first.
    pub fn applications(&self) -> impl Iterator<Item = Objects<'b>> + use<'b> {
        self.objects
            .iter()
            .filter(|object| object.tag == tag::APPLICATION_TEMPLATE)
            .map(|object| Objects { bytes: object.value, transparent: tag::APPLICATION_TRANSPARENT_TEMPLATE })
    }

    /// The common data template (tag 62).
    #[must_use]
    pub fn common(&self) -> Option<Objects<'b>> {
        let bytes = self.objects.get(tag::COMMON_DATA_TEMPLATE)?;
        Some(Objects { bytes, transparent: tag::COMMON_TRANSPARENT_TEMPLATE })
    }

    /// The whole payload.
    pub(crate) const fn as_bytes(&self) -> &'b [u8] {
        self.objects.bytes
    }
}

impl core::fmt::Debug for Payload<'_> {
    /// Shows the size only: a payload can hold a code or an account number.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Payload({} bytes)", self.objects.bytes.len())
    }
}

/// The data objects of one template: whole TLV objects, checked when the payload was parsed.
#[derive(Clone, Copy)]
pub struct Objects<'b> {
    bytes: &'b [u8],
    /// Which tag is the transparent template here: the one whose content was checked.
    transparent: Tag,
}

impl<'b> Objects<'b> {
    /// The value of the first object with this tag directly in the template.
    #[must_use]
    pub fn get(&self, tag: Tag) -> Option<&'b [u8]> {
        self.iter().find(|object| object.tag == tag).map(|object| object.value)
    }

    /// The objects directly in the template, in order.
    pub fn iter(&self) -> impl Iterator<Item = Element<'b>> + use<'b> {
        // Checked when parsed, so no error is ever dropped here.
        Reader::new(self.bytes).map_while(Result::ok)
    }

    /// The transparent template within (tag 63 in an application template, 64 in the common one).
    #[must_use]
    pub fn transparent(&self) -> Option<Objects<'b>> {
        self.get(self.transparent).map(|bytes| Objects { bytes, transparent: self.transparent })
    }
}

impl core::fmt::Debug for Objects<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Objects({} bytes)", self.bytes.len())
    }
}

/// How many bytes a base64 text stands for: three for every four characters, less its padding.
fn decoded_bytes(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Every object of a template is whole, and so is every object of its transparent template.
fn check_template(template: &[u8], transparent: Tag) -> Result<(), Error> {
    for object in Reader::new(template) {
        let object = object.map_err(|_| Error::Tlv)?;
        if object.tag == transparent && Reader::new(object.value).any(|inner| inner.is_err()) {
            return Err(Error::Tlv);
        }
    }
    Ok(())
}
