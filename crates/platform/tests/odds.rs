//! The odds that the specification promises to whoever guesses codes, held against the rules: how many guesses are looked at
//! before everything stops, counted by the decisions themselves; and the numbers in `spec/payment-code.md`, computed again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use ledger::{Amount, Currency};
use paycode::check::{STEPS_AHEAD, STEPS_BEHIND, WINDOW_CANDIDATES};
use paycode::{CodeFormat, Suite, TokenIndex};
use platform::merchants::Merchant;
use platform::payments::MerchantNumber;
use platform::payments::code::{Verdict, fingerprint};
use platform::payments::pay::{PayRequest, accept, decide};
use platform::risk::RuleSet;
use platform::tokens::{Token, TokenState};
use platform::{AccountId, Change, ChipId, KeyHash, MerchantId, PaymentId, Settings, TokenId};

const THREAT_MODEL: &str = include_str!("../../../docs/threat-model.md");
const SPECIFICATION: &str = include_str!("../../../spec/payment-code.md");
/// Midnight of the operator's day (UTC+8).
const MIDNIGHT_MS: u64 = 1_763_913_600_000;
const DAY_MS: u64 = 86_400_000;
/// As fast as guessers ask: a guess a second each.
const PACE_MS: u64 = 1_000;

fn merchant(number: u8) -> Merchant {
    Merchant {
        id: MerchantId([number; 16]),
        name: format!("shop {number}"),
        currency: Currency::CNY,
        api_key: KeyHash([number; 32]),
        created_ms: 0,
        wrong_codes: Default::default(),
        suspended_ms: None,
        category: None,
        position: None,
    }
}

fn token() -> Token {
    Token {
        id: TokenId([3; 16]),
        account: AccountId([1; 16]),
        chip: ChipId([4; 16]),
        format: CodeFormat::DEFAULT,
        suite: Suite::International,
        index: TokenIndex::new(42).unwrap(),
        pay_key_version: 1,
        mask_key_version: 1,
        state: TokenState::Active,
        last_stamp: None,
        last_counter: None,
        guesses: Default::default(),
        spent: Default::default(),
        expires_ms: None,
        created_ms: 0,
    }
}

/// Guessers, each with a merchant's key, and what they guess at.
struct Guessers {
    merchants: Vec<Merchant>,
    /// The one token all guess at; `None` where each guess is at another.
    at: Option<Token>,
    looked_at: u64,
}

impl Guessers {
    fn new(merchants: u8, at: Option<Token>) -> Self {
        Self { merchants: (1..=merchants).map(merchant).collect(), at, looked_at: 0 }
    }

    /// Lets one of them guess at this moment; counts the guess where a right one would have paid.
    fn guess(&mut self, which: usize, now_ms: u64) {
        let settings = Settings::default();
        let rules = RuleSet::built_in(&settings);
        let merchant = &mut self.merchants[which];
        let amount = Amount::new(1, Currency::CNY).unwrap();
        let request = PayRequest {
            id: PaymentId([6; 16]),
            merchant: merchant.id,
            order: MerchantNumber::parse("o-1", "order").unwrap(),
            amount,
            fingerprint: fingerprint("71234567890123456789", amount),
            now_ms,
        };
        if accept(&request, merchant).is_err() || merchant.wrong_codes.wait_ms(now_ms, &settings).is_some() {
            return;
        }
        let target = self.at.clone().unwrap_or_else(token);
        if target.state == TokenState::Active {
            self.looked_at += 1;
        }
        let (_, changes) = decide(&request, merchant, Verdict::Wrong { token: target }, None, &rules, &settings);
        for change in changes {
            match change {
                Change::PutMerchant(after) => *merchant = after,
                Change::PutToken(after) if self.at.is_some() => self.at = Some(after),
                _ => {}
            }
        }
    }

    /// Everybody guesses as fast as possible, all day.
    fn guess_all_day(&mut self) {
        for at_ms in (0..DAY_MS).step_by(PACE_MS as usize) {
            for which in 0..self.merchants.len() {
                self.guess(which, MIDNIGHT_MS + at_ms);
            }
        }
    }
}

/// The chance that at least one of so many guesses at passwords of so many digits is right.
fn chance(guesses: u64, password_digits: i32) -> f64 {
    let one = WINDOW_CANDIDATES as f64 / 10_f64.powi(password_digits);
    -f64::exp_m1(guesses as f64 * f64::ln_1p(-one))
}

/// As the specification writes numbers: `3.2 × 10⁻⁷`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.1e}");
    let (mantissa, exponent) = text.split_once('e').unwrap();
    let raised = exponent.chars().map(|digit| match digit {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32(u32::from('⁴') + u32::from(digit) - u32::from('4')).unwrap(),
    });
    format!("{mantissa} × 10{}", raised.collect::<String>())
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| core::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

#[test]
fn guessers_get_no_further_in_a_day_than_the_specification_says() {
    let mut alone = Guessers::new(1, None);
    alone.guess_all_day();
    let mut together = Guessers::new(10, None);
    together.guess_all_day();
    let mut at_one_token = Guessers::new(10, Some(token()));
    at_one_token.guess_all_day();
    assert_eq!((alone.looked_at, together.looked_at), (100, 1_000));
    assert!(alone.merchants.iter().chain(&together.merchants).all(|merchant| merchant.suspended_ms.is_some()));
    assert_eq!(at_one_token.looked_at, 10, "many at once freeze it soon");
    assert_eq!(at_one_token.at.unwrap().state, TokenState::FrozenByRisk);

    // One after the other, each until it is suspended: the most that can be had of one token.
    let mut in_turn = Guessers::new(10, Some(token()));
    for at_ms in (0..DAY_MS).step_by(PACE_MS as usize) {
        let open = in_turn.merchants.iter().position(|merchant| merchant.suspended_ms.is_none());
        in_turn.guess(open.unwrap_or(0), MIDNIGHT_MS + at_ms);
    }
    assert_eq!(in_turn.looked_at, 301);

    for (who, guesses) in [
        ("one merchant, at any tokens", alone.looked_at),
        ("any merchants, at one token, between two of its genuine codes", in_turn.looked_at),
        ("10 merchants together, at any tokens", together.looked_at),
        ("100 merchants together", 100 * alone.looked_at),
        ("1,000 merchants together", 1_000 * alone.looked_at),
    ] {
        let [default, shortest] = [8, 7].map(|digits| scientific(chance(guesses, digits)));
        let line = format!("| {who} | {} | {default} | {shortest} |", grouped(guesses));
        assert!(SPECIFICATION.lines().any(|known| known == line), "the specification does not say: {line}");
    }
    let year = chance(99 * 365, 8) * 100.0;
    assert!(SPECIFICATION.contains(&format!("it has a chance of {year:.1} % (p = 8)")), "{year}");
}

#[test]
fn the_odds_of_one_guess_and_of_a_token_are_those_of_the_table() {
    let mut rows = 0;
    let table = SPECIFICATION.lines().skip_while(|line| !line.ends_with("301 guesses, then frozen |")).skip(2);
    for line in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let digits: i32 = cells[3].parse().unwrap();
        let one = WINDOW_CANDIDATES as f64 / 10_f64.powi(digits);
        assert!(cells[4].starts_with(&scientific(one)), "{line}");
        let promised = cells[6].strip_prefix("1 in ").unwrap();
        let units = BTreeMap::from([("million", 1e6), ("billion", 1e9)]);
        let (number, unit) = promised.split_once(' ').unwrap_or((promised, ""));
        let promised = number.replace(',', "").parse::<f64>().unwrap() * units.get(unit).copied().unwrap_or(1.0);
        let actual = 1.0 / (301.0 * one);
        assert!((promised / actual - 1.0).abs() < 0.01, "{line}: 1 in {actual}");
        rows += 1;
    }
    assert_eq!(rows, 7);
}

/// The most of the operator's days that so many seconds can touch.
fn days_touched(seconds: u64) -> u64 {
    seconds.div_ceil(86_400) + 1
}

#[test]
fn the_threat_model_says_what_the_rules_leave_to_guessers_and_harvesters() {
    let has = |line: String| assert!(THREAT_MODEL.lines().any(|known| known == line), "not said: {line}");
    let settings = Settings::default();
    let codes = &settings.codes;
    let digits = i32::try_from(codes.format.password_digits()).unwrap();
    let a_day = u64::from(codes.merchant_day_wrong_codes);
    let in_turn = a_day * (codes.merchants_before_freeze as u64 - 1) + 1;
    for (who, guesses) in [
        ("one guess at a token whose number is known", 1),
        ("one merchant, in a day", a_day),
        ("any merchants at one token, between two of its genuine codes", in_turn),
        ("10 merchants together, in a day", 10 * a_day),
        ("1,000 merchants together, in a day", 1_000 * a_day),
        ("a merchant that stops at 99 a day, in a year", (a_day - 1) * 365),
    ] {
        has(format!("| {who} | {} | {} |", grouped(guesses), scientific(chance(guesses, digits))));
    }
    let body = i32::try_from(codes.format.total_digits() - codes.format.prefix_str().len()).unwrap();
    let blind = WINDOW_CANDIDATES as f64 * 1e6 / 10_f64.powi(body);
    assert!(THREAT_MODEL.contains(&format!("\n{}.", scientific(blind))), "{}", scientific(blind));

    // A code of a step pays from STEPS_AHEAD steps before it to STEPS_BEHIND after it.
    let steps = u64::try_from(STEPS_AHEAD + 1 + STEPS_BEHIND).unwrap();
    let life_s = steps * 30;
    let allowance_s = u64::from(codes.offline_allowance_s);
    has(format!("| codes between two syncs | {} |", codes.budget));
    has(format!("| how far past the last sync | {} days |", allowance_s / 86_400));
    has(format!("| how long one code can pay | {life_s} seconds |"));
    let at_once = steps * 4;
    has(format!("| codes of one token that can pay at one moment, each newer than the last | {at_once} |"));
    // Two steps before the anchor; a session's window, and a minute before it.
    let days = days_touched(allowance_s + 60 + life_s);
    let verified_days = days_touched(86_400 + 60 + life_s);
    let limits = settings.limits[&Currency::CNY];
    let yuan = |minor: u64| grouped(minor / 100);
    let unverified = limits.day_unverified_minor;
    has(format!(
        "| money of all of them, without the passcode, until the next sync | {} yuan: {} a day, on at most {days} days |",
        yuan(days * unverified),
        yuan(unverified)
    ));
    let stolen = verified_days * limits.day_minor + (days - verified_days) * unverified;
    has(format!(
        "| the same, with one passcode session of 24 hours stolen | {} yuan: {} on at most {verified_days} of those days |",
        yuan(stolen),
        yuan(limits.day_minor)
    ));
    has(format!(
        "| the same, with the passcode known, or set where there was none | {} yuan: {} on each of those days |",
        yuan(days * limits.day_minor),
        yuan(limits.day_minor)
    ));
    has(format!("| one payment the phone is not asked about | {} yuan |", yuan(limits.unconfirmed_minor)));
}
