//! Where a PostgreSQL database is, checked before anything is sent there.

use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::StoreError;

/// How long a connection may take to open, where the URL does not say.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long a network may be silent about data sent before the connection counts as lost.
const NETWORK_SILENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle before it is asked whether it is still there.
const IDLE_BEFORE_PROBE: Duration = Duration::from_secs(5);

/// A database that may be connected to. Its password does not print.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
}

impl PostgresUrl {
    /// Connections without TLS leave this machine only where the URL says `sslmode=disable`.
    fn check(config: &Config) -> Result<(), StoreError> {
        let is_near = |host: &Host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            Host::Unix(_) => true,
        };
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refused("names no host"));
        }
        let all_near =
            config.get_hosts().iter().all(is_near) && config.get_hostaddrs().iter().all(|ip| ip.is_loopback());
        match config.get_ssl_mode() {
            SslMode::Require => Err(refused("asks for TLS, which this program does not speak to databases yet")),
            SslMode::Disable => Ok(()),
            _ if all_near => Ok(()),
            _ => Err(refused(
                "names another machine, and what goes there is not encrypted; say sslmode=disable where the network \
                 itself is protected",
            )),
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }
}

fn refused(why: &str) -> StoreError {
    // Never the URL itself: it may hold a password.
    StoreError::Engine(format!("the database URL {why}"))
}

impl FromStr for PostgresUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let mut config = Config::from_str(text).map_err(|_| refused("is not one: postgres://USER@HOST/DATABASE"))?;
        Self::check(&config)?;
        config.ssl_mode(SslMode::Disable);
        config.application_name("paychip");
        // Of several hosts the one that takes writes: after a failover that is another one.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WAIT);
        }
        config.tcp_user_timeout(NETWORK_SILENCE).keepalives_idle(IDLE_BEFORE_PROBE);
        Ok(Self { config })
    }
}

impl core::fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        write!(
            f,
            "PostgreSQL database {} on {}",
            self.config.get_dbname().unwrap_or("of the user's name"),
            hosts.join(", ")
        )
    }
}

impl core::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_goes_unencrypted_to_this_machine_alone_unless_the_url_says_so() {
        for (url, is_taken) in [
            ("postgres://me@localhost/pay", true),
            ("postgres://me@127.0.0.1:5433/pay", true),
            ("postgres://me@[::1]/pay", true),
            ("postgres://me@%2Frun%2Fpostgresql/pay", true),
            ("postgres://me@localhost,10.0.0.2/pay", false),
            ("postgres://me@db.example/pay", false),
            ("postgres://me@localhost/pay?hostaddr=10.0.0.2", false),
            ("postgres://me@db.example/pay?sslmode=prefer", false),
            ("postgres://me@db.example/pay?sslmode=disable", true),
            ("postgres://me@localhost/pay?sslmode=require", false),
            ("postgres:///pay", false),
            ("mysql://me@localhost/pay", false),
        ] {
            assert_eq!(url.parse::<PostgresUrl>().is_ok(), is_taken, "{url}");
        }
    }

    #[test]
    fn a_password_does_not_print() {
        let url: PostgresUrl = "postgres://me:geheim@localhost/pay".parse().unwrap();
        assert!(!format!("{url:?} {url}").contains("geheim"));
        let wrong = "postgres://me:geheim@far.example/pay".parse::<PostgresUrl>().unwrap_err();
        assert!(!wrong.to_string().contains("geheim"));
    }
}
