//! How a record lies in flash words: its head, its payload, its check.
//!
//! A record is `head ‖ payload words ‖ check`. The head is a Berger code (27 bits and, in the low five, how
//! many of them are zero): programming can only clear bits, and no clearing of bits turns one head into
//! another, so a head torn by a power cut is always known for what it is. The check is a CRC-32 over the
//! area's generation, the record's place, head and payload. It is written last, and a torn check differs
//! from the whole one in some bit, so a record with a right check is a whole record.

/// An erased word, not written yet.
pub(super) const FREE: u32 = u32::MAX;
/// A wiped word.
pub(super) const WIPED: u32 = 0;
/// The longest value of a record, in bytes.
pub const MAX_VALUE_BYTES: usize = 1020;

const INFO_BITS: u32 = 27;
const CHECK_BITS: u32 = 5;

/// What a record says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key has this payload from now on.
    Put = 1,
    /// The key is absent from now on.
    Remove = 2,
    /// Not a record: all before it is committed and what it superseded is wiped.
    Seal = 3,
}

/// The first word of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) key: u8,
    /// Length of the payload in bytes.
    pub(super) len: usize,
    /// The last record of its transaction: its check commits the whole.
    pub(super) last: bool,
}

impl Head {
    pub(super) const SEAL: Self = Self { kind: Kind::Seal, key: 0, len: 0, last: false };

    pub(super) fn encode(self) -> u32 {
        let info = (self.len as u32 & 0x3FF)
            | u32::from(self.key) << 10
            | (self.kind as u32) << 18
            | u32::from(self.last) << 20;
        info << CHECK_BITS | (INFO_BITS - info.count_ones())
    }

    /// The head in `word`, or nothing where `word` is no whole head: torn, wiped, free or damaged.
    pub(super) fn decode(word: u32) -> Option<Self> {
        let info = word >> CHECK_BITS;
        let zeros = INFO_BITS - info.count_ones();
        let kind = match info >> 18 & 3 {
            1 => Kind::Put,
            2 => Kind::Remove,
            3 => Kind::Seal,
            _ => return None,
        };
        let head =
            Self { kind, key: (info >> 10 & 0xFF) as u8, len: (info & 0x3FF) as usize, last: info >> 20 & 1 == 1 };
        let whole = word & 0x1F == zeros && info >> 21 == 0 && head.len <= MAX_VALUE_BYTES;
        whole.then_some(head)
    }

    /// Words the record takes: head, payload, check. A seal is one word.
    pub(super) fn words(self) -> usize {
        match self.kind {
            Kind::Seal => 1,
            Kind::Put | Kind::Remove => record_words(self.len),
        }
    }
}

/// Words a record of `len` payload bytes takes.
pub(super) fn record_words(len: usize) -> usize {
    2 + len.div_ceil(4)
}

/// The payload word that holds `bytes` (at most four), little-endian, filled up with zeros.
pub(super) fn payload_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_le_bytes(word)
}

/// Bits that the CRC takes at a time: a table for eight takes 1 KiB of flash, one for four 64 bytes and twice the time.
const CRC_BITS: u32 = if cfg!(feature = "fast-crc") { 8 } else { 4 };
const CRC_TABLE: [u32; 1 << CRC_BITS] = {
    let mut table = [0; 1 << CRC_BITS];
    let mut i = 0;
    while i < table.len() {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < CRC_BITS {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// CRC-32 (IEEE 802.3, reflected) over words.
#[derive(Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) fn new() -> Self {
        Self(u32::MAX)
    }

    /// What the checks of all records in the area of this generation begin with.
    pub(super) fn of_area(generation: u32) -> Self {
        Self::new().word(generation)
    }

    /// The check of the record with this head that stands at `place`, in the area that `self` is of.
    #[must_use]
    pub(super) fn of_record(self, place: usize, head: u32) -> Self {
        self.word(place as u32).word(head)
    }

    #[must_use]
    pub(super) fn word(self, word: u32) -> Self {
        let mut crc = self.0 ^ word;
        for _ in 0..u32::BITS / CRC_BITS {
            crc = CRC_TABLE[crc as usize % CRC_TABLE.len()] ^ crc >> CRC_BITS;
        }
        Self(crc)
    }

    /// The finished check: never the value of a free or wiped word, so neither passes for a check.
    pub(super) fn check(self) -> u32 {
        match !self.0 {
            FREE | WIPED => 1,
            check => check,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads() -> impl Iterator<Item = Head> {
        [Kind::Put, Kind::Remove].into_iter().flat_map(|kind| {
            [0_u8, 1, 0x55, 0xFF].into_iter().flat_map(move |key| {
                [0_usize, 1, 12, 255, 1020].into_iter().map(move |len| Head { kind, key, len, last: len % 2 == 0 })
            })
        })
    }

    /// Ways to tear a word: each single bit, and 20,000 mixtures.
    fn patterns() -> impl Iterator<Item = u32> {
        let mut seed = 0x9E37_79B9_u32;
        let mixed = (0..20_000).map(move |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed ^ seed >> 13
        });
        (0..32).map(|bit| !(1 << bit)).chain(mixed)
    }

    #[test]
    fn a_head_comes_back_whole() {
        for head in heads().chain([Head::SEAL]) {
            assert_eq!(Head::decode(head.encode()), Some(head));
        }
    }

    #[test]
    fn no_clearing_of_bits_turns_a_head_into_another() {
        for head in heads().chain([Head::SEAL]) {
            let whole = head.encode();
            for pattern in patterns() {
                let torn = whole & pattern;
                assert!(torn == whole || Head::decode(torn).is_none());
            }
        }
        assert_eq!(Head::decode(FREE), None);
    }

    #[test]
    fn no_half_programmed_head_passes_for_a_whole_one() {
        for head in heads().chain([Head::SEAL]) {
            let whole = head.encode();
            // While programming, some of the bits that shall be 0 are still 1.
            for pattern in patterns() {
                let torn = whole | (!whole & pattern);
                assert!(torn == whole || Head::decode(torn).is_none());
            }
        }
    }

    #[test]
    fn the_crc_is_the_one_everybody_knows() {
        // CRC-32 of the eight bytes "12345678".
        let crc = Crc::new().word(0x3433_3231).word(0x3837_3635);
        assert_eq!(crc.check(), 0x9AE0_DAAF);
    }
}
