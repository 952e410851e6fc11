//! Sequenced ids: (source, ULID) -> set of integer ranges. 32 bytes an incarnation whose events are one range.

use crate::dedup::ranges::Ranges;
use crate::dedup::table::{Entry, Table};

/// An incarnation with one range `low..=high`, or with more: then `low` is `SPILLED` and `high` is their place.
#[derive(Clone, Copy)]
struct Incarnation {
    hash: u128,
    low: u64,
    high: u64,
}

/// No sequence is that large: they have at most 18 digits.
const SPILLED: u64 = u64::MAX;

impl Entry for Incarnation {
    const EMPTY: Self = Incarnation { hash: 0, low: 0, high: 0 };
    fn hash(&self) -> u128 {
        self.hash
    }
}

/// The sequence numbers seen, by incarnation.
#[derive(Clone, Default)]
pub struct SequencedIds {
    table: Table<Incarnation>,
    /// The ranges of incarnations that have more than one; freed places are used again.
    spilled: Vec<Ranges>,
    free: Vec<usize>,
    ranges: u64,
    events: u64,
}

impl SequencedIds {
    pub fn incarnations(&self) -> usize {
        self.table.len()
    }

    pub fn ranges(&self) -> u64 {
        self.ranges
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes() + self.spilled.iter().map(Ranges::memory_bytes).sum::<usize>()
    }

    pub fn prefetch(&self, incarnation: u128) {
        self.table.prefetch(incarnation);
    }

    /// Adds one number; whether it was new.
    #[inline]
    pub fn insert(&mut self, incarnation: u128, number: u64) -> bool {
        self.insert_range(incarnation, number, number) > 0
    }

    /// Adds `low..=high` (below 2^63); returns how many numbers were new.
    #[inline]
    pub fn insert_range(&mut self, incarnation: u128, low: u64, high: u64) -> u64 {
        let entry = match self.table.find(incarnation) {
            Ok(entry) => entry,
            Err(place) => {
                self.table.insert(place, Incarnation { hash: incarnation, low, high });
                self.ranges += 1;
                self.events += high - low + 1;
                return high - low + 1;
            }
        };
        if entry.low == SPILLED {
            return self.insert_spilled(incarnation, low, high);
        }
        if low > entry.high + 1 || high + 1 < entry.low {
            return self.spill(incarnation, low, high);
        }
        let before = entry.high - entry.low;
        (entry.low, entry.high) = (entry.low.min(low), entry.high.max(high));
        let new = entry.high - entry.low - before;
        self.events += new;
        new
    }

    #[cold]
    fn spill(&mut self, incarnation: u128, low: u64, high: u64) -> u64 {
        let Ok(entry) = self.table.find(incarnation) else {
            return 0;
        };
        let mut ranges = Ranges::default();
        ranges.insert(entry.low, entry.high);
        let new = ranges.insert(low, high);
        let place = match self.free.pop() {
            Some(place) => {
                self.spilled[place] = ranges;
                place
            }
            None => {
                self.spilled.push(ranges);
                self.spilled.len() - 1
            }
        };
        (entry.low, entry.high) = (SPILLED, place as u64);
        self.ranges += 1;
        self.events += new;
        new
    }

    fn insert_spilled(&mut self, incarnation: u128, low: u64, high: u64) -> u64 {
        let Ok(entry) = self.table.find(incarnation) else {
            return 0;
        };
        let place = entry.high as usize;
        let ranges = &mut self.spilled[place];
        let before = ranges.len() as u64;
        let new = ranges.insert(low, high);
        self.ranges = self.ranges + ranges.len() as u64 - before;
        self.events += new;
        if ranges.len() == 1 {
            // The gaps have closed: back to the small form.
            if let Some((low, high)) = ranges.iter().next() {
                (entry.low, entry.high) = (low, high);
            }
            self.spilled[place] = Ranges::default();
            self.free.push(place);
        }
        new
    }

    /// The incarnations in the table's own order, each with its ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u128, impl Iterator<Item = (u64, u64)>)> {
        self.table.iter().map(|entry| {
            let spilled = (entry.low == SPILLED).then(|| &self.spilled[entry.high as usize]);
            let inline = spilled.is_none().then_some((entry.low, entry.high));
            (entry.hash, inline.into_iter().chain(spilled.into_iter().flat_map(Ranges::iter)))
        })
    }

    pub fn clear(&mut self) {
        *self = SequencedIds::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn equals_a_map_of_sets(added in prop::collection::vec((1u128..6, 0u64..60, 0u64..4), 0..300)) {
            let (mut ids, mut model) = (SequencedIds::default(), BTreeMap::<u128, BTreeSet<u64>>::new());
            for (incarnation, low, more) in added {
                let set = model.entry(incarnation << 100).or_default();
                let new = (low..=low + more).filter(|number| set.insert(*number)).count() as u64;
                prop_assert_eq!(ids.insert_range(incarnation << 100, low, low + more), new);
            }
            prop_assert_eq!(ids.incarnations(), model.len());
            prop_assert_eq!(ids.events(), model.values().map(|set| set.len() as u64).sum::<u64>());
            let mut ranges = 0;
            for (hash, parts) in ids.iter() {
                let (parts, set) = (parts.collect::<Vec<_>>(), &model[&hash]);
                prop_assert!(parts.iter().flat_map(|(low, high)| *low..=*high).eq(set.iter().copied()));
                ranges += parts.len() as u64;
            }
            prop_assert_eq!(ids.ranges(), ranges);
        }
    }

    #[test]
    fn a_million_single_events_cost_at_most_48_bytes_each() {
        let mut ids = SequencedIds::default();
        let mut hash = 7u128;
        for i in 1..=1_000_000usize {
            hash = hash.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(0x5851_F42D_4C95_7F2D);
            assert!(ids.insert(hash.rotate_left(64) | 1, 0));
            if i % 100_000 == 0 {
                let each = ids.memory_bytes() as f64 / i as f64;
                assert!(each <= 48.0, "{each} bytes an incarnation at {i}");
            }
        }
    }
}
