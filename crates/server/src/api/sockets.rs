//! A phone's WebSocket (RFC 6455): each binary message is one message of `spec/relay.md`. The cloud begins with what is due;
//! after its last word it closes.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use platform::{BindingId, Caller, TokenId};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::relayed::{Due, Work};
use crate::App;
use crate::auth::Holder;
use crate::body::PathPart;
use crate::door::Stay;
use crate::error::{ApiError, ErrorAnswer};

/// The name of what is spoken, as client and server agree on it (`Sec-WebSocket-Protocol`).
pub const RELAY_PROTOCOL: &str = "paychip.relay.1";
/// The longest message: that of `spec/relay.md`.
const MAX_MESSAGE_BYTES: usize = 2_048;
/// What may wait to be sent before the socket is given up.
const MAX_UNSENT_BYTES: usize = 16 * 1_024;
/// Messages of one socket, at most: more than the longest binding needs, pings included.
const MAX_MESSAGES: usize = 256;
/// How long a phone may be silent.
const SILENCE: core::time::Duration = core::time::Duration::from_secs(60);
/// How long a phone may take to answer that the socket is closed. A server that ends waits for it.
const FAREWELL: core::time::Duration = core::time::Duration::from_secs(2);
/// The code of a socket that is closed with an error of the API; its reason is the error's code.
const REFUSED: u16 = 4_000;

/// The messages of a binding over a WebSocket.
#[utoipa::path(get, path = "/v1/bindings/{binding}/socket", tag = "bindings",
    params(("binding", description = "binding id")), responses((status = 101, description = "Switches to WebSocket."),
    (status = 404, body = ErrorAnswer), (status = 426, body = ErrorAnswer)))]
pub(crate) async fn binding(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    request: Request,
) -> Result<Response, ApiError> {
    open(app, caller.0, Work::Binding(BindingId::parse(&id)?), request).await
}

/// The messages of a token's newest sync over a WebSocket.
#[utoipa::path(get, path = "/v1/tokens/{token}/sync/socket", tag = "tokens",
    params(("token", description = "token id")), responses((status = 101, description = "Switches to WebSocket."),
    (status = 404, body = ErrorAnswer), (status = 426, body = ErrorAnswer)))]
pub(crate) async fn sync(
    State(app): State<App>,
    caller: Holder,
    PathPart(id): PathPart,
    request: Request,
) -> Result<Response, ApiError> {
    open(app, caller.0, Work::Sync(TokenId::parse(&id)?), request).await
}

async fn open(app: App, caller: Caller, work: Work, mut request: Request) -> Result<Response, ApiError> {
    // Who may not carry it is told before there is a socket.
    let first = work.due(&app, caller).await?;
    let expected = || {
        let text = "This path speaks WebSocket: upgrade the connection (RFC 6455, version 13).";
        ApiError::new(StatusCode::UPGRADE_REQUIRED, "websocket_expected", text)
    };
    let key = asked_for(request.headers()).ok_or_else(expected)?;
    let stay = request.extensions_mut().remove::<Stay>().ok_or_else(expected)?;
    let speaks = has_token(request.headers(), header::SEC_WEBSOCKET_PROTOCOL, RELAY_PROTOCOL);
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(MAX_MESSAGE_BYTES))
                    .max_frame_size(Some(MAX_MESSAGE_BYTES))
                    .max_write_buffer_size(MAX_UNSENT_BYTES)
                    .write_buffer_size(0);
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                Socket { socket, app, caller, work }.carry(first, stay).await;
            }
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    });
    let mut answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(&key));
    if speaks {
        answer = answer.header(header::SEC_WEBSOCKET_PROTOCOL, RELAY_PROTOCOL);
    }
    answer.body(Body::empty()).map_err(|_| expected())
}

/// The key of a request for a WebSocket (RFC 6455 §4.2.1); nothing where it is none.
fn asked_for(headers: &HeaderMap) -> Option<Vec<u8>> {
    let is_upgrade = has_token(headers, header::CONNECTION, "upgrade")
        && has_token(headers, header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_upgrade)?;
    Some(key.as_bytes().to_vec())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// Why a socket ends.
enum End {
    /// Everything is said.
    Done,
    /// The peer has gone, or its messages can't be read.
    Gone,
    /// With this code and reason.
    Closed(CloseCode, &'static str),
}

struct Socket<S> {
    socket: WebSocketStream<S>,
    app: App,
    caller: Caller,
    work: Work,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket<S> {
    /// Carries messages until one side has nothing more to say, or its time is over.
    async fn carry(mut self, first: Due, mut stay: Stay) {
        let end = tokio::select! {
            end = self.talk(first) => end,
            () = stay.is_over() => End::Closed(CloseCode::Away, "the server ends"),
        };
        let frame = match end {
            End::Gone => return,
            End::Done => CloseFrame { code: CloseCode::Normal, reason: "".into() },
            End::Closed(code, reason) => CloseFrame { code, reason: reason.into() },
        };
        // Whoever has gone meanwhile needs no farewell, and nobody waits for the answer to it for long.
        let farewell = async {
            if self.socket.close(Some(frame)).await.is_ok() {
                let _ = self.socket.next().await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    async fn talk(&mut self, first: Due) -> End {
        let mut due = first;
        if self.socket.send(Message::binary(due.message.clone())).await.is_err() {
            return End::Gone;
        }
        for _ in 0..MAX_MESSAGES {
            if due.is_over {
                return End::Done;
            }
            let message = match tokio::time::timeout(SILENCE, self.socket.next()).await {
                Err(_) => return End::Closed(CloseCode::Policy, "silent for too long"),
                Ok(None | Some(Err(_))) => return End::Gone,
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Binary(bytes) => match self.work.relay(&self.app, self.caller, bytes.to_vec()).await {
                    Ok(next) => due = next,
                    Err(error) => return End::Closed(CloseCode::from(REFUSED), error.code()),
                },
                // Answered by the library.
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => return End::Gone,
                Message::Text(_) | Message::Frame(_) => {
                    return End::Closed(CloseCode::Unsupported, "binary messages only");
                }
            }
            if self.socket.send(Message::binary(due.message.clone())).await.is_err() {
                return End::Gone;
            }
        }
        End::Closed(CloseCode::Policy, "too many messages")
    }
}
