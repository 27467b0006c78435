//! What makers and their models are called.

use crate::{Reason, Refusal};

/// The longest code of a maker, and the longest name of a model, characters.
pub const MAX_CODE_LEN: usize = 32;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(String);

        impl $name {
            /// Reads one.
            ///
            /// # Errors
            /// [`Reason::FieldMalformed`], [`Reason::FieldTooLong`].
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                Self::parse_at(text, $field)
            }

            /// Reads one that stands in another field.
            ///
            /// # Errors
            /// Those of `parse`, at that field.
            pub fn parse_at(text: &str, field: &'static str) -> Result<Self, Refusal> {
                let is_allowed: fn(u8) -> bool = $allowed;
                if text.len() > MAX_CODE_LEN {
                    return Err(Refusal::at(Reason::FieldTooLong, field));
                }
                let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
                let is_good = begins && text.bytes().all(is_allowed);
                if is_good { Ok(Self(text.to_owned())) } else { Err(Refusal::at(Reason::FieldMalformed, field)) }
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A maker's code: 1 to 32 of `a-z`, `0-9` and `-`, a letter or digit first. The operator chooses it; it never changes.
    MakerCode,
    "maker",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);
name!(
    /// A model's name, as its maker writes it in certificates: 1 to 32 letters, digits, `-`, `.` and `_`, a letter or digit
    /// first.
    ModelName,
    "model",
    |byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_short_and_plain() {
        for good in ["sunrise", "s", "a-1", "0", &"x".repeat(32)] {
            assert_eq!(MakerCode::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "Sunrise", "a/b", "a b", "a\0", "é", &"x".repeat(33)] {
            assert!(MakerCode::parse(bad).is_err(), "{bad}");
        }
        assert!(ModelName::parse("SE-1.0_b").is_ok());
        for bad in ["", ".a", "a/b", "SE 1"] {
            assert!(ModelName::parse(bad).is_err(), "{bad}");
        }
    }
}
