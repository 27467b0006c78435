//! The syncer: a thread that makes durable what was appended to the log, shows it to the readers, and only then lets it be
//! acknowledged. Meanwhile the writer decides the next transactions.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use super::pending::{Generation, Shared, UNSYNCED};
use crate::engine::{Done, Outcome};
use crate::{StoreError, soon};

/// Transactions that wait for the syncer while it syncs others, as many and one at most.
pub(super) const MAX_WAITING: usize = 3;
// What it has and what waits for it is not more than the writer looks at.
const _: () = assert!(2 * MAX_WAITING < UNSYNCED);

/// A transaction that is in the log.
pub(super) struct Appended {
    /// How many were appended before it, and it.
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    /// What it wrote; nothing where it wrote nothing.
    pub(super) rows: Option<Arc<Generation>>,
    pub(super) done: Done,
}

/// Syncs until the engine is dropped. One sync serves everything that has been appended by then.
pub(super) fn sync(appended: &Receiver<Appended>, shared: &Shared) {
    let mut broken: Option<StoreError> = None;
    while let Ok(first) = soon::recv(appended) {
        let mut together = vec![first];
        together.extend(appended.try_iter().take(MAX_WAITING));
        if broken.is_none() {
            broken = make_durable(&together, shared).err();
        }
        for transaction in together {
            (transaction.done)(match &broken {
                None => Outcome::Committed,
                Some(error) => Outcome::Unknown(error.clone()),
            });
        }
    }
}

fn make_durable(together: &[Appended], shared: &Shared) -> Result<(), StoreError> {
    let mut last: Option<&Arc<File>> = None;
    for transaction in together.iter().filter(|transaction| transaction.rows.is_some()) {
        // All but the last of a segment are synced with it.
        if let Some(file) = last.filter(|file| !Arc::ptr_eq(file, &transaction.file)) {
            sync_file(file)?;
        }
        last = Some(&transaction.file);
    }
    last.map_or(Ok(()), |file| sync_file(file))?;
    let mut generations = shared.write();
    for transaction in together {
        if let Some(rows) = &transaction.rows {
            generations.present.absorb(rows);
        }
        shared.synced.store(transaction.number, Ordering::Release);
    }
    Ok(())
}

/// An error tells that what the disk holds is unknown, and asking again tells nothing: it is reported once.
fn sync_file(file: &File) -> Result<(), StoreError> {
    file.sync_data().map_err(|error| StoreError::Engine(format!("the log could not be synced: {error}")))
}
