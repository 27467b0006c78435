//! Binding: the phone takes the offer from the screen, and carries what follows.

use serde_json::{Value, json};

use super::carry::carry;
use super::{Watch, sdk_fault};
use crate::api::{Api, text};
use crate::fault::Fault;

/// Binds a watch to the account of this wallet, whose phone carries the messages. Reports progress in percent, as the watch
/// shows it.
///
/// # Errors
/// Those of the cloud; of a binding that failed, the code it failed with; `watch_silent`, `chip_not_bound`, and those of the
/// SDK.
pub fn bind(watch: &mut Watch, wallet: &Api, mut progress: impl FnMut(u8)) -> Result<Value, Fault> {
    progress(0);
    let offer = watch.binding_offer().map_err(sdk_fault)?;
    let view = wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() }))?;
    let path = format!("/v1/bindings/{}/relay", text(&view, "id")?);
    let done = carry(watch, view, |message| wallet.post(&path, &json!({ "message": message })), progress);
    checked(watch, done)
}

/// The same with a watch on the network: the wallet confirms the offer, and the watch carries the messages itself.
///
/// # Errors
/// Those of [`bind`].
pub fn bind_directly(
    watch: &mut Watch,
    wallet: &Api,
    cloud: &Api,
    mut progress: impl FnMut(u8),
) -> Result<Value, Fault> {
    progress(0);
    let offer = watch.binding_offer().map_err(sdk_fault)?.as_str().to_owned();
    let confirmed = wallet.post("/v1/bindings", &json!({ "offer": offer }))?;
    let path = "/v1/devices/binding";
    let view = cloud.post(path, &json!({ "offer": offer }))?;
    let hand_over = |message| cloud.post(path, &json!({ "offer": offer, "message": message }));
    let done = carry(watch, view, hand_over, progress);
    checked(watch, done)?;
    wallet.get(&format!("/v1/bindings/{}", text(&confirmed, "id")?))
}

/// The cloud's last word has no MAC: the chip itself is asked.
fn checked(watch: &mut Watch, done: Result<Value, Fault>) -> Result<Value, Fault> {
    let done = done.map_err(|fault| fault.hint("nothing was bound; start again with `paychip watch bind`"))?;
    if watch.status().map_err(sdk_fault)?.is_bound() {
        return Ok(done);
    }
    Err(Fault::new("chip_not_bound", "the cloud says that it is done, and the chip holds no token")
        .hint("this is not the chip that was bound; look at it with `paychip watch status`"))
}
