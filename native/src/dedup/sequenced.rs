//! Sequenced ids: (source, ULID) -> set of integer ranges. 32 bytes an incarnation whose events are one range.
//!
//! The append day of an incarnation's last event lies in the low 16 bits of its hash, so that forgetting costs no memory.
//! The 112 bits that are left tell incarnations apart: with a hundred million of them, two share theirs with a chance of
//! 2^-60 (n^2 / 2^113), and nobody can aim at it, for the hash is keyed.

use crate::dedup::ranges::Ranges;
use crate::dedup::table::{Entry, Table};

/// An incarnation with one range `low..=high`, or with more: then `low` is `SPILLED` and `high` is their place.
#[derive(Clone, Copy)]
struct Incarnation {
    /// High 112 bits of the hash, then the day.
    tagged: u128,
    low: u64,
    high: u64,
}

/// No sequence is that large: they have at most 18 digits.
const SPILLED: u64 = u64::MAX;
const DAY: u128 = 0xFFFF;

impl Entry for Incarnation {
    const EMPTY: Self = Incarnation { tagged: 0, low: 0, high: 0 };
    #[inline]
    fn hash(&self) -> u128 {
        self.tagged & !DAY
    }
}

impl Incarnation {
    fn day(&self) -> u16 {
        self.tagged as u16
    }

    #[inline]
    fn seen_on(&mut self, day: u16) {
        self.tagged = self.hash() | u128::from(self.day().max(day));
    }
}

/// What of an incarnation's hash is remembered; not 0.
#[inline]
pub fn key_of(hash: u128) -> u128 {
    (hash & !DAY).max(DAY + 1)
}

/// One incarnation, as `iter` gives it.
pub struct Remembered<R> {
    /// See `key_of`.
    pub key: u128,
    /// Append day (since 1970-01-01) of its last new event.
    pub day: u16,
    /// Its ranges, ascending.
    pub ranges: R,
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

    #[inline]
    pub fn prefetch(&self, incarnation: u128) {
        self.table.prefetch(incarnation);
    }

    /// Adds one number, appended on `day`; whether it was new. A known number leaves the incarnation's day as it is.
    #[inline]
    pub fn insert(&mut self, incarnation: u128, number: u64, day: u16) -> bool {
        let key = key_of(incarnation);
        if let Ok(entry) = self.table.find(key) {
            // The usual case, the next number of a healthy producer, and the usual duplicate.
            if entry.low != SPILLED && entry.low <= number && number <= entry.high + 1 {
                let new = number > entry.high;
                if new {
                    entry.high = number;
                    entry.seen_on(day);
                    self.events += 1;
                }
                return new;
            }
        }
        let new = self.add(key, number, number, day) > 0;
        if new {
            self.see(key, day);
        }
        new
    }

    /// Adds `low..=high` (below 2^63) of an incarnation that had a new event on `day`; returns how many were new.
    pub fn insert_range(&mut self, incarnation: u128, low: u64, high: u64, day: u16) -> u64 {
        let key = key_of(incarnation);
        let new = self.add(key, low, high, day);
        self.see(key, day);
        new
    }

    fn see(&mut self, key: u128, day: u16) {
        if let Ok(entry) = self.table.find(key) {
            entry.seen_on(day);
        }
    }

    /// `day` counts only for an incarnation that was unknown.
    fn add(&mut self, key: u128, low: u64, high: u64, day: u16) -> u64 {
        let entry = match self.table.find(key) {
            Ok(entry) => entry,
            Err(place) => {
                self.table.insert(place, Incarnation { tagged: key | u128::from(day), low, high });
                self.ranges += 1;
                self.events = self.events.saturating_add(high - low + 1);
                return high - low + 1;
            }
        };
        if entry.low == SPILLED {
            return self.insert_spilled(key, low, high);
        }
        if low > entry.high + 1 || high + 1 < entry.low {
            return self.spill(key, low, high);
        }
        let before = entry.high - entry.low;
        (entry.low, entry.high) = (entry.low.min(low), entry.high.max(high));
        let new = entry.high - entry.low - before;
        self.events = self.events.saturating_add(new);
        new
    }

    #[cold]
    fn spill(&mut self, key: u128, low: u64, high: u64) -> u64 {
        let Ok(entry) = self.table.find(key) else {
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
        self.events = self.events.saturating_add(new);
        new
    }

    fn insert_spilled(&mut self, key: u128, low: u64, high: u64) -> u64 {
        let Ok(entry) = self.table.find(key) else {
            return 0;
        };
        let place = entry.high as usize;
        let ranges = &mut self.spilled[place];
        let before = ranges.len() as u64;
        let new = ranges.insert(low, high);
        self.ranges = self.ranges + ranges.len() as u64 - before;
        self.events = self.events.saturating_add(new);
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

    /// Forgets the incarnations whose last new event was appended before `day`; returns how many events they had.
    pub fn forget_before(&mut self, day: u16) -> u64 {
        let before = self.events;
        let (spilled, events, ranges) = (&self.spilled, &mut self.events, &mut self.ranges);
        self.table.retain(|entry| {
            let keep = entry.day() >= day;
            if !keep {
                for (low, high) in ranges_of(entry, spilled) {
                    *events = events.saturating_sub(high - low + 1);
                    *ranges -= 1;
                }
            }
            keep
        });
        self.pack_spilled();
        before - self.events
    }

    /// Leaves only the spilled ranges that an incarnation still has.
    fn pack_spilled(&mut self) {
        let mut packed = Vec::new();
        for entry in self.table.iter_mut().filter(|entry| entry.low == SPILLED) {
            packed.push(std::mem::take(&mut self.spilled[entry.high as usize]));
            entry.high = packed.len() as u64 - 1;
        }
        (self.spilled, self.free) = (packed, Vec::new());
    }

    /// The incarnations in the table's own order.
    pub fn iter(&self) -> impl Iterator<Item = Remembered<impl Iterator<Item = (u64, u64)>>> {
        self.table.iter().map(|entry| {
            let ranges = ranges_of(entry, &self.spilled);
            Remembered { key: entry.hash(), day: entry.day(), ranges }
        })
    }

    /// The newest day of any; 0 without one.
    pub fn last_day(&self) -> u16 {
        self.table.iter().map(Incarnation::day).max().unwrap_or(0)
    }

    pub fn clear(&mut self) {
        *self = SequencedIds::default();
    }
}

fn ranges_of(entry: &Incarnation, spilled: &[Ranges]) -> impl Iterator<Item = (u64, u64)> {
    let more = (entry.low == SPILLED).then(|| &spilled[entry.high as usize]);
    let only = more.is_none().then_some((entry.low, entry.high));
    only.into_iter().chain(more.into_iter().flat_map(Ranges::iter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn equals_a_map_of_sets(
            added in prop::collection::vec((1u128..6, 0u64..60, 0u64..4, 0u16..9, any::<bool>()), 0..300),
            before in 0u16..10,
            more in prop::collection::vec((1u128..6, 0u64..60), 0..50),
        ) {
            let mut ids = SequencedIds::default();
            let mut model = BTreeMap::<u128, (u16, BTreeSet<u64>)>::new();
            for (incarnation, low, span, day, single) in added {
                let key = incarnation << 100;
                let (last, set) = model.entry(key).or_default();
                if single {
                    let new = set.insert(low);
                    prop_assert_eq!(ids.insert(key | 0xABC, low, day), new);
                    *last = if new { day.max(*last) } else { *last };
                } else {
                    let new = (low..=low + span).filter(|number| set.insert(*number)).count() as u64;
                    prop_assert_eq!(ids.insert_range(key, low, low + span, day), new);
                    *last = day.max(*last);
                }
            }
            check(&ids, &model);
            let count = |model: &BTreeMap<u128, (u16, BTreeSet<u64>)>| model.values().map(|(_, set)| set.len() as u64).sum::<u64>();
            let all = count(&model);
            model.retain(|_, (day, _)| *day >= before);
            prop_assert_eq!(ids.forget_before(before), all - count(&model));
            check(&ids, &model);
            for (incarnation, number) in more {
                let (last, set) = model.entry(incarnation << 100).or_default();
                let new = set.insert(number);
                prop_assert_eq!(ids.insert(incarnation << 100, number, 7), new);
                *last = if new { (*last).max(7) } else { *last };
            }
            check(&ids, &model);
        }
    }

    fn check(ids: &SequencedIds, model: &BTreeMap<u128, (u16, BTreeSet<u64>)>) {
        assert_eq!(ids.incarnations(), model.len());
        assert_eq!(ids.events(), model.values().map(|(_, set)| set.len() as u64).sum::<u64>());
        let mut ranges = 0;
        for incarnation in ids.iter() {
            let (parts, (day, set)) = (incarnation.ranges.collect::<Vec<_>>(), &model[&incarnation.key]);
            assert!(parts.iter().flat_map(|(low, high)| *low..=*high).eq(set.iter().copied()));
            assert_eq!(incarnation.day, *day);
            ranges += parts.len() as u64;
        }
        assert_eq!(ids.ranges(), ranges);
    }

    #[test]
    fn a_million_single_events_cost_at_most_48_bytes_each_and_forgetting_frees_them() {
        let mut ids = SequencedIds::default();
        let empty = ids.memory_bytes();
        let mut hash = 7u128;
        for i in 1..=1_000_000usize {
            hash = hash.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(0x5851_F42D_4C95_7F2D);
            assert!(ids.insert(hash.rotate_left(64), 0, (i % 10) as u16));
            if i >= 20_000 && i % 1_000 == 0 {
                let each = ids.memory_bytes() as f64 / i as f64;
                assert!(each <= 48.0, "{each} bytes an incarnation at {i}");
            }
        }
        let full = ids.memory_bytes();
        assert_eq!(ids.forget_before(9), 900_000);
        assert_eq!((ids.incarnations(), ids.events()), (100_000, 100_000));
        assert!(ids.memory_bytes() < full / 8, "{} of {full} bytes", ids.memory_bytes());
        assert_eq!(ids.forget_before(10), 100_000);
        assert_eq!((ids.incarnations(), ids.ranges(), ids.memory_bytes()), (0, 0, empty));
    }
}
