//! A store on a fresh database of each engine, with a wearer, a token and a shop in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test file uses its part")]

pub mod citus;
pub mod keeper;
pub mod postgres;
pub mod proxy;
pub mod standby;
pub mod tls;

use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;

use ledger::{Amount, Currency};
use paycode::{CodeFormat, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex, make};
use platform::accounts::{Account, TopUp};
use platform::makers::BatchId;
use platform::merchants::Merchant;
use platform::payments::MerchantNumber;
use platform::payments::cancel::CancelRequest;
use platform::payments::refund::RefundRequest;
use platform::tokens::{ActRequest, Token, TokenAction, TokenState};
use platform::{
    AccountId, Caller, Change, ChipId, KeyHash, KeyVault, KeyVersions, MerchantId, PaymentId, Reason, RefundId,
    Settings, TokenId, TopUpId, VaultError,
};
use protocol::scp03::KeySet;
use store::commands::{ActOnToken, CancelOrder, NewPayment, Paid, Pay, RefundPayment, TopUpAccount};
use store::homes::{DEFAULT_HOMES, Homes};
use store::postgres::{PostgresEngine, PostgresReader};
use store::sqlite::SqliteEngine;
use store::{Command, Env, Failure, Queries, Store, Tables};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub const NOW_MS: u64 = 1_763_890_000_000;
pub const ACCOUNT: AccountId = AccountId([1; 16]);
pub const SHOP: MerchantId = MerchantId([2; 16]);
pub const TOKEN: TokenId = TokenId([3; 16]);

/// Keys that depend on what they are for, and on nothing secret.
pub struct TestVault;

impl KeyVault for TestVault {
    fn chip_keys(&self, chip: ChipId, version: u8) -> Result<KeySet, VaultError> {
        KeySet::from_bytes(version, &chip.0, &[version; 16], &[9; 16]).map_err(|_| VaultError)
    }

    fn pay_key(&self, _: &CodeFormat, index: TokenIndex, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut key = Zeroizing::new([version; 32]);
        key[..8].copy_from_slice(&index.get().to_be_bytes());
        Ok(key)
    }

    fn batch_key(&self, batch: BatchId, version: u8) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let mut key = Zeroizing::new([version; 32]);
        key[..16].copy_from_slice(&batch.0);
        Ok(key)
    }

    fn mask_key(&self, _: &CodeFormat, version: u8) -> Result<Zeroizing<[u8; 16]>, VaultError> {
        Ok(Zeroizing::new([version; 16]))
    }

    fn versions(&self) -> KeyVersions {
        KeyVersions { chip: 1, pay: 1, mask: 1 }
    }
}

/// Writes changes as they are.
pub struct Put(pub Vec<Change>);

impl Command for Put {
    type Answer = ();

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(ACCOUNT.number())
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(tables.apply_all(&self.0)?)
    }
}

/// Where a database is: it outlives the stores that are opened on it.
pub enum Home {
    Sqlite(TempDir),
    Postgres(String, &'static postgres::Postgres),
    Citus(String, &'static citus::Cluster),
    Pair(String, &'static standby::Pair),
}

/// One server for all tests of a file, each with a database of its own.
static POSTGRES: LazyLock<Option<postgres::Postgres>> = LazyLock::new(postgres::Postgres::start);

/// One cluster for all tests of a file, each with a database of its own.
static CITUS: LazyLock<Option<citus::Cluster>> = LazyLock::new(citus::Cluster::start);

impl Home {
    /// A new database on a cluster; none where Citus is missing.
    pub fn citus() -> Option<Self> {
        let cluster = CITUS.as_ref()?;
        let url = cluster.new_database();
        let homes = Homes::new(DEFAULT_HOMES).unwrap();
        store::postgres::init_citus(&url.parse().unwrap(), homes).unwrap();
        Some(Self::Citus(url, cluster))
    }

    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// A new database; none where PostgreSQL is missing.
    pub fn postgres() -> Option<Self> {
        POSTGRES.as_ref().map(|server| Self::Postgres(server.new_database(), server))
    }

    /// The same database, for another server.
    pub fn again(&self) -> Self {
        match self {
            Self::Sqlite(_) => panic!("a file has one server"),
            Self::Postgres(url, server) => Self::Postgres(url.clone(), server),
            Self::Citus(url, cluster) => Self::Citus(url.clone(), cluster),
            Self::Pair(url, pair) => Self::Pair(url.clone(), pair),
        }
    }

    /// The database as its own operator sees it: runs SQL.
    pub fn sql(&self, sql: &str) -> Result<String, String> {
        match self {
            Self::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("paychip.db")).unwrap();
                file.execute_batch(sql).map(|()| String::new()).map_err(|error| error.to_string())
            }
            Self::Postgres(url, server) => {
                let database = url.rsplit('/').next().unwrap();
                server.try_sql(database, &format!("SET search_path = paychip; {sql}"))
            }
            Self::Citus(url, cluster) => {
                let database = url.rsplit('/').next().unwrap();
                cluster.try_sql(0, database, &format!("SET search_path = paychip; {sql}"))
            }
            Self::Pair(..) => panic!("no test needs it"),
        }
    }

    pub fn open(&self) -> (Vec<Box<dyn store::engine::Engine>>, Queries) {
        match self {
            Self::Sqlite(folder) => {
                let path = folder.path().join("paychip.db");
                let engine = SqliteEngine::open(&path).unwrap();
                let queries = Queries::new(Box::new(engine.reader(&path).unwrap()));
                (vec![Box::new(engine)], queries)
            }
            Self::Postgres(url, _) | Self::Citus(url, _) | Self::Pair(url, _) => {
                let url = url.parse().unwrap();
                let engines = PostgresEngine::open_all(&url, 1).unwrap().into_iter();
                let engines = engines.map(|engine| Box::new(engine) as _).collect();
                (engines, Queries::new(Box::new(PostgresReader::open(&url).unwrap())))
            }
        }
    }
}

/// Makes each of these functions a test on every engine: they are given a [`Home`] without a database in it yet.
#[macro_export]
macro_rules! on_every_engine {
    ($($name:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::support::Home::sqlite()).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(home) = super::support::Home::postgres() {
                    super::$name(home).await;
                }
            })*
        }
    };
}

/// The same on every engine, and on a cluster.
#[macro_export]
macro_rules! on_every_database {
    ($($name:ident,)*) => {
        on_every_engine! { $($name,)* }

        mod citus {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(home) = super::support::Home::citus() {
                    super::$name(home).await;
                }
            })*
        }
    };
}

/// All of a `View` but `read`, as the engine that `self.engine` is has it.
#[macro_export]
macro_rules! looks_through_engine {
    () => {
        fn list(
            &mut self,
            list: store::key::List,
            owner: &[u8],
            before: [u8; 16],
            limit: usize,
        ) -> Result<Vec<[u8; 16]>, store::StoreError> {
            self.engine.list(list, owner, before, limit)
        }

        fn scan(
            &mut self,
            table: store::key::Numbered,
            after: u64,
            up_to: u64,
            limit: usize,
        ) -> Result<Vec<store::engine::NumberedRow>, store::StoreError> {
            self.engine.scan(table, after, up_to, limit)
        }

        fn scan_names(
            &mut self,
            table: store::key::Named,
            after: &[u8],
            limit: usize,
        ) -> Result<Vec<store::engine::NamedRow>, store::StoreError> {
            self.engine.scan_names(table, after, limit)
        }

        fn homes(&self) -> store::homes::Homes {
            self.engine.homes()
        }

        fn scope(&self) -> Option<u16> {
            self.engine.scope()
        }

        fn self_check(&mut self) -> Result<Vec<String>, store::StoreError> {
            self.engine.self_check()
        }
    };
}

/// What of an `Engine` tests never change, as the engine that `self.engine` is has it.
#[macro_export]
macro_rules! leaves_to_engine {
    () => {
        fn partition(&self) -> u32 {
            self.engine.partition()
        }

        fn lease(&self) -> store::engine::Lease {
            self.engine.lease()
        }

        fn roll_back(&mut self) -> Result<(), store::StoreError> {
            self.engine.roll_back()
        }
    };
}

pub struct World {
    pub store: Store,
    pub queries: Queries,
    pub home: Home,
    pub writer: JoinHandle<()>,
}

impl World {
    /// A world in which the wearer has this much money.
    pub async fn with_money(home: Home, minor: u64) -> Self {
        let world = Self::open(home);
        let account = Account {
            id: ACCOUNT,
            name: "Li".to_owned(),
            currency: Currency::CNY,
            wallet_key: KeyHash([1; 32]),
            created_ms: 0,
        };
        let shop = shop();
        let rows = vec![Change::PutAccount(account), Change::PutMerchant(shop), Change::PutToken(token())];
        world.store.execute(Put(rows)).await.unwrap();
        let top_up = TopUp {
            id: TopUpId([5; 16]),
            account: ACCOUNT,
            reference: "first".to_owned(),
            amount: Amount::new(minor, Currency::CNY).unwrap(),
            created_ms: NOW_MS,
        };
        world.store.execute(TopUpAccount(top_up)).await.unwrap();
        world
    }

    /// The world in a database, as a restarted process finds it.
    pub fn open(home: Home) -> Self {
        let (engines, queries) = home.open();
        let (store, writer) = Store::start_all(engines, env()).unwrap();
        Self { store, queries, home, writer }
    }

    /// Stops the store as a server that is told to stop does; everything is in the database then.
    pub fn close(self) -> Home {
        let Self { store, queries, home, writer } = self;
        drop((store, queries));
        writer.join().unwrap();
        home
    }

    pub fn balance(&self) -> i64 {
        self.queries.balance(&ledger::posting::wallet(ACCOUNT.0, Currency::CNY)).unwrap()
    }

    pub fn assert_sound(&self) {
        let audit = self.queries.audit().unwrap();
        assert_eq!(audit.findings, []);
        assert!(audit.trial.values().all(ledger::TrialBalance::is_balanced));
    }

    pub async fn pay(&self, order: &str, code: &str, minor: u64) -> Result<Paid, Failure> {
        self.store.execute(pay(order, code, minor)).await
    }
}

pub fn index() -> TokenIndex {
    // It falls to the home of its account.
    TokenIndex::new(33).unwrap()
}

/// The token of the wearer of these tests.
pub fn token() -> Token {
    Token {
        id: TOKEN,
        account: ACCOUNT,
        chip: ChipId([4; 16]),
        format: CodeFormat::DEFAULT,
        suite: Suite::International,
        index: index(),
        pay_key_version: 1,
        mask_key_version: 1,
        state: TokenState::Active,
        last_stamp: None,
        last_counter: None,
        guesses: Default::default(),
        spent: Default::default(),
        expires_ms: None,
        created_ms: 0,
    }
}

/// Something done to the token.
pub fn act(caller: Caller, action: TokenAction) -> ActOnToken {
    ActOnToken { token: TOKEN, request: ActRequest { caller, action, why: String::new(), now_ms: NOW_MS } }
}

/// A payment request.
pub fn pay(order: &str, code: &str, minor: u64) -> Pay {
    pay_at(order, code, minor, NOW_MS)
}

/// The shop of these tests.
pub fn shop() -> Merchant {
    Merchant {
        id: SHOP,
        name: "Tea House".to_owned(),
        currency: Currency::CNY,
        api_key: KeyHash([2; 32]),
        created_ms: 0,
        wrong_codes: Default::default(),
        suspended_ms: None,
        category: None,
        position: None,
    }
}

/// A payment request by a server that has learned what `env` has.
pub fn pay_with(env: &Env, order: &str, code: &str, minor: u64) -> Pay {
    Pay::new(new_payment(SHOP, order, code, minor, NOW_MS), env).unwrap()
}

/// A payment request at another moment.
pub fn pay_at(order: &str, code: &str, minor: u64, now_ms: u64) -> Pay {
    pay_of(SHOP, order, code, minor, now_ms)
}

/// A payment request of another shop.
pub fn pay_to(merchant: MerchantId, order: &str, code: &str, minor: u64) -> Pay {
    pay_of(merchant, order, code, minor, NOW_MS)
}

fn pay_of(merchant: MerchantId, order: &str, code: &str, minor: u64, now_ms: u64) -> Pay {
    Pay::new(new_payment(merchant, order, code, minor, now_ms), &env()).unwrap()
}

fn new_payment(merchant: MerchantId, order: &str, code: &str, minor: u64, now_ms: u64) -> NewPayment {
    NewPayment {
        merchant,
        order: MerchantNumber::parse(order, "order").unwrap(),
        code: Zeroizing::new(code.to_owned()),
        amount: Amount::new(minor, Currency::CNY).unwrap(),
        now_ms,
    }
}

/// What commands are given in these tests.
pub fn env() -> Env {
    Env::new(Arc::new(TestVault), Arc::new(Settings::default())).unwrap()
}

/// The code of the token, some steps from now, with a sequence number.
pub fn code(steps: i64, sequence: u8) -> String {
    code_of(index(), steps, sequence)
}

/// The same of another token.
pub fn code_of(index: TokenIndex, steps: i64, sequence: u8) -> String {
    let step = i64::try_from(NOW_MS / 30_000).unwrap() + steps;
    let stamp = Stamp::new(TimeStep(u32::try_from(step).unwrap()), Sequence::new(sequence).unwrap());
    let mask = MaskKey::new(Suite::International, &TestVault.mask_key(&CodeFormat::DEFAULT, 1).unwrap());
    let key = TestVault.pay_key(&CodeFormat::DEFAULT, index, 1).unwrap();
    let pay = PayKey::new(Suite::International, &key);
    make(&CodeFormat::DEFAULT, &mask, &pay, index, stamp, true).unwrap().as_str().to_owned()
}

/// The payment that was made.
pub fn payment(paid: Paid) -> platform::payments::Payment {
    match paid {
        Paid::Payment(payment) => payment,
        Paid::Wait { wait_ms } => panic!("told to wait {wait_ms} ms"),
    }
}

/// A number of a merchant.
pub fn number(text: &str) -> MerchantNumber {
    MerchantNumber::parse(text, "refund").unwrap()
}

/// A refund of the shop.
pub fn refund(id: u8, payment: PaymentId, number_text: &str, amount_minor: u64) -> RefundPayment {
    let request = RefundRequest { id: RefundId([id; 16]), number: number(number_text), amount_minor, now_ms: NOW_MS };
    RefundPayment { merchant: SHOP, payment, request }
}

/// A cancel of the shop.
pub fn cancel(id: u8, order: &str) -> CancelOrder {
    CancelOrder(CancelRequest {
        merchant: SHOP,
        order: number(order),
        payment_id: PaymentId([id; 16]),
        refund_id: RefundId([id; 16]),
        now_ms: NOW_MS,
    })
}

/// Why a rule refused.
pub fn reason(failure: Failure) -> Reason {
    match failure {
        Failure::Refused(refusal) => refusal.reason,
        Failure::Store(error) => panic!("{error}"),
    }
}
