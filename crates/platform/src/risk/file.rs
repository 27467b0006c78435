//! Rules as the operator writes them: a JSON object with a list of rules. Every mistake is told with the field it lies in, a
//! stable code and a sentence; nothing that is not understood is passed over.
//!
//! ```json
//! {"rules": [
//!   {"name": "single", "effect": "decline", "kind": "payment", "currency": "CNY", "max": 500000},
//!   {"name": "hurry",  "effect": "confirm", "kind": "velocity", "of": "token", "payments": 4, "minutes": 10}
//! ]}
//! ```

use std::collections::BTreeSet;

use ledger::Currency;
use serde_json::{Map, Value, json};

use super::history::MAX_CATEGORIES;
use super::{Effect, MAX_RULE_NAME, MAX_RULES, Period, RECENT_PAYMENTS, Rule, RuleSet, Test, When, Whose};
use crate::Settings;
use crate::merchants::Category;

/// The longest text of a rule set, bytes.
pub const MAX_RULES_BYTES: usize = 12 * 1024;
/// The most categories one rule names.
const MAX_RULE_CATEGORIES: usize = 32;
/// The longest time a rule looks back, minutes: a week.
const MAX_MINUTES: u64 = 7 * 24 * 60;

/// A mistake in a rule set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// A stable code, for programs.
    pub code: &'static str,
    /// Where: such as `rules[2].max`.
    pub field: String,
    /// A sentence for people.
    pub message: String,
}

impl core::fmt::Display for RuleFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} [{}] (at {})", self.message, self.code, self.field)
    }
}

impl std::error::Error for RuleFault {}

fn fault(code: &'static str, field: impl Into<String>, message: impl Into<String>) -> RuleFault {
    RuleFault { code, field: field.into(), message: message.into() }
}

impl RuleSet {
    /// Reads a rule set, for the currencies this operator offers.
    ///
    /// # Errors
    /// The first [`RuleFault`].
    pub fn parse(text: &str, version: u32, settings: &Settings) -> Result<Self, RuleFault> {
        if text.len() > MAX_RULES_BYTES {
            let message = format!("A rule set may hold {MAX_RULES_BYTES} bytes.");
            return Err(fault("rules_too_long", "rules", message));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            fault("json_malformed", format!("line {}", error.line()), format!("This is not JSON: {error}."))
        })?;
        let mut set = Fields::of(value, String::new())?;
        let rules = match set.take("rules") {
            Some(Value::Array(rules)) => rules,
            Some(_) => return Err(fault("field_malformed", "rules", "`rules` must be a list of rules.")),
            None => return Err(fault("field_missing", "rules", "A rule set has a list `rules`.")),
        };
        set.end()?;
        if rules.len() > MAX_RULES {
            return Err(fault("too_many_rules", "rules", format!("A rule set may have {MAX_RULES} rules.")));
        }
        let rules = rules.into_iter().enumerate();
        let rules =
            rules.map(|(place, rule)| read_rule(rule, format!("rules[{place}]"))).collect::<Result<Vec<_>, _>>()?;
        let set = Self { version, rules };
        set.check(settings)?;
        Ok(set)
    }

    /// What no rule by itself can be wrong about.
    fn check(&self, settings: &Settings) -> Result<(), RuleFault> {
        let mut names = BTreeSet::new();
        for (place, rule) in self.rules.iter().enumerate() {
            if !names.insert(&rule.name) {
                let message = format!("Two rules are called `{}`.", rule.name);
                return Err(fault("name_taken", format!("rules[{place}].name"), message));
            }
            if let Some(currency) = rule.when.currency.filter(|currency| !settings.limits.contains_key(currency)) {
                let message = format!("This operator keeps no accounts in {currency}.");
                return Err(fault("currency_not_offered", format!("rules[{place}].currency"), message));
            }
        }
        let summed: BTreeSet<Category> = self.summed_categories().collect();
        if summed.len() > MAX_CATEGORIES {
            let message = format!("Payments of at most {MAX_CATEGORIES} categories can be added up.");
            return Err(fault("too_many_categories", "rules", message));
        }
        // Without this an operator who forgets a line lets any sum through.
        for currency in settings.limits.keys() {
            let bounds = |rule: &&Rule| {
                let When { currency: of, verified, categories, above_minor } = &rule.when;
                rule.effect == Effect::Decline
                    && *of == Some(*currency)
                    && verified.is_none()
                    && categories.is_empty()
                    && *above_minor == 0
            };
            let bound = |wanted: fn(&Test) -> bool| self.rules.iter().filter(bounds).any(|rule| wanted(&rule.test));
            if !bound(|test| matches!(test, Test::Payment { .. })) {
                let message =
                    format!("No rule declines a payment in {currency} that is too large: say one of kind `payment`.");
                return Err(fault("limit_missing", "rules", message));
            }
            if !bound(|test| matches!(test, Test::Sum { whose: Whose::Account, .. })) {
                let message =
                    format!("No rule bounds what an account pays in {currency}: say one of kind `sum` of `account`.");
                return Err(fault("limit_missing", "rules", message));
            }
        }
        Ok(())
    }

    /// The rules as they are written: what [`RuleSet::parse`] reads.
    pub fn to_json(&self) -> Value {
        json!({ "rules": self.rules.iter().map(write_rule).collect::<Vec<_>>() })
    }
}

fn read_rule(rule: Value, at: String) -> Result<Rule, RuleFault> {
    let mut fields = Fields::of(rule, at)?;
    let name = fields.text("name")?;
    let fits = (1..=MAX_RULE_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits {
        let message = format!("A name has 1 to {MAX_RULE_NAME} of `a`–`z`, `0`–`9` and `-`.");
        return Err(fault("name_malformed", fields.at("name"), message));
    }
    let effect = fields.one_of("effect", &[("decline", Effect::Decline), ("confirm", Effect::Confirm)])?;
    let kind = fields.text("kind")?;
    let when = read_when(&mut fields)?;
    let test = read_test(&kind, &mut fields, &when)?;
    fields.end()?;
    Ok(Rule { name, effect, when, test })
}

fn read_when(fields: &mut Fields) -> Result<When, RuleFault> {
    let currency = match fields.maybe_text("currency")? {
        None => None,
        Some(text) => Some(Currency::parse(&text).map_err(|_| {
            fault("currency_invalid", fields.at("currency"), "A currency is three upper-case letters of ISO 4217.")
        })?),
    };
    let verified = match fields.maybe_text("passcode")?.as_deref() {
        None => None,
        Some("with") => Some(true),
        Some("without") => Some(false),
        Some(_) => {
            return Err(fault("field_malformed", fields.at("passcode"), "`passcode` is `with` or `without`."));
        }
    };
    let categories = read_categories(fields)?;
    let above_minor = fields.maybe_number("above", 1, ledger::MAX_AMOUNT_MINOR)?.unwrap_or(0);
    if above_minor > 0 && currency.is_none() {
        return Err(fault("currency_missing", fields.at("currency"), "An amount is of a currency: say which."));
    }
    Ok(When { currency, verified, categories, above_minor })
}

fn read_categories(fields: &mut Fields) -> Result<Vec<Category>, RuleFault> {
    let at = fields.at("categories");
    let list = match fields.take("categories") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if (1..=MAX_RULE_CATEGORIES).contains(&list.len()) => list,
        Some(_) => {
            let message = format!("`categories` is a list of 1 to {MAX_RULE_CATEGORIES} merchant category codes.");
            return Err(fault("field_malformed", at, message));
        }
    };
    let read = |(place, category): (usize, Value)| {
        category.as_str().and_then(|text| Category::parse(text).ok()).ok_or_else(|| {
            let message = "A merchant category code is a text of four digits, such as \"5411\".";
            fault("category_malformed", format!("{at}[{place}]"), message)
        })
    };
    list.into_iter().enumerate().map(read).collect()
}

const WHOSE: [(&str, Whose); 3] = [("account", Whose::Account), ("token", Whose::Token), ("category", Whose::Category)];

fn read_test(kind: &str, fields: &mut Fields, when: &When) -> Result<Test, RuleFault> {
    let small = u64::from(u32::MAX);
    // All of these are held within 32 bits by their bounds.
    let test = match kind {
        "always" => Test::Always,
        "payment" => Test::Payment { max_minor: fields.number("max", 0, ledger::MAX_AMOUNT_MINOR)? },
        "sum" => Test::Sum {
            period: fields.one_of("per", &[("day", Period::Day), ("month", Period::Month)])?,
            whose: fields.one_of("of", &WHOSE)?,
            max_minor: fields.number("max", 0, ledger::MAX_AMOUNT_MINOR)?,
        },
        "velocity" => Test::Velocity {
            whose: fields.one_of("of", WHOSE.get(..2).unwrap_or_default())?,
            payments: fields.number("payments", 0, RECENT_PAYMENTS as u64 - 1)? as u32,
            minutes: fields.number("minutes", 1, MAX_MINUTES)? as u32,
        },
        "wrong_codes" => Test::WrongCodes {
            codes: fields.number("codes", 1, small)? as u32,
            minutes: fields.number("minutes", 1, MAX_MINUTES)? as u32,
        },
        "travel" => Test::Travel {
            km_per_hour: fields.number("km_per_hour", 1, 100_000)? as u32,
            at_least_km: fields.number("at_least_km", 0, 20_100)? as u32,
        },
        "first_payments" => Test::FirstPayments { payments: fields.number("payments", 1, 1_000)? as u32 },
        "dormant" => Test::Dormant { days: fields.number("days", 1, 3_650)? as u32 },
        _ => {
            let message = "A kind is `always`, `payment`, `sum`, `velocity`, `wrong_codes`, `travel`, `first_payments` or `dormant`.";
            return Err(fault("kind_unknown", fields.at("kind"), message));
        }
    };
    if matches!(test, Test::Payment { .. } | Test::Sum { .. }) && when.currency.is_none() {
        return Err(fault("currency_missing", fields.at("currency"), "An amount is of a currency: say which."));
    }
    if matches!(test, Test::Sum { whose: Whose::Category, .. }) && when.categories.is_empty() {
        let message = "A sum of a category says which: `categories`.";
        return Err(fault("categories_missing", fields.at("categories"), message));
    }
    Ok(test)
}

fn write_rule(rule: &Rule) -> Value {
    let Rule { name, effect, when, test } = rule;
    let mut fields = match *test {
        Test::Always => json!({"kind": "always"}),
        Test::Payment { max_minor } => json!({"kind": "payment", "max": max_minor}),
        Test::Sum { period, whose, max_minor } => {
            let per = if period == Period::Day { "day" } else { "month" };
            json!({"kind": "sum", "per": per, "of": whose_name(whose), "max": max_minor})
        }
        Test::Velocity { whose, payments, minutes } => {
            json!({"kind": "velocity", "of": whose_name(whose), "payments": payments, "minutes": minutes})
        }
        Test::WrongCodes { codes, minutes } => json!({"kind": "wrong_codes", "codes": codes, "minutes": minutes}),
        Test::Travel { km_per_hour, at_least_km } => {
            json!({"kind": "travel", "km_per_hour": km_per_hour, "at_least_km": at_least_km})
        }
        Test::FirstPayments { payments } => json!({"kind": "first_payments", "payments": payments}),
        Test::Dormant { days } => json!({"kind": "dormant", "days": days}),
    };
    if let Some(fields) = fields.as_object_mut() {
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("name", json!(name));
        put("effect", json!(effect.name()));
        if let Some(currency) = when.currency {
            put("currency", json!(currency.to_string()));
        }
        if let Some(verified) = when.verified {
            put("passcode", json!(if verified { "with" } else { "without" }));
        }
        if !when.categories.is_empty() {
            put("categories", json!(when.categories.iter().map(ToString::to_string).collect::<Vec<_>>()));
        }
        if when.above_minor > 0 {
            put("above", json!(when.above_minor));
        }
    }
    fields
}

fn whose_name(whose: Whose) -> &'static str {
    WHOSE.iter().find(|(_, known)| *known == whose).map_or("account", |(name, _)| name)
}

/// The fields of an object, each taken once; what is left over is a mistake.
struct Fields {
    object: Map<String, Value>,
    at: String,
}

impl Fields {
    fn of(value: Value, at: String) -> Result<Self, RuleFault> {
        match value {
            Value::Object(object) => Ok(Self { object, at }),
            _ => Err(fault(
                "field_malformed",
                if at.is_empty() { "rules".to_owned() } else { at },
                "This must be an object.",
            )),
        }
    }

    fn at(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name)
    }

    fn missing(&self, name: &str) -> RuleFault {
        fault("field_missing", self.at(name), format!("`{name}` is missing."))
    }

    fn maybe_text(&mut self, name: &str) -> Result<Option<String>, RuleFault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(fault("field_malformed", self.at(name), format!("`{name}` must be a text."))),
        }
    }

    fn text(&mut self, name: &str) -> Result<String, RuleFault> {
        self.maybe_text(name)?.ok_or_else(|| self.missing(name))
    }

    fn one_of<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<T, RuleFault> {
        let text = self.text(name)?;
        let chosen = choices.iter().find(|(known, _)| *known == text).map(|(_, choice)| *choice);
        chosen.ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(known, _)| format!("`{known}`")).collect();
            fault("field_malformed", self.at(name), format!("`{name}` is {}.", names.join(" or ")))
        })
    }

    fn maybe_number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, RuleFault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64().filter(|number| (least..=most).contains(number));
        let message = || format!("`{name}` must be a whole number from {least} to {most}.");
        number.map(Some).ok_or_else(|| fault("number_invalid", self.at(name), message()))
    }

    fn number(&mut self, name: &str, least: u64, most: u64) -> Result<u64, RuleFault> {
        self.maybe_number(name, least, most)?.ok_or_else(|| self.missing(name))
    }

    fn end(self) -> Result<(), RuleFault> {
        match self.object.keys().next() {
            None => Ok(()),
            Some(name) => Err(fault("field_unknown", self.at(name), format!("`{name}` is not known here."))),
        }
    }
}
