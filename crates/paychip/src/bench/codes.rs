//! Fresh valid codes for the load, and how long checking one takes.

use std::cell::Cell;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use paycode::{CodeFormat, MaskKey, Miss, PayKey, Sequence, Stamp, TimeStep, TokenIndex, find, make, unmask};

use super::seed::Keys;

/// Codes a token has in one step.
const PER_STEP: u64 = 4;
/// Steps of which codes are fresh: the one before the present, it, and the next, which a fast clock may show.
const FRESH_STEPS: u64 = 3;
/// The longest wait for new steps: those of a whole window.
const MAX_WAITS: u32 = 100;
/// Codes checked to find how many can be checked in a second.
const CHECKS: u64 = 20_000;
/// The file that says how many tokens there are, and the first code that was not taken.
const USED: &str = "bench.used";
/// A number coprime to every count of tokens that is measured, so that adding it again and again visits all of them
/// in an order without order.
const STRIDE: u64 = 7_368_787;

/// Codes for payments: every token in turn, each time with a newer code.
pub struct Supply {
    keys: Keys,
    mask: Option<MaskKey>,
    tokens: u64,
    merchants: u64,
    /// Codes in the order they are used: all tokens with the first code of a step, all with its second, and so on. Here
    /// the next run begins, so that no code is used twice.
    next: Cell<u64>,
    /// The file that keeps it for the next process.
    kept: Option<PathBuf>,
}

/// One payment of the load.
pub struct Payment {
    /// The digits.
    pub code: [u8; 20],
    /// Which merchant is paid, from 1.
    pub merchant: u64,
    /// The order's number.
    pub order: u64,
}

impl Supply {
    /// Codes of tokens 1 to `tokens`, for merchants 1 to `merchants`.
    pub fn new(keys: Keys, tokens: u64, merchants: u64) -> Self {
        let mask = mask_key(&keys);
        Self { keys, mask, tokens, merchants, next: Cell::new(0), kept: None }
    }

    /// How many merchants are paid.
    pub(super) fn merchants(&self) -> u64 {
        self.merchants
    }

    /// The same, after those that were taken from a supply of as many tokens that was kept in this folder.
    #[must_use]
    pub fn kept_in(mut self, folder: &Path) -> Self {
        let kept = folder.join(USED);
        let text = std::fs::read_to_string(&kept).unwrap_or_default();
        if let Some((tokens, next)) = text.trim().split_once(' ')
            && tokens.parse() == Ok(self.tokens)
        {
            self.next.set(next.parse().unwrap_or(0));
        }
        self.kept = Some(kept);
        self
    }

    /// Payments whose codes are valid for half a minute from now: `count`, or as many as there are in the steps around
    /// the present. This waits for all of them: a fast machine uses those of few tokens up within the run.
    pub fn payments(&self, count: usize) -> Vec<Payment> {
        let enough = (count as u64).min(FRESH_STEPS * PER_STEP * self.tokens);
        for _ in 0..MAX_WAITS {
            let (first, end) = self.fresh();
            if end - first >= enough {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        let (first, end) = self.fresh();
        let end = end.min(first + count as u64);
        self.next.set(end);
        if let Some(kept) = &self.kept {
            // Where it cannot be written, the next run meets codes that were used, and is thrown away.
            let _ = std::fs::write(kept, format!("{} {end}\n", self.tokens));
        }
        (first..end).filter_map(|number| self.payment(number)).collect()
    }

    /// The codes not used yet.
    fn fresh(&self) -> (u64, u64) {
        let per_step = PER_STEP * self.tokens;
        let now = seconds_now() / 30;
        (self.next.get().max((now - 1) * per_step), (now - 1 + FRESH_STEPS) * per_step)
    }

    fn payment(&self, number: u64) -> Option<Payment> {
        let (round, place) = (number / self.tokens, number % self.tokens);
        let step = TimeStep(u32::try_from(round / PER_STEP).ok()?);
        let stamp = Stamp::new(step, Sequence::new((round % PER_STEP) as u8).ok()?);
        let index = TokenIndex::new(1 + place.wrapping_mul(STRIDE) % self.tokens).ok()?;
        let pay = pay_key(&self.keys, index)?;
        let (format, mask) = (&self.keys.settings.codes.format, self.mask.as_ref()?);
        let code = make(format, mask, &pay, index, stamp, true).ok()?;
        // By chance a password fits a newer code of its token as well, and spends that one with it (spec/payment-code.md
        // 8.3). The load asks for payments only, so such a code is left out.
        let newest =
            find(&pay, &unmask(format, mask, &code).ok()?, TimeStep(step.0 + paycode::check::STEPS_BEHIND as u32));
        if newest.against(Some(stamp)) != Err(Miss::Spent) {
            return None;
        }
        let code = code.as_str().as_bytes().try_into().ok()?;
        Some(Payment { code, merchant: self.merchant_of(number), order: number })
    }

    /// Half of the payments go to one merchant in a hundred.
    fn merchant_of(&self, number: u64) -> u64 {
        let dice = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        let many = self.merchants;
        let few = (many / 100).max(1);
        if number.is_multiple_of(2) { 1 + dice % few } else { 1 + dice % many }
    }
}

fn mask_key(keys: &Keys) -> Option<MaskKey> {
    let codes = &keys.settings.codes;
    let key = keys.vault.mask_key(&codes.format, keys.vault.versions().mask).ok()?;
    Some(MaskKey::new(codes.suite, &key))
}

fn pay_key(keys: &Keys, index: TokenIndex) -> Option<PayKey> {
    let codes = &keys.settings.codes;
    let key = keys.vault.pay_key(&codes.format, index, keys.vault.versions().pay).ok()?;
    Some(PayKey::new(codes.suite, &key))
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Code checks in a second on one core, without a store.
pub struct Checks {
    /// Of right codes.
    pub right: f64,
    /// Of wrong ones, which are looked for in more steps.
    pub wrong: f64,
}

/// Measures a whole check: unmasking, deriving the token's key, and the window.
pub fn checks_per_second(keys: &Keys) -> Checks {
    let Some(mask) = mask_key(keys) else { return Checks { right: 0.0, wrong: 0.0 } };
    let format = CodeFormat::DEFAULT;
    let now = TimeStep(u32::try_from(seconds_now() / 30).unwrap_or(u32::MAX));
    let index = |number| TokenIndex::new(1 + number % 10_000).ok();
    let code_of = |number, step: u32| {
        let index = index(number)?;
        let stamp = Stamp::new(TimeStep(step), Sequence::FIRST);
        make(&format, &mask, &pay_key(keys, index)?, index, stamp, true).ok()
    };
    let time = |step: u32| -> Duration {
        let codes: Vec<_> = (0..CHECKS).filter_map(|number| code_of(number, step)).collect();
        let begun = Instant::now();
        for code in &codes {
            let Ok(unmasked) = unmask(&format, &mask, code) else { continue };
            let Some(key) = pay_key(keys, unmasked.index) else { continue };
            black_box(find(&key, &unmasked, now).is_in_window());
        }
        begun.elapsed()
    };
    let per_second = |time: Duration| CHECKS as f64 / time.as_secs_f64();
    // A code of long ago is wrong: its password fits nowhere near this time.
    Checks { right: per_second(time(now.0)), wrong: per_second(time(now.0 - 1_000)) }
}
