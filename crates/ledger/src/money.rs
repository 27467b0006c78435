//! Typed money: whole minor units with a currency. There is no floating point anywhere.

use crate::LedgerError;

/// The largest single amount: 10^13 minor units. A thousand of them still fit a 64-bit balance many times over.
pub const MAX_AMOUNT_MINOR: u64 = 10_000_000_000_000;

/// A currency by its ISO 4217 alphabetic code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// The ISO 4217 currencies whose minor unit is not 1/100, with their number of decimals.
const OTHER_EXPONENTS: [(&[u8; 3], u32); 26] = [
    (b"BIF", 0),
    (b"CLP", 0),
    (b"DJF", 0),
    (b"GNF", 0),
    (b"ISK", 0),
    (b"JPY", 0),
    (b"KMF", 0),
    (b"KRW", 0),
    (b"PYG", 0),
    (b"RWF", 0),
    (b"UGX", 0),
    (b"UYI", 0),
    (b"VND", 0),
    (b"VUV", 0),
    (b"XAF", 0),
    (b"XOF", 0),
    (b"XPF", 0),
    (b"BHD", 3),
    (b"IQD", 3),
    (b"JOD", 3),
    (b"KWD", 3),
    (b"LYD", 3),
    (b"OMR", 3),
    (b"TND", 3),
    (b"CLF", 4),
    (b"UYW", 4),
];

impl Currency {
    /// Chinese yuan, the default of the platform.
    pub const CNY: Self = Self(*b"CNY");

    /// Reads an ISO 4217 alphabetic code: three upper-case ASCII letters.
    ///
    /// # Errors
    /// [`LedgerError::CurrencyMalformed`] for anything else.
    pub fn parse(text: &str) -> Result<Self, LedgerError> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| LedgerError::CurrencyMalformed)?;
        if bytes.iter().all(u8::is_ascii_uppercase) { Ok(Self(bytes)) } else { Err(LedgerError::CurrencyMalformed) }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        // The constructor admits ASCII letters only.
        core::str::from_utf8(&self.0).unwrap_or("???")
    }

    /// The three letters as bytes, as they are stored and hashed.
    pub const fn to_bytes(self) -> [u8; 3] {
        self.0
    }

    /// How many decimals the minor unit has (ISO 4217): 2 for CNY, 0 for JPY, 3 for KWD.
    pub fn decimals(self) -> u32 {
        OTHER_EXPONENTS.iter().find(|(code, _)| **code == self.0).map_or(2, |(_, decimals)| *decimals)
    }
}

impl core::fmt::Display for Currency {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A positive amount of money, from 1 to [`MAX_AMOUNT_MINOR`] minor units of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    minor: u64,
    currency: Currency,
}

impl Amount {
    /// An amount in minor units.
    ///
    /// # Errors
    /// [`LedgerError::AmountOutOfRange`] for zero and for more than [`MAX_AMOUNT_MINOR`].
    pub fn new(minor: u64, currency: Currency) -> Result<Self, LedgerError> {
        if minor == 0 || minor > MAX_AMOUNT_MINOR {
            return Err(LedgerError::AmountOutOfRange);
        }
        Ok(Self { minor, currency })
    }

    /// The minor units: 1,250 for 12.50 CNY.
    pub const fn minor(self) -> u64 {
        self.minor
    }

    /// The minor units as a signed number, for adding to balances.
    pub const fn minor_signed(self) -> i64 {
        // At most 10^13, so the cast is exact.
        self.minor.cast_signed()
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }
}

impl core::fmt::Display for Amount {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", format_minor(self.minor_signed(), self.currency), self.currency)
    }
}

/// Writes minor units with the currency's decimal point: 1250 CNY is `12.50`, −5 is `-0.05`.
pub fn format_minor(minor: i64, currency: Currency) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let magnitude = minor.unsigned_abs();
    match currency.decimals() {
        0 => format!("{sign}{magnitude}"),
        decimals => {
            let unit = 10_u64.pow(decimals);
            let width = decimals as usize;
            format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
        }
    }
}

/// Reads a decimal amount such as `12.50` or `12` into minor units of the currency.
///
/// # Errors
/// [`LedgerError::AmountMalformed`] for signs, letters, more decimals than the currency has, or nothing at
/// all; [`LedgerError::AmountOutOfRange`] for zero and for amounts too large.
pub fn parse_minor(text: &str, currency: Currency) -> Result<Amount, LedgerError> {
    let decimals = currency.decimals() as usize;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction_given = text.contains('.');
    let digits_only = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || whole.len() > 15
        || !digits_only(whole)
        || !digits_only(fraction)
        || fraction.len() > decimals
        || (fraction_given && fraction.is_empty())
    {
        return Err(LedgerError::AmountMalformed);
    }
    let padded = format!("{whole}{fraction:0<decimals$}");
    let minor = padded.parse::<u64>().map_err(|_| LedgerError::AmountOutOfRange)?;
    Amount::new(minor, currency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_in_the_currency_s_decimals() {
        let jpy = Currency::parse("JPY").unwrap();
        let kwd = Currency::parse("KWD").unwrap();
        for (text, currency, minor) in [
            ("12.50", Currency::CNY, 1250),
            ("12.5", Currency::CNY, 1250),
            ("0.01", Currency::CNY, 1),
            ("7", jpy, 7),
            ("1.234", kwd, 1234),
            ("12", Currency::CNY, 1200),
        ] {
            assert_eq!(parse_minor(text, currency).unwrap().minor(), minor, "{text} {currency}");
        }
        assert_eq!(format_minor(1250, Currency::CNY), "12.50");
        assert_eq!(format_minor(-5, Currency::CNY), "-0.05");
        assert_eq!(format_minor(7, jpy), "7");
        assert_eq!(format_minor(i64::MIN, kwd), "-9223372036854775.808");
    }

    #[test]
    fn what_is_not_an_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1,5", "1.234", "1e3", " 1", "１", "9999999999999999"] {
            assert_eq!(parse_minor(text, Currency::CNY), Err(LedgerError::AmountMalformed), "{text:?}");
        }
        assert_eq!(parse_minor("0.00", Currency::CNY), Err(LedgerError::AmountOutOfRange));
        assert_eq!(parse_minor("100000000000.01", Currency::CNY), Err(LedgerError::AmountOutOfRange));
        assert!(parse_minor("100000000000.00", Currency::CNY).is_ok());
        for text in ["cny", "CN", "CNYY", "C1Y", ""] {
            assert_eq!(Currency::parse(text), Err(LedgerError::CurrencyMalformed));
        }
    }
}
