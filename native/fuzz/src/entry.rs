//! What must hold for any record, however it came about. The fuzzer calls it, and so does the smoke test on the stable
//! toolchain (`tests/fuzz_smoke.rs`).

use fleetmeter_core::engine::{Core, Options};
use fleetmeter_core::outcome::{Outcome, Payload};
use fleetmeter_core::reasons::Reason;

const SPEC: &[u8] = include_bytes!("../../testdata/spec.json");
const APPEND_US: i64 = 1_772_367_000_000_000;
const EVENT_LIMIT: usize = 4_096;

fn core() -> Core {
    let options = Options {
        horizon_us: 35 * 86_400_000_000,
        future_us: 300_000_000,
        record_limit_bytes: 64 << 10,
        event_limit_bytes: EVENT_LIMIT,
        label_keys: vec!["team".to_owned(), "app".to_owned()],
        label_sets_per_account_hour: 3,
        deduplicate: true,
    };
    Core::new(SPEC, &[7; 16], options).unwrap()
}

/// Ingests a record in a fresh core and checks the answer against what is known without the core.
pub fn ingest(record: &[u8]) {
    let mut core = core();
    let first = core.ingest(&[Some(record)], 3, APPEND_US).unwrap();
    let counters = first.counters;
    assert_eq!(counters.events_in, counters.accepted + counters.duplicates + counters.rejected);
    assert_eq!(counters.rejected, first.rejections.len() as u64);
    check_payloads(record, &first);
    check_syntax(record, &first);

    // A resend changes nothing but that what was accepted is now a duplicate.
    let again = core.ingest(&[Some(record)], 4, APPEND_US).unwrap();
    assert_eq!(again.counters.accepted, 0);
    assert_eq!(again.counters.duplicates, counters.accepted + counters.duplicates);
    assert_eq!(again.rejections, first.rejections);

    let flushed = core.flush().unwrap();
    assert_eq!(flushed.blob.is_empty(), counters.accepted == 0);
    let mut restored = self::core();
    restored.restore(&flushed.blob).unwrap();
    assert_eq!(restored.snapshot(), core.snapshot());
    let known = restored.ingest(&[Some(record)], 5, APPEND_US).unwrap();
    assert_eq!((known.counters.accepted, known.counters.duplicates), (0, again.counters.duplicates));
}

fn check_payloads(record: &[u8], outcome: &Outcome) {
    for rejected in &outcome.rejections {
        if let Payload::Part { start, end } = rejected.payload {
            let payload = record.get(start as usize..end as usize).unwrap();
            assert!(!payload.is_empty());
            assert_eq!(rejected.reason == Reason::TooLarge, payload.len() > EVENT_LIMIT);
            let blank = |byte: Option<&u8>| byte.is_some_and(|byte| b" \t\r\n".contains(byte));
            assert!(!blank(payload.first()) && !blank(payload.last()), "an event's own bytes have no blanks around");
        }
    }
    for fact in &outcome.facts {
        if let Payload::Made(event) = &fact.payload {
            serde_json::from_slice::<serde_json::Value>(event).unwrap();
        }
    }
}

/// A record that is one JSON document is refused for its syntax exactly if serde_json refuses it too.
fn check_syntax(record: &[u8], outcome: &Outcome) {
    let first = record.iter().find(|byte| !b" \t\r\n".contains(byte));
    let is_whole =
        matches!(first, Some(b'[')) || (first == Some(&b'{') && !record.windows(2).any(|pair| pair == b"\n{"));
    if !is_whole || record.len() > 64 << 10 {
        return;
    }
    let valid = match serde_json::from_slice::<serde_json::Value>(record) {
        Ok(_) => true,
        // What no float holds and what no stack holds is JSON all the same.
        Err(error) if error.to_string().contains("out of range") || error.to_string().contains("recursion") => return,
        Err(_) => false,
    };
    let refused = outcome.rejections.iter().any(|rejected| {
        rejected.payload == Payload::Record && matches!(rejected.reason, Reason::NotJson | Reason::BadUtf8)
    });
    assert_eq!(valid, !refused, "{}", String::from_utf8_lossy(record));
}
