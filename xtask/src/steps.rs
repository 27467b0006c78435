//! Steps in order: each is announced, timed, and the first that fails ends the run.

use std::time::Instant;

/// A run of steps.
pub(crate) struct Steps {
    started: Instant,
    done: usize,
    of: usize,
}

impl Steps {
    /// A run of this many steps.
    pub(crate) fn new(of: usize) -> Self {
        Self { started: Instant::now(), done: 0, of }
    }

    /// Runs the next step.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        self.done += 1;
        let (number, of) = (self.done, self.of);
        println!("\n=== {number}/{of} {name}");
        let started = Instant::now();
        work().map_err(|sentence| format!("step {number}/{of}, {name}, failed: {sentence}"))?;
        println!("=== {number}/{of} {name}: ok, {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Says that all went well.
    pub(crate) fn end(self) {
        println!("\n=== all {} steps passed in {:.0} s", self.done, self.started.elapsed().as_secs_f64());
    }
}
