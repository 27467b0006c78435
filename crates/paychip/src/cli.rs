//! Every command and option: here what starts and keeps a cloud; `cli/operator.rs` and `cli/counter.rs` have the rest.

mod counter;
mod operator;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::chip::{ChipCommand, WhichChip};
use crate::factory::FactoryCommand;
use crate::fault::Fault;
use crate::makers::MakerCommand;
use crate::vendor::VendorCommand;
pub(crate) use counter::{ChipKind, PosCommand, ScreenView, WatchCommand};
pub(crate) use operator::{AccountCommand, MerchantCommand, OneMerchant, OneToken, RiskCommand, TokenCommand};

/// The open payment chip: the cloud, a virtual watch, a till, and a demonstration of all three.
#[derive(Debug, Parser)]
#[command(
    name = "paychip",
    version,
    arg_required_else_help = true,
    after_help = "\
Begin with `paychip demo`. To play it yourself:
  paychip serve                                  (in a second terminal)
  paychip account new 'Li Wei' && paychip account top-up 100
  paychip merchant new 'Tea House'
  paychip watch new && paychip watch bind && paychip watch code --png code.png
  paychip pos charge 12.50 --image code.png"
)]
pub(crate) struct Cli {
    /// Where the cloud, the virtual watches and the keys of this play are kept.
    #[arg(long, global = true, env = "PAYCHIP_DATA", default_value = "paychip-data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The cloud's URL; found in the data folder when absent.
    #[arg(long, global = true, env = "PAYCHIP_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Certificates to trust a cloud that speaks https by, PEM.
    #[arg(long, global = true, env = "PAYCHIP_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Print JSON for scripts.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) vault: VaultArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the key vault is opened from: the passphrase of a sealed one, or the token and its PIN.
#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    /// The file of the key vault's passphrase, readable by its owner alone; the systemd credential `paychip-vault` when absent.
    #[arg(long, global = true, env = "PAYCHIP_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// An open descriptor to read the passphrase from, once.
    #[arg(long, global = true, env = "PAYCHIP_PASSPHRASE_FD", value_name = "N", conflicts_with = "passphrase_file")]
    passphrase_fd: Option<u16>,
    /// The PKCS#11 token that has the master keys: pkcs11:token=NAME?module-path=LIBRARY
    #[arg(long, global = true, env = "PAYCHIP_VAULT", value_name = "URI")]
    vault: Option<String>,
    /// The file of the token's PIN, readable by its owner alone; when absent, the URI's pin-source, the systemd
    /// credential `paychip-pin`, or PAYCHIP_PIN.
    #[arg(long, global = true, env = "PAYCHIP_PIN_FILE", value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

/// The names of the systemd credentials with the passphrase, and with the token's PIN.
const CREDENTIAL: &str = "paychip-vault";
const PIN_CREDENTIAL: &str = "paychip-pin";
/// The PIN itself, in the environment: never an option, which everybody on the machine could read.
const PIN_VARIABLE: &str = "PAYCHIP_PIN";

fn credential(name: &str) -> Option<server::Passphrase> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    folder.map(|folder| folder.join(name)).filter(|path| path.exists()).map(server::Passphrase::File)
}

impl VaultArgs {
    /// How a server opens the keys of a data folder.
    pub(crate) fn keys(&self, production: bool) -> Result<server::Keys, Fault> {
        Ok(server::Keys { production, passphrase: self.passphrase()?, token: self.token()? })
    }

    /// The token, where one was named.
    pub(crate) fn token(&self) -> Result<Option<server::TokenAccess>, Fault> {
        let told = |fault: server::TokenFault| Fault::new(fault.code(), fault.to_string());
        let Some(uri) = &self.vault else { return Ok(None) };
        let uri = server::TokenUri::parse(uri).map_err(|fault| told(fault).at("vault"))?;
        let file = self.pin_file.as_deref().or(uri.pin_source()).map(|path| server::Passphrase::File(path.to_owned()));
        let pin = match file.or_else(|| credential(PIN_CREDENTIAL)) {
            Some(pin) => pin,
            None => {
                let text = std::env::var(PIN_VARIABLE).map_err(|_| told(server::TokenFault::PinNeeded))?;
                let text = zeroize::Zeroizing::new(text);
                server::Passphrase::typed(&text).map_err(|_| told(server::TokenFault::PinMalformed))?
            }
        };
        Ok(Some(server::TokenAccess::new(uri, pin)))
    }

    /// The passphrase, where one was given.
    pub(crate) fn passphrase(&self) -> Result<Option<server::Passphrase>, Fault> {
        if let Some(path) = &self.passphrase_file {
            return Ok(Some(server::Passphrase::File(path.clone())));
        }
        if let Some(descriptor) = self.passphrase_fd {
            let path = PathBuf::from(format!("/dev/fd/{descriptor}"));
            return server::Passphrase::read_once(&path).map(Some).map_err(|fault| crate::vault::told(&fault));
        }
        Ok(credential(CREDENTIAL))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a master key for a new data folder: in a sealed vault, or in the token that is named with --vault.
    Init,
    /// Seal the development key of a data folder, and remove it.
    Seal,
    /// Put the master keys of a sealed vault, or a development key, into the token that is named with --vault.
    Import,
    /// Show the versions of the master key; no key is shown.
    Show,
    /// Make a new version of the master key, and keys from it from now on. A server that runs follows within seconds.
    Rotate {
        /// Only make it; with several servers, copy the file to all of them and then activate it on each.
        #[arg(long)]
        prepare: bool,
    },
    /// Make keys from the version that was prepared, from now on.
    Activate,
    /// Refuse codes of an old version from now on.
    Retire {
        /// Which.
        version: u8,
    },
    /// Seal the vault under another passphrase.
    ChangePassphrase {
        /// The file of the new one.
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the cloud.
    Serve(Serve),
    /// Show everything once: bind a watch, pay offline by picture, and every refusal.
    Demo(Demo),
    /// Wearers' accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Shops.
    #[command(subcommand)]
    Merchant(MerchantCommand),
    /// A virtual watch whose chip runs the real chip code.
    Watch {
        /// Which watch, by name.
        #[arg(long, global = true, default_value = "watch", value_name = "NAME")]
        watch: String,
        #[command(subcommand)]
        command: WatchCommand,
    },
    /// A chip by itself: in a watch, in a file, or in a PC/SC reader.
    Chip {
        #[command(flatten)]
        which: WhichChip,
        #[command(subcommand)]
        command: ChipCommand,
    },
    /// A till.
    Pos {
        /// Which shop, by name; the newest when absent.
        #[arg(long, global = true, value_name = "NAME")]
        merchant: Option<String>,
        #[command(subcommand)]
        command: PosCommand,
    },
    /// Makers of chips and devices: their roots, models and revocation lists.
    #[command(subcommand)]
    Maker(MakerCommand),
    /// What is handed to and from makers of chips: keys of a batch, shipments.
    #[command(subcommand)]
    Vendor(VendorCommand),
    /// A maker's personalisation line, played: a certificate authority, virtual chips, signed manifests.
    #[command(subcommand)]
    Factory(FactoryCommand),
    /// What wearables pay with: freeze a lost one here.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The operator's risk rules: limits, and what goes to the phone.
    #[command(subcommand)]
    Risk(RiskCommand),
    /// Follow the whole journal of the cloud and add everything up again.
    Audit {
        #[command(subcommand)]
        command: Option<AuditCommand>,
    },
    /// The key vault: sealed in the data folder, or in a PKCS#11 token.
    #[command(subcommand)]
    Vault(VaultCommand),
    /// The database: made, copied, put back.
    #[command(subcommand)]
    Db(DbCommand),
    /// Measure payments over HTTP on this machine, beside what the same server answers without doing anything.
    Bench(Bench),
    /// Print the OpenAPI document.
    Openapi,
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where the data is kept.
#[derive(Args)]
pub(crate) struct DatabaseUrl {
    /// A PostgreSQL database, such as postgres://paychip@localhost/paychip; a file in the data folder when absent.
    #[arg(long, env = "PAYCHIP_DATABASE", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
}

impl DatabaseUrl {
    /// The URL as it was given.
    pub(crate) fn text(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The database named, or the default.
    pub(crate) fn database(&self) -> Result<server::Database, Fault> {
        let Some(url) = &self.database else { return Ok(server::Database::Sqlite) };
        let url = url
            .parse()
            .map_err(|error: store::StoreError| Fault::new("database_url", error.to_string()).at("database"))?;
        Ok(server::Database::Postgres(url))
    }
}

impl core::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // It may hold a password.
        f.write_str(if self.database.is_some() { "a database URL" } else { "the data folder" })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) database: DatabaseUrl,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8400", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Other people's money is at stake: refuse a key that lies in the open, and chips that came in no maker's shipment.
    #[arg(long, env = "PAYCHIP_PRODUCTION")]
    pub(crate) production: bool,
    /// Take chips that came in no maker's shipment all the same, in a pilot.
    #[arg(long, env = "PAYCHIP_UNCERTIFIED_CHIPS")]
    pub(crate) uncertified_chips: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    /// The most connections at the same time; one too many is closed at once.
    #[arg(long, default_value_t = server::Connections::default().all, value_name = "N")]
    pub(crate) max_connections: usize,
    /// The most of one address. A proxy in front is one address.
    #[arg(long, default_value_t = server::Connections::default().of_a_peer, value_name = "N")]
    pub(crate) max_connections_per_peer: usize,
    /// Serve plain HTTP beyond loopback, because something in front ends TLS.
    #[arg(long)]
    pub(crate) plain_http: bool,
}

/// TLS that ends in the server.
#[derive(Debug, Args)]
pub(crate) struct TlsArgs {
    /// The server's certificate and those that signed it, PEM; read again when it changes.
    #[arg(long, env = "PAYCHIP_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM, readable by its owner alone.
    #[arg(long, env = "PAYCHIP_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl TlsArgs {
    pub(crate) fn files(&self) -> Option<server::TlsFiles> {
        let (certificates, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(server::TlsFiles { certificates, key })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) database: DatabaseUrl,
    /// Tokens in the database; made first where there are fewer.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) tokens: u64,
    /// Connections that pay at the same time.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) clients: usize,
    /// Seconds measured, after one that is not.
    #[arg(long, default_value_t = 5, value_name = "S")]
    pub(crate) seconds: u64,
    /// Make the tokens and end: a database that has just been filled has work of its own to do, which is let come to its
    /// end before anything is measured.
    #[arg(long)]
    pub(crate) only_fill: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Where to leave the pictures.
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Audit the database itself, without asking a cloud. None may be running on the file of a data folder; a PostgreSQL
    /// database is read as it is at one moment, whoever writes it.
    Verify {
        #[command(flatten)]
        database: DatabaseUrl,
    },
    /// Show what has been done to a thing, newest first: a token, a chip, `maker:CODE`, `model:CODE/NAME`.
    Trail {
        /// The thing.
        subject: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Make the tables in a PostgreSQL database that has none yet; `serve` does it as well.
    Init {
        #[command(flatten)]
        database: DatabaseUrl,
        /// Spread the tables over the machines of a Citus cluster; this is the URL at its coordinator, where it is not
        /// said with --database. The database must be empty, with the extension and the workers in it.
        #[arg(long, num_args = 0..=1, value_name = "URL")]
        citus: Option<Option<String>>,
        /// How many parts the accounts fall into, for ever; one machine holds one or more of them.
        #[arg(long, default_value_t = store::homes::DEFAULT_HOMES, requires = "citus", value_name = "COUNT")]
        homes: u16,
    },
    /// Copy the database as it is at one moment, while the cloud runs; the copy is audited. PostgreSQL's `pg_dump` copies
    /// a PostgreSQL database; `pg_restore` reads what it writes.
    Backup {
        #[command(flatten)]
        database: DatabaseUrl,
        /// The file to write; it must not be there yet.
        file: PathBuf,
    },
    /// Put a copy in the place of a database that is gone; it is audited, and taken away again if it is not sound.
    Restore {
        #[command(flatten)]
        database: DatabaseUrl,
        /// Let go of what is in a PostgreSQL database, once the copy in its place has proved sound.
        #[arg(long)]
        replace: bool,
        /// The copy.
        file: PathBuf,
    },
}

/// The completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "paychip", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
