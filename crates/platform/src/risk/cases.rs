//! The table of cases for rules: each kind just below and just above where it fires.

use super::*;
use crate::{AccountId, TokenId};

const NOW_MS: UnixMs = 1_763_890_000_000;

fn settings() -> Settings {
    Settings::default()
}

fn parsed(extra: &str) -> RuleSet {
    let text = format!(
        r#"{{"rules": [{{"name": "single", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 500000}},
            {{"name": "day", "effect": "decline", "kind": "sum", "per": "day", "of": "account", "currency": "CNY", "max": 900000}},
            {extra}]}}"#
    );
    RuleSet::parse(&text, 3, &settings()).unwrap()
}

struct Known {
    minor: u64,
    verified: bool,
    category: Option<Category>,
    position: Option<Position>,
    day_use: DayUse,
    history: History,
    guesses: Guesses,
    token_created_ms: UnixMs,
}

impl Default for Known {
    fn default() -> Self {
        let account = AccountId([1; 16]);
        let day_use = DayUse { account, currency: Currency::CNY, day: 5, total_minor: 0, unverified_minor: 0 };
        Self {
            minor: 100,
            verified: true,
            category: None,
            position: None,
            day_use,
            history: History { payments: 500, ..History::empty(account, TokenId([2; 16]), 5) },
            guesses: Guesses::default(),
            token_created_ms: NOW_MS - 1_000,
        }
    }
}

impl Known {
    fn decided(&self, rules: &RuleSet) -> Option<(String, Effect, Cause, u64, u64)> {
        let facts = Facts {
            amount: Amount::new(self.minor, Currency::CNY).unwrap(),
            verified: self.verified,
            category: self.category,
            position: self.position,
            day_use: &self.day_use,
            history: &self.history,
            guesses: &self.guesses,
            token_created_ms: self.token_created_ms,
            now_ms: NOW_MS,
        };
        rules.decide(&facts).map(|fired| (fired.rule, fired.effect, fired.cause, fired.seen, fired.bound))
    }
}

fn place(latitude: f64, longitude: f64) -> Option<Position> {
    Some(Position::from_degrees(latitude, longitude).unwrap())
}

#[test]
fn each_kind_of_rule_fires_just_above_its_bound_and_not_at_it() {
    let seconds_ago = |seconds: u64| NOW_MS - seconds * 1_000;
    let with = |history: History| Known { history, ..Known::default() };
    let history = || Known::default().history;
    let food = Category::parse("5411").ok();
    let spent = |day: u64, month: u64| Spent {
        day_number: 5,
        day: Sums { total_minor: day, unverified_minor: day },
        month: Sums { total_minor: month, unverified_minor: month },
    };
    let away = |hours: u64| {
        let last_place = place(39.9, 116.4).map(|place| (place, seconds_ago(hours * 3_600)));
        Known { position: place(31.2, 121.5), ..with(History { last_place, ..history() }) }
    };
    let of_food = |known: Known| Known { category: food, ..known };
    // rule, what is known just below it, just above it
    for (rule, quiet, fires) in [
        (
            r#""kind": "payment", "currency": "CNY", "max": 100"#,
            Known::default(),
            Known { minor: 101, ..Known::default() },
        ),
        (
            r#""kind": "sum", "per": "month", "of": "account", "currency": "CNY", "max": 1000"#,
            with(History { account_month: Sums { total_minor: 900, unverified_minor: 0 }, ..history() }),
            with(History { account_month: Sums { total_minor: 901, unverified_minor: 0 }, ..history() }),
        ),
        (
            r#""kind": "sum", "per": "day", "of": "token", "currency": "CNY", "max": 1000"#,
            with(History { token: spent(900, 5_000), ..history() }),
            with(History { token: spent(901, 5_000), ..history() }),
        ),
        (
            r#""kind": "sum", "per": "month", "of": "category", "categories": ["5411"], "currency": "CNY", "max": 1000"#,
            of_food(with(History { categories: vec![(food.unwrap(), spent(0, 900))], ..history() })),
            of_food(with(History { categories: vec![(food.unwrap(), spent(0, 901))], ..history() })),
        ),
        (
            r#""kind": "velocity", "of": "token", "payments": 2, "minutes": 1"#,
            with(history().with_recent([seconds_ago(5), seconds_ago(60)])),
            with(history().with_recent([seconds_ago(5), seconds_ago(59)])),
        ),
        (
            r#""kind": "velocity", "of": "account", "payments": 1, "minutes": 1"#,
            with(History { others: vec![seconds_ago(60)], ..history() }),
            with(History { others: vec![seconds_ago(59)], ..history() }),
        ),
        (
            r#""kind": "wrong_codes", "codes": 3, "minutes": 10"#,
            Known { guesses: Guesses { since_ms: seconds_ago(9), codes: 2, merchants: vec![] }, ..Known::default() },
            Known { guesses: Guesses { since_ms: seconds_ago(9), codes: 3, merchants: vec![] }, ..Known::default() },
        ),
        // 1,068 km from Beijing to Shanghai.
        (r#""kind": "travel", "km_per_hour": 500, "at_least_km": 50"#, away(3), away(2)),
        (
            r#""kind": "first_payments", "payments": 3"#,
            with(History { payments: 3, ..history() }),
            with(History { payments: 2, ..history() }),
        ),
        (
            r#""kind": "dormant", "days": 90"#,
            Known { token_created_ms: seconds_ago(90 * 86_400 - 1), ..Known::default() },
            Known { token_created_ms: seconds_ago(90 * 86_400), ..Known::default() },
        ),
        (r#""kind": "always", "passcode": "without""#, Known::default(), Known { verified: false, ..Known::default() }),
        (r#""kind": "always", "categories": ["5411"]"#, Known::default(), of_food(Known::default())),
        (
            r#""kind": "always", "currency": "CNY", "above": 100"#,
            Known::default(),
            Known { minor: 101, ..Known::default() },
        ),
    ] {
        for effect in ["decline", "confirm"] {
            let rules = parsed(&format!(r#"{{"name": "it", "effect": "{effect}", {rule}}}"#));
            assert_eq!(quiet.decided(&rules), None, "{rule}");
            let (name, did, ..) = fires.decided(&rules).unwrap_or_else(|| panic!("{rule} does not fire"));
            assert_eq!((name.as_str(), did.name()), ("it", effect), "{rule}");
            let written = rules.to_json().to_string();
            assert_eq!(RuleSet::parse(&written, 3, &settings()), Ok(rules), "{rule}: written and read");
        }
    }
}

#[test]
fn each_kind_of_rule_looks_at_what_it_says_and_at_nothing_beside() {
    let seconds_ago = |seconds: u64| NOW_MS - seconds * 1_000;
    let with = |history: History| Known { history, ..Known::default() };
    let history = || Known::default().history;
    let sums = |total_minor, unverified_minor| Sums { total_minor, unverified_minor };
    let day = |total_minor, unverified_minor| {
        let known = Known { verified: false, ..Known::default() };
        Known { day_use: DayUse { total_minor, unverified_minor, ..known.day_use }, ..known }
    };
    let month_of_token = |month, account_month| {
        let token = Spent { month: sums(month, 0), ..history().token };
        with(History { token, account_month: sums(account_month, 0), ..history() })
    };
    let guessed = |seconds: u64| Known {
        guesses: Guesses { since_ms: seconds_ago(seconds), codes: 5, merchants: vec![] },
        ..Known::default()
    };
    let (beijing, shanghai) = (place(39.9, 116.4), place(31.2, 121.5));
    let within_an_hour = |to| {
        let last_place = beijing.map(|place| (place, seconds_ago(3_600)));
        Known { position: to, ..with(History { last_place, ..history() }) }
    };
    const DAY_S: u64 = 86_400;
    // rule, what it must not look at, what it must
    for (rule, beside, meant) in [
        (
            r#""kind": "velocity", "of": "token", "payments": 1, "minutes": 1"#,
            with(History { others: vec![seconds_ago(1), seconds_ago(2)], ..history() }),
            with(history().with_recent([seconds_ago(1)])),
        ),
        (
            r#""kind": "sum", "per": "day", "of": "account", "passcode": "without", "currency": "CNY", "max": 1000"#,
            day(5_000, 900),
            day(5_000, 901),
        ),
        (
            r#""kind": "sum", "per": "month", "of": "token", "currency": "CNY", "max": 1000"#,
            month_of_token(900, 5_000),
            month_of_token(901, 0),
        ),
        (r#""kind": "wrong_codes", "codes": 5, "minutes": 10"#, guessed(601), guessed(600)),
        // Faster than anybody, and too near to tell: 1,068 km in an hour.
        (
            r#""kind": "travel", "km_per_hour": 1, "at_least_km": 1000"#,
            within_an_hour(place(39.9, 117.4)),
            within_an_hour(shanghai),
        ),
        (
            r#""kind": "dormant", "days": 90"#,
            with(history().with_recent([seconds_ago(89 * DAY_S), seconds_ago(200 * DAY_S)])),
            with(history().with_recent([seconds_ago(90 * DAY_S), seconds_ago(200 * DAY_S)])),
        ),
    ] {
        let rules = parsed(&format!(r#"{{"name": "it", "effect": "decline", {rule}}}"#));
        assert_eq!(beside.decided(&rules), None, "{rule}");
        assert!(meant.decided(&rules).is_some(), "{rule}");
    }
}

#[test]
fn the_rules_of_one_currency_are_nothing_to_payments_in_another() {
    let little = crate::Limits { unconfirmed_minor: 1, single_minor: 1, day_minor: 1, day_unverified_minor: 1 };
    let mut settings = settings();
    settings.limits.insert(Currency::parse("USD").unwrap(), little);
    let rules = RuleSet::built_in(&settings);
    assert_eq!(rules.rules.len(), 8, "four for each currency");
    assert_eq!(Known { minor: 200_000, ..Known::default() }.decided(&rules), None);
}

#[test]
fn what_rules_cannot_know_does_not_fire() {
    let travel = parsed(r#"{"name": "it", "effect": "confirm", "kind": "travel", "km_per_hour": 1, "at_least_km": 0}"#);
    let shanghai = place(31.2, 121.5);
    assert_eq!(Known { position: shanghai, ..Known::default() }.decided(&travel), None, "its first place");
    let last_place = shanghai.map(|place| (place, NOW_MS));
    let history = History { last_place, ..Known::default().history };
    assert_eq!(
        Known { history: history.clone(), ..Known::default() }.decided(&travel),
        None,
        "a till nobody has placed"
    );
    assert_eq!(Known { history, position: shanghai, ..Known::default() }.decided(&travel), None, "the same till");
}

#[test]
fn a_rule_that_declines_comes_before_one_that_asks_and_then_the_order_counts() {
    let rules = parsed(
        r#"{"name": "ask", "effect": "confirm", "kind": "always"}, {"name": "no", "effect": "decline", "kind": "always"},
           {"name": "never", "effect": "decline", "kind": "always"}"#,
    );
    let (name, ..) = Known::default().decided(&rules).unwrap();
    assert_eq!(name, "no");
    let (name, ..) = Known { minor: 500_001, ..Known::default() }.decided(&rules).unwrap();
    assert_eq!(name, "single");
}

#[test]
fn the_rules_before_any_are_set_are_the_settings_limits() {
    let rules = RuleSet::built_in(&settings());
    for (minor, verified, day, unverified, expected) in [
        (200_000, true, 0, 0, None),
        (200_001, true, 0, 0, Some((Effect::Confirm, Cause::Payment, Decline::LimitSingle))),
        (500_001, true, 0, 0, Some((Effect::Decline, Cause::Payment, Decline::LimitSingle))),
        (1, true, 499_999, 0, None),
        (2, true, 499_999, 0, Some((Effect::Decline, Cause::Day, Decline::LimitDay))),
        (1, false, 99_999, 99_999, None),
        (2, false, 99_999, 99_999, Some((Effect::Decline, Cause::DayUnverified, Decline::LimitUnverified))),
    ] {
        let mut known = Known { minor, verified, ..Known::default() };
        known.day_use.total_minor = day;
        known.day_use.unverified_minor = unverified;
        let decided = known.decided(&rules).map(|(_, effect, cause, ..)| (effect, cause, cause.decline()));
        assert_eq!(decided, expected, "{minor} {verified} {day}");
    }
}

#[test]
fn which_payments_a_set_may_ask_the_phone_about() {
    let cny = |minor| Amount::new(minor, Currency::CNY).unwrap();
    let rules = RuleSet::built_in(&settings());
    assert!(!rules.may_ask(cny(200_000)) && rules.may_ask(cny(200_001)));
    assert!(!rules.may_ask(Amount::new(200_001, Currency::parse("USD").unwrap()).unwrap()));
    let velocity =
        r#"{"name": "it", "effect": "confirm", "kind": "velocity", "of": "token", "payments": 1, "minutes": 1}"#;
    assert!(parsed(velocity).may_ask(cny(1)) && !parsed(&velocity.replace("confirm", "decline")).may_ask(cny(1)));
}

#[test]
fn each_mistake_in_a_rule_set_is_told_with_its_field() {
    let limits = r#"{"name": "single", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 5},
        {"name": "day", "effect": "decline", "kind": "sum", "per": "day", "of": "account", "currency": "CNY", "max": 9}"#;
    let rule = |fields: &str| format!(r#"{{"rules": [{limits}, {{"name": "it", "effect": "confirm", {fields}}}]}}"#);
    let long = format!(r#"{{"rules": "{}"}}"#, "x".repeat(file::MAX_RULES_BYTES));
    let many = format!(r#"{{"rules": [{}]}}"#, vec!["1"; MAX_RULES + 1].join(","));
    let nine: Vec<String> = (1_000..1_009).map(|number| format!("\"{number}\"")).collect();
    let sum_of = |categories: &str| {
        rule(&format!(
            r#""kind": "sum", "per": "day", "of": "category", "currency": "CNY", "max": 1, "categories": [{categories}]"#
        ))
    };
    for (text, code, field) in [
        ("{".to_owned(), "json_malformed", "line 1"),
        (long, "rules_too_long", "rules"),
        ("[]".to_owned(), "field_malformed", "rules"),
        ("{}".to_owned(), "field_missing", "rules"),
        (r#"{"rules": 1}"#.to_owned(), "field_malformed", "rules"),
        (r#"{"rules": [], "more": 1}"#.to_owned(), "field_unknown", "more"),
        (many, "too_many_rules", "rules"),
        (r#"{"rules": [1]}"#.to_owned(), "field_malformed", "rules[0]"),
        (r#"{"rules": []}"#.to_owned(), "limit_missing", "rules"),
        (format!(r#"{{"rules": [{}]}}"#, &limits[..limits.find("},").unwrap() + 1]), "limit_missing", "rules"),
        (r#"{"rules": [{"effect": "confirm", "kind": "always"}]}"#.to_owned(), "field_missing", "rules[0].name"),
        (
            r#"{"rules": [{"name": "A b", "effect": "confirm", "kind": "always"}]}"#.to_owned(),
            "name_malformed",
            "rules[0].name",
        ),
        (rule(r#""kind": "always", "colour": 1"#), "field_unknown", "rules[2].colour"),
        (rule(r#""kind": "maybe""#), "kind_unknown", "rules[2].kind"),
        (rule(r#""kind": 7"#), "field_malformed", "rules[2].kind"),
        (rule(r#""kind": "always", "currency": "yuan""#), "currency_invalid", "rules[2].currency"),
        (rule(r#""kind": "always", "currency": "USD""#), "currency_not_offered", "rules[2].currency"),
        (rule(r#""kind": "always", "passcode": "maybe""#), "field_malformed", "rules[2].passcode"),
        (rule(r#""kind": "always", "above": 5"#), "currency_missing", "rules[2].currency"),
        (rule(r#""kind": "always", "currency": "CNY", "above": 1.5"#), "number_invalid", "rules[2].above"),
        (rule(r#""kind": "always", "categories": []"#), "field_malformed", "rules[2].categories"),
        (rule(r#""kind": "always", "categories": ["5411", "54"]"#), "category_malformed", "rules[2].categories[1]"),
        (rule(r#""kind": "payment", "max": 5"#), "currency_missing", "rules[2].currency"),
        (rule(r#""kind": "payment", "currency": "CNY""#), "field_missing", "rules[2].max"),
        (rule(r#""kind": "payment", "currency": "CNY", "max": -1"#), "number_invalid", "rules[2].max"),
        (
            rule(r#""kind": "sum", "per": "week", "of": "account", "currency": "CNY", "max": 1"#),
            "field_malformed",
            "rules[2].per",
        ),
        (
            rule(r#""kind": "sum", "per": "day", "of": "category", "currency": "CNY", "max": 1"#),
            "categories_missing",
            "rules[2].categories",
        ),
        (
            rule(r#""kind": "velocity", "of": "category", "payments": 1, "minutes": 1"#),
            "field_malformed",
            "rules[2].of",
        ),
        (
            rule(r#""kind": "velocity", "of": "token", "payments": 10, "minutes": 1"#),
            "number_invalid",
            "rules[2].payments",
        ),
        (
            rule(r#""kind": "velocity", "of": "token", "payments": 1, "minutes": 0"#),
            "number_invalid",
            "rules[2].minutes",
        ),
        (rule(r#""kind": "travel", "km_per_hour": 0, "at_least_km": 1"#), "number_invalid", "rules[2].km_per_hour"),
        (rule(r#""kind": "dormant", "days": "90""#), "number_invalid", "rules[2].days"),
        (sum_of(&nine.join(",")), "too_many_categories", "rules"),
        (format!(r#"{{"rules": [{limits}, {limits}]}}"#), "name_taken", "rules[2].name"),
    ] {
        let fault = RuleSet::parse(&text, 1, &settings()).unwrap_err();
        assert_eq!((fault.code, fault.field.as_str()), (code, field), "{text}: {fault}");
        assert!(fault.message.ends_with('.'), "{fault}");
    }
    assert!(RuleSet::parse(&rule(r#""kind": "always""#), 1, &settings()).is_ok());
}

use super::history::Spent;
