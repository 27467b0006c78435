//! What commands see of an engine: one working set for a whole batch of them. Rows are read when first asked for, and
//! changes stay here until the batch is written, each row once, however many commands changed it.
//!
//! A command can be undone alone: nothing of it has reached the engine yet.

use std::sync::Arc;

use hashbrown::HashMap;

use ledger::journal::{GENESIS, Record};
use ledger::{AccountKind, Balances, Currency, LedgerAccount};
use paycode::{CodeFormat, MaskKey, TokenIndex};
use platform::accounts::{Account, TopUp};
use platform::bindings::Binding;
use platform::chips::Chip;
use platform::merchants::Merchant;
use platform::payments::{DayUse, MerchantNumber, Payment, Refund};
use platform::postings::Unposted;
use platform::tokens::Token;
use platform::{
    AccountId, BindingId, ChipId, KeyVault, MerchantId, PaymentId, RefundId, Refusal, Settings, TokenId, VaultError,
};

use crate::StoreError;
use crate::engine::{Engine, RowWrite, Writes};
use crate::key::{Key, List, Named, Numbered};
use crate::rows::codec::{seal, unseal};
use crate::rows::{self, Balance, PartitionState, Purse};

/// The most rounds of reading ahead for one batch: an order, its token, its purse, and one to spare.
const MAX_ROUNDS: usize = 4;
/// The most merchants whose refunds wait that one posting looks at again, beyond those something was booked for.
const MAX_WAITING: usize = 10_000;

/// A row as it was read, and as it is now.
struct Slot {
    /// As the engine holds it, with its seal.
    before: Option<Vec<u8>>,
    /// Its fields now.
    now: Option<Vec<u8>>,
    changed: bool,
}

/// What a command may have changed before it failed.
struct Undo {
    key: Key,
    now: Option<Vec<u8>>,
    changed: bool,
}

/// The working set of one batch.
pub struct Tables<'e> {
    engine: &'e mut dyn Engine,
    slots: HashMap<Key, Slot>,
    listed: Vec<(List, Vec<u8>, [u8; 16])>,
    state: PartitionState,
    partition: u32,
    /// The purses that were looked at, by their account's number: what holds until they are written as rows.
    purses: HashMap<u64, Option<Purse>>,
    /// Of the command that runs.
    undo: Vec<Undo>,
    /// Of the command that runs: purses as they were before it.
    undo_purses: Vec<(u64, Option<Purse>)>,
    kept: (usize, PartitionState),
}

impl<'e> Tables<'e> {
    /// A working set over an engine whose transaction has begun.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn open(engine: &'e mut dyn Engine) -> Result<Self, StoreError> {
        let partition = engine.partition();
        let empty = PartitionState::new(partition);
        let mut tables = Self {
            engine,
            slots: HashMap::new(),
            listed: Vec::new(),
            state: empty,
            partition,
            purses: HashMap::new(),
            undo: Vec::new(),
            undo_purses: Vec::new(),
            kept: (0, empty),
        };
        if let Some(fields) = tables.fields(&Key::partition(partition))? {
            tables.state = PartitionState::from_row(&fields)?;
        }
        tables.keep_command();
        Ok(tables)
    }

    /// The partition that is written.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Begins a command: from here it can be undone alone.
    pub(crate) fn keep_command(&mut self) {
        self.undo.clear();
        self.undo_purses.clear();
        self.kept = (self.listed.len(), self.state);
    }

    /// Undoes what the command that runs has changed.
    pub(crate) fn undo_command(&mut self) {
        for (number, before) in self.undo_purses.drain(..) {
            self.purses.insert(number, before);
        }
        for Undo { key, now, changed } in self.undo.drain(..).rev() {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.now = now;
                slot.changed = changed;
            }
        }
        self.listed.truncate(self.kept.0);
        self.state = self.kept.1;
    }

    /// Reads what `wanted` asks for, round after round, until nothing new is asked for: so that an engine across a
    /// network answers for the whole batch at once.
    pub(crate) fn read_ahead(
        &mut self,
        mut wanted: impl FnMut(&Self) -> Result<Vec<Key>, StoreError>,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_ROUNDS {
            let mut keys = wanted(self)?;
            keys.retain(|key| !self.slots.contains_key(key));
            keys.sort_unstable();
            keys.dedup();
            if keys.is_empty() {
                break;
            }
            let found = self.engine.read(&keys)?;
            for (key, row) in keys.into_iter().zip(found) {
                self.take_in(key, row)?;
            }
        }
        Ok(())
    }

    fn take_in(&mut self, key: Key, before: Option<Vec<u8>>) -> Result<(), StoreError> {
        let now = before.as_deref().map(|row| unseal(&key, row).map(<[u8]>::to_vec)).transpose()?;
        self.slots.insert(key, Slot { before, now, changed: false });
        Ok(())
    }

    /// A row that has been read ahead; `None` also where it has not.
    pub(crate) fn known(&self, key: &Key) -> Option<&[u8]> {
        self.slots.get(key).and_then(|slot| slot.now.as_deref())
    }

    /// The fields of a row.
    pub(crate) fn fields(&mut self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.slots.contains_key(key) {
            let row = self.engine.read(core::slice::from_ref(key))?.pop().flatten();
            self.take_in(key.clone(), row)?;
        }
        Ok(self.slots.get(key).and_then(|slot| slot.now.clone()))
    }

    /// Changes a row; `None` removes it. What stays as it is is not written.
    pub(crate) fn put(&mut self, key: Key, now: Option<Vec<u8>>) -> Result<(), StoreError> {
        if !self.slots.contains_key(&key) {
            self.fields(&key)?;
        }
        if let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.now != now) {
            let before = core::mem::replace(&mut slot.now, now);
            let changed = core::mem::replace(&mut slot.changed, true);
            self.undo.push(Undo { key, now: before, changed });
        }
        Ok(())
    }

    /// Adds a row under a number that was just given out, which therefore nobody has used.
    fn add(&mut self, table: Numbered, number: u64, fields: Vec<u8>) {
        let key = Key::Number(table, number);
        self.slots.insert(key.clone(), Slot { before: None, now: Some(fields), changed: true });
        self.undo.push(Undo { key, now: None, changed: false });
    }

    pub(crate) fn enlist(&mut self, list: List, owner: &[u8], id: [u8; 16]) {
        self.listed.push((list, owner.to_vec(), id));
    }

    /// A number that was never given out before, in this partition or any other.
    fn next_number(&mut self) -> u64 {
        self.state.last_number += 1;
        self.state.last_number
    }

    /// The number of a new payment. No row has it, so none need be looked for.
    pub fn next_payment_number(&mut self) -> u64 {
        let number = self.next_number();
        let key = Key::Number(Numbered::Payments, number);
        self.slots.entry(key).or_insert(Slot { before: None, now: None, changed: false });
        number
    }

    /// The rows under an id that a name stands for.
    pub(crate) fn id_under(&mut self, name: &Key) -> Result<Option<[u8; 16]>, StoreError> {
        self.fields(name)?.map(|fields| rows::id(name.place().0, &fields)).transpose()
    }

    /// An account's purse: read once, and kept as what it is, since every command of a wearer's looks at it often.
    pub(crate) fn purse(&mut self, account: AccountId) -> Result<Option<&Purse>, StoreError> {
        let number = account.number();
        if !self.purses.contains_key(&number) {
            let fields = self.fields(&Key::purse(account))?;
            self.purses.insert(number, fields.map(|fields| Purse::from_row(&fields)).transpose()?);
        }
        Ok(self.purses.get(&number).and_then(Option::as_ref))
    }

    /// The purse of an account there is.
    pub(crate) fn present_purse(&mut self, account: AccountId) -> Result<&Purse, StoreError> {
        self.purse(account)?.ok_or(StoreError::Corrupt("purses"))
    }

    /// Changes the purse of an account there is.
    pub(crate) fn change_purse(
        &mut self,
        account: AccountId,
        change: impl FnOnce(&mut Purse),
    ) -> Result<(), StoreError> {
        self.present_purse(account)?;
        let number = account.number();
        let is_first = !self.undo_purses.iter().any(|(known, _)| *known == number);
        if let Some(Some(purse)) = self.purses.get_mut(&number) {
            if is_first {
                self.undo_purses.push((number, Some(purse.clone())));
            }
            change(purse);
        }
        Ok(())
    }

    /// The purse of an account from now on.
    pub(crate) fn put_purse(&mut self, account: AccountId, purse: Purse) {
        let number = account.number();
        let before = self.purses.insert(number, Some(purse)).flatten();
        if !self.undo_purses.iter().any(|(known, _)| *known == number) {
            self.undo_purses.push((number, before));
        }
    }

    pub(crate) fn stored_balance(&mut self, account: &LedgerAccount) -> Result<Balance, StoreError> {
        if account.kind == AccountKind::Wallet {
            return Ok(self.present_purse(AccountId(account.owner.0))?.balance);
        }
        let fields = self.fields(&Key::balance(account))?;
        fields.map_or_else(|| Ok(Balance::default()), |fields| Balance::from_row(&fields))
    }

    pub(crate) fn put_stored_balance(&mut self, account: &LedgerAccount, balance: Balance) -> Result<(), StoreError> {
        if account.kind == AccountKind::Wallet {
            let id = AccountId(account.owner.0);
            return self.change_purse(id, |purse| purse.balance = balance);
        }
        self.put(Key::balance(account), Some(balance.to_row()))
    }

    /// Appends a record to the partition's journal and returns its number.
    pub(crate) fn append(&mut self, record: &Record) -> u64 {
        let content = record.to_bytes();
        self.state.head = self.state.head.append(&content);
        let number = self.state.head.number;
        self.add(Numbered::Journal, number, [content, self.state.head.hash.to_vec()].concat());
        number
    }

    /// The number the next record will have.
    pub(crate) fn next_record(&self) -> u64 {
        self.state.head.number + 1
    }

    pub(crate) fn add_event(&mut self, at_ms: u64, subject: &str, name: &str, actor: &str) {
        let number = self.next_number();
        self.enlist(List::SubjectEvents, subject.as_bytes(), list_position(at_ms, number));
        self.add(Numbered::Events, number, rows::put_event(at_ms, subject, name, actor));
    }

    pub(crate) fn set_posted(&mut self, up_to: u64) {
        self.state.posted = up_to;
    }

    /// Everything that changed, ready to be written.
    pub(crate) fn into_writes(mut self) -> Result<Writes, StoreError> {
        for (number, purse) in core::mem::take(&mut self.purses) {
            let key = Key::Number(Numbered::Purses, number);
            let row = purse.map(|purse| purse.to_row());
            if self.known(&key) != row.as_deref() {
                self.put(key, row)?;
            }
        }
        let begun_at = self.fields(&Key::partition(self.partition))?;
        let begun_at = begun_at.map(|fields| PartitionState::from_row(&fields)).transpose()?;
        let unchanged = self.slots.values().all(|slot| !slot.changed);
        let lease = self.engine.lease();
        if unchanged && !lease.is_due && begun_at.is_none_or(|begun_at| begun_at == self.state) {
            return Ok(Writes::default());
        }
        let state = PartitionState {
            transactions: self.state.transactions + 1,
            holder: lease.holder,
            held_until_ms: lease.held_until_ms,
            ..self.state
        };
        self.put(Key::partition(self.partition), Some(state.to_row()))?;
        let changed = self.slots.into_iter().filter(|(_, slot)| slot.changed);
        let mut rows: Vec<RowWrite> = changed
            .map(|(key, Slot { before, now, .. })| {
                let after = now.map(|fields| match key {
                    // A record is bound to its place by its own hash.
                    Key::Number(Numbered::Journal, _) => fields,
                    _ => seal(&key, fields),
                });
                RowWrite { key, before, after }
            })
            .filter(|row| row.before != row.after)
            .collect();
        rows.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        self.listed.sort_unstable();
        Ok(Writes { rows, listed: self.listed })
    }
}

/// The place of an event in a list: its time, then its number.
fn list_position(at_ms: u64, number: u64) -> [u8; 16] {
    PaymentId::numbered(at_ms, number).0
}

/// The rows of the platform, by key. An absent row is `None`; a row that cannot be read is an error.
#[allow(missing_docs, clippy::missing_errors_doc, reason = "each method is named for the one row it reads")]
impl Tables<'_> {
    pub fn account(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let account = self.fields(&Key::account(id))?.map(|fields| rows::account(&fields)).transpose()?;
        Ok(account.filter(|account| account.id == id))
    }

    pub fn top_up(&mut self, account: AccountId, reference: &str) -> Result<Option<TopUp>, StoreError> {
        self.fields(&Key::top_up(account, reference))?.map(|fields| rows::top_up(&fields)).transpose()
    }

    pub fn merchant(&mut self, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
        let merchant = self.fields(&Key::merchant(id))?.map(|fields| rows::merchant(&fields)).transpose()?;
        Ok(merchant.filter(|merchant| merchant.id == id))
    }

    pub fn chip(&mut self, id: ChipId) -> Result<Option<Chip>, StoreError> {
        self.fields(&Key::chip(id))?.map(|fields| rows::chip(&fields)).transpose()
    }

    pub fn token(&mut self, id: TokenId) -> Result<Option<Token>, StoreError> {
        let place = self.fields(&Key::Number(Numbered::Tokens, id.number()))?;
        let place = place.map(|fields| rows::token_place(&fields)).transpose()?;
        let token = place.map_or(Ok(None), |place| self.token_at(&place))?;
        Ok(token.filter(|token| token.id == id))
    }

    pub fn token_by_index(&mut self, format: &CodeFormat, index: TokenIndex) -> Result<Option<Token>, StoreError> {
        self.token_at(&Key::token_number(format, index))
    }

    fn token_at(&mut self, place: &Key) -> Result<Option<Token>, StoreError> {
        let fields = self.fields(place)?;
        fields
            .map(|fields| {
                rows::join_token(&fields, |account, token| Ok(self.present_purse(account)?.spend_of(token).copied()))
            })
            .transpose()
    }

    /// The token of a chip that is neither revoked nor replaced, if there is one.
    pub fn token_of_chip(&mut self, chip: ChipId) -> Result<Option<Token>, StoreError> {
        let id = self.id_under(&Key::living_token(chip))?;
        id.map_or(Ok(None), |id| self.token(TokenId(id)))
    }

    /// The lowest token number never given out under a format.
    pub fn next_token_index(&mut self, format: &CodeFormat) -> Result<u64, StoreError> {
        let fields = self.fields(&Key::last_token_number(format))?;
        let last = fields.map_or(Ok(0), |fields| rows::number("last_token_numbers", &fields))?;
        u64::try_from(last).map(|last| last + 1).map_err(|_| StoreError::Corrupt("last_token_numbers"))
    }

    pub fn binding(&mut self, id: BindingId) -> Result<Option<Binding>, StoreError> {
        let fields = self.fields(&Key::Number(Numbered::Bindings, id.number()))?;
        let binding = fields.map(|fields| rows::binding(&fields)).transpose()?;
        Ok(binding.filter(|binding| binding.id == id))
    }

    /// The binding that began with this offer.
    pub fn binding_by_offer(&mut self, chip: ChipId, nonce: [u8; 8]) -> Result<Option<Binding>, StoreError> {
        let id = self.id_under(&Key::offer(chip, nonce))?;
        id.map_or(Ok(None), |id| self.binding(BindingId(id)))
    }

    pub fn payment(&mut self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        let fields = self.fields(&Key::Number(Numbered::Payments, id.number()))?;
        let payment = fields.map(|fields| rows::payment(&fields)).transpose()?;
        Ok(payment.filter(|payment| payment.id == id))
    }

    pub fn payment_by_order(
        &mut self,
        merchant: MerchantId,
        order: &MerchantNumber,
    ) -> Result<Option<Payment>, StoreError> {
        let id = self.id_under(&Key::order(merchant, order))?;
        id.map_or(Ok(None), |id| self.payment(PaymentId(id)))
    }

    pub fn refund(&mut self, merchant: MerchantId, number: &MerchantNumber) -> Result<Option<Refund>, StoreError> {
        let Some(id) = self.id_under(&Key::refund_number(merchant, number))? else { return Ok(None) };
        let id = RefundId(id);
        let fields = self.fields(&Key::Number(Numbered::Refunds, id.number()))?;
        fields.map(|fields| rows::refund(&fields)).transpose()
    }

    /// What an account has paid on a day; zero where nothing is recorded. A day that has begun stays: of two servers
    /// around midnight, the one whose clock is behind must not open the day before with nothing paid on it.
    pub fn day_use(&mut self, account: AccountId, day: i64) -> Result<DayUse, StoreError> {
        let purse = self.present_purse(account)?;
        let day = day.max(purse.day);
        let of_the_day = purse.day == day;
        Ok(DayUse {
            account,
            currency: purse.currency,
            day,
            total_minor: if of_the_day { purse.day_total_minor } else { 0 },
            unverified_minor: if of_the_day { purse.day_unverified_minor } else { 0 },
        })
    }

    /// What an account has paid on a day, where that is still known.
    pub fn use_of_day(&mut self, account: AccountId, day: i64) -> Result<Option<DayUse>, StoreError> {
        let is_known = self.present_purse(account)?.day == day;
        if is_known { self.day_use(account, day).map(Some) } else { Ok(None) }
    }

    /// An account's payments that wait to be confirmed.
    pub fn waiting_of(&mut self, account: AccountId) -> Result<Vec<PaymentId>, StoreError> {
        Ok(self.present_purse(account)?.waiting.clone())
    }

    /// A ledger balance in minor units; zero where nothing was ever booked.
    pub fn balance(&mut self, account: &LedgerAccount) -> Result<i64, StoreError> {
        Ok(self.stored_balance(account)?.minor)
    }

    /// What went through clearing since the last posting and what waited before, summed by merchant and currency, and the
    /// last record in the sums. At most `limit` records are read.
    pub fn unposted(&mut self, limit: usize) -> Result<(Vec<Unposted>, u64), StoreError> {
        let (from, head) = (self.state.posted, self.state.head.number);
        let records = self.engine.scan(Numbered::Journal, from, head, limit)?;
        let up_to = records.last().map_or(from, |(number, _)| *number);
        let mut sums: Vec<Unposted> = clearing_sums(&records, self.partition)?;
        // Refunds may have waited for payments that another partition has posted since: nothing here tells of those.
        let waiting = self.waiting()?.into_iter();
        let waiting = waiting.map(|(merchant, currency)| Unposted { merchant, currency, net_minor: 0 });
        // The sums are in this order.
        let place = |sum: &Unposted| (sum.merchant, sum.currency);
        let others: Vec<Unposted> =
            waiting.filter(|one| sums.binary_search_by_key(&place(one), place).is_err()).collect();
        sums.extend(others);
        for sum in &mut sums {
            let waiting = self.fields(&Key::waiting(self.partition, sum.merchant, sum.currency))?;
            let waiting = waiting.map_or(Ok(0), |fields| rows::number("waiting", &fields))?;
            sum.net_minor = sum.net_minor.checked_add(waiting).ok_or(StoreError::Corrupt("waiting"))?;
        }
        Ok((sums, up_to))
    }

    /// The merchants whose refunds wait in this partition, at most [`MAX_WAITING`]; the rest wait for a payment of theirs.
    fn waiting(&mut self) -> Result<Vec<(MerchantId, Currency)>, StoreError> {
        let partition = self.partition.to_be_bytes();
        let rows = self.engine.scan_names(Named::Waiting, &partition, MAX_WAITING)?;
        let mine = rows.iter().map(|(name, _)| name).take_while(|name| name.starts_with(&partition));
        mine.map(|name| Key::waiting_of(name).ok_or(StoreError::Corrupt("waiting"))).collect()
    }

    /// The balances of these accounts.
    pub fn balances(&mut self, accounts: &[LedgerAccount]) -> Result<Balances, StoreError> {
        accounts.iter().map(|account| Ok((*account, self.balance(account)?))).collect()
    }

    /// The balances that a payment or refund by this wearer touches.
    pub fn purse_balances(&mut self, account: AccountId, currency: Currency) -> Result<Balances, StoreError> {
        use ledger::posting::{clearing, wallet};
        self.balances(&[wallet(account.0, currency), clearing(self.partition, currency)])
    }

    /// The payments that have waited to be confirmed longer than until `now_ms`, at most `limit`.
    pub fn overdue(&mut self, now_ms: u64, limit: usize) -> Result<Vec<PaymentId>, StoreError> {
        let mut overdue = Vec::new();
        for (name, row) in self.engine.scan_names(Named::Pending, &[], limit)? {
            let until_ms = name.first_chunk::<8>().copied().map(u64::from_be_bytes);
            if until_ms.is_none_or(|until_ms| until_ms > now_ms) {
                break;
            }
            let key = Key::Name(Named::Pending, name);
            overdue.push(PaymentId(rows::id("pending", unseal(&key, &row)?)?));
        }
        Ok(overdue)
    }
}

/// What payments and refunds among these records left in a partition's clearing account, by merchant and currency.
pub(crate) fn clearing_sums(records: &[(u64, Vec<u8>)], partition: u32) -> Result<Vec<Unposted>, StoreError> {
    let mut sums: std::collections::BTreeMap<(MerchantId, Currency), i64> = std::collections::BTreeMap::new();
    for (_, row) in records {
        let record = record(row)?;
        if !record.kind.passes_through_clearing() {
            continue;
        }
        for line in &record.lines {
            let account = line.leg.account;
            if account == ledger::posting::clearing(partition, account.currency) {
                let sum = sums.entry((MerchantId(record.cause.counterparty), account.currency)).or_default();
                *sum = sum.checked_add(line.leg.change_minor()).ok_or(StoreError::Corrupt("journal"))?;
            }
        }
    }
    Ok(sums.into_iter().map(|((merchant, currency), net_minor)| Unposted { merchant, currency, net_minor }).collect())
}

/// The record in a row of the journal. Its hash is for who follows the chain.
pub(crate) fn record(row: &[u8]) -> Result<Record, StoreError> {
    let corrupt = StoreError::Corrupt("journal");
    let (content, _) = row.split_last_chunk::<{ GENESIS.len() }>().ok_or(corrupt.clone())?;
    Record::from_bytes(content).map_err(|_| corrupt)
}

/// What every command may use besides the tables.
#[derive(Clone)]
pub struct Env {
    /// Where keys come from.
    pub vault: Arc<dyn KeyVault>,
    /// The operator's choices.
    pub settings: Arc<Settings>,
    /// The mask keys a code may be under, the current one first. Held, because every code is unmasked with them; they
    /// hide token numbers and protect no money.
    pub masks: Arc<Vec<(u8, MaskKey)>>,
}

impl Env {
    /// Everything a command needs.
    ///
    /// # Errors
    /// [`VaultError`] where the vault does not answer.
    pub fn new(vault: Arc<dyn KeyVault>, settings: Arc<Settings>) -> Result<Self, VaultError> {
        let codes = &settings.codes;
        let masks = Arc::new(platform::mask_keys(vault.as_ref(), &codes.format, codes.suite)?);
        Ok(Self { vault, settings, masks })
    }
}

/// Why a command ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A rule refused it: nothing was changed, the transaction goes on.
    Refused(Refusal),
    /// The engine failed: the command was undone.
    Store(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<platform::Reason> for Failure {
    fn from(reason: platform::Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Something asked of the platform that may change what is stored.
///
/// `run` must change only after its rule has decided: a refusal leaves no trace. It may be run again, on rows read anew,
/// where another server changed one of them meanwhile.
pub trait Command: Send + 'static {
    /// What comes back.
    type Answer: Send + 'static;

    /// Whether it may run in any of several partitions: it is frequent, and changes rows of one wearer or order. What
    /// changes a row that all of its kind change runs in one, where it meets the others in a batch instead of a conflict.
    const IS_SPREAD: bool = false;

    /// Rows that `run` will ask for, as far as can be told from those known already. A hint: without it they are read
    /// one by one.
    ///
    /// # Errors
    /// Those of rows that cannot be read.
    fn wants(&self, _known: &Tables<'_>, _env: &Env) -> Result<Vec<Key>, StoreError> {
        Ok(Vec::new())
    }

    /// Loads, decides, changes.
    ///
    /// # Errors
    /// [`Failure`].
    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Self::Answer, Failure>;
}
