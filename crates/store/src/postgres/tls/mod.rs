//! TLS to the database: what the server has to prove, what is shown to it, and the files both are in.
//!
//! The files are read for each connection: a certificate that was renewed is used from the next one on.

mod stream;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use der::pem::{LineEnding, encode_string};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use verify::NameUnasked;

/// Certificates of a file, or of this machine's store, that are read.
const MAX_CERTIFICATES: usize = 1_000;
/// What PostgreSQL 17 and newer call their protocol (ALPN); older servers do not ask.
const PROTOCOL: &[u8] = b"postgresql";

/// How a server is spoken to.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) proof: Proof,
    /// What this side shows of itself.
    pub(super) own: Option<ClientFiles>,
}

/// What a server has to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing: `require`.
    Nothing,
    /// That an authority of this file has signed its certificate: `verify-ca`.
    Chain(PathBuf),
    /// That it has the name in the URL as well: `verify-full`.
    Name(Roots),
}

/// The authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// Those of this machine.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// A certificate with those that signed it, and its private key; PEM.
#[derive(Debug, Clone)]
pub(super) struct ClientFiles {
    pub(super) certificates: PathBuf,
    pub(super) key: PathBuf,
}

/// Why TLS cannot be spoken: never with what a file holds.
#[derive(Debug)]
pub(super) struct TlsFault(String);

impl core::fmt::Display for TlsFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsFault {}

fn in_file(path: &Path, why: &impl core::fmt::Display) -> TlsFault {
    TlsFault(format!("{}: {why}", path.display()))
}

impl Tls {
    /// What `rustls` needs for a connection, from the files as they are now.
    pub(super) fn config(&self) -> Result<ClientConfig, TlsFault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsFault(error.to_string()))?;
        let unasked = |roots| Arc::new(NameUnasked { roots, algorithms });
        let builder = match &self.proof {
            Proof::Nothing => builder.dangerous().with_custom_certificate_verifier(unasked(None)),
            Proof::Chain(file) => {
                builder.dangerous().with_custom_certificate_verifier(unasked(Some(store_of(certificates_in(file)?)?)))
            }
            Proof::Name(roots) => builder.with_root_certificates(store_of(roots.certificates()?)?),
        };
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let key = private_key(&files.key)?;
                let chain = certificates_in(&files.certificates)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| in_file(&files.certificates, &error))?
            }
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }
}

impl Roots {
    /// The authorities as PEM.
    pub(super) fn to_pem(&self) -> Result<String, TlsFault> {
        let fault = |error: der::pem::Error| TlsFault(error.to_string());
        let pem = |certificate| encode_string("CERTIFICATE", LineEnding::LF, certificate).map_err(fault);
        self.certificates()?.iter().map(|certificate| pem(certificate.as_ref())).collect()
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
        match self {
            Self::File(file) => certificates_in(file),
            Self::System => {
                let found = rustls_native_certs::load_native_certs();
                if found.certs.is_empty() {
                    let why = "this machine has no store of authorities; name one with sslrootcert=FILE";
                    return Err(TlsFault(why.to_owned()));
                }
                Ok(found.certs.into_iter().take(MAX_CERTIFICATES).collect())
            }
        }
    }
}

/// One that cannot be read is no authority: a store of a machine may hold some that are too old to be understood.
fn store_of(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, TlsFault> {
    let mut store = RootCertStore::empty();
    match store.add_parsable_certificates(certificates) {
        (0, _) => Err(TlsFault("there is no authority's certificate that can be used".to_owned())),
        _ => Ok(store),
    }
}

fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let read = CertificateDer::pem_file_iter(file).map_err(|error| in_file(file, &error))?;
    let certificates: Result<Vec<_>, _> = read.take(MAX_CERTIFICATES).collect();
    let certificates = certificates.map_err(|error| in_file(file, &error))?;
    if certificates.is_empty() { Err(in_file(file, &"holds no certificate in PEM")) } else { Ok(certificates) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    #[cfg(unix)]
    {
        let metadata = std::fs::metadata(file).map_err(|error| in_file(file, &error))?;
        if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
            return Err(in_file(file, &"can be read by others on this machine; say `chmod 600` to it"));
        }
    }
    PrivateKeyDer::from_pem_file(file).map_err(|_| in_file(file, &"holds no private key in PEM"))
}
