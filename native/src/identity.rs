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
}

impl IdentityHasher {
    pub fn new(key: &[u8; 16]) -> Self {
        let keyed = |domain: u8| {
            let mut hasher = SipHasher13::new_with_key(key);
            hasher.write(&[domain]);
            hasher
        };
        let key_check = keyed(0).finish();
        IdentityHasher { sequenced: keyed(1), foreign: keyed(2), key_check }
    }

    /// A number that tells keys apart without giving the key away; stored in blobs.
    pub fn key_check(&self) -> u64 {
        self.key_check
    }

    /// The identity of an event with non-empty `source` and `id`.
    #[inline]
    pub fn identify(&self, source: &[u8], id: &[u8]) -> Identity {
        match split_sequenced(id) {
            Some((ulid, sequence)) => {
                Identity::Sequenced { incarnation: hash(&self.sequenced, source, ulid), sequence }
            }
            None => Identity::Foreign { fingerprint: hash(&self.foreign, source, id) },
        }
    }
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

/// Splits `<ULID>-<sequence>`, that is `[0-7][0-9A-HJKMNP-TV-Z]{25}-(0|[1-9][0-9]{0,17})`.
#[inline]
fn split_sequenced(id: &[u8]) -> Option<(&[u8], u64)> {
    let (ulid, rest) = id.split_at_checked(ULID_LENGTH)?;
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
    let valid = ulid[0].wrapping_sub(b'0') < 8 && ulid.iter().all(|byte| IS_CROCKFORD[usize::from(*byte)]);
    valid.then_some((ulid, sequence))
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
        split_sequenced(id.as_bytes()).map(|(_, sequence)| sequence)
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
        let hasher = IdentityHasher::new(&[7; 16]);
        let id = |source: &str, id: &str| hasher.identify(source.as_bytes(), id.as_bytes());
        assert_eq!(id("a", "bc"), id("a", "bc"));
        assert_ne!(id("a", "bc"), id("ab", "c"));
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
        assert_ne!(id("a", "bc"), IdentityHasher::new(&[8; 16]).identify(b"a", b"bc"));
        let (Identity::Sequenced { incarnation, sequence: 5 }, Identity::Foreign { fingerprint }) =
            (id("a", &format!("{ULID}-5")), id("a", ULID))
        else {
            panic!("wrong kinds");
        };
        assert_ne!(incarnation, fingerprint);
        assert_eq!(id("a", &format!("{ULID}-6")), Identity::Sequenced { incarnation, sequence: 6 });
    }
}
