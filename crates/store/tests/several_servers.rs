//! Several servers on one PostgreSQL database: they decide the same things at the same time, lose their connections at
//! the worst moments, and go away for good. What was acknowledged is there, once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::Mutex;
use std::time::Duration;

use ledger::posting::payable;
use ledger::{Amount, Currency};
use platform::accounts::TopUp;
use platform::payments::refund::RefundRequest;
use platform::payments::{Decline, MerchantNumber, PaymentState, Refund};
use platform::tokens::TokenAction;
use platform::{Caller, RefundId, TopUpId};
use store::commands::{Paid, PostClearing, RefundPayment, TopUpAccount};
use store::postgres::{Heir, PostgresEngine, agree_on_master_keys, lacked_master_key, master_key_versions};
use store::{Command, Env, Failure, Store, StoreError, Tables};
use support::postgres::Postgres;
use support::proxy::{Cut, Proxy};
use support::{ACCOUNT, Home, NOW_MS, SHOP, World, act, code, pay};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// How long a lease lasts, and a little.
const LEASE: Duration = Duration::from_millis(10_300);

/// Two servers on one database, with a wearer who has money; none where PostgreSQL is missing.
async fn two_servers() -> Option<(World, World)> {
    let home = Home::postgres()?;
    let second = home.again();
    let first = World::with_money(home, 10_000).await;
    Some((first, World::open(second)))
}

fn state(paid: Paid) -> PaymentState {
    match paid {
        Paid::Payment(payment) => payment.state,
        Paid::Wait { wait_ms } => panic!("told to wait {wait_ms} ms"),
    }
}

fn partitions(world: &World) -> String {
    world.home.sql("SELECT count(*) FROM partitions").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_number_through_two_servers_is_one_payment() {
    let Some((first, second)) = two_servers().await else { return };
    assert_eq!(partitions(&first), "2", "each writes its own");
    let mut tills = JoinSet::new();
    for till in 0..32 {
        let store = if till % 2 == 0 { first.store.clone() } else { second.store.clone() };
        tills.spawn(async move { store.execute(pay("o-1", &code(0, 0), 500)).await });
    }
    let mut payments = tills.join_all().await.into_iter().map(Result::unwrap);
    let one = payments.next().unwrap();
    assert!(payments.all(|payment| payment == one));
    assert_eq!((state(one), first.balance()), (PaymentState::Succeeded, 9_500));
    second.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_through_two_servers_pays_once() {
    let Some((first, second)) = two_servers().await else { return };
    let mut tills = JoinSet::new();
    for till in 0..32 {
        let store = if till % 2 == 0 { first.store.clone() } else { second.store.clone() };
        tills.spawn(async move { store.execute(pay(&format!("o-{till}"), &code(0, 0), 500)).await });
    }
    let states: Vec<_> = tills.join_all().await.into_iter().map(|paid| state(paid.unwrap())).collect();
    let paid = states.iter().filter(|state| **state == PaymentState::Succeeded).count();
    let spent = states.iter().filter(|state| **state == PaymentState::Failed(Decline::CodeSpent)).count();
    assert_eq!((paid, spent, second.balance()), (1, 31, 9_500));
    first.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_that_race_through_two_servers_never_pass_the_payment() {
    let Some((first, second)) = two_servers().await else { return };
    let Paid::Payment(paid) = first.pay("o-1", &code(0, 0), 1_000).await.unwrap() else { panic!() };
    let mut clients = JoinSet::new();
    for client in 0..64_u8 {
        let store = if client % 2 == 0 { first.store.clone() } else { second.store.clone() };
        let number = MerchantNumber::parse(&format!("r-{client}"), "refund").unwrap();
        // The last bytes are the number the row is found by, above every number the store gives out itself.
        let mut id = [1; 16];
        id[15] = client;
        let request = RefundRequest { id: RefundId(id), number, amount_minor: 70, now_ms: NOW_MS };
        let command = RefundPayment { merchant: SHOP, payment: paid.id, request };
        clients.spawn(async move { store.execute(command).await });
    }
    let given = clients.join_all().await.into_iter().filter_map(|answer| match answer {
        Ok(refund) => Some(refund.amount.minor()),
        Err(Failure::Refused(_)) => None,
        Err(Failure::Store(error)) => panic!("{error}"),
    });
    assert_eq!(given.sum::<u64>(), 980);
    assert_eq!(second.balance(), 9_980);
    first.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_through_one_server_holds_on_the_very_next_payment_through_the_other() {
    let Some((first, second)) = two_servers().await else { return };
    assert_eq!(state(second.pay("o-1", &code(0, 0), 100).await.unwrap()), PaymentState::Succeeded);
    let act = |action| act(Caller::Operator, action);
    first.store.execute(act(TokenAction::Freeze)).await.unwrap();
    let frozen = state(second.pay("o-2", &code(0, 1), 100).await.unwrap());
    assert_eq!(frozen, PaymentState::Failed(Decline::TokenFrozen));
    second.store.execute(act(TokenAction::Resume)).await.unwrap();
    assert_eq!(state(first.pay("o-3", &code(0, 2), 100).await.unwrap()), PaymentState::Succeeded);
}

/// A refund that another server overtakes between the rows it reads.
struct Overtaken {
    refund: RefundPayment,
    between: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Command for Overtaken {
    type Answer = Refund;

    fn run(&self, tables: &mut Tables<'_>, env: &Env) -> Result<Refund, Failure> {
        tables.refund(SHOP, &self.refund.request.number)?;
        if let Some(between) = self.between.lock().unwrap().take() {
            between();
        }
        self.refund.run(tables, env)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_stands_on_rows_of_two_moments_is_decided_anew() {
    let Some((first, second)) = two_servers().await else { return };
    let Paid::Payment(payment) = first.pay("o-1", &code(0, 0), 500).await.unwrap() else { panic!() };
    let refund = move || RefundPayment {
        merchant: SHOP,
        payment: payment.id,
        request: RefundRequest {
            id: RefundId([7; 16]),
            number: MerchantNumber::parse("r-1", "refund").unwrap(),
            amount_minor: 500,
            now_ms: NOW_MS,
        },
    };
    // The same refund by the other server, after this one has seen that there is none and before it sees the payment: which
    // then is given back in full.
    let (runtime, other, same) = (Handle::current(), second.store.clone(), refund());
    let between = Box::new(move || drop(runtime.block_on(other.execute(same)).unwrap()));
    let overtaken = Overtaken { refund: refund(), between: Mutex::new(Some(between)) };
    let told = first.store.execute(overtaken).await.unwrap();
    assert_eq!(told, second.store.execute(refund()).await.unwrap());
    assert_eq!(first.balance(), 10_000);
    second.assert_sound();
}

/// A world whose server reaches its database through a proxy.
async fn behind_a_proxy() -> Option<(World, Proxy)> {
    let home = Home::postgres()?;
    let Home::Postgres(url, server) = &home else { panic!() };
    let proxy = Proxy::start(server.socket());
    let database = url.rsplit('/').next().unwrap();
    let url = format!("postgres://paychip@127.0.0.1:{}/{database}", proxy.port);
    let world = World::with_money(Home::Postgres(url, server), 10_000).await;
    Some((world, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_out_by_key_and_acknowledged() {
    let Some((world, proxy)) = behind_a_proxy().await else { return };
    proxy.cut(Cut::Answer);
    let paid = world.pay("o-1", &code(0, 0), 500).await.unwrap();
    assert!(proxy.has_cut());
    assert_eq!((state(paid), world.balance()), (PaymentState::Succeeded, 9_500));
    assert_eq!(state(world.pay("o-2", &code(0, 1), 500).await.unwrap()), PaymentState::Succeeded, "the server goes on");
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_never_arrived_is_not_acknowledged_and_may_be_tried_again() {
    let Some((world, proxy)) = behind_a_proxy().await else { return };
    proxy.cut(Cut::Commit);
    let unpaid = world.pay("o-1", &code(0, 0), 500).await.unwrap_err();
    assert_eq!(unpaid, Failure::Store(StoreError::Busy));
    assert_eq!(world.balance(), 10_000);
    assert_eq!(state(world.pay("o-1", &code(0, 0), 500).await.unwrap()), PaymentState::Succeeded);
    assert_eq!(world.balance(), 9_500);
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_arrives_after_its_sender_gave_it_up_changes_nothing() {
    let Some((world, proxy)) = behind_a_proxy().await else { return };
    proxy.cut(Cut::Late(Duration::from_millis(1_500)));
    let unpaid = world.pay("o-1", &code(0, 0), 500).await.unwrap_err();
    assert_eq!(unpaid, Failure::Store(StoreError::Busy));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(world.balance(), 10_000, "what was said not to be there has come after all");
    assert_eq!(state(world.pay("o-1", &code(0, 0), 500).await.unwrap()), PaymentState::Succeeded);
    world.assert_sound();
}

/// Tops the wearer up with one fen again and again, asking anew with the same reference where the store was busy.
/// So a coordinator of a cluster ends whose postmaster was killed while it waited for a worker.
#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_that_tells_of_the_databases_end_is_one_to_try_again_after() {
    let Some((first, _)) = two_servers().await else { return };
    let sql = |text: &str| first.home.sql(text).unwrap();
    sql("CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN RAISE EXCEPTION 'postmaster was shut down, exiting' USING ERRCODE = 'XX000'; END$$");
    sql("CREATE TRIGGER ends BEFORE INSERT ON payments EXECUTE FUNCTION ends()");
    let unpaid = first.pay("o-1", &code(0, 0), 500).await.unwrap_err();
    assert_eq!((unpaid, first.balance()), (Failure::Store(StoreError::Busy), 10_000));
    sql("DROP TRIGGER ends ON payments");
    assert_eq!(state(first.pay("o-1", &code(0, 0), 500).await.unwrap()), PaymentState::Succeeded);
    first.assert_sound();
}

async fn top_ups(store: Store, from: u64, count: u64) {
    for number in from..from + count {
        let mut id = [9; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        let top_up = || TopUp {
            id: TopUpId(id),
            account: ACCOUNT,
            reference: format!("t-{number}"),
            amount: Amount::new(1, Currency::CNY).unwrap(),
            created_ms: NOW_MS,
        };
        while let Err(failure) = store.execute(TopUpAccount(top_up())).await {
            assert_eq!(failure, Failure::Store(StoreError::Busy));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_ended_by_the_database_lose_nothing_and_double_nothing() {
    let Some((first, second)) = two_servers().await else { return };
    let mut clients = JoinSet::new();
    for client in 0..8 {
        let store = if client % 2 == 0 { first.store.clone() } else { second.store.clone() };
        clients.spawn(top_ups(store, 1_000 * client, 100));
    }
    while !clients.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'paychip' AND datname = current_database()";
        first.home.sql(end).unwrap();
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
    }
    assert_eq!(first.balance(), 10_800);
    second.assert_sound();
    assert!(first.store.is_running() && second.store.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_crashes_under_load_loses_nothing_that_was_acknowledged() {
    // One that no other test is using.
    let Some(server) = Postgres::start() else { return };
    let server: &'static Postgres = Box::leak(Box::new(server));
    let world = World::with_money(Home::Postgres(server.new_database(), server), 10_000).await;
    let mut clients = JoinSet::new();
    for client in 0..8 {
        clients.spawn(top_ups(world.store.clone(), 1_000 * client, 150));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        tokio::task::spawn_blocking(move || {
            server.crash();
            server.start_again();
        })
        .await
        .unwrap();
    }
    clients.join_all().await;
    assert_eq!(world.balance(), 11_200);
    world.assert_sound();
    assert!(world.store.is_running());
}

/// One look, and what may be taken after it.
fn look(heir: &mut Heir) -> Option<PostgresEngine> {
    heir.look().unwrap();
    heir.take().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_left_alone_is_posted_by_another_server_and_its_holder_cannot_write_any_more() {
    let Some(home) = Home::postgres() else { return };
    let Home::Postgres(url, _) = &home else { panic!() };
    let mut heir = Heir::new(&url.parse().unwrap()).unwrap();
    let away = World::with_money(home, 10_000).await;
    let owed = || away.queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap();
    away.pay("o-1", &code(0, 0), 1_000).await.unwrap();
    for _ in 0..2 {
        assert!(look(&mut heir).is_none(), "its lease runs");
    }
    // It writes nothing any more: as if it had been killed.
    tokio::time::sleep(LEASE).await;
    assert!(look(&mut heir).is_none(), "the first look only remembers");
    let engine = look(&mut heir).expect("nobody took the partition");
    let (store, writer) = Store::start(Box::new(engine), support::env()).unwrap();
    store.execute(PostClearing { now_ms: NOW_MS, random: [1; 10] }).await.unwrap();
    assert_eq!(owed(), 1_000);

    let back = away.pay("o-2", &code(0, 1), 1_000).await.unwrap_err();
    assert_eq!(back, Failure::Store(StoreError::Stopped));
    assert!(!away.store.is_running());
    assert_eq!(away.balance(), 9_000);
    drop(store);
    writer.join().unwrap();
    away.assert_sound();
}

/// A server that is gone had posted all its records, and a refund of them waits for what another server posts later.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_waits_in_a_partition_left_alone_is_posted_once_it_is_covered() {
    let Some((first, second)) = two_servers().await else { return };
    let Home::Postgres(url, _) = &first.home else { panic!() };
    let mut heir = Heir::new(&url.parse().unwrap()).unwrap();
    let post = |random: u8| PostClearing { now_ms: NOW_MS, random: [random; 10] };
    let Paid::Payment(paid) = first.pay("o-1", &code(0, 0), 1_000).await.unwrap() else { panic!() };
    let number = MerchantNumber::parse("r-1", "refund").unwrap();
    let request = RefundRequest { id: RefundId([1; 16]), number, amount_minor: 400, now_ms: NOW_MS };
    second.store.execute(RefundPayment { merchant: SHOP, payment: paid.id, request }).await.unwrap();
    assert_eq!(second.store.execute(post(1)).await.unwrap(), 0, "the shop is owed nothing yet");
    second.close();
    assert_eq!(first.store.execute(post(2)).await.unwrap(), 1);

    let engine = look(&mut heir).expect("nobody took the partition, which was given back");
    let (store, writer) = Store::start(Box::new(engine), support::env()).unwrap();
    // Until nothing is posted any more, as a server does.
    assert_eq!((store.execute(post(3)).await.unwrap(), store.execute(post(4)).await.unwrap()), (1, 0));
    drop(store);
    writer.join().unwrap();
    assert_eq!(first.queries.balance(&payable(SHOP.0, Currency::CNY)).unwrap(), 600);
    assert_eq!(first.queries.unposted_of(SHOP, Currency::CNY).unwrap(), 0);
    for _ in 0..2 {
        assert!(look(&mut heir).is_none(), "nothing waits there any more");
    }
    first.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lives_keeps_its_partition_although_its_lease_ran_out_in_an_outage() {
    let Some(home) = Home::postgres() else { return };
    let Home::Postgres(url, _) = &home else { panic!() };
    let mut heir = Heir::new(&url.parse().unwrap()).unwrap();
    let world = World::with_money(home, 10_000).await;
    world.pay("o-1", &code(0, 0), 1_000).await.unwrap();
    tokio::time::sleep(LEASE).await;
    assert!(look(&mut heir).is_none());
    // The database is back: the server's next posting renews its lease.
    world.pay("o-2", &code(0, 1), 1_000).await.unwrap();
    assert!(look(&mut heir).is_none());
    world.pay("o-3", &code(0, 2), 1_000).await.unwrap();
    assert_eq!(world.balance(), 7_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_nothing_to_do_renews_its_lease() {
    let Some((first, _)) = two_servers().await else { return };
    let row = || first.home.sql("SELECT row FROM partitions WHERE key = 0").unwrap();
    let post = || PostClearing { now_ms: NOW_MS, random: [1; 10] };
    first.store.execute(post()).await.unwrap();
    let fresh = row();
    first.store.execute(post()).await.unwrap();
    assert_eq!(row(), fresh, "nothing is written where nothing is due");
    tokio::time::sleep(Duration::from_millis(4_200)).await;
    first.store.execute(post()).await.unwrap();
    assert_ne!(row(), fresh);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_gives_its_partition_to_the_next() {
    let Some(home) = Home::postgres() else { return };
    let mut world = World::with_money(home, 10_000).await;
    for _ in 0..3 {
        world = World::open(world.close());
    }
    assert_eq!(partitions(&world), "1");
    world.assert_sound();
}

#[test]
fn servers_that_start_at_once_make_the_tables_once_and_hold_a_partition_each() {
    let Some(home) = Home::postgres() else { return };
    let Home::Postgres(url, _) = &home else { panic!() };
    let started: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| PostgresEngine::open(&url.parse().unwrap()).unwrap());
        let starting: Vec<_> = (0..6).map(|_| start()).collect();
        starting.into_iter().map(|server| server.join().unwrap()).collect()
    });
    let mut held: Vec<u32> = started.iter().map(store::engine::Engine::partition).collect();
    held.sort_unstable();
    assert_eq!(held, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_database_of_a_newer_program_or_of_other_keys_is_refused() {
    let Some(home) = Home::postgres() else { return };
    let Home::Postgres(url, _) = &home else { panic!() };
    let url = url.parse().unwrap();
    let (one, two) = ((1, [1; 16]), (2, [2; 16]));
    assert!(master_key_versions(&url).unwrap().is_empty());
    agree_on_master_keys(&url, &[one], None).unwrap();
    // What is only prepared keeps nobody out.
    agree_on_master_keys(&url, &[one], Some(two)).unwrap();
    agree_on_master_keys(&url, &[one], None).unwrap();
    assert_eq!(lacked_master_key(&url, &[one]).unwrap(), None);
    let other = agree_on_master_keys(&url, &[(1, [9; 16]), two], None).unwrap_err();
    assert!(other.to_string().contains("version 1"), "{other}");
    assert_eq!(master_key_versions(&url).unwrap(), [1], "who is refused leaves nothing");
    agree_on_master_keys(&url, &[one, two], None).unwrap();
    assert!(lacked_master_key(&url, &[one]).unwrap().is_some());
    agree_on_master_keys(&url, &[one], Some((2, [9; 16]))).unwrap_err();
    let lacking = agree_on_master_keys(&url, &[one], None).unwrap_err();
    assert!(lacking.to_string().contains("version 2"), "{lacking}");
    home.sql("UPDATE schema_version SET version = 99").unwrap();
    let newer = PostgresEngine::open(&url).err().expect("opened a schema it does not know");
    assert!(newer.to_string().contains("99"), "{newer}");
}
