//! The shape of the files in `spec/vectors`. Bytes are hexadecimal, numbers are decimal.

use serde::{Deserialize, Serialize};

/// `ff1.json`
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ff1File {
    pub(crate) about: String,
    pub(crate) vectors: Vec<Ff1>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ff1 {
    pub(crate) source: String,
    pub(crate) cipher: String,
    pub(crate) key: String,
    pub(crate) tweak: String,
    pub(crate) plaintext: String,
    pub(crate) ciphertext: String,
}

/// `one-time-password.json`
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordFile {
    pub(crate) about: String,
    pub(crate) vectors: Vec<Password>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Password {
    pub(crate) suite: u8,
    pub(crate) pay_key: String,
    pub(crate) index: u64,
    pub(crate) step: u32,
    pub(crate) sequence: u8,
    pub(crate) verified: bool,
    pub(crate) message: String,
    pub(crate) prefix: String,
    pub(crate) total_digits: u8,
    pub(crate) password_digits: usize,
    pub(crate) password: String,
}

/// `payment-code.json`
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeFile {
    pub(crate) about: String,
    pub(crate) formats: Vec<Format>,
    pub(crate) codes: Vec<Code>,
    pub(crate) checks: Vec<Check>,
    pub(crate) routing: Vec<Routing>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Format {
    pub(crate) prefix: String,
    pub(crate) total_digits: u8,
    /// Digits of body, index and password where the format is valid.
    pub(crate) digits: Option<[usize; 3]>,
    /// The name of the error where it is not.
    pub(crate) error: Option<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    pub(crate) suite: u8,
    pub(crate) mask_key: String,
    pub(crate) pay_key: String,
    pub(crate) prefix: String,
    pub(crate) total_digits: u8,
    pub(crate) index: u64,
    pub(crate) step: u32,
    pub(crate) sequence: u8,
    pub(crate) verified: bool,
    pub(crate) tweak: String,
    pub(crate) plain_body: String,
    pub(crate) code: String,
}

/// The outcome of checking `code` at `now`, all keys as in the first of `codes`.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    pub(crate) case: String,
    pub(crate) prefix: String,
    pub(crate) total_digits: u8,
    pub(crate) index: u64,
    pub(crate) code: String,
    pub(crate) now: u32,
    pub(crate) last: Option<(u32, u8)>,
    pub(crate) hit: Option<(u32, u8, bool)>,
    pub(crate) miss: Option<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Routing {
    /// (prefix, total digits, institution), sorted.
    pub(crate) routes: Vec<(String, u8, u32)>,
    pub(crate) error: Option<String>,
    /// (code, institution)
    pub(crate) routed: Vec<(String, Option<u32>)>,
}

/// `emv-qr.json`
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmvFile {
    pub(crate) about: String,
    pub(crate) payments: Vec<Payment>,
    pub(crate) conforming: Vec<Conforming>,
    pub(crate) refused: Vec<Refused>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payment {
    pub(crate) aid: String,
    pub(crate) transaction_counter: u32,
    pub(crate) code: Code,
    pub(crate) issuer_data: String,
    pub(crate) cryptogram_message: String,
    pub(crate) cryptogram: String,
    pub(crate) payload: String,
    pub(crate) text: String,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conforming {
    pub(crate) source: String,
    pub(crate) text: String,
    pub(crate) application_identifiers: Vec<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refused {
    pub(crate) case: String,
    pub(crate) text: String,
    pub(crate) error: String,
}
