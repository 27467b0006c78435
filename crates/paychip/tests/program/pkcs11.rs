//! Master keys in a PKCS#11 token, through the real program and SoftHSM 2: the same keys as the software vault's, made,
//! taken over, rotated while serving, refused, lost and found again. Without SoftHSM each test says by name that it was
//! skipped; with `PAYCHIP_REQUIRE_SOFTHSM=1` that is a failure.

#![cfg(feature = "pkcs11")]
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::masters::{FOLLOWING_PATIENCE, charge, current_version, next_code, wait_for_version};
use crate::support::postgres::Postgres;
use crate::support::softhsm::{LABEL, PIN, SoftHsm};
use crate::support::{Cloud, program, watches_named};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use paychip::api::Api;
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::watch::Watch;
use paycode::{CodeFormat, TokenIndex};
use platform::ChipId;
use platform::makers::BatchId;
use serde_json::{Value, json};
use server::{Data, Database, Keys, Passphrase, Settings, TokenAccess, TokenUri};
use tempfile::TempDir;

/// How long an answer may take while the token is away: nobody queues for it.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(10);
/// Set in the process that a test starts of itself, so that the library finds the test's token there.
const OWN_PROCESS: &str = "PAYCHIP_TEST_OWN_PROCESS";

/// How long a command may take that makes, shows or refuses a vault.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// A data folder and a token.
struct Place {
    folder: TempDir,
    hsm: SoftHsm,
}

impl Place {
    fn new() -> Option<Self> {
        let hsm = SoftHsm::start()?;
        Some(Self { folder: tempfile::tempdir().unwrap(), hsm })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn table(&self) -> PathBuf {
        self.data().join("vault.pkcs11")
    }

    fn run(&self, arguments: &[&str]) -> Result<Value, String> {
        self.run_as(&mut self.hsm.program(), arguments)
    }

    /// What a command says, or the code of its refusal.
    fn run_as(&self, program: &mut Command, arguments: &[&str]) -> Result<Value, String> {
        let command = program.args(["--json", "--data"]).arg(self.data()).args(arguments);
        let mut command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while command.try_wait().unwrap().is_none() {
            if begun.elapsed() > COMMAND_PATIENCE {
                command.kill().unwrap();
                panic!("it goes on and on: {arguments:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = command.wait_with_output().unwrap();
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

    /// The code with which a server refuses to start.
    fn serve_refused(&self, program: &mut Command) -> String {
        self.run_as(program, &["serve", "--production", "--listen", "127.0.0.1:0"]).expect_err("it serves")
    }

    fn cloud(&self) -> Cloud {
        Cloud::start_as(
            &self.data(),
            self.hsm.program().env("PAYCHIP_PRODUCTION", "true").env("PAYCHIP_UNCERTIFIED_CHIPS", "true"),
        )
    }
}

fn states(answer: &Value) -> Vec<String> {
    let versions = answer["versions"].as_array().unwrap().iter();
    versions.map(|key| format!("{} {}", key["version"], key["state"].as_str().unwrap())).collect()
}

/// A wearer with a watch, and a shop.
struct Stage {
    wallet_key: String,
    shop: String,
    watch: Watch,
}

impl Stage {
    fn new(cloud: &Cloud) -> Self {
        let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
        top_up(&cloud.operator(), &wearer, 1_000_000, "first").unwrap();
        let (shop, _) = take_on_merchant(&cloud.operator(), "Tea House", "CNY").unwrap();
        let watch = watches_named(cloud, &Api::new(cloud.url.clone(), wearer.key.clone()), "w", 1).pop().unwrap();
        Self { wallet_key: wearer.key, shop: shop.key, watch }
    }

    fn new_watch(&self, cloud: &Cloud, name: &str) -> Watch {
        let wallet = Api::new(cloud.url.clone(), self.wallet_key.clone());
        watches_named(cloud, &wallet, name, 1).pop().unwrap()
    }

    /// What becomes of a payment with the watch's next code, which is its code number so many.
    fn pay(&mut self, cloud: &Cloud, number: usize) -> String {
        let code = next_code(&mut self.watch, number);
        charge(cloud, &self.shop, &code)
    }
}

/// Runs a test of this file in a process of its own that can use the token. Says whether this is that process.
fn is_own_process(name: &str, place: &Place) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let path = format!("{}::{name}", module_path!().rsplit("::").next().unwrap());
    command.args(["--exact", &path, "--nocapture"]).env(OWN_PROCESS, place.folder.path());
    let output = place.hsm.give(&mut command).env("PAYCHIP_VAULT", place.hsm.uri()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("1 passed"), "{told}");
    false
}

/// The folder of the test that started this process of its own.
fn own_process() -> Option<PathBuf> {
    std::env::var_os(OWN_PROCESS).map(PathBuf::from)
}

fn access() -> TokenAccess {
    let uri = TokenUri::parse(&std::env::var("PAYCHIP_VAULT").unwrap()).unwrap();
    TokenAccess::new(uri, Passphrase::typed(PIN).unwrap())
}

#[test]
fn every_key_is_that_of_the_software_vault_with_the_same_master_key() {
    const NAME: &str = "every_key_is_that_of_the_software_vault_with_the_same_master_key";
    let Some(folder) = own_process() else {
        let Some(place) = Place::new() else { return };
        // Two folders with the same development key, one of them taken over into the token.
        for data in [place.data(), place.folder.path().join("soft")] {
            fs::create_dir(&data).unwrap();
            fs::write(data.join("master.key"), "5a".repeat(32)).unwrap();
        }
        place.run(&["vault", "import"]).unwrap();
        assert!(!place.data().join("master.key").exists());
        is_own_process(NAME, &place);
        return;
    };
    let open =
        |name: &str, keys: &Keys| Data::open(&folder.join(name), &Database::Sqlite, Settings::default(), keys).unwrap();
    let soft = open("soft", &Keys::default());
    let hard = open("data", &Keys { production: true, passphrase: None, token: Some(access()) });
    let (soft_vault, hard_vault) = (&soft.env.vault, &hard.env.vault);
    assert_eq!((soft_vault.waits(), hard_vault.waits()), (false, true));
    let formats = [CodeFormat::DEFAULT, CodeFormat::new("72", 18).unwrap(), CodeFormat::new("7130", 24).unwrap()];
    let mut times = [Duration::ZERO; 2];
    for number in 0..64_u8 {
        let chip = ChipId([number.wrapping_mul(37); 16]);
        let (ours, theirs) = (soft_vault.chip_keys(chip, 1).unwrap(), hard_vault.chip_keys(chip, 1).unwrap());
        for (our, their) in [(ours.enc(), theirs.enc()), (ours.mac(), theirs.mac()), (ours.dek(), theirs.dek())] {
            assert_eq!(our.as_bytes(), their.as_bytes());
        }
        let batch = BatchId([number; 16]);
        assert_eq!(soft_vault.batch_key(batch, 1).unwrap(), hard_vault.batch_key(batch, 1).unwrap());
        let format = &formats[usize::from(number) % formats.len()];
        assert_eq!(soft_vault.mask_key(format, 1).unwrap(), hard_vault.mask_key(format, 1).unwrap());
        let index = TokenIndex::new(u64::from(number) * 9_999_991).unwrap();
        let mut timed = |which: usize| {
            let begun = Instant::now();
            let key = [soft_vault, hard_vault][which].pay_key(format, index, 1).unwrap();
            times[which] += begun.elapsed();
            key
        };
        assert_eq!(timed(0), timed(1));
    }
    println!("a pay key takes {:.0} times as long from SoftHSM", times[1].as_secs_f64() / times[0].as_secs_f64());
    assert!(hard_vault.pay_key(&formats[0], TokenIndex::new(1).unwrap(), 2).is_err(), "there is no version 2");
    soft.close();
    hard.close();
}

#[test]
fn a_key_that_can_leave_the_token_or_is_another_one_is_not_used() {
    const NAME: &str = "a_key_that_can_leave_the_token_or_is_another_one_is_not_used";
    let Some(folder) = own_process() else {
        let Some(place) = Place::new() else { return };
        place.run(&["vault", "init"]).unwrap();
        is_own_process(NAME, &place);
        return;
    };
    let client = Pkcs11::new(TokenUri::parse(&std::env::var("PAYCHIP_VAULT").unwrap()).unwrap().module()).unwrap();
    client.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = client.get_slots_with_initialized_token().unwrap()[0];
    let session = client.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    let table: Value = serde_json::from_slice(&fs::read(folder.join("data/vault.pkcs11")).unwrap()).unwrap();
    let id = hex::decode(table["versions"][0]["key_id"].as_str().unwrap()).unwrap();
    let code = || {
        let keys = Keys { production: true, passphrase: None, token: Some(access()) };
        let opened = Data::open(&folder.join("data"), &Database::Sqlite, Settings::default(), &keys);
        match opened.map(Data::close).unwrap_err() {
            server::StartError::Keys(fault) => fault.code(),
            other => panic!("{other}"),
        }
    };
    let put = |extractable: bool| {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Sensitive(!extractable),
            Attribute::Extractable(extractable),
            Attribute::Sign(true),
            Attribute::Id(id.clone()),
            Attribute::Value(vec![1; 32]),
        ];
        session.create_object(&template).unwrap()
    };
    let second = put(false);
    assert_eq!(code(), "vault_token_key_ambiguous");
    let first = session.find_objects(&[Attribute::Id(id.clone())]).unwrap();
    for key in first.into_iter().filter(|key| *key != second) {
        session.destroy_object(key).unwrap();
    }
    assert_eq!(code(), "vault_token_key_other");
    session.destroy_object(second).unwrap();
    assert_eq!(code(), "vault_token_key_missing");
    put(true);
    assert_eq!(code(), "vault_token_key_open");
}

#[test]
fn a_token_that_does_not_open_says_why_with_a_code_of_its_own() {
    let Some(place) = Place::new() else { return };
    let token = || place.hsm.program();
    let named = |uri: &str| {
        let mut program = token();
        program.env("PAYCHIP_VAULT", uri);
        place.serve_refused(&mut program)
    };
    assert_eq!(place.serve_refused(&mut token()), "vault_missing");
    assert_eq!(states(&place.run(&["vault", "init"]).unwrap()), ["1 current"]);
    assert_eq!(place.run(&["vault", "init"]).unwrap_err(), "vault_exists");
    assert_eq!(place.run(&["vault", "change-passphrase", "--new-passphrase-file", "x"]).unwrap_err(), "vault_in_token");
    assert_eq!(place.serve_refused(&mut program()), "vault_token_needed");
    let module = place.hsm.module;
    assert_eq!(named("pkcs11:token=paychip%20test?module-path=/nowhere/lib.so"), "vault_token_module");
    // A library that is no PKCS#11 module, in every Linux.
    assert_eq!(named("pkcs11:token=paychip%20test?module-path=libc.so.6"), "vault_token_module");
    assert_eq!(named(&format!("pkcs11:token=other?module-path={module}")), "vault_token_missing");
    assert_eq!(named(&format!("pkcs11:token=paychip%20test?module-path={module}&pin-value={PIN}")), "vault_token_uri");

    let with_pin = |text: &str| {
        let mut program = token();
        program.env("PAYCHIP_PIN_FILE", place.hsm.secret("other-pin", text));
        program
    };
    assert_eq!(place.serve_refused(&mut with_pin("00000000")), "vault_pin");
    assert_eq!(place.serve_refused(&mut with_pin("")), "vault_pin_malformed");
    assert_eq!(place.serve_refused(token().env_remove("PAYCHIP_PIN_FILE")), "vault_pin_needed");
    let open = place.hsm.secret("open-pin", PIN);
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(place.serve_refused(token().env("PAYCHIP_PIN_FILE", &open)), "vault_file_open");
    // The same PIN by the environment, and by the URI.
    let mut by_variable = token();
    by_variable.env_remove("PAYCHIP_PIN_FILE").env("PAYCHIP_PIN", PIN);
    place.run_as(&mut by_variable, &["vault", "show"]).unwrap();
    let mut by_uri = token();
    let uri = format!("{}&pin-source=file:{}", place.hsm.uri(), place.hsm.pin_file().display());
    by_uri.env_remove("PAYCHIP_PIN_FILE").env("PAYCHIP_VAULT", uri);
    place.run_as(&mut by_uri, &["vault", "show"]).unwrap();

    let whole = fs::read_to_string(place.table()).unwrap();
    let with = |text: &str| {
        fs::write(place.table(), text).unwrap();
        place.serve_refused(&mut token())
    };
    assert_eq!(with(&whole[..whole.len() / 2]), "vault_altered");
    assert_eq!(with(&whole.replace("\"was_open\": false", "\"was_open\": true")), "vault_altered");
    assert_eq!(with(&whole.replace("\"format\": 1", "\"format\": 2")), "vault_newer");
    assert_eq!(with(&whole.replace("\"format\": 1", "\"format\": 0")), "vault_unknown");
    fs::write(place.table(), &whole).unwrap();
    fs::write(place.data().join("master.key"), "00".repeat(32)).unwrap();
    assert_eq!(place.serve_refused(&mut token()), "vault_development_key");
    fs::remove_file(place.data().join("master.key")).unwrap();

    // A second token of the same name: the serial number tells them apart.
    place.hsm.new_token(LABEL);
    assert_eq!(place.serve_refused(&mut token()), "vault_token_ambiguous");
    let serials = place.hsm.serials();
    assert_eq!(serials.len(), 2, "{serials:?}");
    let uri = |serial: &str| format!("pkcs11:token=paychip%20test;serial={serial}?module-path={module}");
    let shown =
        serials.iter().map(|serial| place.run_as(token().env("PAYCHIP_VAULT", uri(serial)), &["vault", "show"]));
    let mut shown: Vec<String> = shown.map(|answer| answer.map_or_else(|code| code, |_| "opens".to_owned())).collect();
    shown.sort();
    assert_eq!(shown, ["opens", "vault_token_key_missing"]);
}

#[test]
fn the_master_key_in_a_token_is_rotated_while_serving() {
    let Some(place) = Place::new() else { return };
    place.run(&["vault", "init"]).unwrap();
    let cloud = place.cloud();
    let mut stage = Stage::new(&cloud);
    let mut numbers = 1..200_u8;
    assert_eq!((current_version(&cloud, numbers.next().unwrap()), stage.pay(&cloud, 0)), (1, "succeeded".to_owned()));
    let before = fs::read(place.table()).unwrap();
    assert_eq!(states(&place.run(&["vault", "rotate", "--prepare"]).unwrap()), ["1 current", "2 next"]);
    assert_eq!(place.run(&["vault", "rotate"]).unwrap_err(), "vault_next_waits");
    assert_eq!(states(&place.run(&["vault", "activate"]).unwrap()), ["1 accepted", "2 current"]);
    wait_for_version(&cloud, 2, &mut numbers);
    assert_eq!(stage.pay(&cloud, 1), "succeeded");
    let mut after = stage.new_watch(&cloud, "after");
    assert_eq!(charge(&cloud, &stage.shop, &next_code(&mut after, 0)), "succeeded");

    // The table of before lacks a version in use: a server that runs goes on with the one it has.
    let now = fs::read(place.table()).unwrap();
    fs::write(place.table(), &before).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(current_version(&cloud, numbers.next().unwrap()), 2);
    fs::write(place.table(), &now).unwrap();

    assert_eq!(states(&place.run(&["vault", "retire", "1"]).unwrap()), ["1 retired", "2 current"]);
    let begun = Instant::now();
    let mut number = 2;
    while stage.pay(&cloud, number) == "succeeded" {
        number += 1;
        assert!(number < 8 && begun.elapsed() < FOLLOWING_PATIENCE, "codes under a retired version pay");
        std::thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(charge(&cloud, &stage.shop, &next_code(&mut after, 1)), "succeeded");
    // And after a restart.
    assert!(cloud.terminate().success());
    let cloud = place.cloud();
    assert_eq!(charge(&cloud, &stage.shop, &next_code(&mut after, 2)), "succeeded");
}

#[test]
fn a_token_that_is_gone_refuses_at_once_and_is_found_again() {
    let Some(place) = Place::new() else { return };
    place.run(&["vault", "init"]).unwrap();
    let cloud = place.cloud();
    let mut stage = Stage::new(&cloud);
    assert_eq!(stage.pay(&cloud, 0), "succeeded");
    let code = next_code(&mut stage.watch, 1);
    place.hsm.unplug();
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(charge(&cloud, &stage.shop, &code), "keys_unavailable");
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let again = agent
        .post(format!("{}/v1/payments", cloud.url))
        .header("Authorization", format!("Bearer {}", stage.shop))
        .send_json(json!({"order": "o", "code": code, "amount": 7, "currency": "CNY"}));
    assert_eq!(again.unwrap().status().as_u16(), 503, "tills ask again after 503");
    assert!(begun.elapsed() < REFUSAL_PATIENCE, "payments wait for a token that is gone: {:?}", begun.elapsed());
    place.hsm.plug_in();
    let begun = Instant::now();
    // The same order, the same code: nothing was done with it.
    while charge(&cloud, &stage.shop, &code) != "succeeded" {
        assert!(begun.elapsed() < FOLLOWING_PATIENCE, "the token is back and is not found");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stage.pay(&cloud, 2), "succeeded");
}

#[test]
fn sealed_keys_go_into_a_token_and_servers_with_either_agree() {
    let (Some(place), Some(postgres)) = (Place::new(), Postgres::start()) else { return };
    let database = postgres.new_database();
    let passphrase = place.hsm.secret("passphrase", "correct horse battery");
    let sealed_program = || {
        let mut program = program();
        program.env("PAYCHIP_PASSPHRASE_FILE", &passphrase).env("PAYCHIP_DATABASE", &database);
        program
    };
    // A server whose keys lay in the open, then sealed, then rotated.
    let cloud = Cloud::start_on(&place.data(), &database);
    let mut stage = Stage::new(&cloud);
    assert!(cloud.terminate().success());
    place.run_as(&mut sealed_program(), &["vault", "seal"]).unwrap();
    place.run_as(&mut sealed_program(), &["vault", "rotate"]).unwrap();
    let other = place.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    for file in ["vault.sealed", "operator.key"] {
        fs::copy(place.data().join(file), other.join(file)).unwrap();
    }
    let sealed = Cloud::start_as(&other, &mut sealed_program());

    let mut program = place.hsm.program();
    assert_eq!(place.serve_refused(program.env("PAYCHIP_DATABASE", &database)), "vault_missing");
    assert_eq!(place.run(&["vault", "import"]).unwrap_err(), "vault_passphrase_needed");
    let import = |place: &Place| {
        place.run_as(place.hsm.program().env("PAYCHIP_PASSPHRASE_FILE", &passphrase), &["vault", "import"])
    };
    let answer = import(&place).unwrap();
    assert_eq!(states(&answer), ["1 accepted", "2 current"]);
    assert_eq!(answer["versions"][0]["was_open"], true);
    let kept = place.data().join("vault.sealed.imported");
    assert!(kept.exists() && !place.data().join("vault.sealed").exists());
    // As a power cut between the two steps leaves it.
    fs::rename(&kept, place.data().join("vault.sealed")).unwrap();
    assert_eq!(place.serve_refused(&mut place.hsm.program()), "vault_two");
    import(&place).unwrap();

    let mut program = place.hsm.program();
    program
        .env("PAYCHIP_DATABASE", &database)
        .env("PAYCHIP_PRODUCTION", "true")
        .env("PAYCHIP_UNCERTIFIED_CHIPS", "true");
    let in_token = Cloud::start_as(&place.data(), &mut program);
    let mut after = stage.new_watch(&in_token, "after");
    for (number, cloud) in [&sealed, &in_token, &sealed, &in_token].into_iter().enumerate() {
        assert_eq!(stage.pay(cloud, number), "succeeded", "a token of version 1, payment {number}");
        assert_eq!(charge(cloud, &stage.shop, &next_code(&mut after, number)), "succeeded", "of version 2");
    }
}

#[test]
fn a_pin_is_shown_to_nobody_who_lists_processes() {
    let Some(place) = Place::new() else { return };
    place.run(&["vault", "init"]).unwrap();
    let cloud = place.cloud();
    let command_line = fs::read(Path::new("/proc").join(cloud.pid().to_string()).join("cmdline")).unwrap();
    assert!(!command_line.windows(PIN.len()).any(|part| part == PIN.as_bytes()));
    let refused = place.hsm.program().args(["--pin", PIN, "vault", "show"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "there is no such option");
}
