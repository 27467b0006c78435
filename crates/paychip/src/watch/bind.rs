//! The owner's phone during a binding: it takes the offer from the screen, carries the cloud's messages to the watch
//! in frames of 20 bytes and the answers back, and can read none of what matters in them.

use protocol::link::{Fragments, Reassembler, Received};
use protocol::script::MAX_MESSAGE_BYTES;
use serde_json::{Value, json};
use wearable::Progress;

use super::{Watch, sdk_fault};
use crate::api::{Api, number, text};
use crate::fault::Fault;

/// What every BLE link carries in one notification.
const FRAME_BYTES: usize = 20;
/// Messages to the watch in one binding, at most: two for each channel, one each time a chip that holds its channel back
/// is asked again, and the last word.
const MAX_MESSAGES: u8 = 64;
/// Polls the watch is given for one message, at most: it runs one command a poll and sends a few frames.
const MAX_POLLS: u32 = 200;

/// Binds a watch to the account of this wallet. Reports progress in percent.
///
/// # Errors
/// Those of the cloud; `binding_failed`, `watch_silent`, and those of the SDK.
pub fn bind(watch: &mut Watch, wallet: &Api, mut progress: impl FnMut(u8)) -> Result<Value, Fault> {
    progress(0);
    let offer = watch.binding_offer().map_err(sdk_fault)?;
    let mut view = wallet.post("/v1/bindings", &json!({ "offer": offer.as_str() }))?;
    let path = format!("/v1/bindings/{}/relay", text(&view, "id")?);
    let mut link = Link { reassembler: Reassembler::new() };
    for message_number in 1..=MAX_MESSAGES {
        progress(u8::try_from(number(&view, "progress")?).unwrap_or(0));
        let message = hex::decode(text(&view, "message")?)
            .map_err(|_| Fault::new("answer_malformed", "the message is not hex"))?;
        let answer = link.deliver(watch, message_number, &message)?;
        match text(&view, "state")?.as_str() {
            "done" => return Ok(view),
            "failed" => {
                return Err(Fault::new("binding_failed", "the cloud ended the binding")
                    .hint("start again with `paychip watch bind`"));
            }
            _ => {}
        }
        let answer = answer.ok_or_else(|| {
            Fault::new("watch_silent", "the watch did not answer").hint("start again with `paychip watch bind`")
        })?;
        view = wallet.post(&path, &json!({ "message": hex::encode(answer) }))?;
    }
    Err(Fault::new("binding_failed", "the binding did not come to an end"))
}

/// The phone's end of the link.
struct Link {
    reassembler: Reassembler<MAX_MESSAGE_BYTES>,
}

impl Link {
    /// Hands a message to the watch and returns what it answers, if it answers.
    fn deliver(&mut self, watch: &mut Watch, number: u8, message: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let broken = |error: protocol::link::Error| Fault::new("link", error.to_string());
        let mut fragments = Fragments::new(message, number, FRAME_BYTES).map_err(broken)?;
        let mut frame = [0; FRAME_BYTES];
        while let Some(frame) = fragments.next_frame(&mut frame).map_err(broken)? {
            watch.on_link_data(frame);
        }
        for _ in 0..MAX_POLLS {
            let progress = watch.poll().map_err(sdk_fault)?;
            for frame in watch.host_mut().take_sent() {
                if let Received::Message { bytes, .. } = self.reassembler.accept(&frame).map_err(broken)? {
                    return Ok(Some(bytes.to_vec()));
                }
            }
            // The cloud's last word is not answered.
            if matches!(progress, Progress::Done | Progress::Failed) {
                break;
            }
        }
        Ok(None)
    }
}
