//! That every server of a database has the same master keys: version and check value of each, never a key.

use std::collections::BTreeMap;

use super::link::{self, failed};
use super::url::PostgresUrl;
use super::{Runner, make_schema};
use crate::StoreError;

/// A version of the master key, and a value by which servers find that they mean the same key, and from which nobody finds
/// the key.
pub type KeyCheck = (u8, [u8; 16]);

/// The versions of the master key that the database has been used with.
///
/// # Errors
/// Those of [`super::PostgresEngine::open`].
pub fn master_key_versions(url: &PostgresUrl) -> Result<Vec<u8>, StoreError> {
    Runner::new()?.wait(async {
        make_schema(url).await?;
        let (client, driver) = link::reach(url).await?;
        let known = known_keys(&client).await;
        driver.abort();
        Ok(known?.into_keys().collect())
    })
}

/// Remembers which keys a server uses, and compares them with those of the others: with another key every code ever issued
/// would be wrong. All are remembered or none. The next key is compared and not remembered: nothing is made with it yet, and
/// servers that lack it may go on until something is.
///
/// # Errors
/// [`StoreError::Engine`] where a version is another key, or the database is used with one this server does not have.
pub fn agree_on_master_keys(url: &PostgresUrl, used: &[KeyCheck], next: Option<KeyCheck>) -> Result<(), StoreError> {
    Runner::new()?.wait(async {
        let (mut client, driver) = link::reach(url).await?;
        let agreed = agree(&mut client, used, next).await;
        driver.abort();
        agreed
    })
}

/// What a server that has these keys lacks of those its database is used with; none where it lacks nothing.
///
/// # Errors
/// Those of the connection.
pub fn lacked_master_key(url: &PostgresUrl, own: &[KeyCheck]) -> Result<Option<String>, StoreError> {
    Runner::new()?.wait(async {
        let (client, driver) = link::reach(url).await?;
        let known = known_keys(&client).await;
        driver.abort();
        Ok(lacked(&known?, own))
    })
}

async fn agree(
    client: &mut tokio_postgres::Client,
    used: &[KeyCheck],
    next: Option<KeyCheck>,
) -> Result<(), StoreError> {
    let transaction = client.transaction().await.map_err(failed)?;
    for (version, check_value) in used {
        let insert = "INSERT INTO paychip.master_keys VALUES ($1, $2) ON CONFLICT DO NOTHING";
        transaction.execute(insert, &[&i16::from(*version), &&check_value[..]]).await.map_err(failed)?;
    }
    let own: Vec<KeyCheck> = used.iter().copied().chain(next).collect();
    match lacked(&known_keys(&transaction).await?, &own) {
        Some(text) => Err(StoreError::Engine(text)),
        None => transaction.commit().await.map_err(failed),
    }
}

fn lacked(known: &BTreeMap<u8, Vec<u8>>, own: &[KeyCheck]) -> Option<String> {
    known.iter().find_map(|(version, check_value)| match own.iter().find(|(own, _)| own == version) {
        Some((_, own)) if own[..] == check_value[..] => None,
        Some(_) => {
            Some(format!("version {version} of this server's master key is not the one this database is used with"))
        }
        None => {
            Some(format!("this database is used with version {version} of the master key, which this server lacks"))
        }
    })
}

async fn known_keys(client: &impl tokio_postgres::GenericClient) -> Result<BTreeMap<u8, Vec<u8>>, StoreError> {
    let rows = client.query("SELECT version, check_value FROM paychip.master_keys", &[]).await.map_err(failed)?;
    let key = |row: &tokio_postgres::Row| {
        let version: i16 = row.try_get(0).map_err(failed)?;
        let version = u8::try_from(version).map_err(|_| StoreError::Corrupt("master_keys"))?;
        Ok((version, row.try_get(1).map_err(failed)?))
    };
    rows.iter().map(key).collect()
}
