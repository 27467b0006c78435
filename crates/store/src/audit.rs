//! The audit: reads everything as it was at one moment, follows every partition's journal, and adds all of it up again.

mod finding;
mod lists;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use ledger::journal::{GENESIS, Head, Record};
use ledger::{AccountKind, Balances, Currency, LedgerAccount, TrialBalance};
use platform::AccountId;
use platform::payments::{Payment, PaymentState};

use crate::engine::View;
use crate::key::{Key, List, Named, Numbered};
use crate::lookups::{ClearingSums, rules_position};
use crate::queries::partitions;
use crate::rows::codec::unseal;
use crate::rows::{self, Balance, PartitionState, Purse, Reservation};
use crate::tables::list_position;
use crate::{Queries, StoreError};
pub use finding::{Audit, Finding, MAX_FINDINGS};
use lists::Lists;

/// Rows read at a time.
const PIECE: usize = 4_096;
impl Queries {
    /// Audits everything, in one snapshot. Where rows have several homes, each home is a set of books that is complete in
    /// itself and is audited in a snapshot of its own: no snapshot goes over several machines, and a sum of their sums at
    /// different moments would tell nothing.
    ///
    /// # Errors
    /// Those of the engine. What is wrong with the books is no error but a [`Finding`].
    pub fn audit(&self) -> Result<Audit, StoreError> {
        let mut whole = Audit::default();
        for home in self.reader().homes().all() {
            let mut cut = Audit::default();
            self.reader().cut(home, &mut |view| {
                cut = Audit::default();
                Auditor::new(view, &mut cut, home == 0).run()
            })?;
            whole.add(cut);
        }
        Ok(whole)
    }
}

struct Auditor<'a> {
    view: &'a mut dyn View,
    audit: &'a mut Audit,
    /// Each account's balance by the journal.
    summed: Balances,
    /// What the journal says was paid (positive) of each payment.
    moved: BTreeMap<[u8; 16], u64>,
    /// The ids of merchants, by the number that names of theirs begin with.
    merchants: BTreeMap<u64, [u8; 16]>,
    lists: Lists,
    /// Whether this is the home under which what is kept on every machine is looked at.
    is_first: bool,
}

impl<'a> Auditor<'a> {
    fn new(view: &'a mut dyn View, audit: &'a mut Audit, is_first: bool) -> Self {
        let (summed, moved, merchants) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { view, audit, summed, moved, merchants, lists: Lists::default(), is_first }
    }

    fn run(mut self) -> Result<(), StoreError> {
        if self.is_first {
            for line in self.view.self_check()? {
                self.audit.find(Finding::Engine(line));
            }
        }
        let partitions = match partitions(self.view) {
            Ok(partitions) => partitions,
            Err(StoreError::Corrupt(_) | StoreError::Engine(_)) => {
                self.audit.find(Finding::Row { table: Numbered::Partitions.name(), key: "?".to_owned() });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut waiting: BTreeMap<Currency, i64> = BTreeMap::new();
        for (number, state) in &partitions {
            self.follow(*number, state, &mut waiting)?;
        }
        let mut balances = Balances::new();
        self.check_numbered(&mut balances)?;
        self.check_named(&mut balances, &mut waiting)?;
        for finding in core::mem::take(&mut self.lists).compare(self.view)? {
            self.audit.find(finding);
        }
        self.compare(balances, waiting);
        Ok(())
    }

    /// Follows one journal from its beginning to the head its partition names.
    fn follow(
        &mut self,
        partition: u32,
        state: &PartitionState,
        waiting: &mut BTreeMap<Currency, i64>,
    ) -> Result<(), StoreError> {
        let (mut head, mut piece) = (Head::empty(partition), PIECE);
        loop {
            let scan = |limit| self.view.scan(Numbered::Journal, head.number, state.head.number, limit);
            let Some(records) = as_far_as_readable(&mut piece, scan)? else {
                self.audit.find(Finding::Record { partition, sequence: head.sequence() + 1 });
                return Ok(());
            };
            if records.is_empty() {
                break;
            }
            for (number, row) in &records {
                let Some(next) = follows(head, *number, row) else {
                    self.audit.find(Finding::Record { partition, sequence: head.sequence() + 1 });
                    return Ok(());
                };
                self.take_in(row)?;
                head = next;
            }
            let mut sums = ClearingSums::default();
            sums.add(&records, partition, state)?;
            for sum in sums.into_parts() {
                *waiting.entry(sum.currency).or_default() += sum.net_minor;
            }
        }
        self.audit.records += head.sequence();
        if head != state.head {
            // The last records are gone: the partition's own state says where its journal ends.
            self.audit.find(Finding::Record { partition, sequence: head.sequence() + 1 });
        }
        let end = Head::empty(partition + 1).number;
        let scan = |limit| self.view.scan(Numbered::Journal, state.head.number, end, limit);
        if as_far_as_readable(&mut 1, scan)?.is_none_or(|beyond| !beyond.is_empty()) {
            self.audit.find(Finding::Record { partition, sequence: state.head.sequence() + 1 });
        }
        Ok(())
    }

    fn take_in(&mut self, row: &[u8]) -> Result<(), StoreError> {
        let record = crate::lookups::record(row)?;
        for line in &record.lines {
            let sum = self.summed.entry(line.leg.account).or_default();
            *sum = sum.checked_add(line.leg.change_minor()).ok_or(StoreError::Corrupt("journal"))?;
        }
        if matches!(record.kind, ledger::EntryKind::Payment | ledger::EntryKind::Capture) {
            let amount = record.lines.first().map_or(0, |line| line.leg.amount.minor());
            self.moved.insert(record.cause.reference, amount);
        }
        Ok(())
    }

    fn check_numbered(&mut self, balances: &mut Balances) -> Result<(), StoreError> {
        for table in Numbered::ALL.iter().copied().filter(|table| *table != Numbered::Journal) {
            let (mut after, mut piece) = (None, PIECE);
            loop {
                let Some(rows) = as_far_as_readable(&mut piece, |limit| self.piece(table, after, limit))? else {
                    let after = after.map_or_else(String::new, |number| number.to_string());
                    self.audit.find(Finding::Unreadable { table: table.name(), after });
                    break;
                };
                let Some((last, _)) = rows.last() else { break };
                after = Some(*last);
                for (number, row) in rows {
                    self.audit.rows += 1;
                    if self.check_row(table, number, &row, balances).is_none() {
                        self.audit.find(Finding::Row { table: table.name(), key: number.to_string() });
                    }
                }
            }
        }
        Ok(())
    }

    /// The next rows of a table; number 0 is a row like every other.
    fn piece(&mut self, table: Numbered, after: Option<u64>, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        if let Some(after) = after {
            return self.view.scan(table, after, u64::MAX >> 1, limit);
        }
        let key = Key::Number(table, 0);
        let zero = if self.view.reaches(&key) { self.view.read(&[key])?.pop().flatten() } else { None };
        match zero {
            Some(row) => Ok(vec![(0, row)]),
            None => self.view.scan(table, 0, u64::MAX >> 1, limit),
        }
    }

    /// Nothing where the row can't be what was written.
    fn check_row(&mut self, table: Numbered, number: u64, row: &[u8], balances: &mut Balances) -> Option<()> {
        let key = Key::Number(table, number);
        let fields = unseal(&key, row).ok()?;
        match table {
            Numbered::Accounts => {
                let account = rows::account(fields).ok()?;
                let purse = self.purse(account.id).ok()?;
                if purse.currency != account.currency {
                    return None;
                }
                balances.insert(ledger::posting::wallet(account.id.0, account.currency), purse.balance.minor);
            }
            Numbered::Purses => reads(Purse::from_row(fields))?,
            Numbered::Merchants => drop(self.merchants.insert(number, rows::merchant(fields).ok()?.id.0)),
            Numbered::Tokens => {
                let place = rows::token_place(fields).ok()?;
                let token = self.view.read(core::slice::from_ref(&place)).ok()?.pop().flatten()?;
                let token = rows::token(unseal(&place, &token).ok()?).ok()?;
                let purse = self.purse(token.account).ok()?;
                // Payments go by what the purse says of its token.
                if purse.spend_of(token.id).is_some_and(|spend| !spend.agrees_with(&token)) {
                    return None;
                }
            }
            Numbered::Bindings => reads(rows::binding(fields))?,
            Numbered::Payments => {
                let payment = rows::payment(fields).ok()?;
                self.check_payment(&payment);
            }
            Numbered::Refunds => {
                let refund = rows::refund(fields).ok()?;
                self.lists.add(List::PaymentRefunds, &refund.payment.0, refund.id.0);
            }
            Numbered::Events => {
                let event = rows::event(fields).ok()?;
                // Where there are several homes, each has a part of the list, which is what is seen here.
                self.lists.add(List::SubjectEvents, event.subject.as_bytes(), list_position(event.at_ms, number));
            }
            Numbered::Partitions => reads(PartitionState::from_row(fields))?,
            Numbered::Syncs => reads(rows::sync(fields))?,
            Numbered::RuleSets => {
                let version = rows::rule_set(fields).ok()?.version;
                self.lists.add(List::RuleVersions, &[], rules_position(version));
            }
            Numbered::Journal => {}
        }
        Some(())
    }

    fn purse(&mut self, account: AccountId) -> Result<Purse, StoreError> {
        let key = Key::purse(account);
        let purse = self.view.read(core::slice::from_ref(&key))?.pop().flatten();
        Purse::from_row(unseal(&key, &purse.ok_or(StoreError::Corrupt("purses"))?)?)
    }

    /// The journal knows of every payment that moved money, and of no other. Of a cancelled one the row does not tell
    /// whether it was ever paid; that what was paid was given back, it does.
    fn check_payment(&mut self, payment: &Payment) {
        let moved = self.moved.remove(&payment.id.0);
        let amount = payment.amount.map(ledger::Amount::minor);
        let agree = match payment.state {
            PaymentState::Succeeded => moved == amount,
            PaymentState::Cancelled => {
                moved.is_none_or(|minor| Some(minor) == amount && minor == payment.refunded_minor)
            }
            PaymentState::Failed(_) | PaymentState::RequiresConfirmation { .. } => moved.is_none(),
        };
        if !agree {
            self.audit.find(Finding::Payment(payment.id));
        }
    }

    fn check_named(
        &mut self,
        balances: &mut Balances,
        waiting: &mut BTreeMap<Currency, i64>,
    ) -> Result<(), StoreError> {
        let homes = self.view.homes();
        let is_first = self.is_first;
        for table in Named::ALL.iter().copied().filter(|table| is_first || !homes.is_everywhere(*table)) {
            let (mut after, mut piece) = (Vec::new(), PIECE);
            loop {
                let scan = |limit| self.view.scan_names(table, &after, limit);
                let Some(rows) = as_far_as_readable(&mut piece, scan)? else {
                    self.audit.find(Finding::Unreadable { table: table.name(), after: hex(&after) });
                    break;
                };
                let Some((last, _)) = rows.last() else { break };
                after.clone_from(last);
                for (name, row) in rows {
                    self.audit.rows += 1;
                    if check_name(table, &name, &row, balances, waiting).is_none() {
                        self.audit.find(Finding::Row { table: table.name(), key: hex(&name) });
                    } else {
                        self.enlist(table, &name, &row);
                    }
                }
            }
        }
        Ok(())
    }

    /// Names that are written together with the entry of a list, and in the same home.
    fn enlist(&mut self, table: Named, name: &[u8], row: &[u8]) {
        let key = Key::Name(table, name.into());
        // What can't be read has been told.
        let Ok(fields) = unseal(&key, row) else { return };
        match table {
            Named::Orders => {
                let merchant = name.first_chunk().and_then(|number| self.merchants.get(&u64::from_be_bytes(*number)));
                if let (Some(merchant), Ok(payment)) = (merchant, rows::id(table.name(), fields)) {
                    self.lists.add(List::MerchantPayments, merchant, payment);
                }
            }
            Named::TokenNumbers => {
                if let Ok(token) = rows::token(fields) {
                    self.lists.add(List::AccountTokens, &token.account.0, token.id.0);
                }
            }
            _ => {}
        }
    }

    fn compare(self, balances: Balances, waiting: BTreeMap<Currency, i64>) {
        for (account, sum) in &self.summed {
            if balances.get(account).copied().unwrap_or(0) != *sum {
                self.audit.find(Finding::Balance(*account));
            }
        }
        for (account, minor) in &balances {
            if *minor != 0 && !self.summed.contains_key(account) {
                self.audit.find(Finding::Balance(*account));
            }
        }
        for reference in self.moved.into_keys().take(MAX_FINDINGS) {
            // The journal moved money for a payment whose row is gone.
            self.audit.find(Finding::Payment(platform::PaymentId(reference)));
        }
        let mut clearing = waiting;
        for (account, minor) in balances.iter().filter(|(account, _)| account.kind == AccountKind::Clearing) {
            *clearing.entry(account.currency).or_default() -= minor;
        }
        for (currency, _) in clearing.into_iter().filter(|(_, rest)| *rest != 0) {
            self.audit.find(Finding::Clearing(currency));
        }
        self.audit.trial = TrialBalance::of(balances);
        let unbalanced: Vec<Currency> =
            self.audit.trial.iter().filter(|(_, sums)| !sums.is_balanced()).map(|(currency, _)| *currency).collect();
        for currency in unbalanced {
            self.audit.find(Finding::Trial(currency));
        }
    }
}

/// The head after a record, where it is the one that comes next and reads as what it was written as.
fn follows(head: Head, number: u64, row: &[u8]) -> Option<Head> {
    let (content, hash) = row.split_last_chunk::<{ GENESIS.len() }>()?;
    let next = head.append(content);
    let whole = next.number == number && next.hash == *hash && Record::from_bytes(content).is_ok();
    whole.then_some(next)
}

/// The next rows, `piece` at a time; once one of them cannot be read, one by one. Nothing at that one. A database that cannot
/// be asked at all is an error, and tells nothing of its rows.
fn as_far_as_readable<T>(
    piece: &mut usize,
    mut read: impl FnMut(usize) -> Result<Vec<T>, StoreError>,
) -> Result<Option<Vec<T>>, StoreError> {
    match read(*piece) {
        Err(StoreError::Engine(_)) if *piece > 1 => {
            *piece = 1;
            as_far_as_readable(piece, read)
        }
        Err(StoreError::Engine(_)) => Ok(None),
        rows => rows.map(Some),
    }
}

fn hex(name: &[u8]) -> String {
    name.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a row reads as what it must be.
fn reads<T>(row: Result<T, StoreError>) -> Option<()> {
    row.ok().map(|_| ())
}

/// Nothing where the row can't be what was written.
fn check_name(
    table: Named,
    name: &[u8],
    row: &[u8],
    balances: &mut Balances,
    waiting: &mut BTreeMap<Currency, i64>,
) -> Option<()> {
    let key = Key::Name(table, name.into());
    let fields = unseal(&key, row).ok()?;
    match table {
        Named::Balances => {
            // Where rows have several homes, a name ends in its own.
            let (account, _) = name.split_first_chunk::<{ LedgerAccount::KEY_LEN }>()?;
            balances.insert(LedgerAccount::from_key(account).ok()?, Balance::from_row(fields).ok()?.minor);
        }
        Named::Waiting => {
            let letters = name.last_chunk::<3>()?;
            let currency = Currency::parse(core::str::from_utf8(letters).ok()?).ok()?;
            *waiting.entry(currency).or_default() += rows::number(table.name(), fields).ok()?;
        }
        Named::Reservations => reads(Reservation::from_row(fields))?,
        Named::TopUps => reads(rows::top_up(fields))?,
        Named::Chips => reads(rows::chip(fields))?,
        Named::Makers => reads(rows::maker(fields))?,
        Named::ChipModels => reads(rows::chip_model(fields))?,
        Named::DeviceModels => reads(rows::device_model(fields))?,
        Named::Batches => reads(rows::batch(fields))?,
        Named::Shipments => reads(rows::shipment(fields))?,
        Named::RevocationLists => reads(rows::revoked_list(fields))?,
        Named::LastTokenNumbers => reads(rows::number(table.name(), fields))?,
        Named::TokenNumbers => reads(rows::token_account(fields))?,
        Named::TokenOwners => reads(rows::owners(fields))?,
        Named::WalletKeys
        | Named::ApiKeys
        | Named::LivingTokens
        | Named::Offers
        | Named::Orders
        | Named::Pending
        | Named::RefundNumbers
        | Named::ShipmentNumbers => reads(rows::id(table.name(), fields))?,
    }
    Some(())
}
