//! What stands between the client for PostgreSQL and `rustls`.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use der::Decode;
use der::asn1::ObjectIdentifier;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;

use super::{Tls, TlsFault};

/// How long a handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = TlsFault;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, TlsFault> {
        let host = ServerName::try_from(host.to_owned()).map_err(|error| TlsFault(error.to_string()))?;
        Ok(Handshake { connector: TlsConnector::from(Arc::new(self.config()?)), host })
    }
}

/// A handshake that is about to begin.
pub(in super::super) struct Handshake {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let handshake = self.connector.connect(self.host, socket);
            match tokio::time::timeout(HANDSHAKE_WAIT, handshake).await {
                Ok(stream) => stream.map(Encrypted),
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake was not answered")),
            }
        })
    }
}

/// A connection, encrypted.
pub(in super::super) struct Encrypted(TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        let end_point = certificates.and_then(|chain| end_point(chain.first()?));
        end_point.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// What binds a login to the server's certificate: its hash, by the hash function of its own signature and at least SHA-256
/// (RFC 5929, section 4.1). None where the signature has no such function, as Ed25519 has none.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    const fn oid(text: &str) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(text)
    }
    /// RSA with MD5 and SHA-1, ECDSA with SHA-1: too short to bind with.
    const SHORT: [ObjectIdentifier; 3] =
        [oid("1.2.840.113549.1.1.4"), oid("1.2.840.113549.1.1.5"), oid("1.2.840.10045.4.1")];
    const SHA256: [ObjectIdentifier; 2] = [oid("1.2.840.113549.1.1.11"), oid("1.2.840.10045.4.3.2")];
    const SHA384: [ObjectIdentifier; 2] = [oid("1.2.840.113549.1.1.12"), oid("1.2.840.10045.4.3.3")];
    const SHA512: [ObjectIdentifier; 2] = [oid("1.2.840.113549.1.1.13"), oid("1.2.840.10045.4.3.4")];

    let signature = Certificate::from_der(certificate).ok()?.signature_algorithm().oid;
    if SHORT.contains(&signature) || SHA256.contains(&signature) {
        Some(Sha256::digest(certificate).to_vec())
    } else if SHA384.contains(&signature) {
        Some(Sha384::digest(certificate).to_vec())
    } else if SHA512.contains(&signature) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
