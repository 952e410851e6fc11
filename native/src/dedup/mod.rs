//! Which events were counted already: the state that travels in the same commit as the counts.

pub mod blob;
pub mod cold;
pub mod filter;
pub mod fingerprints;
pub mod fold;
pub mod foreign;
pub mod fuse;
pub mod hours;
pub mod ranges;
pub mod sequenced;
pub mod table;

use crate::error::CoreError;
use crate::identity::Identity;
use blob::{Heading, Sink};
use cold::{ColdChunk, Maybe, Suspect};
use filter::{Filter, SharedBytes};
use foreign::ForeignIds;
use hours::{Hours, hour_of};
use sequenced::SequencedIds;

/// All ids seen, and those added since the last flush.
#[derive(Clone)]
pub struct DedupState {
    key_check: u64,
    sequenced: SequencedIds,
    foreign: ForeignIds,
    new_sequenced: SequencedIds,
    new_foreign: Vec<u128>,
    /// Event hours of the new foreign ids.
    new_hours: Hours,
    /// Newest append day of the new ids.
    new_day: u16,
}

/// An event, as far as deduplication looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    pub identity: Identity,
    pub time_us: i64,
    /// Days since 1970-01-01 of its record's append time.
    pub append_day: u16,
}

impl DedupState {
    /// `key_check` ties blobs to the hash key of the identities (see `identity`).
    pub fn new(key_check: u64) -> Self {
        DedupState {
            key_check,
            sequenced: SequencedIds::default(),
            foreign: ForeignIds::default(),
            new_sequenced: SequencedIds::default(),
            new_foreign: Vec::new(),
            new_hours: Hours::default(),
            new_day: 0,
        }
    }

    pub fn sequenced(&self) -> &SequencedIds {
        &self.sequenced
    }

    pub fn foreign(&self) -> &ForeignIds {
        &self.foreign
    }

    /// Bytes of sequenced ids, and of foreign ids that are known exactly; those of the next blob included.
    pub fn memory_bytes(&self) -> (usize, usize) {
        let new_foreign = self.new_foreign.capacity() * size_of::<u128>() + self.new_hours.memory_bytes();
        (self.sequenced.memory_bytes() + self.new_sequenced.memory_bytes(), self.foreign.exact_bytes() + new_foreign)
    }

    /// Starts loading what `insert` will look at.
    #[inline]
    pub fn prefetch(&self, identity: Identity) {
        match identity {
            Identity::Sequenced { incarnation, .. } => self.sequenced.prefetch(incarnation),
            Identity::Foreign { fingerprint } => self.foreign.prefetch(fingerprint),
        }
    }

    /// Whether there are chunks that `maybes` may name.
    #[inline]
    pub fn has_cold_chunks(&self) -> bool {
        !self.foreign.cold.is_empty()
    }

    /// The event as one that a cold chunk may know: its id is foreign, and no exact chunk has it.
    #[inline]
    pub fn suspect(&self, at: u32, identity: Identity, time_us: i64) -> Option<Suspect> {
        match identity {
            Identity::Foreign { fingerprint } if !self.foreign.has(fingerprint) => {
                Some(Suspect { at, fingerprint, hour: hour_of(time_us) })
            }
            _ => None,
        }
    }

    /// Writes to `found` which cold chunks may know which suspects, but for what was recalled.
    pub fn maybes(&self, suspects: &[Suspect], found: &mut Vec<Maybe>) {
        self.foreign.cold.find(suspects, found);
    }

    /// Whether the store was found to have the id, not long ago.
    pub fn is_recalled(&self, fingerprint: u128) -> bool {
        self.foreign.is_recalled(fingerprint)
    }

    /// Remembers for a while that a cold chunk has the id.
    pub fn recall(&mut self, fingerprint: u128) {
        self.foreign.recall(fingerprint);
    }

    /// Remembers an id; false if it was there, in what is known exactly.
    #[inline]
    pub fn insert(&mut self, sighting: Sighting) -> bool {
        let day = sighting.append_day;
        let new = match sighting.identity {
            Identity::Sequenced { incarnation, sequence } => {
                let new = self.sequenced.insert(incarnation, sequence, day);
                if new {
                    self.new_sequenced.insert(incarnation, sequence, day);
                }
                new
            }
            Identity::Foreign { fingerprint } => {
                let new = self.foreign.insert(fingerprint);
                if new {
                    self.new_foreign.push(fingerprint);
                    self.new_hours.insert(hour_of(sighting.time_us));
                }
                new
            }
        };
        if new {
            self.new_day = self.new_day.max(day);
        }
        new
    }

    /// Whether `take_blob` has something to take.
    pub fn has_new(&self) -> bool {
        self.new_sequenced.incarnations() > 0 || !self.new_foreign.is_empty()
    }

    /// The ids added since the last call, packed; empty if there are none.
    pub fn take_blob(&mut self) -> Vec<u8> {
        if !self.has_new() {
            return Vec::new();
        }
        let heading = Heading { key_check: self.key_check, append_day: self.new_day, hours: &self.new_hours };
        let incarnations = self.new_sequenced.incarnations();
        let blob = blob::encode(heading, incarnations, self.new_sequenced.iter(), &self.new_foreign);
        self.new_sequenced.clear();
        (self.new_foreign, self.new_hours, self.new_day) = (Vec::new(), Hours::default(), 0);
        blob
    }

    /// All ids that are known exactly, packed, without event hours; equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let append_day = self.sequenced.last_day();
        let heading = Heading { key_check: self.key_check, append_day, hours: &Hours::default() };
        let foreign = self.foreign.exact_in_order();
        blob::encode(heading, self.sequenced.incarnations(), self.sequenced.iter(), &foreign)
    }

    /// Adds the ids of a committed blob, foreign ones to the current chunk; they are not part of the next blob. A refused
    /// blob changes nothing; the empty one (of a flush without new ids) adds none.
    pub fn restore(&mut self, blob: &[u8]) -> Result<(), CoreError> {
        if blob.is_empty() {
            return Ok(());
        }
        blob::decode(blob, self.key_check, self)
    }

    /// See `ForeignIds::begin`.
    pub fn begin_chunk(&mut self, number: u64) -> Result<(), CoreError> {
        self.foreign.begin(number)
    }

    /// Puts a cold chunk in the place of the chunk of its number, or adds it; `filter` is what `fuse::build` made.
    pub fn set_chunk(
        &mut self,
        number: u64,
        ids: u64,
        hours: &[u8],
        filter: Option<SharedBytes>,
    ) -> Result<(), CoreError> {
        let hours = Hours::from_bytes(hours)?;
        if hours.is_empty() != (ids == 0) {
            return Err(CoreError::Chunk(format!("its {ids} ids have {} event hours", hours.len())));
        }
        let filter = filter.map(|bytes| Filter::new(bytes, self.key_check)).transpose()?;
        if let Some(other) = filter.as_ref().map(Filter::ids).filter(|other| *other != ids) {
            return Err(CoreError::Chunk(format!("it has {ids} ids, but its filter was made of {other}")));
        }
        self.foreign.set(ColdChunk { number, ids, hours, filter })
    }

    /// See `ForeignIds::forget`.
    pub fn forget_chunk(&mut self, number: u64) -> Result<(), CoreError> {
        self.foreign.forget(number)
    }

    /// See `SequencedIds::forget_before`.
    pub fn forget_sequenced(&mut self, before_day: u16) -> u64 {
        self.sequenced.forget_before(before_day)
    }
}

impl Sink for DedupState {
    fn range(&mut self, incarnation: u128, day: u16, low: u64, high: u64) {
        self.sequenced.insert_range(incarnation, low, high, day);
    }

    fn foreign(&mut self, fingerprint: u128) {
        self.foreign.insert(fingerprint);
    }

    fn hour(&mut self, _: u32) {}
}

#[cfg(test)]
pub mod tests;
