//! `paychip factory`: plays a maker's personalisation line. It has a certificate authority, gets a batch's key from the
//! operator, makes virtual chips each with a device key of its own and a certificate, and signs the shipment's manifest.
//! It never sees the operator's keys, and the operator never the chips'.

pub mod house;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use chip::virtual_chip::VirtualChip;
use clap::Subcommand;
use pki::{PublicKey, Scheme};
use platform::ChipId;
use platform::makers::manifest::{ManifestHeader, Running, SIGNATURE, ShipmentNumber, ShippedChip, key_hash};
use platform::makers::{BatchId, MakerCode, ModelName, chip_keys_of_batch, seal_context};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::text;
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;
use crate::watch::factory::personalise_in_line;
use house::{House, Plan, serial_of};

/// How long a revocation list of a play holds, seconds.
const LIST_LIFETIME_S: u64 = 30 * 86_400;

#[derive(Debug, Subcommand)]
pub(crate) enum FactoryCommand {
    /// Found a maker's house: a root, a line, and a key to seal batches to.
    New {
        /// The maker's code at the operator.
        maker: String,
        /// The maker's name, in its certificates.
        #[arg(long)]
        name: String,
        /// The chip model it makes.
        #[arg(long, default_value = "SE-1")]
        model: String,
        /// `p256` or `sm2`: how its certificates and chips sign.
        #[arg(long, default_value = "p256")]
        scheme: String,
    },
    /// Show a house: its root certificate, and the key that batches are sealed to.
    Show {
        /// The maker's code.
        maker: String,
    },
    /// Make a shipment of chips and its signed manifest.
    Run {
        /// The maker's code.
        maker: String,
        /// The batch, as `paychip vendor batch` wrote it.
        #[arg(long, value_name = "FILE")]
        batch: PathBuf,
        /// How many chips.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// The shipment's number.
        #[arg(long, default_value = "1")]
        shipment: String,
        /// Where to write the manifest.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Make the manifest only, with random key hashes and no chips behind it: for measuring an import.
        #[arg(long)]
        without_chips: bool,
    },
    /// Sign a revocation list that ends the certificates of these chips.
    Revoke {
        /// The maker's code.
        maker: String,
        /// The list's number, higher than that of the one before.
        #[arg(long)]
        number: u64,
        /// Where to write the list (DER).
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The chips' ids; none for a list that ends nothing.
        chips: Vec<String>,
    },
}

/// The folder of a maker's house.
pub fn folder(place: &Place, maker: &str) -> Result<PathBuf, Fault> {
    let maker = MakerCode::parse(maker).map_err(|refusal| Fault::new(refusal.reason.code(), refusal.to_string()))?;
    Ok(place.data.join("factories").join(maker.as_str()))
}

pub(crate) fn run(place: &Place, command: FactoryCommand, output: Output) -> Result<(), Fault> {
    match command {
        FactoryCommand::New { maker, name, model, scheme } => {
            let path = folder(place, &maker)?;
            show(&House::found(&path, Plan { maker, name, model, scheme }, now_s())?, output);
        }
        FactoryCommand::Show { maker } => show(&House::open(&folder(place, &maker)?)?, output),
        FactoryCommand::Run { maker, batch, count, shipment, out, without_chips } => {
            let house = House::open(&folder(place, &maker)?)?;
            let order = Order { batch: &batch, count, shipment: &shipment, out: &out, without_chips };
            let made = house.make_shipment(&order, now_s(), |done| output.bar("making", done.into(), count.into()))?;
            output.answer(&format!("Made {count} chips; their manifest is {}", out.display()), &made);
        }
        FactoryCommand::Revoke { maker, number, out, chips } => {
            let house = House::open(&folder(place, &maker)?)?;
            house.write_list(number, &chips, &out, now_s())?;
            let line = format!("List {number} ends {} certificates; it is {}", chips.len(), out.display());
            output.answer(&line, &json!({ "number": number, "list": out }));
        }
    }
    Ok(())
}

fn show(house: &House, output: Output) {
    let (root, line) = (house.path.join("root.pem"), house.path.join("line.pem"));
    let key = house.factory_key();
    let lines = format!(
        "{} ({}), chip model {}, {}\n  root certificate  {}\n  line certificate  {}\n  key for batches   {key}",
        house.plan.name,
        house.plan.maker,
        house.plan.model,
        house.scheme.name(),
        root.display(),
        line.display()
    );
    output.answer(&lines, &json!({ "plan": house.plan, "root": root, "line": line, "factory_key": key }));
}

fn now_s() -> u64 {
    jiff::Timestamp::now().as_second().cast_unsigned()
}

/// A shipment to be made.
pub struct Order<'a> {
    /// The batch's file.
    pub batch: &'a Path,
    /// How many chips.
    pub count: u32,
    /// The shipment's number.
    pub shipment: &'a str,
    /// Where the manifest goes.
    pub out: &'a Path,
    /// Random key hashes, and no chips.
    pub without_chips: bool,
}

/// A batch whose key was opened.
struct OpenedBatch {
    id: BatchId,
    key_version: u8,
    key: Zeroizing<[u8; 32]>,
}

impl House {
    /// The public key that batches are sealed to, in hex.
    pub fn factory_key(&self) -> String {
        hex::encode(self.transport.public().point())
    }

    /// Makes the chips of an order and their manifest. The manifest appears under its name when it is whole.
    ///
    /// # Errors
    /// `batch_malformed`, `batch_not_for_us`, those of the chips and of files.
    pub fn make_shipment(&self, order: &Order<'_>, now_s: u64, mut progress: impl FnMut(u32)) -> Result<Value, Fault> {
        let wrong = |refusal: platform::Refusal| Fault::new(refusal.reason.code(), refusal.to_string());
        let batch = self.open_batch(order.batch)?;
        let header = ManifestHeader {
            maker: MakerCode::parse(&self.plan.maker).map_err(wrong)?,
            model: ModelName::parse(&self.plan.model).map_err(wrong)?,
            shipment: ShipmentNumber::parse(order.shipment).map_err(wrong)?,
            batch: batch.id,
            key_version: batch.key_version,
            count: order.count,
            made_s: now_s,
            authority: self.line.certificate.clone(),
        };
        // What no reader would take is not written.
        ManifestHeader::parse(&header.to_text()).map_err(|bad| Fault::new(bad.fault.code(), bad.to_string()))?;
        let told = |error: std::io::Error| Fault::file(order.out, error);
        let unfinished = order.out.with_extension("unfinished");
        let mut file = BufWriter::new(File::create(&unfinished).map_err(told)?);
        file.write_all(header.to_text().as_bytes()).map_err(told)?;
        let mut running = Running::of_header(&header);
        let begin: [u8; 8] = random()?;
        for number in 1..=order.count {
            let mut id = [0; 16];
            id.iter_mut().zip(begin.iter().chain(&u64::from(number).to_be_bytes())).for_each(|(to, from)| *to = *from);
            let key_hash = if order.without_chips { random()? } else { self.make_chip(id, &batch, now_s)? };
            let chip = ShippedChip { id: ChipId(id), key_hash };
            running.add(self.scheme, &chip).map_err(|fault| Fault::internal(fault.code()))?;
            writeln!(file, "{}", chip.to_line()).map_err(told)?;
            if number.is_multiple_of(64) || number == order.count {
                progress(number);
            }
        }
        let signature = running.sign(&self.line.key).map_err(|fault| Fault::internal(fault.to_string()))?;
        writeln!(file, "{SIGNATURE}{}", hex::encode(signature)).map_err(told)?;
        file.flush().map_err(told)?;
        drop(file);
        std::fs::rename(&unfinished, order.out).map_err(told)?;
        Ok(
            json!({ "manifest": order.out, "count": order.count, "first_chip": format!("{}{:016x}", hex::encode(begin), 1) }),
        )
    }

    /// One virtual chip: it makes its device key, is given certificate, name and keys, and lies in `chips/` until a watch
    /// takes it.
    fn make_chip(&self, id: [u8; 16], batch: &OpenedBatch, now_s: u64) -> Result<[u8; 32], Fault> {
        let path = self.path.join("chips").join(format!("{}.flash", hex::encode(id)));
        let mut chip = VirtualChip::create(&path).map_err(|error| Fault::new("chip", error.to_string()))?;
        let own = chip_keys_of_batch(&batch.key, ChipId(id), batch.key_version)
            .map_err(|error| Fault::internal(error.to_string()))?;
        let certify = |key: &PublicKey| {
            let leaf = self.certify(id, key, now_s)?;
            Ok([leaf.der(), self.line.certificate.der()].concat())
        };
        let key = personalise_in_line(&mut chip, self.scheme, id, &own, certify)?;
        Ok(key_hash(&key))
    }

    fn open_batch(&self, file: &Path) -> Result<OpenedBatch, Fault> {
        let malformed = || Fault::new("batch_malformed", format!("{}: this is no batch", file.display()));
        let read = std::fs::read_to_string(file).map_err(|error| Fault::file(file, error))?;
        let batch: Value = serde_json::from_str(&read).map_err(|_| malformed())?;
        let id = ChipId::parse(&text(&batch, "batch")?).map(|id| BatchId(id.0)).map_err(|_| malformed())?;
        let key_version = batch.get("key_version").and_then(Value::as_u64).and_then(|version| version.try_into().ok());
        let key_version = key_version.ok_or_else(malformed)?;
        let sealed = hex::decode(text(&batch, "sealed_key")?).map_err(|_| malformed())?;
        let key = pki::seal::open(&self.transport, &seal_context(id, key_version), &sealed).map_err(|_| {
            Fault::new("batch_not_for_us", format!("{}: not sealed to this factory, or altered", file.display()))
        })?;
        Ok(OpenedBatch { id, key_version, key })
    }

    /// Writes a revocation list of the line.
    ///
    /// # Errors
    /// `id_malformed`, and those of the file.
    pub fn write_list(&self, number: u64, chips: &[String], out: &Path, now_s: u64) -> Result<(), Fault> {
        let serial = |chip: &String| {
            let id = ChipId::parse(chip).map_err(|refusal| Fault::new(refusal.reason.code(), refusal.to_string()))?;
            Ok::<_, Fault>(serial_of(id.0))
        };
        let serials = chips.iter().map(serial).collect::<Result<Vec<_>, _>>()?;
        let serials: Vec<&[u8]> = serials.iter().map(Vec::as_slice).collect();
        let list = self.line.revoke(number, &serials, now_s, now_s + LIST_LIFETIME_S);
        let list = list.map_err(|fault| Fault::new(fault.code(), fault.to_string()))?;
        std::fs::write(out, list).map_err(|error| Fault::file(out, error))
    }

    /// Takes the next chip out of the house's store: its flash moves to `to`.
    ///
    /// # Errors
    /// `no_chips_left`, and those of files.
    pub fn take_chip(path: &Path, to: &Path) -> Result<(), Fault> {
        let chips = path.join("chips");
        let listed = std::fs::read_dir(&chips).map_err(|error| Fault::file(&chips, error))?;
        let flashes = listed.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let first = flashes.filter(|path| path.extension().is_some_and(|ending| ending == "flash")).min();
        let first = first.ok_or_else(|| {
            Fault::new("no_chips_left", format!("there are no chips in {}", chips.display()))
                .hint("make some with `paychip factory run`")
        })?;
        std::fs::rename(&first, to).map_err(|error| Fault::file(to, error))
    }
}

/// How a chip's scheme is called by the chip.
pub(crate) fn chip_scheme(scheme: Scheme) -> protocol::applet::Scheme {
    match scheme {
        Scheme::P256 => protocol::applet::Scheme::P256,
        Scheme::Sm2 => protocol::applet::Scheme::Sm2,
    }
}

fn random<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(bytes)
}
