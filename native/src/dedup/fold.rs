//! Folds committed blobs into what outlives them: a chunk of foreign ids, and the state of the sequenced ones.

use crate::dedup::blob::{self, Heading, Sink};
use crate::dedup::fuse;
use crate::dedup::hours::Hours;
use crate::dedup::sequenced::SequencedIds;
use crate::error::CoreError;

/// What the blobs added so far hold together, whatever their order.
pub struct ChunkFold {
    key_check: u64,
    sequenced: SequencedIds,
    hours: Hours,
    fingerprints: Vec<u128>,
    /// How many fingerprints are known to be sorted and distinct.
    sorted: usize,
}

impl ChunkFold {
    /// See `IdentityHasher::key_check`.
    pub fn new(key_check: u64) -> Self {
        ChunkFold {
            key_check,
            sequenced: SequencedIds::default(),
            hours: Hours::default(),
            fingerprints: Vec::new(),
            sorted: 0,
        }
    }

    /// Adds the ids of a blob; a refused one changes nothing.
    pub fn add(&mut self, blob: &[u8]) -> Result<(), CoreError> {
        if blob.is_empty() {
            return Ok(());
        }
        let stats = blob::stats(blob)?;
        if stats.foreign_ids > 0 && stats.hours == 0 {
            return Err(CoreError::Blob(
                "it has foreign ids without their event hours (a core's snapshot?); add the blobs of flushes"
                    .to_owned(),
            ));
        }
        blob::decode(blob, self.key_check, self)
    }

    /// The distinct foreign ids, ascending.
    pub fn fingerprints(&mut self) -> &[u128] {
        if self.sorted < self.fingerprints.len() {
            self.fingerprints.sort_unstable();
            self.fingerprints.dedup();
            self.sorted = self.fingerprints.len();
        }
        &self.fingerprints
    }

    pub fn hours(&self) -> &Hours {
        &self.hours
    }

    /// A filter of the foreign ids (see `fuse`).
    pub fn filter(&mut self) -> Result<Vec<u8>, CoreError> {
        let key_check = self.key_check;
        fuse::build(self.fingerprints(), key_check)
    }

    /// How many sequenced ids there are.
    pub fn sequenced_events(&self) -> u64 {
        self.sequenced.events()
    }

    /// The sequenced ids as a blob, but for incarnations whose last new event was appended before `day`; empty if there are
    /// none.
    pub fn sequenced(&self, before_day: u16) -> Vec<u8> {
        let kept = || self.sequenced.iter().filter(|incarnation| incarnation.day >= before_day);
        let count = kept().count();
        if count == 0 {
            return Vec::new();
        }
        let heading =
            Heading { key_check: self.key_check, append_day: self.sequenced.last_day(), hours: &Hours::default() };
        blob::encode(heading, count, kept(), &[])
    }
}

impl Sink for ChunkFold {
    fn range(&mut self, incarnation: u128, day: u16, low: u64, high: u64) {
        self.sequenced.insert_range(incarnation, low, high, day);
    }

    fn foreign(&mut self, fingerprint: u128) {
        self.fingerprints.push(fingerprint);
    }

    fn hour(&mut self, hour: u32) {
        self.hours.insert(hour);
    }
}
