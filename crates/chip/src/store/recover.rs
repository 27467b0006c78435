//! Reading the flash after power-up: what is committed, what has to be finished, what has to be undone.
//!
//! Everything up to the last seal is committed and clean: one record a key. After it stands at most one
//! transaction. If its last record has a right check, it happened: the wipe of what it superseded is done
//! again and sealed. If not, it never happened, and its words are wiped. A recovery cut short leaves a state
//! of the same kind, so it can be cut any number of times. Anything else is damage, and an error.

use super::record::{Crc, FREE, Head, Kind, WIPED};
use super::{HEADER_WORDS, KEYS, Store, StoreError};
use crate::hal::Flash;

/// What the words of a log look like, before anything is changed.
struct Scan {
    /// The first word after the last seal.
    sealed_to: usize,
    /// The first free word.
    end: usize,
    /// How many torn words there are.
    torn: usize,
}

impl<F: Flash> Store<F> {
    /// Reads everything again; see the top of this file.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        self.stale = true;
        self.find_active_area()?;
        let scan = self.scan(false)?;
        self.places = [0; KEYS];
        let committed = self.tail_is_committed(&scan)?;
        if scan.torn > 0 {
            // A torn word belongs to a record undone, a wipe to finish or a seal to write again.
            self.scan(true)?;
        }
        self.index_sealed(scan.sealed_to)?;
        let mut sealed = scan.sealed_to == scan.end;
        if committed {
            self.finish_tail(&scan)?;
        } else {
            self.wipe(scan.sealed_to, scan.end)?;
            sealed = true;
        }
        self.wipe_area(1 - self.area)?;
        self.end = scan.end;
        if sealed {
            self.flash.sync()?;
            self.stale = false;
            Ok(())
        } else if scan.end < Self::AREA_WORDS {
            self.seal(scan.end)
        } else {
            // Seals torn again and again have used up the area.
            self.compact(&[])
        }
    }

    fn find_active_area(&mut self) -> Result<(), StoreError> {
        (self.area, self.generation) = match (self.read_header(0)?, self.read_header(1)?) {
            (None, None) => return Err(StoreError::NotFormatted),
            (Some(lower), Some(upper)) if lower == upper => return Err(StoreError::Corrupt),
            (Some(lower), Some(upper)) if upper > lower => (1, upper),
            (Some(lower), _) => (0, lower),
            (None, Some(upper)) => (1, upper),
        };
        self.area_crc = Crc::of_area(self.generation);
        Ok(())
    }

    /// Walks the log from the header to the first free word, and with `clear` sets torn words to zero.
    fn scan(&mut self, clear: bool) -> Result<Scan, StoreError> {
        let mut scan = Scan { sealed_to: HEADER_WORDS, end: HEADER_WORDS, torn: 0 };
        while scan.end < Self::AREA_WORDS {
            let word = self.read(scan.end)?;
            if word == FREE {
                break;
            }
            match Head::decode(word) {
                Some(head) => {
                    scan.end += head.words();
                    if head.kind == Kind::Seal {
                        scan.sealed_to = scan.end;
                    }
                }
                None => {
                    if word != WIPED {
                        self.expect_torn(scan.end)?;
                        scan.torn += 1;
                        if clear {
                            self.program(scan.end, WIPED)?;
                        }
                    }
                    scan.end += 1;
                }
            }
        }
        if scan.end > Self::AREA_WORDS {
            return Err(StoreError::Corrupt);
        }
        for at in scan.end..Self::AREA_WORDS {
            if self.read(at)? != FREE {
                return Err(StoreError::Corrupt);
            }
        }
        Ok(scan)
    }

    /// A head or seal torn while it was written has free words after it, one torn while it was wiped has
    /// wiped ones. Anything else that is no head is damage.
    fn expect_torn(&self, at: usize) -> Result<(), StoreError> {
        let next = at + 1;
        if next == Self::AREA_WORDS || matches!(self.read(next)?, FREE | WIPED) {
            Ok(())
        } else {
            Err(StoreError::Corrupt)
        }
    }

    /// Whether the records after the last seal are a whole transaction: one that is marked last, and right
    /// checks up to it.
    fn tail_is_committed(&self, scan: &Scan) -> Result<bool, StoreError> {
        let mut at = scan.sealed_to;
        let mut whole = true;
        let mut last_seen = false;
        while at < scan.end {
            let Some(head) = Head::decode(self.read(at)?) else {
                at += 1;
                continue;
            };
            if last_seen {
                return Err(StoreError::Corrupt);
            }
            whole = whole && self.check_is_right(at, head)?;
            last_seen = head.last;
            at += head.words();
        }
        Ok(last_seen && whole)
    }

    fn check_is_right(&self, place: usize, head: Head) -> Result<bool, StoreError> {
        let check = place + head.words() - 1;
        let mut crc = self.area_crc.of_record(place, head.encode());
        for at in place + 1..check {
            crc = crc.word(self.read(at)?);
        }
        Ok(self.read(check)? == crc.check())
    }

    /// Notes where each key stands in the sealed part. Two records of one key there can't be: the older is
    /// wiped before the seal.
    fn index_sealed(&mut self, sealed_to: usize) -> Result<(), StoreError> {
        self.for_each_record(HEADER_WORDS, sealed_to, |store, at, head| {
            if head.kind == Kind::Seal {
                return Ok(());
            }
            let place = place_of(&mut store.places, head)?;
            if *place != 0 {
                return Err(StoreError::Corrupt);
            }
            if head.kind == Kind::Put {
                *place = at as u16;
            }
            Ok(())
        })
    }

    /// Wipes what the committed transaction after the last seal supersedes, and takes it into the index.
    fn finish_tail(&mut self, scan: &Scan) -> Result<(), StoreError> {
        self.for_each_record(scan.sealed_to, scan.end, |store, at, head| {
            let place = place_of(&mut store.places, head)?;
            let new = if head.kind == Kind::Put { at as u16 } else { 0 };
            let old = core::mem::replace(place, new);
            store.wipe_record(usize::from(old))
        })
    }

    fn for_each_record(
        &mut self,
        from: usize,
        to: usize,
        mut each: impl FnMut(&mut Self, usize, Head) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut at = from;
        while at < to {
            match Head::decode(self.read(at)?) {
                Some(head) => {
                    each(self, at, head)?;
                    at += head.words();
                }
                None => at += 1,
            }
        }
        Ok(())
    }
}

fn place_of(places: &mut [u16; KEYS], head: Head) -> Result<&mut u16, StoreError> {
    places.get_mut(usize::from(head.key)).ok_or(StoreError::Corrupt)
}
