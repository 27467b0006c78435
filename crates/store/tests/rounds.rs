//! How often a batch asks the database: as often for many commands as for one. Across a network each time is a round trip
//! that everybody in the batch waits for, and commands that ask one by one make a batch as slow as no batch.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; one that needs what is missing says so"
)]

mod support;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ledger::{Amount, Currency};
use paycode::TokenIndex;
use platform::accounts::{Account, TopUp};
use platform::payments::confirm::Answer;
use platform::payments::refund::RefundRequest;
use platform::payments::{Payment, PaymentState};
use platform::tokens::Token;
use platform::{AccountId, Caller, Change, ChipId, KeyHash, RefundId, TokenId, TopUpId};
use store::commands::{AnswerPayment, Pay, RefundPayment, TopUpAccount};
use store::engine::{Engine, Outcome, View, Writes};
use store::key::{Key, Numbered};
use store::{Batch, Command, Env, Failure, Store, StoreError, Tables};
use support::{Home, NOW_MS, Put, SHOP, World, cancel, code_of, env, number, pay, payment};

/// The most questions of a batch: the partition, an order or payment, its token or wearer, the purse.
const MAX_QUESTIONS: usize = 4;
/// Commands in the larger batch.
const MANY: usize = 4;
/// An amount that the phone is asked about.
const LARGE_MINOR: u64 = 300_000;

/// An engine that keeps what it was asked for.
struct Listening {
    engine: Box<dyn Engine>,
    asked: Arc<Mutex<Vec<Vec<Key>>>>,
}

impl View for Listening {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.asked.lock().unwrap().push(keys.to_vec());
        self.engine.read(keys)
    }

    crate::looks_through_engine!();
}

impl Engine for Listening {
    crate::leaves_to_engine!();

    fn begin(&mut self) -> Result<(), StoreError> {
        self.engine.begin()
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        self.engine.commit(writes)
    }
}

impl Listening {
    /// Runs these commands in one batch and makes it durable: their answers, and what was asked for.
    fn run<C: Command>(&mut self, commands: Vec<C>) -> (Vec<C::Answer>, Vec<Vec<Key>>)
    where
        C::Answer: 'static,
    {
        self.asked.lock().unwrap().clear();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let mut batch = Batch::default();
        for command in commands {
            let answers = Arc::clone(&answers);
            batch.push(command, move |answer| answers.lock().unwrap().push(answer.unwrap()));
        }
        let writes = batch.decide(self, &env()).unwrap();
        let outcome = self.commit(writes);
        assert_eq!(outcome, Outcome::Committed);
        batch.end(&outcome);
        let answers = core::mem::take(&mut *answers.lock().unwrap());
        (answers, core::mem::take(&mut *self.asked.lock().unwrap()))
    }

    /// The same, for one wearer and then for many together: they ask as often.
    fn asks_as_often<C: Command>(&mut self, what: &str, mut command: impl FnMut(usize) -> C) -> Vec<C::Answer>
    where
        C::Answer: 'static,
    {
        let (mut answers, asked) = self.run(vec![command(0)]);
        assert!(asked.len() <= MAX_QUESTIONS, "one of {what} asks {} times: {asked:?}", asked.len());
        let (others, asked_by_many) = self.run((1..=MANY).map(command).collect());
        let (one, many) = (asked.len(), asked_by_many.len());
        assert_eq!(many, one, "{MANY} of {what} ask {many} times: {asked_by_many:?}");
        answers.extend(others);
        answers
    }
}

/// The place of a wearer in a key or number of theirs. Where rows have several homes, all of these fall to one.
fn byte(wearer: usize) -> u8 {
    10 + 16 * u8::try_from(wearer).unwrap()
}

/// The number of what a wearer's command makes, another one than theirs.
fn id_of(wearer: usize) -> u8 {
    1 + byte(wearer)
}

fn account_of(wearer: usize) -> AccountId {
    AccountId([byte(wearer); 16])
}

fn index_of(wearer: usize) -> TokenIndex {
    TokenIndex::new(u64::from(byte(wearer))).unwrap()
}

/// Wearers with a token each: what is asked for once for all of one wearer's payments is asked for many.
async fn with_wearers(home: Home) -> Home {
    let world = World::with_money(home, 1).await;
    for wearer in 0..=MANY {
        let account = Account {
            id: account_of(wearer),
            name: "Li".to_owned(),
            currency: Currency::CNY,
            wallet_key: KeyHash([byte(wearer); 32]),
            created_ms: 0,
        };
        let token = Token {
            id: TokenId([byte(wearer); 16]),
            account: account.id,
            chip: ChipId([byte(wearer); 16]),
            index: index_of(wearer),
            ..support::token()
        };
        world.store.execute(Put(vec![Change::PutAccount(account), Change::PutToken(token)])).await.unwrap();
        world.store.execute(top_up(wearer, 1_000_000, "first")).await.unwrap();
    }
    world.close()
}

fn top_up(wearer: usize, minor: u64, reference: &str) -> TopUpAccount {
    TopUpAccount(TopUp {
        id: TopUpId([byte(wearer); 16]),
        account: account_of(wearer),
        reference: reference.to_owned(),
        amount: Amount::new(minor, Currency::CNY).unwrap(),
        created_ms: NOW_MS,
    })
}

/// A payment of a wearer with the code of this number.
fn paid_by(wearer: usize, order: &str, sequence: u8, minor: u64) -> Pay {
    pay(&format!("{order}-{wearer}"), &code_of(index_of(wearer), 0, sequence), minor)
}

fn refunded(id: usize, payment: &Payment) -> RefundPayment {
    let id = RefundId([u8::try_from(id + 1).unwrap(); 16]);
    let request = RefundRequest { id, number: number(&format!("r-{id}")), amount_minor: 10, now_ms: NOW_MS };
    RefundPayment { merchant: SHOP, payment: payment.id, request }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_asks_as_often_for_many_commands_as_for_one() {
    let home = with_wearers(Home::sqlite()).await;
    let (mut engines, _queries) = home.open();
    let mut engine = Listening { engine: engines.remove(0), asked: Arc::default() };

    let paid = engine.asks_as_often("payments", |wearer| paid_by(wearer, "o", 0, 1_000));
    let paid: Vec<Payment> = paid.into_iter().map(payment).collect();
    assert!(paid.iter().all(|payment| payment.state == PaymentState::Succeeded), "{paid:?}");
    let again = engine.asks_as_often("payments told again", |wearer| paid_by(wearer, "o", 0, 1_000));
    assert_eq!(again.into_iter().map(payment).collect::<Vec<_>>(), paid);

    engine.asks_as_often("refunds", |wearer| refunded(wearer, &paid[wearer]));
    engine.asks_as_often("cancels of what was paid", |wearer| cancel(byte(wearer), &format!("o-{wearer}")));
    engine.asks_as_often("cancels of what never came", |wearer| cancel(id_of(wearer), &format!("n-{wearer}")));

    // Which payments wait is known when they are decided: then each asks for what is set aside of its wearer.
    let (waiting, _) = engine.run((0..=MANY).map(|wearer| paid_by(wearer, "w", 1, LARGE_MINOR)).collect());
    let waiting: Vec<Payment> = waiting.into_iter().map(payment).collect();
    let waits = |payment: &Payment| matches!(payment.state, PaymentState::RequiresConfirmation { .. });
    assert!(waiting.iter().all(waits), "{waiting:?}");
    engine.asks_as_often("answers of the wearer", |wearer| AnswerPayment {
        caller: Caller::Wearer(account_of(wearer)),
        payment: waiting[wearer].id,
        answer: Answer::Confirm,
        now_ms: NOW_MS,
    });
    engine.asks_as_often("top-ups", |wearer| top_up(wearer, 5, "more"));
}

/// The home of the shop, and that of the wearers.
const HOMES: [u16; 2] = [2, 10];
/// Until every command has come to where it waits for the others.
const GATHERING: Duration = Duration::from_millis(400);

/// What an engine was asked for in each of its batches.
#[derive(Default)]
struct Batches {
    is_closed: Mutex<bool>,
    opened: Condvar,
    /// Of the batch that runs.
    asked: Mutex<Vec<Vec<Key>>>,
    /// Of those that were no plug's: how often each asked, and how many rows it wrote.
    ended: Mutex<Vec<(usize, usize)>>,
}

impl Batches {
    fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

/// An engine of one home whose batches wait until they may begin.
struct Gated {
    engine: Box<dyn Engine>,
    batches: Arc<Batches>,
}

impl View for Gated {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.batches.asked.lock().unwrap().push(keys.to_vec());
        self.engine.read(keys)
    }

    crate::looks_through_engine!();
}

impl Engine for Gated {
    crate::leaves_to_engine!();

    fn begin(&mut self) -> Result<(), StoreError> {
        drop(self.batches.opened.wait_while(self.batches.is_closed.lock().unwrap(), |is_closed| *is_closed).unwrap());
        self.batches.asked.lock().unwrap().clear();
        self.engine.begin()
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        let own = |key: &Key| matches!(key, Key::Number(Numbered::Partitions, _));
        let rows = writes.rows.iter().filter(|row| !own(&row.key)).count();
        let outcome = self.engine.commit(writes);
        // A plug's asks for its partition alone.
        let asked = self.batches.asked.lock().unwrap().len();
        if asked > 1 {
            self.batches.ended.lock().unwrap().push((asked, rows));
        }
        outcome
    }
}

/// Changes nothing: while its batch waits, all that come meanwhile are the next one.
struct Plug;

impl Command for Plug {
    type Answer = ();

    fn run(&self, _: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(())
    }
}

/// A store of several homes, of two of which it is known what they ask.
struct Several {
    store: Store,
    batches: [Arc<Batches>; 2],
}

impl Several {
    /// Carries commands out so that each of their steps is one batch: the answers, and in each of the two homes how often
    /// that batch asked and how many rows it wrote.
    async fn together<C: Command>(&self, commands: Vec<C>) -> (Vec<C::Answer>, [Vec<(usize, usize)>; 2]) {
        let mut plugs = Vec::new();
        for (batches, home) in self.batches.iter().zip(HOMES) {
            batches.close();
            batches.ended.lock().unwrap().clear();
            let store = self.store.clone();
            plugs.push(tokio::spawn(async move { store.in_home(home, Plug).await.unwrap() }));
        }
        tokio::time::sleep(GATHERING).await;
        let running: Vec<_> = commands
            .into_iter()
            .map(|command| {
                let store = self.store.clone();
                tokio::spawn(async move { store.execute(command).await.unwrap() })
            })
            .collect();
        for batches in &self.batches {
            tokio::time::sleep(GATHERING).await;
            batches.open();
        }
        let mut answers = Vec::new();
        for command in running {
            answers.push(command.await.unwrap());
        }
        for plug in plugs {
            plug.await.unwrap();
        }
        (answers, [0, 1].map(|home: usize| core::mem::take(&mut *self.batches[home].ended.lock().unwrap())))
    }

    /// The same for one wearer and then for many: each step asks as often, and is one batch.
    async fn asks_as_often<C: Command>(&self, what: &str, mut command: impl FnMut(usize) -> C) -> Vec<C::Answer> {
        let (mut answers, one) = self.together(vec![command(0)]).await;
        let (others, many) = self.together((1..=MANY).map(command).collect()).await;
        for (place, (one, many)) in one.iter().zip(&many).enumerate() {
            let home = HOMES[place];
            let [(asked, rows), (asked_by_many, rows_of_many)] = match (one.as_slice(), many.as_slice()) {
                ([], []) => continue,
                ([one], [many]) => [*one, *many],
                _ => panic!("{what} in home {home}: not one batch: {one:?} {many:?}"),
            };
            assert!(rows == 0 || rows_of_many > rows, "{what} in home {home}: {MANY} of them write no more than one");
            assert!(asked <= MAX_QUESTIONS, "one of {what} asks {asked} times in home {home}");
            assert_eq!(asked_by_many, asked, "{what}: {MANY} in home {home} ask more often than one");
        }
        let asked: usize = one.iter().map(Vec::len).sum();
        assert!(asked > 0, "{what}: nothing was asked");
        answers.extend(others);
        answers
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_asks_as_often_for_many_commands_as_for_one_where_rows_have_several_homes() {
    let Some(home) = Home::citus() else { return };
    let home = with_wearers(home).await;
    let (engines, _queries) = home.open();
    let batches: [Arc<Batches>; 2] = Default::default();
    let gated = engines.into_iter().map(|engine| match HOMES.iter().position(|home| *home == engine.home()) {
        Some(place) => Box::new(Gated { engine, batches: Arc::clone(&batches[place]) }) as Box<dyn Engine>,
        None => engine,
    });
    let (store, writers) = Store::start_all(gated.collect(), env()).unwrap();
    let several = Several { store, batches };

    let paid = several.asks_as_often("payments", |wearer| paid_by(wearer, "o", 0, 1_000)).await;
    let paid: Vec<Payment> = paid.into_iter().map(payment).collect();
    assert!(paid.iter().all(|payment| payment.state == PaymentState::Succeeded), "{paid:?}");
    several.asks_as_often("refunds", |wearer| refunded(wearer, &paid[wearer])).await;
    several.asks_as_often("cancels of what was paid", |wearer| cancel(byte(wearer), &format!("o-{wearer}"))).await;
    several.asks_as_often("cancels of what never came", |wearer| cancel(id_of(wearer), &format!("n-{wearer}"))).await;
    // As above: which payments wait is known when they are decided.
    let (waiting, _) = several.together((0..=MANY).map(|wearer| paid_by(wearer, "w", 1, LARGE_MINOR)).collect()).await;
    let waiting: Vec<Payment> = waiting.into_iter().map(payment).collect();
    several
        .asks_as_often("answers of the wearer", |wearer| AnswerPayment {
            caller: Caller::Wearer(account_of(wearer)),
            payment: waiting[wearer].id,
            answer: Answer::Confirm,
            now_ms: NOW_MS,
        })
        .await;
    several.asks_as_often("top-ups", |wearer| top_up(wearer, 5, "more")).await;
    drop(several);
    writers.join().unwrap();
}
