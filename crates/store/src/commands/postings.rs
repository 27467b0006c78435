//! Posting what waits in clearing to the merchants.

use ledger::posting::{clearing, payable};
use platform::{Change, UnixMs, postings};

use crate::{Command, Env, Failure, Store, Tables};

/// The most journal records posted in one command; the rest wait for the next.
const MAX_RECORDS: usize = 20_000;

/// Posts what went through this partition's clearing to its merchants, one net entry a merchant.
pub struct PostClearing {
    /// The present time.
    pub now_ms: UnixMs,
    /// Random bytes that make the postings' ids unique.
    pub random: [u8; 10],
}

impl Command for PostClearing {
    /// How many merchants something was posted to or from.
    type Answer = usize;

    async fn carry_out(self, store: &Store) -> Result<usize, Failure> {
        let mut posted = 0;
        for home in store.reached() {
            let mut random = self.random;
            random[8..].iter_mut().zip(home.to_be_bytes()).for_each(|(byte, mark)| *byte ^= mark);
            posted += store.in_home(home, Self { now_ms: self.now_ms, random }).await?;
        }
        Ok(posted)
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<usize, Failure> {
        let partition = tables.partition();
        let (sums, up_to) = tables.unposted(MAX_RECORDS)?;
        let mut posted = 0;
        for (number, unposted) in sums.into_iter().enumerate() {
            let touched = [clearing(partition, unposted.currency), payable(unposted.merchant.0, unposted.currency)];
            let balances = tables.balances(&touched)?;
            let reference = reference(self.now_ms, self.random, number);
            let changes = postings::post(&unposted, partition, reference, self.now_ms, &balances);
            posted += usize::from(changes.iter().any(|change| matches!(change, Change::Book(_))));
            tables.apply_all(&changes)?;
        }
        tables.apply(&Change::PostedUpTo(up_to))?;
        Ok(posted)
    }
}

/// An id for each posting of a command: its time, its place in the batch, and the command's random bytes.
fn reference(now_ms: UnixMs, random: [u8; 10], number: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    id[6..].copy_from_slice(&random);
    // MAX_RECORDS fits two bytes.
    let [low, high, ..] = number.to_le_bytes();
    id[6..8].copy_from_slice(&[high, low]);
    id
}
