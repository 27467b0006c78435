//! A phone that carries one binding, from the offer it has scanned to the last word, or one sync; asking again where nothing
//! comes.

use platform::bindings::{BindingState, Offer, RelayAnswer};
use platform::syncs::{StartSync, SyncAnswer, SyncState};
use platform::tokens::Token;
use platform::{AccountId, BindingId, Caller, Reason, TokenId};
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

/// What a phone is about.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// A binding, by the offer that was scanned.
    Bind { wearer: usize, offer: Offer, binding: Option<BindingId> },
    /// A sync of this token, by its owner.
    Sync { owner: AccountId, token: TokenId, begun: bool },
}

/// One phone.
pub(super) struct Session {
    pub(super) wrist: usize,
    pub(super) job: Job,
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
        self.counts.bindings += 1;
        Ok(Some(self.opens(wrist, Job::Bind { wearer, offer, binding: None })))
    }

    /// Somebody syncs the newest token of a device that ever paid: a refill, or a wipe.
    pub(super) fn begins_sync(&mut self, wrist: usize) -> Option<usize> {
        let chip = self.wrists.get(wrist)?.chip;
        let revoked = |(_, known): &(_, &super::truth::Known)| known.was_active;
        let ended = || self.truth.of_chip(chip).filter(revoked).filter_map(|(_, known)| known.row.clone()).last();
        let token = self.truth.living(chip).cloned().or_else(ended)?;
        self.counts.syncs += 1;
        let Token { id, account, .. } = token;
        Some(self.opens(wrist, Job::Sync { owner: account, token: id, begun: false }))
    }

    fn opens(&mut self, wrist: usize, job: Job) -> usize {
        let number = self.sessions.len();
        self.trace.line(format!("{} session {number} at device {wrist}: {job:?}", self.now_ms));
        self.sessions.push(Session {
            wrist,
            job,
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
        number
    }

    fn starts(&mut self, number: usize) {
        let Some(session) = self.sessions.get(number) else { return };
        let ask = match session.job {
            Job::Bind { wearer, offer, .. } => Ask::Start(self.request(wearer, offer)),
            Job::Sync { owner, token, .. } => Ask::StartSync(StartSync {
                caller: Caller::Wearer(owner),
                token,
                session: self.random.u128(..).to_be_bytes(),
                host_challenge: self.random.u64(..).to_be_bytes(),
                now_ms: self.now_ms,
            }),
        };
        self.ask(ask, About::Session { number, by_stranger: false });
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
            let wrist = session.wrist;
            let Some(device) = self.wrists.get_mut(wrist) else { return Ok(()) };
            // A full link is tried again at the next poll.
            let _ = device.sdk.poll();
            let frames = core::mem::take(&mut device.hardware.borrow_mut().sent);
            self.screen(wrist, false)?;
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
        let Some(job) = self.sessions.get(number).map(|session| session.job.clone()) else { return };
        let own = match job {
            Job::Bind { wearer, binding: Some(_), .. } => self.account(wearer),
            Job::Sync { owner, begun: true, .. } => owner,
            Job::Bind { .. } | Job::Sync { .. } => return,
        };
        for message in self.relay.carry(Way::ToCloud, number as u64, results, &mut self.random) {
            if self.befalls(self.plan.attacks / 10) {
                let stranger = Caller::Wearer(AccountId([0xEE; 16]));
                self.relays(number, &job, stranger, message.clone(), true);
            }
            self.relays(number, &job, Caller::Wearer(own), message, false);
        }
    }

    fn relays(&mut self, number: usize, job: &Job, caller: Caller, message: Vec<u8>, by_stranger: bool) {
        let host_challenge = self.random.u64(..).to_be_bytes();
        let ask = match job {
            Job::Bind { binding: Some(id), .. } => Ask::Relay { caller, id: *id, message, host_challenge },
            Job::Sync { token, .. } => Ask::RelaySync { caller, token: *token, message, host_challenge },
            Job::Bind { .. } => return,
        };
        self.ask(ask, About::Session { number, by_stranger });
    }

    /// The cloud has answered a phone that binds.
    pub(super) fn session_answered(&mut self, number: usize, answer: Result<RelayAnswer, Failure>) {
        let Some(session) = self.sessions.get_mut(number).filter(|session| !session.over) else { return };
        let Job::Bind { binding, .. } = &mut session.job else { return };
        match answer {
            Ok(answer) => {
                *binding = Some(answer.binding.id);
                let ended = matches!(answer.binding.state, BindingState::Done | BindingState::Failed);
                session.ended = ended.then_some(answer.binding.state);
                session.due = Some(answer.message);
            }
            Err(Failure::Refused(refusal)) if binding.is_none() => session.is_refused(refusal.reason),
            // A message that could not be read is sent again, and so is what a server could not do.
            Err(_) => {}
        }
    }

    /// The cloud has answered a phone that syncs.
    pub(super) fn sync_answered(&mut self, number: usize, answer: Result<SyncAnswer, Failure>) {
        let Some(session) = self.sessions.get_mut(number).filter(|session| !session.over) else { return };
        let Job::Sync { begun, .. } = &mut session.job else { return };
        match answer {
            Ok(answer) => {
                *begun = true;
                session.ended = match answer.sync.state {
                    SyncState::Done => Some(BindingState::Done),
                    SyncState::Failed => Some(BindingState::Failed),
                    SyncState::Opening | SyncState::Ordering | SyncState::Announcing | SyncState::Telling => None,
                };
                session.due = Some(answer.message);
            }
            Err(Failure::Refused(refusal)) if !*begun || refusal.reason == Reason::SyncSuperseded => {
                session.is_refused(refusal.reason);
            }
            Err(_) => {}
        }
    }

    /// A device whose token lives is refilled, honestly and without trouble.
    pub(super) fn is_refilled(&mut self, wrist: usize, turns: u32) -> Result<(), String> {
        let number = self.begins_sync(wrist).ok_or("nothing to sync")?;
        self.carried_out(number, turns)?;
        let left = self.wrists.get_mut(wrist).and_then(|wrist| wrist.sdk.status().ok()).and_then(|all| all.codes_left);
        let budget = self.cloud.env.settings.codes.budget;
        if left == Some(budget) { Ok(()) } else { Err(format!("refilled, and {left:?} codes are left of {budget}")) }
    }

    /// A device whose token was revoked is wiped, honestly and without trouble.
    pub(super) fn is_wiped(&mut self, wrist: usize, turns: u32) -> Result<(), String> {
        let number = self.begins_sync(wrist).ok_or("nothing to sync")?;
        self.carried_out(number, turns)?;
        let held = self.held(wrist);
        if held.is_empty() { Ok(()) } else { Err(format!("wiped, and the chip holds {held:?}")) }
    }

    fn carried_out(&mut self, number: usize, turns: u32) -> Result<(), String> {
        for _ in 0..turns {
            self.turn(number)?;
            self.cloud_works()?;
            if self.sessions.get(number).is_none_or(|session| session.over) {
                break;
            }
        }
        let session = self.sessions.get(number).ok_or("no such session")?;
        if session.ended == Some(BindingState::Done) {
            return Ok(());
        }
        Err(format!("{:?} does not come to its end: {:?}, {:?}", session.job, session.ended, session.refused))
    }
}

impl Session {
    fn is_refused(&mut self, reason: Reason) {
        self.refused = Some(reason.code());
        self.over = true;
    }

    /// Whether it is a binding, and no sync.
    pub(super) const fn binds(&self) -> bool {
        matches!(self.job, Job::Bind { .. })
    }
}
