//! The real program as its users start it: clouds, watches, tills and makers, over the programs that this builds. One test program for
//! all of them: linking each by itself took longer than running most of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod bench_data;
mod books;
mod bounds;
mod carrier;
mod copies;
mod door;
mod faults;
mod injection;
mod keys;
mod leaks;
mod lifecycle;
mod makers;
mod pcsc;
mod pkcs11;
mod postgres_tls;
mod provenance;
mod relays;
mod replays;
mod restores;
mod results;
mod riscv;
mod risk;
#[path = "../../../chip/tests/support/script.rs"]
mod script;
mod several_servers;
mod stranger;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod vault;
mod whole_path;
