//! A restore that is killed leaves one of two things, whole: what was there before, or what the copy holds. The real program
//! is killed with SIGKILL at moments spread over all that it does.
//!
//! A few rounds; `PAYCHIP_LONG=1` makes them many.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::{Cloud, is_long, program};
use paychip::books::{open_account, top_up};
use serde_json::Value;

/// Unused bytes in the copy of a file, so that there is time to kill while they are written.
const PADDING: u64 = 48 * 1024 * 1024;
/// How long what a killed command has begun in the database may go on.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether a command has ended.
const LOOK: Duration = Duration::from_millis(5);

fn rounds(few: u32, many: u32) -> u32 {
    if is_long() { many } else { few }
}

/// Runs a command to its end.
fn done(command: &mut Command) -> Result<Value, String> {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(serde_json::from_slice(&output.stdout).unwrap()) } else { Err(told) }
}

/// Runs a command, and kills it after a time where it has not ended by then.
fn killed_after(command: &mut Command, after: Duration) {
    let (mut child, begun) = (command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), Instant::now());
    while child.try_wait().unwrap().is_none() && begun.elapsed() < after {
        std::thread::sleep(LOOK.min(after.saturating_sub(begun.elapsed())));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The moments at which each round kills: spread over how long the command takes and a quarter more, for it may take longer
/// than it did; the last round's is too late on any machine.
fn moments(rounds: u32, took: Duration) -> impl Iterator<Item = Duration> {
    let spread = move |round| took.mul_f64((f64::from(round) + fastrand::f64()) / f64::from(rounds) * 1.25);
    (0..rounds - 1).map(spread).chain([took * 100])
}

#[test]
fn a_file_that_is_restored_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let [made, data, copy] = ["made", "data", "copy.db"].map(|name| folder.path().join(name));
    let on = |data: &Path, arguments: &[&str]| {
        let mut command = program();
        command.args(["--json", "--data"]).arg(data).args(arguments);
        command
    };
    let cloud = Cloud::start(&made);
    let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    for number in 0..20 {
        top_up(&cloud.operator(), &wearer, 1_000, &format!("t-{number}")).unwrap();
    }
    let copied = done(&mut on(&made, &["db", "backup", copy.to_str().unwrap()])).unwrap();
    cloud.kill();
    let file = rusqlite::Connection::open(&copy).unwrap();
    file.execute_batch(&format!("CREATE TABLE padding (bytes); INSERT INTO padding VALUES (zeroblob({PADDING}))"))
        .unwrap();
    drop(file);
    for name in ["master.key", "operator.key"] {
        std::fs::create_dir_all(&data).unwrap();
        std::fs::copy(made.join(name), data.join(name)).unwrap();
    }
    let database = data.join("paychip.db");
    let restore = || on(&data, &["db", "restore", copy.to_str().unwrap()]);
    let begun = Instant::now();
    assert_eq!(done(&mut restore()), Ok(copied.clone()));
    let took = begun.elapsed();

    let (rounds, mut none, mut whole) = (rounds(12, 200), 0, 0);
    for after in moments(rounds, took) {
        for entry in std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.extension().is_none_or(|extension| extension != "key") {
                std::fs::remove_file(entry).unwrap();
            }
        }
        killed_after(&mut restore(), after);
        if database.exists() {
            whole += 1;
            let refused = done(&mut restore()).unwrap_err();
            assert!(refused.contains("is there already"), "{refused}");
        } else {
            none += 1;
            assert_eq!(done(&mut restore()), Ok(copied.clone()), "after {after:?}");
        }
        assert_eq!(done(&mut on(&data, &["audit", "verify"])), Ok(copied.clone()), "after {after:?}");
    }
    println!("{rounds} rounds of {took:?}: {none} times nothing was there, {whole} times all of it");
    assert!(none > 0 && whole > 0, "killed only too late, or only too early, to prove anything");
}

#[test]
fn a_database_that_is_restored_is_what_it_was_or_what_the_copy_holds() {
    let Some(server) = Postgres::start() else { return };
    let url = server.new_database();
    let database = url.rsplit('/').next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let on = |arguments: &[&str]| {
        let mut command = program();
        command.arg("--json").args(arguments).env("PAYCHIP_DATABASE", &url);
        command
    };
    let (copy, before) = (file("copy"), file("before"));
    let cloud = Cloud::start_on(folder.path(), &url);
    let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    top_up(&cloud.operator(), &wearer, 1_000, "first").unwrap();
    let copied = done(&mut on(&["db", "backup", &copy])).unwrap();
    for number in 0..20 {
        top_up(&cloud.operator(), &wearer, 1_000, &format!("t-{number}")).unwrap();
    }
    assert!(cloud.terminate().success());
    let was = done(&mut on(&["db", "backup", &before])).unwrap();
    assert_ne!(was, copied);
    let put_back = || done(&mut on(&["db", "restore", "--replace", &before]));
    let begun = Instant::now();
    assert_eq!(put_back(), Ok(was.clone()));
    let took = begun.elapsed();

    let (rounds, mut untouched, mut aside, mut whole) = (rounds(10, 150), 0, 0, 0);
    for after in moments(rounds, took) {
        killed_after(&mut on(&["db", "restore", "--replace", &copy]), after);
        let begun = Instant::now();
        // pg_restore has lost its parent, and ends by itself.
        let orphans = "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('paychip-copy', 'paychip')";
        while server.sql(database, orphans) != "0" {
            assert!(begun.elapsed() < ORPHAN_PATIENCE, "what was begun goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        if server.sql(database, "SELECT to_regnamespace('paychip_before_restore') IS NOT NULL") == "t" {
            aside += 1;
            for command in [&["db", "restore", "--replace", &copy][..], &["db", "init"]] {
                let refused = done(&mut on(command)).unwrap_err();
                assert!(refused.contains("a restore was cut off"), "{command:?} after {after:?}: {refused}");
            }
            let serve = Cloud::try_start(folder.path(), program().arg("--json").env("PAYCHIP_DATABASE", &url));
            assert!(serve.is_err(), "a server takes what a restore has left, after {after:?}");
            // As the message and docs/operations.md say.
            let back = "DROP SCHEMA IF EXISTS paychip CASCADE; ALTER SCHEMA paychip_before_restore RENAME TO paychip";
            server.sql(database, back);
            assert_eq!(done(&mut on(&["audit", "verify"])), Ok(was.clone()), "after {after:?}");
            continue;
        }
        let found = done(&mut on(&["audit", "verify"])).unwrap();
        if found == was {
            untouched += 1;
        } else {
            whole += 1;
            assert_eq!(found, copied, "after {after:?}");
            assert_eq!(put_back(), Ok(was.clone()));
        }
    }
    println!(
        "{rounds} rounds of {took:?}: {untouched} times untouched, {aside} times as before and aside, {whole} times the copy"
    );
    assert!(aside > 0, "never killed in the middle");
}
