//! Cold chunks: foreign ids that lie in the store, and what is left of them in memory to know when to look there.

use crate::dedup::filter::{Filter, Slots};
use crate::dedup::hours::Hours;

/// A chunk behind a filter, or, without one, behind the hours of its events.
#[derive(Clone)]
pub struct ColdChunk {
    pub number: u64,
    pub ids: u64,
    pub hours: Hours,
    pub filter: Option<Filter>,
}

/// An event whose id no exact chunk has.
pub struct Suspect {
    /// The caller's own number of the event.
    pub at: u32,
    pub fingerprint: u128,
    /// Hour of the event's time.
    pub hour: u32,
}

/// That a suspect may be in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Maybe {
    pub at: u32,
    pub chunk: u64,
}

/// All cold chunks, by ascending number.
#[derive(Clone, Default)]
pub struct ColdChunks {
    chunks: Vec<ColdChunk>,
}

impl ColdChunks {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &ColdChunk> {
        self.chunks.iter()
    }

    pub fn contains(&self, number: u64) -> bool {
        self.place(number).is_ok()
    }

    /// Adds a chunk, or puts it in the place of the one of its number.
    pub fn set(&mut self, chunk: ColdChunk) {
        match self.place(chunk.number) {
            Ok(at) => self.chunks[at] = chunk,
            Err(at) => self.chunks.insert(at, chunk),
        }
    }

    /// Whether there was such a chunk.
    pub fn remove(&mut self, number: u64) -> bool {
        self.place(number).map(|at| self.chunks.remove(at)).is_ok()
    }

    fn place(&self, number: u64) -> Result<usize, usize> {
        self.chunks.binary_search_by_key(&number, |chunk| chunk.number)
    }

    pub fn memory_bytes(&self) -> usize {
        let of_chunk =
            |chunk: &ColdChunk| chunk.hours.memory_bytes() + chunk.filter.as_ref().map_or(0, Filter::memory_bytes);
        self.chunks.iter().map(of_chunk).sum::<usize>() + self.chunks.capacity() * size_of::<ColdChunk>()
    }

    /// Writes to `found` which suspects may be in which chunks, in the order of both.
    pub fn find(&self, suspects: &[Suspect], found: &mut Vec<Maybe>) {
        // Filter by filter, and while one is asked, the slots of the next are on their way to the cache.
        let mut fetched: Option<(u64, Slots<'_>)> = None;
        let ask = |(chunk, slots): (u64, Slots<'_>), found: &mut Vec<Maybe>| {
            let yes = suspects.iter().filter(|suspect| slots.may_contain(suspect.fingerprint));
            found.extend(yes.map(|suspect| Maybe { at: suspect.at, chunk }));
        };
        for chunk in &self.chunks {
            let Some(filter) = &chunk.filter else {
                let yes = suspects.iter().filter(|suspect| chunk.hours.contains(suspect.hour));
                found.extend(yes.map(|suspect| Maybe { at: suspect.at, chunk: chunk.number }));
                continue;
            };
            let slots = filter.slots();
            for suspect in suspects {
                slots.prefetch(suspect.fingerprint);
            }
            if let Some(before) = fetched.replace((chunk.number, slots)) {
                ask(before, found);
            }
        }
        if let Some(last) = fetched {
            ask(last, found);
        }
        found.sort_unstable();
    }
}
