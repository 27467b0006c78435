//! Adds up what waits in a partition's clearing, beside the writer, a little at each look; and cuts the posting of it into
//! parts that the writer books between payments.
//!
//! Nothing here need survive: how far a posting is stands in the partition's own row, written with what was booked. Who
//! comes later adds up the rest anew from the journal.

use std::collections::VecDeque;

use platform::UnixMs;
use platform::postings::Unposted;

use crate::commands::PostPart;
use crate::engine::View;
use crate::key::{Key, Numbered};
use crate::lookups::{ClearingSums, waiting_places};
use crate::queries::fields;
use crate::rows::{PartitionState, Place};
use crate::{Queries, StoreError};

/// How long what many payments put into clearing is added up before it is posted. The longer, the fewer postings there
/// are to a payment, and the later a merchant's balance tells of it; what waits is told beside it meanwhile.
pub const POSTING_INTERVAL_MS: u64 = 4_000;
/// As few payments as this are posted at the next look.
const FEW: usize = 64;
/// The most merchants posted to in one transaction, so that no payment waits long for it.
const MAX_PART: usize = 128;
/// Records read at a time: readers and the writer share what they are read from.
const PIECE: usize = 1_000;
/// Records in one posting; the rest wait for the next.
const MAX_RECORDS: usize = 200_000;

/// What one partition's next posting will be.
#[derive(Debug)]
pub struct Poster {
    partition: u32,
    /// The state that the sums were begun on.
    base: Option<PartitionState>,
    up_to: u64,
    records: usize,
    /// Of the records, those of payments and refunds.
    counted: usize,
    sums: ClearingSums,
    posted_ms: UnixMs,
    /// What is left of the posting under way.
    parts: VecDeque<Unposted>,
    after: Option<Place>,
    /// Whether parts of it have been given out, or all there were.
    has_begun: bool,
    has_ended: bool,
}

impl Poster {
    /// For this partition.
    pub fn new(partition: u32) -> Self {
        Self {
            partition,
            base: None,
            up_to: 0,
            records: 0,
            counted: 0,
            sums: ClearingSums::default(),
            posted_ms: 0,
            parts: VecDeque::new(),
            after: None,
            has_begun: false,
            has_ended: false,
        }
    }

    /// Adds up what is new, and says whether it is to be posted now: then [`Poster::next`] gives the parts. Waits for the
    /// database.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn look(&mut self, queries: &Queries, now_ms: UnixMs) -> Result<bool, StoreError> {
        let is_due = queries.with(|view| self.add_up(view, now_ms));
        if is_due.is_err() {
            self.forget();
        }
        is_due
    }

    fn add_up(&mut self, view: &mut dyn View, now_ms: UnixMs) -> Result<bool, StoreError> {
        let state = fields(view, &Key::partition(self.partition))?;
        let Some(state) = state.map(|fields| PartitionState::from_row(&fields)).transpose()? else { return Ok(false) };
        let is_known = self.base.is_some_and(|base| (base.posted, base.posting) == (state.posted, state.posting));
        // What was given out may have been booked or not: what is stored tells.
        if !is_known || self.has_begun {
            self.forget();
            self.up_to = state.posted;
        }
        self.base = Some(state);
        self.after = state.posting.map(|posting| posting.after);
        let end = state.posting.map_or(state.head.number, |posting| posting.up_to);
        while self.up_to < end && (self.records < MAX_RECORDS || state.posting.is_some()) {
            let records = view.scan(Numbered::Journal, self.up_to, end, PIECE)?;
            let Some((last, _)) = records.last() else { break };
            self.up_to = *last;
            self.records += records.len();
            self.counted += self.sums.add(&records, self.partition, &state)?;
        }
        // A clock that was set back must not hold a posting up.
        let is_time = now_ms < self.posted_ms || now_ms - self.posted_ms >= POSTING_INTERVAL_MS;
        let is_due = is_time || state.posting.is_some() || (self.records > 0 && self.counted <= FEW);
        if is_due {
            // Refunds may wait for payments that another partition has posted since: nothing here tells of those.
            for place in waiting_places(view, self.partition)? {
                self.sums.expect(place);
            }
            self.posted_ms = now_ms;
            self.has_begun = true;
            self.parts = core::mem::take(&mut self.sums).into_parts().collect();
            self.parts.retain(|part| self.after.is_none_or(|after| (part.merchant, part.currency) > after));
        }
        Ok(is_due && (self.up_to > state.posted || !self.parts.is_empty()))
    }

    /// The next part of a posting that is due, none after its last. They are to be carried out one after the other;
    /// where one is not, the rest will change nothing, and the next look begins with what is stored.
    pub fn next(&mut self, now_ms: UnixMs, random: [u8; 10]) -> Option<PostPart> {
        self.next_of(MAX_PART, now_ms, random)
    }

    /// The same with at most so many merchants.
    pub fn next_of(&mut self, most: usize, now_ms: UnixMs, random: [u8; 10]) -> Option<PostPart> {
        let base = self.base.filter(|_| self.has_begun && !self.has_ended)?;
        let sums: Vec<Unposted> = self.parts.drain(..most.clamp(1, MAX_PART).min(self.parts.len())).collect();
        let (from, up_to, after) = (base.posted, self.up_to, self.after);
        self.has_ended = self.parts.is_empty();
        if up_to > from {
            self.after = sums.last().map(|sum| (sum.merchant, sum.currency)).or(after);
        }
        Some(PostPart { partition: self.partition, from, up_to, after, sums, is_last: self.has_ended, now_ms, random })
    }

    /// Forgets what was added up; the next look begins with what is stored.
    pub fn forget(&mut self) {
        *self = Self { posted_ms: self.posted_ms, ..Self::new(self.partition) };
    }
}
