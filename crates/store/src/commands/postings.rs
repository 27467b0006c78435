//! Posting what waits in clearing to the merchants.

use ledger::posting::{clearing, payable};
use platform::{Reason, UnixMs, postings};

use crate::{Command, Env, Failure, Tables};

/// The most merchants posted in one command; the rest wait for the next.
const MAX_MERCHANTS: usize = 500;

/// Posts to as many merchants as have something waiting, up to `MAX_MERCHANTS`.
pub struct PostClearing {
    /// The present time.
    pub now_ms: UnixMs,
    /// Random bytes that make the postings' ids unique.
    pub random: [u8; 10],
}

impl Command for PostClearing {
    /// How many merchants were posted to.
    type Answer = usize;

    fn run(self, tables: &mut dyn Tables, env: &Env) -> Result<usize, Failure> {
        let partition = env.settings.partition;
        let mut posted = 0;
        for (number, unposted) in tables.unposted(MAX_MERCHANTS)?.into_iter().enumerate() {
            let touched = [clearing(partition, unposted.currency), payable(unposted.merchant.0, unposted.currency)];
            let balances = tables.balances(&touched)?;
            let reference = reference(self.now_ms, self.random, number);
            match postings::post(&unposted, partition, reference, self.now_ms, &balances) {
                Ok(changes) => {
                    tables.apply_all(&changes)?;
                    posted += 1;
                }
                // The merchant owes more than it is owed: its items wait for payments to cover them.
                Err(refusal) if refusal.reason == Reason::BooksRefused => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(posted)
    }
}

/// An id for each posting of a command: its time, its place in the batch, and the command's random bytes.
fn reference(now_ms: UnixMs, random: [u8; 10], number: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    id[6..].copy_from_slice(&random);
    // MAX_MERCHANTS fits two bytes.
    let [low, high, ..] = number.to_le_bytes();
    id[6..8].copy_from_slice(&[high, low]);
    id
}
