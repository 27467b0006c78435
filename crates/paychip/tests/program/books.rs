//! What an operator and a wearer do with the books: confirm a large payment on the phone, back up while the cloud runs,
//! restore, and audit the database itself, whatever the cloud says of it.

use std::path::Path;

use crate::support::postgres::Postgres;
use crate::support::{Cloud, program};
use serde_json::Value;

/// A cloud with a bound watch whose passcode is entered, money, and a shop.
fn world(folder: &Path) -> Cloud {
    let cloud = Cloud::start(folder);
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    cloud.run(&["account", "top-up", "10000"]).unwrap();
    cloud.run(&["merchant", "new", "Jeweller"]).unwrap();
    cloud.run(&["watch", "new"]).unwrap();
    cloud.run(&["watch", "bind"]).unwrap();
    cloud.run(&["watch", "passcode", "1357"]).unwrap();
    cloud.run(&["watch", "unlock", "1357"]).unwrap();
    cloud
}

fn code(cloud: &Cloud) -> String {
    cloud.run(&["watch", "code"]).unwrap()["digits"].as_str().unwrap().to_owned()
}

fn alone(folder: &Path, arguments: &[&str]) -> Result<Value, Value> {
    let output = program().args(["--json", "--data"]).arg(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    if output.status.success() {
        return Ok(serde_json::from_str(&text(&output.stdout)).unwrap());
    }
    Err(serde_json::from_str(text(&output.stderr).lines().last().unwrap()).unwrap())
}

#[test]
fn a_large_payment_waits_at_the_till_until_the_wearer_answers() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = world(folder.path());
    for (order, answer, state) in [("o-1", "confirm", "succeeded"), ("o-2", "refuse", "failed")] {
        let digits = code(&cloud);
        let till = program()
            .args(["--json", "--data"])
            .arg(folder.path())
            .args(["pos", "charge", "2100", "--code", &digits, "--order", order])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let waiting = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let waiting = cloud.run(&["account", "waiting"]).unwrap();
            waiting.as_array().unwrap().first().cloned()
        });
        let waiting = waiting.expect("the payment never waited");
        assert_eq!((&waiting["amount"], &waiting["merchant"]), (&210_000.into(), &"Jeweller".into()));
        cloud.run(&["account", answer]).unwrap();
        let told = till.wait_with_output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["state"], state, "the till is told what the wearer did");
        let nothing = cloud.run(&["account", "confirm"]).unwrap_err();
        assert_eq!(nothing["error"]["code"], "nothing_waits");
    }
    assert_eq!(cloud.run(&["account", "show"]).unwrap()["account"]["balance"], 790_000);
    assert_eq!(cloud.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn a_backup_made_under_load_is_sound_and_takes_the_place_of_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = world(folder.path());
    let digits = code(&cloud);
    let paid = cloud.run(&["pos", "charge", "5", "--code", &digits, "--order", "before"]).unwrap();
    let copy = folder.path().join("copy.db");
    let copy = copy.to_str().unwrap();
    let copied = cloud.run(&["db", "backup", copy]).unwrap();
    assert_eq!(copied["sound"], true);
    let over = cloud.run(&["db", "backup", copy]).unwrap_err();
    assert_eq!(over["error"]["code"], "database", "nothing is written over");
    let in_use = cloud.run(&["audit", "verify"]).unwrap_err();
    assert_eq!(in_use["error"]["code"], "data_folder", "a running cloud is asked instead");
    cloud.kill();
    assert_eq!(alone(folder.path(), &["audit", "verify"]).unwrap()["sound"], true, "after a kill as well");

    let refused = alone(folder.path(), &["db", "restore", copy]).unwrap_err();
    assert_eq!(refused["error"]["code"], "data_folder", "a database that is there is kept");
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("paychip.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(alone(folder.path(), &["db", "restore", copy]).unwrap()["sound"], true);
    let cloud = Cloud::start(folder.path());
    assert_eq!(cloud.run(&["pos", "show", "before"]).unwrap()["id"], paid["id"]);
    let again = cloud.run(&["pos", "charge", "5", "--code", &digits, "--order", "after"]).unwrap_err();
    assert_eq!(again["error"]["code"], "code_spent", "what was spent stays spent");
    assert_eq!(cloud.run(&["audit"]).unwrap()["sound"], true);
}

#[test]
fn an_altered_database_is_named_by_the_audit_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = world(folder.path());
    let digits = code(&cloud);
    cloud.run(&["pos", "charge", "5", "--code", &digits, "--order", "o-1"]).unwrap();
    cloud.kill();
    alone(folder.path(), &["audit", "verify"]).unwrap();
    let database = folder.path().join("paychip.db");
    let whole = std::fs::read(&database).unwrap();
    // The shop's name stands in one row; the byte that is changed is in no index.
    let at = whole.windows(8).position(|window| window == b"Jeweller").unwrap();
    let mut altered = whole;
    altered[at] = b'K';
    std::fs::write(&database, altered).unwrap();
    let unsound = alone(folder.path(), &["audit", "verify"]).unwrap_err();
    assert_eq!(unsound["error"]["code"], "books_unsound");
}

#[test]
fn one_altered_byte_of_a_postgresql_database_is_named_without_a_cloud() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.new_database();
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_on(folder.path(), &database);
    cloud.run(&["account", "new", "Li Wei"]).unwrap();
    cloud.run(&["account", "top-up", "100"]).unwrap();
    cloud.run(&["merchant", "new", "Jeweller"]).unwrap();
    cloud.run(&["watch", "new"]).unwrap();
    cloud.run(&["watch", "bind"]).unwrap();
    let digits = code(&cloud);
    cloud.run(&["pos", "charge", "5", "--code", &digits, "--order", "o-1"]).unwrap();
    let verified = || alone(folder.path(), &["audit", "verify", "--database", &database]);
    // While the cloud runs as well.
    let sound = verified().unwrap();
    assert_eq!((&sound["sound"], sound["records"].as_u64().unwrap() >= 2), (&true.into(), true));
    cloud.kill();
    let name = database.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    // Whoever owns the database gets past what forbids to change the journal.
    postgres.sql(&name, "ALTER TABLE paychip.journal DISABLE TRIGGER ALL");
    for table in ["merchants", "journal", "purses", "payments"] {
        let flip = |row: &str| {
            let one = format!("(SELECT key FROM paychip.{table} ORDER BY key LIMIT 1)");
            postgres.sql(&name, &format!("UPDATE paychip.{table} SET row = {row} WHERE key = {one}"));
        };
        let flipped = "set_byte(row, 20, get_byte(row, 20) # 1)";
        flip(flipped);
        let unsound = program()
            .args(["--data"])
            .arg(folder.path())
            .args(["audit", "verify", "--database", &database])
            .output()
            .unwrap();
        let told = String::from_utf8(unsound.stdout).unwrap();
        assert!(!unsound.status.success() && told.contains(table), "{table}: {told}");
        flip(flipped);
        assert_eq!(verified().unwrap()["sound"], true, "{table}, put right again");
    }
}
