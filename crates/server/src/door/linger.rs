//! The end of a connection whose peer still sends. Who is told that a body is too large is mostly busy sending it: a socket that is
//! closed with bytes unread is reset, and the answer is lost on its way. So the server ends its own direction first, and reads on
//! for a while, without keeping anything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use super::peers::Entrance;

/// How long the server reads on.
const LINGER: Duration = Duration::from_secs(3);
/// How many bytes at most: a thousand times the largest body of most paths.
const LINGER_BYTES: usize = 16 << 20;
/// Bytes read at a time.
const PART_BYTES: usize = 16 << 10;

/// A connection that ends in this way.
pub(super) struct Lingering<S: AsyncRead + Unpin + Send + 'static> {
    /// There until it is dropped.
    stream: Option<S>,
    /// Counted among the connections until the last byte.
    entrance: Arc<Entrance>,
    /// The peer sends no more, or the connection is broken.
    has_heard_all: bool,
    /// Our own direction was ended in order: an answer may be on its way.
    is_shut: bool,
}

impl<S: AsyncRead + Unpin + Send + 'static> Lingering<S> {
    pub(super) fn new(stream: S, entrance: Arc<Entrance>) -> Self {
        Self { stream: Some(stream), entrance, has_heard_all: false, is_shut: false }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(self.stream()?.poll_read(context, buffer));
        self.has_heard_all |= read.is_err() || (buffer.filled().len() == before && buffer.remaining() > 0);
        Poll::Ready(read)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream()?.poll_shutdown(context))?;
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

impl<S: AsyncRead + Unpin + Send + 'static> Drop for Lingering<S> {
    fn drop(&mut self) {
        if self.has_heard_all || !self.is_shut {
            return;
        }
        if let (Some(stream), Ok(runtime)) = (self.stream.take(), Handle::try_current()) {
            let entrance = Arc::clone(&self.entrance);
            runtime.spawn(async move {
                // It is over either way.
                let _ = tokio::time::timeout(LINGER, read_on(stream)).await;
                drop(entrance);
            });
        }
    }
}

async fn read_on(mut stream: impl AsyncRead + Unpin) {
    let (mut part, mut left) = (vec![0; PART_BYTES], LINGER_BYTES);
    while left > 0 {
        match stream.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(length) => left = left.saturating_sub(length),
        }
    }
}
