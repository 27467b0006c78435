//! The demonstration, as a newcomer runs it, and the picture it leaves: read by `zbarimg`, which shares nothing
//! with the decoder in the program, both of its codes must say the digits that the demonstration told.

use crate::process::{cargo, printed, program, run};

/// The digits a payment code may have (`spec/payment-code.md`).
const CODE_DIGITS: std::ops::RangeInclusive<usize> = 18..=24;

/// Runs the release build of `paychip demo` and reads its picture.
pub(crate) fn check() -> Result<(), String> {
    // Built first, so that the developer sees how far it is.
    run(cargo(&["build", "--locked", "--release"]))?;
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder could be made: {error}"))?;
    let out = folder.path().to_string_lossy();
    let told = printed(cargo(&["run", "--locked", "--release", "--", "demo", "--out", &*out]))?;
    print!("{told}");
    let picture = folder.path().join("code.png");
    let read = printed(program("zbarimg", &["--quiet", &picture.to_string_lossy()]))?;
    let digits = agreed(&codes_in(&told), &read).map_err(|why| format!("{}: {why}", picture.display()))?;
    println!("zbarimg reads the code of {} digits that was paid with, from the bar code and the QR code", digits.len());
    Ok(())
}

/// The payment codes in a text: whole words of 18 to 24 digits, or the same in groups with a space between.
fn codes_in(text: &str) -> Vec<String> {
    let is_group = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let mut codes = Vec::new();
    let mut digits = String::new();
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|sign: char| ".,;:\"".contains(sign));
        if is_group(bare) {
            digits.push_str(bare);
        }
        if (!is_group(bare) || bare != word) && !digits.is_empty() {
            codes.push(std::mem::take(&mut digits));
        }
    }
    codes.push(digits);
    codes.retain(|code| CODE_DIGITS.contains(&code.len()));
    codes
}

/// The code that bar code and QR code both say, if it is one that was told. `zbarimg` prints `TYPE:text`, a line for
/// each code it finds.
fn agreed(told: &[String], read: &str) -> Result<String, String> {
    let of = |symbol: &str| read.lines().find_map(|line| line.strip_prefix(symbol));
    match (of("CODE-128:"), of("QR-Code:")) {
        (Some(bar), Some(qr)) if bar == qr && told.iter().any(|code| code == bar) => Ok(bar.to_owned()),
        (Some(_), Some(_)) => Err(format!("the codes differ from each other, or from what was told: {read}")),
        _ => Err(format!("a bar code and a QR code were expected, zbarimg reads: {read}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_in_what_was_told() {
        let code = "71234567890123456789";
        for (text, codes) in [
            ("After the passcode the watch shows 7123 4567 8901 2345 6789.\n 7. next", &[code][..]),
            ("digits 71234567890123456789, amount 1250", &[code][..]),
            ("pay_71234567890123456789 at 1763890000000", &[][..]),
            ("12345678901234567", &[][..]),
            ("", &[][..]),
        ] {
            assert_eq!(codes_in(text), codes, "{text}");
        }
    }

    #[test]
    fn both_codes_must_say_what_was_told() {
        let told = ["7123".to_owned()];
        for (read, agrees) in [
            ("CODE-128:7123\nQR-Code:7123\n", true),
            ("QR-Code:7123\nCODE-128:7123\n", true),
            ("QR-Code:7123\n", false),
            ("CODE-128:7123\nQR-Code:7124\n", false),
            ("CODE-128:7125\nQR-Code:7125\n", false),
            ("", false),
        ] {
            assert_eq!(agreed(&told, read).is_ok(), agrees, "{read:?}");
        }
    }
}
