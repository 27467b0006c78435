//! Reading a picture as a till's scanner does, with a decoder that is not ours (`rxing`): bar codes and QR codes.

use rxing::common::HybridBinarizer;
use rxing::multi::{GenericMultipleBarcodeReader, MultipleBarcodeReader};
use rxing::{BarcodeFormat, BinaryBitmap, DecodeHints, Luma8LuminanceSource, MultiFormatReader, RXingResult};

use crate::fault::Fault;
use crate::picture::GreyPicture;

/// One code found in a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// What kind of symbol it is.
    pub symbol: Symbol,
    /// What it says.
    pub text: String,
}

/// The kinds of symbol a till reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// Code 128, the bar code.
    Code128,
    /// QR code.
    QrCode,
}

impl Symbol {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code128 => "bar code (Code 128)",
            Self::QrCode => "QR code",
        }
    }
}

/// Finds the bar codes and QR codes of a picture.
///
/// # Errors
/// `nothing_to_scan`.
pub fn scan(picture: &GreyPicture) -> Result<Vec<Scanned>, Fault> {
    let mut found: Vec<Scanned> = Vec::new();
    for (format, symbol) in [(BarcodeFormat::CODE_128, Symbol::Code128), (BarcodeFormat::QR_CODE, Symbol::QrCode)] {
        for result in decode(picture, format) {
            let scanned = Scanned { symbol, text: result.getText().to_owned() };
            if !found.contains(&scanned) {
                found.push(scanned);
            }
        }
    }
    if found.is_empty() {
        return Err(Fault::new("nothing_to_scan", "no bar code and no QR code was found in the picture").at("image"));
    }
    Ok(found)
}

fn decode(picture: &GreyPicture, format: BarcodeFormat) -> Vec<RXingResult> {
    let Ok(source) = Luma8LuminanceSource::new(picture.luma.clone(), picture.width, picture.height) else {
        return Vec::new();
    };
    let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
    let hints = DecodeHints { TryHarder: Some(true), PossibleFormats: Some([format].into()), ..DecodeHints::default() };
    let mut reader = GenericMultipleBarcodeReader::new(MultiFormatReader::default());
    // "Nothing found" is an error to the decoder and an empty list to us.
    reader.decode_multiple_with_hints(&mut bitmap, &hints).unwrap_or_default()
}
