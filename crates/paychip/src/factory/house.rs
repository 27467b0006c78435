//! A maker's house: its certificate authority and its line, in a folder. A play of what a real maker keeps in an HSM.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use pki::issue::{Authority, NewCertificate, Role, Subject, root};
use pki::{Certificate, PublicKey, SECRET_BYTES, Scheme, SecretKey};
use platform::makers::{MakerCode, ModelName};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::makers::certificate_fault;

const YEAR_S: u64 = 365 * 86_400;
/// Tries at drawing a secret key; one draw in 2³² is out of range.
const MAX_DRAWS: usize = 8;

/// What a house is, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// The maker's code at the operator.
    pub maker: String,
    /// The maker's name, in its certificates.
    pub name: String,
    /// The chip model it makes.
    pub model: String,
    /// `p256` or `sm2`: how its certificates and chips sign.
    pub scheme: String,
}

/// A maker's authority, its line, and the key that batches are sealed to.
pub struct House {
    /// Where it is.
    pub path: PathBuf,
    /// What it makes.
    pub plan: Plan,
    /// How it signs.
    pub scheme: Scheme,
    /// The root.
    pub root: Authority,
    /// The line, which issues chips' certificates and signs manifests and revocation lists.
    pub line: Authority,
    /// The key that batches are sealed to.
    pub transport: SecretKey,
}

impl House {
    /// Founds a house in a folder that has none. `now_s` is the present time.
    ///
    /// # Errors
    /// `factory_exists`, `factory_plan`, and those of files.
    pub fn found(path: &Path, plan: Plan, now_s: u64) -> Result<Self, Fault> {
        let scheme = scheme_of(&plan)?;
        let file = path.join("plan.json");
        if file.exists() {
            return Err(Fault::new("factory_exists", format!("there is a factory in {} already", path.display())));
        }
        std::fs::create_dir_all(path.join("chips")).map_err(|error| Fault::file(path, error))?;
        let (root_key, line_key, transport) = (draw(scheme)?, draw(scheme)?, draw(Scheme::P256)?);
        let (root_name, line_name) = (format!("{} Root", plan.name), format!("{} Line 1", plan.name));
        let own = (root_key.public(), root_name.as_str());
        let root_certificate = make(Role::Root, &plan, own, &[1], (now_s, 30), |new| root(new, &root_key))?;
        let root = Authority { certificate: root_certificate, key: root_key };
        let of_line = (line_key.public(), line_name.as_str());
        let line = make(Role::Issuing, &plan, of_line, &[2], (now_s, 15), |new| root.issue(new))?;
        let line = Authority { certificate: line, key: line_key };
        for (name, key) in [("root.key", &root.key), ("line.key", &line.key), ("transport.key", &transport)] {
            write_secret(&path.join(name), &hex::encode(key.secret()))?;
        }
        for (name, certificate) in [("root.pem", &root.certificate), ("line.pem", &line.certificate)] {
            let at = path.join(name);
            let pem = certificate.pem().map_err(|fault| certificate_fault(&at, fault))?;
            std::fs::write(&at, pem).map_err(|error| Fault::file(&at, error))?;
        }
        // Last: a folder with a plan is a whole factory.
        let text = serde_json::to_string_pretty(&plan).map_err(|error| Fault::internal(error.to_string()))?;
        std::fs::write(&file, text).map_err(|error| Fault::file(&file, error))?;
        Ok(Self { path: path.to_owned(), plan, scheme, root, line, transport })
    }

    /// Opens the house in a folder.
    ///
    /// # Errors
    /// `no_factory`, and those of its files.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let file = path.join("plan.json");
        if !file.exists() {
            return Err(Fault::new("no_factory", format!("there is no factory in {}", path.display()))
                .hint("make one with `paychip factory new`"));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| Fault::file(&file, error))?;
        let plan: Plan = serde_json::from_str(&text).map_err(|error| Fault::file(&file, error))?;
        let scheme = scheme_of(&plan)?;
        let key = |name: &str, scheme| read_secret(&path.join(name), scheme);
        let certificate = |name: &str| {
            let at = path.join(name);
            let read = std::fs::read(&at).map_err(|error| Fault::file(&at, error))?;
            Certificate::from_file(&read).map_err(|fault| certificate_fault(&at, fault))
        };
        Ok(Self {
            root: Authority { certificate: certificate("root.pem")?, key: key("root.key", scheme)? },
            line: Authority { certificate: certificate("line.pem")?, key: key("line.key", scheme)? },
            transport: key("transport.key", Scheme::P256)?,
            path: path.to_owned(),
            plan,
            scheme,
        })
    }

    /// The certificate of a chip of this house.
    ///
    /// # Errors
    /// A fault for a name that no certificate can hold.
    pub fn certify(&self, chip_id: [u8; 16], key: &PublicKey, now_s: u64) -> Result<Certificate, Fault> {
        let id = hex::encode(chip_id);
        let serial = serial_of(chip_id);
        make(Role::Chip, &self.plan, (key, &id), &serial, (now_s, 10), |new| self.line.issue(new))
    }
}

/// The serial number of a chip's certificate: its id, behind a byte that keeps it positive and of one length.
pub fn serial_of(chip_id: [u8; 16]) -> Vec<u8> {
    [&[0x40][..], &chip_id].concat()
}

fn scheme_of(plan: &Plan) -> Result<Scheme, Fault> {
    let wrong = |refusal: platform::Refusal| Fault::new("factory_plan", refusal.to_string());
    MakerCode::parse(&plan.maker).map_err(wrong)?;
    ModelName::parse(&plan.model).map_err(wrong)?;
    Scheme::named(&plan.scheme).ok_or_else(|| Fault::new("factory_plan", "the scheme is p256 or sm2").at("scheme"))
}

/// Makes a certificate of this house, signed by `sign`.
fn make(
    role: Role,
    plan: &Plan,
    (key, common_name): (&PublicKey, &str),
    serial: &[u8],
    (now_s, years): (u64, u64),
    sign: impl FnOnce(&NewCertificate<'_>) -> Result<Certificate, pki::Fault>,
) -> Result<Certificate, Fault> {
    let unit = (role == Role::Chip).then_some(plan.model.as_str());
    let new = NewCertificate {
        role,
        serial,
        subject: Subject { organisation: &plan.name, unit, common_name },
        key,
        not_before_s: now_s.saturating_sub(3_600),
        not_after_s: now_s.saturating_add(years * YEAR_S),
    };
    sign(&new).map_err(|fault| Fault::new(fault.code(), fault.to_string()))
}

/// A fresh secret key.
///
/// # Errors
/// A fault of the random source.
pub fn draw(scheme: Scheme) -> Result<SecretKey, Fault> {
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    for _ in 0..MAX_DRAWS {
        getrandom::fill(secret.as_mut_slice()).map_err(|error| Fault::internal(error.to_string()))?;
        if let Ok(key) = SecretKey::new(scheme, &secret) {
            return Ok(key);
        }
    }
    Err(Fault::internal("the random source gives no key"))
}

fn read_secret(path: &Path, scheme: Scheme) -> Result<SecretKey, Fault> {
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| Fault::file(path, error))?);
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    hex::decode_to_slice(text.trim(), secret.as_mut_slice()).map_err(|_| Fault::file(path, "this is not a key"))?;
    SecretKey::new(scheme, &secret).map_err(|_| Fault::file(path, "this is not a key"))
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> Result<(), Fault> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| Fault::file(path, error))?;
    file.write_all(text.as_bytes()).map_err(|error| Fault::file(path, error))
}
