//! The HTTP client: JSON in, JSON out, with one key. Every call is bounded in time and size.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::fault::Fault;

const TIMEOUT: Duration = Duration::from_secs(15);
/// Certificates read from the file of those that are trusted.
const MAX_TRUSTED: usize = 100;
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Certificates that https is trusted by, of this process: there is no list of the world's authorities in the program.
static TRUSTED: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();

/// Trusts clouds by the certificates in a file, from now on. Once a process.
///
/// # Errors
/// `ca` where the file holds none.
pub fn trust(path: &Path) -> Result<(), Fault> {
    let failed = |text: String| Fault::new("ca", format!("{}: {text}", path.display())).at("ca");
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem).take(MAX_TRUSTED) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| failed(error.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    TRUSTED.set(certificates).map_err(|_| failed("certificates were given already".to_owned()))
}

fn tls() -> TlsConfig {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(TRUSTED.get().map_or(&[], Vec::as_slice)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// The cloud, as seen by the holder of one key.
#[derive(Clone)]
pub struct Api {
    url: String,
    key: String,
    agent: Agent,
}

impl Api {
    /// A client of the cloud at `url` that authenticates with `key`.
    pub fn new(url: String, key: String) -> Self {
        let config =
            Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).tls_config(tls()).build();
        Self { url, key, agent: config.into() }
    }

    /// The cloud's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GET of a path.
    ///
    /// # Errors
    /// A [`Fault`]: the cloud's own code, or `unreachable` when no answer came.
    pub fn get(&self, path: &str) -> Result<Value, Fault> {
        let request =
            self.agent.get(format!("{}{path}", self.url)).header("Authorization", format!("Bearer {}", self.key));
        self.read(request.call())
    }

    /// POST of a JSON body to a path.
    ///
    /// # Errors
    /// A [`Fault`]: the cloud's own code, or `unreachable` when no answer came and the outcome is unknown.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        let request =
            self.agent.post(format!("{}{path}", self.url)).header("Authorization", format!("Bearer {}", self.key));
        self.read(request.send_json(body))
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, Fault> {
        let mut answer = answer.map_err(|error| {
            Fault::new("unreachable", format!("the cloud at {} did not answer: {error}", self.url))
                .hint("is `paychip serve` running? It is safe to repeat with the same numbers")
        })?;
        let status = answer.status();
        let text = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_string();
        let text = text.map_err(|error| Fault::new("unreachable", format!("the cloud's answer broke off: {error}")))?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|_| Fault::new("answer_malformed", format!("the cloud answered {status} without JSON")))?;
        if status.is_success() { Ok(value) } else { Err(refusal(&value, status.as_u16())) }
    }
}

/// The cloud's error as a fault.
fn refusal(value: &Value, status: u16) -> Fault {
    let error = value.get("error").unwrap_or(&Value::Null);
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    let fault = Fault::new(
        text("code").unwrap_or_else(|| format!("http_{status}")),
        text("message").unwrap_or_else(|| format!("the cloud answered {status}")),
    );
    match text("field") {
        Some(field) => fault.at(field),
        None => fault,
    }
}

/// A text of a JSON answer.
///
/// # Errors
/// `answer_malformed`.
pub fn text(value: &Value, name: &str) -> Result<String, Fault> {
    let missing = || Fault::new("answer_malformed", format!("the cloud's answer has no {name}"));
    value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(missing)
}

/// A number of a JSON answer.
///
/// # Errors
/// `answer_malformed`.
pub fn number(value: &Value, name: &str) -> Result<i64, Fault> {
    let missing = || Fault::new("answer_malformed", format!("the cloud's answer has no {name}"));
    value.get(name).and_then(Value::as_i64).ok_or_else(missing)
}

/// The body of a request without fields.
pub fn nothing() -> Value {
    json!({})
}
