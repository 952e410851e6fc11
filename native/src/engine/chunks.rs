//! The core's memory of ids, as jobs handle it: chunks, held events, forgetting, sizes.

use crate::dedup::filter::SharedBytes;
use crate::engine::Core;
use crate::error::CoreError;
use crate::held::Lookups;
use crate::ingest;
use crate::outcome::Outcome;

/// Sizes, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All of the memory, that of held events too.
    pub memory_bytes: usize,
    /// Of foreign ids that are known exactly, and of those in the next blob.
    pub exact_bytes: usize,
    /// Of cold chunks, hours included.
    pub filter_bytes: usize,
    pub sequenced_bytes: usize,
    pub sequenced_incarnations: usize,
    pub sequenced_ranges: u64,
    pub sequenced_events: u64,
    /// Foreign ids that are known exactly.
    pub foreign_ids: usize,
    pub chunks: usize,
    /// Foreign ids behind filters.
    pub filtered_ids: u64,
    /// Foreign ids of chunks without a filter.
    pub hourly_ids: u64,
    pub held_events: usize,
}

impl Core {
    /// From here on new and restored foreign ids go to the chunk `number`. Nothing may be pending.
    pub fn begin_chunk(&mut self, number: u64) -> Result<(), CoreError> {
        let pending = &self.pending;
        if pending.counters.events_in > 0 || pending.dedup.has_new() || !pending.held.is_empty() {
            let message = "events are pending or held: flush, then begin a chunk, for a commit's ids belong to one";
            return Err(CoreError::NotNow(message.to_owned()));
        }
        self.pending.dedup.begin_chunk(number)
    }

    /// Makes a chunk cold, or adds a cold one; `hours` and `filter` are what `ChunkFold` made.
    pub fn set_chunk(
        &mut self,
        number: u64,
        ids: u64,
        hours: &[u8],
        filter: Option<SharedBytes>,
    ) -> Result<(), CoreError> {
        self.pending.dedup.set_chunk(number, ids, hours, filter)
    }

    /// Forgets the ids of a chunk.
    pub fn forget_chunk(&mut self, number: u64) -> Result<(), CoreError> {
        self.pending.dedup.forget_chunk(number)
    }

    /// Forgets the incarnations whose last new event was appended before a day; returns how many events they had.
    pub fn forget_sequenced(&mut self, before_day: u16) -> u64 {
        self.pending.dedup.forget_sequenced(before_day)
    }

    /// Events before it are too old, whatever the horizon.
    pub fn floor_us(&self) -> i64 {
        self.floor_us
    }

    pub fn set_floor_us(&mut self, floor_us: i64) {
        self.floor_us = floor_us;
    }

    /// Events that wait for `resolve`.
    pub fn held_events(&self) -> usize {
        self.pending.held.len()
    }

    /// Fingerprints to look for, by chunk, that were not taken yet.
    pub fn take_lookups(&mut self) -> Lookups {
        self.pending.held.take_lookups()
    }

    /// Counts the held events whose lookups were taken, those in `known` (16 bytes each) as duplicates. Either all of them
    /// are counted, or (on an error) none.
    pub fn resolve(&mut self, known: &[u8]) -> Result<Outcome, CoreError> {
        let known = self.pending.held.read_answer(known)?;
        let most = self.pending.held.asked_events() as u64;
        self.all_or_nothing(most, |core| ingest::resolve(&core.spec, &mut core.working, &mut core.pending, known))
    }

    pub fn stats(&self) -> Stats {
        let (dedup, held) = (&self.pending.dedup, &self.pending.held);
        let (sequenced_bytes, exact_bytes) = dedup.memory_bytes();
        let (sequenced, foreign) = (dedup.sequenced(), dedup.foreign());
        let filter_bytes = foreign.cold.memory_bytes();
        let mut stats = Stats {
            memory_bytes: sequenced_bytes + exact_bytes + filter_bytes + held.memory_bytes(),
            exact_bytes,
            filter_bytes,
            sequenced_bytes,
            sequenced_incarnations: sequenced.incarnations(),
            sequenced_ranges: sequenced.ranges(),
            sequenced_events: sequenced.events(),
            foreign_ids: foreign.exact_ids(),
            chunks: foreign.exact_chunks(),
            held_events: held.len(),
            ..Stats::default()
        };
        for chunk in foreign.cold.iter() {
            stats.chunks += 1;
            match chunk.filter {
                Some(_) => stats.filtered_ids += chunk.ids,
                None => stats.hourly_ids += chunk.ids,
            }
        }
        stats
    }
}
