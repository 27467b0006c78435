//! What a seed stands for: how large the world is, and how unkind.

use platform::risk::{Effect, Rule, RuleSet, Test, When, Whose};
use platform::{Limits, Settings};

/// 2025-11-23, 15:57 UTC: three minutes before the operator's day ends.
const BEFORE_MIDNIGHT_MS: u64 = 1_763_913_420_000;
/// 2025-11-23, 09:26:40 UTC.
const BY_DAY_MS: u64 = 1_763_890_000_000;

/// One seed's world. Chances are in a thousand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Servers on one shared database; one alone is pipelined instead.
    pub(crate) servers: u32,
    pub(crate) watches: usize,
    pub(crate) merchants: usize,
    pub(crate) tills: usize,
    pub(crate) start_ms: u64,
    /// The mean time between two sales in the whole world.
    pub(crate) sale_every_ms: u64,
    pub(crate) lost: u32,
    pub(crate) repeated: u32,
    pub(crate) delayed: u32,
    /// The mean time between two crashes of the same server that are not bound to a commit.
    pub(crate) crash_every_ms: u64,
    /// Of each commit.
    pub(crate) crash_at_commit: u32,
    pub(crate) unknown: u32,
    pub(crate) disk_fills: u32,
    pub(crate) read_fails: u32,
    /// How long a server that was idle waits for others to share a batch, at most.
    pub(crate) linger_ms: u64,
    /// How far a server's clock may be off.
    pub(crate) server_clock_ms: u64,
    /// How far a watch's clock may be off.
    pub(crate) watch_clock_ms: u64,
}

/// Risk rules that differ by a number in what they ask the phone about: payments above some amount, and hasty ones. What
/// they decline stays within the settings.
pub(crate) fn rules(number: u64, settings: &Settings) -> RuleSet {
    let mut rules = RuleSet::built_in(settings);
    rules.rules.retain(|rule| rule.effect == Effect::Decline);
    for currency in settings.limits.keys() {
        let when = When { currency: Some(*currency), ..When::default() };
        let test = Test::Payment { max_minor: 1_000 + number * 1_700 % 9_000 };
        rules.rules.push(Rule { name: format!("ask-{currency}").to_lowercase(), effect: Effect::Confirm, when, test });
    }
    if number % 2 == 1 {
        let test = Test::Velocity { whose: Whose::Account, payments: 5, minutes: 1 };
        rules.rules.push(Rule { name: "hasty".to_owned(), effect: Effect::Confirm, when: When::default(), test });
    }
    rules
}

impl Plan {
    pub(crate) fn of(random: &mut fastrand::Rng) -> Self {
        let mut pick = |choices: &[u64]| choices.get(random.usize(..choices.len())).copied().unwrap_or(0);
        let servers = pick(&[1, 1, 2, 3, 5]) as u32;
        let watches = pick(&[3, 12, 60, 300, 1_500]) as usize;
        let merchants = pick(&[1, 3, 12]) as usize;
        Self {
            servers,
            watches,
            merchants,
            tills: merchants * pick(&[1, 2, 6, 30]) as usize,
            start_ms: pick(&[BEFORE_MIDNIGHT_MS, BY_DAY_MS]),
            sale_every_ms: pick(&[40, 300, 2_000, 9_000]),
            lost: pick(&[0, 10, 60, 200]) as u32,
            repeated: pick(&[0, 10, 60, 200]) as u32,
            delayed: pick(&[0, 20, 100]) as u32,
            crash_every_ms: pick(&[60_000, 400_000, 3_000_000]),
            crash_at_commit: pick(&[0, 2, 8, 20]) as u32,
            unknown: pick(&[0, 2, 8, 20]) as u32,
            disk_fills: pick(&[0, 0, 1, 5]) as u32,
            read_fails: pick(&[0, 5, 80]) as u32,
            linger_ms: pick(&[1, 30, 600]),
            server_clock_ms: pick(&[0, 500, 20_000]),
            watch_clock_ms: pick(&[0, 20_000, 90_000]),
        }
    }

    /// The operator's choices: two currencies, and limits that are reached now and then.
    pub(crate) fn settings(second: ledger::Currency) -> Settings {
        let mut settings = Settings::default();
        let limits =
            Limits { unconfirmed_minor: 6_000, single_minor: 20_000, day_minor: 60_000, day_unverified_minor: 25_000 };
        settings.limits.insert(ledger::Currency::CNY, limits);
        settings.limits.insert(second, limits);
        settings.payment_confirmation_ms = 30_000;
        settings
    }
}
