//! The cloud's orders (STORE DATA), already proven to come from the cloud and to fit the lifecycle. Each is one
//! transaction: all of it, or none.

use crate::attestation;
use crate::counters::{Counters, TimeGrant};
use crate::hal::Flash;
use crate::records::{self, CHIP_ID, CLOUD_KEYS, LIFECYCLE, PASSCODE, TRANSPORT_KEYS, TRIES, lifecycle_value};
use crate::store::{KEYS, Key, Store, Update};
use crate::token::{MAX_RECORD_BYTES, TokenRecord};
use protocol::apdu::StatusWord;
use protocol::applet::{FactoryData, InstallToken, Lifecycle, Order, Slot, StateChange, SyncGrant};
use zeroize::Zeroizing;

/// Obeys one order.
///
/// # Errors
/// 6985 where the chip is not in a state for it, 6A80 where it can't be obeyed as given, 6A88 where the slot
/// is empty, 6F00 where the flash failed.
pub(crate) fn obey<F: Flash>(store: &mut Store<F>, order: &Order<'_>) -> Result<(), StatusWord> {
    match order {
        Order::FactoryData(order) => leave_factory(store, order),
        Order::InstallToken(order) => install(store, order),
        Order::Sync(order) => sync(store, order),
        Order::RemoveToken(order) => remove(store, order.slot),
        Order::SetState(StateChange::Terminate) => terminate(store),
        Order::SetState(StateChange::Suspend) => set(store, Lifecycle::Suspended),
        Order::SetState(StateChange::Resume) => set(store, Lifecycle::Bound),
        Order::StoreCertificate(order) => attestation::store_certificate(store, order),
    }
}

/// Blank → Ready: the chip gets its name and loses the transport keys, which everybody knows.
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
fn install<F: Flash>(store: &mut Store<F>, order: &InstallToken<'_>) -> Result<(), StatusWord> {
    let record = TokenRecord::of(order)?;
    let counters = counters_of_new(store, order)?;
    let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
    store.transact(&[
        Update::Put(records::token(order.slot), record.to_bytes(&mut bytes)),
        Update::Put(records::counters(order.slot), &counters.to_bytes()),
        Update::Put(records::grant(order.slot), &TimeGrant::of(&order.grant).to_bytes()),
        Update::Put(LIFECYCLE, &lifecycle_value(Lifecycle::Bound)),
    ])?;
    Ok(())
}

/// The counters a token begins with. A token that is installed again over itself (the cloud did not get the
/// answer) keeps its last stamp and transaction counter, and no token may be in two slots: either would make
/// a code twice.
fn counters_of_new<F: Flash>(store: &mut Store<F>, order: &InstallToken<'_>) -> Result<Counters, StatusWord> {
    let mut counters = Counters::new(order.grant.code_budget);
    for slot in Slot::all() {
        if !records::is_occupied(store, slot)? || TokenRecord::read(store, slot)?.token_id != *order.token_id {
            continue;
        }
        if slot != order.slot {
            return Err(StatusWord::CONDITIONS_OF_USE);
        }
        counters = Counters { codes_left: order.grant.code_budget, ..read_counters(store, slot)? };
    }
    Ok(counters)
}

/// A new grant, and now and then a new mask key.
fn sync<F: Flash>(store: &mut Store<F>, order: &SyncGrant<'_>) -> Result<(), StatusWord> {
    let mut record = TokenRecord::read(store, order.slot)?;
    let counters = Counters { codes_left: order.grant.code_budget, ..read_counters(store, order.slot)? }.to_bytes();
    let grant = TimeGrant::of(&order.grant).to_bytes();
    let counters = Update::Put(records::counters(order.slot), &counters);
    let grant = Update::Put(records::grant(order.slot), &grant);
    match &order.mask_key {
        None => store.transact(&[counters, grant])?,
        Some(update) => {
            record.set_mask_key(update);
            let mut bytes = Zeroizing::new([0; MAX_RECORD_BYTES]);
            store.transact(&[counters, grant, Update::Put(records::token(order.slot), record.to_bytes(&mut bytes))])?;
        }
    }
    Ok(())
}

/// Forgets a token. With the last one goes the passcode: who binds the chip next sets an own one.
fn remove<F: Flash>(store: &mut Store<F>, slot: Slot) -> Result<(), StatusWord> {
    if !records::is_occupied(store, slot)? {
        return Err(StatusWord::REFERENCE_NOT_FOUND);
    }
    let gone = [
        Update::Remove(records::token(slot)),
        Update::Remove(records::counters(slot)),
        Update::Remove(records::grant(slot)),
    ];
    if another_is_occupied(store, slot)? {
        store.transact(&gone)?;
        return Ok(());
    }
    let [token, counters, grant] = gone;
    store.transact(&[
        token,
        counters,
        grant,
        Update::Remove(PASSCODE),
        Update::Remove(TRIES),
        Update::Put(LIFECYCLE, &lifecycle_value(Lifecycle::Ready)),
    ])?;
    Ok(())
}

/// The end: everything is wiped but chip id and lifecycle, which stay to tell the tale.
fn terminate<F: Flash>(store: &mut Store<F>) -> Result<(), StatusWord> {
    let lifecycle = lifecycle_value(Lifecycle::Terminated);
    let mut updates = [Update::Put(LIFECYCLE, &lifecycle); KEYS];
    let mut count = 1;
    for key in Key::all() {
        if key != LIFECYCLE && key != CHIP_ID && store.contains(key)? {
            updates[count] = Update::Remove(key);
            count += 1;
        }
    }
    store.transact(updates.get(..count).unwrap_or(&[]))?;
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
