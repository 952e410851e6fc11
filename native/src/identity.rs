//! What an event *is*: (source, id), hashed to 128 bits under a secret key.
//!
//! Producers are not trusted, so the hash is keyed (SipHash-1-3, 128 bits): nobody outside can craft two identities
//! that collide. The source is length-prefixed, and the two kinds of identity are hashed in domains of their own.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

const ULID_LENGTH: usize = 26;
const MAX_SEQUENCE_DIGITS: usize = 18;
/// Bytes of length, source and id that are usually enough.
const WHOLE: usize = 128;

/// An event's identity as deduplication remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Hash of (source, ULID of the producer's incarnation), and the event's number in it (below 10^18).
    Sequenced { incarnation: u128, sequence: u64 },
    /// Hash of (source, id) for every other form of id.
    Foreign { fingerprint: u128 },
}

/// The keyed hash of identities.
#[derive(Clone)]
pub struct IdentityHasher {
    sequenced: SipHasher13,
    foreign: SipHasher13,
    key_check: u64,
    recent: Vec<Recent>,
}

/// An incarnation that was hashed before: most events come from few producers.
#[derive(Clone, Default)]
struct Recent {
    source: Vec<u8>,
    ulid: [u8; ULID_LENGTH],
    /// 0: none yet.
    incarnation: u128,
}

const RECENT: usize = 256;
/// Longer sources are not remembered.
const RECENT_SOURCE: usize = 128;

impl IdentityHasher {
    pub fn new(key: &[u8; 16]) -> Self {
        let keyed = |domain: u8| {
            let mut hasher = SipHasher13::new_with_key(key);
            hasher.write(&[domain]);
            hasher
        };
        let key_check = keyed(0).finish();
        IdentityHasher { sequenced: keyed(1), foreign: keyed(2), key_check, recent: vec![Recent::default(); RECENT] }
    }

    /// A number that tells keys apart without giving the key away; stored in blobs.
    pub fn key_check(&self) -> u64 {
        self.key_check
    }

    /// The identity of an event with non-empty `source` and `id`.
    #[inline]
    pub fn identify(&mut self, source: &[u8], id: &[u8]) -> Identity {
        match split_sequenced(id) {
            Some((ulid, sequence)) if self.is_recent(source, ulid) => {
                Identity::Sequenced { incarnation: self.recent[place_of(source, ulid)].incarnation, sequence }
            }
            Some((ulid, sequence)) if is_ulid(ulid) => {
                Identity::Sequenced { incarnation: self.incarnation(source, ulid), sequence }
            }
            _ => Identity::Foreign { fingerprint: hash(&self.foreign, source, id) },
        }
    }

    #[inline]
    fn is_recent(&self, source: &[u8], ulid: &[u8; ULID_LENGTH]) -> bool {
        let recent = &self.recent[place_of(source, ulid)];
        recent.incarnation != 0 && recent.ulid == *ulid && recent.source == source
    }

    #[inline(never)]
    fn incarnation(&mut self, source: &[u8], ulid: &[u8; ULID_LENGTH]) -> u128 {
        let incarnation = hash(&self.sequenced, source, ulid);
        if source.len() <= RECENT_SOURCE {
            let recent = &mut self.recent[place_of(source, ulid)];
            recent.source.clear();
            recent.source.extend_from_slice(source);
            (recent.ulid, recent.incarnation) = (*ulid, incarnation);
        }
        incarnation
    }
}

/// Where an incarnation is remembered; by bytes that tell producers apart, whatever else is alike.
#[inline]
fn place_of(source: &[u8], ulid: &[u8; ULID_LENGTH]) -> usize {
    let end = |bytes: &[u8]| bytes.last_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let mixed = end(source) ^ end(ulid).rotate_left(31);
    (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - RECENT.ilog2())) as usize
}

#[inline]
fn hash(domain: &SipHasher13, source: &[u8], id: &[u8]) -> u128 {
    let mut hasher = *domain;
    let length = (source.len() as u32).to_le_bytes();
    // One piece is hashed faster than three.
    let mut whole = [0; WHOLE];
    let (head, rest) = whole.split_at_mut(length.len());
    head.copy_from_slice(&length);
    match rest.get_mut(..source.len() + id.len()) {
        Some(both) => {
            let (first, second) = both.split_at_mut(source.len());
            first.copy_from_slice(source);
            second.copy_from_slice(id);
            hasher.write(&whole[..length.len() + source.len() + id.len()]);
        }
        None => {
            hasher.write(&length);
            hasher.write(source);
            hasher.write(id);
        }
    }
    // Zero marks an empty slot in the tables; folding one hash value onto another changes nothing measurable.
    hasher.finish128().as_u128().max(1)
}

/// Splits `<26 bytes>-<sequence>`, the sequence being `0|[1-9][0-9]{0,17}`.
#[inline]
fn split_sequenced(id: &[u8]) -> Option<(&[u8; ULID_LENGTH], u64)> {
    let (ulid, rest) = id.split_first_chunk()?;
    let (b'-', digits) = rest.split_first()? else {
        return None;
    };
    if digits.is_empty() || digits.len() > MAX_SEQUENCE_DIGITS || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut sequence = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sequence = sequence * 10 + u64::from(digit);
    }
    Some((ulid, sequence))
}

/// `[0-7][0-9A-HJKMNP-TV-Z]{25}`.
fn is_ulid(ulid: &[u8; ULID_LENGTH]) -> bool {
    ulid[0].wrapping_sub(b'0') < 8 && ulid.iter().all(|byte| IS_CROCKFORD[usize::from(*byte)])
}

/// Crockford's base 32, upper case: no I, L, O, U.
const IS_CROCKFORD: [bool; 256] = {
    let alphabet = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut table = [false; 256];
    let mut i = 0;
    while i < alphabet.len() {
        table[alphabet[i] as usize] = true;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB";

    fn split(id: &str) -> Option<u64> {
        let (ulid, sequence) = split_sequenced(id.as_bytes())?;
        is_ulid(ulid).then_some(sequence)
    }

    #[test]
    fn sequenced_ids_are_told_from_foreign_ones() {
        assert_eq!(split(&format!("{ULID}-0")), Some(0));
        assert_eq!(split(&format!("{ULID}-42")), Some(42));
        assert_eq!(split(&format!("{ULID}-999999999999999999")), Some(999_999_999_999_999_999));
        for foreign in [
            format!("{ULID}-"),
            format!("{ULID}-01"),
            format!("{ULID}-00"),
            format!("{ULID}--1"),
            format!("{ULID}-1a"),
            format!("{ULID}-1000000000000000000"),
            format!("8{}-1", &ULID[1..]),
            format!("{}-1", ULID.to_lowercase()),
            format!("{}U-1", &ULID[..25]),
            format!("{}-1", &ULID[..25]),
            ULID.to_owned(),
            String::new(),
        ] {
            assert_eq!(split(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn identities_depend_on_key_source_id_and_domain() {
        let mut hasher = IdentityHasher::new(&[7; 16]);
        let mut id = |source: &str, id: &str| hasher.identify(source.as_bytes(), id.as_bytes());
        let one = id("a", "bc");
        assert_eq!(one, id("a", "bc"));
        assert_ne!(one, id("ab", "c"));
        // Short and long identities are hashed in the same way, whatever the pieces.
        for length in [1, 90, 96, 97, 98, 99, 124, 125, 300] {
            let (source, long) = ("s".repeat(length), "i".repeat(26));
            let mut pieces = SipHasher13::new_with_key(&[7; 16]);
            pieces.write(&[2]);
            pieces.write(&(length as u32).to_le_bytes());
            pieces.write(source.as_bytes());
            pieces.write(long.as_bytes());
            assert_eq!(id(&source, &long), Identity::Foreign { fingerprint: pieces.finish128().as_u128() }, "{length}");
        }
        assert_ne!(one, IdentityHasher::new(&[8; 16]).identify(b"a", b"bc"));
        let (Identity::Sequenced { incarnation, sequence: 5 }, Identity::Foreign { fingerprint }) =
            (id("a", &format!("{ULID}-5")), id("a", ULID))
        else {
            panic!("wrong kinds");
        };
        assert_ne!(incarnation, fingerprint);
        assert_eq!(id("a", &format!("{ULID}-6")), Identity::Sequenced { incarnation, sequence: 6 });
    }

    #[test]
    fn an_incarnation_that_is_remembered_has_the_hash_of_a_new_one() {
        let mut hasher = IdentityHasher::new(&[7; 16]);
        for round in 0..3 {
            for n in 0..2_000 {
                // Many more than are remembered, and in part with equal ends, so that they fight for one place.
                let (source, ulid) =
                    (format!("{n}/node-1234567{}", n % 3), format!("01JD8Z5W8Q{:06}2N4T7RY{:03}", n / 7, n % 97));
                let id = format!("{ulid}-{round}");
                let anew = IdentityHasher::new(&[7; 16]).identify(source.as_bytes(), id.as_bytes());
                assert_eq!(hasher.identify(source.as_bytes(), id.as_bytes()), anew, "{source} {id}");
                assert_eq!(hasher.identify(source.as_bytes(), id.as_bytes()), anew, "{source} {id}");
            }
        }
        assert!(hasher.recent.iter().filter(|recent| recent.incarnation != 0).count() > 50);
    }
}
