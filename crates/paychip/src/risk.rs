//! The operator's risk rules: shown, checked, set, tried on the past, and why a payment was decided as it was.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::api::{number, text};
use crate::books::{in_query, moment};
use crate::cli::RiskCommand;
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

/// The longest file of rules that is read, bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

pub(crate) fn run(place: &Place, command: RiskCommand, output: Output) -> Result<(), Fault> {
    let api = place.operator()?;
    match command {
        RiskCommand::Show { version } => {
            let query = version.map(|version| format!("?version={version}")).unwrap_or_default();
            let answer = api.get(&format!("/v1/risk/rules{query}"))?;
            output.answer(&rules_lines(&answer)?, &answer);
        }
        RiskCommand::Versions => {
            let answer = api.get("/v1/risk/versions")?;
            let mut lines = String::from("Versions of the risk rules, newest first:");
            for version in answer.as_array().into_iter().flatten() {
                let field = |name: &str| version.get(name).and_then(Value::as_str).unwrap_or("");
                let at = moment(number(version, "at_ms")?);
                let _ =
                    write!(lines, "\n  {:>4}  {at}  by {}  {}", number(version, "version")?, field("by"), field("why"));
            }
            output.answer(&lines, &answer);
        }
        RiskCommand::Check { file } => {
            let answer = api.post("/v1/risk/rules/check", &json!({ "rules": rules_in(&file)? }))?;
            output.answer("No mistakes.", &answer);
        }
        RiskCommand::Set { file, why, after } => {
            let body = json!({"rules": rules_in(&file)?, "why": why, "after": after});
            let answer = api.post("/v1/risk/rules", &body)?;
            let line = format!("The risk rules are version {} now.", number(&answer, "version")?);
            output.answer(&line, &answer);
        }
        RiskCommand::DryRun { file, since } => {
            let body = json!({"rules": rules_in(&file)?, "since_ms": since.as_deref().map(since_ms).transpose()?});
            let answer = api.post("/v1/risk/dry-runs", &body)?;
            output.answer(&dry_run_lines(&answer)?, &answer);
        }
        RiskCommand::Explain { payment } => {
            let answer = api.get(&format!("/v1/risk/payments/{}", in_query(&payment)))?;
            output.answer(&explanation(&answer)?, &answer);
        }
    }
    Ok(())
}

/// The list of rules in a file.
fn rules_in(file: &Path) -> Result<Value, Fault> {
    let length = std::fs::metadata(file).map_err(|error| Fault::file(file, error))?.len();
    if length > MAX_FILE_BYTES {
        return Err(Fault::new("rules_too_long", format!("{} is too long for risk rules", file.display())));
    }
    let bytes = std::fs::read(file).map_err(|error| Fault::file(file, error))?;
    let mut document: Value = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::new("json_malformed", format!("{}: {error}", file.display())).at(format!("line {}", error.line()))
    })?;
    let Some(object) = document.as_object_mut() else {
        return Err(Fault::new("field_malformed", "a file of risk rules is an object with a list `rules`").at("rules"));
    };
    let rules = object.remove("rules").ok_or_else(|| Fault::new("field_missing", "`rules` is missing").at("rules"))?;
    match object.keys().next() {
        None => Ok(rules),
        Some(other) => Err(Fault::new("field_unknown", format!("`{other}` is not known here")).at(other.clone())),
    }
}

/// A moment: a date and time, a date, or how long ago, such as `7d`, `12h` or `30m`.
fn since_ms(since: &str) -> Result<i64, Fault> {
    let wrong = || {
        let message = "say a date, a date and time, or how long ago: 2026-11-23, 2026-11-23T08:00:00Z, 7d, 12h, 30m";
        Fault::new("since_malformed", message).at("since")
    };
    const MS_PER_MINUTE: i64 = 60_000;
    let units = [('d', 1_440 * MS_PER_MINUTE), ('h', 60 * MS_PER_MINUTE), ('m', MS_PER_MINUTE)];
    let ago =
        units.iter().find_map(|(unit, ms)| since.strip_suffix(*unit)?.parse::<u32>().ok().map(|n| i64::from(n) * ms));
    if let Some(ago) = ago {
        return Ok((jiff::Timestamp::now().as_millisecond() - ago).max(0));
    }
    let stamp = since.parse::<jiff::Timestamp>().ok().or_else(|| {
        let date = since.parse::<jiff::civil::Date>().ok()?;
        date.to_zoned(jiff::tz::TimeZone::system()).ok().map(|start| start.timestamp())
    });
    stamp.map(|stamp| stamp.as_millisecond().max(0)).ok_or_else(wrong)
}

fn rules_lines(answer: &Value) -> Result<String, Fault> {
    let mut lines = format!("Version {}", number(answer, "version")?);
    match answer.get("at_ms").and_then(Value::as_i64) {
        Some(at_ms) => {
            let _ = write!(lines, ", set {} by {}", moment(at_ms), text(answer, "by")?);
        }
        None => lines.push_str(": the limits of the settings; no rules were set"),
    }
    let rules = json!({ "rules": answer.get("rules") });
    let rules = serde_json::to_string_pretty(&rules).map_err(|error| Fault::internal(error.to_string()))?;
    let _ = write!(lines, "\n{rules}");
    Ok(lines)
}

fn dry_run_lines(answer: &Value) -> Result<String, Fault> {
    let count = |name: &str| number(answer, name);
    let mut lines = format!(
        "{} payments since {}: {} would have been decided otherwise; {} declined, {} asked about, {} passed",
        count("payments")?,
        moment(count("since_ms")?),
        count("differ")?,
        count("now_declined")?,
        count("now_asked")?,
        count("now_passed")?
    );
    for difference in answer.get("first").and_then(Value::as_array).into_iter().flatten() {
        let fired = difference.get("fired").filter(|fired| fired.is_object());
        let why = match fired {
            Some(fired) => format!("{}: {}", text(fired, "rule")?, text(fired, "why")?),
            None => "no rule fires".to_owned(),
        };
        let (payment, then, now) = (text(difference, "payment")?, text(difference, "then")?, text(difference, "now")?);
        let _ = write!(lines, "\n  {payment}  {then} -> {now}  {why}");
    }
    Ok(lines)
}

fn explanation(answer: &Value) -> Result<String, Fault> {
    let mut lines = format!("{} is {}", text(answer, "payment")?, text(answer, "state")?);
    if let Some(failure) = answer.get("failure").and_then(Value::as_str) {
        let _ = write!(lines, " ({failure})");
    }
    match answer.get("version").and_then(Value::as_i64) {
        None => lines.push_str("\nThe risk rules were not asked: it had failed before."),
        Some(version) => {
            let _ = write!(lines, "\nDecided under version {version} of the risk rules");
            match answer.get("fired").filter(|fired| fired.is_object()) {
                None => lines.push_str(": no rule fired."),
                Some(fired) => {
                    let effect = if text(fired, "effect")? == "decline" { "declined it" } else { "asked the phone" };
                    let _ = write!(lines, ": the rule `{}` {effect}. {}.", text(fired, "rule")?, text(fired, "why")?);
                }
            }
        }
    }
    Ok(lines)
}
