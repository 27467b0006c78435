//! What PostgreSQL's own tools need to make a copy of a database and to put it back (docs/decisions/0027).

use std::ffi::OsString;
use std::path::Path;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::config::{ChannelBinding, Host};

use super::link::{failed, reach};
use super::schema::{self, MIGRATION_LOCK, SET_ASIDE, Whose};
use super::tls::Proof;
use super::url::PostgresUrl;
use super::{Runner, citus};
use crate::StoreError;
use crate::key::{List, Named, Numbered};

/// The authorities of this machine, for tools that know no store of them.
const AUTHORITIES_FILE: &str = "authorities.pem";

/// A moment of a database that other connections see as well, for as long as this is there.
pub struct Moment {
    on: Runner,
    /// Gone only while this is dropped. The transaction is in it.
    client: Option<Client>,
    driver: JoinHandle<()>,
    snapshot: String,
    major: u32,
    is_spread: bool,
}

impl Moment {
    /// The moment that is now.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`]; [`StoreError::Engine`] where there are no tables.
    pub fn take(url: &PostgresUrl) -> Result<Self, StoreError> {
        let on = Runner::new()?;
        let (client, driver, snapshot, major, is_spread) = on.wait(async {
            let (client, driver) = reach(url).await?;
            let is_spread = citus::layout(&client).await?.is_spread();
            let begin = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
                         BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            client.batch_execute(begin).await.map_err(failed)?;
            let is_there: bool = one(&client, "SELECT to_regclass('paychip.schema_version') IS NOT NULL").await?;
            if !is_there {
                return Err(StoreError::Engine("this database has no tables of paychip".to_owned()));
            }
            let snapshot: String = one(&client, "SELECT pg_export_snapshot()").await?;
            let major = major(&client).await?;
            Ok::<_, StoreError>((client, driver, snapshot, major, is_spread))
        })?;
        Ok(Self { on, client: Some(client), driver, snapshot, major, is_spread })
    }

    /// Its name, for `pg_dump --snapshot`.
    #[must_use]
    pub fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// The version of the server: 15 of 15.4.
    #[must_use]
    pub fn server_major(&self) -> u32 {
        self.major
    }

    /// Whether the tables are spread over the machines of a Citus cluster: then this moment is one of the coordinator alone.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        self.is_spread
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.driver.abort();
        let client = self.client.take();
        self.on.wait(async { drop(client) });
    }
}

/// A database that a copy is put into. Servers that start meanwhile wait until this is gone.
pub struct Target {
    on: Runner,
    client: Option<Client>,
    driver: JoinHandle<()>,
    major: u32,
}

impl Target {
    /// Keeps servers from starting on it.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`]; [`StoreError::Engine`] on a Citus cluster, and where an earlier restore was cut off.
    pub fn open(url: &PostgresUrl) -> Result<Self, StoreError> {
        let on = Runner::new()?;
        let (client, driver, major) = on.wait(async {
            let (client, driver) = reach(url).await?;
            let session = "SET statement_timeout = 0; SET client_min_messages = warning";
            client.batch_execute(session).await.map_err(failed)?;
            if citus::layout(&client).await?.is_spread() {
                let text = "a copy of one database cannot be put into a Citus cluster";
                return Err(StoreError::Engine(text.to_owned()));
            }
            client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
            if schema::is_cut_off(&client).await? {
                return Err(schema::cut_off());
            }
            let major = major(&client).await?;
            Ok::<_, StoreError>((client, driver, major))
        })?;
        Ok(Self { on, client: Some(client), driver, major })
    }

    /// The version of the server: 15 of 15.4.
    #[must_use]
    pub fn server_major(&self) -> u32 {
        self.major
    }

    /// How many connections other programs of paychip have there.
    ///
    /// # Errors
    /// Those of the connection, here and below.
    pub fn others(&self) -> Result<i64, StoreError> {
        let question = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                        AND application_name = 'paychip' AND pid <> pg_backend_pid()";
        self.on.wait(one(self.client()?, question))
    }

    /// Whether anything is kept there: a row of any table but those that say who writes.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn holds_data(&self) -> Result<bool, StoreError> {
        let client = self.client()?;
        self.on.wait(async {
            let numbered =
                Numbered::ALL.iter().filter(|table| **table != Numbered::Partitions).map(|table| table.name());
            let named = Named::ALL.iter().map(|table| table.name());
            for table in numbered.chain(named).chain(List::ALL.iter().map(|table| table.name())) {
                // Tables of a newer schema may not be there yet.
                let is_there = format!("SELECT to_regclass('paychip.{table}') IS NOT NULL");
                if one(client, &is_there).await?
                    && one(client, &format!("SELECT EXISTS (SELECT FROM paychip.{table})")).await?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Makes room for a copy; what was there is kept aside.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn set_aside(&mut self) -> Result<(), StoreError> {
        let client = self.client()?;
        self.on.wait(async {
            let is_there: bool = one(client, "SELECT to_regnamespace('paychip') IS NOT NULL").await?;
            let rename = if is_there { format!("ALTER SCHEMA paychip RENAME TO {SET_ASIDE};") } else { String::new() };
            client.batch_execute(&format!("BEGIN; {rename} CREATE SCHEMA paychip; COMMIT")).await.map_err(failed)
        })
    }

    /// Adds to a copy that was put there what schemas newer than it have.
    ///
    /// # Errors
    /// Those of the connection; [`StoreError::Engine`] for a schema this program does not know, and where the copy held none.
    pub fn migrate(&mut self) -> Result<(), StoreError> {
        let client = self.client.as_mut().ok_or(StoreError::Stopped)?;
        self.on.wait(async {
            let is_there: bool = one(client, "SELECT to_regclass('paychip.schema_version') IS NOT NULL").await?;
            if !is_there {
                return Err(StoreError::Engine("the copy holds no tables of paychip".to_owned()));
            }
            schema::migrate(client, Whose::Restore).await
        })
    }

    /// Puts back what was there before.
    ///
    /// # Errors
    /// Those of the connection: then it is still aside.
    pub fn put_back(&mut self) -> Result<(), StoreError> {
        let client = self.client()?;
        self.on.wait(async {
            let is_aside: bool = one(client, &format!("SELECT to_regnamespace('{SET_ASIDE}') IS NOT NULL")).await?;
            let rename = if is_aside { format!("ALTER SCHEMA {SET_ASIDE} RENAME TO paychip;") } else { String::new() };
            let sql = format!("BEGIN; DROP SCHEMA IF EXISTS paychip CASCADE; {rename} COMMIT");
            client.batch_execute(&sql).await.map_err(failed)
        })
    }

    /// Lets go of what was there before.
    ///
    /// # Errors
    /// Those of the connection: then it is still aside.
    pub fn forget_before(&mut self) -> Result<(), StoreError> {
        let client = self.client()?;
        let sql = format!("DROP SCHEMA IF EXISTS {SET_ASIDE} CASCADE");
        self.on.wait(async { client.batch_execute(&sql).await.map_err(failed) })
    }

    fn client(&self) -> Result<&Client, StoreError> {
        self.client.as_ref().ok_or(StoreError::Stopped)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.driver.abort();
        let client = self.client.take();
        self.on.wait(async { drop(client) });
    }
}

async fn one<T>(client: &Client, question: &str) -> Result<T, StoreError>
where
    T: for<'r> tokio_postgres::types::FromSql<'r>,
{
    client.query_one(question, &[]).await.and_then(|row| row.try_get(0)).map_err(failed)
}

async fn major(client: &Client) -> Result<u32, StoreError> {
    let number: i32 = one(client, "SELECT current_setting('server_version_num')::integer").await?;
    Ok(u32::try_from(number / 10_000).unwrap_or_default())
}

impl PostgresUrl {
    /// The database that is connected to, by name.
    #[must_use]
    pub fn database_name(&self) -> &str {
        self.config().get_dbname().or(self.config().get_user()).unwrap_or_default()
    }

    /// What libpq takes from its environment to connect as this program does (PostgreSQL, *34.15 Environment Variables*):
    /// the password is in no argument, which every user of the machine may read. Files that it needs are written to
    /// `folder`.
    ///
    /// # Errors
    /// [`StoreError::Engine`] where such a file cannot be written, or the machine's authorities cannot be read.
    pub fn for_libpq(&self, folder: &Path) -> Result<Vec<(&'static str, OsString)>, StoreError> {
        let config = self.config();
        let joined = |parts: Vec<String>| OsString::from(parts.join(","));
        let mut said: Vec<(&'static str, OsString)> = vec![
            ("PGAPPNAME", "paychip-copy".into()),
            ("PGTARGETSESSIONATTRS", "read-write".into()),
            ("PGDATABASE", self.database_name().into()),
        ];
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.to_string_lossy().into_owned(),
        });
        let hosts: Vec<String> = hosts.collect();
        if !hosts.is_empty() {
            said.push(("PGHOST", joined(hosts)));
        }
        let addresses: Vec<String> = config.get_hostaddrs().iter().map(ToString::to_string).collect();
        if !addresses.is_empty() {
            said.push(("PGHOSTADDR", joined(addresses)));
        }
        said.push(("PGPORT", joined(config.get_ports().iter().map(ToString::to_string).collect())));
        let user = config.get_user().map(OsString::from);
        said.extend(user.map(|user| ("PGUSER", user)));
        if let Some(password) = config.get_password() {
            let password = String::from_utf8(password.to_vec());
            let password = password.map_err(|_| StoreError::Engine("the password is no UTF-8".to_owned()))?;
            said.push(("PGPASSWORD", password.into()));
        }
        said.extend(config.get_options().map(|options| ("PGOPTIONS", options.into())));
        if let Some(seconds) = config.get_connect_timeout().map(|wait| wait.as_secs().max(2)) {
            said.push(("PGCONNECT_TIMEOUT", seconds.to_string().into()));
        }
        let binding = match config.get_channel_binding() {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Require => "require",
            _ => "prefer",
        };
        said.push(("PGCHANNELBINDING", binding.into()));
        self.tls_for_libpq(folder, &mut said)?;
        Ok(said)
    }

    fn tls_for_libpq(&self, folder: &Path, said: &mut Vec<(&'static str, OsString)>) -> Result<(), StoreError> {
        let Some(tls) = self.tls() else {
            said.push(("PGSSLMODE", "disable".into()));
            return Ok(());
        };
        let (mode, authorities) = match &tls.proof {
            Proof::Nothing => ("require", None),
            Proof::Chain(file) => ("verify-ca", Some(file.clone())),
            Proof::Name(roots) => {
                // A copy of what this program trusts: older versions of libpq know no store of the machine.
                let file = folder.join(AUTHORITIES_FILE);
                let pem = roots.to_pem().map_err(|fault| StoreError::Engine(fault.to_string()))?;
                std::fs::write(&file, pem)
                    .map_err(|error| StoreError::Engine(format!("{}: {error}", file.display())))?;
                ("verify-full", Some(file))
            }
        };
        said.push(("PGSSLMODE", mode.into()));
        said.extend(authorities.map(|file| ("PGSSLROOTCERT", file.into())));
        if let Some(own) = &tls.own {
            said.push(("PGSSLCERT", own.certificates.clone().into()));
            said.push(("PGSSLKEY", own.key.clone().into()));
        }
        Ok(())
    }
}
