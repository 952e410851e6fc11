//! Groups and their sums: rows in flat arrays, found through an open-addressing table of (part of the hash, row).

use crate::hash::TableHasher;
use crate::huge_pages;
use crate::prefetch::{CACHE_LINE, prefetch};

/// Columns of a sums row before the ledger's measures: smallest offset, largest offset + 1.
pub const SUMS_HEAD: usize = 2;
const SMALLEST_TABLE: usize = 1024;

/// The pending deltas of one partition.
#[derive(Clone)]
pub struct Groups {
    hasher: TableHasher,
    key_width: usize,
    sums_width: usize,
    keys: Vec<u32>,
    sums: Vec<u64>,
    /// High half: part of the key's hash; low half: row + 1, or 0 where empty. A power of two, at most half full.
    slots: Vec<u64>,
}

impl Groups {
    pub fn new(hasher: TableHasher, key_width: usize, measures: usize) -> Self {
        Groups {
            hasher,
            key_width,
            sums_width: SUMS_HEAD + measures,
            keys: Vec::new(),
            sums: Vec::new(),
            slots: vec![0; SMALLEST_TABLE],
        }
    }

    /// Forgets all groups, and keeps the memory if so many are likely to come again: to get it anew from the system costs
    /// more than to fill it.
    pub fn clear(&mut self) {
        if self.len() * 16 < self.slots.len() {
            (self.keys, self.sums, self.slots) = (Vec::new(), Vec::new(), vec![0; SMALLEST_TABLE]);
        } else {
            self.keys.clear();
            self.sums.clear();
            self.slots.fill(0);
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len() / self.key_width
    }

    pub fn key(&self, row: usize) -> &[u32] {
        &self.keys[row * self.key_width..(row + 1) * self.key_width]
    }

    pub fn sums(&self, row: usize) -> &[u64] {
        &self.sums[row * self.sums_width..(row + 1) * self.sums_width]
    }

    pub fn memory_bytes(&self) -> usize {
        self.keys.capacity() * 4 + (self.sums.capacity() + self.slots.capacity()) * 8
    }

    #[inline]
    pub fn hash(&self, key: &[u32]) -> u64 {
        self.hasher.ids(key)
    }

    /// Starts loading the table's slot of a hash.
    #[inline]
    pub fn prefetch_slot(&self, hash: u64) {
        prefetch(self.slots.get(self.slot_of(hash)));
    }

    /// Starts loading the row that a hash's slot points to.
    #[inline]
    pub fn prefetch_row(&self, hash: u64) {
        let row = (self.slots[self.slot_of(hash)] as u32).wrapping_sub(1) as usize;
        let start = row.wrapping_mul(self.key_width);
        for line in (0..self.key_width).step_by(CACHE_LINE / size_of::<u32>()) {
            prefetch(self.keys.get(start.wrapping_add(line)));
        }
        let start = row.wrapping_mul(self.sums_width);
        for line in (0..self.sums_width).step_by(CACHE_LINE / size_of::<u64>()) {
            prefetch(self.sums.get(start.wrapping_add(line)));
        }
    }

    /// Adds an event at `offset` with its (measure, value) pairs to the group of `key`. An error is the measure whose sum
    /// would pass 2^64 - 1; the group is then half changed, and the caller must restore a copy.
    #[inline]
    pub fn add(&mut self, hash: u64, key: &[u32], offset: u64, sums: &[(u16, u64)]) -> Result<(), u16> {
        let row = self.find_or_add(hash, key);
        let start = row * self.sums_width;
        let into = &mut self.sums[start..start + self.sums_width];
        into[0] = into[0].min(offset);
        into[1] = into[1].max(offset + 1);
        for (measure, value) in sums {
            let sum = &mut into[SUMS_HEAD + usize::from(*measure)];
            *sum = sum.checked_add(*value).ok_or(*measure)?;
        }
        Ok(())
    }

    #[inline]
    fn slot_of(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn find_or_add(&mut self, hash: u64, key: &[u32]) -> usize {
        let mut slot = self.slot_of(hash);
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return self.add_group(hash, slot, key);
            }
            if found >> 32 == hash >> 32 {
                let row = (found as u32 - 1) as usize;
                if self.key(row) == key {
                    return row;
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    #[cold]
    fn add_group(&mut self, hash: u64, slot: usize, key: &[u32]) -> usize {
        let row = self.len();
        let room = (self.keys.capacity(), self.sums.capacity());
        self.keys.extend_from_slice(key);
        self.sums.extend_from_slice(&[u64::MAX, 0]);
        self.sums.resize((row + 1) * self.sums_width, 0);
        if room != (self.keys.capacity(), self.sums.capacity()) {
            huge_pages::wish(&mut self.keys);
            huge_pages::wish(&mut self.sums);
        }
        self.slots[slot] = hash >> 32 << 32 | (row as u64 + 1);
        if self.len() * 2 > self.slots.len() {
            self.grow();
        }
        row
    }

    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        let mask = slots.len() - 1;
        for row in 0..self.len() {
            let hash = self.hash(self.key(row));
            let mut slot = hash as usize & mask;
            while slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = hash >> 32 << 32 | (row as u64 + 1);
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn equals_a_map_of_sums(events in prop::collection::vec((0u32..40, 0u32..40, 0u64..1000, 0u64..9), 0..3000)) {
            let mut groups = Groups::new(TableHasher::new(&[1; 16]), 2, 3);
            let mut model = HashMap::<[u32; 2], [u64; 4]>::new();
            for (a, b, offset, value) in events {
                let key = [a, b];
                groups.add(groups.hash(&key), &key, offset, &[(0, 1), (2, value)]).unwrap();
                let sums = model.entry(key).or_insert([u64::MAX, 0, 0, 0]);
                *sums = [sums[0].min(offset), sums[1].max(offset + 1), sums[2] + 1, sums[3] + value];
            }
            prop_assert_eq!(groups.len(), model.len());
            for row in 0..groups.len() {
                let [low, high, count, total] = model[groups.key(row)];
                prop_assert_eq!(groups.sums(row), &[low, high, count, 0, total]);
            }
        }
    }

    #[test]
    fn an_overflow_names_its_measure() {
        let mut groups = Groups::new(TableHasher::new(&[1; 16]), 1, 2);
        let hash = groups.hash(&[7]);
        assert_eq!(groups.add(hash, &[7], 0, &[(1, u64::MAX)]), Ok(()));
        assert_eq!(groups.add(hash, &[7], 0, &[(0, 5), (1, 1)]), Err(1));
    }
}
