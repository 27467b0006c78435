//! Binding: the phone takes the offer from the screen, and carries what follows.

use serde_json::{Value, json};

use super::carry::carry;
use super::{Watch, sdk_fault};
use crate::api::{Api, text};
use crate::fault::Fault;

/// Binds a watch to the account of this wallet. Reports progress in percent, as the watch shows it.
///
/// # Errors
/// Those of the cloud; of a binding that failed, the code it failed with; `watch_silent`, `chip_not_bound`, and those of the
/// SDK.
pub fn bind(watch: &mut Watch, wallet: &Api, mut progress: impl FnMut(u8)) -> Result<Value, Fault> {
    progress(0);
    let offer = watch.binding_offer().map_err(sdk_fault)?;
    let view = wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() }))?;
    let path = format!("/v1/bindings/{}/relay", text(&view, "id")?);
    let done = carry(watch, wallet, view, &path, progress)
        .map_err(|fault| fault.hint("nothing was bound; start again with `paychip watch bind`"))?;
    // The cloud's last word has no MAC: the chip itself is asked.
    if watch.status().map_err(sdk_fault)?.is_bound() {
        return Ok(done);
    }
    Err(Fault::new("chip_not_bound", "the cloud says that it is done, and the chip holds no token")
        .hint("this is not the chip that was bound; look at it with `paychip watch status`"))
}
