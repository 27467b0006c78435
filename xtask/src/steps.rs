//! Steps in order: each is announced, timed, and the first that fails ends the run.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::process;

/// A run of steps.
pub(crate) struct Steps {
    started: Instant,
    done: usize,
    of: usize,
    limit: Duration,
}

impl Steps {
    /// A run of this many steps, each of which may take so long.
    pub(crate) fn new(of: usize, limit: Duration) -> Self {
        Self { started: Instant::now(), done: 0, of, limit }
    }

    /// Runs the next step. One that takes too long is told by name, and every program it has started is ended: before
    /// somebody further out loses patience and tells nothing.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        self.done += 1;
        let (number, of) = (self.done, self.of);
        println!("\n=== {number}/{of} {name}");
        let started = Instant::now();
        let (ended, hung) = within(self.limit, process::end_descendants, work);
        let hung = if hung { format!("hangs, ended after {} s: ", self.limit.as_secs()) } else { String::new() };
        ended.map_err(|sentence| format!("step {number}/{of}, {name}, failed: {hung}{sentence}"))?;
        println!("=== {number}/{of} {name}: ok, {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Says that all went well.
    pub(crate) fn end(self) {
        println!("\n=== all {} steps passed in {:.0} s", self.done, self.started.elapsed().as_secs_f64());
    }
}

/// Does some work, and ends it where it takes too long; what came of it, and whether it did.
fn within<T>(limit: Duration, end: impl FnOnce() + Send, work: impl FnOnce() -> T) -> (T, bool) {
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let is_late = is_done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_late {
                end();
            }
            is_late
        });
        let ended = work();
        drop(done);
        (ended, watch.join().unwrap_or(false))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::within;

    #[test]
    fn work_that_hangs_is_ended_and_other_work_is_not() {
        let (end, is_ended) = channel();
        let hangs = || is_ended.recv_timeout(Duration::from_secs(60));
        let told = within(Duration::from_millis(50), move || end.send(()).unwrap_or_default(), hangs);
        assert_eq!(told, (Ok(()), true));
        let works = Cell::new(0);
        let ended = within(Duration::from_secs(600), || panic!("ended in time"), || works.set(1));
        assert_eq!((ended, works.get()), (((), false), 1));
    }
}
