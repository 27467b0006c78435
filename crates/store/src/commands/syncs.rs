//! Syncing a token with its chip.

use platform::syncs::{self, StartSync, StartSyncFacts, SyncAnswer, SyncFacts};
use platform::{Caller, Reason, TokenId, UnixMs};

use super::bindings::chip_keys;
use crate::{Command, Env, Failure, StoreError, Tables};

/// Starts a sync.
pub struct StartTokenSync(pub StartSync);

impl Command for StartTokenSync {
    type Answer = SyncAnswer;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<SyncAnswer, Failure> {
        let token = tables.token(self.0.token)?.ok_or(Reason::TokenNotFound)?;
        let (chip, _) = tables.present_chip(token.chip)?.ok_or(StoreError::Corrupt("token's chip"))?;
        let before = tables.sync_of(token.id)?;
        let facts = StartSyncFacts {
            living: tables.token_of_chip(token.chip)?.map(|living| living.id),
            confirmed: before.as_ref().map(|before| before.confirmed).unwrap_or_default(),
            told: before.map(|before| before.told).unwrap_or_default(),
            token,
            chip_key_version: chip.key_version,
            mask_key_version: env.vault.versions().mask,
        };
        let (answer, changes) = syncs::start(&self.0, &facts, &env.settings)?;
        tables.apply_all(&changes)?;
        Ok(answer)
    }
}

/// A message from a wearable that is being synced.
pub struct RelaySync {
    /// Who carries it.
    pub caller: Caller,
    /// Of which token.
    pub token: TokenId,
    /// The message.
    pub message: Vec<u8>,
    /// Fresh random bytes.
    pub host_challenge: [u8; 8],
    /// The present time.
    pub now_ms: UnixMs,
}

impl Command for RelaySync {
    type Answer = SyncAnswer;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<SyncAnswer, Failure> {
        let facts = known(self.caller, self.token, tables, env)?;
        let (answer, changes) =
            syncs::relay(self.caller, facts, &self.message, self.host_challenge, &env.settings, self.now_ms)?;
        tables.apply_all(&changes)?;
        Ok(answer)
    }
}

/// What is due for a wearable that is being synced.
pub struct DueOfSync {
    /// Who carries it.
    pub caller: Caller,
    /// Of which token.
    pub token: TokenId,
}

impl Command for DueOfSync {
    type Answer = SyncAnswer;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<SyncAnswer, Failure> {
        let facts = known(self.caller, self.token, tables, env)?;
        Ok(syncs::due(self.caller, facts)?)
    }
}

/// Everything a step of a token's newest sync needs.
fn known(caller: Caller, id: TokenId, tables: &mut Tables<'_>, env: &Env) -> Result<SyncFacts, Failure> {
    let token = tables.token(id)?.ok_or(Reason::TokenNotFound)?;
    // Whose token it is comes before whether it was ever synced.
    if !caller.may_act_for(token.account) {
        return Err(Reason::TokenNotFound.into());
    }
    let sync = tables.sync_of(token.id)?.ok_or(Reason::SyncNotFound)?;
    let (chip, shipment) = tables.present_chip(token.chip)?.ok_or(StoreError::Corrupt("token's chip"))?;
    Ok(SyncFacts {
        living: tables.token_of_chip(token.chip)?.map(|living| living.id),
        account: tables.account(token.account)?.ok_or(StoreError::Corrupt("token's account"))?,
        chip_keys: chip_keys(&chip, shipment.as_ref(), env)?,
        mask_key: env.vault.mask_key(&token.format, sync.mask_key_version)?,
        results: tables.results_of(&token)?,
        sync,
        token,
    })
}
