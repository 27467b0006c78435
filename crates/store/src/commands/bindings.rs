//! Starting a binding and carrying it on.

use platform::bindings::{self, Binding, BindingKeys, RelayAnswer, RelayFacts, StartFacts, StartRequest};
use platform::makers::chip_keys_of_batch;
use platform::{BindingId, Caller, Reason, UnixMs};

use crate::{Command, Env, Failure, StoreError, Tables};

/// Starts a binding from a wearable's offer.
pub struct StartBinding(pub StartRequest);

impl Command for StartBinding {
    type Answer = RelayAnswer;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<RelayAnswer, Failure> {
        let request = &self.0;
        tables.account(request.account)?.ok_or(Reason::AccountNotFound)?;
        let before = tables.binding_by_offer(request.offer.chip, request.offer.nonce)?;
        let before = before.map(|binding| known(binding, tables, env)).transpose()?;
        let facts = StartFacts {
            chip: tables.present_chip(request.offer.chip)?.map(|(chip, _)| chip),
            living: tables.token_of_chip(request.offer.chip)?,
            before,
            next_index: tables.next_token_index(&env.settings.codes.format, request.account)?,
            versions: env.vault.versions(),
        };
        let (answer, changes) = bindings::start(request, facts, &env.settings)?;
        tables.apply_all(&changes)?;
        Ok(answer)
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

/// Everything a step of this binding needs.
fn known(binding: Binding, tables: &mut Tables<'_>, env: &Env) -> Result<RelayFacts, Failure> {
    let token = tables.token(binding.token)?.ok_or(StoreError::Corrupt("binding's token"))?;
    let account = tables.account(binding.account)?.ok_or(StoreError::Corrupt("binding's account"))?;
    let chip = tables.present_chip(binding.chip)?;
    let (chip, shipment) = chip.ok_or(StoreError::Corrupt("binding's chip"))?;
    let chip_keys = match &shipment {
        None => env.vault.chip_keys(chip.id, chip.key_version)?,
        Some(shipment) => {
            let batch_key = env.vault.batch_key(shipment.header.batch, chip.key_version)?;
            chip_keys_of_batch(&batch_key, chip.id, chip.key_version)?
        }
    };
    let keys = BindingKeys {
        chip: chip_keys,
        pay: env.vault.pay_key(&token.format, token.index, token.pay_key_version)?,
        mask: env.vault.mask_key(&token.format, token.mask_key_version)?,
    };
    Ok(RelayFacts { binding, token, account, keys })
}
