//! The chip among strangers: pcscd, OpenSC, pyscard and yubikit use it like any other card, and our own program uses a
//! PC/SC reader like any other chip.
//!
//! Each test has a pcscd of its own: its socket is a temporary folder, mounted over the usual place for that process
//! alone. What is not installed is named on the output (`skipped: …`); with `PAYCHIP_REQUIRE_HOSTS=1` it is a failure.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::script;
use crate::support::{Cloud, program};
use paychip::chip::atr::{ATR, is_payment_chip};
use paychip::chip::pcscd::{Reader, ReaderCard, Service};
use paychip::chip::{ANSWER_BYTES, Card};
use protocol::apdu::HEADER_BYTES;
use serde_json::Value;
use tempfile::TempDir;

const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
const READER: &str = "Paychip test reader";
/// How long pcscd or a card may take to appear or go.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a host's script may take.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(60);
const SELECT: &str = "00A4040009F0504159434849500100";
const GET_PAYMENT_CODE: &str = "80 40 01 00 08 00 00 00 00 6B 49 D2 00 00";

/// Something that is not installed here. Printed past the test harness, which would swallow it.
fn skipped(missing: &str) {
    let required = std::env::var_os("PAYCHIP_REQUIRE_HOSTS").is_some();
    assert!(!required, "missing: {missing}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    std::io::stdout().write_all(format!("skipped: {missing} (wanted by {test})\n").as_bytes()).unwrap();
}

/// Runs a command to its end and fails with everything it said.
fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

fn works(name: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not happen within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A process of ours, ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the virtual reader waits for its card. Every pcscd has a network of its own, so it is always free.
const PORT: u16 = 35_963;

/// A pcscd with a virtual reader, for one test.
struct Pcscd {
    folder: TempDir,
    daemon: Running,
}

impl Pcscd {
    /// Starts one; none, and said so, where something is missing.
    fn start() -> Option<Self> {
        if !works("pcscd", &["--version"]) {
            skipped("pcscd (Debian: pcscd)");
            return None;
        }
        if !Path::new(DRIVER).exists() {
            skipped("the driver of the virtual reader (Debian: vsmartcard-vpcd)");
            return None;
        }
        if !works("unshare", &["--mount", "--net", "true"]) {
            skipped("the right to give pcscd a mount and a network of its own (run as root)");
            return None;
        }
        if !works("ip", &["-V"]) {
            skipped("ip (Debian: iproute2)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let configuration = format!(
            "FRIENDLYNAME \"{READER}\"\nDEVICENAME /dev/null:0x{PORT:X}\nLIBPATH {DRIVER}\nCHANNELID 0x{PORT:X}\n"
        );
        std::fs::write(folder.path().join("reader.conf"), configuration).unwrap();
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        // The driver listens on every address there is: in a network of its own that is the loopback alone.
        let script = "ip link set lo up && mkdir -p /run/pcscd && mount --bind \"$0/run\" /run/pcscd \
                      && exec pcscd -f -c \"$0/reader.conf\"";
        let log = std::fs::File::create(folder.path().join("pcscd.log")).unwrap();
        let daemon = Command::new("unshare")
            .args(["--mount", "--net", "sh", "-c", script])
            .arg(folder.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pcscd = Self { folder, daemon: Running(daemon) };
        eventually("pcscd's start", || pcscd.readers().filter(|readers| !readers.is_empty()));
        Some(pcscd)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("run/pcscd.comm")
    }

    fn readers(&self) -> Option<Vec<Reader>> {
        Service::connect_to(&self.socket()).and_then(|mut service| service.readers()).ok()
    }

    /// A command that finds this pcscd and no other.
    fn command(&self, name: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(name);
        command.env("PCSCLITE_CSOCK_NAME", self.socket());
        command
    }

    /// Our program, run to its end: what it answered, or its error.
    fn paychip(&self, arguments: &[&str]) -> Result<Value, Value> {
        let mut command = program();
        command.env("PCSCLITE_CSOCK_NAME", self.socket()).arg("--json").args(arguments);
        answered(command.output().unwrap())
    }

    /// Puts the chip in this file into the reader; it goes out when dropped.
    fn insert(&self, flash: &Path) -> Running {
        let has_chip = |has: bool| {
            move || self.readers()?.iter().any(|reader| is_payment_chip(&reader.atr)).eq(&has).then_some(())
        };
        eventually("the last card's going", has_chip(false));
        // The card dials the reader in the network they share.
        let mut inside = Command::new("nsenter");
        inside.args(["--target", &self.daemon.0.id().to_string(), "--net"]).arg(program().get_program());
        let serving = hold(inside, flash, PORT);
        eventually("the card's coming", has_chip(true));
        serving
    }

    fn blank_chip(&self, name: &str) -> PathBuf {
        blank_chip(self.folder.path(), name)
    }
}

fn answered(output: Output) -> Result<Value, Value> {
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let value = serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("not JSON: {text}"));
    if output.status.success() { Ok(value) } else { Err(value) }
}

fn blank_chip(folder: &Path, name: &str) -> PathBuf {
    let flash = folder.join(name);
    let mut new = program();
    new.args(["chip", "new", "--flash"]).arg(&flash);
    succeed(new);
    flash
}

/// Our program, holding the chip in this file towards a reader on loopback.
fn serve(flash: &Path, port: u16) -> Running {
    hold(program(), flash, port)
}

/// `command` is our program, or what starts it.
fn hold(mut command: Command, flash: &Path, port: u16) -> Running {
    command.args(["chip", "--flash"]).arg(flash).args(["serve", "--vpcd", &format!("127.0.0.1:{port}")]);
    Running(command.stdout(Stdio::null()).spawn().unwrap())
}

/// A Python that has these modules; none, and said so, where there is none.
fn python_with(modules: &[&str]) -> Option<PathBuf> {
    let build = Path::new(env!("CARGO_BIN_EXE_paychip")).ancestors().nth(2).unwrap();
    let candidates = [build.join("host-tools/bin/python3"), PathBuf::from("python3")];
    let imports = format!("import {}", modules.join(", "));
    let works = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", &imports]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let python = candidates.into_iter().find(works);
    if python.is_none() {
        skipped(&format!("a Python with {} (PyPI: pyscard, yubikey-manager)", modules.join(" and ")));
    }
    python
}

fn host_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(name)
}

/// Waits for a script that was started, and ends it where it takes too long.
fn finish(mut script: Running, name: &str) {
    let until = Instant::now() + SCRIPT_PATIENCE;
    let status = loop {
        match script.0.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => panic!("{name} took more than {} s", SCRIPT_PATIENCE.as_secs()),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut said = String::new();
    script.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{name}: {status}\n{said}");
}

#[test]
fn opensc_finds_selects_and_is_refused_like_anyone() {
    let Some(pcscd) = Pcscd::start() else { return };
    if !works("opensc-tool", &["--version"]) {
        return skipped("opensc-tool (Debian: opensc)");
    }
    let _card = pcscd.insert(&pcscd.blank_chip("chip.flash"));
    let opensc = |arguments: &[&str]| {
        let mut command = pcscd.command("opensc-tool");
        command.args(["--reader", "0"]).args(arguments);
        succeed(command)
    };
    let atr = ATR.map(|byte| format!("{byte:02x}")).join(":");
    assert_eq!(opensc(&["--atr"]).trim(), atr);
    let said = opensc(&["--send-apdu", SELECT, "--send-apdu", &GET_PAYMENT_CODE.replace(' ', "")]);
    assert!(said.contains("SW1=0x90, SW2=0x00"), "{said}");
    assert!(said.contains("....PAYCHIP...."), "{said}");
    assert!(said.contains("SW1=0x69, SW2=0x85"), "{said}");
}

#[test]
fn pyscard_reads_a_fresh_chip_and_gets_no_code_from_it() {
    let Some(pcscd) = Pcscd::start() else { return };
    let Some(python) = python_with(&["smartcard"]) else { return };
    let _card = pcscd.insert(&pcscd.blank_chip("chip.flash"));
    let mut script = pcscd.command(python);
    script.arg(host_script("reader.py")).arg(READER);
    assert!(succeed(script).contains("no code from it"));
}

#[test]
fn yubikit_personalises_a_chip_over_pcsc() {
    let Some(pcscd) = Pcscd::start() else { return };
    let Some(python) = python_with(&["smartcard", "yubikit.core.smartcard.scp"]) else { return };
    let _card = pcscd.insert(&pcscd.blank_chip("chip.flash"));
    let mut script = pcscd.command(python);
    script.arg(host_script("personalise.py")).args(["pcsc", READER]);
    assert!(succeed(script).contains("personalised"));
    let status = pcscd.paychip(&["chip", "--reader", READER, "status"]).unwrap();
    assert_eq!(status["state"], "ready to be bound");
    assert_eq!(status["chip_id"], hex::encode(b"host-0000-000001"));
}

#[test]
fn yubikit_personalises_a_chip_with_nothing_between() {
    let Some(python) = python_with(&["yubikit.core.smartcard.scp"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut script = Command::new(python);
    script.arg(host_script("personalise.py")).arg("vpcd").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = Running(script.spawn().unwrap());
    let mut said = BufReader::new(script.0.stdout.take().unwrap());
    let mut port = String::new();
    said.read_line(&mut port).unwrap();
    let _card = serve(&blank_chip(folder.path(), "chip.flash"), port.trim().parse().unwrap());
    finish(script, "personalise.py");
    assert!(said.lines().map_while(Result::ok).any(|line| line == "personalised"));
}

/// A card that scripts are run against.
struct InAReader(ReaderCard);

impl script::Target for InAReader {
    fn exchange(&mut self, command: &[u8]) -> Vec<u8> {
        let mut answer = [0; ANSWER_BYTES];
        let length = self.0.exchange(command, &mut answer).unwrap();
        answer[..length].to_vec()
    }

    fn reset(&mut self) {
        self.0.reset().unwrap();
    }

    // What a reader does to a card ends its sessions either way.
    fn power_cycle(&mut self) {
        self.0.reset().unwrap();
    }

    fn carries(&self, command: &[u8]) -> bool {
        command.len() >= HEADER_BYTES
    }
}

#[test]
fn every_script_of_the_chip_runs_as_written_over_pcsc() {
    let Some(pcscd) = Pcscd::start() else { return };
    for (name, text) in script::all() {
        let _card = pcscd.insert(&pcscd.blank_chip(&format!("{name}.flash")));
        let card = Service::connect_to(&pcscd.socket()).unwrap().open(READER).unwrap();
        script::run(&name, &text, &mut InAReader(card));
    }
}

#[test]
fn our_own_commands_work_over_a_reader_as_on_a_file() {
    let Some(pcscd) = Pcscd::start() else { return };
    let cloud = Cloud::start(&pcscd.folder.path().join("cloud"));
    let flash = pcscd.blank_chip("chip.flash");
    let error = pcscd.paychip(&["chip", "--reader", READER, "status"]).unwrap_err();
    assert_eq!(error["error"]["code"], "no_card");

    let card = pcscd.insert(&flash);
    let listed = pcscd.paychip(&["chip", "list"]).unwrap();
    assert_eq!(listed["readers"][0]["is_payment_chip"], true);
    assert_eq!(pcscd.paychip(&["chip", "--reader", "1", "status"]).unwrap()["state"], "blank");
    assert_eq!(pcscd.paychip(&["chip", "--reader", "1", "selftest"]).unwrap()["failed"], 0);
    assert_eq!(pcscd.paychip(&["chip", "--reader", "1", "select"]).unwrap()["aid"], "F05041594348495001");
    let error = pcscd.paychip(&["chip", "--reader", "no such", "status"]).unwrap_err();
    assert_eq!(error["error"]["code"], "no_reader");

    let personalise = ["--data", cloud.data.to_str().unwrap(), "chip", "--reader", READER, "personalise"];
    let chip_id = pcscd.paychip(&personalise).unwrap()["chip_id"].clone();
    assert_eq!(pcscd.paychip(&personalise).unwrap_err()["error"]["code"], "chip_not_blank");
    assert_eq!(pcscd.paychip(&["chip", "--reader", "1", "selftest"]).unwrap()["failed"], 0);
    drop(card);
    let on_file = pcscd.paychip(&["chip", "--flash", flash.to_str().unwrap(), "status"]).unwrap();
    assert_eq!((&on_file["chip_id"], &on_file["state"]), (&chip_id, &"ready to be bound".into()));
}

#[test]
fn without_pcscd_the_missing_service_is_named_and_virtual_chips_work() {
    let folder = tempfile::tempdir().unwrap();
    let paychip = |arguments: &[&str]| {
        let mut command = program();
        command.env("PCSCLITE_CSOCK_NAME", folder.path().join("nobody")).arg("--json").args(arguments);
        answered(command.arg("--data").arg(folder.path()).output().unwrap())
    };
    assert_eq!(paychip(&["chip", "list"]).unwrap()["pcscd"]["code"], "no_pcscd");
    assert_eq!(paychip(&["chip", "--reader", "1", "status"]).unwrap_err()["error"]["code"], "no_pcscd");
    let flash = blank_chip(folder.path(), "chip.flash");
    let flash = flash.to_str().unwrap();
    assert_eq!(paychip(&["chip", "--flash", flash, "selftest"]).unwrap()["failed"], 0);
    let answer = paychip(&["chip", "--flash", flash, "apdu", GET_PAYMENT_CODE]).unwrap();
    assert_eq!((&answer["data"], &answer["status"]), (&"".into(), &"6985".into()));
    assert_eq!(paychip(&["chip", "--flash", flash, "new"]).unwrap_err()["error"]["code"], "chip");
    assert_eq!(paychip(&["chip", "--flash", "nobody's", "status"]).unwrap_err()["error"]["code"], "no_chip");
}

#[test]
fn a_watchs_passcode_session_ends_when_its_chip_is_taken_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(folder.path());
    for arguments in [&["account", "new", "Li Wei"][..], &["watch", "new"], &["watch", "bind"]] {
        cloud.run(arguments).unwrap();
    }
    cloud.run(&["watch", "passcode", "1357"]).unwrap();
    cloud.run(&["watch", "unlock", "1357"]).unwrap();
    assert_eq!(cloud.run(&["watch", "status"]).unwrap()["passcode"], "entered");
    assert_eq!(cloud.run(&["chip", "selftest"]).unwrap()["failed"], 0);
    assert_eq!(cloud.run(&["watch", "status"]).unwrap()["passcode"], "set, not entered");
    assert_eq!(cloud.run(&["chip", "list"]).unwrap()["watches"][0], "watch");
}

/// The reader's end of vpcd's protocol.
struct VirtualReader(TcpStream);

impl VirtualReader {
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, frame: &[u8]) {
        self.0.write_all(&u16::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(frame).unwrap();
    }

    fn ask(&mut self, frame: &[u8]) -> Vec<u8> {
        self.send(frame);
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }
}

#[test]
fn a_served_chip_comes_back_to_a_reader_that_went_away_and_takes_no_frame_for_more_than_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _card = serve(&blank_chip(folder.path(), "chip.flash"), listener.local_addr().unwrap().port());
    for _ in 0..3 {
        let mut reader = VirtualReader::accept(&listener);
        reader.send(&[0x01]);
        assert_eq!(reader.ask(&[0x04]), ATR);
        assert_eq!(reader.ask(&vec![0x00; 0xFFFF]), [0x67, 0x00]);
        // Orders without an answer, known and unknown, and frames with nothing in them.
        for order in [&[0x02][..], &[0x07], &[], &[0x00], &[0x01]] {
            reader.send(order);
        }
        assert_eq!(reader.ask(&[0x00, 0xCA, 0x9F, 0x70, 0x00]), [0x9F, 0x70, 0x01, 0x01, 0x90, 0x00]);
        // Gone in the middle of a frame.
        reader.0.write_all(&[0x00, 0x10, 0x80]).unwrap();
    }
}
