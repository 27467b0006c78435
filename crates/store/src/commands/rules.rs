//! Setting risk rules: a new version, beside all that were before.

use platform::risk::RuleSet;
use platform::{Caller, Change, Event, Reason, Refusal, UnixMs};

use crate::rows::RulesRow;
use crate::{Command, Env, Failure, StoreError, Tables};

/// What the audit trail calls the rules.
pub const RULES_SUBJECT: &str = "risk-rules";
/// Versions that one batch may set, beside the newest of before.
const MAX_TRIES: u32 = 1_024;

/// Sets new risk rules. Versions are only ever added.
pub struct SetRules {
    /// The rules; their version is given by the store.
    pub rules: RuleSet,
    /// Only if this is the newest version, where that is said: so that nobody writes over what he has not seen.
    pub after: Option<u32>,
    /// Why, for the audit trail: up to 100 bytes.
    pub why: String,
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for SetRules {
    /// The rules under their version.
    type Answer = RuleSet;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<RuleSet, Failure> {
        let why = match self.why.trim() {
            "" => String::new(),
            why => platform::accounts::display_name(why, "why")?,
        };
        let mut newest = tables.newest_rules_version()?;
        // What this batch has set already is not in the list yet.
        let mut tries = 0;
        while tables.rule_set(newest + 1)?.is_some() {
            newest += 1;
            tries += 1;
            if tries > MAX_TRIES {
                return Err(StoreError::Corrupt("rule_versions").into());
            }
        }
        if self.after.is_some_and(|after| after != newest) {
            return Err(Refusal::at(Reason::RulesChanged, "after").into());
        }
        let rules = RuleSet { version: newest + 1, ..self.rules.clone() };
        tables.put_rule_set(&RulesRow {
            version: rules.version,
            at_ms: self.now_ms,
            by: Caller::Operator.name(),
            why: why.clone(),
            text: rules.to_json().to_string(),
        })?;
        let event = Event {
            at_ms: self.now_ms,
            subject: RULES_SUBJECT.to_owned(),
            name: "rules_set",
            actor: Caller::Operator.name(),
            why: if why.is_empty() {
                format!("version {}", rules.version)
            } else {
                format!("version {}: {why}", rules.version)
            },
        };
        tables.apply(&Change::AddEvent(event))?;
        Ok(rules)
    }
}
