//! `paychip vendor`: what the operator and a maker of chips hand each other: keys of a batch one way, shipments the other.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use platform::makers::manifest::{
    BadLine, HEADER_END, LineFault, MAX_HEADER_BYTES, ManifestHeader, Running, SIGNATURE, ShippedChip,
};
use platform::makers::shipments::MAX_PIECE;
use serde_json::{Value, json};

use crate::api::{Api, nothing, number, text};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum VendorCommand {
    /// Open a batch of chip keys for a maker; only its factory can open the file.
    Batch {
        /// The maker's code.
        maker: String,
        /// The factory's public key, hex: `paychip factory show` prints it.
        #[arg(long, value_name = "HEX")]
        factory_key: String,
        /// Where to write what the factory is given.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Take in a shipment: every line of its manifest is checked before anything is sent; all of its chips count, or none.
    /// Broken off, it goes on where it was.
    Import {
        /// The manifest.
        file: PathBuf,
    },
    /// Give up a shipment that has not come in whole.
    GiveUp {
        /// The shipment's id.
        shipment: String,
    },
}

pub(crate) fn run(place: &Place, command: VendorCommand, output: Output) -> Result<(), Fault> {
    let operator = place.operator()?;
    match command {
        VendorCommand::Batch { maker, factory_key, out } => {
            let answer = open_batch(&operator, &maker, &factory_key)?;
            std::fs::write(&out, format!("{answer}\n")).map_err(|error| Fault::file(&out, error))?;
            let line = format!("Opened batch {}; give {} to the factory", text(&answer, "batch")?, out.display());
            output.answer(&line, &answer);
            Ok(())
        }
        VendorCommand::Import { file } => {
            let answer = import(&operator, &file, |what, done, all| output.bar(what, done, all))?;
            let line = format!(
                "{} chips of {} {} can be bound ({})",
                number(&answer, "received")?,
                text(&answer, "maker")?,
                text(&answer, "model")?,
                text(&answer, "id")?
            );
            output.answer(&line, &answer);
            Ok(())
        }
        VendorCommand::GiveUp { shipment } => {
            let answer = operator.post(&format!("/v1/shipments/{shipment}/give-up"), &nothing())?;
            output.answer(&format!("{shipment} is given up"), &answer);
            Ok(())
        }
    }
}

/// Opens a batch; the answer is what the factory is given.
pub fn open_batch(operator: &Api, maker: &str, factory_key: &str) -> Result<Value, Fault> {
    operator.post(&format!("/v1/makers/{maker}/batches"), &json!({ "factory_key": factory_key }))
}

/// Takes in the shipment of a manifest. `progress` is told what is being done, how much is, and how much there is.
///
/// # Errors
/// The first bad line, by its number and with its reason; then nothing was sent. Those of the cloud.
pub fn import(operator: &Api, file: &Path, mut progress: impl FnMut(&str, u64, u64)) -> Result<Value, Fault> {
    let signature = check(file, &mut progress)?;
    let mut manifest = Manifest::open(file)?;
    let mut shipment = operator.post("/v1/shipments", &json!({ "header": manifest.text }))?;
    let path = format!("/v1/shipments/{}", text(&shipment, "id")?);
    let received = received(&shipment)?;
    // What came in before is not sent again.
    for _ in 0..received {
        manifest.next_line()?;
    }
    let mut first = received;
    let mut piece = String::new();
    while first < manifest.header.count {
        piece.clear();
        let mut chips = 0;
        while chips < MAX_PIECE && first + (chips as u32) < manifest.header.count {
            piece += &manifest.next_line()?;
            piece.push('\n');
            chips += 1;
        }
        shipment = operator.post(&format!("{path}/lines"), &json!({ "first": first, "lines": piece }))?;
        let expected = first + chips as u32;
        first = self::received(&shipment)?;
        if first != expected {
            return Err(Fault::new("shipment_elsewhere", "somebody else is taking in this shipment at the same time")
                .hint("ask again; it goes on where it is"));
        }
        progress("taking in", first.into(), manifest.header.count.into());
    }
    operator.post(&format!("{path}/finish"), &json!({ "signature": signature }))
}

fn received(shipment: &Value) -> Result<u32, Fault> {
    let malformed = |_| Fault::new("answer_malformed", "the cloud's answer has no number of chips");
    u32::try_from(number(shipment, "received")?).map_err(malformed)
}

/// Checks every line of a manifest and its signature, which it returns in hex.
///
/// # Errors
/// The first bad line.
pub fn check(file: &Path, progress: &mut impl FnMut(&str, u64, u64)) -> Result<String, Fault> {
    let mut manifest = Manifest::open(file)?;
    let header = manifest.header.clone();
    let scheme = header.authority.key().scheme();
    let mut running = Running::of_header(&header);
    loop {
        let number = manifest.number + 1;
        let bad = |fault| bad_line(file, BadLine { number, fault });
        let line = manifest.next_line()?;
        if let Some(signature) = line.strip_prefix(SIGNATURE) {
            let mut bytes = [0; pki::SIGNATURE_BYTES];
            let is_right = hex::decode_to_slice(signature, &mut bytes).is_ok();
            if running.chips != header.count {
                return Err(bad(LineFault::Count));
            }
            if !is_right || !running.is_signed(&header.authority, &bytes) {
                return Err(bad(LineFault::Signature));
            }
            if manifest.lines.next().is_some() {
                return Err(bad_line(file, BadLine { number: number + 1, fault: LineFault::Count }));
            }
            return Ok(signature.to_owned());
        }
        let chip = ShippedChip::parse(&line).map_err(bad)?;
        if running.chips == header.count {
            return Err(bad(LineFault::Count));
        }
        running.add(scheme, &chip).map_err(bad)?;
        if running.chips.is_multiple_of(MAX_PIECE as u32) || running.chips == header.count {
            progress("checking", running.chips.into(), header.count.into());
        }
    }
}

/// A manifest that is read line by line.
struct Manifest {
    header: ManifestHeader,
    /// The header as text.
    text: String,
    lines: Lines<BufReader<File>>,
    /// The line read last, counted from 1.
    number: u64,
    path: PathBuf,
}

impl Manifest {
    fn open(path: &Path) -> Result<Self, Fault> {
        let opened = File::open(path).map_err(|error| Fault::file(path, error))?;
        let mut lines = BufReader::new(opened).lines();
        let (mut text, mut number) = (String::new(), 0);
        while text.len() <= MAX_HEADER_BYTES {
            let line = lines.next().unwrap_or(Ok(String::new())).map_err(|error| Fault::file(path, error))?;
            number += 1;
            text += &line;
            text.push('\n');
            if line == HEADER_END || line.is_empty() {
                break;
            }
        }
        let header = ManifestHeader::parse(&text).map_err(|bad| bad_line(path, bad))?;
        Ok(Self { header, text, lines, number, path: path.to_owned() })
    }

    /// The next line; a manifest that ends before its signature is cut off.
    fn next_line(&mut self) -> Result<String, Fault> {
        self.number += 1;
        let cut = bad_line(&self.path, BadLine { number: self.number, fault: LineFault::Count });
        self.lines.next().ok_or(cut)?.map_err(|error| Fault::file(&self.path, error))
    }
}

fn bad_line(file: &Path, bad: BadLine) -> Fault {
    Fault::new(bad.fault.code(), format!("{}: {bad}", file.display())).at(format!("line {}", bad.number))
}
