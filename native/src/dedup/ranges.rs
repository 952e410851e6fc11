//! A set of integers as disjoint ranges: what a producer's sequence looks like when almost nothing is missing.

use std::collections::BTreeMap;

/// Ranges that neither overlap nor touch, by their lowest number. Numbers stay below 2^63.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    by_low: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds `low..=high`; returns how many numbers were new.
    pub fn insert(&mut self, low: u64, high: u64) -> u64 {
        let (mut merged_low, mut merged_high) = (low, high);
        let mut known = 0;
        // From the last range that starts at or below high + 1, downwards, as long as they touch.
        while let Some((&other_low, &other_high)) = self.by_low.range(..=high + 1).next_back() {
            if other_high + 1 < low {
                break;
            }
            if other_low <= low && high <= other_high {
                return 0;
            }
            let (overlap_low, overlap_high) = (other_low.max(low), other_high.min(high));
            known += (overlap_high + 1).saturating_sub(overlap_low);
            merged_low = merged_low.min(other_low);
            merged_high = merged_high.max(other_high);
            self.by_low.remove(&other_low);
        }
        self.by_low.insert(merged_low, merged_high);
        high - low + 1 - known
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.by_low.len()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.by_low.iter().map(|(low, high)| (*low, *high))
    }

    /// An estimate of the memory held: B-tree nodes of up to 11 ranges that are about 60 % full.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.by_low.len() * 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn equals_a_set_of_integers(added in prop::collection::vec((0u64..200, 0u64..20), 0..100)) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (low, more) in added {
                let new = (low..=low + more).filter(|number| model.insert(*number)).count() as u64;
                prop_assert_eq!(ranges.insert(low, low + more), new);
                let parts: Vec<_> = ranges.iter().collect();
                prop_assert!(parts.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", parts);
                prop_assert!(parts.iter().flat_map(|(low, high)| *low..=*high).eq(model.iter().copied()));
            }
        }
    }

    #[test]
    fn in_order_is_one_range_and_the_largest_numbers_fit() {
        let mut ranges = Ranges::default();
        for number in 0..1000 {
            assert_eq!(ranges.insert(number, number), 1);
        }
        let top = 999_999_999_999_999_999;
        assert_eq!((ranges.insert(top, top), ranges.insert(top, top), ranges.len()), (1, 0, 2));
    }
}
