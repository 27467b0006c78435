//! What commands see of an engine: one working set for a whole batch of them. Rows are read when first asked for, and
//! changes stay here until the batch is written, each row once, however many commands changed it.
//!
//! A command can be undone alone: nothing of it has reached the engine yet.

use std::cell::Cell;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use ledger::journal::Record;
use ledger::{AccountKind, LedgerAccount};
use platform::{AccountId, PaymentId};

use crate::engine::{Engine, RowWrite, Writes};
use crate::homes::Homes;
use crate::key::{Key, List, Numbered};
use crate::rows::codec::{seal, unseal, without_seal};
use crate::rows::{self, Balance, PartitionState, PostingUnderWay, Purse};
use crate::{EventLine, StoreError};

/// The most rounds of reading ahead for one batch: an order, its token, its purse, and one to spare.
const MAX_ROUNDS: usize = 4;

/// Rows that a batch's working set has room for from the first; where there are more, it grows.
const SLOTS: usize = 224;
/// The room a working set may leave to the next one of its thread: that of a large batch.
const MAX_SPARE_SLOTS: usize = 8 * SLOTS;

thread_local! {
    /// The room of the working set before: so much memory is slow to come by, and there are a thousand batches a second.
    static SPARE: Cell<HashMap<Key, Slot>> = Cell::default();
}

/// A row as it was read, and as it is now.
struct Slot {
    /// As the engine holds it, with its seal.
    before: Option<Vec<u8>>,
    now: Now,
}

/// What a row is now.
enum Now {
    /// What was read.
    AsRead,
    /// These fields; `None` where it was removed.
    Changed(Option<Vec<u8>>),
}

impl Slot {
    /// A row that is as the engine has given it.
    fn read(engine: &dyn Engine, key: &Key, before: Option<Vec<u8>>) -> Result<Self, StoreError> {
        if let Some(row) = before.as_deref().filter(|_| !engine.has_checked(key)) {
            unseal(key, row)?;
        }
        Ok(Self { before, now: Now::AsRead })
    }

    /// Its fields now.
    fn fields(&self) -> Option<&[u8]> {
        match &self.now {
            Now::AsRead => self.before.as_deref().map(without_seal),
            Now::Changed(fields) => fields.as_deref(),
        }
    }

    fn is_changed(&self) -> bool {
        matches!(self.now, Now::Changed(_))
    }
}

/// The slot of a row, which is read where it has not been.
fn slot<'s>(engine: &mut dyn Engine, slots: &'s mut HashMap<Key, Slot>, key: &Key) -> Result<&'s mut Slot, StoreError> {
    match slots.entry(key.clone()) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(place) => {
            let row = engine.read(core::slice::from_ref(key))?.pop().flatten();
            Ok(place.insert(Slot::read(engine, key, row)?))
        }
    }
}

/// What a row was before the command that runs.
struct Undo {
    key: Key,
    now: Now,
}

/// The working set of one batch.
pub struct Tables<'e> {
    engine: &'e mut dyn Engine,
    slots: HashMap<Key, Slot>,
    listed: Vec<(List, Vec<u8>, [u8; 16])>,
    state: PartitionState,
    partition: u32,
    homes: Homes,
    home: u16,
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
        let (homes, home) = (engine.homes(), engine.home());
        let empty = PartitionState::new(partition);
        let mut tables = Self {
            engine,
            slots: room(),
            listed: Vec::new(),
            state: empty,
            partition,
            homes,
            home,
            purses: HashMap::new(),
            undo: Vec::new(),
            undo_purses: Vec::new(),
            kept: (0, empty),
        };
        if let Some(fields) = tables.fields(&Key::partition(partition))? {
            tables.state = PartitionState::from_row(fields)?;
        }
        tables.keep_command();
        Ok(tables)
    }

    /// The partition that is written.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How many homes rows have.
    pub fn homes(&self) -> Homes {
        self.homes
    }

    /// The home that is written.
    pub fn home(&self) -> u16 {
        self.home
    }

    /// The balance that is kept here of an account that is no wearer's.
    pub(crate) fn balance_key(&self, account: &LedgerAccount) -> Key {
        self.homes.balance(account, self.home)
    }

    /// How far the partition is, with what this batch has added.
    pub(crate) fn state(&self) -> &PartitionState {
        &self.state
    }

    /// The engine, for looking over many rows at once: it knows nothing of what this batch has changed.
    pub(crate) fn engine(&mut self) -> &mut dyn Engine {
        self.engine
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
        for Undo { key, now } in self.undo.drain(..).rev() {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.now = now;
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
                let slot = Slot::read(self.engine, &key, row)?;
                self.slots.insert(key, slot);
            }
        }
        Ok(())
    }

    /// Whether the rows that were read and are not to be written are what they were: read once more, all at once. Each was
    /// the same before this began and after, so there was a moment when all of them were there together.
    pub(crate) fn still_stands(&mut self) -> Result<bool, StoreError> {
        let (own, slots) = (Key::partition(self.partition), self.slots.iter());
        let read = slots.filter(|(key, slot)| !slot.is_changed() && **key != own);
        let (keys, befores): (Vec<Key>, Vec<_>) = read.map(|(key, slot)| (key.clone(), slot.before.clone())).unzip();
        Ok(self.engine.read(&keys)? == befores)
    }

    /// A row that has been read ahead; `None` also where it has not.
    pub(crate) fn known(&self, key: &Key) -> Option<&[u8]> {
        self.slots.get(key).and_then(Slot::fields)
    }

    /// The fields of a row.
    pub(crate) fn fields(&mut self, key: &Key) -> Result<Option<&[u8]>, StoreError> {
        slot(self.engine, &mut self.slots, key).map(|slot| slot.fields())
    }

    /// Changes a row; `None` removes it. What stays as it is is not written.
    pub(crate) fn put(&mut self, key: Key, now: Option<Vec<u8>>) -> Result<(), StoreError> {
        let slot = slot(self.engine, &mut self.slots, &key)?;
        if slot.fields() != now.as_deref() {
            let now = core::mem::replace(&mut slot.now, Now::Changed(now));
            self.undo.push(Undo { key, now });
        }
        Ok(())
    }

    /// Adds a row under a number that was just given out, which therefore nobody has used.
    fn add(&mut self, table: Numbered, number: u64, fields: Vec<u8>) {
        self.add_unread(Key::Number(table, number), fields);
    }

    /// Adds a row that cannot be there yet, without looking whether it is; were it, the write would say so.
    pub(crate) fn add_unread(&mut self, key: Key, fields: Vec<u8>) {
        self.slots.insert(key.clone(), Slot { before: None, now: Now::Changed(Some(fields)) });
        self.undo.push(Undo { key, now: Now::AsRead });
    }

    pub(crate) fn enlist(&mut self, list: List, owner: &[u8], id: [u8; 16]) {
        self.listed.push((list, owner.to_vec(), id));
    }

    /// A number that was never given out before, in this partition or any other, and that falls to this home.
    pub(crate) fn next_number_in(&mut self, home: u16) -> u64 {
        self.state.last_number = self.homes.next_number(self.state.last_number, home);
        self.state.last_number
    }

    /// The number of a new payment. No row has it, so none need be looked for.
    pub fn next_payment_number(&mut self) -> u64 {
        let number = self.next_number_in(self.home);
        let key = Key::Number(Numbered::Payments, number);
        self.slots.entry(key).or_insert(Slot { before: None, now: Now::AsRead });
        number
    }

    /// The rows under an id that a name stands for.
    pub(crate) fn id_under(&mut self, name: &Key) -> Result<Option<[u8; 16]>, StoreError> {
        self.fields(name)?.map(|fields| rows::id(name.place().0, fields)).transpose()
    }

    /// An account's purse: read once, and kept as what it is, since every command of a wearer's looks at it often.
    pub(crate) fn purse(&mut self, account: AccountId) -> Result<Option<&Purse>, StoreError> {
        self.purse_under(account.number())
    }

    /// The purse of the account with this number.
    pub(crate) fn purse_under(&mut self, number: u64) -> Result<Option<&Purse>, StoreError> {
        let purse = match self.purses.entry(number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let key = Key::Number(Numbered::Purses, number);
                let fields = slot(self.engine, &mut self.slots, &key)?.fields();
                place.insert(fields.map(Purse::from_row).transpose()?)
            }
        };
        Ok(purse.as_ref())
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
        let fields = self.fields(&self.balance_key(account))?;
        fields.map_or_else(|| Ok(Balance::default()), Balance::from_row)
    }

    pub(crate) fn put_stored_balance(&mut self, account: &LedgerAccount, balance: Balance) -> Result<(), StoreError> {
        if account.kind == AccountKind::Wallet {
            let id = AccountId(account.owner.0);
            return self.change_purse(id, |purse| purse.balance = balance);
        }
        self.put(self.balance_key(account), Some(balance.to_row()))
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

    pub(crate) fn add_event(&mut self, line: &EventLine) {
        let number = self.next_number_in(self.home);
        self.enlist(List::SubjectEvents, line.subject.as_bytes(), list_position(line.at_ms, number));
        self.add(Numbered::Events, number, rows::put_event(line));
    }

    /// Everything up to a record has been posted.
    pub(crate) fn set_posted(&mut self, up_to: u64) {
        self.state.posted = up_to;
        self.state.posting = None;
    }

    /// A posting is done in part.
    pub(crate) fn set_posting(&mut self, posting: PostingUnderWay) {
        self.state.posting = Some(posting);
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
        let begun_at = begun_at.map(PartitionState::from_row).transpose()?;
        let unchanged = !self.slots.values().any(Slot::is_changed);
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
        let changed = self.slots.drain().filter_map(|(key, Slot { before, now })| match now {
            Now::AsRead => None,
            Now::Changed(fields) => {
                let after = fields.map(|fields| match key {
                    // A record is bound to its place by its own hash.
                    Key::Number(Numbered::Journal, _) => fields,
                    _ => seal(&key, fields),
                });
                Some(RowWrite { key, before, after })
            }
        });
        let mut rows: Vec<RowWrite> = changed.filter(|row| row.before != row.after).collect();
        if self.slots.capacity() <= MAX_SPARE_SLOTS {
            SPARE.set(self.slots);
        }
        rows.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        self.listed.sort_unstable();
        Ok(Writes { rows, listed: self.listed })
    }
}

/// An empty working set's room: what the one before it has left, or new.
fn room() -> HashMap<Key, Slot> {
    let mut spare = SPARE.take();
    spare.reserve(SLOTS);
    spare
}

/// The place of an event in a list: its time, then its number.
pub(crate) fn list_position(at_ms: u64, number: u64) -> [u8; 16] {
    PaymentId::numbered(at_ms, number).0
}
