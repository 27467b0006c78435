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

use std::sync::{Arc, Mutex};

use ledger::{Amount, Currency};
use paycode::TokenIndex;
use platform::accounts::{Account, TopUp};
use platform::payments::confirm::Answer;
use platform::payments::refund::RefundRequest;
use platform::payments::{Payment, PaymentState};
use platform::tokens::Token;
use platform::{AccountId, Caller, Change, ChipId, KeyHash, RefundId, TokenId, TopUpId};
use store::commands::{AnswerPayment, Pay, RefundPayment, TopUpAccount};
use store::engine::{Engine, Lease, NamedRow, NumberedRow, Outcome, View, Writes};
use store::key::{Key, List, Named, Numbered};
use store::{Batch, Command, StoreError};
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

    fn list(&mut self, list: List, owner: &[u8], before: [u8; 16], limit: usize) -> Result<Vec<[u8; 16]>, StoreError> {
        self.engine.list(list, owner, before, limit)
    }

    fn scan(&mut self, table: Numbered, after: u64, up_to: u64, limit: usize) -> Result<Vec<NumberedRow>, StoreError> {
        self.engine.scan(table, after, up_to, limit)
    }

    fn scan_names(&mut self, table: Named, after: &[u8], limit: usize) -> Result<Vec<NamedRow>, StoreError> {
        self.engine.scan_names(table, after, limit)
    }

    fn self_check(&mut self) -> Result<Vec<String>, StoreError> {
        self.engine.self_check()
    }
}

impl Engine for Listening {
    fn partition(&self) -> u32 {
        self.engine.partition()
    }

    fn lease(&self) -> Lease {
        self.engine.lease()
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.engine.begin()
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        self.engine.commit(writes)
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.engine.roll_back()
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

/// The place of a wearer in a key or number of theirs.
fn byte(wearer: usize) -> u8 {
    10 + u8::try_from(wearer).unwrap()
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
    engine.asks_as_often("cancels of what never came", |wearer| cancel(100 + byte(wearer), &format!("n-{wearer}")));

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
