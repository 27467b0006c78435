//! The owner's phone: it carries the cloud's messages to the watch in frames of 20 bytes and the answers back, and can read
//! none of what matters in them.

use protocol::link::{Fragments, Reassembler, Received};
use protocol::script::MAX_MESSAGE_BYTES;
use serde_json::{Value, json};
use wearable::Progress;

use super::{Watch, sdk_fault};
use crate::api::{Api, text};
use crate::fault::Fault;

/// What every BLE link carries in one notification.
const FRAME_BYTES: usize = 20;
/// Messages to the watch in one piece of work, at most: two for each channel, one each time a chip that holds its channel
/// back is asked again, and the last word.
const MAX_MESSAGES: u8 = 64;
/// Polls the watch is given for one message, at most: it runs one command a poll and sends a few frames.
const MAX_POLLS: u32 = 200;

/// Carries the messages of one piece of work until the cloud's last word, which it gives. `view` is what began it, and
/// `path` takes what the watch answers. Reports progress in percent, as the watch shows it.
///
/// # Errors
/// Those of the cloud; of work that failed, the code it failed with; `watch_silent`, and those of the SDK.
pub(super) fn carry(
    watch: &mut Watch,
    wallet: &Api,
    mut view: Value,
    path: &str,
    mut progress: impl FnMut(u8),
) -> Result<Value, Fault> {
    let mut shown = None;
    let mut progress = |percent| {
        if shown.replace(percent) != Some(percent) {
            progress(percent);
        }
    };
    let mut link = Link { reassembler: Reassembler::new() };
    for message_number in 1..=MAX_MESSAGES {
        let message = hex::decode(text(&view, "message")?)
            .map_err(|_| Fault::new("answer_malformed", "the message is not hex"))?;
        let answer = link.deliver(watch, message_number, &message, &mut progress)?;
        match text(&view, "state")?.as_str() {
            "done" => return Ok(view),
            "failed" => return Err(Fault::new(text(&view, "failure")?, text(&view, "failure_message")?)),
            _ => {}
        }
        let answer = answer.ok_or_else(|| Fault::new("watch_silent", "the watch did not answer"))?;
        view = wallet.post(path, &json!({ "message": hex::encode(answer) }))?;
    }
    Err(Fault::new("relay_endless", "the work did not come to an end"))
}

/// The phone's end of the link.
struct Link {
    reassembler: Reassembler<MAX_MESSAGE_BYTES>,
}

impl Link {
    /// Hands a message to the watch and returns what it answers, if it answers.
    fn deliver(
        &mut self,
        watch: &mut Watch,
        number: u8,
        message: &[u8],
        shows: &mut impl FnMut(u8),
    ) -> Result<Option<Vec<u8>>, Fault> {
        let broken = |error: protocol::link::Error| Fault::new("link", error.to_string());
        let mut fragments = Fragments::new(message, number, FRAME_BYTES).map_err(broken)?;
        let mut frame = [0; FRAME_BYTES];
        while let Some(frame) = fragments.next_frame(&mut frame).map_err(broken)? {
            watch.on_link_data(frame);
        }
        shows(watch.progress().percent());
        for _ in 0..MAX_POLLS {
            let progress = match watch.poll() {
                // The link was full; what it holds is taken below, and the next poll goes on from there.
                Err(wearable::Error::LinkDown) => watch.progress(),
                polled => polled.map_err(sdk_fault)?,
            };
            shows(progress.percent());
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
