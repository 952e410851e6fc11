//! A set of 128-bit keyed fingerprints, about 22 bytes each.

use crate::dedup::table::Table;

#[derive(Clone, Default)]
pub struct Fingerprints {
    table: Table<u128>,
}

impl Fingerprints {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }

    #[inline]
    pub fn prefetch(&self, fingerprint: u128) {
        self.table.prefetch(fingerprint);
    }

    #[inline]
    pub fn contains(&self, fingerprint: u128) -> bool {
        self.table.contains(fingerprint)
    }

    /// Adds a fingerprint (not 0); whether it was new.
    #[inline]
    pub fn insert(&mut self, fingerprint: u128) -> bool {
        match self.table.find(fingerprint) {
            Ok(_) => false,
            Err(place) => {
                self.table.insert(place, fingerprint);
                true
            }
        }
    }

    /// The fingerprints in the table's own order.
    pub fn iter(&self) -> impl Iterator<Item = u128> {
        self.table.iter().copied()
    }
}
