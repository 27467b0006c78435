//! The world: one random number generator decides everything, one queue of events owns time.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{Amount, Currency, EntryKind};
use paycode::{CodeFormat, Suite, TokenIndex};
use platform::accounts::Account;
use platform::merchants::Merchant;
use platform::tokens::{Token, TokenState};
use platform::{AccountId, Change, ChipId, KeyHash, MerchantId, Settings, TokenId};
use store::engine::{Engine, Outcome, Writes};
use store::{Batch, Command, Env, Failure, Queries, Tables};

use crate::books::Books;
use crate::clients::Exchange;
use crate::database::{Disk, SimulatedEngine};
use crate::faults::{Fault, Faults};
use crate::keys::OpenVault;
use crate::message::{Reply, Request, Ticket, ToldBefore};
use crate::plan::Plan;
use crate::server::{self, Outbox, Server};
use crate::trace::Trace;
use crate::truth::Truth;
use crate::watch::Watch;

/// Something that happens at its time.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody buys something.
    Sale,
    /// A wearer does something at the phone.
    Phone,
    /// A client looks whether it has been answered.
    Timer(usize),
    /// A request reaches a server.
    Arrives { server: usize, exchange: Option<usize>, request: Request },
    /// An answer reaches a client.
    Answered { exchange: usize, reply: Reply },
    /// A server looks at what waits.
    Work { server: usize, run: u32 },
    /// A server commits what it has decided.
    Commit { server: usize, run: u32 },
    /// The disk has synced a server's oldest transaction.
    Synced { server: usize, run: u32 },
    /// What was lost on its way to the disk arrives.
    LandsLate { writes: Writes, heir: usize },
    /// A server is gone.
    Crash(usize),
    /// A server comes back.
    Restart(usize),
    /// It is time to post.
    Post(usize),
}

/// A shop, and how it is paid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shop {
    pub(crate) id: MerchantId,
    pub(crate) currency: Currency,
}

/// Everything.
pub(crate) struct World {
    pub(crate) random: fastrand::Rng,
    pub(crate) plan: Plan,
    pub(crate) now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub(crate) env: Env,
    pub(crate) disk: Disk,
    pub(crate) queries: Queries,
    pub(crate) servers: Vec<Server>,
    pub(crate) watches: Vec<Watch>,
    pub(crate) shops: Vec<Shop>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) truth: Truth,
    pub(crate) books: Books,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    /// No more faults, and nothing new begins: what is under way comes to its end.
    pub(crate) calm: bool,
    pub(crate) numbers: u64,
    pub(crate) paid: u64,
}

/// Writes changes as they are: a world as it begins.
pub(crate) struct Install(pub(crate) Vec<Change>);

impl Command for Install {
    type Answer = ();

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(tables.apply_all(&self.0)?)
    }
}

impl World {
    /// The world of a seed, with everybody in it.
    pub(crate) fn of(seed: u64, trace: Trace) -> Result<Self, String> {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::of(&mut random);
        let dollars = Currency::parse("USD").map_err(|error| error.to_string())?;
        let settings: Settings = Plan::settings(dollars);
        let env = Env::new(Arc::new(OpenVault), Arc::new(settings)).map_err(|error| error.to_string())?;
        let disk = Disk::default();
        let mut world = Self {
            now_ms: plan.start_ms,
            events: BTreeMap::new(),
            scheduled: 0,
            env,
            queries: Queries::new(Box::new(disk.clone())),
            disk,
            servers: Vec::new(),
            watches: Vec::new(),
            shops: Vec::new(),
            exchanges: Vec::new(),
            truth: Truth::default(),
            books: Books::default(),
            faults: Faults::default(),
            trace,
            calm: false,
            numbers: 0,
            paid: 0,
            random,
            plan,
        };
        world.trace.line(format!("{:?}", world.plan));
        world.people(dollars)?;
        world.machines();
        Ok(world)
    }

    /// Wearers with money and shops, put where they are before the first fault.
    fn people(&mut self, dollars: Currency) -> Result<(), String> {
        let mut changes = Vec::new();
        let currency = |number: usize| if number % 7 == 6 { dollars } else { Currency::CNY };
        for number in 0..self.plan.merchants {
            let id = MerchantId(self.id());
            let shop = Shop { id, currency: currency(number) };
            changes.push(Change::PutMerchant(Merchant {
                id,
                name: format!("shop {number}"),
                currency: shop.currency,
                api_key: KeyHash(self.hash()),
                created_ms: self.now_ms,
                wrong_codes: Default::default(),
                suspended_ms: None,
                category: None,
                position: None,
            }));
            self.shops.push(shop);
        }
        let mut top_ups = Vec::new();
        for number in 0..self.plan.watches {
            let (account, token) = (AccountId(self.id()), TokenId(self.id()));
            let index = TokenIndex::new(number as u64 + 1).map_err(|error| error.to_string())?;
            let currency = currency(number);
            let wallet_key = KeyHash(self.hash());
            changes.push(Change::PutAccount(Account {
                id: account,
                name: format!("wearer {number}"),
                currency,
                wallet_key,
                created_ms: self.now_ms,
            }));
            changes.push(Change::PutToken(Token {
                id: token,
                account,
                chip: ChipId(self.id()),
                format: CodeFormat::DEFAULT,
                suite: Suite::International,
                index,
                pay_key_version: 1,
                mask_key_version: 1,
                state: TokenState::Active,
                last_stamp: None,
                last_counter: None,
                guesses: Default::default(),
                spent: Default::default(),
                expires_ms: None,
                created_ms: self.now_ms,
            }));
            let amount = Amount::new(self.random.u64(1_000..=60_000), currency).map_err(|error| error.to_string())?;
            top_ups.push(Request::TopUp { account, reference: "first".to_owned(), amount });
            let clock_ms = self.clock(self.plan.watch_clock_ms);
            let mut watch = Watch::new(token, account, index, clock_ms);
            watch.sync(self.now_ms);
            self.watches.push(watch);
        }
        let mut engine = SimulatedEngine::shared(&self.disk, 0);
        let outbox = Outbox::default();
        let mut batch = Batch::default();
        batch.push(Install(changes), |_| {});
        for request in top_ups {
            let ticket = Ticket { exchange: None, request, told_before: ToldBefore::default() };
            server::push(&mut batch, ticket, &outbox, &self.env, self.now_ms, &mut self.random);
        }
        let writes = batch.decide(&mut engine, &self.env).map_err(|outcome| format!("{outcome:?}"))?;
        let outcome = engine.commit(writes);
        batch.end(&outcome);
        if outcome != Outcome::Committed {
            return Err(format!("the world could not begin: {outcome:?}"));
        }
        self.settle()?;
        outbox.take().into_iter().try_for_each(|(ticket, reply)| self.told(0, &ticket, &reply))
    }

    /// The servers, and the first of everything that happens again and again.
    fn machines(&mut self) {
        for partition in 0..self.plan.servers {
            let clock_ms = self.clock(self.plan.server_clock_ms);
            let number = self.servers.len();
            self.servers.push(Server::new(partition, clock_ms));
            self.after(0, Event::Restart(number));
            self.after(1_000, Event::Post(number));
            self.after_about(self.plan.crash_every_ms, Event::Crash(number));
        }
        self.after(100, Event::Sale);
        self.after(5_000, Event::Phone);
    }

    /// A clock, how far it is from the world's.
    fn clock(&mut self, most_ms: u64) -> i64 {
        if most_ms == 0 {
            return 0;
        }
        self.faults.count(Fault::ClockWrong);
        let most_ms = most_ms.cast_signed();
        self.random.i64(-most_ms..=most_ms)
    }

    /// Fresh random bytes for an id.
    fn id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        id
    }

    fn hash(&mut self) -> [u8; 32] {
        let mut hash = [0; 32];
        self.random.fill(&mut hash);
        hash
    }

    /// Whether something with this chance in a thousand happens now. Nothing does once the world is calm.
    pub(crate) fn befalls(&mut self, in_a_thousand: u32) -> bool {
        !self.calm && self.random.u32(0..1_000) < in_a_thousand
    }

    /// The next number of its kind that nobody has used.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now_ms + ms, self.scheduled), event);
    }

    /// After a time that is this on average.
    pub(crate) fn after_about(&mut self, ms: u64, event: Event) {
        let ms = self.random.u64(1..=ms * 2);
        self.after(ms, event);
    }

    /// Lets the next thing happen; `false` where nothing will any more.
    pub(crate) fn step(&mut self) -> Result<bool, String> {
        let Some(((at_ms, _), event)) = self.events.pop_first() else { return Ok(false) };
        self.now_ms = at_ms;
        let since_ms = at_ms - self.plan.start_ms;
        match &event {
            Event::LandsLate { heir, .. } => self.trace.line(format!("{since_ms} late writes of {heir}")),
            event => self.trace.line(format!("{since_ms} {event:?}")),
        }
        self.happens(event)?;
        self.settle()?;
        Ok(true)
    }

    fn happens(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Sale => self.sale(),
            Event::Phone => self.phone(),
            Event::Timer(exchange) => self.timer(exchange),
            Event::Arrives { server, exchange, request } => self.arrives(server, exchange, request),
            Event::Answered { exchange, reply } => self.answered(exchange, &reply),
            Event::Work { server, run } => return self.work(server, run),
            Event::Commit { server, run } => return self.commit(server, run),
            Event::Synced { server, run } => return self.synced(server, run),
            Event::LandsLate { writes, heir } => self.lands_late(writes, heir),
            Event::Crash(server) => self.crash_now_and_then(server),
            Event::Restart(server) => return self.restart(server),
            Event::Post(server) => return self.post(server),
        }
        Ok(())
    }

    /// Adds up what has become durable, and asks of each payment whether it may be.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for writes in self.disk.take_committed() {
            for (id, kind) in self.books.take_in(&writes)? {
                let payment = self.queries.payment(id).map_err(|error| error.to_string())?;
                let payment = payment.ok_or_else(|| format!("{id} moved money and has no row"))?;
                let moved = self.books.spent(id);
                let account = payment.account.map_or([0; 16], |account| account.0);
                let minor = payment.amount.map_or(0, |amount| i128::from(amount.minor()));
                if moved != Some((account, payment.merchant, minor)) {
                    return Err(format!("{id}: the journal moved {moved:?}, the payment is {payment:?}"));
                }
                if matches!(kind, EntryKind::Payment | EntryKind::Hold) {
                    self.truth.spent(&payment)?;
                    self.was_ruled(&payment, kind == EntryKind::Hold)?;
                    self.books.count_day(&payment, &self.env.settings)?;
                }
                match kind {
                    EntryKind::Capture => self.truth.confirmed(id)?,
                    EntryKind::Release => self.books.uncount_day(id),
                    _ => {}
                }
                self.paid += u64::from(matches!(kind, EntryKind::Payment | EntryKind::Capture));
            }
        }
        Ok(())
    }
}
