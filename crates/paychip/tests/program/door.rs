//! The door of the real program: TLS and its files, and whoever sends too much, too slowly or over too many connections.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Cloud, program};
use serde_json::Value;

/// How long a client waits for an answer or an end that must come by itself: longer than any wait of the server.
const PATIENCE: Duration = Duration::from_secs(90);

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).stderr(Stdio::null()).status();
    assert!(done.expect("this test needs openssl").success(), "openssl {arguments}");
}

/// An authority of this name, and a certificate for 127.0.0.1 that it signed.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf, PathBuf) {
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
    openssl(folder, &format!("req -x509 {new} -keyout {name}-ca.key -out {name}-ca.pem -subj /CN={name}"));
    openssl(
        folder,
        &format!(
            "req -x509 {new} -keyout {name}.key -out {name}.pem -subj /CN=server -CA {name}-ca.pem -CAkey {name}-ca.key \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ),
    );
    let path = |end: &str| folder.join(format!("{name}{end}"));
    fs::set_permissions(path(".key"), fs::Permissions::from_mode(0o600)).unwrap();
    (path("-ca.pem"), path(".pem"), path(".key"))
}

/// What a command against the cloud says, or the code of its failure.
fn run(cloud: &Cloud, ca: Option<&Path>, arguments: &[&str]) -> Result<Value, String> {
    let mut command = program();
    command.args(["--json", "--data"]).arg(&cloud.data);
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    let output = command.args(arguments).output().unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap());
    }
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    Err(error["error"]["code"].as_str().unwrap().to_owned())
}

/// The code with which a server does not start.
fn refused(data: &Path, arguments: &[&str]) -> String {
    let output = program().args(["--json", "--data"]).arg(data).arg("serve").args(arguments).output().unwrap();
    assert!(!output.status.success(), "it served");
    let text = String::from_utf8(output.stderr).unwrap();
    let error: Value = serde_json::from_str(text.trim().lines().last().unwrap()).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn tls_ends_in_the_server_for_whoever_trusts_its_certificate_and_a_renewed_one_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, chain, key) = certificate(folder.path(), "one");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let cloud =
        Cloud::start_with(&folder.path().join("data"), &["--tls-cert", &text(&chain), "--tls-key", &text(&key)]);
    let address = cloud.url.strip_prefix("https://").expect("it says that it speaks https");

    run(&cloud, Some(&ca), &["account", "new", "Li Wei"]).unwrap();
    run(&cloud, Some(&ca), &["audit"]).unwrap();
    assert_eq!(run(&cloud, None, &["audit"]).unwrap_err(), "unreachable", "trusted without a reason");
    let (other_ca, other_chain, other_key) = certificate(folder.path(), "two");
    assert_eq!(run(&cloud, Some(&other_ca), &["audit"]).unwrap_err(), "unreachable", "trusted by another authority");
    assert_eq!(run(&cloud, Some(&key), &["audit"]).unwrap_err(), "ca");

    let speaks = |version: &str| {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", address, "-cipher", "DEFAULT:@SECLEVEL=0", version]);
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    assert!(speaks("-tls1_2") && speaks("-tls1_3"));
    assert!(!speaks("-tls1_1"), "a version that is broken is spoken");
    let plain = talk(address, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(!plain.starts_with("HTTP/"), "plain HTTP on a TLS port: {plain}");

    // Renewed one file after the other, as certbot does: in between the server goes on with what it has.
    fs::copy(&other_chain, &chain).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    run(&cloud, Some(&ca), &["audit"]).unwrap();
    fs::copy(&other_key, &key).unwrap();
    let begun = Instant::now();
    while run(&cloud, Some(&other_ca), &["audit"]).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the renewed certificate is not taken up");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(run(&cloud, Some(&ca), &["audit"]).unwrap_err(), "unreachable");
}

#[test]
fn a_server_that_would_give_its_secrets_to_the_network_or_the_machine_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (ca, chain, key) = certificate(folder.path(), "one");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let with = |chain: &Path, key: &Path| {
        refused(&data, &["--listen", "0.0.0.0:0", "--tls-cert", &text(chain), "--tls-key", &text(key)])
    };
    assert_eq!(refused(&data, &["--listen", "0.0.0.0:0"]), "plain_http");
    assert_eq!(with(&ca, &key), "tls_pair");
    assert_eq!(with(&chain, &chain), "tls_key_open");
    fs::write(&chain, "nothing").unwrap();
    assert_eq!(with(&chain, &key), "tls_pair");
    assert_eq!(with(&folder.path().join("nowhere"), &key), "tls_file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(with(&chain, &key), "tls_key_open");
}

/// What comes back until the server ends the connection.
fn talk(address: &str, text: &str) -> String {
    let mut stream = connect(address);
    // The server may have ended it already.
    let _ = stream.write_all(text.as_bytes());
    rest(&mut stream)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server holds on to it"),
            // Reset: the server did not read what was too much.
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn whoever_sends_too_much_or_too_slowly_is_answered_or_cut_and_the_others_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    let address = cloud.url.strip_prefix("http://").unwrap();
    let key = fs::read_to_string(cloud.data.join("operator.key")).unwrap();
    let post = |length: usize| {
        format!(
            "POST /v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n",
            key.trim()
        )
    };

    let many = "X-A: 1\r\n".repeat(100);
    let status = |answer: &str| answer.get(9..12).unwrap_or("none").to_owned();
    assert_eq!(status(&talk(address, &format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n"))), "431");
    let long = "a".repeat(20_000);
    assert_eq!(status(&talk(address, &format!("GET /health HTTP/1.1\r\nHost: x\r\nX-A: {long}\r\n\r\n"))), "431");
    assert!(["414", "431"].contains(&&*status(&talk(address, &format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n")))));
    // Who says that it will send too much, and who sends all of it before it listens: most clients give up where they
    // cannot, and never read the answer.
    for (said, sent) in [(1_000_000, 20_000), (200_000, 200_000), (8_000_000, 8_000_000)] {
        let mut stream = connect(address);
        stream.write_all((post(said) + &"{".repeat(sent)).as_bytes()).unwrap();
        let large = rest(&mut stream);
        assert!(status(&large) == "413" && large.contains("body_too_large"), "{said}, {sent}: {large}");
    }

    // Slow ones, all at once: part of a head, of a body, of nothing at all; and one that waits for its next request.
    let slow: Vec<TcpStream> = [String::from("GET /health HTT"), post(100) + "{\"na", String::new()]
        .iter()
        .cycle()
        .take(300)
        .map(|text| {
            let mut stream = connect(address);
            stream.write_all(text.as_bytes()).unwrap();
            stream
        })
        .collect();
    let mut idle = connect(address);
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(talk(address, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ends_with("ok"));
    for (number, mut stream) in slow.into_iter().enumerate() {
        let answer = rest(&mut stream);
        if number % 3 == 1 {
            assert!(status(&answer) == "408" && answer.contains("body_too_slow"), "{answer}");
        } else {
            assert!(answer.is_empty() || status(&answer) == "408", "{answer}");
        }
    }
    assert!(rest(&mut idle).ends_with("ok"), "an answer, and then an end");
}

#[test]
fn one_peer_has_so_many_connections_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_with(folder.path(), &["--max-connections-per-peer", "3"]);
    let address = cloud.url.strip_prefix("http://").unwrap();
    let health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(health.as_bytes()).unwrap();
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("one of the first three is not served");
            stream
        })
        .collect();
    assert_eq!(talk(address, health), "", "a fourth is served");
    held.pop();
    let begun = Instant::now();
    let closing = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    while !talk(address, closing).ends_with("ok") {
        assert!(begun.elapsed() < PATIENCE, "who has left still counts");
    }
}
