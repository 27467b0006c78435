//! Copies of a PostgreSQL database, made and put back by the real program.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::citus::Cluster;
use crate::support::keeper::programs;
use crate::support::postgres::Postgres;
use crate::support::tls::{PASSWORD, TlsPostgres};
use crate::support::{CODES_A_WATCH, Cloud, STEP_S, program, watches_named, with_keys_of};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::{Value, json};
use wearable::CodeForm;

const PRICE_MINOR: u64 = 7;
const TILLS: usize = 4;
/// Payments before the copy is begun, and those that there are codes for.
const PAID_BEFORE: usize = 20;
const CODES_A_WEARER: usize = 144;
const WEARERS: [&str; 2] = ["Li Wei", "Wang Fang"];
/// Between two payments of a till: the load goes on until the copy is there.
const PAUSE: Duration = Duration::from_millis(60);

/// Runs a command on a database, as JSON: its answer, or its error.
fn run(database: &str, arguments: &[&str]) -> Result<Value, Value> {
    let output = program().arg("--json").args(arguments).env("PAYCHIP_DATABASE", database).output().unwrap();
    let told = [&output.stdout, &output.stderr].map(|told| String::from_utf8_lossy(told).into_owned());
    assert!(!told.concat().contains(PASSWORD), "{told:?}");
    if output.status.success() {
        return Ok(serde_json::from_str(&told[0]).unwrap());
    }
    let last = told[1].lines().last().unwrap_or_default();
    Err(serde_json::from_str::<Value>(last).unwrap_or_else(|_| panic!("{told:?}"))["error"].clone())
}

fn backup(database: &str, file: &Path) -> Result<Value, Value> {
    run(database, &["db", "backup", file.to_str().unwrap()])
}

fn restore(database: &str, file: &Path, more: &[&str]) -> Result<Value, Value> {
    run(database, &[&["db", "restore", file.to_str().unwrap()], more].concat())
}

fn refusal(answer: Result<Value, Value>) -> (String, String) {
    let error = answer.unwrap_err();
    (text(&error, "code").unwrap(), text(&error, "message").unwrap())
}

#[test]
fn a_copy_under_load_is_of_one_moment_and_takes_the_place_of_what_is_lost() {
    let Some(tls) = TlsPostgres::start() else { return };
    // As an operator has it: over TLS, with a password that is in no command line.
    let options = format!("sslmode=verify-full&{}&channel_binding=require", tls.option("sslrootcert", "ca.pem"));
    let (lost, fresh) = (tls.new_database(), tls.new_database());
    let url = |database: &str| tls.url("localhost", database, &options);
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Cloud::start_on(folders[0].path(), &url(&lost));
    with_keys_of(folders[0].path(), folders[1].path());
    let second = Cloud::start_on(folders[1].path(), &url(&lost));
    let (shop, _) = take_on_merchant(&second.operator(), "Tea House", "CNY").unwrap();
    let wearers = WEARERS.map(|name| open_account(&first.operator(), name, "CNY").unwrap().0);
    let mut watches = Vec::new();
    for (number, wearer) in wearers.iter().enumerate() {
        top_up(&first.operator(), wearer, 1_000_000, "first").unwrap();
        let wallet = Api::new(first.url.clone(), wearer.key.clone());
        watches.extend(watches_named(&first, &wallet, &format!("w{number}-"), CODES_A_WEARER));
    }

    let answered: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let watches = Arc::new(Mutex::new(watches.into_iter().enumerate()));
    let tills: Vec<_> = (0..TILLS)
        .map(|till| {
            let (watches, answered) = (Arc::clone(&watches), Arc::clone(&answered));
            let cloud = if till % 2 == 0 { &first } else { &second };
            let till = Api::new(cloud.url.clone(), shop.key.clone());
            std::thread::spawn(move || {
                loop {
                    let next = watches.lock().unwrap().next();
                    let Some((number, mut watch)) = next else { return };
                    for payment in 0..CODES_A_WATCH {
                        watch.host_mut().set_clock_ahead(if payment < CODES_A_WATCH / 2 { 0 } else { STEP_S });
                        let code = watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
                        let order = format!("order-{number}-{payment}");
                        let body = json!({"order": order, "code": code, "amount": PRICE_MINOR, "currency": "CNY"});
                        let paid = till.post("/v1/payments", &body).unwrap_or_else(|fault| panic!("{fault}"));
                        answered.lock().unwrap().insert(order, text(&paid, "id").unwrap());
                        std::thread::sleep(PAUSE);
                    }
                }
            })
        })
        .collect();
    while answered.lock().unwrap().len() < PAID_BEFORE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let before = answered.lock().unwrap().clone();
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy.dump");
    let copied = backup(&url(&lost), &copy).unwrap();
    let after = answered.lock().unwrap().len();
    tills.into_iter().for_each(|till| till.join().unwrap());
    let all = answered.lock().unwrap().clone();
    assert!(before.len() < after && after < all.len(), "no load: {} {after} {}", before.len(), all.len());

    assert_eq!(copied["sound"], true);
    let balance = &copied["trial_balance"][0];
    assert!(balance["debit"] == balance["credit"] && balance["debit"] != "0", "{copied}");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["copy.dump"], "nothing is left beside it");
    assert_eq!(refusal(backup(&url(&lost), &copy)).0, "file", "nothing is written over");

    first.kill();
    second.kill();
    let restored = restore(&url(&fresh), &copy, &[]).unwrap();
    assert_eq!(restored, copied, "what was audited is what was copied");
    let cloud = Cloud::start_on(folders[0].path(), &url(&fresh));
    let till = Api::new(cloud.url.clone(), shop.key.clone());
    let mut there = 0;
    for (order, id) in &all {
        let found = till.get(&format!("/v1/payments?order={order}")).unwrap();
        let found = found.as_array().unwrap().first().cloned();
        there += usize::from(found.is_some());
        match found {
            Some(payment) => {
                assert_eq!((text(&payment, "id").unwrap(), &payment["state"]), (id.clone(), &json!("succeeded")))
            }
            None => assert!(!before.contains_key(order), "{order} was acknowledged before the copy was begun"),
        }
    }
    let balances = wearers.iter().map(|wearer| {
        let wallet = Api::new(cloud.url.clone(), wearer.key.clone());
        wallet.get(&format!("/v1/accounts/{}", wearer.id)).unwrap()["balance"].as_u64().unwrap()
    });
    let paid = 2_000_000 - balances.sum::<u64>();
    assert_eq!(paid, there as u64 * PRICE_MINOR, "one moment: each payment and its money");
    assert_eq!(cloud.operator().get("/v1/audit").unwrap()["sound"], true);
    let change = tls.server.try_sql(&fresh, "UPDATE paychip.journal SET key = key").unwrap_err();
    assert!(change.contains("the journal is final"), "{change}");
}

#[test]
fn a_restore_costs_nothing_that_is_there_unless_it_is_told_to_and_comes_to_sound_books() {
    let Some(server) = Postgres::start() else { return };
    let url = server.new_database();
    let database = url.rsplit('/').next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let records = || run(&url, &["audit", "verify"]).unwrap()["records"].as_u64().unwrap();
    assert_eq!(
        refusal(backup(&url, &file("none"))),
        ("database".into(), { "the storage engine failed: this database has no tables of paychip".into() })
    );

    let cloud = Cloud::start_on(folder.path(), &url);
    let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    top_up(&cloud.operator(), &wearer, 1_000, "first").unwrap();
    let sound = backup(&url, &file("sound")).unwrap();
    top_up(&cloud.operator(), &wearer, 1_000, "second").unwrap();
    assert_eq!(refusal(restore(&url, &file("sound"), &["--replace"])).0, "database_in_use");
    cloud.kill();
    let before = records();
    assert!(before > sound["records"].as_u64().unwrap());

    // A copy that is whole and not sound.
    let flip = "ALTER TABLE paychip.journal DISABLE TRIGGER ALL;
                UPDATE paychip.journal SET row = set_byte(row, 20, get_byte(row, 20) # 1) \
                WHERE key = (SELECT min(key) FROM paychip.journal);
                ALTER TABLE paychip.journal ENABLE TRIGGER ALL";
    server.sql(database, flip);
    assert_eq!(refusal(backup(&url, &file("unsound"))).0, "books_unsound");
    server.sql(database, flip);
    // One that was cut off, one of which a byte was changed, one of something else.
    let whole = std::fs::read(file("sound")).unwrap();
    std::fs::write(file("short"), &whole[..whole.len() * 3 / 4]).unwrap();
    let socket = server.socket();
    let mut dump = Command::new(programs().unwrap().join("pg_dump"));
    dump.args(["--format=custom", "-U", "paychip", "--file"])
        .arg(file("other"))
        .arg("-h")
        .arg(socket.parent().unwrap());
    let dumped = dump.arg("postgres").status().unwrap();
    assert!(dumped.success());

    assert_eq!(refusal(restore(&url, &file("sound"), &[])).0, "database_used");
    for (name, code) in
        [("missing", "file"), ("short", "tool_failed"), ("other", "database"), ("unsound", "books_unsound")]
    {
        let refused = refusal(restore(&url, &file(name), &["--replace"]));
        assert_eq!(refused.0, code, "{name}: {refused:?}");
        assert_eq!(records(), before, "{name}: what was there is there");
    }
    // A restore that was killed half way leaves what was there aside, and is not begun again over it.
    server.sql(database, "CREATE SCHEMA paychip_before_restore");
    let cut_off = refusal(restore(&url, &file("sound"), &["--replace"])).1;
    assert!(cut_off.contains("a restore was cut off"), "{cut_off}");
    server.sql(database, "DROP SCHEMA paychip_before_restore");

    // Who is about to leave is waited for.
    let mut leaving = Command::new(programs().unwrap().join("psql"));
    leaving.args(["-U", "paychip", "-d", database, "-c", "SET application_name = 'paychip'; SELECT pg_sleep(1)", "-h"]);
    let mut leaving = leaving.arg(socket.parent().unwrap()).stdout(Stdio::null()).spawn().unwrap();
    let there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'paychip' AND wait_event = 'PgSleep'";
    while server.sql(database, there) == "0" {
        assert!(leaving.try_wait().unwrap().is_none(), "left before it was seen");
    }
    let restored = restore(&url, &file("sound"), &["--replace"]).unwrap();
    assert!(leaving.wait().unwrap().success());
    assert_eq!((&restored, records()), (&sound, sound["records"].as_u64().unwrap()));
    assert_eq!(server.sql(database, "SELECT to_regnamespace('paychip_before_restore') IS NULL"), "t");
    let cloud = Cloud::start_on(folder.path(), &url);
    top_up(&cloud.operator(), &wearer, 1_000, "second").unwrap();
    assert_eq!(cloud.operator().get("/v1/audit").unwrap()["sound"], true);
}

#[test]
fn a_cluster_is_not_copied_through_its_coordinator() {
    let Some(cluster) = Cluster::start() else { return };
    let url = cluster.new_database();
    run(&url, &["db", "init", "--citus"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy");
    let error = backup(&url, &file).unwrap_err();
    assert_eq!(error["code"], "database_spread");
    assert!(error["hint"].as_str().unwrap().contains("docs/operations.md"), "{error}");
    assert!(!file.exists());
    std::fs::write(&file, "a copy").unwrap();
    let refused = refusal(restore(&url, &file, &[])).1;
    assert!(refused.contains("cannot be put into a Citus cluster"), "{refused}");
}
