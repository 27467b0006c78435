//! The machines that a URL names: after a fail-over another of them is the one that takes writes.
//!
//! The client below gives a machine some time to take a connection, and none to say anything over it. One that is frozen
//! (its kernel takes connections, its disk answers nobody) would keep it from ever asking the next.

use std::future::Future;
use std::io::{Error as IoError, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::Host;
use tokio_postgres::{Config, Error, NoTls};

use super::url::CONNECT_WAIT;

/// How often a machine gets the time to take a connection, until it has said that it takes writes.
const TURNS: u32 = 2;
/// How long one gets that there is no other beside: it may only have much to do.
const ALONE: Duration = Duration::from_secs(60);

/// One configuration for each machine, and which of them took writes last.
#[derive(Debug)]
pub(super) struct Hosts {
    each: Vec<Config>,
    last: AtomicUsize,
}

impl Hosts {
    /// The machines of a configuration; nothing where it names more ports or addresses than machines.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
        let count = hosts.len().max(addresses.len());
        let is_each = |named: usize| named == count || named == 0;
        if !is_each(hosts.len()) || !is_each(addresses.len()) || !(is_each(ports.len()) || ports.len() == 1) {
            return None;
        }
        let one = |place: usize| {
            let mut one = without_hosts(config);
            match hosts.get(place) {
                Some(Host::Tcp(name)) => drop(one.host(name)),
                Some(Host::Unix(path)) => drop(one.host_path(path)),
                None => {}
            }
            if let Some(address) = addresses.get(place) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(place).or(ports.first()) {
                one.port(*port);
            }
            one
        };
        Some(Self { each: (0..count).map(one).collect(), last: AtomicUsize::new(0) })
    }

    /// What the first machine comes to that takes writes; the one that did so last is asked first. Else what the last that
    /// was asked said.
    pub(super) async fn first<T, F>(&self, ask: impl Fn(Config) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (count, from) = (self.each.len(), self.last.load(Ordering::Relaxed));
        let mut told = None;
        for place in (0..count).map(|turn| (from + turn) % count) {
            let config = self.each[place].clone();
            let wait = config.get_connect_timeout().copied().unwrap_or(CONNECT_WAIT).saturating_mul(TURNS);
            let wait = if count > 1 { wait } else { wait.max(ALONE) };
            match tokio::time::timeout(wait, ask(config)).await {
                Ok(Ok(found)) => {
                    self.last.store(place, Ordering::Relaxed);
                    return Ok(found);
                }
                Ok(Err(error)) => told = Some(error),
                Err(_) => told = silent(wait).await.or(told),
            }
        }
        match told {
            Some(error) => Err(error),
            // Of none it says itself that there is none.
            None => ask(Config::new()).await,
        }
    }
}

fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(wait) = config.get_connect_timeout() {
        one.connect_timeout(*wait);
    }
    if let Some(wait) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*wait);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(config.get_keepalives()).keepalives_idle(config.get_keepalives_idle());
    one.ssl_mode(config.get_ssl_mode()).ssl_negotiation(config.get_ssl_negotiation());
    one.channel_binding(config.get_channel_binding()).target_session_attrs(config.get_target_session_attrs());
    one
}

/// The error of a machine that took a connection and said nothing.
async fn silent(waited: Duration) -> Option<Error> {
    Config::new().user("none").connect_raw(Silent(waited), NoTls).await.err()
}

/// A connection over which nothing comes: the client makes its errors of what connections say.
struct Silent(Duration);

impl Silent {
    fn error(&self) -> IoError {
        IoError::new(ErrorKind::TimedOut, format!("the connection was taken, and nothing said for {:?}", self.0))
    }
}

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Err(self.error()))
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<Result<usize, IoError>> {
        Poll::Ready(Err(self.error()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Err(self.error()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        url.parse().unwrap()
    }

    /// A URL's machines are those of the same URL with each of them alone.
    #[test]
    fn each_machine_has_what_the_url_says_of_it_and_of_all() {
        let options = "connect_timeout=3&keepalives=0&keepalives_idle=7&keepalives_interval=5&keepalives_retries=2\
             &channel_binding=require&sslmode=require&sslnegotiation=direct&target_session_attrs=read-write\
             &application_name=paychip&options=-cwork_mem%3D1MB";
        let all = config(&format!("postgres://me:geheim@one:1111,two:2222,%2Frun%2Fpg:3333/pay?{options}"));
        let each = Hosts::of(&all).unwrap().each;
        let places = ["one:1111", "two:2222", "%2Frun%2Fpg:3333"];
        let alone = places.map(|place| config(&format!("postgres://me:geheim@{place}/pay?{options}")));
        assert_eq!(each, alone);
        let all = config("postgres://me@one,two/pay?hostaddr=10.0.0.1,10.0.0.2&tcp_user_timeout=4");
        let alone = [("one", 1), ("two", 2)].map(|(name, number)| {
            config(&format!("postgres://me@{name}/pay?hostaddr=10.0.0.{number}&tcp_user_timeout=4"))
        });
        assert_eq!(Hosts::of(&all).unwrap().each, alone);
        let uneven = config("postgres://me@one,two,three/pay?hostaddr=10.0.0.1,10.0.0.2");
        assert!(Hosts::of(&uneven).is_none());
    }

    #[tokio::test]
    async fn a_machine_that_says_nothing_keeps_nobody_from_the_next_and_is_asked_last_then() {
        let hosts = Hosts::of(&config("postgres://me@frozen,two/pay?connect_timeout=1")).unwrap();
        let asked = AtomicUsize::new(0);
        let ask = |config: Config| {
            asked.fetch_add(1, Ordering::Relaxed);
            async move {
                if config.get_hosts() == [Host::Tcp("frozen".to_owned())] {
                    std::future::pending::<()>().await;
                }
                Ok(config.get_hosts().to_vec())
            }
        };
        let two = [Host::Tcp("two".to_owned())];
        assert_eq!(hosts.first(ask).await.unwrap(), two);
        assert_eq!(hosts.first(ask).await.unwrap(), two);
        assert_eq!(asked.load(Ordering::Relaxed), 3, "the one that took writes last is asked first");
        let frozen = Hosts::of(&config("postgres://me@frozen,frozen/pay?connect_timeout=1")).unwrap();
        let error = super::super::link::told(&frozen.first(ask).await.unwrap_err());
        assert!(error.contains("nothing said for 2s"), "{error}");
    }
}
