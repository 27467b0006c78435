//! The cloud's orders (STORE DATA), already proven to come from the cloud and to fit the lifecycle. Each is one
//! transaction: all of it, or none.

use crate::attestation;
use crate::counters::{Counters, TimeGrant};
use crate::domain::Domain;
use crate::hal::Flash;
use crate::passcode;
use crate::records::{self, CHIP_ID, CLOUD_KEYS, LIFECYCLE, PASSCODE, TRANSPORT_KEYS, TRIES, lifecycle_value};
use crate::rules::Rules;
use crate::store::{KEYS, Key, Store, Update};
use crate::token::TokenRecord;
use protocol::apdu::StatusWord;
use protocol::applet::{FactoryData, InstallToken, Lifecycle, Order, SetRules, Slot, StateChange, SyncGrant};

/// Obeys one order of this domain.
///
/// # Errors
/// 6982 where it is not this domain's to give, 6985 where the chip is not in a state for it, 6A80 where it can't be obeyed as given, 6A88 where the slot
/// is empty, 6F00 where the flash failed.
pub(crate) fn obey<F: Flash>(store: &mut Store<F>, domain: Domain, order: &Order<'_>) -> Result<(), StatusWord> {
    domain.expect_may(store, order)?;
    match order {
        Order::FactoryData(order) => leave_factory(store, order),
        Order::InstallToken(order) => install(store, order),
        Order::Sync(order) => sync(store, order),
        Order::RemoveToken(order) => remove(store, domain, order.slot),
        Order::SetState(StateChange::Terminate) => terminate(store),
        Order::SetState(StateChange::Suspend) => set(store, Lifecycle::Suspended),
        Order::SetState(StateChange::Resume) => set(store, Lifecycle::Bound),
        Order::Passcode(order) => passcode::help(store, *order),
        Order::SetRules(order) => set_rules(store, order),
        Order::StoreCertificate(order) => attestation::store_certificate(store, order),
    }
}

/// Blank → Ready: the chip gets its name and loses the transport keys, which everybody knows.
#[inline(never)]
fn leave_factory<F: Flash>(store: &mut Store<F>, order: &FactoryData<'_>) -> Result<(), StatusWord> {
    if !store.contains(CLOUD_KEYS)? {
        return Err(StatusWord::CONDITIONS_OF_USE);
    }
    store.transact(&[
        Update::Put(CHIP_ID, order.chip_id),
        Update::Remove(TRANSPORT_KEYS),
        Update::Put(LIFECYCLE, &lifecycle_value(Lifecycle::Ready)),
    ])?;
    Ok(())
}

/// Ready or Bound → Bound, with the token in its slot.
#[inline(never)]
fn install<F: Flash>(store: &mut Store<F>, order: &InstallToken<'_>) -> Result<(), StatusWord> {
    let mut record = TokenRecord::empty();
    let (counters, same_token) = counters_of_new(store, order, &mut record)?;
    record.fill(order)?;
    let (counters, grant) = (counters.to_bytes(), TimeGrant::of(&order.grant).to_bytes());
    let lifecycle = lifecycle_value(Lifecycle::Bound);
    let mut updates = Updates::new();
    updates.push(Update::Put(records::token(order.slot), record.as_bytes()));
    updates.push(Update::Put(records::counters(order.slot), &counters));
    updates.push(Update::Put(records::grant(order.slot), &grant));
    updates.push(Update::Put(LIFECYCLE, &lifecycle));
    if !same_token {
        for key in records::of_token(order.slot).skip(3) {
            updates.remove(store, key)?;
        }
        // The last token of whoever had the chip before goes, and the passcode was that owner's.
        if records::is_occupied(store, order.slot)? && !another_is_occupied(store, order.slot)? {
            updates.remove(store, PASSCODE)?;
            updates.remove(store, TRIES)?;
        }
    }
    store.transact(updates.as_slice())?;
    Ok(())
}

/// The counters a token begins with, and whether it is the one the slot holds already. A token that is installed again over itself (the cloud did not get the
/// answer) keeps its last stamp and transaction counter, and no token may be in two slots: either would make
/// a code twice.
fn counters_of_new<F: Flash>(
    store: &mut Store<F>,
    order: &InstallToken<'_>,
    held: &mut TokenRecord,
) -> Result<(Counters, bool), StatusWord> {
    let mut counters = Counters::new(order.grant.code_budget);
    let mut same_token = false;
    for slot in Slot::all() {
        if !records::is_occupied(store, slot)? {
            continue;
        }
        held.read(store, slot)?;
        if held.token_id() != order.token_id {
            continue;
        }
        if slot != order.slot {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        counters = Counters { codes_left: order.grant.code_budget, ..read_counters(store, slot)? };
        same_token = true;
    }
    Ok((counters, same_token))
}

/// A new grant, and now and then a new mask key.
#[inline(never)]
fn sync<F: Flash>(store: &mut Store<F>, order: &SyncGrant<'_>) -> Result<(), StatusWord> {
    let mut record = TokenRecord::empty();
    record.read(store, order.slot)?;
    let counters = Counters { codes_left: order.grant.code_budget, ..read_counters(store, order.slot)? }.to_bytes();
    let grant = TimeGrant::of(&order.grant).to_bytes();
    let counters = Update::Put(records::counters(order.slot), &counters);
    let grant = Update::Put(records::grant(order.slot), &grant);
    match &order.mask_key {
        None => store.transact(&[counters, grant])?,
        Some(update) => {
            record.set_mask_key(update);
            store.transact(&[counters, grant, Update::Put(records::token(order.slot), record.as_bytes())])?;
        }
    }
    Ok(())
}

/// Forgets a token, and with it, where the root asks, a domain of its own. With the last token goes the passcode:
/// who binds the chip next sets an own one.
#[inline(never)]
fn remove<F: Flash>(store: &mut Store<F>, domain: Domain, slot: Slot) -> Result<(), StatusWord> {
    let occupied = records::is_occupied(store, slot)?;
    let own_keys = store.contains(records::slot_keys(slot))?;
    let domain_goes = own_keys && domain == Domain::Root;
    if !occupied && !domain_goes {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    let lifecycle = lifecycle_value(Lifecycle::Ready);
    let mut updates = Updates::new();
    for key in records::of_token(slot) {
        updates.remove(store, key)?;
    }
    if domain_goes {
        updates.remove(store, records::slot_keys(slot))?;
    }
    if records::chosen_slot(store)? == Some(slot) {
        updates.push(records::NO_SLOT_CHOSEN);
    }
    if occupied && !another_is_occupied(store, slot)? {
        updates.remove(store, PASSCODE)?;
        updates.remove(store, TRIES)?;
        updates.push(Update::Put(LIFECYCLE, &lifecycle));
    }
    store.transact(updates.as_slice())?;
    Ok(())
}

/// What a token asks of the passcode.
#[inline(never)]
fn set_rules<F: Flash>(store: &mut Store<F>, order: &SetRules) -> Result<(), StatusWord> {
    if !records::is_occupied(store, order.slot)? {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    store.transact(&[Update::Put(records::rules(order.slot), &Rules::of(order).to_bytes())])?;
    Ok(())
}

/// Changes collected for one transaction.
struct Updates<'a> {
    updates: [Update<'a>; KEYS],
    count: usize,
}

impl<'a> Updates<'a> {
    const fn new() -> Self {
        Self { updates: [Update::Remove(LIFECYCLE); KEYS], count: 0 }
    }

    fn push(&mut self, update: Update<'a>) {
        if let Some(place) = self.updates.get_mut(self.count) {
            *place = update;
            self.count += 1;
        }
    }

    /// Removes `key` where it is there at all: a removal costs flash too.
    fn remove<F: Flash>(&mut self, store: &mut Store<F>, key: Key) -> Result<(), StatusWord> {
        if store.contains(key)? {
            self.push(Update::Remove(key));
        }
        Ok(())
    }

    fn as_slice(&self) -> &[Update<'a>] {
        self.updates.get(..self.count).unwrap_or(&[])
    }
}

/// The end: everything is wiped but chip id and lifecycle, which stay to tell the tale.
#[inline(never)]
pub(crate) fn terminate<F: Flash>(store: &mut Store<F>) -> Result<(), StatusWord> {
    let lifecycle = lifecycle_value(Lifecycle::Terminated);
    let mut updates = Updates::new();
    for key in Key::all().filter(|key| *key != LIFECYCLE && *key != CHIP_ID) {
        updates.remove(store, key)?;
    }
    updates.push(Update::Put(LIFECYCLE, &lifecycle));
    store.transact(updates.as_slice())?;
    Ok(())
}

/// Bound ↔ Suspended. Asked for the state it is in already (the cloud did not get the answer), nothing is
/// written.
fn set<F: Flash>(store: &mut Store<F>, lifecycle: Lifecycle) -> Result<(), StatusWord> {
    if records::lifecycle(store)? != lifecycle {
        store.transact(&[Update::Put(LIFECYCLE, &lifecycle_value(lifecycle))])?;
    }
    Ok(())
}

fn another_is_occupied<F: Flash>(store: &mut Store<F>, but: Slot) -> Result<bool, StatusWord> {
    for slot in Slot::all() {
        if slot != but && records::is_occupied(store, slot)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The counters of the token in an occupied slot.
pub(crate) fn read_counters<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<Counters, StatusWord> {
    Counters::from_bytes(records::read_present(store, records::counters(slot))?).ok_or(StatusWord::INTERNAL)
}

/// The grant of the token in an occupied slot.
pub(crate) fn read_grant<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<TimeGrant, StatusWord> {
    Ok(TimeGrant::from_bytes(records::read_present(store, records::grant(slot))?))
}
