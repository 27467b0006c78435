//! Where a PostgreSQL database is, checked before anything is sent there.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode, TargetSessionAttrs};

use super::hosts::Hosts;
use super::tls::{ClientFiles, Proof, Roots, Tls};
use crate::StoreError;

/// How long a connection may take to open, where the URL does not say.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long a network may be silent about data sent before the connection counts as lost.
const NETWORK_SILENCE: Duration = Duration::from_secs(10);
/// How long a connection may be idle before it is asked whether it is still there.
const IDLE_BEFORE_PROBE: Duration = Duration::from_secs(5);
/// How a URL begins.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];

/// A database that may be connected to. Its password does not print.
///
/// `sslmode`, `sslrootcert`, `sslcert`, `sslkey` and `channel_binding` mean what they mean to libpq (PostgreSQL, *34.1.2
/// Parameter Key Words* and *34.19 SSL Support*), with one difference: without `sslmode` another machine is spoken to as
/// with `verify-full`, and this one without TLS.
///
/// Of several machines the one is connected to that takes writes, as with `target_session_attrs=read-write` there; each
/// gets twice the `connect_timeout` until it has said so, and one that is alone at least a minute.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    hosts: Arc<Hosts>,
    /// None where the connection stays on this machine, or the URL says so.
    tls: Option<Tls>,
}

/// What a URL says of TLS, and of which machine it means.
#[derive(Default)]
struct Asked {
    mode: Option<String>,
    root: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    session: Option<String>,
}

impl Asked {
    /// Takes these options out of a URL: the client below knows neither files nor how a server proves who it is, and would
    /// take a machine that only reads where it is told to.
    fn take_from(text: &str) -> Result<(String, Self), StoreError> {
        let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme)).ok_or_else(not_one)?;
        // As the client reads it: the user ends at the first @, the database at the next question mark.
        let user_len = text[scheme.len()..].find('@').map_or(0, |at| at + 1);
        let place_start = scheme.len() + user_len;
        let Some(mark) = text[place_start..].find('?') else { return Ok((text.to_owned(), Self::default())) };
        let (place, options) = text.split_at(place_start + mark);
        let (mut asked, mut others) = (Self::default(), Vec::new());
        for option in options.trim_start_matches('?').split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or_else(not_one)?;
            let slot = match name {
                "sslmode" => &mut asked.mode,
                "sslrootcert" => &mut asked.root,
                "sslcert" => &mut asked.certificate,
                "sslkey" => &mut asked.key,
                "target_session_attrs" => &mut asked.session,
                _ => {
                    others.push(option);
                    continue;
                }
            };
            let value = percent_decode_str(value).decode_utf8().map_err(|_| not_one())?;
            if slot.replace(value.into_owned()).is_some() {
                return Err(refused(&format!("says {name} twice")));
            }
        }
        let rest = if others.is_empty() { place.to_owned() } else { format!("{place}?{}", others.join("&")) };
        Ok((rest, asked))
    }

    /// How the server is spoken to.
    fn tls(self, places: Places) -> Result<Option<Tls>, StoreError> {
        let mode = self.mode.as_deref().unwrap_or(if places == Places::Far { "verify-full" } else { "prefer" });
        if !["disable", "allow", "prefer", "require", "verify-ca", "verify-full"].contains(&mode) {
            return Err(refused("says an sslmode that is none of disable, require, verify-ca and verify-full"));
        }
        match (mode, places) {
            ("disable", _) | ("allow" | "prefer", Places::Near) | (_, Places::Sockets) => return Ok(None),
            ("allow" | "prefer", _) => {
                return Err(refused(
                    "names another machine, and with this sslmode whoever is in between decides that nothing is \
                     encrypted; say verify-full, or disable where the network itself is protected",
                ));
            }
            (_, Places::Mixed) => {
                return Err(refused("names a socket and an address; TLS is spoken with addresses alone"));
            }
            (_, Places::Nameless) => {
                return Err(refused("names no host that the server's certificate could be compared with"));
            }
            _ => {}
        }
        let system = "system";
        let proof = match (mode, self.root) {
            ("verify-full", Some(root)) if root != system => Proof::Name(Roots::File(root.into())),
            ("verify-full", _) => Proof::Name(Roots::System),
            (_, Some(root)) if root == system => {
                return Err(refused("says sslrootcert=system, which proves nothing without sslmode=verify-full"));
            }
            // As libpq does: where there is something to compare with, it is compared.
            (_, Some(root)) => Proof::Chain(root.into()),
            ("verify-ca", None) => return Err(refused("says sslmode=verify-ca, which needs an sslrootcert=FILE")),
            _ => Proof::Nothing,
        };
        let own = match (self.certificate.map(PathBuf::from), self.key.map(PathBuf::from)) {
            (None, None) => None,
            (Some(certificates), Some(key)) => Some(ClientFiles { certificates, key }),
            _ => return Err(refused("says one of sslcert and sslkey without the other")),
        };
        let tls = Tls { proof, own };
        // Files that cannot be read are told now, not with the first payment.
        tls.config().map_err(|fault| refused(&format!("cannot be used: {fault}")))?;
        Ok(Some(tls))
    }
}

/// Where the hosts of a URL are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    /// All are sockets of this machine.
    Sockets,
    /// All are on this machine.
    Near,
    /// Some are on another.
    Far,
    /// Some are sockets, some on another machine.
    Mixed,
    /// Some are addresses without the name of a host.
    Nameless,
}

impl Places {
    fn of(config: &Config) -> Result<Self, StoreError> {
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let is_socket = |host: &Host| matches!(host, Host::Unix(_));
        let is_near = |host: &Host| match host {
            Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
            Host::Unix(_) => true,
        };
        if hosts.is_empty() && addresses.is_empty() {
            return Err(refused("names no host"));
        }
        let all_near = hosts.iter().all(is_near) && addresses.iter().all(std::net::IpAddr::is_loopback);
        Ok(match all_near {
            true if addresses.is_empty() && hosts.iter().all(is_socket) => Self::Sockets,
            _ if hosts.is_empty() && !all_near => Self::Nameless,
            true => Self::Near,
            false if hosts.iter().any(is_socket) => Self::Mixed,
            false => Self::Far,
        })
    }
}

impl PostgresUrl {
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Whether what goes there is encrypted for whoever says to be the database: neither a certificate nor the password
    /// proves who it is.
    pub(super) fn trusts_anyone(&self) -> bool {
        let is_unproved = self.tls.as_ref().is_some_and(|tls| tls.proof == Proof::Nothing);
        is_unproved && self.config.get_channel_binding() != ChannelBinding::Require
    }
}

fn refused(why: &str) -> StoreError {
    // Never the URL itself: it may hold a password.
    StoreError::Engine(format!("the database URL {why}"))
}

fn not_one() -> StoreError {
    refused("is not one: postgres://USER@HOST/DATABASE")
}

impl FromStr for PostgresUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let (text, asked) = Asked::take_from(text)?;
        if asked.session.as_deref().is_some_and(|session| !["read-write", "primary"].contains(&session)) {
            return Err(refused("says target_session_attrs, which can be read-write alone: money is written"));
        }
        let mut config = Config::from_str(&text).map_err(|_| not_one())?;
        let tls = asked.tls(Places::of(&config)?)?;
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.application_name("paychip");
        // Of several hosts the one that takes writes: after a failover that is another one.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WAIT);
        }
        config.tcp_user_timeout(NETWORK_SILENCE).keepalives_idle(IDLE_BEFORE_PROBE);
        let hosts = Hosts::of(&config).ok_or_else(|| refused("names more or fewer ports or addresses than hosts"))?;
        Ok(Self { config, hosts: Arc::new(hosts), tls })
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

    /// What a URL's server has to prove: none where TLS is not spoken, an error where the URL is refused.
    fn proof(url: &str) -> Result<Option<Proof>, String> {
        let url: PostgresUrl = url.parse().map_err(|error: StoreError| error.to_string())?;
        Ok(url.tls.map(|tls| tls.proof))
    }

    #[test]
    fn money_goes_unencrypted_to_this_machine_alone_unless_the_url_says_so() {
        for url in [
            "postgres://me@localhost/pay",
            "postgres://me@127.0.0.1:5433/pay",
            "postgresql://me@[::1]/pay",
            "postgres://me@localhost/pay?sslmode=prefer",
            "postgres://me@%2Frun%2Fpostgresql/pay",
            // A socket does not leave the machine, and has no TLS.
            "postgres://me@%2Frun%2Fpostgresql/pay?sslmode=verify-full",
            "postgres://me@db.example/pay?sslmode=disable",
        ] {
            assert_eq!(proof(url), Ok(None), "{url}");
        }
        let system = Ok(Some(Proof::Name(Roots::System)));
        for url in [
            "postgres://me@db.example/pay",
            "postgres://me@localhost,10.0.0.2/pay",
            "postgres://me@localhost/pay?hostaddr=10.0.0.2",
            "postgres://me@db.example/pay?sslmode=verify-full",
            "postgres://me@db.example/pay?sslmode=verify-full&sslrootcert=system",
            "postgres://me@localhost/pay?application_name=x&sslmode=verify-full&connect_timeout=3",
        ] {
            assert_eq!(proof(url), system, "{url}");
        }
        assert_eq!(proof("postgres://me@db.example/pay?sslmode=require"), Ok(Some(Proof::Nothing)));
        for url in [
            "postgres://me@db.example/pay?sslmode=prefer",
            "postgres://me@db.example/pay?sslmode=allow",
            "postgres://me@db.example/pay?sslmode=on",
            "postgres://me@db.example/pay?sslmode=",
            "postgres://me@db.example/pay?sslmode=require&sslmode=disable",
            "postgres://me@db.example/pay?sslmode=require&sslrootcert=system",
            "postgres://me@db.example/pay?sslmode=verify-ca",
            "postgres://me@db.example/pay?sslmode=verify-full&sslrootcert=%2Fthere%2Fis%2Fnone",
            "postgres://me@db.example/pay?sslcert=a",
            "postgres://me@db.example/pay?sslcrl=a",
            "postgres://me@%2Frun%2Fpostgresql,db.example/pay",
            "postgres://me@/pay?hostaddr=10.0.0.2",
            "postgres:///pay",
            "mysql://me@localhost/pay",
            "host=localhost user=me",
        ] {
            assert!(proof(url).is_err(), "{url}");
        }
    }

    #[test]
    fn of_several_machines_the_one_that_takes_writes_is_meant() {
        for url in ["", "?target_session_attrs=read-write", "?target_session_attrs=primary&connect_timeout=2"] {
            let url: PostgresUrl = format!("postgres://me@127.0.0.1:1,localhost:2/pay{url}").parse().unwrap();
            assert_eq!(url.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            assert_eq!((url.config.get_hosts().len(), url.config.get_ports()), (2, &[1, 2][..]));
        }
        for other in ["any", "read-only", "standby", "prefer-standby", ""] {
            let url = format!("postgres://me@127.0.0.1:1,localhost:2/pay?target_session_attrs={other}");
            assert!(url.parse::<PostgresUrl>().is_err(), "{other}");
        }
    }

    #[test]
    fn a_server_that_proves_nothing_is_told_of() {
        let url = |options: &str| format!("postgres://me@db.example/pay?{options}").parse::<PostgresUrl>().unwrap();
        assert!(url("sslmode=require").trusts_anyone());
        assert!(!url("sslmode=require&channel_binding=require").trusts_anyone());
        assert!(!url("sslmode=verify-full").trusts_anyone());
        assert!(!url("sslmode=disable").trusts_anyone());
    }

    #[test]
    fn a_password_does_not_print() {
        let url: PostgresUrl = "postgres://me:geheim@localhost/pay".parse().unwrap();
        assert!(!format!("{url:?} {url}").contains("geheim"));
        for far in ["sslmode=prefer", "sslrootcert=none", "port=x", "geheim"] {
            let wrong = format!("postgres://me:geheim@far.example/pay?{far}").parse::<PostgresUrl>().unwrap_err();
            assert!(!wrong.to_string().contains("geheim"), "{wrong}");
        }
    }
}
