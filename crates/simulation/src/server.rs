//! A server: what waits at its door, the batch it is deciding, and its hold on the disk. Everything but the disk it
//! forgets when it crashes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use platform::accounts::TopUp;
use platform::merchants::MerchantAction;
use platform::payments::cancel::CancelRequest;
use platform::payments::refund::RefundRequest;
use platform::tokens::ActRequest;
use platform::{Caller, PaymentId, RefundId, TopUpId};
use store::commands::{
    ActOnMerchant, ActOnToken, AnswerPayment, CancelOrder, NewPayment, Pay, PostClearing, RefundPayment, SetRules,
    SweepOverdue, TopUpAccount,
};
use store::engine::Writes;
use store::{Batch, Env};
use zeroize::Zeroizing;

use crate::database::{Disk, SimulatedEngine};
use crate::message::{Reply, Request, Ticket};

/// The most commands in one batch: few, so that batches meet.
const MAX_BATCH: usize = 12;
/// The most transactions that are decided and not durable yet.
const MAX_UNSYNCED: usize = 6;
/// The most requests waiting at a server.
const MAX_WAITING: usize = 400;

/// What has been answered, with the request it answers.
#[derive(Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<(Ticket, Reply)>>>);

impl Outbox {
    fn put(&self, ticket: Ticket, reply: Reply) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, reply));
    }

    /// Everything answered since the last call.
    pub(crate) fn take(&self) -> Vec<(Ticket, Reply)> {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One server.
pub(crate) struct Server {
    pub(crate) partition: u32,
    pub(crate) clock_ms: i64,
    pub(crate) engine: Option<SimulatedEngine>,
    /// Which of its runs this is: what an earlier one has set going is void.
    pub(crate) run: u32,
    waiting: VecDeque<Ticket>,
    pub(crate) deciding: Option<(Batch, Writes)>,
    pub(crate) outbox: Outbox,
    pub(crate) disk_full_until_ms: u64,
    /// When the last sync that was asked for is done.
    pub(crate) synced_at_ms: u64,
}

impl Server {
    pub(crate) fn new(partition: u32, clock_ms: i64) -> Self {
        Self {
            partition,
            clock_ms,
            engine: None,
            run: 0,
            waiting: VecDeque::new(),
            deciding: None,
            outbox: Outbox::default(),
            disk_full_until_ms: 0,
            synced_at_ms: 0,
        }
    }

    /// Begins a new run on what is durable.
    pub(crate) fn start(&mut self, engine: SimulatedEngine) {
        self.stop();
        self.engine = Some(engine);
    }

    /// Is gone, with everything in its memory.
    pub(crate) fn stop(&mut self) {
        self.run += 1;
        self.engine = None;
        self.waiting.clear();
        self.deciding = None;
        self.outbox.take();
    }

    /// Whether it is there, and has room for one more request.
    pub(crate) fn has_room(&self) -> bool {
        self.engine.is_some() && self.waiting.len() < MAX_WAITING
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a request in.
    pub(crate) fn take_in(&mut self, ticket: Ticket) {
        self.waiting.push_back(ticket);
    }

    /// Whether it can begin a batch.
    pub(crate) fn may_decide(&self) -> bool {
        let free = self.engine.as_ref().is_some_and(|engine| engine.unsynced() < MAX_UNSYNCED);
        free && self.deciding.is_none() && !self.waiting.is_empty()
    }

    /// The commands of the next batch.
    pub(crate) fn next_batch(&mut self, env: &Env, now_ms: u64, random: &mut fastrand::Rng) -> Batch {
        let now_ms = now_ms.saturating_add_signed(self.clock_ms);
        let size = random.usize(1..=MAX_BATCH).min(self.waiting.len());
        let mut batch = Batch::default();
        for ticket in self.waiting.drain(..size) {
            push(&mut batch, ticket, &self.outbox, env, now_ms, random);
        }
        batch
    }
}

/// What a server's door makes of a request: a command, with time and fresh random bytes.
pub(crate) fn push(
    batch: &mut Batch,
    ticket: Ticket,
    outbox: &Outbox,
    env: &Env,
    now_ms: u64,
    random: &mut fastrand::Rng,
) {
    let outbox = outbox.clone();
    let mut fresh = [0; 10];
    random.fill(&mut fresh);
    match ticket.request.clone() {
        Request::Pay { merchant, order, code, amount } => {
            let new = NewPayment { merchant, order, code: Zeroizing::new(code), amount, now_ms };
            match Pay::new(new, env) {
                Ok(pay) => batch.push(pay, move |answer| outbox.put(ticket, Reply::Paid(answer))),
                Err(failure) => outbox.put(ticket, Reply::Paid(Err(failure))),
            }
        }
        Request::Cancel { merchant, order } => {
            let (payment_id, refund_id) = (PaymentId::new(now_ms, fresh), RefundId::new(now_ms, fresh));
            let cancel = CancelOrder(CancelRequest { merchant, order, payment_id, refund_id, now_ms });
            batch.push(cancel, move |answer| outbox.put(ticket, Reply::Cancelled(answer)));
        }
        Request::Refund { merchant, payment, number, amount_minor } => {
            let request = RefundRequest { id: RefundId::new(now_ms, fresh), number, amount_minor, now_ms };
            let refund = RefundPayment { merchant, payment, request };
            batch.push(refund, move |answer| outbox.put(ticket, Reply::Refunded(answer)));
        }
        Request::TopUp { account, reference, amount } => {
            let id = TopUpId::new(now_ms, fresh);
            let top_up = TopUpAccount(TopUp { id, account, reference, amount, created_ms: now_ms });
            batch.push(top_up, move |answer| outbox.put(ticket, Reply::ToppedUp(answer)));
        }
        Request::Act { token, account, action, by_operator } => {
            let caller = if by_operator { Caller::Operator } else { Caller::Wearer(account) };
            let act = ActOnToken { token, request: ActRequest { caller, action, why: String::new(), now_ms } };
            batch.push(act, move |answer| outbox.put(ticket, Reply::Acted(answer)));
        }
        Request::Reinstate { merchant } => {
            let why = "asked for".to_owned();
            let act = ActOnMerchant { merchant, action: MerchantAction::Reinstate, why, now_ms };
            batch.push(act, move |answer| outbox.put(ticket, Reply::Reinstated(answer)));
        }
        Request::SetRules { number } => {
            let rules = crate::plan::rules(number, &env.settings);
            let set = SetRules { rules, after: None, why: String::new(), now_ms };
            batch.push(set, move |answer| outbox.put(ticket, Reply::RulesSet(answer)));
        }
        Request::Answer { payment, caller, answer, .. } => {
            let answer = AnswerPayment { caller: Caller::Wearer(caller), payment, answer, now_ms };
            batch.push(answer, move |answer| outbox.put(ticket, Reply::Confirmed(answer)));
        }
        Request::Sweep => {
            batch.push(SweepOverdue { now_ms }, move |answer| outbox.put(ticket, Reply::Swept(answer)));
        }
        Request::Post => {
            let post = PostClearing { now_ms, random: fresh };
            batch.push(post, move |answer| outbox.put(ticket, Reply::Posted(answer)));
        }
        Request::PostPart(part) => {
            batch.push(*part, move |answer| outbox.put(ticket, Reply::PostedPart(answer)));
        }
    }
}

/// The engine of a server: alone it is pipelined, else it shares the disk.
pub(crate) fn engine(disk: &Disk, servers: usize, partition: u32) -> SimulatedEngine {
    if servers == 1 { SimulatedEngine::pipelined(disk) } else { SimulatedEngine::shared(disk, partition) }
}
