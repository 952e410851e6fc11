//! How long the core takes an event, by wire format and kind of id: `cargo bench`, or one of them: `cargo bench -- json`.
//! Times are CPU time of the thread, so that a busy machine blurs them less.

mod events;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fleetmeter_core::engine::{Core, Options};

use events::{APPEND_US, Ids, SPEC, arrow_records, json_records};

const EVENTS: u64 = 20_000;

fn core() -> Core {
    let options = Options {
        horizon_us: 35 * 86_400_000_000,
        future_us: 300_000_000,
        record_limit_bytes: 8 << 20,
        event_limit_bytes: 256 << 10,
        label_keys: vec!["team".to_owned()],
        label_sets_per_account_hour: 1000,
        deduplicate: true,
    };
    Core::new(SPEC, &[7; 16], options).unwrap()
}

/// A core that knows `count` foreign ids.
fn core_with_foreign_ids(count: u64) -> Core {
    let mut core = core();
    for start in (0..count).step_by(100_000) {
        ingest(&mut core, &arrow_records(1_000_000_000 + start, 100_000.min(count - start), 10_000, Ids::Foreign));
        core.flush().unwrap();
    }
    core
}

fn ingest(core: &mut Core, records: &[Vec<u8>]) -> u64 {
    let values: Vec<Option<&[u8]>> = records.iter().map(|record| Some(record.as_slice())).collect();
    let outcome = core.ingest(&values, 0, APPEND_US).unwrap();
    assert_eq!((outcome.counters.rejected, outcome.counters.duplicates), (0, 0));
    outcome.counters.accepted
}

/// CPU time that this thread has used.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec, which the call fills in.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Measures calls with fresh events each; flushes (not measured) keep the groups at a realistic number.
fn measure(criterion: &mut Criterion, name: &str, start: fn() -> Core, make: impl Fn(u64) -> Vec<Vec<u8>>) {
    let mut next = 0;
    let mut core = None;
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20).warm_up_time(Duration::from_secs(1));
    group.bench_function(name, |bencher| {
        let core = core.get_or_insert_with(start);
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let records = make(next);
                next += EVENTS;
                let start = cpu_time();
                assert_eq!(ingest(core, &records), EVENTS);
                spent += cpu_time() - start;
                if core.pending_events() >= 500_000 {
                    core.flush().unwrap();
                }
            }
            spent
        });
    });
    group.finish();
}

fn ten_million() -> Core {
    let core = core_with_foreign_ids(10_000_000);
    let bytes = core.stats().memory_bytes as f64 / core.stats().foreign_ids as f64;
    println!("10M foreign ids: {bytes:.1} bytes each");
    core
}

fn benches(criterion: &mut Criterion) {
    for (kind, ids) in [("sequenced", Ids::Sequenced), ("foreign", Ids::Foreign)] {
        measure(criterion, &format!("json, {kind} ids"), core, |from| json_records(from, EVENTS, 1, false, ids));
        measure(criterion, &format!("json lines, {kind} ids"), core, |from| {
            json_records(from, EVENTS, 100, false, ids)
        });
        measure(criterion, &format!("json array, {kind} ids"), core, |from| json_records(from, EVENTS, 100, true, ids));
        measure(criterion, &format!("arrow, {kind} ids"), core, |from| arrow_records(from, EVENTS, 5_000, ids));
    }
    measure(criterion, "json, 10M foreign ids", ten_million, |from| json_records(from, EVENTS, 1, false, Ids::Foreign));
    measure(criterion, "arrow, 10M foreign ids", ten_million, |from| arrow_records(from, EVENTS, 5_000, Ids::Foreign));
}

criterion_group!(ingest_benches, benches);
criterion_main!(ingest_benches);
