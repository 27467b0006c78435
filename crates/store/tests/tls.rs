//! TLS to a real PostgreSQL server: who is taken for the database, and what a server takes this program for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use store::StoreError;
use store::postgres::{PostgresUrl, init};
use support::tls::{HOLDER, TlsPostgres, USER};

/// One server for the tests that do not change it.
static SERVER: LazyLock<Option<TlsPostgres>> = LazyLock::new(TlsPostgres::start);

/// What making the tables there comes to: nothing, or why the database cannot be reached.
fn reached(url: &str) -> Result<(), String> {
    match init(&url.parse::<PostgresUrl>().unwrap_or_else(|error| panic!("{url}: {error}"))) {
        Ok(()) => Ok(()),
        Err(StoreError::Unreachable(why)) => Err(why),
        Err(error) => panic!("{url}: {error}"),
    }
}

fn assert_refused(url: &str, why: &str) {
    let told = reached(url).expect_err(url);
    assert!(told.contains(why), "{url}: {told}");
}

#[test]
fn a_server_is_taken_for_the_database_that_proves_as_much_as_the_url_asks() {
    let Some(tls) = &*SERVER else { return };
    let database = tls.new_database();
    let (ours, others) = (tls.option("sslrootcert", "ca.pem"), tls.option("sslrootcert", "other.pem"));
    let url = |host: &str, options: &str| tls.url(host, &database, options);
    let (right, wrong) = ("localhost", "127.0.0.1");

    for options in [&format!("sslmode=verify-full&{ours}"), &format!("sslmode=verify-ca&{ours}"), "sslmode=require"] {
        assert_eq!(reached(&url(right, options)), Ok(()), "{options}");
    }
    // Under another name the certificate is somebody's whom the authority knows.
    assert_refused(&url(wrong, &format!("sslmode=verify-full&{ours}")), "not valid for name");
    assert_eq!(reached(&url(wrong, &format!("sslmode=verify-ca&{ours}"))), Ok(()));
    assert_eq!(reached(&url(wrong, "sslmode=require")), Ok(()));
    // An authority that has not signed it, and those of this machine.
    for options in ["sslmode=verify-full&", "sslmode=verify-ca&", "sslmode=require&"] {
        assert_refused(&url(right, &format!("{options}{others}")), "UnknownIssuer");
    }
    assert_refused(&url(right, "sslmode=verify-full"), "UnknownIssuer");
    // In the clear it is the server that refuses.
    assert_refused(&url(right, "sslmode=disable"), "no encryption");
}

#[test]
fn a_login_is_bound_to_the_certificate_whatever_it_is_signed_with() {
    let Some(tls) = TlsPostgres::start() else { return };
    let database = tls.new_database();
    // Nothing else proves who the server is.
    let options = "sslmode=require&channel_binding=require";
    for hash in ["sha256", "sha384", "sha512"] {
        tls.certify(hash);
        tls.reload("");
        assert_eq!(reached(&tls.url("localhost", &database, options)), Ok(()), "{hash}");
    }
    // A server that asks for no password proves nothing by it.
    let trusted = tls.url("localhost", &database, options).replace(USER, "trusted");
    assert_refused(&trusted, "channel binding");
    assert_eq!(reached(&trusted.replace("channel_binding=require", "channel_binding=prefer")), Ok(()));

    // A server without TLS is not spoken to.
    tls.reload("ssl = off");
    assert_refused(&tls.url("localhost", &database, "sslmode=require"), "does not support TLS");
}

#[test]
fn this_program_shows_a_certificate_where_it_has_one() {
    let Some(tls) = &*SERVER else { return };
    let database = tls.new_database();
    let options = format!("sslmode=verify-full&{}", tls.option("sslrootcert", "ca.pem"));
    let url = tls.url("localhost", &database, &options).replace(USER, HOLDER);
    assert_refused(&url, "certificate");
    let own = format!("{url}&{}&{}", tls.option("sslcert", "holder.pem"), tls.option("sslkey", "holder.key"));
    assert_eq!(reached(&own), Ok(()));

    // A key that others may read is no secret.
    let open = tls.file("open.key");
    std::fs::copy(tls.file("holder.key"), &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = own.replace("holder.key", "open.key").parse::<PostgresUrl>().unwrap_err();
    assert!(refused.to_string().contains("open.key: can be read by others"), "{refused}");
}

#[test]
fn a_server_that_falls_silent_in_the_handshake_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = silent.accept().unwrap();
        let mut asked = [0; 8];
        connection.read_exact(&mut asked).unwrap();
        connection.write_all(b"S").unwrap();
        // Until the other side has gone.
        let _ = connection.read_to_end(&mut Vec::new());
    });
    let begun = Instant::now();
    assert_refused(&format!("postgres://me@127.0.0.1:{port}/pay?sslmode=require"), "handshake was not answered");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    server.join().unwrap();
}
