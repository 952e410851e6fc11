//! Any bytes as a record: nothing panics, and what the core answers hangs together (see `entry`).
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/entry.rs"]
mod entry;

fuzz_target!(|record: &[u8]| entry::ingest(record));
