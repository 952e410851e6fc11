//! A flat hash table of small entries that are keyed by a 128-bit hash: the memory of deduplication.
//!
//! Entries lie in the order of their hashes (linear probing where each probe sequence is sorted), so that a miss ends
//! early and growth is one sequential merge. The price: hashes must not be inserted in ascending order, or they crowd the
//! first slots until the table has grown; `iter` gives an order that is safe. The table is split by the hash's high bits
//! into shards that grow by an eighth each at its own time: no growth stalls for long, memory follows the number of
//! entries closely (a shard's load is between 0.71 and 0.8, that of the whole about 0.75), and the peak while growing is
//! one shard.

/// An entry; a hash of 0 marks an empty slot.
pub trait Entry: Copy {
    const EMPTY: Self;
    fn hash(&self) -> u128;
}

impl Entry for u128 {
    const EMPTY: u128 = 0;
    fn hash(&self) -> u128 {
        *self
    }
}

const SHARD_BITS: u32 = 8;
const SHARDS: usize = 1 << SHARD_BITS;
const SMALLEST: usize = 16;
/// Slots beyond the last home, besides one for each 256 homes: few, so that small tables are small too.
const SPARE: usize = 6;

#[derive(Clone)]
pub struct Table<E> {
    shards: Vec<Shard<E>>,
    len: usize,
}

#[derive(Clone)]
struct Shard<E> {
    /// `homes` slots, then room for the last ones to spill over.
    slots: Vec<E>,
    homes: usize,
    len: usize,
}

/// Where an entry is, or would be.
pub struct Place {
    shard: usize,
    slot: usize,
}

impl<E: Entry> Default for Table<E> {
    fn default() -> Self {
        let shard = Shard { slots: Vec::new(), homes: 0, len: 0 };
        Table { shards: vec![shard; SHARDS], len: 0 }
    }
}

impl<E: Entry> Table<E> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let slots: usize = self.shards.iter().map(|shard| shard.slots.capacity()).sum();
        slots * size_of::<E>() + self.shards.capacity() * size_of::<Shard<E>>()
    }

    /// The entry of a hash (not 0), or the place where it belongs.
    #[inline]
    pub fn find(&mut self, hash: u128) -> Result<&mut E, Place> {
        let shard = shard_of(hash);
        match self.shards[shard].find(hash) {
            Ok(slot) => Ok(&mut self.shards[shard].slots[slot]),
            Err(slot) => Err(Place { shard, slot }),
        }
    }

    /// Adds an entry whose hash is not in the table, at the place that `find` told, with no change in between.
    #[inline]
    pub fn insert(&mut self, place: Place, entry: E) {
        self.shards[place.shard].insert(place.shard, place.slot, entry);
        self.len += 1;
    }

    #[inline]
    pub fn contains(&self, hash: u128) -> bool {
        self.shards[shard_of(hash)].find(hash).is_ok()
    }

    /// Starts loading the memory that `find` will look at.
    #[inline]
    pub fn prefetch(&self, hash: u128) {
        let shard = &self.shards[shard_of(hash)];
        crate::prefetch::prefetch(shard.slots.get(shard.home(hash)));
    }

    /// Keeps only the entries that are wanted; the memory of the others is freed, shard by shard.
    pub fn retain(&mut self, mut wanted: impl FnMut(&E) -> bool) {
        self.len = 0;
        for shard in &mut self.shards {
            shard.retain(&mut wanted);
            self.len += shard.len;
        }
    }

    /// All entries, to change whatever does not change their hash.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.shards.iter_mut().flat_map(|shard| shard.slots.iter_mut().filter(|entry| entry.hash() != 0))
    }

    /// All entries, in an order that only they decide: shard by shard, and strewn over each shard, so that whoever inserts
    /// them in this order (a snapshot that is restored) fills each shard evenly.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.shards.iter().flat_map(|shard| {
            let entries: Vec<&E> = shard.slots.iter().filter(|entry| entry.hash() != 0).collect();
            let step = stride(entries.len());
            let places = std::iter::successors(Some(0), {
                let count = entries.len();
                move |place| Some((place + step) % count)
            });
            places.take(entries.len()).map(move |place| entries[place]).collect::<Vec<_>>()
        })
    }
}

/// About the golden section of a number, and prime to it: steps of this length, around and around, meet each place once
/// and are evenly spread at any time.
fn stride(count: usize) -> usize {
    let divides = |a: usize, b: usize| {
        let (mut a, mut b) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a > 1
    };
    let golden = (count as f64 * 0.618_033_988_75) as usize;
    (golden.max(1)..).find(|step| !divides(*step, count)).unwrap_or(1)
}

#[inline]
fn shard_of(hash: u128) -> usize {
    (hash >> (128 - SHARD_BITS)) as usize
}

impl<E: Entry> Shard<E> {
    /// The slot where a hash would lie if no other were there. Never falls as the hash rises.
    #[inline]
    fn home(&self, hash: u128) -> usize {
        home(hash, self.homes)
    }

    #[inline]
    fn find(&self, hash: u128) -> Result<usize, usize> {
        let mut slot = self.home(hash);
        while let Some(entry) = self.slots.get(slot) {
            let other = entry.hash();
            if other == hash {
                return Ok(slot);
            }
            if other == 0 || other > hash {
                break;
            }
            slot += 1;
        }
        Err(slot)
    }

    #[inline]
    fn insert(&mut self, number: usize, slot: usize, entry: E) {
        if (self.len + 1) * 5 <= self.homes * 4 && self.shift_in(slot, entry) {
            self.len += 1;
            return;
        }
        self.grow(number);
        // A grown shard has room; its last slots may still be full, by the rarest of chances: then it grows again.
        while let Err(slot) = self.find(entry.hash()) {
            if self.shift_in(slot, entry) {
                self.len += 1;
                return;
            }
            self.grow(number);
        }
    }

    /// Moves what follows one slot on, up to the next empty one; false if there is none.
    #[inline]
    fn shift_in(&mut self, slot: usize, entry: E) -> bool {
        let Some(tail) = self.slots.get_mut(slot..) else {
            return false;
        };
        let Some(empty) = tail.iter().position(|other| other.hash() == 0) else {
            return false;
        };
        tail.copy_within(..empty, 1);
        tail[0] = entry;
        true
    }

    #[cold]
    fn grow(&mut self, number: usize) {
        // Shards start at different sizes, so that they do not all grow at the same time.
        let homes = if self.homes == 0 { SMALLEST + number % 8 } else { self.homes + (self.homes / 8).max(4) };
        self.rebuild(homes);
    }

    /// Gives the entries at least so many homes.
    fn rebuild(&mut self, mut homes: usize) {
        loop {
            match self.rebuilt(homes) {
                Some(slots) => {
                    (self.slots, self.homes) = (slots, homes);
                    return;
                }
                None => homes += homes / 16 + 1,
            }
        }
    }

    fn retain(&mut self, wanted: &mut impl FnMut(&E) -> bool) {
        let mut kept = std::mem::take(&mut self.slots);
        kept.retain(|entry| entry.hash() != 0 && wanted(entry));
        (self.len, self.homes) = (kept.len(), 0);
        self.slots = kept;
        if self.len == 0 {
            self.slots = Vec::new();
        } else {
            self.rebuild(SMALLEST.max(self.len * 4 / 3));
        }
    }

    fn rebuilt(&self, homes: usize) -> Option<Vec<E>> {
        let mut slots = vec![E::EMPTY; homes + SPARE + homes / 256];
        let mut next = 0;
        for entry in self.slots.iter().filter(|entry| entry.hash() != 0) {
            next = next.max(home(entry.hash(), homes));
            *slots.get_mut(next)? = *entry;
            next += 1;
        }
        Some(slots)
    }
}

#[inline]
fn home(hash: u128, homes: usize) -> usize {
    let within = (hash << SHARD_BITS >> 64) as u64;
    ((u128::from(within) * homes as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn insert(table: &mut Table<u128>, hash: u128) -> bool {
        match table.find(hash) {
            Ok(_) => false,
            Err(place) => {
                table.insert(place, hash);
                true
            }
        }
    }

    proptest! {
        #[test]
        fn is_a_set_with_an_order_of_its_own(hashes in prop::collection::vec(prop_oneof![
            any::<u128>(), 1u128..300, (u128::MAX - 300)..=u128::MAX, (0u128..64).prop_map(|n| n << 64)
        ].prop_filter("0 marks empty slots", |hash| *hash != 0), 0..2_000)) {
            let (mut table, mut model) = (Table::default(), BTreeSet::new());
            for hash in hashes {
                prop_assert_eq!(insert(&mut table, hash), model.insert(hash));
            }
            prop_assert_eq!(table.len(), model.len());
            let entries: Vec<u128> = table.iter().copied().collect();
            prop_assert_eq!(entries.len(), model.len());
            prop_assert_eq!(&entries.iter().copied().collect::<BTreeSet<_>>(), &model);
            // The order is the entries' own, however they came in.
            let mut again = Table::default();
            for hash in model {
                insert(&mut again, hash);
            }
            prop_assert!(again.iter().copied().eq(entries));
        }

        #[test]
        fn strides_meet_each_place_once(count in 1usize..3_000) {
            let step = stride(count);
            let places: BTreeSet<usize> = (0..count).map(|i| i * step % count).collect();
            prop_assert_eq!(places.len(), count);
        }
    }

    /// How far the worst entry lies behind its home.
    fn worst_displacement(table: &Table<u128>) -> usize {
        let of_shard = |shard: &Shard<u128>| {
            let occupied = shard.slots.iter().enumerate().filter(|(_, hash)| **hash != 0);
            occupied.map(|(slot, hash)| slot - shard.home(*hash)).max().unwrap_or(0)
        };
        table.shards.iter().map(of_shard).max().unwrap_or(0)
    }

    #[test]
    fn the_order_of_iteration_is_safe_to_insert_again() {
        let (mut table, mut hash) = (Table::default(), 1u128);
        for _ in 0..300_000 {
            hash = hash.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(0x5851_F42D_4C95_7F2D);
            insert(&mut table, hash.rotate_left(64) | 1);
        }
        let usual = worst_displacement(&table);
        let mut again = Table::default();
        for (i, hash) in table.iter().enumerate() {
            insert(&mut again, *hash);
            if i % 10_007 == 0 {
                assert!(worst_displacement(&again) <= usual.max(100), "after {i}");
            }
        }
        assert!(worst_displacement(&again) <= usual.max(100));
    }

    #[test]
    fn memory_follows_the_entries() {
        let mut table = Table::default();
        let mut hash = 1u128;
        for i in 1..=400_000usize {
            hash = hash.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645).wrapping_add(0x5851_F42D_4C95_7F2D);
            assert!(insert(&mut table, hash.rotate_left(64) | 1));
            if i >= 100_000 && i % 1000 == 0 {
                let each = table.memory_bytes() as f64 / i as f64;
                assert!(each <= 24.0, "{each} bytes an id at {i}");
            }
        }
    }
}
