//! Accounts, top-ups, chips, bindings, syncs and the audit trail as rows.

use platform::accounts::{Account, TopUp};
use platform::bindings::{Binding, BindingState};
use platform::chips::{Chip, Origin};
use platform::syncs::{MAX_RESULTS, Notice, SyncState, TokenSync, Told, Work};
use platform::{AccountId, BindingId, ChipId, KeyHash, OnDay, PaymentId, Reason, ShipmentId, TokenId, TopUpId};

use super::FORM;
use super::codec::{Decoder, Encoder};
use super::on_day::{on_day, put_on_day};
use crate::{EventLine, StoreError};

/// The form of the row of a chip that came in a shipment.
const SHIPPED: u8 = 2;

pub(crate) fn put_account(row: &Account) -> Vec<u8> {
    Encoder::new(FORM)
        .raw(&row.id.0)
        .text(&row.name)
        .currency(row.currency)
        .raw(&row.wallet_key.0)
        .u64(row.created_ms)
        .finish()
}

pub(crate) fn account(fields: &[u8]) -> Result<Account, StoreError> {
    let mut row = Decoder::new("accounts", FORM, fields)?;
    let account = Account {
        id: AccountId(row.raw()?),
        name: row.text()?.to_owned(),
        currency: row.currency()?,
        wallet_key: KeyHash(row.raw()?),
        created_ms: row.u64()?,
    };
    row.end().map(|()| account)
}

pub(crate) fn put_top_up(row: &TopUp) -> Vec<u8> {
    Encoder::new(FORM)
        .raw(&row.id.0)
        .raw(&row.account.0)
        .text(&row.reference)
        .amount(row.amount)
        .u64(row.created_ms)
        .finish()
}

pub(crate) fn top_up(fields: &[u8]) -> Result<TopUp, StoreError> {
    let mut row = Decoder::new("top_ups", FORM, fields)?;
    let top_up = TopUp {
        id: TopUpId(row.raw()?),
        account: AccountId(row.raw()?),
        reference: row.text()?.to_owned(),
        amount: row.amount()?,
        created_ms: row.u64()?,
    };
    row.end().map(|()| top_up)
}

pub(crate) fn put_chip(row: &Chip) -> Vec<u8> {
    let form = if row.origin.is_some() { SHIPPED } else { FORM };
    let chip = Encoder::new(form).raw(&row.id.0).u8(row.key_version).u64(row.registered_ms);
    match row.origin {
        Some(origin) => chip.raw(&origin.shipment.0).raw(&origin.key_hash).finish(),
        None => chip.finish(),
    }
}

pub(crate) fn chip(fields: &[u8]) -> Result<Chip, StoreError> {
    let is_shipped = fields.first() == Some(&SHIPPED);
    let mut row = Decoder::new("chips", if is_shipped { SHIPPED } else { FORM }, fields)?;
    let (id, key_version, registered_ms) = (ChipId(row.raw()?), row.u8()?, row.u64()?);
    let origin = match is_shipped {
        true => Some(Origin { shipment: ShipmentId(row.raw()?), key_hash: row.raw()? }),
        false => None,
    };
    let chip = Chip { id, key_version, registered_ms, origin };
    row.end().map(|()| chip)
}

/// The form bindings have now. 2 added certificate, channels and failure.
const BINDING_FORM: u8 = 2;

pub(crate) fn put_binding(row: &Binding) -> Vec<u8> {
    Encoder::new(BINDING_FORM)
        .raw(&row.id.0)
        .raw(&row.account.0)
        .raw(&row.chip.0)
        .raw(&row.nonce)
        .raw(&row.token.0)
        .raw(&row.host_challenge)
        .u8(row.script)
        .maybe(row.card_answer.as_deref(), Encoder::bytes)
        .u64(row.anchor_s)
        .u32(row.offline_allowance_s)
        .u16(row.code_budget)
        .u8(row.state as u8)
        .u64(row.created_ms)
        .maybe(row.certificate.as_deref(), Encoder::bytes)
        .u8(row.channels)
        .maybe(row.failure.map(Reason::code), Encoder::text)
        .finish()
}

pub(crate) fn binding(fields: &[u8]) -> Result<Binding, StoreError> {
    let (mut row, form) = Decoder::up_to("bindings", BINDING_FORM, fields)?;
    let (id, account, chip) = (BindingId(row.raw()?), AccountId(row.raw()?), ChipId(row.raw()?));
    let (nonce, token, host_challenge) = (row.raw()?, TokenId(row.raw()?), row.raw()?);
    let (script, card_answer) = (row.u8()?, row.maybe(|row| row.bytes().map(<[u8]>::to_vec))?);
    let (anchor_s, offline_allowance_s, code_budget) = (row.u64()?, row.u32()?, row.u16()?);
    let state = BindingState::from_number(row.u8()?);
    let (state, created_ms) = (row.known(state)?, row.u64()?);
    let (mut certificate, mut channels, mut failure) = (None, script / 2, None);
    if form >= 2 {
        certificate = row.maybe(|row| row.bytes().map(<[u8]>::to_vec))?;
        channels = row.u8()?;
        failure = reason(&mut row)?;
    }
    let binding = Binding {
        id,
        account,
        chip,
        nonce,
        token,
        host_challenge,
        script,
        card_answer,
        anchor_s,
        offline_allowance_s,
        code_budget,
        state,
        created_ms,
        certificate,
        channels,
        failure,
    };
    row.end().map(|()| binding)
}

/// The form syncs have now. 2 added what the wearable is told of payments; 3 how many its chip has confirmed on a day.
const SYNC_FORM: u8 = 3;

pub(crate) fn put_sync(row: &TokenSync) -> Vec<u8> {
    let fields = Encoder::new(SYNC_FORM)
        .raw(&row.token.0)
        .raw(&row.session)
        .u8(row.work as u8)
        .raw(&row.host_challenge)
        .u8(row.script)
        .u8(row.channels)
        .maybe(row.card_answer.as_deref(), Encoder::bytes)
        .u64(row.anchor_s)
        .u32(row.offline_allowance_s)
        .u16(row.code_budget)
        .u8(row.mask_key_version)
        .maybe(row.counter_before, Encoder::u32)
        .u8(row.state as u8)
        .maybe(row.failure.map(Reason::code), Encoder::text)
        .u64(row.created_ms)
        .u8(row.told.len() as u8);
    let fields = row.told.iter().fold(fields, put_told).u8(row.notices.len() as u8);
    let notices = |fields, notice: &Notice| put_told(fields, &notice.told).bytes(&notice.bytes);
    put_on_day(row.notices.iter().fold(fields, notices), row.confirmed).finish()
}

fn put_told(fields: Encoder, told: &Told) -> Encoder {
    fields.raw(&told.payment.0).u8(told.outcome).u64(told.refunded_minor)
}

fn told(row: &mut Decoder<'_>) -> Result<Told, StoreError> {
    Ok(Told { payment: PaymentId(row.raw()?), outcome: row.u8()?, refunded_minor: row.u64()? })
}

pub(crate) fn sync(fields: &[u8]) -> Result<TokenSync, StoreError> {
    let (mut row, form) = Decoder::up_to("syncs", SYNC_FORM, fields)?;
    let (token, session) = (TokenId(row.raw()?), row.raw()?);
    let work = Work::from_number(row.u8()?);
    let work = row.known(work)?;
    let (host_challenge, script, channels) = (row.raw()?, row.u8()?, row.u8()?);
    let card_answer = row.maybe(|row| row.bytes().map(<[u8]>::to_vec))?;
    let (anchor_s, offline_allowance_s, code_budget) = (row.u64()?, row.u32()?, row.u16()?);
    let (mask_key_version, counter_before) = (row.u8()?, row.maybe(Decoder::u32)?);
    let state = SyncState::from_number(row.u8()?);
    let state = row.known(state)?;
    let failure = reason(&mut row)?;
    let created_ms = row.u64()?;
    let (mut told_before, mut notices) = (Vec::new(), Vec::new());
    if form >= 2 {
        for _ in 0..row.at_most(MAX_RESULTS)? {
            told_before.push(told(&mut row)?);
        }
        for _ in 0..row.at_most(MAX_RESULTS)? {
            notices.push(Notice { told: told(&mut row)?, bytes: row.bytes()?.to_vec() });
        }
    }
    let confirmed = if form >= 3 { on_day(&mut row)? } else { OnDay::default() };
    row.end().map(|()| TokenSync {
        confirmed,
        told: told_before,
        notices,
        token,
        session,
        work,
        host_challenge,
        script,
        channels,
        card_answer,
        anchor_s,
        offline_allowance_s,
        code_budget,
        mask_key_version,
        counter_before,
        state,
        failure,
        created_ms,
    })
}

/// Why something has failed, as the reason's code.
fn reason(row: &mut Decoder<'_>) -> Result<Option<Reason>, StoreError> {
    row.maybe(|row| {
        let reason = Reason::from_code(row.text()?);
        row.known(reason)
    })
}

/// The form lines of the audit trail have now. 2 added why.
const EVENT_FORM: u8 = 2;

pub(crate) fn put_event(line: &EventLine) -> Vec<u8> {
    let EventLine { at_ms, subject, name, actor, why } = line;
    Encoder::new(EVENT_FORM).u64(*at_ms).text(subject).text(name).text(actor).text(why).finish()
}

pub(crate) fn event(fields: &[u8]) -> Result<EventLine, StoreError> {
    let (mut row, form) = Decoder::up_to("events", EVENT_FORM, fields)?;
    let line = EventLine {
        at_ms: row.u64()?,
        subject: row.text()?.to_owned(),
        name: row.text()?.to_owned(),
        actor: row.text()?.to_owned(),
        why: if form >= 2 { row.text()?.to_owned() } else { String::new() },
    };
    row.end().map(|()| line)
}
