//! TLS 1.2 and 1.3 by rustls; certificate and key are followed in their files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// How often it looks whether a file is another one.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Certificates of a chain that are read.
const MAX_CHAIN: usize = 10;

/// Where certificate and key are, PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, then those that signed it.
    pub certificates: PathBuf,
    /// Its private key; only its owner may read it.
    pub key: PathBuf,
}

/// Why TLS cannot be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// Others on the machine may read the private key.
    KeyOpen(PathBuf),
    /// A file cannot be read, or holds something else.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not fit.
    Pair(String),
}

impl TlsFault {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyOpen(_) => "tls_key_open",
            Self::File { .. } => "tls_file",
            Self::Pair(_) => "tls_pair",
        }
    }
}

impl core::fmt::Display for TlsFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::KeyOpen(path) => {
                write!(f, "{} can be read by others on this machine; say `chmod 600` to it", path.display())
            }
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Pair(reason) => write!(f, "the TLS certificate and its key cannot be used: {reason}"),
        }
    }
}

/// What the server shows of itself, as the files have it.
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(crate) fn open(files: TlsFiles) -> Result<Self, TlsFault> {
        let config = RwLock::new(read(&files)?);
        Ok(Self { files, config })
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Follows the files for as long as it is polled. A pair that can't be used changes nothing: halfway through a renewal
    /// the files do not fit.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = None;
        loop {
            ticks.tick().await;
            let now = (changed(&self.files.certificates), changed(&self.files.key));
            if seen == Some(now) {
                continue;
            }
            match read(&self.files) {
                Ok(config) => *self.config.write().unwrap_or_else(PoisonError::into_inner) = config,
                Err(error) => {
                    tracing::error!(%error, "the changed TLS files are not used; the server goes on with those it has")
                }
            }
            seen = Some(now);
        }
    }
}

/// What changes when a file is replaced.
fn changed(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsFault> {
    let failed = |path: &Path, reason: String| TlsFault::File { path: path.to_owned(), reason };
    #[cfg(unix)]
    {
        let metadata = std::fs::metadata(&files.key).map_err(|error| failed(&files.key, error.to_string()))?;
        if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
            return Err(TlsFault::KeyOpen(files.key.clone()));
        }
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&files.certificates)
        .map_err(|error| failed(&files.certificates, error.to_string()))?
        .take(MAX_CHAIN)
        .collect();
    let chain = chain.map_err(|error| failed(&files.certificates, error.to_string()))?;
    // Said without what the file holds.
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|_| failed(&files.key, "holds no private key in PEM".to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsFault::Pair(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsFault::Pair(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
