//! Flash for tests: in memory, strict about the rules of [`Flash`](crate::hal::Flash), with power that can be
//! cut at any operation.
//!
//! A cut tears the operation it hits: a word under programming keeps any subset of its bits unset, a page
//! under erasure holds anything. Which one is drawn from a seed, so a failure can be played again. After a
//! cut every operation fails until [`CutFlash::power_on`].

use crate::hal::{Flash, FlashError};
use std::vec;
use std::vec::Vec;

/// What happens at the operation chosen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Power is lost: the operation is torn, and nothing works until power is back.
    Cut,
    /// The operation is torn and reports it; the flash works on.
    Glitch,
}

/// Flash in memory that can lose power at any operation.
#[derive(Clone, Debug)]
pub struct CutFlash<const PAGES: usize, const PAGE_WORDS: usize> {
    words: Vec<u32>,
    erases: Vec<u32>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    faults: u64,
    seed: u64,
    broken_rule: Option<&'static str>,
}

impl<const PAGES: usize, const PAGE_WORDS: usize> Default for CutFlash<PAGES, PAGE_WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const PAGES: usize, const PAGE_WORDS: usize> CutFlash<PAGES, PAGE_WORDS> {
    /// Erased flash with steady power.
    #[must_use]
    pub fn new() -> Self {
        Self {
            words: vec![u32::MAX; PAGES * PAGE_WORDS],
            erases: vec![0; PAGES],
            operations: 0,
            fault: None,
            dead: false,
            faults: 0,
            seed: 0,
            broken_rule: None,
        }
    }

    /// Power will be lost within the operation (programming or erasing) that follows `operations` more.
    pub fn cut_after(&mut self, operations: u64, seed: u64) {
        self.arm(operations, seed, Fault::Cut);
    }

    /// The operation that follows `operations` more will be torn and report it, with power staying on.
    pub fn glitch_after(&mut self, operations: u64, seed: u64) {
        self.arm(operations, seed, Fault::Glitch);
    }

    fn arm(&mut self, operations: u64, seed: u64, fault: Fault) {
        self.fault = Some((self.operations + operations, fault));
        self.seed = seed ^ 0x9E37_79B9_7F4A_7C15;
    }

    /// Power is back, and stays.
    pub fn power_on(&mut self) {
        self.dead = false;
        self.fault = None;
    }

    /// How many faults have struck so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// How many words were programmed and pages erased so far, torn ones included.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// How often the page erased most was erased.
    #[must_use]
    pub fn most_erases(&self) -> u32 {
        self.erases.iter().copied().max().unwrap_or(0)
    }

    /// The first rule of the flash that was broken, if one was.
    #[must_use]
    pub fn broken_rule(&self) -> Option<&'static str> {
        self.broken_rule
    }

    /// Whether these bytes stand anywhere in the flash, at any alignment.
    #[must_use]
    pub fn contains(&self, bytes: &[u8]) -> bool {
        let all: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        all.windows(bytes.len().max(1)).any(|window| window == bytes)
    }

    /// Changes a word behind the back of whoever uses the flash: damage, not a power cut.
    pub fn damage(&mut self, word: usize, flip: u32) {
        if let Some(word) = self.words.get_mut(word) {
            *word ^= flip;
        }
    }

    /// Counts an operation; says whether it is the one to fail.
    fn begin(&mut self) -> Result<Option<Fault>, FlashError> {
        if self.dead {
            return Err(FlashError);
        }
        let number = self.operations;
        self.operations += 1;
        let fault = self.fault.filter(|(at, _)| *at == number);
        if let Some((_, fault)) = fault {
            self.fault = None;
            self.faults += 1;
            self.dead = fault == Fault::Cut;
        }
        Ok(fault.map(|(_, fault)| fault))
    }

    /// SplitMix64: the next number of the seed's sequence.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.seed;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn tear_word(&mut self, word: usize, value: u32) {
        let how = self.draw();
        let kept = match how % 4 {
            0 => u32::MAX,
            1 => 0,
            _ => (how >> 32) as u32,
        };
        self.words[word] &= value | kept;
    }

    fn tear_page(&mut self, page: usize) {
        let how = self.draw() % 4;
        for word in page * PAGE_WORDS..(page + 1) * PAGE_WORDS {
            let noise = self.draw();
            self.words[word] = match how {
                0 => self.words[word],
                1 => u32::MAX,
                2 => self.words[word] | noise as u32,
                _ => noise as u32,
            };
        }
    }
}

impl<const PAGES: usize, const PAGE_WORDS: usize> Flash for CutFlash<PAGES, PAGE_WORDS> {
    const PAGES: usize = PAGES;
    const PAGE_WORDS: usize = PAGE_WORDS;

    fn read(&self, word: usize) -> Result<u32, FlashError> {
        if self.dead {
            return Err(FlashError);
        }
        self.words.get(word).copied().ok_or(FlashError)
    }

    fn program(&mut self, word: usize, value: u32) -> Result<(), FlashError> {
        let fault = self.begin()?;
        let old = self.read_quietly(word)?;
        if value != 0 && old != u32::MAX {
            self.broken_rule = Some("a word was programmed with data twice between two erases");
        }
        if fault.is_some() {
            self.tear_word(word, value);
            return Err(FlashError);
        }
        self.words[word] = old & value;
        Ok(())
    }

    fn erase(&mut self, page: usize) -> Result<(), FlashError> {
        let fault = self.begin()?;
        *self.erases.get_mut(page).ok_or(FlashError)? += 1;
        if fault.is_some() {
            self.tear_page(page);
            return Err(FlashError);
        }
        self.words[page * PAGE_WORDS..(page + 1) * PAGE_WORDS].fill(u32::MAX);
        Ok(())
    }
}

impl<const PAGES: usize, const PAGE_WORDS: usize> CutFlash<PAGES, PAGE_WORDS> {
    fn read_quietly(&self, word: usize) -> Result<u32, FlashError> {
        self.words.get(word).copied().ok_or(FlashError)
    }
}
