//! Looks for secrets in what a program has said or written: any eight bytes of a key in a row, as they are, as hexadecimal
//! digits, as Base64 at any alignment, or as a list of numbers.

use std::collections::HashMap;

use base64ct::{Base64, Encoding};

/// So many bytes of a key in a row are no chance.
const WINDOW: usize = 8;
/// The same in Base64, three bytes a group.
const BASE64_GROUPS: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    Raw,
    Hex,
    Base64,
}

/// Secrets by name.
#[derive(Default)]
pub struct Secrets {
    /// By form and length, so that one pass finds all of a kind.
    needles: HashMap<(Form, usize), HashMap<Vec<u8>, String>>,
}

impl Secrets {
    /// A key: any [`WINDOW`] bytes of it count.
    pub fn key(&mut self, name: &str, key: &[u8]) {
        self.bytes(name, key, WINDOW);
    }

    /// The same, as hexadecimal digits, behind this word.
    pub fn hex_key(&mut self, name: &str, text: &str, word: &str) {
        self.key(name, &hex::decode(text.trim().strip_prefix(word).unwrap()).unwrap());
    }

    /// A text that counts as a whole, such as a row of digits.
    pub fn text(&mut self, name: &str, text: &str) {
        self.bytes(name, text.as_bytes(), text.len());
    }

    fn bytes(&mut self, name: &str, secret: &[u8], window: usize) {
        for part in secret.windows(window) {
            self.needle(Form::Raw, part.to_vec(), name);
            self.needle(Form::Hex, hex::encode(part).into_bytes(), name);
        }
        for shift in 0..3 {
            let padded = [&vec![0; shift], secret].concat();
            let text = Base64::encode_string(&padded);
            // Without the groups that hold something else as well.
            let groups: Vec<&[u8]> = text.as_bytes().chunks(4).collect();
            let whole = &groups[usize::from(shift > 0)..groups.len() - 1];
            for part in whole.windows(BASE64_GROUPS.min(whole.len())) {
                self.needle(Form::Base64, part.concat(), name);
            }
        }
    }

    fn needle(&mut self, form: Form, bytes: Vec<u8>, name: &str) {
        self.needles.entry((form, bytes.len())).or_default().entry(bytes).or_insert_with(|| name.to_owned());
    }

    /// Which secrets are in these bytes.
    pub fn found_in(&self, haystack: &[u8]) -> Vec<String> {
        let lower = haystack.to_ascii_lowercase();
        let standard: Vec<u8> = haystack
            .iter()
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            })
            .collect();
        let mut found = Vec::new();
        for ((form, length), needles) in &self.needles {
            let (text, how) = match form {
                Form::Raw => (haystack, "as it is"),
                Form::Hex => (&lower[..], "as hexadecimal digits"),
                Form::Base64 => (&standard[..], "as Base64"),
            };
            let mut hits = |text: &[u8], how: &str| {
                let hit = text.windows(*length).find_map(|part| needles.get(part));
                found.extend(hit.map(|name| format!("{name}, {how}")));
            };
            hits(text, how);
            if *form == Form::Raw {
                for list in lists_of_numbers(haystack) {
                    hits(&list, "as a list of numbers");
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Numbers below 256 in a row, as JSON and Rust's `{:?}` print bytes.
fn lists_of_numbers(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut lists, mut list) = (Vec::new(), Vec::new());
    for item in text.split(|byte| *byte == b',') {
        let item = item.trim_ascii();
        let digits = item.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(item, |last| &item[last + 1..]);
        let number: Option<u8> = core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let begins_anew = digits.len() < item.len();
        if begins_anew || number.is_none() {
            // The last number of a list has something behind it: `7]`.
            let head = item.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(0);
            list.extend(core::str::from_utf8(&item[..head]).ok().and_then(|digits| digits.parse::<u8>().ok()));
            lists.push(std::mem::take(&mut list));
        }
        list.extend(number);
    }
    lists.push(list);
    lists.retain(|list| list.len() >= WINDOW);
    lists
}

/// Every form is found, and nothing else: said once for every test that relies on it.
pub fn must_find_every_form() {
    let key: Vec<u8> = (0..32_u8).map(|number| number.wrapping_mul(73) ^ 0x5A).collect();
    let mut secrets = Secrets::default();
    secrets.key("the key", &key);
    let encoded = |bytes: &[u8]| Base64::encode_string(bytes);
    let forms = [
        [b"x".as_slice(), &key[5..13], b"y"].concat(),
        format!("key={}", hex::encode(&key)).into_bytes(),
        format!("KEY={}", hex::encode_upper(&key[3..12])).into_bytes(),
        encoded(&key).into_bytes(),
        encoded(&[b"a".as_slice(), &key, b"b"].concat()).into_bytes(),
        encoded(&[b"ab".as_slice(), &key].concat()).replace('+', "-").replace('/', "_").into_bytes(),
        format!("Key({:?})", &key).into_bytes(),
        format!("{:#?}", &key[8..]).into_bytes(),
        format!("{{\"key\":{}}}", serde_json::to_string(&key[..9]).unwrap()).into_bytes(),
    ];
    for form in &forms {
        assert!(!secrets.found_in(form).is_empty(), "not found: {}", String::from_utf8_lossy(form));
    }
    assert_eq!(secrets.found_in(&hex::encode(&key[..7]).into_bytes()), Vec::<String>::new());
}
