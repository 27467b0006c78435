//! The carrier: a thread that carries over into the database file what waits in front of it, a whole segment of the log
//! before it puts the segment aside.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::file::{DatabaseFile, NotCarried};
use super::pending::{Generation, Shared};
use super::{CARRIED_ROWS, log};
use crate::StoreError;

/// How long the carrier waits before it tries again what did not go (a full disk).
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The longest it rests at a time.
const MAX_REST: Duration = Duration::from_millis(20);
/// How long it waits at a time, and how often, until nobody else looks at what it has carried over.
const LOOK: Duration = Duration::from_millis(5);
const MAX_LOOKS: usize = 100;
/// How long it sleeps where nobody wakes it.
const SLEEP: Duration = Duration::from_secs(1);

/// Carries over until the engine closes; then whatever is left, and ends.
pub(super) fn carry_over(mut file: DatabaseFile, database: PathBuf, shared: Arc<Shared>) {
    step_back();
    loop {
        let waiting = shared.read().before.clone();
        let Some((generation, segment)) = waiting else {
            let signals = shared.signals();
            if signals.closing {
                drop(signals);
                file.close();
                return;
            }
            // Looked at again under the lock: what comes from now on wakes us.
            if shared.read().before.is_none() {
                drop(shared.wait(signals, SLEEP));
            }
            continue;
        };
        match file.carry(&generation, segment, |time| rest(&shared, time)) {
            Ok(()) => {
                if let Err(error) = log::leave(&database, segment) {
                    // It is in the file: the next start removes it.
                    tracing::warn!(%error, "a segment of the log that was carried over could not be put aside");
                }
                // Freeing so many rows takes a while: not while others wait for the lock.
                let mut generations = shared.write();
                shared.carried.fetch_add(1, Ordering::Release);
                let carried = generations.before.take();
                drop(generations);
                shared.notify();
                drop(carried);
                free(generation);
            }
            Err(NotCarried::TryAgain(error)) => {
                tracing::error!(%error, "the log could not be carried over; it is kept, and tried again");
                if shared.signals().closing {
                    // The next start carries it over.
                    return;
                }
                std::thread::sleep(TRY_AGAIN_AFTER);
            }
            Err(NotCarried::Broken(error)) => {
                tracing::error!(%error, "the database file failed; what was acknowledged is in the log");
                give_up(&shared, error);
                return;
            }
        }
    }
}

/// Frees a generation here, and not in the writer, which looks at it until its next transaction.
fn free(generation: Arc<Generation>) {
    for _ in 0..MAX_LOOKS {
        if Arc::strong_count(&generation) == 1 {
            break;
        }
        std::thread::sleep(LOOK);
    }
}

/// Leaves the disk to the log for this long, unless too much waits already. The processors need no rest from it: it takes what
/// the others leave.
pub(super) fn rest(shared: &Shared, time: Duration) {
    // Before SQLite's log goes home, so that all of it can; and after, so that it can begin anew.
    shared.looks_asked_for.fetch_add(1, Ordering::Release);
    let is_late = shared.read().present.rows.len() >= CARRIED_ROWS;
    if !is_late && !shared.signals().closing {
        std::thread::sleep(time.min(MAX_REST));
    }
}

/// Takes what the others leave of the processors, for nobody waits for what is carried over; of a busy one about a thirtieth of what
/// another thread takes. Not nothing: where other programs take all there is, it must still come through. Linux keeps this for
/// each thread; elsewhere it would hold back the whole program.
#[cfg(target_os = "linux")]
fn step_back() {
    /// A weight of 36, where that of other threads is 1,024.
    const NICE: i32 = 15;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the carrier keeps the priority of the others");
    }
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

fn give_up(shared: &Shared, error: StoreError) {
    shared.signals().broken = Some(error);
    shared.notify();
}
