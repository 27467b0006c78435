//! Partitions as leases. There is no leader: each server holds a partition by a row that says who holds it and until
//! when, and whoever finds it past its time may take it, by the same comparison of the whole row that every write of
//! it makes.
//!
//! Times are the database's. They only decide when a partition *may* be taken: that no two servers ever write one
//! partition is in the comparison, not in a clock.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Error;

use super::link::{Link, failed};
use crate::StoreError;
use crate::key::{Key, Named, Numbered};
use crate::rows::PartitionState;
use crate::rows::codec::{seal, unseal};

/// How long a partition stays with a server that does nothing.
pub(super) const LEASE_MS: u64 = 10_000;
/// With this much left, the lease is written again even where nothing else is.
pub(super) const RENEW_BELOW_MS: u64 = 6_000;
/// The most partitions of a database. A server that starts takes one whose lease has run out before it makes another,
/// so there are as many as servers ever ran at the same time.
const MAX_PARTITIONS: usize = 4_096;
/// How often others may be faster in taking one.
const MAX_TRIES: usize = 256;

/// A partition that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) partition: u32,
    pub(super) holder: [u8; 16],
    /// Its row, as it is in the database, seal and all.
    pub(super) row: Vec<u8>,
}

impl Held {
    pub(super) fn state(&self) -> Result<PartitionState, StoreError> {
        state_in(self.partition, &self.row)
    }
}

/// The state in a partition's row.
pub(super) fn state_in(partition: u32, row: &[u8]) -> Result<PartitionState, StoreError> {
    PartitionState::from_row(unseal(&Key::partition(partition), row)?)
}

/// A partition's row with this state.
pub(super) fn row_of(partition: u32, state: PartitionState) -> Vec<u8> {
    seal(&Key::partition(partition), state.to_row())
}

/// A partition as it was found.
pub(super) struct Found {
    partition: u32,
    row: Vec<u8>,
    state: PartitionState,
}

impl Found {
    pub(super) fn partition(&self) -> u32 {
        self.partition
    }

    fn is_free(&self, now_ms: u64) -> bool {
        self.state.held_until_ms <= now_ms
    }

    /// Whether its holder gave it back: then there is nobody who may still live and renew it.
    fn was_given_back(&self) -> bool {
        self.state.held_until_ms == 0
    }

    /// Whether there are records that nobody posts.
    fn has_unposted(&self) -> bool {
        self.state.posted < self.state.head.number
    }
}

/// Every partition there is.
async fn all(link: &Link) -> Result<Vec<Found>, StoreError> {
    let rows = link.scan(Numbered::Partitions, u64::MAX, u64::from(u32::MAX), MAX_PARTITIONS).await.map_err(failed)?;
    let found = rows.into_iter().map(|(number, row)| {
        let partition = u32::try_from(number).map_err(|_| StoreError::Corrupt("partitions"))?;
        Ok(Found { partition, state: state_in(partition, &row)?, row })
    });
    found.collect()
}

/// The partitions in which refunds wait until their merchant is owed enough. They were posted as far as they could be: whoever
/// posted them last did so before another partition posted what covers them.
async fn with_waiting(link: &Link) -> Result<BTreeSet<u32>, StoreError> {
    let (mut partitions, mut after) = (BTreeSet::new(), Vec::new());
    for _ in 0..MAX_PARTITIONS {
        let next = link.scan_names(Named::Waiting, &after, 1).await.map_err(failed)?;
        let Some((name, _)) = next.first() else { break };
        let partition = u32::from_be_bytes(*name.first_chunk().ok_or(StoreError::Corrupt("waiting"))?);
        partitions.insert(partition);
        // A name begins with its partition, and is longer.
        let Some(following) = partition.checked_add(1) else { break };
        after = following.to_be_bytes().to_vec();
    }
    Ok(partitions)
}

/// Takes the lowest partition of a home that is free, or makes the next. The connection looks at that home alone.
pub(super) async fn take_any(link: &Link, home: u16, holder: [u8; 16]) -> Result<Held, StoreError> {
    for _ in 0..MAX_TRIES {
        let all = all(link).await?;
        let now_ms = link.now_ms();
        let taken = match all.iter().find(|found| found.is_free(now_ms)) {
            Some(free) => take(link, free, holder).await,
            None if all.len() < MAX_PARTITIONS => {
                let next = all.last().map_or(u32::from(home), |last| last.partition + u32::from(link.homes().count()));
                make(link, next, holder).await
            }
            None => return Err(StoreError::Engine(format!("all {MAX_PARTITIONS} partitions are held"))),
        };
        if let Some(held) = taken.map_err(failed)? {
            return Ok(held);
        }
    }
    Err(StoreError::Busy)
}

/// Takes a partition as it was found; nothing where another was faster.
pub(super) async fn take(link: &Link, free: &Found, holder: [u8; 16]) -> Result<Option<Held>, Error> {
    let state = PartitionState {
        holder,
        held_until_ms: link.now_ms() + LEASE_MS,
        transactions: free.state.transactions + 1,
        ..free.state
    };
    let row = row_of(free.partition, state);
    let taken = replace(link, free.partition, &free.row, &row).await?;
    Ok(taken.then_some(Held { partition: free.partition, holder, row }))
}

async fn make(link: &Link, partition: u32, holder: [u8; 16]) -> Result<Option<Held>, Error> {
    let held_until_ms = link.now_ms() + LEASE_MS;
    let row = row_of(partition, PartitionState { holder, held_until_ms, ..PartitionState::new(partition) });
    let (column, value) = link.column(&Key::partition(partition));
    let insert =
        format!("INSERT INTO paychip.partitions ({column}key, row) VALUES ({value}$1, $2) ON CONFLICT DO NOTHING");
    let made = link.client.execute(&insert, &[&i64::from(partition), &row]).await? == 1;
    Ok(made.then_some(Held { partition, holder, row }))
}

/// Changes a partition's row, where it still is as it was.
async fn replace(link: &Link, partition: u32, before: &[u8], after: &[u8]) -> Result<bool, Error> {
    let here = link.condition(&Key::partition(partition));
    let update = format!("UPDATE paychip.partitions SET row = $3 WHERE {here}key = $1 AND row = $2");
    Ok(link.client.execute(&update, &[&i64::from(partition), &before, &after]).await? == 1)
}

/// Gives a partition back, so that the next server need not wait for the lease to run out.
pub(super) async fn give_back(link: &Link, held: &Held) -> Result<(), StoreError> {
    let state = PartitionState { held_until_ms: 0, ..held.state()? };
    let row = row_of(held.partition, state);
    replace(link, held.partition, &held.row, &row).await.map(drop).map_err(failed)
}

/// The row of a partition now.
pub(super) async fn row_now(link: &Link, partition: u32) -> Result<Option<Vec<u8>>, Error> {
    Ok(link.read(&[Key::partition(partition)]).await?.pop().flatten())
}

/// Looks for partitions that nobody holds any more while merchants wait for what is in them.
///
/// One that was not given back is taken only after it was seen unchanged in two looks: after an outage of the database
/// every lease has run out, and the servers that still live renew theirs well between two looks.
#[derive(Default)]
pub(super) struct Watch {
    seen: BTreeMap<u32, Vec<u8>>,
}

impl Watch {
    /// One look; the partitions that may be taken.
    pub(super) async fn look(&mut self, link: &Link) -> Result<Vec<Found>, StoreError> {
        // A look that fails has seen nothing.
        let before = core::mem::take(&mut self.seen);
        let now_ms = link.now_ms();
        let mut alone = all(link).await?;
        alone.retain(|found| found.is_free(now_ms));
        let waits = if alone.iter().all(Found::has_unposted) { BTreeSet::new() } else { with_waiting(link).await? };
        alone.retain(|found| found.has_unposted() || waits.contains(&found.partition));
        self.seen = alone.iter().map(|found| (found.partition, found.row.clone())).collect();
        alone.retain(|found| found.was_given_back() || before.get(&found.partition) == Some(&found.row));
        Ok(alone)
    }
}
