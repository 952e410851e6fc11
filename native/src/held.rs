//! Events that may be in a cold chunk: kept whole, in the order of their arrival, until the store has answered.

use std::collections::{BTreeMap, HashSet};

use crate::dedup::cold::Maybe;
use crate::error::CoreError;
use crate::outcome::Payload;
use crate::stage::Stage;

const FINGERPRINT: usize = size_of::<u128>();

/// Fingerprints to look for, by chunk.
pub type Lookups = BTreeMap<u64, Vec<u8>>;

/// The held events of one partition.
#[derive(Clone)]
pub struct HeldEvents {
    dimensions: usize,
    /// Events whose lookups were not taken yet, and those lookups.
    open: Stage,
    open_ids: HashSet<u128>,
    lookups: Lookups,
    /// Events whose lookups were taken, in the order of arrival.
    asked: Vec<Stage>,
    asked_ids: HashSet<u128>,
}

impl HeldEvents {
    pub fn new(dimensions: usize) -> Self {
        HeldEvents {
            dimensions,
            open: Stage::new(dimensions),
            open_ids: HashSet::new(),
            lookups: Lookups::new(),
            asked: Vec::new(),
            asked_ids: HashSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.open_ids.len() + self.asked_ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        let ids = (self.open_ids.capacity() + self.asked_ids.capacity()) * (FINGERPRINT + 1);
        let lookups = self.lookups.values().map(Vec::capacity).sum::<usize>();
        let stages = std::iter::once(&self.open).chain(&self.asked).map(Stage::memory_bytes).sum::<usize>();
        ids + lookups + stages
    }

    /// Whether an event of this id is held; another one is a duplicate, whatever becomes of the first.
    #[inline]
    pub fn contains(&self, fingerprint: u128) -> bool {
        !self.is_empty() && (self.open_ids.contains(&fingerprint) || self.asked_ids.contains(&fingerprint))
    }

    /// Holds the event that is number `at` of a stage, for the chunks that may know its id. `payload` must not refer to a
    /// record.
    #[cold]
    pub fn hold(&mut self, fingerprint: u128, maybes: &[Maybe], from: &Stage, at: usize, payload: Payload) {
        self.open.copy_event(from, at, payload);
        self.open_ids.insert(fingerprint);
        for maybe in maybes {
            // Ascending as bytes like as a number: so do the store's FixedString(16).
            self.lookups.entry(maybe.chunk).or_default().extend_from_slice(&fingerprint.to_be_bytes());
        }
    }

    /// The lookups that were not taken yet.
    pub fn take_lookups(&mut self) -> Lookups {
        if !self.open.events.is_empty() {
            self.asked.push(std::mem::replace(&mut self.open, Stage::new(self.dimensions)));
            self.asked_ids.extend(self.open_ids.drain());
        }
        std::mem::take(&mut self.lookups)
    }

    /// Reads the store's answer: which of the fingerprints asked for are known.
    pub fn read_answer(&self, known: &[u8]) -> Result<HashSet<u128>, CoreError> {
        let (each, []) = known.as_chunks::<FINGERPRINT>() else {
            return Err(CoreError::Invalid(format!("known must be 16 bytes a fingerprint; it has {}", known.len())));
        };
        let each = each.iter().map(|bytes| u128::from_be_bytes(*bytes));
        let not_asked = |fingerprint: &u128| !self.asked_ids.contains(fingerprint);
        match each.clone().find(not_asked) {
            Some(other) => Err(CoreError::Invalid(format!("no lookup that was taken asked for {other:032x}"))),
            None => Ok(each.collect()),
        }
    }

    /// How many events an answer decides.
    pub fn asked_events(&self) -> usize {
        self.asked_ids.len()
    }

    /// The events whose lookups were taken; they are no longer held.
    pub fn take_asked(&mut self) -> Vec<Stage> {
        self.asked_ids.clear();
        std::mem::take(&mut self.asked)
    }
}
