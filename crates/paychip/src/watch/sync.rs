//! Sync and unbinding: the phone finds the token of the watch's chip, and carries what the cloud has to do at it.

use serde_json::{Value, json};

use super::carry::carry;
use super::{Watch, sdk_fault};
use crate::api::{Api, text};
use crate::fault::Fault;

/// Syncs a watch: a token that pays gets a new budget and clock, one that was revoked leaves the chip. Reports progress in
/// percent, as the watch shows it.
///
/// # Errors
/// `watch_not_bound` where the account never had a token of this chip; those of the cloud; of a sync that failed, the code it
/// failed with; `watch_silent`, and those of the SDK.
pub fn sync(watch: &mut Watch, wallet: &Api, progress: impl FnMut(u8)) -> Result<Value, Fault> {
    let (token, _) = token_of(watch, wallet)?;
    let path = format!("/v1/tokens/{token}/sync");
    let view = wallet.post(&path, &json!({}))?;
    let path = format!("{path}/relay");
    carry(watch, view, |message| wallet.post(&path, &json!({ "message": message })), progress)
        .map_err(|fault| fault.hint("try again with `paychip watch sync`"))
}

/// Unbinds a watch: its token is revoked, from which moment no code of it pays, and leaves the chip.
///
/// # Errors
/// Those of [`sync`]. Where the watch is out of reach, the token is revoked all the same.
pub fn unbind(watch: &mut Watch, wallet: &Api, why: &str, progress: impl FnMut(u8)) -> Result<Value, Fault> {
    let (token, state) = token_of(watch, wallet)?;
    if state != "revoked" {
        wallet.post(&format!("/v1/tokens/{token}/revoke"), &json!({ "why": why }))?;
    }
    sync(watch, wallet, progress)
}

/// The account's token of this watch's chip, and its state: the one that lives, else the newest that was revoked.
fn token_of(watch: &mut Watch, wallet: &Api) -> Result<(String, String), Fault> {
    let chip = hex::encode(watch.chip_id().map_err(sdk_fault)?);
    let tokens = wallet.get("/v1/tokens")?;
    let own = |token: &&Value| token.get("chip").and_then(Value::as_str) == Some(&chip);
    let is_revoked = |token: &&Value| token.get("state").and_then(Value::as_str) == Some("revoked");
    let mut of_chip = tokens.as_array().into_iter().flatten().filter(own);
    let newest = of_chip.clone().next();
    let token = of_chip.find(|token| !is_revoked(token)).or(newest).ok_or_else(|| {
        Fault::new("watch_not_bound", "the account never had a token of this watch")
            .hint("bind it with `paychip watch bind`")
    })?;
    Ok((text(token, "id")?, text(token, "state")?))
}
