//! A serving server follows its vault's file: a version that was made, activated or retired is in force a moment later,
//! and no payment notices.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{KeysAt, MasterVault, file};
use crate::{Database, Keys};

/// How often it looks whether the file is another one.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Follows the vault's file in a data folder for as long as it is polled. A file that does not open, or lacks a key that is
/// in use, changes nothing; it is told in the log once.
pub(crate) async fn follow(folder: PathBuf, at: KeysAt, keys: Keys, database: Database, vault: Arc<MasterVault>) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The file may have changed between its first opening and now: the first look opens it again.
    let mut seen = None;
    loop {
        ticks.tick().await;
        let (asked, held) = (database.clone(), Arc::clone(&vault));
        // A database that does not answer is nothing new: payments are told so.
        let _ = tokio::task::spawn_blocking(move || look_at_others(&asked, &held)).await;
        let now = file_id(&folder, at);
        if now.is_none() || now == seen {
            continue;
        }
        let (folder, keys, database, vault) = (folder.clone(), keys.clone(), database.clone(), Arc::clone(&vault));
        // Argon2id takes its time, and so may a token: away from the threads that serve.
        let looked = tokio::task::spawn_blocking(move || reload(&folder, &keys, &database, &vault)).await;
        match looked {
            Ok(Ok(())) => seen = now,
            Ok(Err(Reload::Later(error))) => tracing::warn!(%error, "the changed key vault waits for the database"),
            Ok(Err(Reload::Refused(error))) => {
                tracing::error!(%error, "the changed key vault is not used; the server goes on with the one it has");
                seen = now;
            }
            Err(_) => return,
        }
    }
}

/// Stops deriving while other servers use a key that this one lacks: codes under it would look like guesses, and honest
/// merchants be suspended for them. The file that brings the key ends it.
fn look_at_others(database: &Database, vault: &MasterVault) {
    let Ok(lacked) = database.lacked_by(&vault.ring()) else { return };
    let was_behind = vault.set_behind(lacked.is_some());
    match lacked {
        Some(error) if !was_behind => tracing::error!(%error, "no keys are derived until the key vault's file is here"),
        None if was_behind => tracing::info!("every master key in use is here"),
        _ => {}
    }
}

/// Why a changed vault is not in use.
enum Reload {
    /// Because something else does not answer: it is tried again.
    Later(String),
    /// Because of what it is.
    Refused(String),
}

fn reload(folder: &std::path::Path, keys: &Keys, database: &Database, vault: &MasterVault) -> Result<(), Reload> {
    let refused = |text: &str| Reload::Refused(text.to_owned());
    let opened = file::open_ring(folder, keys).map_err(|fault| refused(&fault.to_string()))?;
    let Some((ring, _)) = opened else { return Err(refused("it is gone")) };
    let before = vault.ring();
    if !ring.holds_all_of(&before) {
        return Err(refused("it lacks a key that is in use"));
    }
    match database.agree_on(&ring) {
        Ok(()) => {}
        Err(store::StoreError::Busy | store::StoreError::Unreachable(_)) => {
            return Err(Reload::Later("it does not answer".to_owned()));
        }
        Err(error) => return Err(refused(&error.to_string())),
    }
    let (current, in_force) = (ring.current(), ring.in_force());
    if ring.keys().len() != before.keys().len() || (current, &in_force) != (before.current(), &before.in_force()) {
        tracing::info!(current, ?in_force, "the key vault has changed");
        vault.replace(ring);
    }
    Ok(())
}

/// What changes when the file is replaced.
fn file_id(folder: &std::path::Path, at: KeysAt) -> Option<(SystemTime, u64, u64)> {
    let metadata = std::fs::metadata(folder.join(at.file())).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Some((metadata.modified().ok()?, metadata.len(), inode))
}
