//! The fuzzer's check on mutated seeds, for the stable toolchain: not a search, but it keeps the target alive and finds
//! what lies near. `FUZZ_SMOKE_ROUNDS` makes it longer.

#[path = "../fuzz/src/entry.rs"]
mod entry;
#[path = "../benches/events.rs"]
#[expect(dead_code, reason = "the bench uses more of it")]
mod events;

use events::{Ids, arrow_records, json_records};

/// A small generator with a fixed seed: a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for ids in [Ids::Sequenced, Ids::Foreign] {
        seeds.extend(json_records(0, 2, 1, false, ids));
        seeds.extend(json_records(0, 3, 3, false, ids));
        seeds.extend(json_records(0, 3, 3, true, ids));
        seeds.extend(arrow_records(0, 3, 3, ids));
    }
    let head = r#"{"specversion":"1.0","id":"é\u00e9","source":"s","subject":"a","time":"2026-03-01T12:00:00Z","type":"fleetmeter."#;
    for tail in [
        r#"generation.v1","data":{"model":"m","generation_mode":"hybrid","labels":{"team":"x","zone":"\ud83d\ude00"},"user":"u"},"extra":[{}]}"#,
        r#"outcome.v1","data":{"name":"n","quantity":3}}"#,
        r#"adjustment.v1","data":{"meter":"m","quantity":-5,"reason":"r","effective_time":"2026-02-01T00:00:00+01:00"}}"#,
        r#"device_report.v1","data":{"kind":"deploy","installation":"i","model":"m"}}"#,
    ] {
        seeds.push(format!("{head}{tail}").into_bytes());
    }
    seeds
}

fn mutate(record: &mut Vec<u8>, random: &mut Random) {
    const PIECES: &[&[u8]] = &[
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n{",
        b"-",
        b".5",
        b"e1",
        b"null",
        b"true",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\xff\xff\xff\xff",
        b"99999999999999999999",
        b" ",
        b"\x7f",
        b"\0",
        b"\"data\":",
        b"\"id\":",
    ];
    let at = random.below(record.len() + 1);
    match random.below(6) {
        0 => record.truncate(at),
        1 => {
            let piece = PIECES[random.below(PIECES.len())];
            record.splice(at..at, piece.iter().copied());
        }
        2 if at < record.len() => {
            record.remove(at);
        }
        3 if at < record.len() => record[at] ^= 1 << random.below(8),
        4 => {
            let end = (at + random.below(60)).min(record.len());
            let part = record[at..end].to_vec();
            let into = random.below(record.len() + 1);
            record.splice(into..into, part);
        }
        _ => {
            let end = (at + random.below(20)).min(record.len());
            record.drain(at..end);
        }
    }
}

#[test]
fn mutated_records_are_answered_consistently() {
    let rounds = std::env::var("FUZZ_SMOKE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3_000);
    let (seeds, mut random) = (seeds(), Random(0x5EED));
    for seed in &seeds {
        entry::ingest(seed);
    }
    for _ in 0..rounds {
        let mut record = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            mutate(&mut record, &mut random);
        }
        entry::ingest(&record);
    }
}
