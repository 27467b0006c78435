//! The books of accounts: what each is worth now and was at a past moment, and every line of it.

use ledger::{AccountKind, EntryKind, LedgerAccount};
use platform::{AccountId, MerchantId};

use super::{MAX_PAGE, Queries, fields, partitions, purse};
use crate::StoreError;
use crate::engine::View;
use crate::key::{Key, Numbered};
use crate::lookups::{ClearingSums, record};
use crate::rows::codec::unseal;
use crate::rows::{self, Balance};

/// Records read to find what waits in one partition's clearing; what is beyond is not in the sum yet.
const MAX_UNPOSTED: usize = 200_000;
/// Of those, as many as are held in memory at a time.
const PIECE: usize = 4_096;
/// Records of an account that are walked back through to find a past balance.
pub const MAX_WALK: usize = 100_000;

/// Which part of a book is wanted: lines before a cursor, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only records with a number below this one; `None` begins at the newest.
    pub before: Option<u64>,
    /// At most this many, and never more than [`MAX_PAGE`].
    pub limit: usize,
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
    /// The balance after it, minor units.
    pub balance_minor: i64,
}

impl Queries {
    /// A ledger balance, minor units.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn balance(&self, account: &LedgerAccount) -> Result<i64, StoreError> {
        self.with(|view| {
            let parts = stored_balances(view, account)?;
            parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(part.minor)).ok_or(StoreError::Corrupt("balances"))
        })
    }

    /// What an account's balance was at a past moment, minor units: walks back through its book, `None` where that is
    /// longer ago than [`MAX_WALK`] of its records.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn balance_at(&self, account: &LedgerAccount, at_ms: u64) -> Result<Option<i64>, StoreError> {
        self.with(|view| {
            let (mut sum, mut left) = (0_i64, MAX_WALK);
            for part in stored_balances(view, account)? {
                let mut number = part.last_record;
                while number != 0 {
                    let Some(less) = left.checked_sub(1) else { return Ok(None) };
                    left = less;
                    let (previous, line) = line(view, account, number)?.ok_or(StoreError::Corrupt("journal"))?;
                    if line.at_ms <= at_ms {
                        sum = sum.checked_add(line.balance_minor).ok_or(StoreError::Corrupt("journal"))?;
                        break;
                    }
                    number = previous;
                }
            }
            Ok(Some(sum))
        })
    }

    /// What waits in clearing for a merchant in a currency, minor units; negative when refunds outweigh payments.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn unposted_of(&self, merchant: MerchantId, currency: ledger::Currency) -> Result<i64, StoreError> {
        self.with(|view| {
            let mut sum = 0_i64;
            for (number, state) in partitions(view)? {
                let waiting = fields(view, &Key::waiting(number, merchant, currency))?;
                sum += waiting.map_or(Ok(0), |fields| rows::number("waiting", &fields))?;
                let (mut sums, mut after, mut left) = (ClearingSums::default(), state.posted, MAX_UNPOSTED);
                while left > 0 {
                    let records = view.scan(Numbered::Journal, after, state.head.number, PIECE.min(left))?;
                    let Some((last, _)) = records.last() else { break };
                    after = *last;
                    left -= records.len();
                    sums.add(&records, number, &state)?;
                }
                sum += sums.of((merchant, currency));
            }
            Ok(sum)
        })
    }

    /// The book of one account, newest first: each record names the one that moved the account before.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn book(&self, account: &LedgerAccount, page: Page) -> Result<Vec<BookLine>, StoreError> {
        self.with(|view| {
            let chains = match page.before {
                Some(cursor) => chains_before(view, account, cursor)?,
                None => stored_balances(view, account)?.iter().map(|part| part.last_record).collect(),
            };
            let mut newest = Vec::new();
            for number in chains.into_iter().filter(|number| *number != 0) {
                newest.push(line(view, account, number)?.ok_or(StoreError::Corrupt("journal"))?);
            }
            let mut lines = Vec::new();
            while lines.len() < page.limit.min(MAX_PAGE) {
                let next = newest.iter().enumerate().max_by_key(|(_, (_, line))| place(line)).map(|(chain, _)| chain);
                let Some(chain) = next else { break };
                let (previous, taken) = newest.swap_remove(chain);
                lines.push(taken);
                if previous != 0 {
                    newest.push(line(view, account, previous)?.ok_or(StoreError::Corrupt("journal"))?);
                }
            }
            Ok(lines)
        })
    }
}

/// The balances of an account: one, or one in each home that has booked it.
fn stored_balances(view: &mut dyn View, account: &LedgerAccount) -> Result<Vec<Balance>, StoreError> {
    if account.kind == AccountKind::Wallet {
        return Ok(vec![purse(view, AccountId(account.owner.0))?.balance]);
    }
    let homes = view.homes();
    let keys: Vec<Key> = homes.all().map(|home| homes.balance(account, home)).collect();
    let rows = view.read(&keys)?;
    let parts = keys.iter().zip(rows).filter_map(|(key, row)| Some((key, row?)));
    parts.map(|(key, row)| Balance::from_row(unseal(key, &row)?)).collect()
}

/// Where a line stands in a book that is kept in several homes: by its time, then by its number.
fn place(line: &BookLine) -> (u64, u64) {
    (line.at_ms, line.sequence)
}

/// The last record before a cursor in each chain of an account's book.
fn chains_before(view: &mut dyn View, account: &LedgerAccount, cursor: u64) -> Result<Vec<u64>, StoreError> {
    let Some((previous, at_cursor)) = line(view, account, cursor)? else { return Ok(Vec::new()) };
    if view.homes().is_one() || account.kind == AccountKind::Wallet {
        return Ok(vec![previous]);
    }
    let (mut chains, mut left) = (Vec::new(), MAX_WALK);
    for part in stored_balances(view, account)? {
        let mut number = part.last_record;
        while number != 0 {
            let (previous, line) = line(view, account, number)?.ok_or(StoreError::Corrupt("journal"))?;
            if place(&line) < place(&at_cursor) {
                break;
            }
            left = left.checked_sub(1).ok_or(StoreError::Busy)?;
            number = previous;
        }
        chains.push(number);
    }
    Ok(chains)
}

/// An account's line in one record, and the record before it; `None` where the record does not move the account.
fn line(view: &mut dyn View, account: &LedgerAccount, number: u64) -> Result<Option<(u64, BookLine)>, StoreError> {
    let row = view.read(&[Key::Number(Numbered::Journal, number)])?.pop().flatten();
    let Some(row) = row else { return Ok(None) };
    let record = record(&row)?;
    let line = record.lines.iter().find(|line| line.leg.account == *account);
    Ok(line.map(|line| {
        let book_line = BookLine {
            sequence: number,
            kind: record.kind,
            reference: record.cause.reference,
            at_ms: record.cause.at_ms,
            change_minor: line.leg.change_minor(),
            balance_minor: line.balance_minor,
        };
        (line.previous, book_line)
    }))
}
