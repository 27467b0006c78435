//! The door: who is let in, for how long, and how large what they bring may be. TLS ends here (docs/decisions/0017).
//!
//! Each connection is a task of its own with an end that is certain: its handshake, its headers, its bodies and its whole
//! life have their times, and there are only so many of them, of all peers and of one.

mod linger;
mod peers;
mod slow;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::Service as _;

use linger::Lingering;
use peers::{Entrance, Peers};
pub(crate) use slow::{is_too_slow, with_body_wait};
pub(crate) use tls::Tls;
pub use tls::{TlsFault, TlsFiles};

/// Bytes of a request's line and headers.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// How long a request's line and headers may take; also how long a connection may wait for its next request.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// How long a connection is kept; what it has begun then is answered.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// How long what was begun may take once a connection or the server is to end: longer than any request waits.
const ENDING_WAIT: Duration = Duration::from_secs(35);
/// The pause after a connection could not be taken: there are no descriptors left, and asking on does not make them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections there may be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Of all peers.
    pub all: usize,
    /// Of one address; for IPv6, of one network of 64 bits.
    pub of_a_peer: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self { all: 4_096, of_a_peer: 512 }
    }
}

/// Serves until `stop` completes; then takes nobody in any more, and answers what was begun.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    connections: Connections,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
    let peers = Peers::new(connections);
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            // Finished tasks are let go of as they finish.
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // One too many is closed at once: a queue of them would be one more thing to fill.
        if let Some(entrance) = peers.enter(peer.ip()) {
            let (ended, until) = (ended.clone(), Instant::now() + CONNECTION_LIFE);
            let visit = Visit { router: router.clone(), stay: Stay { ended, until, entrance: Arc::new(entrance) } };
            tasks.spawn(visit.begin(stream, peer, tls.clone()));
        }
    }
    drop(listener);
    // Those who listen are the tasks; where there are none, nobody needs to hear it.
    let _ = end.send(true);
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDING_WAIT, all).await.is_err() {
        tracing::warn!("connections that did not end were cut");
    }
}

/// One connection.
struct Visit {
    router: Router,
    stay: Stay,
}

/// What a connection that goes on as something else than HTTP keeps: its place among the connections, and its end.
#[derive(Clone)]
pub(crate) struct Stay {
    ended: watch::Receiver<bool>,
    until: Instant,
    // Counted until the last that holds it is gone.
    entrance: Arc<Entrance>,
}

impl Stay {
    /// Waits until the server is to end, or the connection's life is over.
    pub(crate) async fn is_over(&mut self) {
        tokio::select! {
            _ = self.ended.wait_for(|ended| *ended) => {}
            () = tokio::time::sleep_until(self.until) => {}
        }
    }
}

impl Visit {
    async fn begin(self, stream: TcpStream, peer: SocketAddr, tls: Option<Arc<Tls>>) {
        // Answers are small: each goes out at once. Where that can't be set, they are late.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(stream, peer).await };
        match tokio::time::timeout(HANDSHAKE_WAIT, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr) {
        // Cloned for each request, so behind one count of this connection's own.
        let (mut router, stay) = (self.router, Arc::new(self.stay.clone()));
        let stream = Lingering::new(stream, Arc::clone(&self.stay.entrance));
        let service = TowerToHyperService::new(tower::service_fn(move |mut request: Request<Incoming>| {
            // Only what may go on as something else needs to know.
            if request.headers().contains_key(header::UPGRADE) {
                request.extensions_mut().insert(Stay::clone(&stay));
            }
            router.call(request)
        }));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let told = |ended: hyper::Result<()>| {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection broke off");
            }
        };
        tokio::select! {
            ended = &mut connection => return told(ended),
            () = self.stay.is_over() => {}
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(ENDING_WAIT, connection).await {
            told(ended);
        }
    }
}
