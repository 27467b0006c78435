//! The owner's phone: it carries the cloud's messages to the watch in frames of 20 bytes and the answers back, and can read
//! none of what matters in them.

use protocol::link::{Fragments, Reassembler, Received};
use protocol::script::MAX_MESSAGE_BYTES;
use serde_json::Value;
use wearable::Progress;

use super::{Watch, sdk_fault};
use crate::api::text;
use crate::fault::Fault;

/// What every BLE link carries in one notification.
const FRAME_BYTES: usize = 20;
/// Messages to the watch in one piece of work, at most: two for each channel, one each time a chip that holds its channel
/// back is asked again, and the last word.
const MAX_MESSAGES: u8 = 64;
/// Polls the watch is given for one message, at most: it runs one command a poll and sends a few frames.
const MAX_POLLS: u32 = 200;

/// Carries the messages of one piece of work until the cloud's last word, which it gives. `view` is what began it, and
/// `hand_over` takes what the watch answers and gives the next. Reports progress in percent, as the watch shows it.
///
/// # Errors
/// Those of the cloud; of work that failed, the code it failed with; `watch_silent`, and those of the SDK.
pub(super) fn carry(
    watch: &mut Watch,
    mut view: Value,
    mut hand_over: impl FnMut(String) -> Result<Value, Fault>,
    mut progress: impl FnMut(u8),
) -> Result<Value, Fault> {
    let mut shown = None;
    let mut progress = |percent| {
        if shown.replace(percent) != Some(percent) {
            progress(percent);
        }
    };
    let mut link = Link::new();
    for message_number in 1..=MAX_MESSAGES {
        let message = hex::decode(text(&view, "message")?)
            .map_err(|_| Fault::new("answer_malformed", "the message is not hex"))?;
        let answer = link.deliver(watch, message_number, &message, &mut progress)?;
        match text(&view, "state")?.as_str() {
            "done" => return Ok(view),
            "failed" => {
                let message = text(&view, "failure_message").unwrap_or_else(|_| "the cloud ended the work".to_owned());
                return Err(Fault::new(text(&view, "failure")?, message));
            }
            _ => {}
        }
        let answer = answer.ok_or_else(|| Fault::new("watch_silent", "the watch did not answer"))?;
        view = hand_over(hex::encode(answer))?;
    }
    Err(Fault::new("relay_endless", "the work did not come to an end"))
}

/// The other end of the watch's link.
#[derive(Debug)]
pub struct Link {
    reassembler: Reassembler<MAX_MESSAGE_BYTES>,
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self { reassembler: Reassembler::new() }
    }

    /// Hands a message to the watch and returns what it answers, if it answers. `number` counts up with each message;
    /// `shows` is told the percentages on the screen.
    ///
    /// # Errors
    /// `link`, and those of the SDK.
    pub fn deliver(
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
