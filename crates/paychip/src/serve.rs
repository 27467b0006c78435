//! `paychip serve`: the cloud, alone on one machine or as one of several servers on a database.

use server::{Config, Database, KeysAt, Server};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Serve, VaultArgs};
use crate::fault::Fault;
use crate::output::Output;
use crate::profile::Place;

pub(crate) fn run(place: &Place, serve: &Serve, vault: &VaultArgs, output: Output) -> Result<(), Fault> {
    log_to_stderr();
    crate::vault::forbid_memory_dumps()?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Fault::internal(error.to_string()))?;
    let database = serve.database.database()?;
    let keys = vault.keys(serve.production)?;
    runtime.block_on(async {
        let kept = match &database {
            Database::Sqlite => place.data.display().to_string(),
            Database::Postgres(url) => url.to_string(),
        };
        let config = Config {
            data_dir: place.data.clone(),
            database,
            listen: serve.listen,
            plain_http: serve.plain_http,
            settings: server::Settings {
                uncertified_chips: serve.uncertified_chips || !serve.production,
                ..platform_settings()
            },
            keys,
            tls: serve.tls.files(),
            connections: server::Connections {
                all: serve.max_connections,
                of_a_peer: serve.max_connections_per_peer,
            },
        };
        let server = Server::bind(config).await.map_err(|error| start_fault(&error))?;
        let scheme = if server.is_tls() { "https" } else { "http" };
        let url = format!("{scheme}://{}", server.address());
        place.write_url(&url)?;
        let key_file = place.data.join(server::OPERATOR_KEY_FILE);
        let lines = format!(
            "paychip serves on {url}\n  data            {}\n  operator's key  {}\n  API             {url}/openapi.json\n  \
             keys            {}\nStop with Ctrl-C.",
            kept,
            key_file.display(),
            {
                let file = place.data.join(server.keys_at().file());
                match server.keys_at() {
                    KeysAt::Sealed => format!("sealed in {}", file.display()),
                    KeysAt::Token => format!("in a PKCS#11 token; which are in {}", file.display()),
                    KeysAt::Open => format!("in {} — for development; whoever reads it has every key", file.display()),
                }
            },
        );
        output.answer(&lines, &serde_json::json!({"url": url, "data": place.data, "operator_key_file": key_file}));
        server.run(stop_asked()).await.map_err(|error| Fault::internal(error.to_string()))
    })
}

/// The operator's choices of this program: the platform's defaults.
pub(crate) fn platform_settings() -> server::Settings {
    server::Settings::default()
}

pub(crate) fn start_fault(error: &server::StartError) -> Fault {
    let code = match error {
        server::StartError::Keys(fault) => fault.code(),
        server::StartError::Data { .. } => "data_folder",
        server::StartError::Vault => "keys_unavailable",
        server::StartError::Store(_) => "store",
        server::StartError::Listen { .. } => "listen",
        server::StartError::PlainHttp(_) => "plain_http",
        server::StartError::Tls(fault) => fault.code(),
    };
    Fault::new(code, error.to_string())
}

/// Completes when the process is asked to stop.
pub(crate) async fn stop_asked() {
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        // Without the one signal, the other must do.
        Err(_) => drop(interrupt.await),
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PAYCHIP_LOG").unwrap_or_else(|_| "info".into());
    // A second initialisation (there is none) would only fail, never log twice.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
