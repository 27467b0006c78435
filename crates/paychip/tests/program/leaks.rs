//! Nothing leaks: the real program, as talkative as it can be, is paid with, refused, broken and asked nonsense; then every
//! line of its log, every answer, every file it wrote and everything its commands said is searched for keys. The answers that
//! hand a key out (a new account, a new merchant, a registered chip) are left out, and tell the test what to look for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::recorder::Recorder;
use crate::support::secrets::{Secrets, must_find_every_form};
use crate::support::softhsm::{PIN, SoftHsm};
use crate::support::{Cloud, STEP_S, program, watches_named};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use paychip::watch::Watch;
use paycode::{CodeFormat, MaskKey, Suite, unmask};
use serde_json::{Value, json};
use server::{Data, Database, Keys, Settings};
use wearable::CodeForm;

/// No words, so that none of it stands anywhere by chance.
const PASSPHRASE: &str = "q7Zt4Lw9xKv5nMr8dPj2Hs6B";
/// What the data folder holds for its owner alone to read.
const MAY_HOLD_KEYS: [&str; 1] = ["operator.key"];

/// A data folder, and everything that was ever said about it.
struct Watched {
    folder: tempfile::TempDir,
    secrets: Secrets,
    said: Vec<(String, Vec<u8>)>,
}

impl Watched {
    /// A folder whose master key is known here and lies in the open for now.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut master = [0; 32];
        getrandom::fill(&mut master).unwrap();
        for name in ["data", "soft"] {
            let data = folder.path().join(name);
            fs::create_dir(&data).unwrap();
            fs::write(data.join("master.key"), hex::encode(master)).unwrap();
        }
        let mut secrets = Secrets::default();
        secrets.key("the master key", &master);
        secrets.key("the passphrase", PASSPHRASE.as_bytes());
        secrets.text("the PIN", PIN);
        let watched = Self { folder, secrets, said: Vec::new() };
        watched.secret("passphrase", PASSPHRASE);
        watched.secret("wrong-passphrase", "another one altogether");
        watched
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn secret(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs a command and keeps what it says.
    fn run(&mut self, program: &mut Command, arguments: &[&str]) -> bool {
        program.env("PAYCHIP_LOG", "trace").args(["--data"]).arg(self.data()).args(arguments);
        let output = program.output().unwrap();
        let name = format!("`paychip {}`", arguments.join(" "));
        self.said.push((name, [output.stdout, output.stderr].concat()));
        output.status.success()
    }

    /// What a token's pay key and mask key are, from the same master key, and from a code of it.
    fn derive(&mut self, code: &str) {
        let soft = self.path("soft");
        let data = Data::open(&soft, &Database::Sqlite, Settings::default(), &Keys::default()).unwrap();
        let format = CodeFormat::DEFAULT;
        let mask = data.env.vault.mask_key(&format, 1).unwrap();
        self.secrets.key("the mask key", &*mask);
        let unmasked =
            unmask(&format, &MaskKey::new(Suite::International, &mask), &format.parse(code).unwrap()).unwrap();
        let pay = data.env.vault.pay_key(&format, unmasked.index, 1).unwrap();
        self.secrets.key("the pay key", &*pay);
        data.close();
    }

    /// Everything that was said or written, searched.
    fn must_not_leak(&self) {
        let mut files = Vec::new();
        files_of(&self.data(), &mut files);
        let names: Vec<&str> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert!(names.contains(&"paychip.db"), "{names:?}");
        let written = files.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap()));
        let said = self.said.iter().cloned().chain(written);
        let mut leaks = Vec::new();
        for (place, bytes) in said {
            leaks.extend(self.secrets.found_in(&bytes).into_iter().map(|secret| format!("{place}: {secret}")));
        }
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    }
}

/// The files of a folder, without those of the virtual watches: a chip's flash holds its keys, as it must.
fn files_of(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "watches" {
            files_of(&path, files);
        } else if path.is_file() && !MAY_HOLD_KEYS.contains(&name.as_str()) {
            files.push(path);
        }
    }
}

/// The keys that answers hand out on purpose.
fn handed_out(said: &[u8], secrets: &mut Secrets) -> usize {
    let text = String::from_utf8_lossy(said);
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        // One answer may follow another on the same line.
        for document in serde_json::Deserializer::from_str(line).into_iter::<Value>().map_while(Result::ok) {
            for (name, word) in [("enc", ""), ("mac", ""), ("dek", ""), ("wallet_key", "wk_"), ("api_key", "sk_")] {
                if let Some(key) = document[name].as_str() {
                    secrets.hex_key(&format!("a key handed out as {name}"), key, word);
                    count += 1;
                }
            }
        }
    }
    count
}

fn next_code(watch: &mut Watch, number: usize) -> String {
    watch.host_mut().set_clock_ahead(if number < 4 { 0 } else { STEP_S });
    watch.next_payment_code(CodeForm::Digits).unwrap().digits().to_owned()
}

/// Lets a cloud do everything that has to do with keys, well and badly.
fn exercise(watched: &mut Watched, serve: &mut Command, mishap: impl FnOnce(&mut Watched, &dyn Fn() -> String)) {
    let log = watched.path("log");
    serve.env("PAYCHIP_LOG", "trace").env("PAYCHIP_PRODUCTION", "true").env("PAYCHIP_UNCERTIFIED_CHIPS", "true");
    let mut cloud = Cloud::start_as(&watched.data(), serve.stderr(fs::File::create(&log).unwrap()));
    let limits = fs::read_to_string(format!("/proc/{}/limits", cloud.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");

    let operator_key = fs::read_to_string(watched.data().join("operator.key")).unwrap();
    watched.secrets.hex_key("the operator's key", &operator_key, "op_");
    let (handing_out, recorder) = (Recorder::before(&cloud.url), Recorder::before(&cloud.url));
    let direct = std::mem::replace(&mut cloud.url, handing_out.url.clone());
    let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    let (shop, _) = take_on_merchant(&cloud.operator(), "Tea House", "CNY").unwrap();
    let at = |key: &str| Api::new(recorder.url.clone(), key.trim().to_owned());
    let (wallet, till, operator) = (at(&wearer.key), at(&shop.key), at(&operator_key));
    top_up(&operator, &wearer, 1_000_000, "first").unwrap();
    // The wallet is answered through the recorder, the factory, which is given a chip's keys, is not.
    let mut watch = watches_named(&cloud, &wallet, "w", 1).pop().unwrap();
    cloud.url = direct;
    let count = handed_out(&handing_out.said(), &mut watched.secrets);
    assert_eq!(count, 5, "an account's, a merchant's and a chip's three");

    let charge = |order: &str, code: &str, amount: u64| {
        till.post("/v1/payments", &json!({"order": order, "code": code, "amount": amount, "currency": "CNY"}))
    };
    let codes: Vec<String> = (0..6).map(|number| next_code(&mut watch, number)).collect();
    watched.derive(&codes[0]);
    for code in &codes {
        watched.secrets.text("a payment code", code);
    }
    // Paid, spent, above what may be paid, wrong, nobody's, no code at all.
    let payment = charge("o-1", &codes[0], 700).unwrap();
    let code_of = |answer: Result<Value, paychip::fault::Fault>| answer.unwrap_err().code;
    assert_eq!(code_of(charge("o-2", &codes[0], 700)), "code_spent");
    assert!(charge("o-3", &codes[1], 900_000_000).is_err());
    let wrong: String = codes[2].chars().rev().collect();
    for (order, code) in [("o-4", wrong.as_str()), ("o-5", "71000000000000000000"), ("o-6", "x"), ("o-7", "00020101")] {
        assert!(charge(order, code, 700).is_err());
    }
    let path = format!("/v1/payments/{}", text(&payment, "id").unwrap());
    till.post(&format!("{path}/refunds"), &json!({"refund": "r-1", "amount": 100})).unwrap();
    let token = text(&wallet.get("/v1/tokens").unwrap()[0], "id").unwrap();
    for path in ["/openapi.json", "/health", "/ready"] {
        recorder.send_raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    }
    let all =
        [format!("/v1/tokens/{token}"), format!("/v1/tokens/{token}/events"), format!("/v1/accounts/{}", wearer.id)];
    for path in &all {
        wallet.get(path).unwrap();
    }
    till.get(&path).unwrap();

    // What no client should send: keys in the wrong place, codes in broken bodies, no HTTP at all.
    let post = |key: &str, body: &str| {
        let head = format!(
            "POST /v1/payments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        recorder.send_raw(&[head.as_bytes(), body.as_bytes()].concat());
    };
    post(&shop.key, &format!("{{\"code\": \"{}\", \"order\"", codes[3]));
    post(&shop.key, &format!("{{\"code\": {{\"a\": \"{}\"}}, \"order\": \"o\", \"amount\": 1}}", codes[3]));
    post(&shop.key, &format!("{{\"code\": [\"{}\"], \"order\": \"o\", \"amount\": 1}}", codes[3]));
    post(&shop.key, &format!("{{\"code\": {}, \"order\": \"o\", \"amount\": 1}}", codes[3]));
    post(&shop.key, &format!("{{\"code\": \"c\", \"order\": \"o\", \"amount\": \"{}\"}}", codes[3]));
    post(&shop.key, &codes[3].repeat(1_000));
    post(&format!("{}0", shop.key), "{}");
    post(&wearer.key, "{}");
    post(&format!("{}\r\nX-Again: {}", shop.key, shop.key), "{}");
    for line in [
        format!("GET /v1/tokens?key={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", wearer.key),
        format!("GET /v1/tokens?account={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", wearer.key),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", wearer.key),
        format!("GET / HTTP/1.1\r\nAuthorization {}\r\n\r\n", wearer.key),
        format!("{} nonsense\r\n\r\n", operator_key.trim()),
    ] {
        recorder.send_raw(line.as_bytes());
    }
    let nobody = format!("/v1/bindings/bind_{}/relay", "0f".repeat(16));
    assert!(wallet.post(&nobody, &json!({"message": "00"})).is_err());
    assert!(wallet.post("/v1/bindings", &json!({"offer": "PC1:0000"})).is_err());

    mishap(watched, &|| match charge("o-8", &codes[4], 700) {
        Ok(payment) => text(&payment, "state").unwrap(),
        Err(fault) => fault.code,
    });
    wallet.post(&format!("/v1/tokens/{token}/freeze"), &json!({})).unwrap();
    assert!(charge("o-9", &codes[5], 700).is_err());
    operator.get("/v1/audit").unwrap();
    assert!(cloud.terminate().success());

    let told = fs::read(&log).unwrap();
    let heard = String::from_utf8_lossy(&told);
    assert!(heard.contains("the key vault has changed"), "the log is not all there: {heard}");
    watched.said.push(("the log".to_owned(), told.clone()));
    watched.said.push(("an answer".to_owned(), recorder.said()));
}

#[test]
fn the_search_finds_a_key_in_every_form() {
    must_find_every_form();
}

#[test]
fn a_server_with_a_sealed_vault_tells_no_key_to_its_log_its_answers_or_its_disk() {
    let mut watched = Watched::new();
    let sealed = |watched: &Watched, file: &str| {
        let mut program = program();
        program.env("PAYCHIP_PASSPHRASE_FILE", watched.path(file));
        program
    };
    let right = |watched: &Watched| sealed(watched, "passphrase");
    let mut program = right(&watched);
    assert!(watched.run(&mut program, &["vault", "seal"]));
    let mut program = sealed(&watched, "wrong-passphrase");
    assert!(!watched.run(&mut program, &["vault", "show"]));
    let mut serve = right(&watched);
    exercise(&mut watched, &mut serve, |watched, pay| {
        // A vault that is broken under the server's hands, then rotated.
        let file = watched.data().join("vault.sealed");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..60]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        fs::write(&file, &whole).unwrap();
        let mut program = right(watched);
        assert!(watched.run(&mut program, &["vault", "rotate"]));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert_eq!(pay(), "succeeded");
    });
    let mut program = right(&watched);
    assert!(watched.run(&mut program, &["vault", "show"]));
    let mut program = right(&watched);
    assert!(watched.run(&mut program, &["audit", "verify"]));
    watched.must_not_leak();
}

#[cfg(feature = "pkcs11")]
#[test]
fn a_server_with_keys_in_a_token_tells_neither_them_nor_its_pin() {
    let Some(hsm) = SoftHsm::start() else { return };
    let mut watched = Watched::new();
    assert!(watched.run(&mut hsm.program(), &["vault", "import"]));
    let wrong = hsm.secret("wrong-pin", "0000000000000000");
    assert!(!watched.run(hsm.program().env("PAYCHIP_PIN_FILE", wrong), &["vault", "show"]));
    exercise(&mut watched, &mut hsm.program(), |watched, pay| {
        hsm.unplug();
        assert_eq!(pay(), "keys_unavailable");
        hsm.plug_in();
        // No sooner does a server look for a token that is gone.
        std::thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!(pay(), "succeeded");
        assert!(watched.run(&mut hsm.program(), &["vault", "rotate"]));
        std::thread::sleep(std::time::Duration::from_secs(2));
    });
    assert!(watched.run(&mut hsm.program(), &["audit", "verify"]));
    watched.must_not_leak();
}
