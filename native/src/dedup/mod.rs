//! Which events were counted already: the state that travels in the same commit as the counts.

pub mod blob;
pub mod fingerprints;
pub mod ranges;
pub mod sequenced;
pub mod table;

use crate::error::CoreError;
use crate::identity::Identity;
use fingerprints::Fingerprints;
use sequenced::SequencedIds;

/// All ids seen, and those added since the last flush.
#[derive(Clone)]
pub struct DedupState {
    key_check: u64,
    sequenced: SequencedIds,
    foreign: Fingerprints,
    new_sequenced: SequencedIds,
    new_foreign: Vec<u128>,
}

impl DedupState {
    /// `key_check` ties blobs to the hash key of the identities (see `identity`).
    pub fn new(key_check: u64) -> Self {
        DedupState {
            key_check,
            sequenced: SequencedIds::default(),
            foreign: Fingerprints::default(),
            new_sequenced: SequencedIds::default(),
            new_foreign: Vec::new(),
        }
    }

    pub fn sequenced(&self) -> &SequencedIds {
        &self.sequenced
    }

    pub fn foreign_ids(&self) -> usize {
        self.foreign.len()
    }

    /// Bytes of memory that the ids take, those of the next blob included.
    pub fn memory_bytes(&self) -> usize {
        self.sequenced.memory_bytes()
            + self.foreign.memory_bytes()
            + self.new_sequenced.memory_bytes()
            + self.new_foreign.capacity() * size_of::<u128>()
    }

    /// Starts loading what `insert` will look at.
    #[inline]
    pub fn prefetch(&self, identity: Identity) {
        match identity {
            Identity::Sequenced { incarnation, .. } => self.sequenced.prefetch(incarnation),
            Identity::Foreign { fingerprint } => self.foreign.prefetch(fingerprint),
        }
    }

    /// Remembers an id; false if it was there.
    #[inline]
    pub fn insert(&mut self, identity: Identity) -> bool {
        match identity {
            Identity::Sequenced { incarnation, sequence } => {
                let new = self.sequenced.insert(incarnation, sequence);
                if new {
                    self.new_sequenced.insert(incarnation, sequence);
                }
                new
            }
            Identity::Foreign { fingerprint } => {
                let new = self.foreign.insert(fingerprint);
                if new {
                    self.new_foreign.push(fingerprint);
                }
                new
            }
        }
    }

    /// The ids added since the last call, packed; empty if there are none.
    pub fn take_blob(&mut self) -> Vec<u8> {
        if self.new_sequenced.incarnations() == 0 && self.new_foreign.is_empty() {
            return Vec::new();
        }
        let blob = blob::encode(
            self.key_check,
            self.new_sequenced.incarnations(),
            self.new_sequenced.iter(),
            self.new_foreign.len(),
            self.new_foreign.iter().copied(),
        );
        self.new_sequenced.clear();
        self.new_foreign = Vec::new();
        blob
    }

    /// All ids, packed; equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        blob::encode(
            self.key_check,
            self.sequenced.incarnations(),
            self.sequenced.iter(),
            self.foreign.len(),
            self.foreign.iter(),
        )
    }

    /// Adds the ids of a committed blob; they are not part of the next blob. A refused blob changes nothing; the empty one
    /// (of a flush without new ids) adds none.
    pub fn restore(&mut self, blob: &[u8]) -> Result<(), CoreError> {
        if blob.is_empty() {
            return Ok(());
        }
        let (sequenced, foreign) = (&mut self.sequenced, &mut self.foreign);
        blob::decode(
            blob,
            self.key_check,
            |incarnation, low, high| {
                sequenced.insert_range(incarnation, low, high);
            },
            |fingerprint| {
                foreign.insert(fingerprint);
            },
        )
    }
}
