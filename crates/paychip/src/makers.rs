//! `paychip maker`: makers of chips and devices as the operator sees them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use pki::{Certificate, RevocationList};
use serde_json::{Value, json};

use crate::api::{nothing, number, text};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum MakerCommand {
    /// Take a maker on, with its root certificate.
    New {
        /// A short code, such as `sunrise`; it never changes.
        code: String,
        /// Its name.
        name: String,
        /// Its root certificate, PEM or DER.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// It makes devices, not chips.
        #[arg(long)]
        devices: bool,
    },
    /// List the makers.
    List,
    /// Show a maker and its models.
    Show {
        /// The maker's code.
        code: String,
    },
    /// Take nothing new of a maker any more; what is bound goes on paying.
    Withdraw {
        /// The maker's code.
        code: String,
    },
    /// Take a withdrawn maker back.
    Readmit {
        /// The maker's code.
        code: String,
    },
    /// Set a chip model: which of its applet versions may be bound.
    ChipModel(ChipModel),
    /// Set a device model.
    DeviceModel(DeviceModel),
    /// Take in a revocation list of a maker's root or line.
    Revoke {
        /// The maker's code.
        code: String,
        /// The list (X.509 CRL), PEM or DER.
        #[arg(long, value_name = "FILE")]
        list: PathBuf,
        /// The certificate of the line that has signed it, PEM or DER; the maker's root when absent.
        #[arg(long, value_name = "FILE")]
        authority: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ChipModel {
    /// The maker's code.
    code: String,
    /// The model's name, as it stands in the chips' certificates.
    name: String,
    /// `international` or `chinese`.
    #[arg(long, default_value = "international")]
    suite: String,
    /// Flash for keys and tokens, KiB.
    #[arg(long, default_value_t = 16, value_name = "KIB")]
    flash: u16,
    /// An applet version that may be bound, such as 0.1.0; several times for several.
    #[arg(long = "applet", value_name = "VERSION")]
    applets: Vec<String>,
    /// The model is taken no more.
    #[arg(long)]
    withdrawn: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeviceModel {
    /// The maker's code.
    code: String,
    /// The model's name.
    name: String,
    /// `watch`, `band`, `card` or `iot_terminal`.
    #[arg(long, default_value = "watch")]
    kind: String,
    /// `none`, `round` or `rectangular`.
    #[arg(long, default_value = "round")]
    screen: String,
    /// How it reaches the cloud: `phone`, `network` or `reader`.
    #[arg(long, default_value = "phone")]
    link: String,
    /// A passcode can be entered on it.
    #[arg(long)]
    passcode: bool,
    /// It notices that it was taken off.
    #[arg(long)]
    wear_detection: bool,
    /// The model is taken no more.
    #[arg(long)]
    withdrawn: bool,
}

pub(crate) fn run(place: &Place, command: MakerCommand, output: Output) -> Result<(), Fault> {
    let operator = place.operator()?;
    match command {
        MakerCommand::New { code, name, root, devices } => {
            let kind = if devices { "devices" } else { "chips" };
            let body = json!({ "code": code, "name": name, "kind": kind, "root": pem(&root)? });
            let answer = operator.post("/v1/makers", &body)?;
            output.answer(&format!("Took on {}", maker_line(&answer)?), &answer);
        }
        MakerCommand::List => {
            let answer = operator.get("/v1/makers")?;
            let lines = answer.as_array().into_iter().flatten().map(maker_line).collect::<Result<Vec<_>, _>>()?;
            let lines = if lines.is_empty() { "There are no makers.".to_owned() } else { lines.join("\n") };
            output.answer(&lines, &answer);
        }
        MakerCommand::Show { code } => {
            let answer = operator.get(&format!("/v1/makers/{code}"))?;
            output.answer(&page(&answer)?, &answer);
        }
        MakerCommand::Withdraw { code } => {
            let answer = operator.post(&format!("/v1/makers/{code}/withdraw"), &nothing())?;
            output.answer(&maker_line(&answer)?, &answer);
        }
        MakerCommand::Readmit { code } => {
            let answer = operator.post(&format!("/v1/makers/{code}/readmit"), &nothing())?;
            output.answer(&maker_line(&answer)?, &answer);
        }
        MakerCommand::ChipModel(ChipModel { code, name, suite, flash, applets, withdrawn }) => {
            let body = json!({
                "name": name, "suite": suite, "flash_kib": flash, "applets": applets, "withdrawn": withdrawn,
            });
            let answer = operator.post(&format!("/v1/makers/{code}/chip-models"), &body)?;
            output.answer(&chip_model_line(&answer)?, &answer);
        }
        MakerCommand::DeviceModel(model) => {
            let body = json!({
                "name": model.name, "kind": model.kind, "screen": model.screen, "link": model.link,
                "passcode": model.passcode, "wear_detection": model.wear_detection, "withdrawn": model.withdrawn,
            });
            let answer = operator.post(&format!("/v1/makers/{}/device-models", model.code), &body)?;
            output.answer(&device_model_line(&answer)?, &answer);
        }
        MakerCommand::Revoke { code, list, authority } => {
            let read = std::fs::read(&list).map_err(|error| Fault::file(&list, error))?;
            let der = RevocationList::der_of_file(&read).map_err(|fault| certificate_fault(&list, fault))?;
            let authority = authority.as_deref().map(pem).transpose()?;
            let body = json!({ "list": hex::encode(der), "authority": authority });
            let answer = operator.post(&format!("/v1/makers/{code}/revocations"), &body)?;
            let line = format!(
                "List {} is in force: it ends {} certificates",
                number(&answer, "number")?,
                number(&answer, "revoked")?
            );
            output.answer(&line, &answer);
        }
    }
    Ok(())
}

/// The certificate in a file, as PEM.
pub(crate) fn pem(file: &Path) -> Result<String, Fault> {
    let read = std::fs::read(file).map_err(|error| Fault::file(file, error))?;
    let certificate = Certificate::from_file(&read).map_err(|fault| certificate_fault(file, fault))?;
    certificate.pem().map_err(|fault| certificate_fault(file, fault))
}

/// What is wrong with the certificate or list in a file.
pub(crate) fn certificate_fault(file: &Path, fault: pki::Fault) -> Fault {
    Fault::new(fault.code(), format!("{}: {fault}", file.display()))
}

fn maker_line(maker: &Value) -> Result<String, Fault> {
    Ok(format!(
        "{:<16} {}: {}, {}, root {} {}",
        text(maker, "code")?,
        text(maker, "name")?,
        text(maker, "kind")?,
        text(maker, "standing")?,
        text(maker, "scheme")?,
        text(maker, "root_sha256")?.get(..16).unwrap_or_default(),
    ))
}

fn chip_model_line(model: &Value) -> Result<String, Fault> {
    let applets: Vec<&str> =
        model.get("applets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    Ok(format!(
        "chip   {:<16} {}, {}, {} KiB, applets {}",
        text(model, "name")?,
        text(model, "standing")?,
        text(model, "suite")?,
        number(model, "flash_kib")?,
        if applets.is_empty() { "none".to_owned() } else { applets.join(", ") },
    ))
}

fn device_model_line(model: &Value) -> Result<String, Fault> {
    let has = |name: &str| model.get(name).and_then(Value::as_bool).unwrap_or(false);
    Ok(format!(
        "device {:<16} {}, {}, screen {}, link {}{}{}",
        text(model, "name")?,
        text(model, "standing")?,
        text(model, "kind")?,
        text(model, "screen")?,
        text(model, "link")?,
        if has("passcode") { ", passcode" } else { "" },
        if has("wear_detection") { ", wear detection" } else { "" },
    ))
}

fn page(answer: &Value) -> Result<String, Fault> {
    let mut lines = maker_line(answer.get("maker").unwrap_or(&Value::Null))?;
    let models = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for model in models("chip_models") {
        let _ = write!(lines, "\n  {}", chip_model_line(&model)?);
    }
    for model in models("device_models") {
        let _ = write!(lines, "\n  {}", device_model_line(&model)?);
    }
    Ok(lines)
}
