//! Which ids may be in a chunk: a binary fuse filter (Graf and Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor
//! Filters", 2022), 16 bits a slot and 1.125 slots an id.
//!
//! An id's three slots lie in three neighbouring segments; it may be in the set if they and the id's own 16 bits XOR to 0.
//! Never a false no, and a false yes for one in 65,536. Our own and not the crate `xorf`, because slots are fetched ahead for
//! many events at once, bytes are read where they lie, and damaged ones must be an error.
//!
//! Layout (integers little-endian): `"FMF"`, version 1; bits of a segment's length u32; key check u64; ids u64; seed u32;
//! segments u32; the slots, each u16; CRC-32 u32 of all before.

use std::sync::Arc;

use crate::error::CoreError;
use crate::prefetch::prefetch;

pub const MAGIC: [u8; 4] = *b"FMF\x01";
pub const HEAD: usize = 32;
pub const TAIL: usize = 4;
pub const SLOT: usize = size_of::<u16>();
pub const MOST_SEGMENT_BITS: u32 = 18;

/// Bytes that live elsewhere (a Python object, say) and never change.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// How many segments of slots there are besides the last two, and how long each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub segments: u32,
    pub segment_bits: u32,
}

impl Shape {
    /// Slots in all; 0 for a filter of nothing.
    pub fn slots(self) -> usize {
        if self.segments == 0 { 0 } else { (self.segments as usize + 2) << self.segment_bits }
    }

    /// The slots of a hash, all below `slots()` whatever the hash. Needs at least one segment.
    #[inline]
    pub fn positions(self, hash: u64) -> [usize; 3] {
        let length = 1usize << self.segment_bits;
        let starts = u128::from(self.segments) << self.segment_bits;
        let first = ((u128::from(hash) * starts) >> 64) as usize;
        let within = |bits: u64| bits as usize & (length - 1);
        [first, (first + length) ^ within(hash >> 18), (first + 2 * length) ^ within(hash)]
    }
}

/// What decides an id's slots. Fingerprints are uniform already, so without a seed their high half is enough: they ascend
/// with the hash then, which a build in that order profits from.
#[inline]
pub fn hash_of(fingerprint: u128, seed: u32) -> u64 {
    let (high, low) = ((fingerprint >> 64) as u64, fingerprint as u64);
    if seed == 0 { high } else { mix(high ^ mix(low ^ u64::from(seed))) }
}

/// The 16 bits that an id's slots must XOR to.
#[inline]
pub fn tag_of(hash: u64) -> u16 {
    (hash ^ hash >> 32) as u16
}

/// The finalizer of splitmix64, a bijection.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

/// A filter over bytes that have been checked.
#[derive(Clone)]
pub struct Filter {
    bytes: SharedBytes,
    shape: Shape,
    seed: u32,
    ids: u64,
}

impl Filter {
    /// Checks the bytes (see `fuse::build`) and keeps them.
    pub fn new(bytes: SharedBytes, key_check: u64) -> Result<Filter, CoreError> {
        let damaged = |what: String| CoreError::Chunk(format!("its filter {what}"));
        let whole = (*bytes).as_ref();
        let Some((head, rest)) = whole.split_first_chunk::<HEAD>().filter(|(head, _)| head[..3] == MAGIC[..3]) else {
            return Err(damaged("is not a filter, or was cut".to_owned()));
        };
        if head[3] != MAGIC[3] {
            return Err(damaged(format!("has version {}; this core reads version {}", head[3], MAGIC[3])));
        }
        let tail = rest.split_last_chunk::<TAIL>().map(|(slots, tail)| (slots.len(), *tail));
        let Some((slots, _)) =
            tail.filter(|(_, crc)| crc32fast::hash(&whole[..whole.len() - TAIL]).to_le_bytes() == *crc)
        else {
            return Err(damaged("was damaged or cut: its checksum does not match".to_owned()));
        };
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        if word(8) != key_check {
            return Err(damaged("was made with another hash key".to_owned()));
        }
        let shape = Shape { segment_bits: half(4), segments: half(28) };
        let (ids, seed) = (word(16), half(24));
        let fits = shape.segment_bits <= MOST_SEGMENT_BITS
            && slots == shape.slots() * SLOT
            && ids <= shape.slots() as u64
            && (ids == 0) == (shape.segments == 0);
        if !fits {
            return Err(damaged("is inconsistent".to_owned()));
        }
        Ok(Filter { bytes, shape, seed, ids })
    }

    /// How many ids it was made of.
    pub fn ids(&self) -> u64 {
        self.ids
    }

    pub fn memory_bytes(&self) -> usize {
        (*self.bytes).as_ref().len()
    }

    /// The filter's slots at hand, to ask for many ids.
    #[inline]
    pub fn slots(&self) -> Slots<'_> {
        let bytes = (*self.bytes).as_ref().get(HEAD..).unwrap_or_default();
        Slots { bytes, shape: self.shape, seed: self.seed }
    }
}

/// See `Filter::slots`.
#[derive(Clone, Copy)]
pub struct Slots<'f> {
    bytes: &'f [u8],
    shape: Shape,
    seed: u32,
}

impl Slots<'_> {
    /// Starts loading what `may_contain` will look at.
    #[inline]
    pub fn prefetch(&self, fingerprint: u128) {
        for slot in self.shape.positions(hash_of(fingerprint, self.seed)) {
            prefetch(self.bytes.get(slot * SLOT));
        }
    }

    #[inline]
    pub fn may_contain(&self, fingerprint: u128) -> bool {
        if self.shape.segments == 0 {
            return false;
        }
        let hash = hash_of(fingerprint, self.seed);
        let slots = self.shape.positions(hash).map(|slot| self.slot(slot));
        slots[0] ^ slots[1] ^ slots[2] == tag_of(hash)
    }

    #[inline]
    fn slot(&self, slot: usize) -> u16 {
        let bytes = self.bytes.get(slot * SLOT..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::fuse::build;
    use proptest::prelude::*;

    /// Uniform numbers, the same in each run.
    fn uniform(seed: u64, count: usize) -> Vec<u128> {
        let word = |i: u64| mix(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i));
        let mut all: Vec<u128> =
            (0..count as u64).map(|i| u128::from(word(2 * i)) << 64 | u128::from(word(2 * i + 1))).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn filter(bytes: Vec<u8>) -> Result<Filter, CoreError> {
        Filter::new(Arc::new(bytes), 9)
    }

    /// The bytes, with a good checksum.
    fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let end = bytes.len() - TAIL;
        let crc = crc32fast::hash(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&crc);
        bytes
    }

    proptest! {
        #[test]
        fn every_id_is_in_its_filter(seed: u64, count in 0usize..3_000) {
            let ids = uniform(seed, count);
            let filter = filter(build(&ids, 9).unwrap()).unwrap();
            prop_assert_eq!(filter.ids(), ids.len() as u64);
            prop_assert!(ids.iter().all(|id| filter.slots().may_contain(*id)));
        }

        #[test]
        fn ids_that_share_a_half_are_told_apart(halves in prop::collection::btree_set((0u64..4, any::<u64>()), 0..60)) {
            let ids: Vec<u128> = halves.iter().map(|(high, low)| u128::from(*high) << 64 | u128::from(*low)).collect();
            let filter = filter(build(&ids, 9).unwrap()).unwrap();
            prop_assert!(ids.iter().all(|id| filter.slots().may_contain(*id)));
        }

        #[test]
        fn damage_is_an_error(count in 0usize..300, at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index) {
            let bytes = build(&uniform(5, count), 9).unwrap();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= flip;
            prop_assert!(filter(damaged).is_err());
            prop_assert!(filter(bytes[..cut.index(bytes.len())].to_vec()).is_err());
        }

        #[test]
        fn a_filter_that_is_taken_never_reads_beyond_itself(
            count in 0usize..200,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            asked in prop::collection::vec(any::<u128>(), 20),
        ) {
            let mut bytes = build(&uniform(6, count), 9).unwrap();
            for (at, byte) in changes {
                bytes[at.index(HEAD)] = byte;
            }
            if let Ok(filter) = filter(resealed(bytes)) {
                for id in asked {
                    filter.slots().prefetch(id);
                    filter.slots().may_contain(id);
                    let slots = filter.shape.slots();
                    prop_assert!(slots == 0 || filter.shape.positions(hash_of(id, filter.seed)).iter().all(|slot| *slot < slots));
                }
            }
        }

        #[test]
        fn positions_are_three_and_within(segments in 1u32..200, segment_bits in 0u32..=MOST_SEGMENT_BITS, hash: u64) {
            let shape = Shape { segments, segment_bits };
            let slots = shape.positions(hash);
            prop_assert!(slots[0] < slots[1] && slots[1] < slots[2] && slots[2] < shape.slots(), "{:?}", slots);
        }
    }

    #[test]
    fn false_maybes_are_one_in_65536_and_an_id_takes_two_to_three_bytes() {
        let ids = uniform(1, 400_000);
        let filter = filter(build(&ids, 9).unwrap()).unwrap();
        let bytes = filter.memory_bytes() as f64 / ids.len() as f64;
        assert!((2.0..=2.5).contains(&bytes), "{bytes} bytes an id");
        let asked = uniform(2, 2_000_000);
        let yes = asked.iter().filter(|id| filter.slots().may_contain(**id)).count();
        // 30.5 expected with a standard deviation of 5.5; the numbers are the same in each run.
        assert!((8..=60).contains(&yes), "{yes}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bytes = build(&uniform(1, 10), 9).unwrap();
        let said = |bytes: Vec<u8>, what: &str| {
            let error = filter(bytes).err().unwrap().to_string();
            assert!(error.contains(what), "{error}");
        };
        let with = |at: usize, byte: u8| {
            let mut changed = bytes.clone();
            changed[at] = byte;
            resealed(changed)
        };
        said(b"FMF".to_vec(), "is not a filter");
        said(with(0, b'X'), "is not a filter");
        said(with(3, 7), "has version 7");
        said(bytes[..HEAD + 2].to_vec(), "checksum");
        said(with(8, !bytes[8]), "another hash key");
        said(with(4, 99), "is inconsistent");
        said(with(16, 255), "is inconsistent");
        said(with(28, 77), "is inconsistent");
    }
}
