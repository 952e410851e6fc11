//! Ids packed for the ledger: versioned, checked, tied to the hash key.
//!
//! Layout (integers little-endian, `v` = LEB128): `"FMD"`, version 2, key check u64; append day u16; event hours of the
//! foreign ids v, each: gap since the one before v; incarnations v, each: hash u128 whose low 16 bits are the append day of
//! its last event, ranges v, each: gap since the end of the last one v, length - 1 v; foreign ids v, each a u128; CRC-32 u32
//! of all before.

use crate::dedup::hours::Hours;
use crate::dedup::sequenced::{Remembered, key_of};
use crate::error::CoreError;

const MAGIC: [u8; 4] = *b"FMD\x02";
const HEAD: usize = MAGIC.len() + 8;
const TAIL: usize = 4;
/// Sequence numbers have at most 18 digits.
const MAX_SEQUENCE: u64 = 999_999_999_999_999_999;

/// What a blob is made of, besides the ids.
pub struct Heading<'h> {
    pub key_check: u64,
    /// Days since 1970-01-01 of the newest append time of its ids.
    pub append_day: u16,
    pub hours: &'h Hours,
}

/// Takes in what a blob holds.
pub trait Sink {
    fn range(&mut self, incarnation: u128, day: u16, low: u64, high: u64);
    fn foreign(&mut self, fingerprint: u128);
    fn hour(&mut self, hour: u32);
}

/// Packs ids.
pub fn encode<R: Iterator<Item = (u64, u64)>>(
    heading: Heading<'_>,
    incarnations: usize,
    sequenced: impl Iterator<Item = Remembered<R>>,
    foreign: &[u128],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + incarnations * 24 + foreign.len() * 16 + 64);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&heading.key_check.to_le_bytes());
    out.extend_from_slice(&heading.append_day.to_le_bytes());
    put_varint(&mut out, heading.hours.len() as u64);
    let mut before = 0;
    for hour in heading.hours.iter() {
        put_varint(&mut out, u64::from(hour - before));
        before = hour;
    }
    put_varint(&mut out, incarnations as u64);
    let mut parts = Vec::new();
    for incarnation in sequenced {
        out.extend_from_slice(&(incarnation.key | u128::from(incarnation.day)).to_le_bytes());
        parts.clear();
        parts.extend(incarnation.ranges);
        put_varint(&mut out, parts.len() as u64);
        let mut end = 0;
        for (low, high) in &parts {
            put_varint(&mut out, low - end);
            put_varint(&mut out, high - low);
            end = *high;
        }
    }
    put_varint(&mut out, foreign.len() as u64);
    for fingerprint in foreign {
        out.extend_from_slice(&fingerprint.to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a blob into the sink. The checksum is checked before anything, and all of the structure too, so that a refused blob
/// has changed nothing.
pub fn decode(blob: &[u8], key_check: u64, sink: &mut impl Sink) -> Result<(), CoreError> {
    let content = checked(blob)?;
    if content[MAGIC.len()..HEAD] != key_check.to_le_bytes() {
        return Err(CoreError::Blob("it was made with another hash key".to_owned()));
    }
    walk(content, &mut Count::default())?;
    walk(content, sink).map(|_| ())
}

/// What a blob holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobStats {
    pub sequenced_events: u64,
    pub foreign_ids: u64,
    pub append_day: u16,
    /// Distinct event hours of its foreign ids.
    pub hours: u64,
}

/// Counts what a blob of any hash key holds; the empty one holds nothing.
pub fn stats(blob: &[u8]) -> Result<BlobStats, CoreError> {
    if blob.is_empty() {
        return Ok(BlobStats::default());
    }
    let mut count = Count::default();
    count.0.append_day = walk(checked(blob)?, &mut count)?;
    Ok(count.0)
}

#[derive(Default)]
struct Count(BlobStats);

impl Sink for Count {
    fn range(&mut self, _: u128, _: u16, low: u64, high: u64) {
        self.0.sequenced_events = self.0.sequenced_events.saturating_add(high - low + 1);
    }

    fn foreign(&mut self, _: u128) {
        self.0.foreign_ids += 1;
    }

    fn hour(&mut self, _: u32) {
        self.0.hours += 1;
    }
}

/// All of a blob before its checksum, which fits.
fn checked(blob: &[u8]) -> Result<&[u8], CoreError> {
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
    Ok(content)
}

/// Goes through the content; returns the append day.
fn walk(content: &[u8], sink: &mut impl Sink) -> Result<u16, CoreError> {
    let mut reader = Reader { rest: &content[HEAD..] };
    let append_day = u16::from_le_bytes(reader.array()?);
    let mut next = 0u64;
    for i in 0..reader.varint()? {
        let gap = reader.varint()?;
        let hour = next.checked_add(gap).and_then(|hour| u32::try_from(hour).ok());
        let hour = hour.filter(|hour| Hours::is_valid(*hour) && (i == 0 || gap > 0)).ok_or_else(inconsistent)?;
        sink.hour(hour);
        next = u64::from(hour);
    }
    for _ in 0..reader.varint()? {
        let tagged = reader.u128()?;
        let (incarnation, day) = (tagged & !u128::from(u16::MAX), tagged as u16);
        if incarnation != key_of(incarnation) {
            return Err(inconsistent());
        }
        let mut end = 0u64;
        for _ in 0..reader.varint()? {
            let low = end.checked_add(reader.varint()?).filter(|low| *low <= MAX_SEQUENCE);
            let low = low.ok_or_else(inconsistent)?;
            let high = low.checked_add(reader.varint()?).filter(|high| *high <= MAX_SEQUENCE);
            end = high.ok_or_else(inconsistent)?;
            sink.range(incarnation, day, low, end);
        }
    }
    for _ in 0..reader.varint()? {
        match reader.u128()? {
            0 => return Err(inconsistent()),
            fingerprint => sink.foreign(fingerprint),
        }
    }
    if reader.rest.is_empty() { Ok(append_day) } else { Err(inconsistent()) }
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

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CoreError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(inconsistent)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u128(&mut self) -> Result<u128, CoreError> {
        self.array().map(u128::from_le_bytes)
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
    use crate::dedup::tests::{foreign, sequenced, sighting};
    use crate::dedup::{DedupState, Sighting};
    use proptest::prelude::*;

    /// A blob of this body, with a good checksum.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let mut blob = MAGIC.to_vec();
        blob.extend_from_slice(&9u64.to_le_bytes());
        blob.extend_from_slice(body);
        let crc = crc32fast::hash(&blob);
        blob.extend_from_slice(&crc.to_le_bytes());
        blob
    }

    fn state_of(sightings: &[Sighting]) -> DedupState {
        let mut state = DedupState::new(9);
        for sighting in sightings {
            state.insert(*sighting);
        }
        state
    }

    proptest! {
        #[test]
        fn a_blob_brings_back_exactly_its_ids(seen in prop::collection::vec(sighting(), 0..200), others in prop::collection::vec(sighting(), 0..50)) {
            let mut state = state_of(&seen);
            let mut restored = DedupState::new(9);
            restored.restore(&state.snapshot()).unwrap();
            prop_assert_eq!(restored.snapshot(), state.snapshot());
            // Flush by flush gives the same as all at once.
            let mut pieces = DedupState::new(9);
            let mut again = DedupState::new(9);
            for part in seen.chunks(7) {
                let new: Vec<&Sighting> = part.iter().filter(|sighting| pieces.insert(**sighting)).collect();
                let blob = pieces.take_blob();
                let stats = stats(&blob).unwrap();
                prop_assert_eq!((stats.sequenced_events + stats.foreign_ids) as usize, new.len());
                prop_assert_eq!(stats.append_day, new.iter().map(|sighting| sighting.append_day).max().unwrap_or(0));
                again.restore(&blob).unwrap();
            }
            prop_assert_eq!(again.snapshot(), state.snapshot());
            for sighting in others {
                prop_assert_eq!(restored.insert(sighting), state.insert(sighting));
            }
        }

        #[test]
        fn any_damage_is_noticed_and_changes_nothing(seen in prop::collection::vec(sighting(), 1..50), at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index) {
            let blob = state_of(&seen).take_blob();
            let mut damaged = blob.clone();
            damaged[at.index(blob.len())] ^= flip;
            let mut fresh = DedupState::new(9);
            prop_assert!(fresh.restore(&damaged).is_err());
            prop_assert!(stats(&damaged).is_err() || (4..12).contains(&at.index(blob.len())));
            prop_assert!(fresh.restore(&blob[..cut.index(blob.len()).max(1)]).is_err());
            prop_assert_eq!(fresh.snapshot(), DedupState::new(9).snapshot());
        }

        #[test]
        fn garbage_with_a_good_checksum_never_panics(body in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255), any::<u8>()], 0..100)) {
            let mut state = DedupState::new(9);
            let blob = sealed(&body);
            let (restored, stats) = (state.restore(&blob), stats(&blob));
            prop_assert_eq!(restored.is_err(), stats.is_err());
            if restored.is_err() {
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
        newer[3] = 3;
        assert!(message(&newer, 9).contains("version 3"));
        assert!(message(b"FMD", 9).contains("not a deduplication blob"));
    }

    #[test]
    fn inconsistent_content_is_refused() {
        let one = |fingerprint: u128| [&[1][..], &fingerprint.to_le_bytes()].concat();
        let body = |hours: &[u8], sequenced: &[u8], foreign: &[u8]| [&[0, 0][..], hours, sequenced, foreign].concat();
        let refused = |body: Vec<u8>| assert!(DedupState::new(9).restore(&sealed(&body)).is_err(), "{body:?}");
        assert_eq!(DedupState::new(9).restore(&sealed(&body(&[0], &[0], &one(7)))), Ok(()));
        refused(body(&[0], &[0], &one(0)));
        refused(body(&[0], &[0], &[&one(7)[..], &[0]].concat()));
        refused(body(&[2, 5, 0], &[0], &one(7)));
        refused(body(&[1, 255, 255, 255, 255, 255, 1], &[0], &one(7)));
        let incarnation = |tagged: u128, range: &[u8]| [&one(tagged)[..], &[1], range].concat();
        assert_eq!(DedupState::new(9).restore(&sealed(&body(&[0], &incarnation(7 << 16, &[3, 4]), &[0]))), Ok(()));
        refused(body(&[0], &incarnation(7, &[3, 4]), &[0]));
        refused(body(&[0], &incarnation(7 << 16, &[255, 255, 255, 255, 255, 255, 255, 255, 127, 0]), &[0]));
    }

    #[test]
    fn blobs_are_small() {
        let mut state = DedupState::new(9);
        for i in 0..10_000u128 {
            state.insert(foreign((i + 1) << 77));
        }
        assert!(state.take_blob().len() <= 10_000 * 16 + 32);
        for sequence in 0..10_000 {
            state.insert(sequenced(5 << 90, sequence));
        }
        assert!(state.take_blob().len() <= 48);
        assert!(state.take_blob().is_empty());
    }
}
