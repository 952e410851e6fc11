//! Ids packed for the ledger: versioned, checked, tied to the hash key.
//!
//! Layout (integers little-endian, `v` = LEB128): `"FMD"`, version 1, key check u64; incarnations v, each: hash u128,
//! ranges v, each: gap since the end of the last one v, length - 1 v; foreign ids v, each a u128; CRC-32 u32 of all before.

use crate::error::CoreError;

const MAGIC: [u8; 4] = *b"FMD\x01";
const HEAD: usize = MAGIC.len() + 8;
const TAIL: usize = 4;
/// Sequence numbers have at most 18 digits.
const MAX_SEQUENCE: u64 = 999_999_999_999_999_999;

/// Packs ids.
pub fn encode<R: Iterator<Item = (u64, u64)>>(
    key_check: u64,
    incarnations: usize,
    sequenced: impl Iterator<Item = (u128, R)>,
    fingerprints: usize,
    foreign: impl Iterator<Item = u128>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + incarnations * 24 + fingerprints * 16 + 24);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&key_check.to_le_bytes());
    put_varint(&mut out, incarnations as u64);
    let mut parts = Vec::new();
    for (hash, ranges) in sequenced {
        out.extend_from_slice(&hash.to_le_bytes());
        parts.clear();
        parts.extend(ranges);
        put_varint(&mut out, parts.len() as u64);
        let mut end = 0;
        for (low, high) in &parts {
            put_varint(&mut out, low - end);
            put_varint(&mut out, high - low);
            end = *high;
        }
    }
    put_varint(&mut out, fingerprints as u64);
    for fingerprint in foreign {
        out.extend_from_slice(&fingerprint.to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a blob, giving each range and each fingerprint to its sink. The checksum is checked before the first, and all of
/// the structure too, so that a refused blob has changed nothing.
pub fn decode(
    blob: &[u8],
    key_check: u64,
    mut range: impl FnMut(u128, u64, u64),
    mut foreign: impl FnMut(u128),
) -> Result<(), CoreError> {
    let body = checked_body(blob, key_check)?;
    walk(body, |_, _, _| {}, |_| {})?;
    walk(body, &mut range, &mut foreign)
}

fn checked_body(blob: &[u8], key_check: u64) -> Result<&[u8], CoreError> {
    let damaged = |what: &str| CoreError::Blob(what.to_owned());
    if blob.len() < HEAD + TAIL || blob[..3] != MAGIC[..3] {
        return Err(damaged("it is not a deduplication blob, or was cut"));
    }
    if blob[3] != MAGIC[3] {
        return Err(CoreError::Blob(format!("it has version {}; this core reads version {}", blob[3], MAGIC[3])));
    }
    let (content, tail) = blob.split_at(blob.len() - TAIL);
    if crc32fast::hash(content).to_le_bytes() != tail {
        return Err(damaged("its checksum does not match; it was damaged or cut"));
    }
    let (head, body) = content.split_at(HEAD);
    if head[MAGIC.len()..] != key_check.to_le_bytes() {
        return Err(damaged("it was made with another hash key"));
    }
    Ok(body)
}

fn walk(body: &[u8], mut range: impl FnMut(u128, u64, u64), mut foreign: impl FnMut(u128)) -> Result<(), CoreError> {
    let mut reader = Reader { rest: body };
    for _ in 0..reader.varint()? {
        let hash = reader.hash()?;
        let mut end = 0u64;
        for _ in 0..reader.varint()? {
            let low = end.checked_add(reader.varint()?).filter(|low| *low <= MAX_SEQUENCE);
            let low = low.ok_or_else(inconsistent)?;
            let high = low.checked_add(reader.varint()?).filter(|high| *high <= MAX_SEQUENCE);
            end = high.ok_or_else(inconsistent)?;
            range(hash, low, end);
        }
    }
    for _ in 0..reader.varint()? {
        foreign(reader.hash()?);
    }
    if reader.rest.is_empty() { Ok(()) } else { Err(inconsistent()) }
}

fn inconsistent() -> CoreError {
    CoreError::Blob("its content is inconsistent".to_owned())
}

struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn varint(&mut self) -> Result<u64, CoreError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(inconsistent)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(inconsistent())
    }

    fn hash(&mut self) -> Result<u128, CoreError> {
        let (bytes, rest) = self.rest.split_first_chunk::<16>().ok_or_else(inconsistent)?;
        self.rest = rest;
        match u128::from_le_bytes(*bytes) {
            0 => Err(inconsistent()),
            hash => Ok(hash),
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::DedupState;
    use crate::identity::Identity;
    use proptest::prelude::*;

    fn identity() -> impl Strategy<Value = Identity> {
        prop_oneof![
            (1u128..5, 0u64..50).prop_map(|(i, sequence)| Identity::Sequenced { incarnation: i << 90, sequence }),
            (1u128..5, 0..=MAX_SEQUENCE).prop_map(|(i, sequence)| Identity::Sequenced { incarnation: i, sequence }),
            (1u128..).prop_map(|fingerprint| Identity::Foreign { fingerprint }),
        ]
    }

    proptest! {
        #[test]
        fn a_blob_brings_back_exactly_its_ids(ids in prop::collection::vec(identity(), 0..200), others in prop::collection::vec(identity(), 0..50)) {
            let mut state = DedupState::new(9);
            for id in &ids {
                state.insert(*id);
            }
            let mut restored = DedupState::new(9);
            restored.restore(&state.snapshot()).unwrap();
            prop_assert_eq!(restored.snapshot(), state.snapshot());
            // Flush by flush gives the same as all at once.
            let mut pieces = DedupState::new(9);
            let mut again = DedupState::new(9);
            for part in ids.chunks(7) {
                for id in part {
                    pieces.insert(*id);
                }
                again.restore(&pieces.take_blob()).unwrap();
            }
            prop_assert_eq!(again.snapshot(), state.snapshot());
            for id in others {
                prop_assert_eq!(restored.insert(id), state.insert(id));
            }
        }

        #[test]
        fn any_damage_is_noticed_and_changes_nothing(ids in prop::collection::vec(identity(), 1..50), at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index) {
            let mut state = DedupState::new(9);
            for id in ids {
                state.insert(id);
            }
            let blob = state.snapshot();
            let mut damaged = blob.clone();
            damaged[at.index(blob.len())] ^= flip;
            let mut fresh = DedupState::new(9);
            prop_assert!(fresh.restore(&damaged).is_err());
            prop_assert!(fresh.restore(&blob[..cut.index(blob.len()).max(1)]).is_err());
            prop_assert_eq!(fresh.snapshot(), DedupState::new(9).snapshot());
        }

        #[test]
        fn garbage_with_a_good_checksum_never_panics(mut body in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut blob = MAGIC.to_vec();
            blob.extend_from_slice(&9u64.to_le_bytes());
            blob.append(&mut body);
            let crc = crc32fast::hash(&blob);
            blob.extend_from_slice(&crc.to_le_bytes());
            let mut state = DedupState::new(9);
            if state.restore(&blob).is_err() {
                prop_assert_eq!(state.snapshot(), DedupState::new(9).snapshot());
            }
        }
    }

    #[test]
    fn another_key_or_version_is_refused_by_name() {
        let blob = DedupState::new(9).snapshot();
        let message = |blob: &[u8], key| DedupState::new(key).restore(blob).unwrap_err().to_string();
        assert!(message(&blob, 8).contains("another hash key"));
        let mut newer = blob.clone();
        newer[3] = 2;
        assert!(message(&newer, 9).contains("version 2"));
        assert!(message(b"FMD", 9).contains("not a deduplication blob"));
    }

    #[test]
    fn blobs_are_small() {
        let mut state = DedupState::new(9);
        for i in 0..10_000u128 {
            state.insert(Identity::Foreign { fingerprint: (i + 1) << 77 });
        }
        assert!(state.take_blob().len() <= 10_000 * 16 + 24);
        for sequence in 0..10_000 {
            state.insert(Identity::Sequenced { incarnation: 5, sequence });
        }
        assert!(state.take_blob().len() <= 48);
        assert!(state.take_blob().is_empty());
    }
}
