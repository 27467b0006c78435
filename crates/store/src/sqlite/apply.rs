//! Writing changes: one statement a change, but for the journal, which also chains and moves balances.

use ledger::journal::{GENESIS, Head};
use ledger::{Balances, Entry, Side};
use platform::payments::Payment;
use platform::tokens::Token;
use platform::{Booking, Change};
use rusqlite::{Connection, Params};

use super::rows::{Columns, payment_state_number};
use super::select::first;
use crate::StoreError;

fn write(connection: &Connection, sql: &str, params: impl Params) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

pub(super) fn apply(connection: &Connection, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::PutAccount(row) => write(
            connection,
            "INSERT INTO accounts (id, name, currency, wallet_key, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            (row.id.0, &row.name, row.currency.as_str(), row.wallet_key.0, row.created_ms),
        ),
        Change::PutTopUp(row) => write(
            connection,
            "INSERT INTO top_ups (account, reference, id, minor, currency, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (
                row.account.0,
                &row.reference,
                row.id.0,
                row.amount.minor(),
                row.amount.currency().as_str(),
                row.created_ms,
            ),
        ),
        Change::PutMerchant(row) => write(
            connection,
            "INSERT INTO merchants (id, name, currency, api_key, created_ms, wrong_since_ms, wrong_count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (id) DO UPDATE SET wrong_since_ms = ?6, wrong_count = ?7",
            (
                row.id.0,
                &row.name,
                row.currency.as_str(),
                row.api_key.0,
                row.created_ms,
                row.wrong_codes.since_ms,
                row.wrong_codes.count,
            ),
        ),
        Change::PutChip(row) => write(
            connection,
            "INSERT INTO chips (id, key_version, registered_ms) VALUES (?1, ?2, ?3)",
            (row.id.0, row.key_version, row.registered_ms),
        ),
        Change::PutToken(row) => put_token(connection, row),
        Change::PutBinding(row) => write(
            connection,
            "INSERT INTO bindings (id, account, chip, nonce, token, host_challenge, script, card_answer, anchor_s,
                offline_allowance_s, code_budget, state, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT (id) DO UPDATE SET host_challenge = ?6, script = ?7, card_answer = ?8, anchor_s = ?9,
                state = ?12",
            (
                row.id.0,
                row.account.0,
                row.chip.0,
                row.nonce,
                row.token.0,
                row.host_challenge,
                row.script,
                row.card_answer.as_deref(),
                row.anchor_s,
                row.offline_allowance_s,
                row.code_budget,
                row.state as u8,
                row.created_ms,
            ),
        ),
        Change::PutPayment(row) => put_payment(connection, row),
        Change::PutRefund(row) => write(
            connection,
            "INSERT INTO refunds (merchant, number, id, payment, minor, currency, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            (
                row.merchant.0,
                row.number.as_str(),
                row.id.0,
                row.payment.0,
                row.amount.minor(),
                row.amount.currency().as_str(),
                row.created_ms,
            ),
        ),
        Change::PutDayUse(row) => write(
            connection,
            "INSERT INTO day_use (account, currency, day, total_minor, unverified_minor) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (account, currency, day) DO UPDATE SET total_minor = ?4, unverified_minor = ?5",
            (row.account.0, row.currency.as_str(), row.day, row.total_minor, row.unverified_minor),
        ),
        Change::AddClearingItem(row) => write(
            connection,
            "INSERT INTO clearing_items (merchant, currency, minor) VALUES (?1, ?2, ?3)",
            (row.merchant.0, row.currency.as_str(), row.minor),
        ),
        Change::ClearItems { merchant, currency, up_to } => write(
            connection,
            "UPDATE clearing_items SET posted = 1 WHERE posted = 0 AND merchant = ?1 AND currency = ?2 AND number <= ?3",
            (merchant.0, currency.as_str(), *up_to),
        ),
        Change::Book(booking) => book(connection, booking),
        Change::AddEvent(row) => write(
            connection,
            "INSERT INTO events (at_ms, subject, name, actor) VALUES (?1, ?2, ?3, ?4)",
            (row.at_ms, &row.subject, row.name, &row.actor),
        ),
    }
}

fn put_token(connection: &Connection, row: &Token) -> Result<(), StoreError> {
    write(
        connection,
        "INSERT INTO tokens (id, account, chip, prefix, digits, suite, token_index, pay_key_version, mask_key_version,
            state, last_step, last_sequence, last_counter, misses, created_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (id) DO UPDATE SET state = ?10, last_step = ?11, last_sequence = ?12, last_counter = ?13,
            misses = ?14",
        rusqlite::params![
            row.id.0,
            row.account.0,
            row.chip.0,
            row.format.prefix_str(),
            row.format.total_digits(),
            row.suite.id(),
            row.index.get(),
            row.pay_key_version,
            row.mask_key_version,
            row.state as u8,
            row.last_stamp.map(|stamp| stamp.step.0),
            row.last_stamp.map(|stamp| stamp.sequence.get()),
            row.last_counter,
            row.misses,
            row.created_ms,
        ],
    )
}

fn put_payment(connection: &Connection, row: &Payment) -> Result<(), StoreError> {
    let (state, decline) = payment_state_number(row.state);
    let currency = row.amount.map(ledger::Amount::currency);
    write(
        connection,
        "INSERT INTO payments (id, merchant, order_number, fingerprint, minor, currency, state, decline, account, token,
            verified, refunded_minor, created_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id) DO UPDATE SET state = ?7, decline = ?8, refunded_minor = ?12",
        (
            row.id.0,
            row.merchant.0,
            row.order.as_str(),
            row.fingerprint.map(|fingerprint| fingerprint.0),
            row.amount.map(ledger::Amount::minor),
            currency.as_ref().map(ledger::Currency::as_str),
            state,
            decline,
            row.account.map(|id| id.0),
            row.token.map(|id| id.0),
            row.verified,
            row.refunded_minor,
            row.created_ms,
        ),
    )
}

fn book(connection: &Connection, booking: &Booking) -> Result<(), StoreError> {
    append(connection, &booking.entry)?;
    put_balances(connection, &booking.balances)
}

/// The last record of the journal.
pub(crate) fn head(connection: &Connection) -> Result<Head, StoreError> {
    let sql = "SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1";
    let last = first(connection, sql, [], |row| {
        let mut columns = Columns::of(row);
        Ok(Head { sequence: columns.number("sequence")?, hash: columns.take()? })
    })?;
    Ok(last.unwrap_or(Head { sequence: 0, hash: GENESIS }))
}

fn append(connection: &Connection, entry: &Entry) -> Result<(), StoreError> {
    let record = head(connection)?.append(entry);
    write(
        connection,
        "INSERT INTO journal (sequence, kind, reference, at_ms, hash) VALUES (?1, ?2, ?3, ?4, ?5)",
        (record.sequence, entry.kind() as u8, entry.reference(), entry.at_ms(), record.hash),
    )?;
    for (number, leg) in entry.legs().iter().enumerate() {
        let side = if leg.side == Side::Debit { "D" } else { "C" };
        write(
            connection,
            "INSERT INTO legs (sequence, leg, account, side, minor) VALUES (?1, ?2, ?3, ?4, ?5)",
            (record.sequence, number, leg.account.to_key(), side, leg.amount.minor()),
        )?;
    }
    Ok(())
}

fn put_balances(connection: &Connection, balances: &Balances) -> Result<(), StoreError> {
    balances.iter().try_for_each(|(account, minor)| {
        write(
            connection,
            "INSERT INTO balances (account, minor) VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET minor = ?2",
            (account.to_key(), minor),
        )
    })
}
