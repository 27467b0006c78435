//! The real program under faults: killed at random moments under a load of payments, refunds, cancels and repeats; a disk
//! whose syncs fail; a disk that is full. What was acknowledged is there afterwards, once; what was not has a definite answer.
//!
//! Few rounds here; `PAYCHIP_LONG=1` makes them two hundred.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Cloud, is_long, program};
use paychip::api::{Api, number, text};
use paychip::bench::codes::{Payment, Supply};
use paychip::bench::seed::{api_key, fill};
use paychip::fault::Fault;
use serde_json::{Value, json};

const TOKENS: u64 = 3_000;
const MERCHANTS: u64 = 7;
const TILLS: usize = 8;
const PRICE_MINOR: u64 = 100;

/// What a till knows of one order.
#[derive(Debug, Clone, Default)]
struct Order {
    merchant: u64,
    code: String,
    /// The payment's id, once it was acknowledged.
    paid: Option<String>,
    /// Refund numbers that were sent, and whether they were acknowledged.
    refunds: BTreeMap<String, bool>,
    /// Whether a cancel was sent, and whether it was acknowledged.
    cancelled: Option<bool>,
}

type Orders = Arc<Mutex<BTreeMap<String, Order>>>;

fn pay(url: &str, order: &str, known: &Order) -> Result<Value, Fault> {
    let api = Api::new(url.to_owned(), api_key(known.merchant));
    let body = json!({"order": order, "code": known.code, "amount": PRICE_MINOR, "currency": "CNY"});
    api.post("/v1/payments", &body)
}

fn refund(url: &str, payment: &str, merchant: u64, refund: &str) -> Result<Value, Fault> {
    let api = Api::new(url.to_owned(), api_key(merchant));
    api.post(&format!("/v1/payments/{payment}/refunds"), &json!({"refund": refund, "amount": 30}))
}

fn cancel(url: &str, order: &str, merchant: u64) -> Result<Value, Fault> {
    Api::new(url.to_owned(), api_key(merchant)).post("/v1/payments/cancel", &json!({"order": order}))
}

/// One till's work: an order, sometimes sent twice at once, sometimes given back in part, sometimes cancelled.
fn serve_one(url: &str, payment: &Payment, orders: &Orders) {
    let order = format!("o-{}", payment.order);
    let known = Order {
        merchant: payment.merchant,
        code: String::from_utf8(payment.code.to_vec()).unwrap(),
        ..Order::default()
    };
    let note = |change: &dyn Fn(&mut Order)| change(orders.lock().unwrap().get_mut(&order).unwrap());
    orders.lock().unwrap().insert(order.clone(), known.clone());
    let dice = payment.order % 8;
    if dice == 0 {
        let (url, order, known) = (url.to_owned(), order.clone(), known.clone());
        std::thread::spawn(move || drop(pay(&url, &order, &known)));
    }
    if dice == 1 {
        note(&|order| order.cancelled = Some(false));
        if cancel(url, &order, known.merchant).is_ok() {
            note(&|order| order.cancelled = Some(true));
        }
        return;
    }
    let Ok(paid) = pay(url, &order, &known) else { return };
    assert_eq!(paid["state"], "succeeded", "{paid}");
    let id = text(&paid, "id").unwrap();
    note(&|order| order.paid = Some(id.clone()));
    if dice < 5 {
        for part in 0..dice {
            let number = format!("r-{}-{part}", payment.order);
            note(&|order| order.refunds.extend([(number.clone(), false)]));
            match refund(url, &id, known.merchant, &number) {
                Ok(_) => note(&|order| order.refunds.extend([(number.clone(), true)])),
                Err(fault) => {
                    assert!(fault.outcome_is_unknown() || fault.code == "refund_exceeds_payment", "{fault:?}")
                }
            }
        }
    }
    if dice == 5 {
        note(&|order| order.cancelled = Some(false));
        if cancel(url, &order, known.merchant).is_ok() {
            note(&|order| order.cancelled = Some(true));
        }
    }
}

/// Every order of a round, asked for after it: what was acknowledged is there, what was not gets a definite answer.
fn settle(cloud: &Cloud, orders: &Orders) {
    for (order, known) in orders.lock().unwrap().iter() {
        let api = Api::new(cloud.url.clone(), api_key(known.merchant));
        let again = pay(&cloud.url, order, known);
        match &again {
            Ok(payment) => {
                assert_eq!(payment["state"], "succeeded");
                assert!(known.paid.as_ref().is_none_or(|id| payment["id"] == id.as_str()), "{order}: another payment");
            }
            Err(fault) => {
                assert_eq!(fault.code, "order_cancelled", "{order}: {fault:?}");
                assert!(known.cancelled.is_some(), "{order} was never cancelled");
            }
        }
        if known.cancelled == Some(true) {
            assert!(again.is_err(), "{order}: an acknowledged cancel was lost");
        }
        let found = api.get(&format!("/v1/payments?order={order}")).unwrap();
        let [payment] = found.as_array().unwrap().as_slice() else { panic!("{order}: not one payment: {found}") };
        let refunded = number(payment, "refunded").unwrap();
        let refunds = api.get(&format!("/v1/payments/{}/refunds", text(payment, "id").unwrap())).unwrap();
        let refunds = refunds.as_array().unwrap();
        let sum: i64 = refunds.iter().map(|refund| number(refund, "amount").unwrap()).sum();
        assert_eq!(sum, refunded, "{order}");
        assert!(refunded <= i64::try_from(PRICE_MINOR).unwrap(), "{order}: more was given back than paid");
        for (number, _) in known.refunds.iter().filter(|(_, acknowledged)| **acknowledged) {
            let times = refunds.iter().filter(|refund| refund["refund"] == number.as_str()).count();
            assert_eq!(times, 1, "{order}: acknowledged refund {number} is there {times} times");
        }
    }
}

#[test]
fn what_was_acknowledged_under_load_survives_kill_9_at_any_moment() {
    let rounds: u64 = if is_long() { 200 } else { 6 };
    let folder = tempfile::tempdir().unwrap();
    let keys = fill(folder.path(), TOKENS, MERCHANTS).unwrap();
    let supply = Supply::new(keys, TOKENS, MERCHANTS);
    let mut total = 0;
    for round in 0..rounds {
        let cloud = Cloud::start(folder.path());
        let payments = Arc::new(Mutex::new(supply.payments(2_000).into_iter()));
        let (orders, stop) = (Orders::default(), Arc::new(AtomicBool::new(false)));
        let tills: Vec<_> = (0..TILLS)
            .map(|_| {
                let (payments, orders, stop) = (Arc::clone(&payments), Arc::clone(&orders), Arc::clone(&stop));
                let url = cloud.url.clone();
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Acquire) {
                        let next = payments.lock().unwrap().next();
                        let Some(payment) = next else { return };
                        serve_one(&url, &payment, &orders);
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(60 + round * 97 % 400));
        cloud.kill();
        stop.store(true, Ordering::Release);
        tills.into_iter().for_each(|till| till.join().unwrap());
        let cloud = Cloud::start(folder.path());
        settle(&cloud, &orders);
        total += orders.lock().unwrap().len();
        let audit = cloud.operator().get("/v1/audit").unwrap();
        assert_eq!(audit["sound"], true, "round {round}: {audit}");
        cloud.kill();
    }
    println!("{rounds} kills, {total} orders");
    assert!(total > 100, "too little was under way to prove anything: {total}");
}

/// A library that lets the program's disk fail, once a file says how.
const FAILING_DISK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static int fails(const char *how) {
    const char *folder = getenv("PAYCHIP_FAULTS");
    char path[4096];
    struct stat found;
    if (!folder || strlen(folder) > 4000) return 0;
    strcpy(path, folder); strcat(path, "/"); strcat(path, how);
    return stat(path, &found) == 0;
}
// Whether anything was written to SQLite's own log that was not synced.
static int unsynced;
static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && memcmp(path + length - 4, "-wal", 4) == 0;
}
static int is_file(int fd) { struct stat found; return fstat(fd, &found) == 0 && S_ISREG(found.st_mode); }
int fdatasync(int fd) {
    if (fails("sync")) { errno = EIO; return -1; }
    if (is_log(fd)) unsynced = 0;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
int fsync(int fd) {
    if (fails("sync")) { errno = EIO; return -1; }
    if (is_log(fd)) unsynced = 0;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
ssize_t write(int fd, const void *bytes, size_t count) {
    if (is_log(fd)) unsynced = 1;
    if (is_file(fd) && fails("full")) {
        // Half of it still fits.
        if (count > 1) return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, bytes, count / 2);
        errno = ENOSPC; return -1;
    }
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, bytes, count);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (is_log(fd)) unsynced = 1;
    if (is_file(fd) && fails("full")) { errno = ENOSPC; return -1; }
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, bytes, count, at);
}
int rename(const char *from, const char *to) {
    const char *folder = getenv("PAYCHIP_FAULTS");
    char path[4096];
    if (folder && strlen(to) > 6 && strcmp(to + strlen(to) - 6, ".spare") == 0) {
        // A segment of the log is put aside: what became of it must not be lost any more.
        snprintf(path, sizeof path, "%s/put-aside-%s", folder, unsynced ? "too-early" : "in-time");
        FILE *told = fopen(path, "w");
        if (told) fclose(told);
    }
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
"#;

/// Builds the library.
fn failing_disk(folder: &Path) -> std::path::PathBuf {
    let (source, library) = (folder.join("disk.c"), folder.join("disk.so"));
    std::fs::write(&source, FAILING_DISK).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    assert!(built.unwrap().success());
    library
}

/// A cloud over a disk that can be made to fail.
struct OnFailingDisk {
    child: Child,
    url: String,
}

impl OnFailingDisk {
    fn start(data: &Path, faults: &Path, library: &Path) -> Self {
        use std::io::{BufRead, BufReader};
        let mut command = program();
        command.args(["--json", "--data"]).arg(data).args(["serve", "--listen", "127.0.0.1:0"]);
        command.env("LD_PRELOAD", library).env("PAYCHIP_FAULTS", faults).env("PAYCHIP_LOG", "off");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        Self { child, url: answer["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for OnFailingDisk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn order_of(payment: &Payment) -> Order {
    let code = String::from_utf8(payment.code.to_vec()).unwrap();
    Order { merchant: payment.merchant, code, ..Order::default() }
}

#[test]
fn after_a_sync_that_failed_nothing_is_acknowledged_and_the_server_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (data, faults) = (folder.path().join("data"), folder.path().join("faults"));
    std::fs::create_dir(&faults).unwrap();
    let keys = fill(&data, 100, 1).unwrap();
    let payments = Supply::new(keys, 100, 1).payments(40);
    let library = failing_disk(folder.path());
    let mut cloud = OnFailingDisk::start(&data, &faults, &library);
    let before = pay(&cloud.url, "before", &order_of(&payments[0])).unwrap();
    std::fs::write(faults.join("sync"), "").unwrap();
    for (at, payment) in payments[1..].iter().enumerate() {
        let answer = pay(&cloud.url, &format!("during-{at}"), &order_of(payment));
        let fault = answer.expect_err("acknowledged without a sync");
        assert!(["stopped", "unreachable"].contains(&fault.code.as_str()), "{fault:?}");
    }
    let ended = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        cloud.child.try_wait().unwrap()
    });
    assert!(!ended.expect("the server goes on over a disk that fails").success());
    std::fs::remove_file(faults.join("sync")).unwrap();
    let cloud = OnFailingDisk::start(&data, &faults, &library);
    assert_eq!(pay(&cloud.url, "before", &order_of(&payments[0])).unwrap(), before);
    for (at, payment) in payments[1..].iter().enumerate() {
        // It may have come through or not; it has one answer now.
        let answer = pay(&cloud.url, &format!("during-{at}"), &order_of(payment));
        assert!(answer.is_ok() || answer.as_ref().is_err_and(|fault| fault.code == "code_superseded"), "{answer:?}");
    }
}

/// A power cut takes what was not synced. The carrier's commits are not, but for its last.
#[test]
fn a_segment_of_the_log_is_put_aside_only_once_the_file_can_not_lose_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, faults) = (folder.path().join("data"), folder.path().join("faults"));
    std::fs::create_dir(&faults).unwrap();
    let keys = fill(&data, 100, 1).unwrap();
    let payments = Supply::new(keys, 100, 1).payments(10);
    let library = failing_disk(folder.path());
    let mut cloud = OnFailingDisk::start(&data, &faults, &library);
    for (at, payment) in payments.iter().enumerate() {
        pay(&cloud.url, &format!("o-{at}"), &order_of(payment)).unwrap();
    }
    // As it ends, it carries over what it has.
    assert!(Command::new("kill").args(["-TERM", &cloud.child.id().to_string()]).status().unwrap().success());
    assert!(cloud.child.wait().unwrap().success());
    assert!(faults.join("put-aside-in-time").exists(), "nothing was put aside");
    assert!(!faults.join("put-aside-too-early").exists());
}

#[test]
fn a_full_disk_refuses_and_payments_go_on_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let (data, faults) = (folder.path().join("data"), folder.path().join("faults"));
    std::fs::create_dir(&faults).unwrap();
    let keys = fill(&data, 100, 1).unwrap();
    let payments = Supply::new(keys, 100, 1).payments(60);
    let library = failing_disk(folder.path());
    let cloud = OnFailingDisk::start(&data, &faults, &library);
    for (at, payment) in payments.iter().enumerate() {
        let order = format!("o-{at}");
        if at % 3 == 1 {
            std::fs::write(faults.join("full"), "").unwrap();
            let fault = pay(&cloud.url, &order, &order_of(payment)).expect_err("acknowledged on a full disk");
            assert!(!["stopped", "unreachable"].contains(&fault.code.as_str()), "a full disk is no end: {fault:?}");
            std::fs::remove_file(faults.join("full")).unwrap();
        }
        let paid = pay(&cloud.url, &order, &order_of(payment)).unwrap();
        assert_eq!(paid["state"], "succeeded");
    }
    drop(cloud);
    let cloud = Cloud::start(&data);
    for (at, payment) in payments.iter().enumerate() {
        assert_eq!(pay(&cloud.url, &format!("o-{at}"), &order_of(payment)).unwrap()["state"], "succeeded");
    }
    assert_eq!(cloud.operator().get("/v1/audit").unwrap()["sound"], true);
}
