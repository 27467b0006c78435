//! What a restore stands on: nobody begins to use a database while a copy is put into it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use store::postgres::{Moment, PostgresUrl, Target, init};
use support::postgres::Postgres;

#[test]
fn a_server_that_starts_waits_until_a_restore_is_over() {
    let Some(server) = Postgres::start() else { return };
    let url: PostgresUrl = server.new_database().parse().unwrap();
    let mut target = Target::open(&url).unwrap();
    assert!(!target.holds_data().unwrap());
    target.set_aside().unwrap();
    let (tell, told) = channel();
    let started = std::thread::spawn({
        let url = url.clone();
        move || tell.send(init(&url)).unwrap()
    });
    let early = told.recv_timeout(Duration::from_secs(2));
    assert!(early.is_err(), "a server has begun: {early:?}");
    target.put_back().unwrap();
    drop(target);
    assert_eq!(told.recv_timeout(Duration::from_secs(30)), Ok(Ok(())));
    started.join().unwrap();
    assert_eq!(
        (Moment::take(&url).unwrap().server_major() >= 15, Target::open(&url).unwrap().holds_data()),
        (true, Ok(false))
    );
}
