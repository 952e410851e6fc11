//! Foreign ids by chunks: exact ones in memory, of which the current one takes new ids in; cold ones in the store.

use crate::dedup::cold::{ColdChunk, ColdChunks};
use crate::dedup::fingerprints::Fingerprints;
use crate::error::CoreError;

/// Ids found in the store are remembered up to so many, then forgotten at once: 24 MB, and a storm of resends asks for
/// each id once in a million.
const MOST_RECALLED: usize = 1 << 20;

#[derive(Clone)]
struct ExactChunk {
    number: u64,
    ids: Fingerprints,
}

#[derive(Clone)]
pub struct ForeignIds {
    current: ExactChunk,
    older: Vec<ExactChunk>,
    pub cold: ColdChunks,
    /// Ids that the store was found to have: part of a cold chunk, so they are in no blob and no count.
    recalled: Fingerprints,
}

impl Default for ForeignIds {
    fn default() -> Self {
        ForeignIds {
            current: ExactChunk { number: 0, ids: Fingerprints::default() },
            older: Vec::new(),
            cold: ColdChunks::default(),
            recalled: Fingerprints::default(),
        }
    }
}

impl ForeignIds {
    #[inline]
    pub fn prefetch(&self, fingerprint: u128) {
        for chunk in self.exact() {
            chunk.ids.prefetch(fingerprint);
        }
    }

    /// Whether an exact chunk has it.
    #[inline]
    pub fn has(&self, fingerprint: u128) -> bool {
        self.exact().any(|chunk| chunk.ids.contains(fingerprint))
    }

    /// Adds to the current chunk what no exact chunk has; whether it did.
    #[inline]
    pub fn insert(&mut self, fingerprint: u128) -> bool {
        !self.older.iter().any(|chunk| chunk.ids.contains(fingerprint)) && self.current.ids.insert(fingerprint)
    }

    /// Whether the store was found to have it, not long ago.
    pub fn is_recalled(&self, fingerprint: u128) -> bool {
        self.recalled.contains(fingerprint)
    }

    pub fn recall(&mut self, fingerprint: u128) {
        if self.recalled.len() >= MOST_RECALLED {
            self.recalled = Fingerprints::default();
        }
        self.recalled.insert(fingerprint);
    }

    /// Makes `number` the current chunk, a fresh one. An empty one before it vanishes.
    pub fn begin(&mut self, number: u64) -> Result<(), CoreError> {
        if number == self.current.number {
            return Ok(());
        }
        if self.older.iter().any(|chunk| chunk.number == number) || self.cold.contains(number) {
            return Err(CoreError::Invalid(format!("chunk {number} was begun before; give another number")));
        }
        let fresh = ExactChunk { number, ids: Fingerprints::default() };
        let before = std::mem::replace(&mut self.current, fresh);
        if before.ids.len() > 0 {
            self.older.push(before);
        }
        Ok(())
    }

    /// Puts a cold chunk in the place of the one of its number, or adds it.
    pub fn set(&mut self, chunk: ColdChunk) -> Result<(), CoreError> {
        self.check_not_current(chunk.number)?;
        self.older.retain(|exact| exact.number != chunk.number);
        self.cold.set(chunk);
        Ok(())
    }

    pub fn forget(&mut self, number: u64) -> Result<(), CoreError> {
        self.check_not_current(number)?;
        let before = self.older.len();
        self.older.retain(|exact| exact.number != number);
        if !self.cold.remove(number) && self.older.len() == before {
            return Err(CoreError::Invalid(format!("there is no chunk {number} to forget")));
        }
        // What was recalled may have come from there, and a restored core would not know it.
        self.recalled = Fingerprints::default();
        Ok(())
    }

    fn check_not_current(&self, number: u64) -> Result<(), CoreError> {
        if number == self.current.number {
            return Err(CoreError::Invalid(format!(
                "chunk {number} is the current one, which takes new ids in: begin another chunk first"
            )));
        }
        Ok(())
    }

    fn exact(&self) -> impl Iterator<Item = &ExactChunk> {
        std::iter::once(&self.current).chain(&self.older)
    }

    /// Ids that are known exactly.
    pub fn exact_ids(&self) -> usize {
        self.exact().map(|chunk| chunk.ids.len()).sum()
    }

    pub fn exact_chunks(&self) -> usize {
        1 + self.older.len()
    }

    pub fn exact_bytes(&self) -> usize {
        self.exact().map(|chunk| chunk.ids.memory_bytes()).sum::<usize>() + self.recalled.memory_bytes()
    }

    /// The exact ids, in an order that only they decide, whatever their chunks.
    pub fn exact_in_order(&self) -> Vec<u128> {
        if self.older.is_empty() {
            return self.current.ids.iter().collect();
        }
        let mut all = Fingerprints::default();
        for chunk in self.exact() {
            chunk.ids.iter().for_each(|fingerprint| {
                all.insert(fingerprint);
            });
        }
        all.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::hours::Hours;

    fn cold(number: u64) -> ColdChunk {
        ColdChunk { number, ids: 1, hours: Hours::default(), filter: None }
    }

    #[test]
    fn chunks_come_and_go() {
        let mut ids = ForeignIds::default();
        assert!(ids.insert(7) && ids.has(7));
        ids.begin(0).unwrap();
        ids.begin(5).unwrap();
        assert!(!ids.insert(7) && ids.insert(8));
        assert_eq!((ids.exact_ids(), ids.exact_chunks()), (2, 2));
        assert!(ids.begin(0).unwrap_err().to_string().contains("begun before"));
        assert!(ids.set(cold(5)).unwrap_err().to_string().contains("begin another"));
        assert!(ids.forget(5).unwrap_err().to_string().contains("begin another"));
        assert!(ids.forget(6).unwrap_err().to_string().contains("no chunk 6"));
        ids.set(cold(0)).unwrap();
        assert!(!ids.has(7) && ids.has(8));
        assert!(ids.begin(0).is_err());
        ids.forget(0).unwrap();
        assert!(ids.forget(0).is_err());
        ids.begin(0).unwrap();
        ids.begin(1).unwrap();
        assert_eq!(ids.exact_chunks(), 2, "the empty one has vanished");
        ids.forget(5).unwrap();
        assert_eq!((ids.exact_ids(), ids.exact_chunks()), (0, 1));
    }

    #[test]
    fn recalled_ids_are_bounded_and_forgotten_with_a_chunk() {
        let mut ids = ForeignIds::default();
        // Uniform, as hashes are: the table is not made for ascending ones.
        let id = |n: usize| (n as u128 + 1).wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645);
        (0..=MOST_RECALLED).for_each(|n| ids.recall(id(n)));
        assert_eq!(ids.recalled.len(), 1);
        assert_eq!((ids.exact_ids(), ids.exact_in_order().len()), (0, 0));
        ids.set(cold(3)).unwrap();
        assert!(ids.is_recalled(id(MOST_RECALLED)) && !ids.is_recalled(id(0)));
        ids.forget(3).unwrap();
        assert!(!ids.is_recalled(id(MOST_RECALLED)));
    }
}
