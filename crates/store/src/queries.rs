//! Reads that decide nothing: for answers, statements and pages. They see what is durable and never wait for the
//! writer.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::{Entry, EntryKind, LedgerAccount, Leg, Side, TrialBalance};
use platform::accounts::Account;
use platform::bindings::Binding;
use platform::merchants::Merchant;
use platform::payments::{MerchantNumber, Payment, Refund};
use platform::tokens::Token;
use platform::{AccountId, BindingId, KeyHash, MerchantId, PaymentId, TokenId};
use rusqlite::Connection;

use crate::sqlite::SqliteEngine;
use crate::sqlite::rows::{self, Columns};
use crate::sqlite::select::{all, first, select};
use crate::tables::stored_amount;
use crate::{StoreError, Tables};

/// The most rows one page of a list holds.
pub const MAX_PAGE: usize = 100;
/// Reading connections; more readers wait for one another.
const READERS: usize = 4;

/// Which part of a list is wanted: rows before a cursor, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only rows with a number below this one; `None` begins at the newest.
    pub before: Option<u64>,
    /// At most this many, and never more than [`MAX_PAGE`].
    pub limit: usize,
}

impl Page {
    fn params(self) -> (i64, i64) {
        let before = self.before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        // MAX_PAGE is small, so the cast is exact.
        (before, self.limit.min(MAX_PAGE) as i64)
    }
}

/// One line of an account's book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookLine {
    /// The number of the journal record.
    pub sequence: u64,
    /// What it records.
    pub kind: EntryKind,
    /// The id behind it, raw.
    pub reference: [u8; 16],
    /// When it was booked.
    pub at_ms: u64,
    /// What it added to this account's balance, minor units.
    pub change_minor: i64,
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLine {
    /// When.
    pub at_ms: u64,
    /// To what.
    pub subject: String,
    /// What happened.
    pub name: String,
    /// By whom.
    pub actor: String,
}

/// The state of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Debits and credits by currency.
    pub trial: std::collections::BTreeMap<ledger::Currency, TrialBalance>,
    /// How many records the journal holds.
    pub records: u64,
    /// The first record that is altered, missing or out of place; `None` in sound books.
    pub broken_record: Option<u64>,
    /// Whether every balance is the sum of its legs.
    pub balances_match: bool,
    /// Whether what is in clearing is what waits to be posted, in every currency.
    pub clearing_matches: bool,
}

/// The reading side of a store.
pub struct Queries {
    connections: Vec<Mutex<Connection>>,
    path: PathBuf,
}

impl Queries {
    /// Opens the reading connections of a database that [`SqliteEngine::open`] has prepared.
    ///
    /// # Errors
    /// [`StoreError::Engine`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connections =
            (0..READERS).map(|_| SqliteEngine::open_reader(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Self { connections, path: path.to_owned() })
    }

    fn connection(&self) -> Result<MutexGuard<'_, Connection>, StoreError> {
        let free = self.connections.iter().find_map(|connection| connection.try_lock().ok());
        // None is free: wait for the first. A reader that panicked left nothing half done.
        free.or_else(|| self.connections.first().map(|first| first.lock().unwrap_or_else(PoisonError::into_inner)))
            .ok_or(StoreError::Stopped)
    }

    /// The merchant with this API key.
    ///
    /// # Errors
    /// Those of the engine, here and in every query below.
    pub fn merchant_by_key(&self, key: KeyHash) -> Result<Option<Merchant>, StoreError> {
        let sql = select!(rows::MERCHANT, "merchants WHERE api_key = ?1");
        first(&*self.connection()?, sql, [key.0], rows::merchant)
    }

    /// The account with this wallet key.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn account_by_key(&self, key: KeyHash) -> Result<Option<Account>, StoreError> {
        let sql = select!(rows::ACCOUNT, "accounts WHERE wallet_key = ?1");
        first(&*self.connection()?, sql, [key.0], rows::account)
    }

    /// An account by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        Tables::account(&*self.connection()?, id)
    }

    /// A merchant by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn merchant(&self, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
        Tables::merchant(&*self.connection()?, id)
    }

    /// A token by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        Tables::token(&*self.connection()?, id)
    }

    /// The tokens of an account, newest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn tokens_of(&self, account: AccountId) -> Result<Vec<Token>, StoreError> {
        let sql = select!(rows::TOKEN, "tokens WHERE account = ?1 ORDER BY id DESC LIMIT 100");
        all(&*self.connection()?, sql, [account.0], rows::token)
    }

    /// A binding by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn binding(&self, id: BindingId) -> Result<Option<Binding>, StoreError> {
        Tables::binding(&*self.connection()?, id)
    }

    /// A payment by its id.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn payment(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        Tables::payment(&*self.connection()?, id)
    }

    /// A payment by the merchant's order number.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn payment_by_order(
        &self,
        merchant: MerchantId,
        order: &MerchantNumber,
    ) -> Result<Option<Payment>, StoreError> {
        Tables::payment_by_order(&*self.connection()?, merchant, order)
    }

    /// A merchant's payments, newest first, beginning below `before`, at most `limit` and [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn payments_of(
        &self,
        merchant: MerchantId,
        before: Option<PaymentId>,
        limit: usize,
    ) -> Result<Vec<Payment>, StoreError> {
        let sql = select!(rows::PAYMENT, "payments WHERE merchant = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
        let before = before.map_or([0xFF; 16], |id| id.0);
        all(&*self.connection()?, sql, (merchant.0, before, limit.min(MAX_PAGE)), rows::payment)
    }

    /// The refunds of a payment, oldest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn refunds_of(&self, payment: PaymentId) -> Result<Vec<Refund>, StoreError> {
        let sql = select!(rows::REFUND, "refunds WHERE payment = ?1 ORDER BY id LIMIT 100");
        all(&*self.connection()?, sql, [payment.0], rows::refund)
    }

    /// A ledger balance, minor units.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn balance(&self, account: &LedgerAccount) -> Result<i64, StoreError> {
        Tables::balance(&*self.connection()?, account)
    }

    /// What waits in clearing for a merchant in a currency, minor units; negative when refunds outweigh payments.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn unposted_of(&self, merchant: MerchantId, currency: ledger::Currency) -> Result<i64, StoreError> {
        let sql =
            "SELECT coalesce(sum(minor), 0) FROM clearing_items WHERE posted = 0 AND merchant = ?1 AND currency = ?2";
        Ok(first(&*self.connection()?, sql, (merchant.0, currency.as_str()), |row| Columns::of(row).take())?
            .unwrap_or(0))
    }

    /// The book of one account, newest first.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn book(&self, account: &LedgerAccount, page: Page) -> Result<Vec<BookLine>, StoreError> {
        let sql = "SELECT j.sequence, j.kind, j.reference, j.at_ms, l.side, l.minor
            FROM legs l JOIN journal j ON j.sequence = l.sequence
            WHERE l.account = ?1 AND l.sequence < ?2 ORDER BY l.sequence DESC LIMIT ?3";
        let (before, limit) = page.params();
        all(&*self.connection()?, sql, (account.to_key(), before, limit), |row| {
            let mut columns = Columns::of(row);
            let sequence = columns.number("sequence")?;
            let kind =
                EntryKind::from_number(columns.number("entry kind")?).ok_or(StoreError::Corrupt("entry kind"))?;
            let (reference, at_ms) = (columns.take()?, columns.number("time")?);
            let side = side(&columns.take::<String>()?)?;
            let minor: i64 = columns.take()?;
            let change_minor = if side == account.kind.normal_side() { minor } else { -minor };
            Ok(BookLine { sequence, kind, reference, at_ms, change_minor })
        })
    }

    /// The audit trail of one thing, newest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// Those of the engine.
    pub fn events_of(&self, subject: &str) -> Result<Vec<EventLine>, StoreError> {
        let sql = "SELECT at_ms, subject, name, actor FROM events WHERE subject = ?1 ORDER BY number DESC LIMIT 100";
        all(&*self.connection()?, sql, [subject], |row| {
            let mut columns = Columns::of(row);
            Ok(EventLine {
                at_ms: columns.number("time")?,
                subject: columns.take()?,
                name: columns.take()?,
                actor: columns.take()?,
            })
        })
    }

    /// Follows the whole journal: its chain, its balances, its sums, and that what is in clearing is what waits to
    /// be posted. Reads everything, in one snapshot and over a connection of its own: nobody waits for it.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn audit(&self) -> Result<Totals, StoreError> {
        let mut connection = SqliteEngine::open_reader(&self.path)?;
        let snapshot = connection.transaction()?;
        let mut head = ledger::journal::Head::EMPTY;
        let mut summed = ledger::Balances::new();
        let mut broken_record = None;
        let mut statement =
            snapshot.prepare("SELECT sequence, kind, reference, at_ms, hash FROM journal ORDER BY sequence")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mut columns = Columns::of(row);
            let sequence: u64 = columns.number("sequence")?;
            let stored = stored_entry(&snapshot, sequence, &mut columns);
            let expected = stored.as_ref().ok().map(|(entry, _)| head.append(entry));
            match (stored, expected) {
                (Ok((entry, hash)), Some(next)) if next.sequence == sequence && next.hash == hash => {
                    head = next;
                    for leg in entry.legs() {
                        let sum = summed.entry(leg.account).or_insert(0);
                        *sum = sum.checked_add(leg.change_minor()).ok_or(StoreError::Corrupt("balance"))?;
                    }
                }
                _ => {
                    broken_record = Some(head.sequence + 1);
                    break;
                }
            }
        }
        let stored = all(&snapshot, "SELECT account, minor FROM balances ORDER BY account", [], |row| {
            let mut columns = Columns::of(row);
            let account = LedgerAccount::from_key(&columns.take::<Vec<u8>>()?);
            Ok((account.map_err(|_| StoreError::Corrupt("account"))?, columns.take()?))
        })?;
        let stored: ledger::Balances = stored.into_iter().collect();
        Ok(Totals {
            trial: TrialBalance::of(stored.clone()),
            records: head.sequence,
            balances_match: broken_record.is_none() && stored == summed,
            clearing_matches: clearing_matches(&snapshot, &stored)?,
            broken_record,
        })
    }
}

/// Money in clearing that no posting will ever pick up is lost to its merchant, though the books balance.
fn clearing_matches(connection: &Connection, balances: &ledger::Balances) -> Result<bool, StoreError> {
    let sql = "SELECT currency, sum(minor) FROM clearing_items WHERE posted = 0 GROUP BY currency";
    let waiting = all(connection, sql, [], |row| {
        let mut columns = Columns::of(row);
        let currency = ledger::Currency::parse(&columns.take::<String>()?);
        Ok((currency.map_err(|_| StoreError::Corrupt("currency"))?, columns.take::<i64>()?))
    })?;
    let mut clearing: std::collections::BTreeMap<ledger::Currency, i64> = waiting.into_iter().collect();
    for (account, balance) in balances.iter().filter(|(account, _)| account.kind == ledger::AccountKind::Clearing) {
        let rest = clearing.entry(account.currency).or_insert(0);
        *rest = rest.checked_sub(*balance).ok_or(StoreError::Corrupt("balance"))?;
    }
    Ok(clearing.values().all(|rest| *rest == 0))
}

fn side(text: &str) -> Result<Side, StoreError> {
    match text {
        "D" => Ok(Side::Debit),
        "C" => Ok(Side::Credit),
        _ => Err(StoreError::Corrupt("side")),
    }
}

/// The entry of a journal record, with the hash stored beside it.
fn stored_entry(
    connection: &Connection,
    sequence: u64,
    columns: &mut Columns<'_, '_>,
) -> Result<(Entry, [u8; 32]), StoreError> {
    let kind = EntryKind::from_number(columns.number("entry kind")?).ok_or(StoreError::Corrupt("entry kind"))?;
    let (reference, at_ms, hash) = (columns.take()?, columns.number("time")?, columns.take()?);
    let legs =
        all(connection, "SELECT account, side, minor FROM legs WHERE sequence = ?1 ORDER BY leg", [sequence], |row| {
            let mut columns = Columns::of(row);
            let account =
                LedgerAccount::from_key(&columns.take::<Vec<u8>>()?).map_err(|_| StoreError::Corrupt("account"))?;
            let side = side(&columns.take::<String>()?)?;
            Ok(Leg { account, side, amount: stored_amount(columns.number("amount")?, account.currency.as_str())? })
        })?;
    let entry = Entry::new(kind, reference, at_ms, legs).map_err(|_| StoreError::Corrupt("entry"))?;
    Ok((entry, hash))
}
