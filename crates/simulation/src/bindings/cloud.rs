//! The cloud: servers that run the store's own commands on the simulated disk, and crash.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::{Amount, Currency};
use platform::bindings::{RelayAnswer, StartRequest};
use platform::payments::cancel::CancelRequest;
use platform::payments::refund::RefundRequest;
use platform::payments::{MerchantNumber, Payment, Refund, confirm};
use platform::syncs::{StartSync, SyncAnswer};
use platform::tokens::{ActRequest, Token, TokenAction};
use platform::{BindingId, Caller, MerchantId, PaymentId, TokenId};
use store::commands::{
    ActOnToken, AnswerPayment, CancelOrder, NewPayment, Paid, Pay, RefundPayment, RelayBinding, RelaySync,
    StartBinding, StartTokenSync,
};
use store::engine::{Engine, Outcome, Writes};
use store::{Batch, Env, Failure, Queries};
use zeroize::Zeroizing;

use crate::database::{Disk, Fate, SimulatedEngine};
use crate::faults::{Fault, Faults};
use crate::server;

/// What is asked of the cloud.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Start(StartRequest),
    Relay { caller: Caller, id: BindingId, message: Vec<u8>, host_challenge: [u8; 8] },
    StartSync(StartSync),
    RelaySync { caller: Caller, token: TokenId, message: Vec<u8>, host_challenge: [u8; 8] },
    Act { token: TokenId, caller: Caller, action: TokenAction },
    Pay { merchant: MerchantId, order: MerchantNumber, code: String, minor: u64 },
    Refund { merchant: MerchantId, payment: PaymentId, request: RefundRequest },
    Cancel(CancelRequest),
    Answer { caller: Caller, payment: PaymentId, answer: confirm::Answer },
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Answer {
    Relayed(Result<RelayAnswer, Failure>),
    Synced(Result<SyncAnswer, Failure>),
    Acted(Result<Token, Failure>),
    Paid(Result<Paid, Failure>),
    Refunded(Result<Refund, Failure>),
    /// What became of a payment that was cancelled, confirmed or refused.
    Became(Result<Payment, Failure>),
}

/// Answers, with the number of what they answer.
#[derive(Clone, Default)]
struct Outbox(Arc<Mutex<Vec<(u64, Answer)>>>);

impl Outbox {
    fn put(&self, number: u64, answer: Answer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((number, answer));
    }
}

/// How unkind the world is to servers; chances in a thousand transactions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trouble {
    pub(super) crash: u32,
    pub(super) unknown: u32,
    pub(super) read_fails: u32,
    pub(super) disk_full: u32,
    /// Another server decides meanwhile, on the same rows.
    pub(super) meanwhile: u32,
    /// A transaction of a server that is alone stays unsynced for a while.
    pub(super) unsynced: u32,
}

/// The servers of one world.
pub(super) struct Cloud {
    pub(super) env: Env,
    pub(super) disk: Disk,
    pub(super) queries: Queries,
    pub(super) trouble: Trouble,
    pub(super) faults: Faults,
    /// What was asked and not looked at yet.
    pub(super) door: VecDeque<(u64, Ask)>,
    servers: Vec<Option<SimulatedEngine>>,
    late: Vec<Writes>,
    outbox: Outbox,
}

impl Cloud {
    pub(super) fn new(env: Env, servers: usize) -> Self {
        let disk = Disk::default();
        Self {
            env,
            queries: Queries::new(Box::new(disk.clone())),
            disk,
            trouble: Trouble::default(),
            faults: Faults::default(),
            door: VecDeque::new(),
            servers: (0..servers).map(|_| None).collect(),
            late: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Everything answered since the last call.
    pub(super) fn take_answers(&self) -> Vec<(u64, Answer)> {
        core::mem::take(&mut *self.outbox.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nothing waits, at the door or on its way to the disk.
    pub(super) fn is_quiet(&self) -> bool {
        self.door.is_empty() && self.late.is_empty()
    }

    /// One server takes the first that waits at the door.
    pub(super) fn work(&mut self, now_ms: u64, random: &mut fastrand::Rng) {
        if let Some(job) = self.door.pop_front() {
            let server = random.usize(..self.servers.len());
            self.serve(server, job, now_ms, random, true);
        }
        if !self.late.is_empty() && random.u32(0..4) == 0 {
            let writes = self.late.remove(random.usize(..self.late.len()));
            // Where something it stands on has changed meanwhile it is refused, and nobody is there to hear it.
            let _ = self.disk.lock().commit(writes);
        }
    }

    /// What the disk has not synced yet becomes durable.
    pub(super) fn sync(&mut self) {
        for engine in self.servers.iter_mut().flatten() {
            while engine.unsynced() > 0 {
                engine.sync_one(true);
            }
        }
    }

    fn serve(&mut self, server: usize, job: (u64, Ask), now_ms: u64, random: &mut fastrand::Rng, may_nest: bool) {
        let mut befalls = |in_a_thousand: u32| random.u32(0..1_000) < in_a_thousand;
        let trouble = self.trouble;
        let (crash, before, unknown, full) =
            (befalls(trouble.crash), befalls(500), befalls(trouble.unknown), befalls(trouble.disk_full));
        let (read_fails, meanwhile) = (befalls(trouble.read_fails), may_nest && befalls(trouble.meanwhile));
        let fate = match (unknown, random.u32(0..3)) {
            (true, 0) => Fate::LostBefore,
            (true, 1) => Fate::LostAfter,
            (true, _) => Fate::LostAndLate,
            (false, _) if full => Fate::DiskFull,
            (false, _) => Fate::Written,
        };
        let servers = self.servers.len();
        let slot = self.servers.get_mut(server).and_then(Option::take);
        let mut engine = slot.unwrap_or_else(|| server::engine(&self.disk, servers, server as u32));
        let mut batch = Batch::default();
        push(&mut batch, job, &self.outbox, &self.env, now_ms);
        engine.reads_left = read_fails.then(|| random.u32(0..8));
        let decided = batch.decide(&mut engine, &self.env);
        if core::mem::take(&mut engine.failed_reads) > 0 {
            self.faults.count(Fault::ReadFailed);
        }
        engine.reads_left = None;
        let mut writes = match decided {
            Ok(writes) => writes,
            Err(outcome) => {
                batch.end(&outcome);
                return self.put_back(server, engine);
            }
        };
        engine.fate = fate;
        if fate == Fate::DiskFull {
            self.faults.count(Fault::DiskFull);
        }
        if !engine.may_conflict() {
            engine.commit_later(writes, Box::new(move |outcome| batch.end(&outcome)));
            return self.sync_some(server, engine, crash, random);
        }
        if meanwhile && let Some(other) = self.door.pop_front() {
            self.serve((server + 1) % servers, other, now_ms, random, false);
        }
        if crash && before {
            return self.faults.count(Fault::CrashBeforeCommit);
        }
        let mut outcome = engine.commit(writes);
        while outcome == Outcome::Conflict && batch.lost() {
            self.faults.count(Fault::Conflict);
            writes = match batch.decide(&mut engine, &self.env) {
                Ok(writes) => writes,
                Err(outcome) => return batch.end(&outcome),
            };
            outcome = engine.commit(writes);
        }
        if crash {
            return self.faults.count(Fault::CrashBeforeAnswer);
        }
        batch.end(&outcome);
        if let Outcome::Unknown(_) = outcome {
            self.faults.count(Fault::CommitUnknown);
            self.late.extend(engine.late.take());
            return;
        }
        self.put_back(server, engine);
    }

    /// A server that has the disk for itself: syncs come later, and a crash takes what is not synced.
    fn sync_some(&mut self, server: usize, mut engine: SimulatedEngine, crash: bool, random: &mut fastrand::Rng) {
        if crash {
            let synced = random.usize(0..=engine.unsynced());
            (0..synced).for_each(|_| engine.sync_one(false));
            return self.faults.count(if synced > 0 { Fault::CrashBeforeAnswer } else { Fault::CrashBeforeCommit });
        }
        while engine.unsynced() > 0 && random.u32(0..1_000) >= self.trouble.unsynced {
            engine.sync_one(true);
        }
        self.put_back(server, engine);
    }

    fn put_back(&mut self, server: usize, engine: SimulatedEngine) {
        if let Some(slot) = self.servers.get_mut(server) {
            *slot = Some(engine);
        }
    }
}

/// What a server's door makes of a request: a command.
fn push(batch: &mut Batch, (number, ask): (u64, Ask), outbox: &Outbox, env: &Env, now_ms: u64) {
    let outbox = outbox.clone();
    match ask {
        Ask::Start(request) => {
            batch.push(StartBinding(request), move |answer| {
                let answer = answer.and_then(|started| started.map_err(Failure::from));
                outbox.put(number, Answer::Relayed(answer));
            });
        }
        Ask::Relay { caller, id, message, host_challenge } => {
            let relay = RelayBinding { caller, id, message, host_challenge, now_ms };
            batch.push(relay, move |answer| outbox.put(number, Answer::Relayed(answer)));
        }
        Ask::StartSync(request) => {
            batch.push(StartTokenSync(request), move |answer| outbox.put(number, Answer::Synced(answer)));
        }
        Ask::RelaySync { caller, token, message, host_challenge } => {
            let relay = RelaySync { caller, token, message, host_challenge, now_ms };
            batch.push(relay, move |answer| outbox.put(number, Answer::Synced(answer)));
        }
        Ask::Act { token, caller, action } => {
            let act = ActOnToken { token, request: ActRequest { caller, action, why: String::new(), now_ms } };
            batch.push(act, move |answer| outbox.put(number, Answer::Acted(answer)));
        }
        Ask::Refund { merchant, payment, request } => {
            let refund = RefundPayment { merchant, payment, request };
            batch.push(refund, move |answer| outbox.put(number, Answer::Refunded(answer)));
        }
        Ask::Cancel(request) => {
            batch.push(CancelOrder(request), move |answer| outbox.put(number, Answer::Became(answer)));
        }
        Ask::Answer { caller, payment, answer } => {
            let answer = AnswerPayment { caller, payment, answer, now_ms };
            batch.push(answer, move |answer| outbox.put(number, Answer::Became(answer)));
        }
        Ask::Pay { merchant, order, code, minor } => {
            let Ok(amount) = Amount::new(minor, Currency::CNY) else { return };
            let new = NewPayment { merchant, order, code: Zeroizing::new(code), amount, now_ms };
            match Pay::new(new, env) {
                Ok(pay) => batch.push(pay, move |answer| outbox.put(number, Answer::Paid(answer))),
                Err(failure) => outbox.put(number, Answer::Paid(Err(failure))),
            }
        }
    }
}
