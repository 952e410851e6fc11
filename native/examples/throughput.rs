//! One long run of one kind of record, for a profiler: `cargo run --release --example throughput -- json 200000 10`.
//! The numbers are events and rounds; under callgrind, 20000 and 1 will do.
#[path = "../benches/events.rs"]
mod events;

use std::time::Instant;

use events::{APPEND_US, Ids, SPEC, arrow_records, json_records};
use fleetmeter_core::engine::{Core, Options};

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_else(|| "json".to_owned());
    let number = |at: usize, usual: u64| std::env::args().nth(at).map_or(usual, |text| text.parse().unwrap());
    let (events, rounds) = (number(2, 200_000), number(3, 10));
    let ids = if kind.ends_with("foreign") { Ids::Foreign } else { Ids::Sequenced };
    let records = match kind.split('-').next() {
        Some("json") => json_records(0, events, 1, false, ids),
        Some("lines") => json_records(0, events, 100, false, ids),
        Some("array") => json_records(0, events, 100, true, ids),
        Some("arrow") => arrow_records(0, events, 5_000, ids),
        _ => panic!("json, lines, array or arrow, then perhaps -foreign"),
    };
    let bytes: usize = records.iter().map(Vec::len).sum();
    let values: Vec<Option<&[u8]>> = records.iter().map(|record| Some(record.as_slice())).collect();
    let options = Options {
        horizon_us: 35 * 86_400_000_000,
        future_us: 300_000_000,
        record_limit_bytes: 8 << 20,
        event_limit_bytes: 256 << 10,
        label_keys: Vec::new(),
        label_sets_per_account_hour: 1000,
        deduplicate: !kind.ends_with("undeduplicated"),
    };
    let mut best = u128::MAX;
    for _ in 0..rounds {
        let mut core = Core::new(SPEC, &[7; 16], options.clone()).unwrap();
        for part in values.chunks(values.len().div_ceil(20)) {
            let start = Instant::now();
            let outcome = core.ingest(part, 0, APPEND_US).unwrap();
            assert_eq!(outcome.counters.accepted, outcome.counters.events_in);
            best = best.min(start.elapsed().as_nanos() / u128::from(outcome.counters.accepted));
        }
        assert_eq!(core.pending_events(), events);
    }
    println!("{kind}: {} bytes an event, best call {best} ns an event", bytes as u64 / events);
}
