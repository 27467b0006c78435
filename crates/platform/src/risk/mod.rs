//! Risk rules as data: what the operator allows, as a list it edits, and what each payment comes to under it.
//!
//! A rule looks at a payment, at what its account and token have paid lately, and at who is paid. Where it fires, the
//! payment is declined, or goes to the wearer's phone to be confirmed. Every decision names the version of the rules it was
//! made under, and the rule that decided.
//!
//! | file | holds |
//! |---|---|
//! | here | rules, what they are asked about, the decision |
//! | [`mod@file`] | rules as the operator writes them, and each mistake in them |
//! | [`history`] | what an account and a token have paid lately: all a rule may know, kept beside the balance |
//! | [`replay`] | stored payments under other rules |

pub mod file;
pub mod history;
pub mod replay;

use ledger::{Amount, Currency};

use crate::guesses::Guesses;
use crate::merchants::{Category, Position};
use crate::payments::{DayUse, Decline};
use crate::{Settings, UnixMs};

pub use file::RuleFault;
pub use history::{History, RECENT_PAYMENTS, Sums};

/// The most rules in a set.
pub const MAX_RULES: usize = 64;
/// The longest name of a rule, bytes.
pub const MAX_RULE_NAME: usize = 40;

/// A set of rules, under the version that every decision names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// Counted up with each change; 0 are the limits of the operator's settings, before anybody has set rules.
    pub version: u32,
    /// In the operator's order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What the operator calls it.
    pub name: String,
    /// What it does when it fires.
    pub effect: Effect,
    /// Which payments it looks at.
    pub when: When,
    /// When it fires.
    pub test: Test,
}

/// What a rule does when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Effect {
    /// The payment fails.
    Decline = 1,
    /// The wearer is asked on the phone.
    Confirm = 2,
}

impl Effect {
    /// The name in the file and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decline => "decline",
            Self::Confirm => "confirm",
        }
    }

    /// The effect with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Decline, Self::Confirm].into_iter().find(|effect| *effect as u8 == number)
    }
}

/// Which payments a rule looks at: all of what is said must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct When {
    /// Only those in this currency.
    pub currency: Option<Currency>,
    /// Only those with (`true`) or without (`false`) the wearer's passcode session.
    pub verified: Option<bool>,
    /// Only those to merchants of these categories; to any where empty.
    pub categories: Vec<Category>,
    /// Only those above this, minor units.
    pub above_minor: u64,
}

/// Whose payments are added up or counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All of the account.
    Account,
    /// Those of the token.
    Token,
    /// Those of the account to merchants of the same category.
    Category,
}

/// How long payments are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// The operator's day.
    Day,
    /// The month that day is in.
    Month,
}

/// When a rule fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Whenever it looks at a payment.
    Always,
    /// The payment is larger than this, minor units.
    Payment {
        /// The most that does not fire.
        max_minor: u64,
    },
    /// The payments of a period, this one with them, come to more than this.
    Sum {
        /// How long.
        period: Period,
        /// Whose.
        whose: Whose,
        /// The most that does not fire, minor units.
        max_minor: u64,
    },
    /// More payments than this within these minutes, this one with them.
    Velocity {
        /// Whose: the account's or the token's.
        whose: Whose,
        /// The most that do not fire, below [`RECENT_PAYMENTS`].
        payments: u32,
        /// Within how long.
        minutes: u32,
    },
    /// So many wrong codes named the token within these minutes, and no genuine one since.
    WrongCodes {
        /// The fewest that fire.
        codes: u32,
        /// Within how long.
        minutes: u32,
    },
    /// The till is further from the token's last one than anybody travels in the time between.
    Travel {
        /// The fastest that does not fire, kilometres an hour.
        km_per_hour: u32,
        /// Distances up to this never fire, kilometres.
        at_least_km: u32,
    },
    /// One of the first payments of a token after its binding.
    FirstPayments {
        /// How many.
        payments: u32,
    },
    /// The token has not paid for so many days.
    Dormant {
        /// How many.
        days: u32,
    },
}

/// What a rule fired for. The number is what is stored with the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is named as the test it stands for")]
pub enum Cause {
    Always = 1,
    Payment = 2,
    Day = 3,
    DayUnverified = 4,
    Month = 5,
    Velocity = 6,
    WrongCodes = 7,
    Travel = 8,
    FirstPayments = 9,
    Dormant = 10,
}

impl Cause {
    const ALL: [Self; 10] = [
        Self::Always,
        Self::Payment,
        Self::Day,
        Self::DayUnverified,
        Self::Month,
        Self::Velocity,
        Self::WrongCodes,
        Self::Travel,
        Self::FirstPayments,
        Self::Dormant,
    ];

    /// The cause with this stored number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == number)
    }

    /// What the till is told of a payment declined for it.
    pub const fn decline(self) -> Decline {
        match self {
            Self::Payment => Decline::LimitSingle,
            Self::Day => Decline::LimitDay,
            Self::DayUnverified => Decline::LimitUnverified,
            Self::Month => Decline::LimitMonth,
            _ => Decline::DeclinedByRisk,
        }
    }

    /// What it says of the two numbers kept with it: seen, and the most allowed.
    const fn sentence(self) -> (&'static str, &'static str) {
        match self {
            Self::Always => ("the rule fires for every payment it looks at", ""),
            Self::Payment => ("the payment is of this many minor units", "allowed are"),
            Self::Day => ("the day comes to this many minor units", "allowed are"),
            Self::DayUnverified => ("the day's payments without passcode come to this many minor units", "allowed are"),
            Self::Month => ("the month comes to this many minor units", "allowed are"),
            Self::Velocity => ("this many payments within the rule's minutes", "allowed are"),
            Self::WrongCodes => ("this many wrong codes had named the wearable", "the rule fires from"),
            Self::Travel => ("kilometres an hour since the wearable's last payment", "allowed are"),
            Self::FirstPayments => ("this is the wearable's payment number", "the rule looks at the first"),
            Self::Dormant => ("days since the wearable's last payment", "the rule fires from"),
        }
    }
}

/// Why a rule fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// Which rule.
    pub rule: String,
    /// What it did.
    pub effect: Effect,
    /// What for.
    pub cause: Cause,
    /// What was seen.
    pub seen: u64,
    /// What the rule allows, or fires from.
    pub bound: u64,
}

impl core::fmt::Display for Fired {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.cause.sentence() {
            (what, "") => f.write_str(what),
            (what, bound) => write!(f, "{what}: {}; {bound} {}", self.seen, self.bound),
        }
    }
}

/// What was decided about a payment, and under which rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The version of the rules.
    pub version: u32,
    /// The rule that decided; `None` where none fired.
    pub fired: Option<Fired>,
    /// Wrong codes that had named the token before this genuine one, for whoever runs other rules over it.
    pub wrong_codes: u32,
}

/// A payment, and all that rules may know of it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How much.
    pub amount: Amount,
    /// Whether the passcode session was open.
    pub verified: bool,
    /// What the merchant sells.
    pub category: Option<Category>,
    /// Where its tills stand.
    pub position: Option<Position>,
    /// What the account has paid on this day.
    pub day_use: &'a DayUse,
    /// What account and token have paid before.
    pub history: &'a History,
    /// Wrong codes that named the token since its last genuine one.
    pub guesses: &'a Guesses,
    /// When the token was made.
    pub token_created_ms: UnixMs,
    /// The present time.
    pub now_ms: UnixMs,
}

impl RuleSet {
    /// The rules before anybody has set any: the limits of the settings.
    pub fn built_in(settings: &Settings) -> Self {
        let mut rules = Vec::new();
        for (currency, limits) in &settings.limits {
            let mut rule = |name: &str, effect, verified, test| {
                let when = When { currency: Some(*currency), verified, ..When::default() };
                rules.push(Rule { name: format!("{name}-{currency}").to_lowercase(), effect, when, test });
            };
            let sum = |max_minor| Test::Sum { period: Period::Day, whose: Whose::Account, max_minor };
            rule("single", Effect::Decline, None, Test::Payment { max_minor: limits.single_minor });
            rule("day", Effect::Decline, None, sum(limits.day_minor));
            rule("day-without-passcode", Effect::Decline, Some(false), sum(limits.day_unverified_minor));
            rule("ask-above", Effect::Confirm, None, Test::Payment { max_minor: limits.unconfirmed_minor });
        }
        Self { version: 0, rules }
    }

    /// The rule that decides: the first that declines, else the first that asks the phone.
    pub fn decide(&self, facts: &Facts<'_>) -> Option<Fired> {
        let fired =
            |effect| self.rules.iter().filter(move |rule| rule.effect == effect).find_map(|rule| rule.fires(facts));
        fired(Effect::Decline).or_else(|| fired(Effect::Confirm))
    }

    /// Whether any rule may ask the phone about a payment of this amount.
    pub fn may_ask(&self, amount: Amount) -> bool {
        self.rules.iter().any(|rule| {
            let looks = rule.when.currency.is_none_or(|currency| currency == amount.currency());
            let fits = match rule.test {
                Test::Payment { max_minor } => amount.minor() > max_minor,
                _ => true,
            };
            rule.effect == Effect::Confirm && looks && fits
        })
    }

    /// The categories whose payments are added up.
    pub fn summed_categories(&self) -> impl Iterator<Item = Category> + '_ {
        let sums = |rule: &&Rule| matches!(rule.test, Test::Sum { whose: Whose::Category, .. });
        self.rules.iter().filter(sums).flat_map(|rule| rule.when.categories.iter().copied())
    }

    /// Whether a payment of this category goes into a sum of its own.
    pub fn sums(&self, category: Option<Category>) -> bool {
        category.is_some_and(|category| self.summed_categories().any(|summed| summed == category))
    }
}

impl When {
    fn looks_at(&self, facts: &Facts<'_>) -> bool {
        self.currency.is_none_or(|currency| currency == facts.amount.currency())
            && self.verified.is_none_or(|verified| verified == facts.verified)
            && (self.categories.is_empty() || facts.category.is_some_and(|known| self.categories.contains(&known)))
            && facts.amount.minor() > self.above_minor
    }
}

impl Rule {
    fn fires(&self, facts: &Facts<'_>) -> Option<Fired> {
        if !self.when.looks_at(facts) {
            return None;
        }
        let (cause, seen, bound, fires) = self.measure(facts)?;
        fires.then(|| Fired { rule: self.name.clone(), effect: self.effect, cause, seen, bound })
    }

    /// What the rule is about, what it sees, what it allows, whether it fires; nothing where it cannot tell.
    fn measure(&self, facts: &Facts<'_>) -> Option<(Cause, u64, u64, bool)> {
        let over = |cause, seen: u64, bound: u64| Some((cause, seen, bound, seen > bound));
        let minor = facts.amount.minor();
        match self.test {
            Test::Always => Some((Cause::Always, 0, 0, true)),
            Test::Payment { max_minor } => over(Cause::Payment, minor, max_minor),
            Test::Sum { period, whose, max_minor } => {
                let sums = facts.sums(period, whose);
                let unverified = self.when.verified == Some(false);
                let before = if unverified { sums.unverified_minor } else { sums.total_minor };
                let cause = match period {
                    Period::Month => Cause::Month,
                    Period::Day if unverified => Cause::DayUnverified,
                    Period::Day => Cause::Day,
                };
                over(cause, before.saturating_add(minor), max_minor)
            }
            Test::Velocity { whose, payments, minutes } => {
                let since_ms = facts.now_ms.saturating_sub(u64::from(minutes) * 60_000);
                let before = facts.history.payments_since(since_ms, whose == Whose::Token);
                over(Cause::Velocity, before + 1, u64::from(payments))
            }
            Test::WrongCodes { codes, minutes } => {
                let is_lately = facts.now_ms <= facts.guesses.since_ms.saturating_add(u64::from(minutes) * 60_000);
                let seen = if is_lately { facts.guesses.codes } else { 0 };
                Some((Cause::WrongCodes, u64::from(seen), u64::from(codes), seen >= codes))
            }
            Test::Travel { km_per_hour, at_least_km } => {
                let (place, at_ms) = facts.history.last_place?;
                let km = place.km_to(facts.position?);
                // At least a second, so that two places at once are as fast as can be told.
                let elapsed_s = facts.now_ms.saturating_sub(at_ms).max(1_000) / 1_000;
                let speed = u64::from(km) * 3_600 / elapsed_s;
                let bound = u64::from(km_per_hour);
                Some((Cause::Travel, speed, bound, km > at_least_km && speed > bound))
            }
            Test::FirstPayments { payments } => {
                let number = u64::from(facts.history.payments).saturating_add(1);
                Some((Cause::FirstPayments, number, u64::from(payments), number <= u64::from(payments)))
            }
            Test::Dormant { days } => {
                const MS_PER_DAY: u64 = 86_400_000;
                let last_ms = facts.history.recent.first().copied().unwrap_or(facts.token_created_ms);
                let slept = facts.now_ms.saturating_sub(last_ms) / MS_PER_DAY;
                Some((Cause::Dormant, slept, u64::from(days), slept >= u64::from(days)))
            }
        }
    }
}

impl Facts<'_> {
    fn sums(&self, period: Period, whose: Whose) -> Sums {
        let day = Sums { total_minor: self.day_use.total_minor, unverified_minor: self.day_use.unverified_minor };
        match (whose, period) {
            (Whose::Account, Period::Day) => day,
            (Whose::Account, Period::Month) => self.history.account_month,
            (Whose::Token, Period::Day) => self.history.token.day,
            (Whose::Token, Period::Month) => self.history.token.month,
            (Whose::Category, period) => {
                let spent = self.category.map(|category| self.history.of_category(category)).unwrap_or_default();
                if period == Period::Day { spent.day } else { spent.month }
            }
        }
    }
}

#[cfg(test)]
#[path = "cases.rs"]
mod tests;
