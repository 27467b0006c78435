//! What the store does by itself, again and again: gives back what nobody confirmed in time, and moves what went through
//! clearing to the merchants.

use std::sync::Arc;
use std::time::Duration;

use store::{Failure, POSTING_INTERVAL_MS, Poster, Queries, Store, StoreError, commands};

use crate::entropy;

/// How often what nobody confirmed is given back, what waits in clearing is added up, and leases are looked at.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_millis(250);

/// Runs until the store has stopped.
pub(crate) async fn run(store: Store, queries: Arc<Queries>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // Each partition has its own clearing.
    let mut partitions: Vec<_> = store
        .each()
        .flat_map(|one| {
            let posters: Vec<_> = one.partitions().map(Poster::new).collect();
            posters.into_iter().map(move |poster| Partition { store: one.clone(), poster, posted_ms: 0 })
        })
        .collect();
    loop {
        ticks.tick().await;
        let now_ms = entropy::now_ms();
        let mut done = vec![store.execute(commands::SweepOverdue { now_ms }).await.map(drop)];
        for partition in &mut partitions {
            // Each writer finds here that another has stopped.
            done.push(partition.store.execute(commands::KeepPartition).await);
            done.push(partition.post(&queries, now_ms).await);
        }
        if !store.homes().is_one() {
            done.push(store.execute(commands::FinishReserved { now_ms }).await.map(drop));
        }
        for done in done {
            match done {
                Ok(()) => {}
                Err(Failure::Store(StoreError::Stopped)) => return,
                Err(error) => tracing::warn!(?error, "housekeeping failed; the next tick tries again"),
            }
        }
    }
}

/// A partition that this server writes.
struct Partition {
    store: Store,
    poster: Poster,
    posted_ms: u64,
}

impl Partition {
    /// Adds up what is new in clearing, and posts it where that is due.
    async fn post(&mut self, queries: &Arc<Queries>, now_ms: u64) -> Result<(), Failure> {
        if !self.store.homes().is_one() {
            return self.post_home(now_ms).await;
        }
        // Reading waits for the database: away from the handlers' threads.
        let (mut poster, queries) = (core::mem::replace(&mut self.poster, Poster::new(0)), Arc::clone(queries));
        let looked = tokio::task::spawn_blocking(move || {
            let is_due = poster.look(&queries, now_ms);
            (poster, is_due)
        });
        let Ok((poster, is_due)) = looked.await else { return Err(StoreError::Stopped.into()) };
        self.poster = poster;
        if !is_due? {
            return Ok(());
        }
        loop {
            let Ok(random) = entropy::random() else { return Ok(()) };
            let Some(part) = self.poster.next(now_ms, random) else { return Ok(()) };
            if self.store.execute(part).await?.is_none() {
                // Another server has taken the partition, or what was committed is not read yet.
                return Ok(());
            }
        }
    }

    /// On a cluster the writer adds up itself: a scan for another than itself would go over all machines.
    async fn post_home(&mut self, now_ms: u64) -> Result<(), Failure> {
        if now_ms.abs_diff(self.posted_ms) < POSTING_INTERVAL_MS {
            return Ok(());
        }
        self.posted_ms = now_ms;
        let Ok(random) = entropy::random() else { return Ok(()) };
        self.store.execute(commands::PostClearing { now_ms, random }).await.map(drop)
    }
}
