//! Which token: a PKCS#11 URI (RFC 7512), such as
//! `pkcs11:token=paychip?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/credentials/pin`.
//!
//! Only what finds a token is taken. `pin-value` is refused: a command line is for everybody to read. An attribute that is
//! not known is refused as well, so that none that was meant to narrow the choice is passed over.

use std::path::PathBuf;

use super::TokenFault;

/// The longest URI, characters.
const MAX_URI: usize = 2_048;
const SCHEME: &str = "pkcs11:";

/// A token, by what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenUri {
    /// The PKCS#11 library.
    pub(crate) module: PathBuf,
    pub(crate) label: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) slot: Option<u64>,
    pin_source: Option<PathBuf>,
}

impl TokenUri {
    /// Reads a URI. It must name the library (`module-path`) and something of the token.
    ///
    /// # Errors
    /// [`TokenFault::Uri`], with the attribute at fault.
    pub fn parse(text: &str) -> Result<Self, TokenFault> {
        let fault = |attribute: &str, reason| TokenFault::Uri { attribute: attribute.to_owned(), reason };
        if text.len() > MAX_URI {
            return Err(fault("it", "is too long"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| fault("it", "must begin with pkcs11:"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let attributes = path.split(';').chain(query.split('&')).filter(|attribute| !attribute.is_empty());
        let mut uri = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for attribute in attributes {
            let (name, value) = attribute.split_once('=').ok_or_else(|| fault(attribute, "has no value"))?;
            if name == "pin-value" {
                return Err(fault(name, "would show the PIN to everybody; use pin-source or --pin-file"));
            }
            if seen.contains(&name) {
                return Err(fault(name, "is said twice"));
            }
            seen.push(name);
            let value = decoded(value).ok_or_else(|| fault(name, "is not percent-encoded UTF-8"))?;
            if value.is_empty() {
                return Err(fault(name, "is empty"));
            }
            match name {
                "module-path" => uri.module = value.into(),
                "token" => uri.label = Some(value),
                "manufacturer" => uri.manufacturer = Some(value),
                "model" => uri.model = Some(value),
                "serial" => uri.serial = Some(value),
                "slot-id" => uri.slot = Some(value.parse().map_err(|_| fault(name, "must be a number"))?),
                "pin-source" => uri.pin_source = Some(value.strip_prefix("file:").unwrap_or(&value).into()),
                _ => return Err(fault(name, "is not an attribute that finds a token")),
            }
        }
        if uri.module.as_os_str().is_empty() {
            return Err(fault("module-path", "is missing: the PKCS#11 library of the token"));
        }
        let finds = [&uri.label, &uri.manufacturer, &uri.model, &uri.serial];
        if finds.iter().all(|attribute| attribute.is_none()) && uri.slot.is_none() {
            return Err(fault("token", "is missing: say token=, serial= or slot-id="));
        }
        Ok(uri)
    }

    /// The PKCS#11 library.
    #[must_use]
    pub fn module(&self) -> &std::path::Path {
        &self.module
    }

    /// The file with the PIN, where the URI names one.
    #[must_use]
    pub fn pin_source(&self) -> Option<&std::path::Path> {
        self.pin_source.as_deref()
    }
}

/// Percent-decoding (RFC 3986 §2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn a_uri_names_a_library_and_a_token() {
        let uri = TokenUri::parse(
            "pkcs11:token=My%20keys;serial=00%31;slot-id=7?module-path=/lib/hsm.so&pin-source=file:/run/pin",
        )
        .unwrap();
        assert_eq!((uri.label.as_deref(), uri.serial.as_deref(), uri.slot), (Some("My keys"), Some("001"), Some(7)));
        assert_eq!(uri.module, PathBuf::from("/lib/hsm.so"));
        assert_eq!(uri.pin_source(), Some(std::path::Path::new("/run/pin")));
    }

    #[test]
    fn what_is_wrong_in_a_uri_is_named() {
        let attribute = |text: &str| match TokenUri::parse(text) {
            Err(TokenFault::Uri { attribute, .. }) => attribute,
            other => format!("{other:?}"),
        };
        for (text, expected) in [
            ("token=a?module-path=/l", "it"),
            ("pkcs11:?module-path=/l", "token"),
            ("pkcs11:token=a", "module-path"),
            ("pkcs11:token=a?module-path=/l&pin-value=1234", "pin-value"),
            ("pkcs11:token=a;object=k?module-path=/l", "object"),
            ("pkcs11:token=a;token=b?module-path=/l", "token"),
            ("pkcs11:token=%zz?module-path=/l", "token"),
            ("pkcs11:token=%ff?module-path=/l", "token"),
            ("pkcs11:token=%4?module-path=/l", "token"),
            ("pkcs11:token=?module-path=/l", "token"),
            ("pkcs11:slot-id=x?module-path=/l", "slot-id"),
            ("pkcs11:token?module-path=/l", "token"),
        ] {
            assert_eq!(attribute(text), expected, "{text}");
        }
        assert_eq!(attribute(&format!("pkcs11:token={}", "a".repeat(MAX_URI))), "it");
        let told = TokenUri::parse("pkcs11:token=a?module-path=/l&pin-value=9876").unwrap_err().to_string();
        assert!(!told.contains("9876"), "{told}");
    }
}
