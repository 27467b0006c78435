//! A PostgreSQL server for tests that listens on loopback and takes connections from there over TLS alone. The tests of
//! other crates include this file as well.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::postgres::Postgres;

/// What logs in, and its password.
pub const USER: &str = "wearer";
pub const PASSWORD: &str = "ge/heim";
/// Who logs in with a certificate and no password.
pub const HOLDER: &str = "holder";

/// Who may come how: nobody over the network without TLS.
const RULES: &str = "local all all trust
hostssl all holder 127.0.0.1/32 cert
hostssl all trusted 127.0.0.1/32 trust
hostssl all all 127.0.0.1/32 scram-sha-256
";

pub fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).stderr(Stdio::null()).status();
    assert!(done.expect("this test needs openssl").success(), "openssl {arguments}");
}

/// A running server and the files about it.
pub struct TlsPostgres {
    pub server: Postgres,
    pub port: u16,
    files: tempfile::TempDir,
}

impl TlsPostgres {
    /// A server whose certificate says `localhost`, which `ca.pem` has signed and `other.pem` has not; `None`, said by name,
    /// where there is no PostgreSQL.
    pub fn start() -> Option<Self> {
        let server = Postgres::start()?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let tls = Self { server, port, files: tempfile::tempdir().unwrap() };
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
        for name in ["ca", "other"] {
            openssl(tls.files.path(), &format!("{new} -keyout {name}.key -out {name}.pem -subj /CN={name}"));
        }
        tls.sign(HOLDER, "DNS:holder.example", "sha256");
        tls.certify("sha256");
        for role in [USER, HOLDER, "trusted"] {
            tls.server.sql("postgres", &format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"));
        }
        let data = tls.server.data();
        let settings = data.join("postgresql.conf");
        let known = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{known}listen_addresses = '127.0.0.1'\nport = {port}\n")).unwrap();
        fs::write(data.join("pg_hba.conf"), RULES).unwrap();
        let (settings, port) = ("ssl = on\nssl_ca_file = 'ca.pem'\n", tls.port.to_string());
        let auto = data.join("postgresql.auto.conf");
        fs::write(&auto, fs::read_to_string(&auto).unwrap_or_default() + settings).unwrap();
        tls.server.moves_to(&port);
        Some(tls)
    }

    /// A certificate of this name that `ca.pem` has signed with this hash function.
    fn sign(&self, name: &str, alternative: &str, hash: &str) {
        let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
        openssl(
            self.files.path(),
            &format!(
                "{new} -{hash} -keyout {name}.key -out {name}.pem -subj /CN={name} -CA ca.pem -CAkey ca.key \
                 -addext subjectAltName={alternative} -addext basicConstraints=critical,CA:FALSE"
            ),
        );
        fs::set_permissions(self.file(&format!("{name}.key")), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Gives the server a new certificate, signed with this hash function.
    pub fn certify(&self, hash: &str) {
        self.sign("server", "DNS:localhost", hash);
        let data = self.server.data();
        let owner = fs::metadata(&data).unwrap();
        for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key"), ("ca.pem", "ca.pem")] {
            let to = data.join(to);
            fs::copy(self.file(from), &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            // Not root's: then it is its own already, and this changes nothing.
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
    }

    /// Makes the server read its settings and certificate again.
    pub fn reload(&self, settings: &str) {
        if !settings.is_empty() {
            self.server.sql("postgres", &format!("ALTER SYSTEM SET {settings}"));
        }
        self.server.sql("postgres", "SELECT pg_reload_conf()");
        // Told to the postmaster by a signal.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }

    /// `ca.pem`, `other.pem`, and certificate and key of the holder: `holder.pem`, `holder.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A file as an option of a URL says it.
    pub fn option(&self, option: &str, name: &str) -> String {
        format!("{option}={}", self.file(name).to_str().unwrap().replace('/', "%2F"))
    }

    /// The URL of a database under a name of the server.
    pub fn url(&self, host: &str, database: &str, options: &str) -> String {
        let password = PASSWORD.replace('/', "%2F");
        format!("postgres://{USER}:{password}@{host}:{}/{database}?{options}", self.port)
    }

    /// An empty database; its name.
    pub fn new_database(&self) -> String {
        let url = self.server.new_database();
        url.rsplit('/').next().unwrap().to_owned()
    }
}
