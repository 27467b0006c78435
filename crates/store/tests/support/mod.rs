//! A store on a fresh SQLite file, with a wearer, a token and a shop in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use ledger::{Amount, Currency};
use paycode::{CodeFormat, MaskKey, PayKey, Sequence, Stamp, Suite, TimeStep, TokenIndex, make};
use platform::accounts::{Account, TopUp};
use platform::merchants::Merchant;
use platform::payments::MerchantNumber;
use platform::tokens::{Token, TokenState};
use platform::{
    AccountId, Change, ChipId, KeyHash, KeyVault, KeyVersions, MerchantId, Settings, TokenId, TopUpId, VaultError,
};
use protocol::scp03::KeySet;
use store::commands::{NewPayment, Paid, Pay, TopUpAccount};
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

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(tables.apply_all(&self.0)?)
    }
}

pub struct World {
    pub store: Store,
    pub queries: Queries,
    pub folder: TempDir,
    pub writer: std::thread::JoinHandle<()>,
}

impl World {
    /// A world in which the wearer has this much money.
    pub async fn with_money(minor: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self::open(folder);
        let account = Account {
            id: ACCOUNT,
            name: "Li".to_owned(),
            currency: Currency::CNY,
            wallet_key: KeyHash([1; 32]),
            created_ms: 0,
        };
        let shop = Merchant {
            id: SHOP,
            name: "Tea House".to_owned(),
            currency: Currency::CNY,
            api_key: KeyHash([2; 32]),
            created_ms: 0,
            wrong_codes: Default::default(),
        };
        let token = Token {
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
            misses: 0,
            created_ms: 0,
        };
        let rows = vec![Change::PutAccount(account), Change::PutMerchant(shop), Change::PutToken(token)];
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

    /// The world in a folder, as a restarted process finds it.
    pub fn open(folder: TempDir) -> Self {
        let path = folder.path().join("paychip.db");
        let engine = SqliteEngine::open(&path).unwrap();
        let queries = Queries::new(Box::new(engine.reader(&path).unwrap()));
        let (store, writer) = Store::start(Box::new(engine), env()).unwrap();
        Self { store, queries, folder, writer }
    }

    /// Stops the store as a server that is told to stop does; everything is in the database file then.
    pub fn close(self) -> TempDir {
        let Self { store, queries, folder, writer } = self;
        drop((store, queries));
        writer.join().unwrap();
        folder
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
    TokenIndex::new(42).unwrap()
}

/// A payment request.
pub fn pay(order: &str, code: &str, minor: u64) -> Pay {
    pay_at(order, code, minor, NOW_MS)
}

/// A payment request at another moment.
pub fn pay_at(order: &str, code: &str, minor: u64, now_ms: u64) -> Pay {
    let new = NewPayment {
        merchant: SHOP,
        order: MerchantNumber::parse(order, "order").unwrap(),
        code: Zeroizing::new(code.to_owned()),
        amount: Amount::new(minor, Currency::CNY).unwrap(),
        now_ms,
    };
    Pay::new(new, &env()).unwrap()
}

/// What commands are given in these tests.
pub fn env() -> Env {
    Env::new(Arc::new(TestVault), Arc::new(Settings::default())).unwrap()
}

/// The code of the token, some steps from now, with a sequence number.
pub fn code(steps: i64, sequence: u8) -> String {
    let step = i64::try_from(NOW_MS / 30_000).unwrap() + steps;
    let stamp = Stamp::new(TimeStep(u32::try_from(step).unwrap()), Sequence::new(sequence).unwrap());
    let mask = MaskKey::new(Suite::International, &TestVault.mask_key(&CodeFormat::DEFAULT, 1).unwrap());
    let key = TestVault.pay_key(&CodeFormat::DEFAULT, index(), 1).unwrap();
    let pay = PayKey::new(Suite::International, &key);
    make(&CodeFormat::DEFAULT, &mask, &pay, index(), stamp, true).unwrap().as_str().to_owned()
}
