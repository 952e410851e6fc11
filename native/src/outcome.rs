//! What one call gives back: counts, refused events, facts.

use crate::reasons::Reason;

/// The counts of a call or of a flush.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub events_in: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
    /// Unknown attributes, data keys and columns, and labels that are not allow-listed, of accepted events.
    pub unknown_fields: u64,
    pub overflowed_labels: u64,
    /// Largest time of accepted, duplicate and held events; 0 without any.
    pub max_event_time_us: i64,
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        self.events_in += other.events_in;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.unknown_fields += other.unknown_fields;
        self.overflowed_labels += other.overflowed_labels;
        self.max_event_time_us = self.max_event_time_us.max(other.max_event_time_us);
    }
}

/// The bytes of an event: a part of its record, or made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The record has no value.
    None,
    /// The record's whole value.
    Record,
    /// `start..end` of the record's value.
    Part { start: u32, end: u32 },
    /// An Arrow row, as a structured CloudEvent.
    Made(Vec<u8>),
}

/// A refused event or record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub record: u32,
    pub index: u32,
    pub reason: Reason,
    pub field: String,
    pub payload: Payload,
}

/// An accepted event of a type that keeps a row an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its record's offset in Kafka.
    pub offset: u64,
    pub index: u32,
    pub payload: Payload,
}

/// The outcome of one `ingest` or `resolve`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub counters: Counters,
    pub rejections: Vec<Rejected>,
    pub facts: Vec<Fact>,
}
