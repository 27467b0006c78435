//! What became of a commit that was not answered: found out by key, never guessed.
//!
//! Every transaction changes the row of its partition, and nobody else does. That row is asked for with a lock, which is
//! given only when the transaction that was not answered has ended. Then the row is as the transaction left it, or as
//! it found it. In the second case the row is changed before anything is said: should the transaction still come (it
//! may lie in a network, not yet begun), it no longer finds what it compares with, and fails.

use std::time::{Duration, Instant};

use tokio_postgres::Error;

use super::PostgresEngine;
use super::lease::row_of;
use super::link::{Link, is_lost, told};
use crate::StoreError;
use crate::engine::Outcome;
use crate::key::Key;
use crate::rows::PartitionState;

/// How long the database is asked what became of a commit: longer than a fail-over takes.
const FIND_OUT_FOR: Duration = Duration::from_secs(90);
/// The pause between two questions.
const FIND_OUT_PAUSE: Duration = Duration::from_millis(250);

/// What the partition's row was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    After,
    Before,
    Other,
}

impl PostgresEngine {
    /// Finds out whether the transaction that leaves the partition's row as `after` was committed.
    pub(super) fn find_out(&mut self, after: Vec<u8>) -> Outcome {
        let fence = match self.held.state() {
            // Two on: no transaction leaves a row like that.
            Ok(state) => PartitionState { transactions: state.transactions + 2, ..state },
            Err(error) => return Outcome::Unknown(error),
        };
        let fence = row_of(self.held.partition, fence);
        let begun = Instant::now();
        while begun.elapsed() < FIND_OUT_FOR {
            // Whatever the old connection still says is not listened to.
            self.link = None;
            match self.ask_what_is_there(&after, &fence) {
                Ok(Found::After) => {
                    tracing::info!("the commit that was not answered is there");
                    self.held.row = after;
                    return Outcome::Committed;
                }
                Ok(Found::Before) => {
                    tracing::info!("the commit that was not answered is not there, and cannot come any more");
                    self.held.row = fence;
                    return Outcome::RolledBack(StoreError::Busy);
                }
                Ok(Found::Other) => return Outcome::Unknown(self.lost_lease()),
                Err(error) => tracing::warn!(%error, "what became of a commit is not known yet"),
            }
            std::thread::sleep(FIND_OUT_PAUSE);
        }
        let seconds = FIND_OUT_FOR.as_secs();
        Outcome::Unknown(StoreError::Engine(format!("what became of a commit could not be found out in {seconds} s")))
    }

    fn ask_what_is_there(&mut self, after: &[u8], fence: &[u8]) -> Result<Found, StoreError> {
        let link = self.link(FIND_OUT_PAUSE)?;
        let before = self.held.row.clone();
        let partition = self.held.partition;
        let found = self.on.wait(link.answered(what_is_there(&link, partition, [&before, after, fence])));
        found.map_err(|error| {
            debug_assert!(is_lost(&error) || error.code().is_some());
            StoreError::Engine(told(&error))
        })
    }
}

/// Waits for whoever writes the row, looks at it, and makes sure that it stays as it is found.
async fn what_is_there(link: &Link, partition: u32, rows: [&[u8]; 3]) -> Result<Found, Error> {
    let [before, after, fence] = rows;
    link.client.batch_execute("BEGIN").await?;
    let here = link.condition(&Key::partition(partition));
    let select = format!("SELECT row FROM paychip.partitions WHERE {here}key = $1 FOR UPDATE");
    let row = link.client.query_opt(&select, &[&i64::from(partition)]).await?;
    let row: Option<&[u8]> = row.as_ref().map(|row| row.try_get(0)).transpose()?;
    let found = match row {
        Some(row) if row == after => Found::After,
        Some(row) if row == before || row == fence => Found::Before,
        _ => Found::Other,
    };
    if found == Found::Before {
        let update = format!("UPDATE paychip.partitions SET row = $2 WHERE {here}key = $1");
        link.client.execute(&update, &[&i64::from(partition), &fence]).await?;
    }
    // Not answered, this is asked again: the row is then as before, or the fence.
    link.client.batch_execute("COMMIT").await?;
    Ok(found)
}
