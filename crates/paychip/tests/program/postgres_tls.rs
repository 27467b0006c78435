//! The real program with a PostgreSQL server that takes nobody over the network without TLS: a payment, all connections
//! encrypted, and the same again after the database was started anew.

use std::time::{Duration, Instant};

use crate::support::tls::{PASSWORD, TlsPostgres};
use crate::support::{Cloud, program, watches};
use paychip::api::{Api, text};
use paychip::books::{open_account, take_on_merchant, top_up};
use serde_json::{Value, json};
use wearable::CodeForm;

/// How long a database that was started anew may be away for a payment.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn payments_go_over_tls_and_over_nothing_else() {
    let Some(tls) = TlsPostgres::start() else { return };
    let database = tls.new_database();
    let options = format!("sslmode=verify-full&{}&channel_binding=require", tls.option("sslrootcert", "ca.pem"));
    let url = tls.url("localhost", &database, &options);
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_on(folder.path(), &url);
    let (wearer, _) = open_account(&cloud.operator(), "Li Wei", "CNY").unwrap();
    top_up(&cloud.operator(), &wearer, 1_000, "first").unwrap();
    let (shop, _) = take_on_merchant(&cloud.operator(), "Tea House", "CNY").unwrap();
    let mut watches = watches(&cloud, &Api::new(cloud.url.clone(), wearer.key.clone()), 1);
    let shop = Api::new(cloud.url.clone(), shop.key.clone());
    let mut pay = |order: &str| {
        let code = watches[0].next_payment_code(CodeForm::Digits).unwrap().digits().to_owned();
        shop.post("/v1/payments", &json!({"order": order, "code": code, "amount": 7, "currency": "CNY"}))
    };
    assert_eq!(text(&pay("order-1").unwrap(), "state").unwrap(), "succeeded");
    let audit = cloud.operator().get("/v1/audit").unwrap();
    assert_eq!(audit["sound"], true, "{audit}");

    let connections = "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                       WHERE application_name = 'paychip'";
    let told = tls.server.sql("postgres", connections);
    let (all, encrypted) = told.split_once('|').unwrap();
    assert!(all == encrypted && all.parse::<u32>().unwrap() >= 4, "{told}");

    // All connections are opened anew, in the same way.
    tls.server.crash();
    tls.server.start_again();
    let begun = Instant::now();
    let mut order = 2;
    let paid = loop {
        match pay(&format!("order-{order}")) {
            Ok(paid) => break paid,
            // Refused before anything was written: another order, since each code pays once.
            Err(fault) if fault.code == "busy" && begun.elapsed() < PATIENCE => order += 1,
            Err(fault) => panic!("{}", fault.code),
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    assert_eq!(text(&paid, "state").unwrap(), "succeeded");
    let told = tls.server.sql("postgres", connections);
    let (all, encrypted) = told.split_once('|').unwrap();
    assert!(all == encrypted && all != "0", "{told}");
}

#[test]
fn the_program_says_why_a_database_is_not_spoken_to() {
    let Some(tls) = TlsPostgres::start() else { return };
    let database = tls.new_database();
    let run = |host: &str, options: &str, authorities: Option<&str>| -> Result<Value, Value> {
        let mut command = program();
        command.args(["--json", "db", "init"]).env("PAYCHIP_DATABASE", tls.url(host, &database, options));
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        if let Some(name) = authorities {
            command.env("SSL_CERT_FILE", tls.file(name));
        }
        let output = command.output().unwrap();
        let told = [&output.stdout, &output.stderr].map(|told| String::from_utf8_lossy(told).into_owned());
        assert!(!told.concat().contains(PASSWORD) && !told.concat().contains("ge%2Fheim"), "{told:?}");
        let [answer, error] = told;
        if output.status.success() {
            return Ok(serde_json::from_str(&answer).unwrap());
        }
        let error: Value = serde_json::from_str(&error).unwrap_or_else(|_| panic!("{error}"));
        Err(error["error"].clone())
    };
    let assert_refused = |host: &str, options: &str, code: &str, why: &str| {
        let error = run(host, options, None).expect_err(options);
        let told = error["message"].as_str().unwrap();
        assert!(error["code"] == code && told.contains(why), "{options}: {error}");
    };
    let ours = tls.option("sslrootcert", "ca.pem");
    assert_refused("127.0.0.1", &format!("sslmode=verify-full&{ours}"), "database", "not valid for name");
    assert_refused("localhost", "sslmode=verify-full", "database", "UnknownIssuer");
    assert_refused("localhost", "sslmode=disable", "database", "no encryption");
    assert_refused("localhost", "sslmode=verify-full&sslrootcert=none.pem", "database_url", "none.pem");
    // The authorities of the machine are those that its administrator says.
    let made = run("localhost", "sslmode=verify-full", Some("ca.pem"));
    assert_eq!(made, Ok(json!({"ready": true})));
}
