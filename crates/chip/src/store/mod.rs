//! The chip's key-value store: a log in flash that survives a power cut at any instant.
//!
//! What is promised, and why a payment chip needs it:
//!
//! - **Atomic**: a [`Store::transact`] that puts and removes several keys happens whole or not at all, so no
//!   token is ever half installed and no counter moves without its partner.
//! - **Durable**: when `transact` returns `Ok`, the change is in flash. A payment code leaves the chip after
//!   that, so no code is ever made twice.
//! - **No way back**: a committed change is never undone by a power cut, nor by damage: a record that can't be
//!   read, or whose check is wrong, is an error and never "absent" (or a worn cell would win tries back).
//! - **Wiped**: when `transact` returns `Ok`, values it superseded or removed are zeros in flash, so a key
//!   removed is a key gone. A wipe cut short is finished by [`Store::open`] before anything else.
//! - **Small**: no allocator; under 200 bytes of RAM; a lookup is one array index.
//!
//! How. The flash is two areas (its lower and its upper half); one is active. An area is a header and a log
//! of records (`record`). A transaction appends its records; the check of the last one commits. Then the
//! superseded records are set to zero, and one *seal* word says that this is done. So at any time at most the
//! records after the last seal are in doubt; `recover` decides them by the last one's check.
//! When the log is full, the live records and the transaction at hand are written into the other area; its
//! header, written last, commits; then the old area is wiped (`compact`).
//!
//! What power can tear, and what follows: a word under programming may keep any of its bits unset, a page
//! under erasure may hold anything. A torn head can't be read as another head, a torn check is no check, a
//! torn header is no header, and an area is erased right before use, never trusted to be erased.
//!
//! Wear: with `A` words in an area, `L` words of live records and transactions of `t` words (payload words +
//! 3 for one record), each page is erased once per `2 (A - L) / t` transactions. Four pages of 4 KiB, 350
//! live words and the 12-byte counters of a payment code (t = 6): one erase of each page per 565 codes;
//! 100,000 erases are 56 million codes.

mod compact;
mod record;
mod recover;

#[cfg(all(test, feature = "virtual"))]
mod power_cuts;

use crate::hal::{Flash, FlashError};
pub use record::MAX_VALUE_BYTES;
use record::{Crc, FREE, Head, Kind, WIPED, payload_word, record_words};

/// Keys are the numbers from 0 to `KEYS - 1`.
pub const KEYS: usize = 72;

/// Words of an area's header: generation, its complement, check.
const HEADER_WORDS: usize = 3;

/// The name of a value in the store: a number below [`KEYS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u8);

impl Key {
    /// The key of this number; larger numbers wrap around at [`KEYS`].
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number % KEYS as u8)
    }

    /// Every key.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..KEYS as u8).map(Self)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One change within a transaction.
#[derive(Clone, Copy)]
pub enum Update<'a> {
    /// The key has this value from now on: at most [`MAX_VALUE_BYTES`].
    Put(Key, &'a [u8]),
    /// The key has no value from now on. It may have had none before.
    Remove(Key),
}

impl<'a> Update<'a> {
    const fn key(&self) -> Key {
        match self {
            Self::Put(key, _) | Self::Remove(key) => *key,
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Put(..) => Kind::Put,
            Self::Remove(_) => Kind::Remove,
        }
    }

    const fn value(&self) -> &'a [u8] {
        match self {
            Self::Put(_, value) => value,
            Self::Remove(_) => &[],
        }
    }
}

/// Why the store did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The flash failed. A transaction may then have happened or not, as after a power cut; the store reads
    /// everything again before it answers the next question.
    Flash,
    /// Neither area has a header: the flash was never formatted, or lost both. Opening never formats.
    NotFormatted,
    /// What stands in flash was not written by this store, or has been damaged since.
    Corrupt,
    /// The value does not fit beside the others. Nothing has changed.
    Full,
    /// A value too long, a key twice in one transaction, or a buffer too small. Nothing has changed.
    Invalid,
}

impl From<FlashError> for StoreError {
    fn from(FlashError: FlashError) -> Self {
        Self::Flash
    }
}

/// The store over one flash. See the top of this file for what it promises.
pub struct Store<F> {
    flash: F,
    /// The active area, 0 or 1.
    area: usize,
    /// Counts compactions; the area with the higher one is active.
    generation: u32,
    /// What the checks of its records begin with.
    area_crc: Crc,
    /// The first free word of the active area's log.
    end: usize,
    /// Where each key's record stands in the active area; 0 (a header word) for absent.
    places: [u16; KEYS],
    /// Set while flash and RAM may differ: before anything else, read the flash again.
    stale: bool,
}

impl<F: Flash> Store<F> {
    const AREA_PAGES: usize = F::PAGES / 2;
    const AREA_WORDS: usize = {
        let words = F::PAGES / 2 * F::PAGE_WORDS;
        assert!(F::PAGES >= 2 && F::PAGES.is_multiple_of(2));
        assert!(words > 2 * HEADER_WORDS && words <= u16::MAX as usize);
        words
    };

    /// Opens what is in flash: finds the active area, finishes or undoes what a power cut interrupted, and
    /// wipes what should be gone.
    ///
    /// # Errors
    /// [`StoreError::NotFormatted`] and [`StoreError::Corrupt`] as described there; the flash comes back
    /// with the error.
    pub fn open(flash: F) -> Result<Self, (StoreError, F)> {
        let mut store = Self {
            flash,
            area: 0,
            generation: 0,
            area_crc: Crc::of_area(0),
            end: HEADER_WORDS,
            places: [0; KEYS],
            stale: true,
        };
        match store.ready() {
            Ok(()) => Ok(store),
            Err(error) => Err((error, store.flash)),
        }
    }

    /// Makes an empty store; whatever the flash held is erased, all of it.
    ///
    /// # Errors
    /// [`StoreError::Flash`]; the flash comes back with the error.
    pub fn format(mut flash: F) -> Result<Self, (StoreError, F)> {
        match Self::write_first_header(&mut flash) {
            Ok(()) => Self::open(flash),
            Err(error) => Err((error, flash)),
        }
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// [`StoreError::Flash`] or [`StoreError::Corrupt`] when the flash has to be read again and can't be.
    #[inline(never)]
    pub fn contains(&mut self, key: Key) -> Result<bool, StoreError> {
        self.ready()?;
        Ok(self.places[key.index()] != 0)
    }

    /// Copies the value of `key` to the front of `into` and gives its length; `None` where it has none.
    ///
    /// # Errors
    /// [`StoreError::Flash`], [`StoreError::Corrupt`] when its check is wrong, [`StoreError::Invalid`] when
    /// `into` is too small. After an error `into` holds zeros.
    #[inline(never)]
    pub fn get(&mut self, key: Key, into: &mut [u8]) -> Result<Option<usize>, StoreError> {
        self.ready()?;
        let place = usize::from(self.places[key.index()]);
        if place == 0 {
            return Ok(None);
        }
        let read = self.read_record(place, key, into);
        if read.is_err() {
            into.fill(0);
        }
        read.map(Some)
    }

    /// Does all of `updates`, or none.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Invalid`]: nothing has changed. [`StoreError::Flash`] and
    /// [`StoreError::Corrupt`]: either all or nothing has; the next call reads which.
    #[inline(never)]
    pub fn transact(&mut self, updates: &[Update<'_>]) -> Result<(), StoreError> {
        self.ready()?;
        let needed = transaction_words(updates)?;
        if updates.is_empty() {
            return Ok(());
        }
        if self.end + needed > Self::AREA_WORDS {
            return self.compact(updates);
        }
        // From here to the end an early return leaves `stale` set, and the next call reads the flash again.
        self.stale = true;
        let mut at = self.end;
        for (i, update) in updates.iter().enumerate() {
            at = self.append(at, update, i + 1 == updates.len())?;
        }
        self.flash.sync()?;
        let mut at = self.end;
        for update in updates {
            let place = &mut self.places[update.key().index()];
            let old = core::mem::replace(place, place_after(update, at));
            self.wipe_record(usize::from(old))?;
            at += record_words(update.value().len());
        }
        self.seal(at)
    }

    /// Reads the flash again where RAM and flash may differ.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.stale { self.recover() } else { Ok(()) }
    }

    /// Writes the seal at `at`: all before it is committed, all it superseded is wiped.
    fn seal(&mut self, at: usize) -> Result<(), StoreError> {
        // The wipes must not come after the seal that says they are done.
        self.flash.sync()?;
        self.program(at, Head::SEAL.encode())?;
        self.flash.sync()?;
        self.end = at + 1;
        self.stale = false;
        Ok(())
    }

    /// Appends one record at `at`, its check last, and gives the place after it.
    fn append(&mut self, at: usize, update: &Update<'_>, last: bool) -> Result<usize, StoreError> {
        let head = Head { kind: update.kind(), key: update.key().0, len: update.value().len(), last };
        let mut crc = self.area_crc.of_record(at, head.encode());
        self.program(at, head.encode())?;
        let mut next = at + 1;
        let (words, rest) = update.value().as_chunks();
        let rest = (!rest.is_empty()).then(|| payload_word(rest));
        for word in words.iter().map(|bytes| u32::from_le_bytes(*bytes)).chain(rest) {
            crc = crc.word(word);
            self.program(next, word)?;
            next += 1;
        }
        self.program(next, crc.check())?;
        Ok(next + 1)
    }

    /// Reads the record at `place`, checked, into the front of `into`.
    fn read_record(&self, place: usize, key: Key, into: &mut [u8]) -> Result<usize, StoreError> {
        let word = self.read(place)?;
        let head = Head::decode(word).ok_or(StoreError::Corrupt)?;
        if head.kind != Kind::Put || head.key != key.0 {
            return Err(StoreError::Corrupt);
        }
        let value = into.get_mut(..head.len).ok_or(StoreError::Invalid)?;
        let mut crc = self.area_crc.of_record(place, word);
        let mut at = place + 1;
        let (words, rest) = value.as_chunks_mut();
        for to in words {
            let word = self.read(at)?;
            crc = crc.word(word);
            *to = word.to_le_bytes();
            at += 1;
        }
        if !rest.is_empty() {
            let word = self.read(at)?;
            crc = crc.word(word);
            rest.iter_mut().zip(word.to_le_bytes()).for_each(|(to, from)| *to = from);
            at += 1;
        }
        if self.read(at)? != crc.check() {
            return Err(StoreError::Corrupt);
        }
        Ok(head.len)
    }

    /// Sets the record at `place` to zeros, from its end to its head, so that the head tells its length to
    /// a recovery as long as anything else of it is left.
    fn wipe_record(&mut self, place: usize) -> Result<(), StoreError> {
        if place == 0 {
            return Ok(());
        }
        let head = Head::decode(self.read(place)?).ok_or(StoreError::Corrupt)?;
        self.wipe(place, place + head.words())
    }

    /// Sets the words from `from` to before `to` of the active area to zeros, the last one first.
    fn wipe(&mut self, from: usize, to: usize) -> Result<(), StoreError> {
        for at in (from..to).rev() {
            if self.read(at)? != WIPED {
                self.program(at, WIPED)?;
            }
        }
        Ok(())
    }

    fn read(&self, at: usize) -> Result<u32, StoreError> {
        Ok(self.flash.read(self.area * Self::AREA_WORDS + at)?)
    }

    /// Programs a word of the active area and reads it back: a worn cell is an error here and now.
    fn program(&mut self, at: usize, value: u32) -> Result<(), StoreError> {
        let word = self.area * Self::AREA_WORDS + at;
        program_word(&mut self.flash, word, value)
    }
}

/// Programs one word and reads it back. A value of all ones is what an erased word already holds.
fn program_word<F: Flash>(flash: &mut F, word: usize, value: u32) -> Result<(), StoreError> {
    if value != FREE {
        flash.program(word, value)?;
    }
    if flash.read(word)? == value { Ok(()) } else { Err(StoreError::Flash) }
}

/// Where the key of `update` stands once its record is at `at`.
fn place_after(update: &Update<'_>, at: usize) -> u16 {
    match update {
        Update::Put(..) => at as u16,
        Update::Remove(_) => 0,
    }
}

/// Words a transaction takes with its seal, or [`StoreError::Invalid`].
fn transaction_words(updates: &[Update<'_>]) -> Result<usize, StoreError> {
    let mut words = 1;
    let mut rest = updates;
    while let Some((update, others)) = rest.split_first() {
        let twice = others.iter().any(|other| other.key() == update.key());
        if twice || update.value().len() > MAX_VALUE_BYTES {
            return Err(StoreError::Invalid);
        }
        words += record_words(update.value().len());
        rest = others;
    }
    Ok(words)
}
