//! Moving to the other area: formatting, and compaction when the log is full.
//!
//! The other area is erased right before it is written: an erase done earlier may have been cut short and
//! only look done. Its header is written last and commits; until then the old area is the truth. After that
//! the old area is wiped, and stays so until its turn comes.

use super::record::{Crc, FREE, Head, WIPED, record_words};
use super::{HEADER_WORDS, KEYS, Store, StoreError, Update, place_after, program_word};
use crate::hal::Flash;

/// The three words of a header. Three, so that nothing a torn erase leaves behind passes for one.
fn header(generation: u32) -> [u32; HEADER_WORDS] {
    let check = Crc::new().word(generation).word(0x5043_4853).check();
    [generation, !generation, check]
}

impl<F: Flash> Store<F> {
    /// Erases everything and makes the lower area active and empty.
    pub(super) fn write_first_header(flash: &mut F) -> Result<(), StoreError> {
        // The old store's areas lose their headers before the new one gets its own.
        for page in 0..F::PAGES {
            flash.erase(page)?;
        }
        program_word(flash, HEADER_WORDS, Head::SEAL.encode())?;
        Self::write_header(flash, 0, 1)
    }

    fn write_header(flash: &mut F, area: usize, generation: u32) -> Result<(), StoreError> {
        flash.sync()?;
        for (i, word) in header(generation).into_iter().enumerate() {
            program_word(flash, area * Self::AREA_WORDS + i, word)?;
        }
        flash.sync()?;
        Ok(())
    }

    /// The generation of `area`, or nothing where its header is not whole.
    pub(super) fn read_header(&self, area: usize) -> Result<Option<u32>, StoreError> {
        let base = area * Self::AREA_WORDS;
        let generation = self.flash.read(base)?;
        for (i, word) in header(generation).into_iter().enumerate() {
            if self.flash.read(base + i)? != word {
                return Ok(None);
            }
        }
        Ok(Some(generation))
    }

    /// Writes the live records and `updates` into the other area, makes it active and wipes the old one.
    pub(super) fn compact(&mut self, updates: &[Update<'_>]) -> Result<(), StoreError> {
        let keep = self.places_kept(updates);
        if self.words_after(&keep, updates)? > Self::AREA_WORDS {
            return Err(StoreError::Full);
        }
        let generation = self.generation.checked_add(1).ok_or(StoreError::Full)?;
        let target = 1 - self.area;

        self.stale = true;
        for page in 0..Self::AREA_PAGES {
            self.flash.erase(target * Self::AREA_PAGES + page)?;
        }
        let mut places = [0; KEYS];
        let mut at = HEADER_WORDS;
        for (number, place) in keep.into_iter().enumerate() {
            if place != 0 {
                places[number] = at as u16;
                at = self.copy_record(usize::from(place), target, generation, at)?;
            }
        }
        let old = core::mem::replace(&mut self.area, target);
        self.generation = generation;
        self.area_crc = Crc::of_area(generation);
        for update in updates {
            if let Update::Put(..) = update {
                places[update.key().index()] = place_after(update, at);
                at = self.append(at, update, true)?;
            }
        }
        self.program(at, Head::SEAL.encode())?;
        Self::write_header(&mut self.flash, target, generation)?;
        self.wipe_area(old)?;
        self.flash.sync()?;
        self.places = places;
        self.end = at + 1;
        self.stale = false;
        Ok(())
    }

    /// The places of the records that stay when `updates` are done.
    fn places_kept(&self, updates: &[Update<'_>]) -> [u16; KEYS] {
        let mut keep = self.places;
        for update in updates {
            keep[update.key().index()] = 0;
        }
        keep
    }

    /// Words the area will hold: header, kept records, puts, seal.
    fn words_after(&self, keep: &[u16; KEYS], updates: &[Update<'_>]) -> Result<usize, StoreError> {
        let mut words = HEADER_WORDS + 1;
        for place in keep.iter().copied().filter(|place| *place != 0) {
            let head = Head::decode(self.read(usize::from(place))?);
            words += head.ok_or(StoreError::Corrupt)?.words();
        }
        for update in updates {
            if let Update::Put(_, value) = update {
                words += record_words(value.len());
            }
        }
        Ok(words)
    }

    /// Copies the record at `from` of the active area to `to` of `target`, word by word: no buffer, so no
    /// copy of a key stays in RAM. The old check is verified before the new one is written.
    fn copy_record(&mut self, from: usize, target: usize, generation: u32, to: usize) -> Result<usize, StoreError> {
        let base = target * Self::AREA_WORDS + to;
        let head = self.read(from)?;
        let words = Head::decode(head).ok_or(StoreError::Corrupt)?.words();
        let mut old = self.area_crc.of_record(from, head);
        let mut new = Crc::of_area(generation).of_record(to, head);
        program_word(&mut self.flash, base, head)?;
        for i in 1..words - 1 {
            let word = self.read(from + i)?;
            old = old.word(word);
            new = new.word(word);
            program_word(&mut self.flash, base + i, word)?;
        }
        if self.read(from + words - 1)? != old.check() {
            return Err(StoreError::Corrupt);
        }
        program_word(&mut self.flash, base + words - 1, new.check())?;
        Ok(to + words)
    }

    /// Sets to zero all that is left in an area no longer, or not yet, active.
    pub(super) fn wipe_area(&mut self, area: usize) -> Result<(), StoreError> {
        let base = area * Self::AREA_WORDS;
        for word in base..base + Self::AREA_WORDS {
            let value = self.flash.read(word)?;
            if value != FREE && value != WIPED {
                program_word(&mut self.flash, word, WIPED)?;
            }
        }
        Ok(())
    }
}
