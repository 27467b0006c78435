//! Carrying a database of release 0.1.0 over to the present schema: once, at the first start, into a new file that takes the
//! place of the old one when it is whole and sound. The old file stays beside it.

mod rows;

use std::path::{Path, PathBuf};

use ledger::posting::Cause;
use ledger::{AccountKind, Currency, Entry, EntryKind, LedgerAccount, Leg, Side};
use platform::payments::DayUse;
use platform::postings::Unposted;
use platform::{AccountId, Booking, Change, MerchantId};
use rusqlite::{Connection, OpenFlags, Row};
use sha2::{Digest, Sha256};

use self::rows::Columns;
use super::SqliteEngine;
use crate::engine::{Engine, Outcome};
use crate::{EventLine, Queries, StoreError, Tables};

/// Rows carried over in one transaction.
const PIECE: usize = 2_000;
/// What the old file is called afterwards.
const KEPT: &str = "db.0.1.0";
/// What the new file is called until it is whole.
const UNFINISHED: &str = "unfinished.db";

/// Puts a database of the present schema in the place of one of schema 1.
///
/// # Errors
/// [`StoreError`]; the old file is then as it was.
pub(super) fn migrate(path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension(UNFINISHED);
    remove_unfinished(&unfinished)?;
    let mut engine = SqliteEngine::open(&unfinished)?;
    {
        let old = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        carry_over(&old, &mut engine)?;
        old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    let findings = Queries::new(Box::new(engine.reader(&unfinished)?)).audit()?.findings;
    drop(engine);
    if let Some(finding) = findings.first() {
        return Err(StoreError::Engine(format!("the database of release 0.1.0 is not sound: {finding}")));
    }
    let log = PathBuf::from(format!("{}-wal", unfinished.display()));
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(StoreError::Engine(format!("{} is not whole; start again", unfinished.display())));
    }
    let told = |error: std::io::Error| StoreError::Engine(format!("{}: {error}", path.display()));
    // At no moment is there no database.
    std::fs::hard_link(path, path.with_extension(KEPT)).map_err(told)?;
    std::fs::rename(&unfinished, path).map_err(told)?;
    for rest in ["db-wal", "db-shm"] {
        // Of the old file, which has been closed: empty, if they are there at all.
        let _ = std::fs::remove_file(path.with_extension(rest));
    }
    super::log::sync_folder(path)
}

/// What a start that was cut short has left.
fn remove_unfinished(unfinished: &Path) -> Result<(), StoreError> {
    for number in super::log::segments(unfinished)? {
        super::log::remove(unfinished, number)?;
    }
    let with = |rest: &str| PathBuf::from(format!("{}{rest}", unfinished.display()));
    for path in [unfinished.to_owned(), with("-wal"), with("-shm")] {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Engine(format!("{}: {error}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn carry_over(old: &Connection, engine: &mut SqliteEngine) -> Result<(), StoreError> {
    use Change::{PutAccount, PutBinding, PutChip, PutMerchant, PutPayment, PutRefund, PutToken, PutTopUp};
    let mut put = |columns: &str, table: &str, read: &dyn Fn(&Row<'_>) -> Result<Change, StoreError>| {
        let sql = format!("SELECT {columns} FROM {table} ORDER BY id");
        each(old, &sql, engine, &|row, tables| tables.apply(&read(row)?))
    };
    put(rows::ACCOUNT, "accounts", &|row| rows::account(row).map(PutAccount))?;
    put(rows::MERCHANT, "merchants", &|row| rows::merchant(row).map(PutMerchant))?;
    put(rows::CHIP, "chips", &|row| rows::chip(row).map(PutChip))?;
    put(rows::TOKEN, "tokens", &|row| rows::token(row).map(PutToken))?;
    put(rows::BINDING, "bindings", &|row| rows::binding(row).map(PutBinding))?;
    put(rows::PAYMENT, "payments", &|row| rows::payment(row).map(PutPayment))?;
    put(rows::REFUND, "refunds", &|row| rows::refund(row).map(PutRefund))?;
    put(rows::TOP_UP, "top_ups", &|row| rows::top_up(row).map(PutTopUp))?;
    journal(old, engine)?;
    let day_use = "SELECT account, currency, day, total_minor, unverified_minor FROM day_use ORDER BY day";
    each(old, day_use, engine, &|row, tables| {
        let mut columns = Columns::of(row);
        let change = Change::PutDayUse(DayUse {
            account: AccountId(columns.take()?),
            currency: currency(&columns.take::<String>()?)?,
            day: columns.take()?,
            total_minor: columns.number("amount")?,
            unverified_minor: columns.number("amount")?,
        });
        tables.apply(&change)
    })?;
    let waiting =
        "SELECT merchant, currency, sum(minor) FROM clearing_items WHERE posted = 0 GROUP BY merchant, currency";
    each(old, waiting, engine, &|row, tables| {
        let mut columns = Columns::of(row);
        let (merchant, of) = (MerchantId(columns.take()?), currency(&columns.take::<String>()?)?);
        tables.apply(&Change::SetWaiting(Unposted { merchant, currency: of, net_minor: columns.take()? }))
    })?;
    each(old, "SELECT at_ms, subject, name, actor FROM events ORDER BY number", engine, &|row, tables| {
        let mut columns = Columns::of(row);
        let (at_ms, subject) = (columns.number("time")?, columns.take::<String>()?);
        let (name, actor) = (columns.take()?, columns.take()?);
        tables.add_event(&EventLine { at_ms, subject, name, actor, why: String::new() });
        Ok(())
    })
}

fn currency(letters: &str) -> Result<Currency, StoreError> {
    Currency::parse(letters).map_err(|_| StoreError::Corrupt("currency"))
}

type Each<'w> = &'w dyn Fn(&Row<'_>, &mut Tables<'_>) -> Result<(), StoreError>;

/// Does something with every row of a query, many in one transaction of the new database.
fn each(old: &Connection, sql: &str, engine: &mut SqliteEngine, work: Each<'_>) -> Result<(), StoreError> {
    let mut statement = old.prepare(sql)?;
    let mut found = statement.query([])?;
    loop {
        engine.begin()?;
        let mut tables = Tables::open(engine)?;
        let mut taken = 0;
        while taken < PIECE {
            let Some(row) = found.next()? else { break };
            work(row, &mut tables)?;
            tables.keep_command();
            taken += 1;
        }
        let writes = tables.into_writes()?;
        match engine.commit(writes) {
            Outcome::Committed if taken < PIECE => return Ok(()),
            Outcome::Committed => {}
            Outcome::Conflict => return Err(StoreError::Busy),
            Outcome::RolledBack(error) | Outcome::Unknown(error) => return Err(error),
        }
    }
}

/// The journal, its old chain followed and a new one made; everything in it counts as posted.
fn journal(old: &Connection, engine: &mut SqliteEngine) -> Result<(), StoreError> {
    let head = std::cell::RefCell::new((0_u64, [0_u8; 32]));
    let sql = "SELECT sequence, kind, reference, at_ms, hash FROM journal ORDER BY sequence";
    each(old, sql, engine, &|row, tables| {
        let mut columns = Columns::of(row);
        let sequence: u64 = columns.number("sequence")?;
        let kind = EntryKind::from_number(columns.number("kind")?).ok_or(StoreError::Corrupt("journal"))?;
        let (reference, at_ms, hash): ([u8; 16], u64, [u8; 32]) =
            (columns.take()?, columns.number("time")?, columns.take()?);
        let legs = legs(old, sequence)?;
        let (before, previous) = *head.borrow();
        if sequence != before + 1 || hash != old_hash(&previous, sequence, kind, &reference, at_ms, &legs) {
            return Err(StoreError::Corrupt("journal"));
        }
        *head.borrow_mut() = (sequence, hash);
        let cause = Cause { reference, counterparty: counterparty(old, kind, &reference, &legs)?, at_ms };
        let touched: Vec<LedgerAccount> = legs.iter().map(|leg| leg.account).collect();
        let balances = tables.balances(&touched)?;
        let booking = Entry::new(kind, cause, legs).and_then(|entry| Booking::new(entry, &balances));
        tables.apply(&Change::Book(booking.map_err(|_| StoreError::Corrupt("journal"))?))?;
        let last = tables.next_record() - 1;
        tables.apply(&Change::PostedUpTo(last))
    })
}

fn legs(old: &Connection, sequence: u64) -> Result<Vec<Leg>, StoreError> {
    let mut statement = old.prepare_cached("SELECT account, side, minor FROM legs WHERE sequence = ?1 ORDER BY leg")?;
    let mut found = statement.query([sequence])?;
    let mut legs = Vec::new();
    while let Some(row) = found.next()? {
        let mut columns = Columns::of(row);
        let account = LedgerAccount::from_key(&columns.take::<Vec<u8>>()?).map_err(|_| StoreError::Corrupt("legs"))?;
        let side = match columns.take::<String>()?.as_str() {
            "D" => Side::Debit,
            "C" => Side::Credit,
            _ => return Err(StoreError::Corrupt("legs")),
        };
        legs.push(Leg {
            account,
            side,
            amount: rows::stored_amount(columns.number("amount")?, account.currency.as_str())?,
        });
    }
    Ok(legs)
}

/// The hash as release 0.1.0 made it.
fn old_hash(
    previous: &[u8; 32],
    sequence: u64,
    kind: EntryKind,
    reference: &[u8; 16],
    at_ms: u64,
    legs: &[Leg],
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(sequence.to_be_bytes());
    hash.update([kind as u8]);
    hash.update(reference);
    hash.update(at_ms.to_be_bytes());
    // No entry had more than sixteen.
    hash.update([legs.len() as u8]);
    for leg in legs {
        hash.update(leg.account.to_key());
        hash.update([if leg.side == Side::Debit { b'D' } else { b'C' }]);
        hash.update(leg.amount.minor().to_be_bytes());
    }
    hash.finalize().into()
}

/// The merchant an entry concerns, which the old journal did not hold.
fn counterparty(old: &Connection, kind: EntryKind, reference: &[u8; 16], legs: &[Leg]) -> Result<[u8; 16], StoreError> {
    let sql = match kind {
        EntryKind::Payment => "SELECT merchant FROM payments WHERE id = ?1",
        EntryKind::Refund => "SELECT merchant FROM refunds WHERE id = ?1",
        _ => {
            let payable = legs.iter().find(|leg| leg.account.kind == AccountKind::Payable);
            return Ok(payable.map_or([0; 16], |leg| leg.account.owner.0));
        }
    };
    // Refunds had no index by their id: a table of them is read once for each, which a small database bears.
    Ok(old.prepare_cached(sql)?.query_row([reference], |row| row.get(0))?)
}
