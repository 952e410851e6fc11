//! Any bytes as a record: nothing panics, and what the core answers hangs together (see `entry`).
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../src/entry.rs"]
mod entry;

fuzz_target!(
    // Or the fuzzer would take a contained panic for a crash.
    init: fleetmeter_core::contained::install_hook(),
    |record: &[u8]| entry::ingest(record)
);
