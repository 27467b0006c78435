//! A phone that carries one binding: from the offer it has scanned to the last word, asking again where nothing comes.

use platform::bindings::{BindingState, Offer, RelayAnswer};
use platform::{AccountId, BindingId, Caller};
use protocol::link::{Fragments, Reassembler, Received};
use protocol::script::MAX_MESSAGE_BYTES;
use store::Failure;

use super::attacker::Way;
use super::cloud::Ask;
use super::world::{About, World};

/// Turns without anything new after which a phone asks again, and after which it gives up.
const PATIENCE: u32 = 4;
const GIVES_UP: u32 = 60;
/// The longest text of an offer: what a small QR code holds.
const MAX_OFFER_CHARACTERS: usize = 90;

/// One phone at one binding.
pub(super) struct Session {
    pub(super) wearer: usize,
    pub(super) wrist: usize,
    offer: Offer,
    pub(super) binding: Option<BindingId>,
    /// For the device, not handed over yet.
    due: Option<Vec<u8>>,
    /// Handed over last, and come back last: to be sent again.
    script: Option<Vec<u8>>,
    results: Option<Vec<u8>>,
    inbox: Reassembler<MAX_MESSAGE_BYTES>,
    message: u8,
    quiet: u32,
    /// What the cloud's last word was.
    pub(super) ended: Option<BindingState>,
    /// The cloud refused to begin.
    pub(super) refused: Option<&'static str>,
    pub(super) over: bool,
}

impl World {
    /// A wearer scans what a device shows and confirms it. Now and then it is an old offer, or the one that somebody
    /// else is scanning.
    pub(super) fn begins(&mut self, wrist: usize, wearer: usize, fresh: bool) -> Result<Option<usize>, String> {
        let old = self.random.choice(0..self.offers.len()).filter(|_| !fresh);
        let (wrist, text) = match old.and_then(|at| self.offers.get(at).cloned()) {
            Some(old) => old,
            None => {
                let Some(device) = self.wrists.get_mut(wrist) else { return Ok(None) };
                // A chip that is silent just now makes no offer; the firmware starts it, and the wearer tries again.
                let Ok(offer) = device.sdk.binding_offer() else {
                    device.start();
                    return self.look_into(wrist).map(|()| None);
                };
                (wrist, offer.as_str().to_owned())
            }
        };
        self.look_into(wrist)?;
        if text.len() > MAX_OFFER_CHARACTERS {
            return Err(format!("an offer has {} characters", text.len()));
        }
        let offer = Offer::parse(&text).map_err(|refusal| format!("{text} is no offer: {refusal}"))?;
        self.offers.push((wrist, text));
        if self.offers.len() > 8 {
            self.offers.remove(0);
        }
        let number = self.sessions.len();
        self.counts.bindings += 1;
        self.trace.line(format!("{} session {number}: wearer {wearer} at device {wrist}", self.now_ms));
        self.sessions.push(Session {
            wearer,
            wrist,
            offer,
            binding: None,
            due: None,
            script: None,
            results: None,
            inbox: Reassembler::new(),
            message: self.random.u8(..),
            quiet: 0,
            ended: None,
            refused: None,
            over: false,
        });
        self.starts(number);
        Ok(Some(number))
    }

    fn starts(&mut self, number: usize) {
        let Some(session) = self.sessions.get(number) else { return };
        let (wearer, offer) = (session.wearer, session.offer);
        let request = self.request(wearer, offer);
        self.ask(Ask::Start(request), About::Session { number, by_stranger: false });
    }

    /// One moment of a phone: a message to the device, a few polls, what came back to the cloud.
    pub(super) fn turn(&mut self, number: usize) -> Result<(), String> {
        let Some(session) = self.sessions.get_mut(number) else { return Ok(()) };
        session.quiet += 1;
        let wrist = session.wrist;
        if let Some(message) = session.due.take() {
            session.script = Some(message.clone());
            session.message = session.message.wrapping_add(1);
            session.quiet = 0;
            session.over = session.ended.is_some();
            self.hands_over(number, &message);
        }
        self.polls(number)?;
        self.look_into(wrist)?;
        let Some(session) = self.sessions.get_mut(number) else { return Ok(()) };
        if session.over || !session.quiet.is_multiple_of(PATIENCE) || session.quiet == 0 {
            return Ok(());
        }
        if session.quiet >= GIVES_UP {
            session.over = true;
            return Ok(());
        }
        let (script, results) = (session.script.clone(), session.results.clone());
        match (self.random.u32(0..3), script, results) {
            (0, Some(script), _) => self.hands_over(number, &script),
            (1, _, Some(results)) => self.carries(number, &results),
            // The same offer again: the binding that it began, and the script that is due.
            _ => self.starts(number),
        }
        Ok(())
    }

    /// A message goes to the device in frames.
    fn hands_over(&mut self, number: usize, message: &[u8]) {
        let Some(session) = self.sessions.get(number) else { return };
        let (wrist, mut count) = (session.wrist, session.message);
        for message in self.relay.carry(Way::ToDevice, number as u64, message, &mut self.random) {
            self.trace.line(format!("{} to device {wrist}: {message:02x?}", self.now_ms));
            let Ok(mut fragments) = Fragments::new(&message, count, self.plan.mtu) else { continue };
            let mut buffer = [0; 512];
            while let Ok(Some(frame)) = fragments.next_frame(&mut buffer) {
                let mut frame = frame.to_vec();
                if self.befalls(self.plan.frames) {
                    self.counts.frames += 1;
                    match self.random.choice(0..frame.len()) {
                        Some(at) if self.random.bool() => frame[at] ^= 1 << self.random.u32(0..8),
                        _ => continue,
                    }
                }
                if let Some(device) = self.wrists.get_mut(wrist) {
                    device.sdk.on_link_data(&frame);
                }
            }
            count = count.wrapping_add(1);
        }
        if let Some(session) = self.sessions.get_mut(number) {
            session.message = count.wrapping_sub(1);
        }
    }

    fn polls(&mut self, number: usize) -> Result<(), String> {
        for _ in 0..self.random.u32(1..6) {
            let Some(session) = self.sessions.get(number) else { return Ok(()) };
            let Some(device) = self.wrists.get_mut(session.wrist) else { return Ok(()) };
            // A full link is tried again at the next poll.
            let _ = device.sdk.poll();
            let frames = core::mem::take(&mut device.hardware.borrow_mut().sent);
            for frame in frames {
                if self.befalls(self.plan.frames) {
                    self.counts.frames += 1;
                    continue;
                }
                self.receives(number, &frame);
            }
        }
        Ok(())
    }

    fn receives(&mut self, number: usize, frame: &[u8]) {
        let Some(session) = self.sessions.get_mut(number) else { return };
        let results = match session.inbox.accept(frame) {
            Ok(Received::Message { bytes, .. }) => bytes.to_vec(),
            Ok(Received::ResendRequested { number: wanted }) if wanted == session.message => {
                if let Some(script) = session.script.clone() {
                    self.hands_over(number, &script);
                }
                return;
            }
            _ => return,
        };
        session.quiet = 0;
        session.results = Some(results.clone());
        self.carries(number, &results);
    }

    /// Results go to the cloud, now and then under a stranger's name as well.
    fn carries(&mut self, number: usize, results: &[u8]) {
        let Some((wearer, id)) = self.sessions.get(number).and_then(|one| Some((one.wearer, one.binding?))) else {
            return;
        };
        let own = Caller::Wearer(self.account(wearer));
        for message in self.relay.carry(Way::ToCloud, number as u64, results, &mut self.random) {
            if self.befalls(self.plan.attacks / 10) {
                let (caller, message) = (Caller::Wearer(AccountId([0xEE; 16])), message.clone());
                let ask = Ask::Relay { caller, id, message, host_challenge: [0; 8] };
                self.ask(ask, About::Session { number, by_stranger: true });
            }
            let host_challenge = self.random.u64(..).to_be_bytes();
            let ask = Ask::Relay { caller: own, id, message, host_challenge };
            self.ask(ask, About::Session { number, by_stranger: false });
        }
    }

    /// The cloud has answered a phone.
    pub(super) fn session_answered(&mut self, number: usize, answer: Result<RelayAnswer, Failure>) {
        let Some(session) = self.sessions.get_mut(number).filter(|session| !session.over) else { return };
        match answer {
            Ok(answer) => {
                session.binding = Some(answer.binding.id);
                let ended = matches!(answer.binding.state, BindingState::Done | BindingState::Failed);
                session.ended = ended.then_some(answer.binding.state);
                session.due = Some(answer.message);
            }
            Err(Failure::Refused(refusal)) if session.binding.is_none() => {
                session.refused = Some(refusal.reason.code());
                session.over = true;
            }
            // A message that could not be read is sent again, and so is what a server could not do.
            Err(_) => {}
        }
    }
}
