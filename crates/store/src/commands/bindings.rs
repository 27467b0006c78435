//! Starting a binding and carrying it on.

use platform::bindings::{
    self, Binding, BindingKeys, MAX_UNDER_WAY, OfAccount, Provenance, RelayAnswer, RelayFacts, StartFacts, StartRequest,
};
use platform::chips::Chip;
use platform::makers::chip_keys_of_batch;
use platform::makers::shipments::Shipment;
use platform::tokens::TokenState;
use platform::{BindingId, Caller, Change, Event, Reason, Refusal, TokenId, UnixMs};
use protocol::scp03::KeySet;

use crate::key::Key;
use crate::rows::MAX_REFUSED_STARTS;
use crate::{Command, Env, Failure, StoreError, Tables};

/// Starts a binding from a wearable's offer. What is refused is in the audit trail, under the chip: the first few of an account
/// and day.
pub struct StartBinding(pub StartRequest);

impl Command for StartBinding {
    type Answer = Result<RelayAnswer, Refusal>;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Self::Answer, Failure> {
        let request = &self.0;
        tables.account(request.account)?.ok_or(Reason::AccountNotFound)?;
        let before = tables.binding_by_offer(request.offer.chip, request.offer.nonce)?;
        let before = before.map(|binding| known(binding, tables, env)).transpose()?;
        let chip = tables.present_chip(request.offer.chip)?;
        let provenance =
            chip.as_ref().map_or(Ok(None), |(chip, shipment)| provenance(chip, shipment.as_ref(), tables))?;
        let facts = StartFacts {
            chip: chip.map(|(chip, _)| chip),
            provenance,
            living: tables.token_of_chip(request.offer.chip)?,
            before,
            next_index: tables.next_token_index(&env.settings.codes.format, request.account)?,
            versions: env.vault.versions(),
            of_account: of_account(request, tables, env)?,
        };
        let started = bindings::start(request, facts, &env.settings);
        let (answer, changes) = match started {
            Ok((answer, changes)) => (Ok(answer), changes),
            Err(refusal) if is_kept(request, tables, env)? => {
                (Err(refusal), vec![Change::AddEvent(refused(request, refusal.reason))])
            }
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        tables.apply_all(&changes)?;
        Ok(answer)
    }
}

/// What the account has bound and begun to bind before.
fn of_account(request: &StartRequest, tables: &mut Tables<'_>, env: &Env) -> Result<OfAccount, Failure> {
    use TokenState::{Pending, Revoked};
    let this_chips = tables.id_under(&Key::living_token(request.offer.chip))?;
    let purse = tables.present_purse(request.account)?;
    let begun_today = purse.begun_bindings.on(env.settings.day_of(request.now_ms)).count;
    let wearables = purse.tokens_in(|state| !matches!(state, Pending | Revoked)).count();
    let pending = purse.tokens_in(|state| state == Pending);
    let under_way: Vec<TokenId> = pending.filter(|id| Some(id.0) != this_chips).collect();
    let gives_way = match under_way.first() {
        Some(oldest) if under_way.len() >= MAX_UNDER_WAY => tables.token(*oldest)?,
        _ => None,
    };
    Ok(OfAccount { begun_today, wearables, gives_way })
}

/// Whether the audit trail keeps one more refused start of this account today, and counts it. Whoever has a wallet's key can
/// think of chips for ever; the trail is not theirs to fill.
fn is_kept(request: &StartRequest, tables: &mut Tables<'_>, env: &Env) -> Result<bool, Failure> {
    let day = env.settings.day_of(request.now_ms);
    let known = tables.present_purse(request.account)?.refused_starts;
    let Some(counted) = known.one_more(day, MAX_REFUSED_STARTS) else { return Ok(false) };
    tables.change_purse(request.account, |purse| purse.refused_starts = counted)?;
    Ok(true)
}

/// The line of the audit trail for a binding that was refused before it began.
fn refused(request: &StartRequest, reason: Reason) -> Event {
    Event {
        at_ms: request.now_ms,
        subject: request.offer.chip.to_string(),
        name: "binding_refused",
        actor: Caller::Wearer(request.account).name(),
        why: reason.code().to_owned(),
    }
}

/// A message from a wearable that is being bound.
pub struct RelayBinding {
    /// Who carries it.
    pub caller: Caller,
    /// Of which binding.
    pub id: BindingId,
    /// The message.
    pub message: Vec<u8>,
    /// Fresh random bytes.
    pub host_challenge: [u8; 8],
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for RelayBinding {
    type Answer = RelayAnswer;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<RelayAnswer, Failure> {
        let binding = tables.binding(self.id)?.ok_or(Reason::BindingNotFound)?;
        let facts = known(binding, tables, env)?;
        let (answer, changes) =
            bindings::relay(self.caller, facts, &self.message, self.host_challenge, &env.settings, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(answer)
    }
}

/// What is due for a wearable that is being bound.
pub struct DueOfBinding {
    /// Who carries it.
    pub caller: Caller,
    /// Of which binding.
    pub id: BindingId,
}

impl Command for DueOfBinding {
    type Answer = RelayAnswer;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<RelayAnswer, Failure> {
        let binding = tables.binding(self.id)?.ok_or(Reason::BindingNotFound)?;
        let facts = known(binding, tables, env)?;
        Ok(bindings::due(self.caller, facts)?)
    }
}

/// Everything a step of this binding needs.
fn known(binding: Binding, tables: &mut Tables<'_>, env: &Env) -> Result<RelayFacts, Failure> {
    let token = tables.token(binding.token)?.ok_or(StoreError::Corrupt("binding's token"))?;
    let account = tables.account(binding.account)?.ok_or(StoreError::Corrupt("binding's account"))?;
    let chip = tables.present_chip(binding.chip)?;
    let (chip, shipment) = chip.ok_or(StoreError::Corrupt("binding's chip"))?;
    let chip_keys = chip_keys(&chip, shipment.as_ref(), env)?;
    let keys = BindingKeys {
        chip: chip_keys,
        pay: env.vault.pay_key(&token.format, token.index, token.pay_key_version)?,
        mask: env.vault.mask_key(&token.format, token.mask_key_version)?,
    };
    let provenance = provenance(&chip, shipment.as_ref(), tables)?;
    Ok(RelayFacts { binding, token, account, provenance, keys })
}

/// The keys of a chip's channel: of its batch, where it came in a shipment.
pub(super) fn chip_keys(chip: &Chip, shipment: Option<&Shipment>, env: &Env) -> Result<KeySet, Failure> {
    let Some(shipment) = shipment else { return Ok(env.vault.chip_keys(chip.id, chip.key_version)?) };
    let batch_key = env.vault.batch_key(shipment.header.batch, chip.key_version)?;
    Ok(chip_keys_of_batch(&batch_key, chip.id, chip.key_version)?)
}

/// Where a chip comes from, as things stand now.
fn provenance(
    chip: &Chip,
    shipment: Option<&Shipment>,
    tables: &mut Tables<'_>,
) -> Result<Option<Provenance>, Failure> {
    let Some((origin, shipment)) = chip.origin.zip(shipment) else { return Ok(None) };
    let header = &shipment.header;
    let maker = tables.maker(&header.maker)?.ok_or(StoreError::Corrupt("shipment's maker"))?;
    Ok(Some(Provenance {
        key_hash: origin.key_hash,
        model: tables.chip_model(&header.maker, &header.model)?,
        ended_by_root: tables.revoked_list(&maker.root.fingerprint())?,
        ended_by_line: tables.revoked_list(&header.authority.fingerprint())?,
        header: header.clone(),
        maker,
    }))
}
