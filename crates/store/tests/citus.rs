//! The store on a Citus cluster, a coordinator and two workers: every hot statement goes to one shard, a worker killed under
//! load loses nothing and doubles nothing, a commit whose answer is lost is found out, and what a crash leaves between
//! reserving and booking gets its end. What the payments themselves must never get wrong is in `payments.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ledger::posting::wallet;
use ledger::{Amount, Currency};
use paycode::TokenIndex;
use platform::accounts::{Account, TopUp};
use platform::payments::reserved::FINISH_WITHIN_MS;
use platform::payments::{Decline, MerchantNumber, PaymentState};
use platform::tokens::{Token, TokenAction};
use platform::{AccountId, Caller, Change, ChipId, KeyHash, Reason, TokenId, TopUpId};
use store::commands::{FinishReserved, NewPayment, Paid, Pay, TopUpAccount};
use store::homes::{DEFAULT_HOMES, Homes};
use store::postgres::{PostgresEngine, init_citus, plans};
use store::{Command, Env, Failure, Finding, Store, StoreError, Tables};
use support::citus::Cluster;
use support::proxy::{Cut, Proxy};
use support::{Home, NOW_MS, SHOP, World, code, code_of, env};
use tokio::task::JoinSet;

fn state(paid: Paid) -> PaymentState {
    match paid {
        Paid::Payment(payment) => payment.state,
        Paid::Wait { wait_ms } => panic!("told to wait {wait_ms} ms"),
    }
}

#[test]
fn every_hot_statement_goes_to_one_shard() {
    let Some(Home::Citus(url, _)) = Home::citus() else { return };
    let plans = plans(&url.parse().unwrap()).unwrap();
    assert!(plans.len() > 1_000, "{}", plans.len());
    for (text, tasks) in plans {
        assert_eq!(tasks, 1, "{text}");
    }
}

#[test]
fn each_home_has_a_shard_of_its_own_and_the_workers_get_equal_shares() {
    let Some(home) = Home::citus() else { return };
    let shards = "SELECT count(DISTINCT get_shard_id_for_distribution_column('paychip.purses', value)) FROM homes";
    assert_eq!(home.sql(shards).unwrap(), DEFAULT_HOMES.to_string());
    let shares = "SELECT count(*) FROM citus_shards WHERE table_name = 'paychip.purses'::regclass GROUP BY nodeport";
    assert_eq!(home.sql(shares).unwrap(), "8\n8");
    let triggers = "SELECT count(*) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid \
                    WHERE relnamespace = 'paychip'::regnamespace AND NOT tgisinternal";
    assert_eq!(home.sql(triggers).unwrap(), "0");
}

#[test]
fn no_row_is_in_a_home_that_there_is_not() {
    let Some(home) = Home::citus() else { return };
    let Home::Citus(url, cluster) = &home else { panic!() };
    let tables = "SELECT count(*) FROM pg_dist_partition JOIN pg_class ON oid = logicalrelid \
                  WHERE partmethod = 'h' AND relnamespace = 'paychip'::regnamespace";
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confrelid = 'paychip.homes'::regclass";
    let all = home.sql(tables).unwrap();
    assert_eq!(home.sql(keys).unwrap(), all);
    let nowhere = "(SELECT max(value) + 1 FROM homes)";
    for table in ["orders", "token_numbers", "living_tokens"] {
        let refused = home.sql(&format!("INSERT INTO {table} (home, key, row) SELECT {nowhere}, '', ''")).unwrap_err();
        assert!(refused.contains("foreign key"), "{refused}");
    }
    // A cluster of the schema before gets them as well.
    let drops = "SELECT string_agg(format('ALTER TABLE %s DROP CONSTRAINT %s;', conrelid::regclass, conname), '') \
                 FROM pg_constraint WHERE contype = 'f' AND confrelid = 'paychip.homes'::regclass";
    let drops = home.sql(drops).unwrap();
    home.sql(&format!("{drops} UPDATE schema_version SET version = 8")).unwrap();
    assert_eq!(home.sql(keys).unwrap(), "0");
    drop(PostgresEngine::open(&url.parse().unwrap()).unwrap());
    assert_eq!(home.sql(keys).unwrap(), all);
    home.sql(&format!("INSERT INTO orders (home, key, row) SELECT {nowhere}, '', ''")).unwrap_err();
    let database = url.rsplit('/').next().unwrap();
    cluster.sql(0, database, "ALTER TABLE paychip.orders VALIDATE CONSTRAINT orders_home");
}

#[test]
fn a_database_of_a_cluster_that_was_not_prepared_for_it_is_refused() {
    let Some(cluster) = Cluster::start() else { return };
    let url = cluster.new_database().parse().unwrap();
    let refused = PostgresEngine::open(&url).err().expect("opened a database that is not spread");
    assert!(refused.to_string().contains("paychip db init --citus"), "{refused}");
    let homes = |count| Homes::new(count).unwrap();
    init_citus(&url, homes(4)).unwrap();
    init_citus(&url, homes(4)).unwrap();
    assert!(init_citus(&url, homes(8)).is_err(), "the number of homes is for ever");
    let engines = PostgresEngine::open_all(&url, 1).unwrap();
    let held: Vec<u32> = engines.iter().map(store::engine::Engine::partition).collect();
    assert_eq!(held, [0, 1, 2, 3]);
}

/// A world whose server reaches its coordinator through a proxy.
async fn behind_a_proxy() -> Option<(World, Proxy)> {
    let Home::Citus(url, cluster) = Home::citus()? else { panic!() };
    let proxy = Proxy::start(cluster.socket());
    let database = url.rsplit('/').next().unwrap();
    let url = format!("postgres://paychip@127.0.0.1:{}/{database}", proxy.port);
    Some((World::with_money(Home::Citus(url, cluster), 10_000).await, proxy))
}

/// Each home has a part of the audit trail of one thing.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_trail_of_its_subject_has_lost_is_found() {
    let Some(home) = Home::citus() else { return };
    let world = World::with_money(home, 10_000).await;
    world.store.execute(support::act(Caller::Operator, TokenAction::Freeze)).await.unwrap();
    world.assert_sound();
    let entry = "SELECT format('home = %s AND id = %L', home, id) FROM subject_events ORDER BY id LIMIT 1";
    let entry = world.home.sql(entry).unwrap();
    world.home.sql(&format!("DELETE FROM subject_events WHERE {entry}")).unwrap();
    let findings = world.queries.audit().unwrap().findings;
    let is_named = |finding: &Finding| matches!(finding, Finding::List { list: "subject_events", .. });
    assert!(findings.len() == 1 && findings.iter().all(is_named), "{findings:?}");
}

/// Ids of tokens fall to any home; that of their account has the list of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_tokens_fall_to_several_homes_has_a_sound_list_of_them() {
    let Some(home) = Home::citus() else { return };
    let world = World::with_money(home, 10_000).await;
    let (one, two) = (support::token(), TokenIndex::new(49).unwrap());
    let other = Token { id: TokenId([7; 16]), chip: ChipId([8; 16]), index: two, ..support::token() };
    let homes = world.store.homes();
    assert_ne!(homes.of_number(one.id.number()), homes.of_number(other.id.number()));
    world.store.execute(support::Put(vec![Change::PutToken(other)])).await.unwrap();
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_out_by_key_in_either_step() {
    let Some((world, proxy)) = behind_a_proxy().await else { return };
    for step in 0..2_u8 {
        proxy.cut_after(usize::from(step), Cut::Answer);
        let paid = world.pay(&format!("o-{step}"), &code(0, step), 500).await.unwrap();
        assert!(proxy.has_cut());
        assert_eq!((state(paid), world.balance()), (PaymentState::Succeeded, 9_500 - 500 * i64::from(step)));
    }
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_reserved_and_not_booked_is_finished_by_a_repeat_and_refused_to_others() {
    let Some((world, proxy)) = behind_a_proxy().await else { return };
    proxy.cut_after(1, Cut::Commit);
    let unpaid = world.pay("o-1", &code(0, 0), 500).await.unwrap_err();
    assert_eq!((unpaid, world.balance()), (Failure::Store(StoreError::Busy), 10_000));
    let other = world.pay("o-1", &code(0, 0), 501).await.unwrap_err();
    assert!(matches!(other, Failure::Refused(refusal) if refusal.reason == Reason::OrderParametersDiffer));
    for _ in 0..2 {
        assert_eq!(state(world.pay("o-1", &code(0, 0), 500).await.unwrap()), PaymentState::Succeeded);
        assert_eq!(world.balance(), 9_500);
    }
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_repeats_fails_for_good_and_its_reservation_goes() {
    let Some((world, proxy)) = behind_a_proxy().await else { return };
    proxy.cut_after(1, Cut::Commit);
    world.pay("o-1", &code(0, 0), 500).await.unwrap_err();
    world.pay("o-2", &code(0, 1), 300).await.unwrap();
    let reserved = || world.home.sql("SELECT count(*) FROM reservations").unwrap();
    let sweep = |now_ms| world.store.execute(FinishReserved { now_ms });
    assert_eq!((sweep(NOW_MS + 1_000).await.unwrap(), reserved()), (0, "2".to_owned()), "a repeat may still come");
    let late = NOW_MS + FINISH_WITHIN_MS + 1;
    assert_eq!(sweep(late).await.unwrap(), 1);
    assert_eq!((sweep(late).await.unwrap(), reserved()), (0, "0".to_owned()));
    let repeat = state(world.pay("o-1", &code(0, 0), 500).await.unwrap());
    assert_eq!((repeat, world.balance()), (PaymentState::Failed(Decline::CodeStale), 9_700));
    world.assert_sound();
}

/// Writes changes in the home of an account.
struct PutAt(AccountId, Vec<Change>);

impl Command for PutAt {
    type Answer = ();

    fn home(&self, homes: Homes) -> u16 {
        homes.of_number(self.0.number())
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(tables.apply_all(&self.1)?)
    }
}

const WEARERS: u64 = 64;
const CODES: u8 = 8;
const MONEY_MINOR: u64 = 10_000;
const PRICE_MINOR: u64 = 7;

/// A wearer with money and a token, in the home of the number.
async fn wearer(number: u64, store: &Store) -> (AccountId, TokenIndex) {
    let id = AccountId::numbered(NOW_MS, 1_000 + number);
    let (index, currency) = (TokenIndex::new(1_000 + number).unwrap(), Currency::CNY);
    let mut key = [0xAA; 32];
    key[8..16].copy_from_slice(&number.to_be_bytes());
    let account =
        Account { id, name: format!("Wearer {number}"), currency, wallet_key: KeyHash(key), created_ms: NOW_MS };
    let mut chip = [0xCC; 16];
    chip[8..].copy_from_slice(&number.to_be_bytes());
    let token = Token { id: TokenId(id.0), account: id, chip: ChipId(chip), index, ..support::token() };
    store.execute(PutAt(id, vec![Change::PutAccount(account), Change::PutToken(token)])).await.unwrap();
    let amount = Amount::new(MONEY_MINOR, currency).unwrap();
    let top_up = TopUp { id: TopUpId(id.0), account: id, reference: "first".to_owned(), amount, created_ms: NOW_MS };
    store.execute(TopUpAccount(top_up)).await.unwrap();
    (id, index)
}

/// How long a payment may be told to try again: longer than the slowest start of a worker.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// Pays the same again and again until there is an answer.
async fn pay_until_answered(store: &Store, index: TokenIndex, number: u8, busy: &AtomicUsize) -> Paid {
    let order = format!("{}-{number}", index.get());
    let begun = Instant::now();
    loop {
        let new = NewPayment {
            merchant: SHOP,
            order: MerchantNumber::parse(&order, "order").unwrap(),
            code: zeroize::Zeroizing::new(code_of(index, i64::from(number / 4) - 1, number % 4)),
            amount: Amount::new(PRICE_MINOR, Currency::CNY).unwrap(),
            now_ms: NOW_MS,
        };
        let answered = tokio::time::timeout(ANSWER_PATIENCE, store.execute(Pay::new(new, &env()).unwrap()));
        match answered.await.unwrap_or_else(|_| panic!("{order}: the store says nothing")) {
            Ok(paid) => return paid,
            Err(Failure::Store(StoreError::Busy)) => {
                assert!(begun.elapsed() < ANSWER_PATIENCE, "{order}: told to try again for too long");
                busy.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(failure) => panic!("{order}: {failure:?}"),
        }
    }
}

/// Sets a mark when a test ends, also where it fails.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_under_load_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    // One that no other test is using.
    let Some(cluster) = Cluster::start() else { return };
    let cluster: &'static Cluster = Box::leak(Box::new(cluster));
    let url = cluster.new_database();
    init_citus(&url.parse().unwrap(), Homes::new(DEFAULT_HOMES).unwrap()).unwrap();
    let world = World::with_money(Home::Citus(url, cluster), 10_000).await;
    let mut wearers = Vec::new();
    for number in 0..WEARERS {
        wearers.push(wearer(number, &world.store).await);
    }
    let (done, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let _ends_the_kills = SetOnDrop(Arc::clone(&done));
    let killer = {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let mut kills = 0;
            while !done.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(300 + kills as u64 * 37 % 190));
                let worker = 1 + kills % 2;
                cluster.kill(worker);
                cluster.start_again(worker);
                kills += 1;
            }
            kills
        })
    };
    let left = Arc::new(Mutex::new(wearers.clone()));
    let mut tills = JoinSet::new();
    for _ in 0..16 {
        let (left, busy, store) = (Arc::clone(&left), Arc::clone(&busy), world.store.clone());
        tills.spawn(async move {
            let mut paid = 0;
            loop {
                let next = left.lock().unwrap().pop();
                let Some((_, index)) = next else { return paid };
                for number in 0..CODES {
                    let answer = state(pay_until_answered(&store, index, number, &busy).await);
                    assert_eq!(answer, PaymentState::Succeeded, "{index:?} {number}");
                    paid += 1;
                    // Spread over several kills.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    let paid: u64 = tills.join_all().await.into_iter().sum();
    done.store(true, Ordering::Release);
    let kills = killer.join().unwrap();
    assert_eq!(paid, WEARERS * u64::from(CODES));
    for (account, index) in &wearers {
        let balance = world.queries.balance(&wallet(account.0, Currency::CNY)).unwrap();
        let spent = i64::try_from(PRICE_MINOR * u64::from(CODES)).unwrap();
        assert_eq!(balance, i64::try_from(MONEY_MINOR).unwrap() - spent, "{index:?} pays each order once");
        for number in 0..CODES {
            let order = MerchantNumber::parse(&format!("{}-{number}", index.get()), "order").unwrap();
            let payment =
                world.queries.payment_by_order(SHOP, &order).unwrap().expect("what was acknowledged is there");
            assert_eq!(payment.state, PaymentState::Succeeded);
        }
    }
    world.assert_sound();
    println!("{paid} payments, {kills} kills of a worker, {} told to try again", busy.load(Ordering::Relaxed));
    assert!(kills >= 3, "too few kills to prove anything: {kills}");
}
