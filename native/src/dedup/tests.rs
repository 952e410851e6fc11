//! The state as a whole: live, folded from its blobs, and cold.

use std::sync::Arc;

use super::*;
use crate::dedup::fold::ChunkFold;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub const DAY: u16 = 20_514;
pub const TIME_US: i64 = 1_772_366_400_000_000;

pub fn foreign(fingerprint: u128) -> Sighting {
    Sighting { identity: Identity::Foreign { fingerprint }, time_us: TIME_US, append_day: DAY }
}

pub fn sequenced(incarnation: u128, sequence: u64) -> Sighting {
    Sighting { identity: Identity::Sequenced { incarnation, sequence }, time_us: TIME_US, append_day: DAY }
}

pub fn sighting() -> impl Strategy<Value = Sighting> {
    let identity = prop_oneof![
        (1u128..5, 0u64..50).prop_map(|(i, sequence)| Identity::Sequenced { incarnation: i << 90, sequence }),
        (1u128..5, 0..1_000_000_000_000_000_000u64)
            .prop_map(|(i, sequence)| Identity::Sequenced { incarnation: i << 16, sequence }),
        (1u128..).prop_map(|fingerprint| Identity::Foreign { fingerprint }),
        (1u128..40).prop_map(|n| Identity::Foreign { fingerprint: n << 120 | n }),
    ];
    (identity, 0i64..3_000, 0u16..5).prop_map(|(identity, hour, day)| Sighting {
        identity,
        time_us: TIME_US - hour * 3_600_000_000,
        append_day: DAY + day,
    })
}

fn fingerprint_of(sighting: &Sighting) -> Option<u128> {
    match sighting.identity {
        Identity::Foreign { fingerprint } => Some(fingerprint),
        Identity::Sequenced { .. } => None,
    }
}

/// Which cold chunks of the state may know an id.
fn maybes(state: &DedupState, sighting: &Sighting) -> Vec<u64> {
    let suspect = state.suspect(3, sighting.identity, sighting.time_us);
    let mut found = Vec::new();
    state.maybes(suspect.as_slice(), &mut found);
    assert!(found.iter().all(|maybe| maybe.at == 3));
    found.into_iter().map(|maybe| maybe.chunk).collect()
}

proptest! {
    #[test]
    fn a_fold_equals_the_live_state_in_any_order_of_blobs(
        seen in prop::collection::vec(sighting(), 1..250),
        flush_each in 1usize..40,
        rotate: prop::sample::Index,
        before in 0u16..6,
    ) {
        let mut live = DedupState::new(9);
        let mut blobs = Vec::new();
        for part in seen.chunks(flush_each) {
            part.iter().for_each(|sighting| { live.insert(*sighting); });
            blobs.push(live.take_blob());
        }
        let (mut fold, mut other) = (ChunkFold::new(9), ChunkFold::new(9));
        for blob in &blobs {
            fold.add(blob).unwrap();
        }
        let count = blobs.len();
        blobs.rotate_left(rotate.index(count));
        for blob in blobs.iter().chain(&blobs[..1]).rev() {
            other.add(blob).unwrap();
        }
        prop_assert_eq!(fold.filter().unwrap(), other.filter().unwrap());
        prop_assert_eq!(fold.fingerprints(), other.fingerprints());
        prop_assert_eq!(fold.hours().to_bytes(), other.hours().to_bytes());
        prop_assert_eq!(fold.sequenced(DAY + before), other.sequenced(DAY + before));
        // What the fold holds is what went in, by another account.
        let ids: BTreeSet<u128> = seen.iter().filter_map(fingerprint_of).collect();
        prop_assert!(fold.fingerprints().iter().copied().eq(ids.iter().copied()));
        let mut first = BTreeMap::new();
        seen.iter().filter(|sighting| fingerprint_of(sighting).is_some()).for_each(|sighting| {
            first.entry(fingerprint_of(sighting)).or_insert(hour_of(sighting.time_us));
        });
        let hours: BTreeSet<u32> = first.values().copied().collect();
        prop_assert!(fold.hours().iter().eq(hours));
        // Its sequenced ids, forgotten or not, are those of the live state.
        let mut restored = DedupState::new(9);
        restored.restore(&fold.sequenced(DAY + before)).unwrap();
        live.forget_sequenced(DAY + before);
        let mut only = DedupState::new(9);
        only.sequenced = live.sequenced.clone();
        prop_assert_eq!(restored.snapshot(), only.snapshot());
    }

    #[test]
    fn a_cold_chunk_calls_each_of_its_ids_a_maybe(seen in prop::collection::vec(sighting(), 1..120), by_hour: bool) {
        let mut live = DedupState::new(9);
        seen.iter().for_each(|sighting| { live.insert(*sighting); });
        let mut fold = ChunkFold::new(9);
        fold.add(&live.take_blob()).unwrap();
        let filter = (!by_hour).then(|| Arc::new(fold.filter().unwrap()) as SharedBytes);
        let ids = fold.fingerprints().len() as u64;
        live.begin_chunk(8).unwrap();
        live.set_chunk(0, ids, &fold.hours().to_bytes(), filter.clone()).unwrap();
        let mut restored = DedupState::new(9);
        restored.begin_chunk(8).unwrap();
        restored.set_chunk(0, ids, &fold.hours().to_bytes(), filter).unwrap();
        restored.restore(&fold.sequenced(0)).unwrap();
        prop_assert_eq!(restored.snapshot(), live.snapshot());
        let mut firsts = BTreeSet::new();
        for sighting in &seen {
            let Some(fingerprint) = fingerprint_of(sighting) else {
                prop_assert!(maybes(&live, sighting).is_empty());
                continue;
            };
            // By hour, only the time that was counted is known to be there.
            if !by_hour || firsts.insert(fingerprint) {
                prop_assert_eq!(maybes(&live, sighting), [0]);
                prop_assert_eq!(maybes(&restored, sighting), [0]);
            }
        }
    }
}

#[test]
fn maybes_of_several_chunks_come_in_order() {
    let mut state = DedupState::new(9);
    state.begin_chunk(100).unwrap();
    for number in [9u64, 2, 5, 7] {
        let mut fold = ChunkFold::new(9);
        let mut other = DedupState::new(9);
        other.insert(foreign(7 << 100));
        other.insert(foreign(u128::from(number) << 101));
        fold.add(&other.take_blob()).unwrap();
        let filter = (number != 5).then(|| Arc::new(fold.filter().unwrap()) as SharedBytes);
        state.set_chunk(number, 2, &fold.hours().to_bytes(), filter).unwrap();
    }
    assert_eq!(maybes(&state, &foreign(7 << 100)), [2, 5, 7, 9]);
    assert_eq!(maybes(&state, &foreign(9 << 101)), [5, 9]);
    let earlier = Sighting { time_us: TIME_US - 3_600_000_000, ..foreign(9 << 101) };
    assert_eq!(maybes(&state, &earlier), [9]);
    state.insert(foreign(9 << 101));
    assert_eq!(maybes(&state, &foreign(9 << 101)), [] as [u64; 0], "an exact chunk has it");
}

#[test]
fn a_chunk_that_does_not_hang_together_is_refused_and_changes_nothing() {
    let mut fold = ChunkFold::new(9);
    let mut other = DedupState::new(9);
    other.insert(foreign(7 << 100));
    let snapshot = other.snapshot();
    assert!(fold.add(&snapshot).unwrap_err().to_string().contains("without their event hours"));
    fold.add(&other.take_blob()).unwrap();
    let (filter, hours) = (fold.filter().unwrap(), fold.hours().to_bytes());
    let mut state = DedupState::new(9);
    let mut refused = |ids, hours: &[u8], filter: Vec<u8>, said: &str| {
        let error = state.set_chunk(3, ids, hours, Some(Arc::new(filter))).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!state.has_cold_chunks());
    };
    refused(2, &hours, filter.clone(), "2 ids, but its filter was made of 1");
    refused(1, &[], filter.clone(), "1 ids have 0 event hours");
    refused(1, &hours[1..], filter.clone(), "not 4 bytes");
    let mut elsewhere = ChunkFold::new(8);
    refused(0, &[], elsewhere.filter().unwrap(), "another hash key");
    assert!(state.set_chunk(3, 1, &hours, Some(Arc::new(filter))).is_ok());
}
