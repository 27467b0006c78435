//! The sealed key vault, through the real program: made, refused, taken over from a development key, rotated under load.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::masters::{FOLLOWING_PATIENCE, charge, current_version, next_code, wait_for_version};
use crate::support::postgres::Postgres;
use crate::support::{CODES_A_WATCH, Cloud, program, watches_named};
use paychip::api::Api;
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::watch::Watch;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Place {
    folder: TempDir,
    passphrase: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = Self::secret(folder.path(), "passphrase", "correct horse battery\n");
        Self { folder, passphrase }
    }

    fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn sealed(&self) -> PathBuf {
        self.data().join("vault.sealed")
    }

    /// What a command says, or the code of its refusal.
    fn run_with(&self, passphrase: &Path, arguments: &[&str]) -> Result<Value, String> {
        let mut command = program();
        command.args(["--json", "--data"]).arg(self.data()).arg("--passphrase-file").arg(passphrase);
        let output = command.args(arguments).output().unwrap();
        let document = |bytes: &[u8]| -> Value {
            // The last line: the log comes before it.
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            serde_json::from_str(text.trim().lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{text}"))
        };
        if output.status.success() {
            return Ok(document(&output.stdout));
        }
        Err(document(&output.stderr)["error"]["code"].as_str().unwrap().to_owned())
    }

    fn run(&self, arguments: &[&str]) -> Result<Value, String> {
        self.run_with(&self.passphrase, arguments)
    }

    /// The code with which a server refuses to start.
    fn serve_refused(&self, arguments: &[&str]) -> String {
        let all = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        self.run(&all).expect_err("it serves")
    }
}

fn states(answer: &Value) -> Vec<String> {
    let versions = answer["versions"].as_array().unwrap().iter();
    versions.map(|key| format!("{} {}", key["version"], key["state"].as_str().unwrap())).collect()
}

#[test]
fn a_vault_that_does_not_open_says_why_with_a_code_of_its_own() {
    let place = Place::new();
    let short = Place::secret(place.folder.path(), "short", "too short");
    assert_eq!(place.serve_refused(&["--production"]), "vault_missing");
    assert_eq!(place.run_with(&short, &["vault", "init"]).unwrap_err(), "vault_passphrase_short");
    assert_eq!(states(&place.run(&["vault", "init"]).unwrap()), ["1 current"]);
    assert_eq!(place.run(&["vault", "init"]).unwrap_err(), "vault_exists");
    let mode = fs::metadata(place.sealed()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let wrong = Place::secret(place.folder.path(), "wrong", "incorrect horse battery");
    assert_eq!(place.run_with(&wrong, &["vault", "show"]).unwrap_err(), "vault_passphrase");
    assert_eq!(place.run_with(&wrong, &["serve", "--listen", "127.0.0.1:0"]).unwrap_err(), "vault_passphrase");
    let open = Place::secret(place.folder.path(), "open", "correct horse battery");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(place.run_with(&open, &["vault", "show"]).unwrap_err(), "vault_file_open");
    let needed =
        program().args(["--json", "--data"]).arg(place.data()).args(["serve", "--listen", "127.0.0.1:0"]).output();
    assert!(String::from_utf8(needed.unwrap().stderr).unwrap().contains("vault_passphrase_needed"));

    let whole = fs::read(place.sealed()).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(place.sealed(), bytes).unwrap();
        place.serve_refused(&["--production"])
    };
    assert_eq!(with(&|bytes| bytes.truncate(100)), "vault_cut");
    assert_eq!(with(&|bytes| bytes[90] ^= 1), "vault_altered");
    assert_eq!(with(&|bytes| bytes[9] = 2), "vault_newer");
    assert_eq!(with(&|bytes| bytes[0] = b'p'), "vault_unknown");
    assert_eq!(with(&|bytes| bytes.push(0)), "vault_altered");

    fs::write(place.sealed(), &whole).unwrap();
    let new = Place::secret(place.folder.path(), "new", "another horse altogether");
    let new_text = new.to_str().unwrap();
    place.run(&["vault", "change-passphrase", "--new-passphrase-file", new_text]).unwrap();
    assert_eq!(place.run(&["vault", "show"]).unwrap_err(), "vault_passphrase");
    assert_eq!(states(&place.run_with(&new, &["vault", "show"]).unwrap()), ["1 current"]);
}

#[test]
fn a_development_key_is_refused_in_production_and_can_be_sealed_and_its_watches_go_on() {
    let place = Place::new();
    let cloud = Cloud::start(&place.data());
    let mut stage = Stage::new(&cloud);
    assert_eq!(stage.pay(&cloud, 0), "succeeded");
    let key = fs::read_to_string(place.data().join("master.key")).unwrap();
    assert!(cloud.terminate().success());

    assert_eq!(place.serve_refused(&["--production"]), "vault_development_key");
    let sealed = place.run(&["vault", "seal"]).unwrap();
    assert_eq!(sealed["versions"][0]["was_open"], true);
    assert!(!place.data().join("master.key").exists(), "the open key is left");
    let cloud = Cloud::start_sealed(&place.data(), &place.passphrase);
    assert_eq!(stage.pay(&cloud, 1), "succeeded");
    drop(cloud);

    // A copy of the open key that comes back is not overlooked, and another one is not taken for it.
    Place::secret(&place.data(), "master.key", &key);
    assert_eq!(place.serve_refused(&["--production"]), "vault_development_key");
    Place::secret(&place.data(), "master.key", &"00".repeat(32));
    assert_eq!(place.run(&["vault", "seal"]).unwrap_err(), "vault_other_key");
    assert!(place.data().join("master.key").exists());
    Place::secret(&place.data(), "master.key", &key);
    place.run(&["vault", "seal"]).unwrap();
}

/// A wearer with a watch, and a shop.
struct Stage {
    wallet_key: String,
    shop: String,
    watches: Vec<Watch>,
}

impl Stage {
    fn new(cloud: &Cloud) -> Self {
        let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
        top_up(&cloud.operator(), &wearer, 1_000_000, "first").unwrap();
        let (shop, _) = take_on_merchant(&cloud.operator(), "Tea House", "CNY").unwrap();
        let watches = watches_named(cloud, &Api::new(cloud.url.clone(), wearer.key.clone()), "w", 1);
        Self { wallet_key: wearer.key, shop: shop.key, watches }
    }

    /// What becomes of a payment with the watch's code number so many.
    fn pay(&mut self, cloud: &Cloud, number: usize) -> String {
        pay_as(cloud, &self.shop, &mut self.watches[0], number)
    }
}

fn pay_as(cloud: &Cloud, shop: &str, watch: &mut Watch, number: usize) -> String {
    charge(cloud, shop, &next_code(watch, number))
}

#[test]
fn the_master_key_is_rotated_under_load_and_no_payment_fails() {
    let place = Place::new();
    place.run(&["vault", "init"]).unwrap();
    let cloud = Cloud::start_sealed(&place.data(), &place.passphrase);
    let stage = Stage::new(&cloud);
    let wallet = Api::new(cloud.url.clone(), stage.wallet_key.clone());
    let mut before = watches_named(&cloud, &wallet, "before", 80);
    let mut numbers = 1..200_u8;
    wait_for_version(&cloud, 1, &mut numbers);

    // Watches that were bound under version 1 pay all the time.
    let rotated = AtomicBool::new(false);
    let (earlier, later) = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let till = Api::new(cloud.url.clone(), stage.shop.clone());
            let mut paid = (0, 0);
            for (watch_number, watch) in before.iter_mut().enumerate() {
                for number in 0..CODES_A_WATCH {
                    let is_later = rotated.load(Ordering::Acquire);
                    let code = next_code(watch, number);
                    let order = format!("{watch_number}-{number}");
                    let body = json!({"order": order, "code": code, "amount": 7, "currency": "CNY"});
                    let payment = till.post("/v1/payments", &body).unwrap();
                    assert_eq!(payment["state"], "succeeded");
                    *(if is_later { &mut paid.1 } else { &mut paid.0 }) += 1;
                    if !is_later {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                if paid.1 >= CODES_A_WATCH {
                    break;
                }
            }
            paid
        });
        let answer = place.run(&["vault", "rotate"]).unwrap();
        assert_eq!(states(&answer), ["1 accepted", "2 current"]);
        wait_for_version(&cloud, 2, &mut numbers);
        rotated.store(true, Ordering::Release);
        load.join().unwrap()
    });
    println!("{earlier} payments until the new version was in use, {later} after");
    assert!(earlier > 0 && later > 0, "the rotation fell beside the payments: {earlier}, {later}");

    // Whoever is bound now has keys of version 2, and pays; so it is after a restart.
    let mut after = watches_named(&cloud, &wallet, "after", 1);
    assert_eq!(pay_as(&cloud, &stage.shop, &mut after[0], 0), "succeeded");
    let data = cloud.data.clone();
    assert!(cloud.terminate().success());
    let cloud = Cloud::start_sealed(&data, &place.passphrase);
    assert_eq!(pay_as(&cloud, &stage.shop, &mut after[0], 1), "succeeded");
    let Stage { shop, watches, .. } = stage;
    let mut old = watches.into_iter().next().unwrap();
    assert_eq!(pay_as(&cloud, &shop, &mut old, 0), "succeeded");

    // Once version 1 is retired its codes are nobody's.
    let answer = place.run(&["vault", "retire", "1"]).unwrap();
    assert_eq!(states(&answer), ["1 retired", "2 current"]);
    let begun = Instant::now();
    let mut number = 1;
    while pay_as(&cloud, &shop, &mut old, number) == "succeeded" {
        number += 1;
        assert!(number < CODES_A_WATCH && begun.elapsed() < FOLLOWING_PATIENCE, "codes under a retired version pay");
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(pay_as(&cloud, &shop, &mut after[0], 2), "succeeded");
}

#[test]
fn a_vault_that_lacks_a_key_in_use_is_not_taken_by_a_server_that_runs() {
    let place = Place::new();
    place.run(&["vault", "init"]).unwrap();
    let cloud = Cloud::start_sealed(&place.data(), &place.passphrase);
    let mut stage = Stage::new(&cloud);
    let other = Place::new();
    other.run(&["vault", "init"]).unwrap();
    other.run(&["vault", "rotate"]).unwrap();
    let ours = fs::read(place.sealed()).unwrap();
    fs::copy(other.sealed(), place.sealed()).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((current_version(&cloud, 1), stage.pay(&cloud, 0)), (1, "succeeded".to_owned()));
    fs::write(place.sealed(), b"PAYCHIPV").unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((current_version(&cloud, 2), stage.pay(&cloud, 1)), (1, "succeeded".to_owned()));
    // Not stuck either: the right file with one more version is followed.
    fs::write(place.sealed(), &ours).unwrap();
    place.run(&["vault", "rotate"]).unwrap();
    wait_for_version(&cloud, 2, &mut (3..200));
}

#[test]
fn the_memory_of_a_server_is_dumped_nowhere() {
    let place = Place::new();
    place.run(&["vault", "init"]).unwrap();
    let cloud = Cloud::start_sealed(&place.data(), &place.passphrase);
    let limits = fs::read_to_string(format!("/proc/{}/limits", cloud.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn a_server_that_lacks_a_version_others_use_blames_nobody_and_goes_on_when_it_has_it() {
    let (place, Some(postgres)) = (Place::new(), Postgres::start()) else { return };
    let database = postgres.new_database();
    place.run(&["vault", "init"]).unwrap();
    let behind = place.folder.path().join("behind");
    fs::create_dir(&behind).unwrap();
    let start = |data: &Path| {
        let mut program = program();
        program.env("PAYCHIP_DATABASE", &database).env("PAYCHIP_PASSPHRASE_FILE", &place.passphrase);
        Cloud::start_as(data, &mut program)
    };
    let ahead = start(&place.data());
    for file in ["vault.sealed", "operator.key"] {
        fs::copy(place.data().join(file), behind.join(file)).unwrap();
    }
    let behind_cloud = start(&behind);
    let ready = |cloud: &Cloud| ureq::get(&format!("{}/ready", cloud.url)).call().is_ok();
    let mut stage = Stage::new(&ahead);
    assert_eq!(stage.pay(&behind_cloud, 0), "succeeded");

    // What is only prepared keeps nobody from paying.
    place.run(&["vault", "rotate", "--prepare"]).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!((stage.pay(&behind_cloud, 1), ready(&behind_cloud)), ("succeeded".to_owned(), true));

    place.run(&["vault", "activate"]).unwrap();
    let eventually = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < FOLLOWING_PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    eventually("it does not learn that it lacks a version", &|| !ready(&behind_cloud));
    let wallet = Api::new(ahead.url.clone(), stage.wallet_key.clone());
    let mut new = watches_named(&ahead, &wallet, "new", 1);
    let code = next_code(&mut new[0], 0);
    let charge = |cloud: &Cloud| {
        let body = json!({"order": "behind", "code": code, "amount": 7, "currency": "CNY"});
        Api::new(cloud.url.clone(), stage.shop.clone()).post("/v1/payments", &body).map_err(|fault| fault.code)
    };
    assert_eq!(charge(&behind_cloud).unwrap_err(), "keys_unavailable");
    // The same order at the other server, and here once the file has come.
    assert_eq!(charge(&ahead).unwrap()["state"], "succeeded");
    fs::copy(place.sealed(), behind.join("vault.sealed")).unwrap();
    eventually("it does not go on with the file it lacked", &|| ready(&behind_cloud));
    assert_eq!(pay_as(&behind_cloud, &stage.shop, &mut new[0], 1), "succeeded");
}
