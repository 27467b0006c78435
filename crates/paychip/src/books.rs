//! Accounts, merchants, tokens and the audit: what an operator's or a wearer's page would do.

use std::fmt::Write;

use ledger::{Currency, format_minor, parse_minor};
use serde_json::{Value, json};

use crate::api::{Api, nothing, number, text};
use crate::cli::{AccountCommand, MerchantCommand, OneMerchant, OneToken, TokenCommand};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::{Party, Place};

/// A decimal amount as minor units.
pub fn minor_units(amount: &str, currency: &str) -> Result<u64, Fault> {
    let currency =
        Currency::parse(currency).map_err(|error| Fault::new(error.code(), error.to_string()).at("currency"))?;
    let amount =
        parse_minor(amount, currency).map_err(|error| Fault::new(error.code(), error.to_string()).at("amount"))?;
    Ok(amount.minor())
}

/// Minor units for people: `12.50 CNY`.
pub fn money(minor: i64, currency: &str) -> String {
    Currency::parse(currency).map_or_else(
        |_| format!("{minor} (minor units) {currency}"),
        |known| format!("{} {currency}", format_minor(minor, known)),
    )
}

/// A time for people, in this machine's zone.
pub fn moment(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Opens an account and returns who it is, with its key.
pub fn open_account(operator: &Api, name: &str, currency: &str) -> Result<(Party, Value), Fault> {
    let answer = operator.post("/v1/accounts", &json!({"name": name, "currency": currency}))?;
    Ok((party(&answer, "wallet_key")?, answer))
}

/// Takes a merchant on and returns who it is, with its key.
pub fn take_on_merchant(operator: &Api, name: &str, currency: &str) -> Result<(Party, Value), Fault> {
    let answer = operator.post("/v1/merchants", &json!({"name": name, "currency": currency}))?;
    Ok((party(&answer, "api_key")?, answer))
}

fn party(answer: &Value, key: &str) -> Result<Party, Fault> {
    let field = |name: &str| text(answer, name);
    Ok(Party { name: field("name")?, id: field("id")?, currency: field("currency")?, key: field(key)? })
}

/// Puts money into an account.
pub fn top_up(operator: &Api, account: &Party, minor: u64, reference: &str) -> Result<Value, Fault> {
    let body = json!({"amount": minor, "currency": account.currency, "reference": reference});
    operator.post(&format!("/v1/accounts/{}/top-ups", account.id), &body)
}

pub(crate) fn account(place: &Place, command: AccountCommand, output: Output) -> Result<(), Fault> {
    match command {
        AccountCommand::New { name, currency } => {
            let (party, answer) = open_account(&place.operator()?, &name, &currency)?;
            let line = format!("Opened an account for {}: {}", party.name, party.id);
            place.update(|profile| profile.accounts.push(party))?;
            output.answer(&line, &answer);
        }
        AccountCommand::TopUp { amount, account, reference } => {
            let account = place.account(account.as_deref())?;
            let minor = minor_units(&amount, &account.currency)?;
            let reference = reference.map_or_else(|| fresh_number("topup"), Ok)?;
            let answer = top_up(&place.operator()?, &account, minor, &reference).map_err(|fault| {
                let hint =
                    format!("the outcome is unknown: repeat with --reference {reference}, or it may be booked twice");
                if fault.outcome_is_unknown() { fault.hint(hint) } else { fault }
            })?;
            let balance = money(number(&answer, "balance")?, &account.currency);
            output.answer(&format!("Topped up {} (reference {reference}). Balance: {balance}", account.name), &answer);
        }
        AccountCommand::Show { account } => {
            let account = place.account(account.as_deref())?;
            let api = place.as_party(&account)?;
            let answer = api.get(&format!("/v1/accounts/{}", account.id))?;
            let book = api.get(&format!("/v1/accounts/{}/book", account.id))?;
            let balance = money(number(&answer, "balance")?, &account.currency);
            let lines = format!(
                "{} ({})\nBalance {balance}\n{}",
                account.name,
                account.id,
                book_lines(&book, &account.currency)
            );
            output.answer(&lines, &json!({"account": answer, "book": book}));
        }
        AccountCommand::Waiting { account } => {
            let account = place.account(account.as_deref())?;
            let waiting = place.as_party(&account)?.get("/v1/confirmations")?;
            let lines: Vec<String> =
                waiting.as_array().into_iter().flatten().map(confirmation_line).collect::<Result<_, _>>()?;
            let text = if lines.is_empty() { "Nothing waits to be confirmed.".to_owned() } else { lines.join("\n") };
            output.answer(&text, &waiting);
        }
        AccountCommand::Confirm { payment, account } => answer(place, payment, account.as_deref(), "confirm", output)?,
        AccountCommand::Refuse { payment, account } => answer(place, payment, account.as_deref(), "refuse", output)?,
    }
    Ok(())
}

/// The wearer's answer to a payment that waits, as the phone gives it.
fn answer(
    place: &Place,
    payment: Option<String>,
    account: Option<&str>,
    answer: &str,
    output: Output,
) -> Result<(), Fault> {
    let api = place.as_party(&place.account(account)?)?;
    let payment = match payment {
        Some(payment) => payment,
        None => {
            let waiting = api.get("/v1/confirmations")?;
            let oldest = waiting
                .as_array()
                .and_then(|list| list.first())
                .ok_or_else(|| Fault::new("nothing_waits", "no payment waits to be confirmed".to_owned()))?;
            text(oldest, "payment")?
        }
    };
    let answered = api.post(&format!("/v1/confirmations/{payment}/{answer}"), &nothing())?;
    output.answer(&confirmation_line(&answered)?, &answered);
    Ok(())
}

fn confirmation_line(waiting: &Value) -> Result<String, Fault> {
    let amount = money(number(waiting, "amount")?, &text(waiting, "currency")?);
    let (payment, merchant, state) = (text(waiting, "payment")?, text(waiting, "merchant")?, text(waiting, "state")?);
    Ok(format!("{payment}  {amount} to {merchant}: {state}"))
}

pub(crate) fn merchant(place: &Place, command: MerchantCommand, output: Output) -> Result<(), Fault> {
    match command {
        MerchantCommand::New { name, currency, category, position } => {
            let position = position.as_deref().map(degrees).transpose()?;
            let body = json!({"name": name, "currency": currency, "category": category, "position": position});
            let answer = place.operator()?.post("/v1/merchants", &body)?;
            let party = party(&answer, "api_key")?;
            let line = format!("Took on {}: {}\nIts API key: {}", party.name, party.id, party.key);
            place.update(|profile| profile.merchants.push(party))?;
            output.answer(&line, &answer);
        }
        MerchantCommand::Suspend(merchant) => act_on_merchant(place, &merchant, "suspend", output)?,
        MerchantCommand::Reinstate(merchant) => act_on_merchant(place, &merchant, "reinstate", output)?,
        MerchantCommand::Events { merchant } => {
            let merchant = place.merchant(merchant.as_deref())?;
            let events = place.operator()?.get(&format!("/v1/events?subject={}", merchant.id))?;
            output.answer(&format!("{} ({}){}", merchant.name, merchant.id, event_lines(&events)), &events);
        }
        MerchantCommand::Show { merchant } => {
            let merchant = place.merchant(merchant.as_deref())?;
            let api = place.as_party(&merchant)?;
            let answer = api.get("/v1/merchants/me")?;
            let book = api.get("/v1/merchants/me/book")?;
            let lines = format!(
                "{} ({}), {}\nOwed {}, waiting for the next posting {}\n{}",
                merchant.name,
                merchant.id,
                text(&answer, "state")?,
                money(number(&answer, "balance")?, &merchant.currency),
                money(number(&answer, "pending")?, &merchant.currency),
                book_lines(&book, &merchant.currency)
            );
            output.answer(&lines, &json!({"merchant": answer, "book": book}));
        }
    }
    Ok(())
}

fn act_on_merchant(place: &Place, merchant: &OneMerchant, action: &str, output: Output) -> Result<(), Fault> {
    let party = place.merchant(merchant.merchant.as_deref())?;
    let path = format!("/v1/merchants/{}/{action}", party.id);
    let answer = place.operator()?.post(&path, &json!({ "why": merchant.why }))?;
    output.answer(&format!("{} is now {}", party.name, text(&answer, "state")?), &answer);
    Ok(())
}

/// `LATITUDE,LONGITUDE` in degrees.
fn degrees(position: &str) -> Result<Value, Fault> {
    let parts = position.split_once(',').and_then(|(latitude, longitude)| {
        Some((latitude.trim().parse::<f64>().ok()?, longitude.trim().parse::<f64>().ok()?))
    });
    let (latitude, longitude) =
        parts.filter(|(latitude, longitude)| latitude.is_finite() && longitude.is_finite()).ok_or_else(|| {
            let what = "a position is two numbers of degrees, such as 31.2304,121.4737";
            Fault::new("position_malformed", what).at("position")
        })?;
    Ok(json!({"latitude": latitude, "longitude": longitude}))
}

/// A book as a table, newest first.
pub fn book_lines(book: &Value, currency: &str) -> String {
    let mut lines = String::new();
    for line in book.as_array().into_iter().flatten() {
        let field = |name: &str| line.get(name).and_then(Value::as_i64).unwrap_or_default();
        let kind = line.get("kind").and_then(Value::as_str).unwrap_or("?");
        let change = money(field("change"), currency);
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "  #{:<6} {}  {kind:<10} {change:>16}", field("sequence"), moment(field("at_ms")));
    }
    lines.trim_end().to_owned()
}

pub(crate) fn token(place: &Place, command: TokenCommand, output: Output) -> Result<(), Fault> {
    let (token, action) = match command {
        TokenCommand::List { account } => {
            let account = place.account(account.as_deref())?;
            let answer = place.as_party(&account)?.get("/v1/tokens")?;
            let mut lines = format!("What {} can pay with:", account.name);
            for token in answer.as_array().into_iter().flatten() {
                let field = |name: &str| token.get(name).and_then(Value::as_str).unwrap_or("?");
                let _ = write!(lines, "\n  {}  {:<18} chip {}", field("id"), field("state"), field("chip"));
            }
            output.answer(&lines, &answer);
            return Ok(());
        }
        TokenCommand::Show(token) => return show_token(place, &token, output),
        TokenCommand::Freeze(token) => (token, "freeze"),
        TokenCommand::Resume(token) => (token, "resume"),
        TokenCommand::Lost(token) => (token, "lost"),
        TokenCommand::Revoke(token) => (token, "revoke"),
        TokenCommand::Renew(token) => (token, "renew"),
    };
    let path = format!("/v1/tokens/{}/{action}", token.token);
    let answer = holder(place, &token)?.post(&path, &json!({ "why": token.why }))?;
    output.answer(&format!("{} is now {}", token.token, text(&answer, "state")?), &answer);
    Ok(())
}

/// In whose name something is done to a token.
fn holder(place: &Place, token: &OneToken) -> Result<Api, Fault> {
    match token.account.as_deref() {
        None => place.operator(),
        account => place.as_party(&place.account(account)?),
    }
}

fn show_token(place: &Place, token: &OneToken, output: Output) -> Result<(), Fault> {
    let api = holder(place, token)?;
    let answer = api.get(&format!("/v1/tokens/{}", token.token))?;
    let events = api.get(&format!("/v1/tokens/{}/events", token.token))?;
    let until = answer.get("expires_ms").and_then(Value::as_i64);
    let until = until.map_or_else(|| "for ever".to_owned(), |until_ms| format!("until {}", moment(until_ms)));
    let lines = format!("{} is {}, {until}{}", token.token, text(&answer, "state")?, event_lines(&events));
    output.answer(&lines, &json!({"token": answer, "events": events}));
    Ok(())
}

/// An audit trail for people, newest first.
fn event_lines(events: &Value) -> String {
    let mut lines = String::new();
    for event in events.as_array().into_iter().flatten() {
        let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("");
        let at = moment(event.get("at_ms").and_then(Value::as_i64).unwrap_or_default());
        let _ = write!(lines, "\n  {at}  {:<28} by {}  {}", field("name"), field("actor"), field("why"));
    }
    lines
}

pub(crate) fn audit(place: &Place, output: Output) -> Result<(), Fault> {
    let answer = place.operator()?.get("/v1/audit")?;
    let sound = answer.get("sound").and_then(Value::as_bool).unwrap_or(false);
    output.answer(&audit_lines(&answer)?, &answer);
    if sound { Ok(()) } else { Err(Fault::new("books_unsound", "the books are not sound")) }
}

pub(crate) fn trail(place: &Place, subject: &str, output: Output) -> Result<(), Fault> {
    let answer = place.operator()?.get(&format!("/v1/events?subject={}", in_query(subject)))?;
    let lines = format!("What has been done to {subject}, newest first:{}", event_lines(&answer));
    output.answer(&lines, &answer);
    Ok(())
}

/// A value as it stands in the query of a URL (RFC 3986 §2).
pub(crate) fn in_query(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The audit's answer for people.
pub fn audit_lines(answer: &Value) -> Result<String, Fault> {
    let mut lines = format!("{} journal records", number(answer, "records")?);
    let findings: Vec<&str> =
        answer.get("findings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if findings.is_empty() {
        lines.push_str(", each bound to the one before");
    }
    for finding in findings {
        let _ = write!(lines, "\n  UNSOUND: {finding}");
    }
    for sums in answer.get("trial_balance").and_then(Value::as_array).into_iter().flatten() {
        let side =
            |name: &str| sums.get(name).and_then(Value::as_str).and_then(|sum| sum.parse().ok()).unwrap_or_default();
        let currency = text(sums, "currency")?;
        let _ = write!(
            lines,
            "; debits {} = credits {}",
            money(side("debit"), &currency),
            money(side("credit"), &currency)
        );
    }
    Ok(lines)
}

/// A fresh number for an order, a refund or a top-up: its kind, the time, and 32 random bits.
pub fn fresh_number(kind: &str) -> Result<String, Fault> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(format!("{kind}-{}-{}", jiff::Timestamp::now().as_millisecond(), hex::encode(random)))
}
