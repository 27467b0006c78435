//! Accounts with money and a token each, and merchants, written through the same engine that the server uses. The books
//! are sound afterwards: every wallet's money came in by an entry.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ledger::{Amount, Currency};
use paycode::{CodeFormat, TokenIndex};
use platform::accounts::Account;
use platform::merchants::Merchant;
use platform::tokens::{Token, TokenState};
use platform::{AccountId, Change, ChipId, KeyHash, KeyVault, MerchantId, TokenId};
use server::{Data, Database, Settings};
use store::commands::TopUpAccount;
use store::key::{Key, Numbered};
use store::{Command, Env, Failure, Store, StoreError, Tables};

use crate::fault::Fault;

/// Money in each wallet, minor units.
const WALLET_MINOR: u64 = 100_000_000;
/// Accounts made by one command.
const ACCOUNTS_A_COMMAND: u64 = 2_000;
/// What the money in a wallet is said to have come by.
const REFERENCE: &str = "bench";
/// When all of it was made: 2026-01-01, Unix milliseconds.
const CREATED_MS: u64 = 1_767_225_600_000;

/// What is needed to make codes.
pub struct Keys {
    /// Where keys come from.
    pub vault: Arc<dyn KeyVault>,
    /// How codes look.
    pub settings: Settings,
}

/// The API key of a merchant.
pub fn api_key(merchant: u64) -> String {
    format!("sk_bench{merchant:024}")
}

/// Makes what is missing of accounts with money and a token each, numbered from 1, and of merchants, in a data folder.
///
/// # Errors
/// `bench_data`.
pub fn fill(folder: &Path, tokens: u64, merchants: u64) -> Result<Keys, Fault> {
    fill_in(folder, &Database::Sqlite, tokens, merchants).map(|filled| filled.keys)
}

/// What was made.
pub struct Filled {
    /// What is needed to make codes.
    pub keys: Keys,
    /// Tokens that were not there before.
    pub made: u64,
    /// How long making them took.
    pub took: Duration,
}

/// The same in any database. What is there already is found without reading all of it.
///
/// # Errors
/// `bench_data`.
pub fn fill_in(folder: &Path, database: &Database, tokens: u64, merchants: u64) -> Result<Filled, Fault> {
    let settings = Settings::default();
    let failed = |text: String| Fault::new("bench_data", text);
    let data = Data::open(folder, database, settings.clone(), &server::Keys::default())
        .map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| failed(error.to_string()))?;
    let begun = Instant::now();
    let made = runtime.block_on(async {
        let command = Merchants(merchants);
        data.store.execute(command).await.map_err(|failure| failed(format!("{failure:?}")))?;
        let (mut first, mut made) = (first_missing(&data, tokens).await?, 0);
        while first <= tokens {
            let command = Accounts { first, last: tokens.min(first + ACCOUNTS_A_COMMAND - 1) };
            first = command.last + 1;
            made += data.store.execute(command).await.map_err(|failure| failed(format!("{failure:?}")))?;
        }
        Ok(made)
    })?;
    let took = begun.elapsed();
    let vault = Arc::clone(&data.env.vault);
    data.close();
    Ok(Filled { keys: Keys { vault, settings }, made, took })
}

/// The first account that is not there: they are made in their order.
async fn first_missing(data: &Data, tokens: u64) -> Result<u64, Fault> {
    let (mut there, mut missing) = (0, tokens + 1);
    while there + 1 < missing {
        let middle = there.midpoint(missing);
        let is_there = data.store.execute(IsThere(middle)).await;
        if is_there.map_err(|failure| Fault::new("bench_data", format!("{failure:?}")))? {
            there = middle;
        } else {
            missing = middle;
        }
    }
    Ok(missing)
}

/// Whether an account is there.
struct IsThere(u64);

impl Command for IsThere {
    type Answer = bool;

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<bool, Failure> {
        Ok(tables.account(AccountId(id(self.0)))?.is_some())
    }
}

fn id(number: u64) -> [u8; 16] {
    AccountId::numbered(CREATED_MS, number).0
}

struct Merchants(u64);

impl Command for Merchants {
    type Answer = ();

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        for number in 1..=self.0 {
            if tables.merchant(MerchantId(id(number)))?.is_none() {
                let merchant = Merchant {
                    id: MerchantId(id(number)),
                    name: format!("Shop {number}"),
                    currency: Currency::CNY,
                    api_key: KeyHash::of(&api_key(number)),
                    created_ms: CREATED_MS,
                    wrong_codes: Default::default(),
                    suspended_ms: None,
                    category: None,
                    position: None,
                };
                tables.apply(&Change::PutMerchant(merchant))?;
            }
        }
        Ok(())
    }
}

#[derive(Clone)]
struct Accounts {
    first: u64,
    last: u64,
}

impl Accounts {
    /// Those whose money is in the home that is written: all of them, where there is one.
    fn here(&self, tables: &Tables<'_>) -> impl Iterator<Item = u64> + use<> {
        let (homes, home) = (tables.homes(), tables.home());
        (self.first..=self.last).filter(move |number| homes.of_number(*number) == home)
    }
}

impl Command for Accounts {
    /// How many were not there.
    type Answer = u64;

    async fn carry_out(self, store: &Store) -> Result<u64, Failure> {
        let mut made = 0;
        for home in store.reached() {
            made += store.in_home(home, self.clone()).await?;
        }
        Ok(made)
    }

    /// Asked for all at once: one by one, a database across a network is asked seven times a token.
    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        Ok(self.here(known).filter_map(wanted).flatten().collect())
    }

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<u64, Failure> {
        let mut made = 0;
        for number in self.here(tables) {
            if tables.account(AccountId(id(number)))?.is_none() {
                make(number, tables, env)?;
                made += 1;
            }
        }
        Ok(made)
    }
}

/// The rows that making an account and its token looks at.
fn wanted(number: u64) -> Option<[Key; 8]> {
    let index = TokenIndex::new(number).ok()?;
    let account = AccountId(id(number));
    Some([
        Key::account(account),
        Key::purse(account),
        Key::wallet_key(wallet_key(number)),
        Key::top_up(account, REFERENCE),
        Key::living_token(chip(number)),
        Key::token_number(&CodeFormat::DEFAULT, index),
        Key::token_owners(&CodeFormat::DEFAULT, index),
        Key::Number(Numbered::Tokens, account.number()),
    ])
}

fn wallet_key(number: u64) -> KeyHash {
    KeyHash::of(&format!("wk_bench{number}"))
}

fn chip(number: u64) -> ChipId {
    let mut chip = [0xBE; 16];
    chip[8..].copy_from_slice(&number.to_be_bytes());
    ChipId(chip)
}

fn make(number: u64, tables: &mut Tables<'_>, env: &Env) -> Result<(), Failure> {
    let account = Account {
        id: AccountId(id(number)),
        name: format!("Wearer {number}"),
        currency: Currency::CNY,
        wallet_key: wallet_key(number),
        created_ms: CREATED_MS,
    };
    let versions = env.vault.versions();
    let token = Token {
        id: TokenId(id(number)),
        account: account.id,
        chip: chip(number),
        format: CodeFormat::DEFAULT,
        suite: env.settings.codes.suite,
        index: TokenIndex::new(number).map_err(|_| platform::Reason::TokensExhausted)?,
        pay_key_version: versions.pay,
        mask_key_version: versions.mask,
        state: TokenState::Active,
        last_stamp: None,
        last_counter: None,
        guesses: Default::default(),
        spent: Default::default(),
        expires_ms: None,
        created_ms: CREATED_MS,
    };
    let top_up = platform::accounts::TopUp {
        id: platform::TopUpId(id(number)),
        account: account.id,
        reference: REFERENCE.to_owned(),
        amount: Amount::new(WALLET_MINOR, Currency::CNY).map_err(|_| platform::Reason::AmountInvalid)?,
        created_ms: CREATED_MS,
    };
    tables.apply_all(&[Change::PutAccount(account), Change::PutToken(token)])?;
    TopUpAccount(top_up).run(tables, env).map(drop)
}
