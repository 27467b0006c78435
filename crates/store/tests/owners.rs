//! Whose token a number is: what a server has in memory saves a payment a row, and never decides whose money moves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ledger::Currency;
use paycode::{CodeFormat, TokenIndex};
use platform::accounts::Account;
use platform::payments::{Decline, PaymentState};
use platform::tokens::{Token, TokenAction};
use platform::{AccountId, Caller, Change, ChipId, KeyHash, TokenId};
use store::engine::{Engine, Outcome, View, Writes};
use store::key::{Key, Named};
use store::{Env, Queries, Store, StoreError};
use support::{ACCOUNT, Home, Put, World, act, code, code_of, env, index, pay_with, payment, token};

on_every_engine! {
    a_payment_asks_for_no_token_once_it_is_known_whose_it_is,
    a_server_learns_at_its_start_whose_tokens_are,
    whatever_is_believed_of_a_token_it_pays_from_its_own_account,
    a_token_that_is_known_is_frozen_at_once,
}

/// A real engine that tells which tokens it was asked for.
struct Asked {
    engine: Box<dyn Engine>,
    tokens: Arc<Mutex<Vec<Key>>>,
}

impl View for Asked {
    fn read(&mut self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let tokens = keys.iter().filter(|key| matches!(key, Key::Name(Named::TokenNumbers, _)));
        self.tokens.lock().unwrap().extend(tokens.cloned());
        self.engine.read(keys)
    }

    crate::looks_through_engine!();
}

impl Engine for Asked {
    crate::leaves_to_engine!();

    fn may_conflict(&self) -> bool {
        self.engine.may_conflict()
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.engine.begin()
    }

    fn commit(&mut self, writes: Writes) -> Outcome {
        self.engine.commit(writes)
    }
}

/// A server on a database.
struct Server {
    env: Env,
    store: Store,
    queries: Queries,
    writer: JoinHandle<()>,
    tokens: Arc<Mutex<Vec<Key>>>,
}

impl Server {
    fn open(home: &Home) -> Self {
        let (mut engines, queries) = home.open();
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let engine = Asked { engine: engines.remove(0), tokens: Arc::clone(&tokens) };
        let env = env();
        let (store, writer) = Store::start(Box::new(engine), env.clone()).unwrap();
        Self { env, store, queries, writer, tokens }
    }

    /// What became of a payment, and how many tokens were asked for.
    async fn pay(&self, order: &str, code: &str) -> (PaymentState, usize) {
        let paid = self.store.execute(pay_with(&self.env, order, code, 100)).await.unwrap();
        (payment(paid).state, core::mem::take(&mut *self.tokens.lock().unwrap()).len())
    }

    fn balance(&self) -> i64 {
        self.queries.balance(&ledger::posting::wallet(ACCOUNT.0, Currency::CNY)).unwrap()
    }

    fn close(self) {
        let audit = self.queries.audit().unwrap();
        assert_eq!(audit.findings, []);
        drop((self.store, self.queries));
        self.writer.join().unwrap();
    }
}

async fn a_payment_asks_for_no_token_once_it_is_known_whose_it_is(home: Home) {
    let home = World::with_money(home, 10_000).await.close();
    let server = Server::open(&home);
    let paid = PaymentState::Succeeded;
    assert_eq!(server.pay("o-1", &code(0, 1)).await, (paid, 1), "it finds out");
    assert_eq!(server.pay("o-2", &code(0, 2)).await, (paid, 0), "and knows it");
    assert_eq!(server.pay("o-3", &code(0, 2)).await, (PaymentState::Failed(Decline::CodeSpent), 0));
    assert_eq!(server.balance(), 9_800);
    server.close();
}

/// More rows than are read at once, and tokens of another format beside them.
async fn a_server_learns_at_its_start_whose_tokens_are(home: Home) {
    const TOKENS: u64 = 600;
    let world = World::with_money(home, 10_000).await;
    // One in every other block or so, and the first number of all.
    let numbers = (1..=TOKENS).map(|block| block * 200).chain([0]);
    let mut tokens: Vec<Token> = numbers
        .map(|number| Token {
            id: TokenId::numbered(1, number),
            chip: ChipId(TokenId::numbered(2, number).0),
            index: TokenIndex::new(number).unwrap(),
            ..token()
        })
        .collect();
    for (number, (prefix, digits)) in [("70", 20), ("72", 20), ("71", 19)].into_iter().enumerate() {
        let id = TokenId::numbered(3, 1_000_000 + number as u64);
        let format = CodeFormat::new(prefix, digits).unwrap();
        tokens.push(Token { id, chip: ChipId(id.0), index: TokenIndex::new(7).unwrap(), format, ..token() });
    }
    world.store.execute(Put(tokens.into_iter().map(Change::PutToken).collect())).await.unwrap();
    let home = world.close();

    let server = Server::open(&home);
    server.queries.learn_owners(&server.env).unwrap();
    for number in [0, 33, 200, 200 * 255, 200 * 256, 200 * 257, 200 * TOKENS] {
        let code = code_of(TokenIndex::new(number).unwrap(), 0, 1);
        let paid = server.pay(&format!("o-{number}"), &code).await;
        assert_eq!(paid, (PaymentState::Succeeded, 0), "{number}");
    }
    let unknown = code_of(TokenIndex::new(7).unwrap(), 0, 1);
    assert_eq!(server.pay("o-7", &unknown).await, (PaymentState::Failed(Decline::CodeUnknown), 1));
    server.close();
}

async fn whatever_is_believed_of_a_token_it_pays_from_its_own_account(home: Home) {
    let world = World::with_money(home, 10_000).await;
    let other = Account {
        id: AccountId([9; 16]),
        name: "Wu".to_owned(),
        currency: Currency::CNY,
        wallet_key: KeyHash([9; 32]),
        created_ms: 0,
    };
    world.store.execute(Put(vec![Change::PutAccount(other.clone())])).await.unwrap();
    let home = world.close();
    let server = Server::open(&home);
    for (number, believed) in [(1, other.id), (2, AccountId([0x55; 16]))] {
        server.env.owners.learn(index(), believed);
        let paid = server.pay(&format!("o-{number}"), &code(0, number)).await;
        assert_eq!(paid, (PaymentState::Succeeded, 1));
    }
    assert_eq!(server.pay("o-3", &code(0, 3)).await, (PaymentState::Succeeded, 0), "it knows better now");
    assert_eq!(server.balance(), 9_700);

    // A number that no token has is nobody's, whoever it is believed to be of.
    let nobodys = TokenIndex::new(34).unwrap();
    server.env.owners.learn(nobodys, ACCOUNT);
    let paid = server.pay("o-4", &code_of(nobodys, 0, 1)).await;
    assert_eq!(paid, (PaymentState::Failed(Decline::CodeUnknown), 1));
    assert_eq!(server.balance(), 9_700);
    server.close();
}

async fn a_token_that_is_known_is_frozen_at_once(home: Home) {
    let home = World::with_money(home, 10_000).await.close();
    let server = Server::open(&home);
    server.queries.learn_owners(&server.env).unwrap();
    assert_eq!(server.pay("o-1", &code(0, 1)).await, (PaymentState::Succeeded, 0));
    let freeze = act(Caller::Wearer(ACCOUNT), TokenAction::Freeze);
    server.store.execute(freeze).await.unwrap();
    server.tokens.lock().unwrap().clear();
    let frozen = server.pay("o-2", &code(0, 2)).await;
    assert_eq!(frozen, (PaymentState::Failed(Decline::TokenFrozen), 0));
    server.close();
}
