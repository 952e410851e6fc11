//! Is a staged event new? Exact ids answer at once; an event that a cold chunk may know is held until `resolve`.

use std::collections::HashSet;

use crate::dedup::Sighting;
use crate::engine::{Pending, Working};
use crate::error::CoreError;
use crate::identity::Identity;
use crate::ingest::{Call, Limits};
use crate::outcome::{Outcome, Payload};
use crate::spec::Spec;

/// What the store said about held events.
pub struct Answer {
    known: HashSet<u128>,
}

/// What becomes of a valid event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    New,
    Duplicate,
    Held,
}

/// Counts the held events whose lookups were taken: those in `known` are duplicates. On an error `pending` is half changed.
pub fn resolve(
    spec: &Spec,
    working: &mut Working,
    pending: &mut Pending,
    known: HashSet<u128>,
) -> Result<Outcome, CoreError> {
    let Working { judge, stage, hashes, identities, suspects, maybes, .. } = working;
    let stages = pending.held.take_asked();
    let limits = Limits {
        record_bytes: 0,
        event_bytes: 0,
        earliest_us: 0,
        latest_us: 0,
        base_offset: 0,
        append_day: 0,
        deduplicate: true,
    };
    let mut call = Call {
        spec,
        judge,
        stage,
        event_limit: 0,
        pending,
        identities,
        hashes,
        suspects,
        maybes,
        values: &[],
        limits,
        answer: Some(Answer { known }),
        outcome: Outcome::default(),
        refused_before: 0,
        overflow: None,
    };
    for held in stages {
        *call.stage = held;
        call.apply();
    }
    // The call that held the events has told their times, and its append time with them.
    call.outcome.counters.max_event_time_us = 0;
    call.finish()
}

impl Call<'_> {
    /// Finds out which of the events cold chunks may know.
    #[inline]
    pub(super) fn find_maybes(&mut self, first: usize, end: usize) {
        self.maybes.clear();
        if !self.pending.dedup.has_cold_chunks() || self.answer.is_some() {
            return;
        }
        let (dedup, events) = (&self.pending.dedup, &self.stage.events);
        self.suspects.clear();
        let suspect = |at: usize| dedup.suspect(at as u32, events[at].identity, events[at].time_us);
        self.suspects.extend((first..end).filter_map(suspect));
        dedup.maybes(self.suspects, self.maybes);
    }

    /// What becomes of the event; counts it as accepted or duplicate, or holds it.
    #[inline]
    pub(super) fn judge_identity(&mut self, at: usize) -> Verdict {
        let event = &self.stage.events[at];
        let counters = &mut self.outcome.counters;
        counters.max_event_time_us = counters.max_event_time_us.max(event.time_us);
        let verdict = self.verdict(at);
        let counters = &mut self.outcome.counters;
        match verdict {
            Verdict::New => {
                counters.accepted += 1;
                counters.unknown_fields += u64::from(self.stage.events[at].unknown);
            }
            Verdict::Duplicate => counters.duplicates += 1,
            Verdict::Held => {}
        }
        verdict
    }

    #[inline]
    fn verdict(&mut self, at: usize) -> Verdict {
        if !self.limits.deduplicate {
            return Verdict::New;
        }
        let event = &self.stage.events[at];
        if let Identity::Foreign { fingerprint } = event.identity
            && let Some(verdict) = self.cold_verdict(at, fingerprint)
        {
            return verdict;
        }
        let event = &self.stage.events[at];
        let sighting = Sighting { identity: event.identity, time_us: event.time_us, append_day: event.append_day };
        if self.pending.dedup.insert(sighting) { Verdict::New } else { Verdict::Duplicate }
    }

    /// What is to be said about a foreign id by cold chunks and held events; None leaves it to the exact ids.
    #[inline]
    fn cold_verdict(&mut self, at: usize, fingerprint: u128) -> Option<Verdict> {
        if let Some(Answer { known }) = &self.answer {
            if !known.contains(&fingerprint) {
                return None;
            }
            self.pending.dedup.recall(fingerprint);
            return Some(Verdict::Duplicate);
        }
        if self.pending.held.contains(fingerprint) {
            return Some(Verdict::Duplicate);
        }
        if self.maybes.is_empty() { None } else { self.hold_if_maybe(at, fingerprint) }
    }

    #[cold]
    fn hold_if_maybe(&mut self, at: usize, fingerprint: u128) -> Option<Verdict> {
        let start = self.maybes.partition_point(|maybe| (maybe.at as usize) < at);
        let end = self.maybes.partition_point(|maybe| maybe.at as usize <= at);
        if start == end {
            return None;
        }
        if self.pending.dedup.is_recalled(fingerprint) {
            return Some(Verdict::Duplicate);
        }
        let payload = self.own(at);
        self.pending.held.hold(fingerprint, &self.maybes[start..end], self.stage, at, payload);
        Some(Verdict::Held)
    }

    /// The event's payload, independent of its record.
    fn own(&mut self, at: usize) -> Payload {
        let event = &mut self.stage.events[at];
        let record = (event.offset - self.limits.base_offset) as usize;
        let value = self.values.get(record).copied().flatten().unwrap_or_default();
        match std::mem::replace(&mut event.payload, Payload::None) {
            Payload::Part { start, end } => {
                Payload::Made(value.get(start as usize..end as usize).unwrap_or_default().to_vec())
            }
            Payload::Record => Payload::Made(value.to_vec()),
            independent @ (Payload::None | Payload::Made(_)) => independent,
        }
    }
}
