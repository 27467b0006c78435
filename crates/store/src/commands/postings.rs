//! Posting what waits in clearing to the merchants.

use ledger::posting::{clearing, payable};
use platform::postings::{self, Unposted};
use platform::{Change, UnixMs};

use crate::homes::Homes;
use crate::key::Key;
use crate::rows::{Place, PostingUnderWay};
use crate::{Command, Env, Failure, Store, StoreError, Tables};

/// Journal records read by one command that adds up itself; the rest wait for the next.
const MAX_RECORDS: usize = 20_000;

/// Posts what went through this partition's clearing to its merchants, one net entry a merchant, all of it at once. The
/// writer adds up itself meanwhile: for a partition that nobody else writes. See [`crate::Poster`].
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
        let (sums, up_to) = tables.unposted(MAX_RECORDS)?;
        let sums: Vec<Unposted> = sums.into_parts().collect();
        let posted = post(&sums, self.now_ms, self.random, tables)?;
        tables.apply(&Change::PostedUpTo(up_to))?;
        Ok(posted)
    }
}

/// Posts to some merchants what was added up for them beforehand, and remembers in the same transaction how far the
/// posting is. Where the partition is not as far as this part supposes, it changes nothing: each is posted once.
#[derive(Debug, Clone)]
pub struct PostPart {
    pub(crate) partition: u32,
    /// Everything up to this record had been posted before the posting began.
    pub(crate) from: u64,
    /// The last record in the sums.
    pub(crate) up_to: u64,
    /// The merchant before the first of this part, where the posting is under way.
    pub(crate) after: Option<Place>,
    pub(crate) sums: Vec<Unposted>,
    pub(crate) is_last: bool,
    pub(crate) now_ms: UnixMs,
    pub(crate) random: [u8; 10],
}

impl PostPart {
    /// Whether the posting is as far as this part supposes.
    fn is_next(&self, tables: &Tables<'_>) -> bool {
        let state = tables.state();
        let under_way = self.after.map(|after| PostingUnderWay { up_to: self.up_to, after });
        tables.partition() == self.partition && state.posted == self.from && state.posting == under_way
    }
}

impl Command for PostPart {
    /// How many merchants something was posted to or from; `None` where another posting has come before this one.
    type Answer = Option<usize>;

    fn home(&self, homes: Homes) -> u16 {
        homes.of_partition(self.partition)
    }

    fn wants(&self, known: &Tables<'_>, _: &Env) -> Result<Vec<Key>, StoreError> {
        Ok(touched(&self.sums, known))
    }

    fn run(&self, tables: &mut Tables<'_>, _: &Env) -> Result<Option<usize>, Failure> {
        if !self.is_next(tables) {
            return Ok(None);
        }
        let posted = post(&self.sums, self.now_ms, self.random, tables)?;
        match self.sums.last() {
            _ if self.is_last => tables.apply(&Change::PostedUpTo(self.up_to))?,
            // Where nothing new is posted there is nothing that could be posted twice.
            Some(last) if self.up_to > self.from => {
                let after = (last.merchant, last.currency);
                tables.set_posting(PostingUnderWay { up_to: self.up_to, after });
            }
            _ => {}
        }
        Ok(Some(posted))
    }
}

/// Changes nothing; but the batch that it is in writes the lease of the writer's partition again where that is due, and
/// who asks for it finds out whether the writer is still there.
pub struct KeepPartition;

impl Command for KeepPartition {
    type Answer = ();

    async fn carry_out(self, store: &Store) -> Result<(), Failure> {
        for home in store.reached() {
            store.in_home(home, Self).await?;
        }
        Ok(())
    }

    fn run(&self, _: &mut Tables<'_>, _: &Env) -> Result<(), Failure> {
        Ok(())
    }
}

/// The rows that posting these sums reads.
fn touched(sums: &[Unposted], tables: &Tables<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::with_capacity(2 * sums.len() + 1);
    for Unposted { merchant, currency, .. } in sums {
        keys.push(Key::waiting(tables.partition(), *merchant, *currency));
        keys.push(tables.balance_key(&payable(merchant.0, *currency)));
    }
    let mut currencies: Vec<_> = sums.iter().map(|sum| sum.currency).collect();
    currencies.dedup();
    keys.extend(currencies.iter().map(|currency| tables.balance_key(&clearing(tables.partition(), *currency))));
    keys
}

/// Posts these sums, with what waited before; says to how many merchants something was posted.
fn post(sums: &[Unposted], now_ms: UnixMs, random: [u8; 10], tables: &mut Tables<'_>) -> Result<usize, StoreError> {
    tables.read_ahead(|known| Ok(touched(sums, known)))?;
    let partition = tables.partition();
    let mut posted = 0;
    for (number, sum) in sums.iter().enumerate() {
        let waiting = tables.waiting((sum.merchant, sum.currency))?;
        let net_minor = sum.net_minor.checked_add(waiting).ok_or(StoreError::Corrupt("waiting"))?;
        let unposted = Unposted { net_minor, ..*sum };
        let touched = [clearing(partition, sum.currency), payable(sum.merchant.0, sum.currency)];
        let balances = tables.balances(&touched)?;
        let reference = reference(now_ms, random, number);
        let changes = postings::post(&unposted, partition, reference, now_ms, &balances);
        posted += usize::from(changes.iter().any(|change| matches!(change, Change::Book(_))));
        tables.apply_all(&changes)?;
    }
    Ok(posted)
}

/// An id for each posting of a command: its time, its place in the batch, and the command's random bytes.
fn reference(now_ms: UnixMs, random: [u8; 10], number: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&now_ms.to_be_bytes()[2..]);
    id[6..].copy_from_slice(&random);
    // The sums of MAX_RECORDS, and those that wait, are fewer than two bytes count.
    let [low, high, ..] = number.to_le_bytes();
    id[6..8].copy_from_slice(&[high, low]);
    id
}
