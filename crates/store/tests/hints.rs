//! What the writer asks of an engine and tells it, beside rows: how many commands it takes at once, and which rows commands on
//! their way will ask for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use platform::payments::PaymentState;
use store::engine::{Ahead, Done, Engine, Outcome, View, Writes};
use store::key::{Key, Numbered};
use store::{Store, StoreError};
use support::{ACCOUNT, Home, World, code, env, index, pay_with, payment};
use tokio::task::JoinSet;

/// The most that the engine of these tests takes at once.
const MOST: usize = 2;
/// How long the engine takes before it begins.
const HOLD: Duration = Duration::from_millis(20);
const PAYMENTS: usize = 4;

/// A real engine that takes few commands at once, tells how many it has carried out in each transaction, and is told what to look for.
struct Told {
    engine: Box<dyn Engine>,
    decided: Sender<usize>,
    ahead: Arc<Expected>,
}

#[derive(Default)]
struct Expected {
    is_slow: AtomicBool,
    keys: Mutex<Vec<Key>>,
}

impl Ahead for Expected {
    fn is_worth_it(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    fn expect(&self, key: Key) {
        self.keys.lock().unwrap().push(key);
    }
}

impl View for Told {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.engine.read(keys)
    }

    crate::looks_through_engine!();
}

impl Engine for Told {
    crate::leaves_to_engine!();

    fn may_conflict(&self) -> bool {
        self.engine.may_conflict()
    }

    fn most_at_once(&mut self, _waiting: usize) -> usize {
        MOST
    }

    fn ahead(&self) -> Option<Arc<dyn Ahead>> {
        Some(Arc::clone(&self.ahead) as _)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        // So that several wait.
        std::thread::sleep(HOLD);
        self.engine.begin()
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        self.engine.commit(writes)
    }

    fn commit_later(&mut self, writes: Writes, done: Done) {
        let payments = writes.rows.iter().filter(|row| matches!(row.key, Key::Number(Numbered::Payments, _)));
        self.decided.send(payments.count()).unwrap();
        self.engine.commit_later(writes, done);
    }
}

/// On one thread, so that codes of one token come in the order in which they were made.
#[tokio::test]
async fn no_more_commands_are_decided_at_once_than_the_engine_says_and_rows_are_told_where_it_is_slow() {
    let home = World::with_money(Home::sqlite(), 10_000).await.close();
    let (mut engines, _queries) = home.open();
    let (tell, decided) = channel();
    let ahead = Arc::new(Expected::default());
    let engine = Told { engine: engines.remove(0), decided: tell, ahead: Arc::clone(&ahead) };
    let (store, writer) = Store::start(Box::new(engine), env()).unwrap();

    let server = env();
    let pay_all = async |name: &str, step: i64| {
        let mut all = JoinSet::new();
        for number in 0..PAYMENTS {
            let payment = pay_with(&server, &format!("{name}-{number}"), &code(step, number as u8), 100);
            let store = store.clone();
            all.spawn(async move { store.execute(payment).await });
        }
        for paid in all.join_all().await {
            assert_eq!(payment(paid.unwrap()).state, PaymentState::Succeeded);
        }
    };
    pay_all("fast", -1).await;
    assert_eq!(*ahead.keys.lock().unwrap(), [], "nothing is gained by looking ahead");
    ahead.is_slow.store(true, Ordering::Relaxed);
    pay_all("slow", 0).await;
    let token = Key::token_number(&server.settings.codes.format, index());
    assert_eq!(core::mem::take(&mut *ahead.keys.lock().unwrap()), vec![token; PAYMENTS]);
    server.owners.learn(index(), ACCOUNT);
    pay_all("known", 1).await;
    assert_eq!(*ahead.keys.lock().unwrap(), vec![Key::purse(ACCOUNT); PAYMENTS]);

    drop(store);
    writer.join().unwrap();
    let decided: Vec<usize> = decided.iter().collect();
    assert_eq!(decided.iter().sum::<usize>(), 3 * PAYMENTS);
    assert!(decided.iter().all(|payments| (1..=MOST).contains(payments)), "{decided:?}");
}
