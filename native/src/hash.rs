//! A fast hash for in-memory tables that are compared by content afterwards.
//!
//! A folded multiplication under seeds that come from the secret hash key: an outsider cannot aim at one slot. Not for
//! identities, which are *only* compared by hash: those use SipHash (see `identity`).

/// Seeds of one core's tables.
#[derive(Clone, Copy)]
pub struct TableHasher {
    seeds: [u64; 4],
}

impl TableHasher {
    pub fn new(key: &[u8; 16]) -> Self {
        use std::hash::Hasher;
        let seed = |domain: u8| {
            let mut hasher = siphasher::sip::SipHasher13::new_with_key(key);
            hasher.write(&[b't', domain]);
            hasher.finish()
        };
        TableHasher { seeds: [seed(0), seed(1), seed(2) | 1, seed(3)] }
    }

    /// Hash of bytes, told apart by a small tag (a field's number, say).
    #[inline]
    pub fn bytes(&self, tag: u64, bytes: &[u8]) -> u64 {
        let mut state = self.seeds[0] ^ tag.wrapping_mul(self.seeds[2]) ^ (bytes.len() as u64);
        let mut rest = bytes;
        while rest.len() > 16 {
            let (head, tail) = rest.split_at(16);
            state = fold(state ^ word(&head[..8]), self.seeds[1] ^ word(&head[8..]));
            rest = tail;
        }
        let (low, high) = short_words(rest);
        fold(state ^ low, self.seeds[3] ^ high)
    }

    /// Hash of a row of ids.
    #[inline]
    pub fn ids(&self, ids: &[u32]) -> u64 {
        let mut state = self.seeds[0];
        let mut chunks = ids.chunks_exact(4);
        for chunk in &mut chunks {
            let low = u64::from(chunk[0]) | u64::from(chunk[1]) << 32;
            let high = u64::from(chunk[2]) | u64::from(chunk[3]) << 32;
            state = state.rotate_left(23) ^ fold(low ^ self.seeds[1], high ^ self.seeds[3]);
        }
        for id in chunks.remainder() {
            state = fold(state ^ u64::from(*id), self.seeds[1]);
        }
        fold(state, self.seeds[2])
    }
}

/// Up to 16 bytes as two words; together with the length they tell all such strings apart.
#[inline]
fn short_words(bytes: &[u8]) -> (u64, u64) {
    let len = bytes.len();
    if len >= 8 {
        (word(&bytes[..8]), word(&bytes[len - 8..]))
    } else if len >= 4 {
        let half = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        (u64::from(half(0)), u64::from(half(len - 4)))
    } else if len > 0 {
        (u64::from(bytes[0]) | u64::from(bytes[len / 2]) << 8 | u64::from(bytes[len - 1]) << 16, 0)
    } else {
        (0, 0)
    }
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn short_words_tell_strings_of_one_length_apart(a in prop::collection::vec(any::<u8>(), 0..=16), b in prop::collection::vec(any::<u8>(), 0..=16)) {
            if a.len() == b.len() {
                prop_assert_eq!(a == b, short_words(&a) == short_words(&b));
            }
        }
    }

    #[test]
    fn hashes_spread_over_low_bits() {
        let hasher = TableHasher::new(&[3; 16]);
        let mut seen = [0u32; 256];
        for i in 0..25_600u32 {
            seen[(hasher.bytes(1, format!("account-{i}").as_bytes()) & 255) as usize] += 1;
            seen[(hasher.ids(&[i, 0, 0, i / 7, 5]) & 255) as usize] += 1;
        }
        // 200 expected in each; 6 standard deviations are 85.
        assert!(seen.iter().all(|n| (115..285).contains(n)), "{seen:?}");
    }
}
