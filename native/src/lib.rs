//! The hot loop of fleetmeter: records of a Kafka partition to judged, deduplicated, aggregated usage.
//!
//! Pure modules (no Python, no clock, no I/O) and one thin `python`. The way of an event: `ingest` -> `json_in` or
//! `arrow_in` (framing, parsing) -> `judge`, `rules` (is it valid?) -> `stage` -> `dedup` (is it new?) -> `aggregate`,
//! `subjects` -> `arrow_out` at a flush. `engine` is the outside of it.
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod aggregate;
mod arrow_columns;
mod arrow_framing;
mod arrow_in;
mod arrow_out;
pub mod contained;
mod dedup;
pub mod engine;
pub mod error;
mod event_json;
mod hash;
mod held;
mod huge_pages;
mod identity;
mod ingest;
mod intern;
mod json_in;
mod json_text;
mod judge;
mod kafka_records;
mod keys;
mod labels;
pub mod outcome;
mod prefetch;
mod python;
pub mod reasons;
mod rules;
mod scan;
mod spec;
mod spec_text;
mod stage;
mod subjects;
mod text;
mod time;
mod unescape;
mod window;
