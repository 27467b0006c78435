//! What happens at the servers: work, commits, crashes, restarts.

use store::Poster;
use store::engine::{Engine, Outcome, Writes};

use crate::database::Fate;
use crate::faults::Fault;
use crate::message::{Request, Ticket};
use crate::server;
use crate::world::{Event, World};

/// Who holds what was lost on its way to the disk, counted up from here: no server has such a number.
const FIRST_HEIR: usize = 1 << 32;

impl World {
    /// A request is at a server's door.
    pub(crate) fn arrives(&mut self, number: usize, exchange: Option<usize>, request: Request) {
        let Some(server) = self.servers.get_mut(number) else { return };
        if !server.has_room() {
            self.faults.count(Fault::ServerGone);
            return;
        }
        // From here on it may take effect.
        let told_before = self.truth.arrives(&request, number);
        server.take_in(Ticket { exchange, request, told_before });
        // Whoever comes while it lingers shares the batch.
        if server.waiting() == 1 {
            let (run, after_ms) = (server.run, self.random.u64(1..=self.plan.linger_ms));
            self.after(after_ms, Event::Work { server: number, run });
        }
    }

    /// A server decides its next batch.
    pub(crate) fn work(&mut self, number: usize, run: u32) -> Result<(), String> {
        let (read_fails, breaks) = (self.befalls(self.plan.read_fails), self.befalls(300));
        let reads_left = read_fails.then(|| self.random.u32(0..12));
        let now_ms = self.now_ms;
        let Some(server) = self.servers.get_mut(number).filter(|server| server.run == run) else { return Ok(()) };
        if !server.may_decide() {
            return Ok(());
        }
        let mut batch = server.next_batch(&self.env, now_ms, &mut self.random);
        let Some(engine) = &mut server.engine else { return Ok(()) };
        engine.reads_left = reads_left;
        engine.connection_breaks = breaks;
        let decided = batch.decide(engine, &self.env);
        let failed = core::mem::take(&mut engine.failed_reads) > 0;
        engine.reads_left = None;
        engine.connection_breaks = false;
        if failed {
            self.faults.count(Fault::ReadFailed);
        }
        match decided {
            Err(outcome) => {
                batch.end(&outcome);
                self.drain(number)?;
                if matches!(outcome, Outcome::Unknown(_)) {
                    self.gone(number, None);
                }
            }
            Ok(writes) if engine.may_conflict() => {
                server.deciding = Some((batch, writes));
                let after_ms = self.random.u64(1..25);
                self.after(after_ms, Event::Commit { server: number, run });
            }
            Ok(writes) => {
                if now_ms < server.disk_full_until_ms {
                    engine.fate = Fate::DiskFull;
                    self.faults.count(Fault::DiskFull);
                }
                engine.commit_later(writes, Box::new(move |outcome| batch.end(&outcome)));
                self.sync_later(number);
                self.drain(number)?;
            }
        }
        self.look_again(number);
        Ok(())
    }

    fn look_again(&mut self, number: usize) {
        let Some(server) = self.servers.get(number).filter(|server| server.may_decide()) else { return };
        let run = server.run;
        self.after(1, Event::Work { server: number, run });
    }

    /// One sync for each transaction that is not durable, one after the other.
    fn sync_later(&mut self, number: usize) {
        let takes_ms = self.random.u64(1..30);
        let now_ms = self.now_ms;
        let Some(server) = self.servers.get_mut(number) else { return };
        server.synced_at_ms = server.synced_at_ms.max(now_ms) + takes_ms;
        let (run, after_ms) = (server.run, server.synced_at_ms - now_ms);
        self.after(after_ms, Event::Synced { server: number, run });
    }

    /// A server on a shared disk commits.
    pub(crate) fn commit(&mut self, number: usize, run: u32) -> Result<(), String> {
        let (crashes, unknown) = (self.befalls(self.plan.crash_at_commit), self.befalls(self.plan.unknown));
        let (before, late, landed) = (self.random.bool(), self.random.bool(), self.random.bool());
        self.disk_may_fill(number);
        let now_ms = self.now_ms;
        let Some(server) = self.servers.get_mut(number).filter(|server| server.run == run) else { return Ok(()) };
        let Some((mut batch, writes)) = server.deciding.take() else { return Ok(()) };
        let Some(engine) = &mut server.engine else { return Ok(()) };
        if crashes && before {
            self.faults.count(Fault::CrashBeforeCommit);
            self.gone(number, None);
            return Ok(());
        }
        engine.fate = match (unknown, late, landed) {
            (true, true, _) => Fate::LostAndLate,
            (true, false, true) => Fate::LostAfter,
            (true, false, false) => Fate::LostBefore,
            (false, ..) if now_ms < server.disk_full_until_ms => Fate::DiskFull,
            (false, ..) => Fate::Written,
        };
        if engine.fate == Fate::DiskFull {
            self.faults.count(Fault::DiskFull);
        }
        let outcome = engine.commit(writes);
        if crashes {
            self.faults.count(Fault::CrashBeforeAnswer);
            self.gone(number, None);
            return Ok(());
        }
        match outcome {
            Outcome::Conflict if batch.lost() => {
                self.faults.count(Fault::Conflict);
                let decided = batch.decide(engine, &self.env);
                match decided {
                    Ok(writes) => {
                        server.deciding = Some((batch, writes));
                        let after_ms = self.random.u64(1..25);
                        self.after(after_ms, Event::Commit { server: number, run });
                    }
                    Err(outcome) => {
                        batch.end(&outcome);
                        self.drain(number)?;
                    }
                }
            }
            Outcome::Unknown(_) => {
                self.faults.count(Fault::CommitUnknown);
                let late = engine.late.take();
                batch.end(&outcome);
                self.gone(number, late);
            }
            outcome => {
                batch.end(&outcome);
                self.drain(number)?;
            }
        }
        self.look_again(number);
        Ok(())
    }

    /// The disk of a server that has it alone is done with its oldest transaction.
    pub(crate) fn synced(&mut self, number: usize, run: u32) -> Result<(), String> {
        let (crashes, unknown) = (self.befalls(self.plan.crash_at_commit), self.befalls(self.plan.unknown));
        let (before, landed) = (self.random.bool(), self.random.usize(0..4));
        self.disk_may_fill(number);
        let Some(server) = self.servers.get_mut(number).filter(|server| server.run == run) else { return Ok(()) };
        let Some(engine) = &mut server.engine else { return Ok(()) };
        if crashes {
            if !before {
                engine.sync_one(false);
            }
            self.faults.count(if before { Fault::CrashBeforeCommit } else { Fault::CrashBeforeAnswer });
            self.gone(number, None);
            return Ok(());
        }
        if unknown {
            self.faults.count(Fault::CommitUnknown);
            engine.sync_fails(landed);
            self.drain(number)?;
            self.gone(number, None);
            return Ok(());
        }
        engine.sync_one(true);
        self.drain(number)?;
        self.look_again(number);
        Ok(())
    }

    fn disk_may_fill(&mut self, number: usize) {
        if !self.befalls(self.plan.disk_fills) {
            return;
        }
        let until_ms = self.now_ms + self.random.u64(100..20_000);
        if let Some(server) = self.servers.get_mut(number) {
            server.disk_full_until_ms = until_ms;
        }
    }

    /// What a server has answered leaves it.
    fn drain(&mut self, number: usize) -> Result<(), String> {
        self.settle()?;
        let answers = self.servers.get(number).map(|server| server.outbox.take()).unwrap_or_default();
        for (ticket, reply) in answers {
            self.told(number, &ticket, &reply)?;
            if let Some(exchange) = ticket.exchange {
                self.send(Event::Answered { exchange, reply });
            }
        }
        Ok(())
    }

    /// A server is gone; what it had sent to the disk may still arrive there.
    fn gone(&mut self, number: usize, late: Option<Writes>) {
        let heir = late.map(|writes| {
            self.faults.count(Fault::CommitLate);
            let heir = FIRST_HEIR + self.faults.of(Fault::CommitLate) as usize;
            let after_ms = self.random.u64(1..3_000);
            self.after(after_ms, Event::LandsLate { writes, heir });
            heir
        });
        self.truth.server_gone(number, heir);
        if let Some(server) = self.servers.get_mut(number) {
            server.stop();
        }
        let after_ms = self.random.u64(200..6_000);
        self.after(after_ms, Event::Restart(number));
    }

    pub(crate) fn lands_late(&mut self, writes: Writes, heir: usize) {
        // Where something it stands on has changed meanwhile, it is refused, and nobody is there to hear it.
        let _ = self.disk.lock().commit(writes);
        self.truth.server_gone(heir, None);
    }

    pub(crate) fn crash_now_and_then(&mut self, number: usize) {
        if self.calm {
            return;
        }
        self.after_about(self.plan.crash_every_ms, Event::Crash(number));
        if self.servers.get(number).is_some_and(|server| server.engine.is_some()) {
            self.faults.count(Fault::Crash);
            self.gone(number, None);
        }
    }

    /// A server comes back, and everything that was ever acknowledged must be there.
    pub(crate) fn restart(&mut self, number: usize) -> Result<(), String> {
        let servers = self.servers.len();
        let Some(server) = self.servers.get_mut(number) else { return Ok(()) };
        if server.engine.is_some() {
            return Ok(());
        }
        server.start(server::engine(&self.disk, servers, server.partition));
        self.all_that_was_told_is_there()
    }

    pub(crate) fn post(&mut self, number: usize) -> Result<(), String> {
        if !self.calm {
            self.after_about(5_000, Event::Post(number));
        }
        let Some(server) = self.servers.get(number).filter(|server| server.engine.is_some()) else { return Ok(()) };
        let partition = server.partition;
        self.after(0, Event::Arrives { server: number, exchange: None, request: Request::Sweep });
        if self.calm || self.random.u8(0..4) == 0 {
            self.after(0, Event::Arrives { server: number, exchange: None, request: Request::Post });
            return Ok(());
        }
        // Added up beside the writer and posted in small parts, which may come in another order, or from before a crash.
        let mut poster = Poster::new(partition);
        poster.look(&self.queries, self.now_ms).map_err(|error| error.to_string())?;
        let mut after_ms = 0;
        loop {
            let mut fresh = [0; 10];
            self.random.fill(&mut fresh);
            let most = self.random.usize(1..4);
            let Some(part) = poster.next_of(most, self.now_ms, fresh) else { return Ok(()) };
            after_ms += self.random.u64(0..40);
            let swapped_ms = if self.random.u8(0..8) == 0 { self.random.u64(0..2_000) } else { 0 };
            let request = Request::PostPart(Box::new(part));
            self.after(after_ms + swapped_ms, Event::Arrives { server: number, exchange: None, request });
        }
    }
}
