//! One call of `ingest`: records to judged events, judged events to counts.

use std::cell::Cell;

use crate::dedup::cold::{Maybe, Suspect};
use crate::engine::{Pending, Working};
use crate::error::CoreError;
use crate::identity::{Identity, IdentityHasher};
use crate::judge::{Judge, Row, UNCODED};
use crate::outcome::{Fact, Outcome, Payload, Rejected};
use crate::prefetch::{CACHE_LINE, prefetch};
use crate::reasons::{Reason, Rejection};
use crate::spec::{EventType, Route, Spec};
use crate::stage::{Mark, Stage, StagedEvent};
use crate::text::{fits, has_control};
use crate::time::MICROS_PER_SECOND;
use crate::{arrow_in, json_in};

mod novelty;
pub use novelty::resolve;
use novelty::{Answer, Verdict};

/// Events are applied this many at a time, so that the memory they need can be fetched ahead.
const CHUNK: usize = 32;
/// Records lie strewn over the memory, where no processor can guess the next one: it is fetched while this many are read.
const RECORDS_AHEAD: usize = 2;
/// Of long records the beginning will do; reading on is easy to guess.
const FETCHED_AHEAD: usize = 1024;
/// The last microsecond whose minute fits in 32 bits of epoch seconds.
const LAST_MINUTE_END_US: i64 = (u32::MAX as i64 / 60 * 60) * MICROS_PER_SECOND - 1;
/// Refused events of one record that are told one by one. A record can hold millions, each of which would cost thousands of
/// bytes until it lies in quarantine: no few megabytes may end a worker that way, again and again.
const MOST_REFUSED: usize = 10_000;
const DAY_US: i64 = 86_400 * MICROS_PER_SECOND;

/// What a call may decide by.
pub struct Limits {
    pub record_bytes: usize,
    pub event_bytes: usize,
    /// Events before `earliest_us` are too old, events after `latest_us` are in the future.
    pub earliest_us: i64,
    pub latest_us: i64,
    pub base_offset: u64,
    /// Days since 1970-01-01 of the records' append time.
    pub append_day: u16,
    /// Whether ids decide what is new; if not, everything is.
    pub deduplicate: bool,
}

/// A call under way.
pub struct Call<'c> {
    pub spec: &'c Spec,
    pub judge: &'c mut Judge,
    pub stage: &'c mut Stage,
    pub event_limit: usize,
    pending: &'c mut Pending,
    identities: &'c mut IdentityHasher,
    hashes: &'c mut Vec<(u32, u64)>,
    suspects: &'c mut Vec<Suspect>,
    maybes: &'c mut Vec<Maybe>,
    values: &'c [Option<&'c [u8]>],
    limits: Limits,
    /// In `resolve` only.
    answer: Option<Answer>,
    outcome: Outcome,
    /// Rejections of the records before the present one.
    refused_before: usize,
    /// The first sum that would overflow; then nothing more is applied, and the caller restores its copy.
    overflow: Option<u16>,
}

/// An event whose envelope is valid.
pub struct Candidate<'e> {
    pub record: u32,
    pub index: u32,
    pub event_type: usize,
    pub id: &'e [u8],
    pub source: &'e [u8],
    pub subject: &'e [u8],
    /// Where the interned number of the subject may be remembered, if the format has a place (`UNCODED` until then).
    pub account: Option<&'e Cell<u32>>,
    pub time_us: i64,
    /// Unknown attributes and data keys.
    pub unknown: u32,
}

/// A position in a call to go back to; nothing may be applied in between.
pub struct CallMark {
    stage: Mark,
    rejections: usize,
}

/// Ingests records. On an error `pending` is half changed.
pub fn run(
    spec: &Spec,
    working: &mut Working,
    pending: &mut Pending,
    values: &[Option<&[u8]>],
    limits: Limits,
) -> Result<Outcome, CoreError> {
    let Working { judge, stage, json, hashes, identities, suspects, maybes } = working;
    stage.clear();
    let mut call = Call {
        spec,
        judge,
        stage,
        event_limit: limits.event_bytes,
        pending,
        identities,
        hashes,
        suspects,
        maybes,
        values,
        limits,
        answer: None,
        outcome: Outcome::default(),
        refused_before: 0,
        overflow: None,
    };
    for (record, value) in values.iter().enumerate() {
        if let Some(Some(ahead)) = values.get(record + RECORDS_AHEAD) {
            prefetch_text(ahead);
        }
        let record = record as u32;
        call.refused_before = call.outcome.rejections.len();
        match value {
            None => call.reject(record, 0, Rejection::whole(Reason::Tombstone), Payload::None),
            Some(value) if value.len() > call.limits.record_bytes => {
                call.reject_record(record, Rejection::whole(Reason::TooLarge));
            }
            Some(value) => match arrow_in::stream_of(value) {
                Some(stream) => arrow_in::read(&mut call, record, stream),
                None => json_in::read(&mut call, json, record, value),
            },
        }
        call.apply_if_full();
    }
    call.apply();
    call.finish()
}

#[inline]
fn prefetch_text(text: &[u8]) {
    for line in text.chunks(CACHE_LINE).take(FETCHED_AHEAD / CACHE_LINE) {
        prefetch(line.first());
    }
}

/// Checks id, source or subject: not empty, not too long, no control characters.
#[inline]
pub fn named<'e>(name: &str, text: &'e [u8], most: u32) -> Result<&'e [u8], Rejection> {
    if text.is_empty() || !fits(text, most) || has_control(text) {
        return Err(Rejection::of(Reason::BadValue, name));
    }
    Ok(text)
}

impl Call<'_> {
    fn finish(mut self) -> Result<Outcome, CoreError> {
        let counters = &mut self.outcome.counters;
        counters.rejected = self.outcome.rejections.len() as u64;
        counters.events_in = counters.accepted + counters.duplicates + counters.rejected;
        match self.overflow {
            Some(measure) => Err(CoreError::SumOverflow { measure: self.spec.measures[usize::from(measure)].clone() }),
            None => Ok(self.outcome),
        }
    }

    /// Refuses one event. The first after `MOST_REFUSED` of a record stands for all that follow, with the whole record.
    #[cold]
    pub fn reject(&mut self, record: u32, index: u32, rejection: Rejection, payload: Payload) {
        let rejections = &mut self.outcome.rejections;
        let (Rejection { reason, field }, payload) = match rejections.len() - self.refused_before {
            ..MOST_REFUSED => (rejection, payload),
            MOST_REFUSED => (Rejection::whole(Reason::TooLarge), Payload::Record),
            _ => return,
        };
        rejections.push(Rejected { record, index, reason, field, payload });
    }

    /// Refuses a record as a whole.
    #[cold]
    pub fn reject_record(&mut self, record: u32, rejection: Rejection) {
        self.reject(record, 0, rejection, Payload::Record);
    }

    pub fn record_limit(&self) -> usize {
        self.limits.record_bytes
    }

    pub fn mark(&self) -> CallMark {
        CallMark { stage: self.stage.mark(), rejections: self.outcome.rejections.len() }
    }

    /// Takes back what was staged and refused since the mark.
    pub fn back_to(&mut self, mark: CallMark) {
        self.stage.back_to(mark.stage);
        self.outcome.rejections.truncate(mark.rejections);
    }

    /// Judges the data of an event and the time limits, and stages it. `payload` is asked for only of facts. After a
    /// rejection the stage must go back to where it was.
    #[inline]
    pub fn stage_event(
        &mut self,
        event: &EventType,
        candidate: &Candidate<'_>,
        row: &impl Row,
        payload: impl FnOnce() -> Payload,
    ) -> Result<(), Rejection> {
        self.stage.begin();
        let dropped_labels = self.judge.data(event, row, candidate.time_us, self.stage)?;
        let time_us = candidate.time_us;
        if time_us < self.limits.earliest_us {
            return Err(Rejection::of(Reason::TooOld, "time"));
        }
        if time_us > self.limits.latest_us {
            return Err(Rejection::of(Reason::InFuture, "time"));
        }
        let minute = (time_us / MICROS_PER_SECOND / 60 * 60) as u32;
        let staged = StagedEvent {
            offset: self.limits.base_offset + u64::from(candidate.record),
            index: candidate.index,
            append_day: self.limits.append_day,
            event_type: candidate.event_type as u16,
            identity: self.identity(candidate),
            account: self.account(candidate),
            time_us,
            unknown: candidate.unknown + dropped_labels,
            sums_end: self.stage.sums.len() as u32,
            subjects_end: self.stage.subjects.len() as u32,
            payload: if event.route == Route::Fact { payload() } else { Payload::None },
        };
        self.stage.end(event.short, minute, staged);
        Ok(())
    }

    #[inline(always)]
    fn identity(&mut self, candidate: &Candidate<'_>) -> Identity {
        if self.limits.deduplicate {
            self.identities.identify(candidate.source, candidate.id)
        } else {
            Identity::Foreign { fingerprint: 0 }
        }
    }

    #[inline(always)]
    fn account(&mut self, candidate: &Candidate<'_>) -> u32 {
        match candidate.account {
            Some(code) if code.get() != UNCODED => code.get(),
            code => {
                let number = self.judge.interner.intern(candidate.subject);
                if let Some(code) = code {
                    code.set(number);
                }
                number
            }
        }
    }

    /// Applies the staged events if there are enough of them.
    #[inline]
    pub fn apply_if_full(&mut self) {
        if self.stage.events.len() >= CHUNK {
            self.apply();
        }
    }

    fn apply(&mut self) {
        let mut first = 0;
        while first < self.stage.events.len() && self.overflow.is_none() {
            let end = (first + CHUNK).min(self.stage.events.len());
            self.apply_chunk(first, end);
            first = end;
        }
        self.stage.clear();
    }

    fn apply_chunk(&mut self, first: usize, end: usize) {
        if self.limits.deduplicate {
            for event in &self.stage.events[first..end] {
                self.pending.dedup.prefetch(event.identity);
            }
            self.find_maybes(first, end);
        }
        self.hashes.clear();
        for at in first..end {
            if self.judge_identity(at) == Verdict::New {
                let hash = match self.spec.types[usize::from(self.stage.events[at].event_type)].route {
                    Route::Rollup => {
                        self.bound_labels(at);
                        let hash = self.pending.groups.hash(self.key(at));
                        self.pending.groups.prefetch_slot(hash);
                        hash
                    }
                    Route::Fact => 0,
                };
                self.hashes.push((at as u32, hash));
            }
        }
        for (at, hash) in self.hashes.iter() {
            if self.is_rollup(*at as usize) {
                self.pending.groups.prefetch_row(*hash);
            }
        }
        for i in 0..self.hashes.len() {
            let (at, hash) = self.hashes[i];
            self.count(at as usize, hash);
        }
    }

    #[inline]
    fn is_rollup(&self, at: usize) -> bool {
        self.spec.types[usize::from(self.stage.events[at].event_type)].route == Route::Rollup
    }

    #[inline]
    fn key(&self, at: usize) -> &[u32] {
        &self.stage.keys[at * self.stage.key_width..(at + 1) * self.stage.key_width]
    }

    /// Puts an event's labels under the catch-all if its account has too many label sets in that hour.
    #[inline]
    fn bound_labels(&mut self, at: usize) {
        let event = &self.stage.events[at];
        let Some(dimension) = self.spec.types[usize::from(event.event_type)].labels else {
            return;
        };
        let labels = self.key(at)[crate::stage::KEY_HEAD + usize::from(dimension)];
        if labels == crate::intern::EMPTY {
            return;
        }
        let interner = &mut self.judge.interner;
        let hour = (event.time_us / (3_600 * MICROS_PER_SECOND)) as u32;
        let sets = &mut self.pending.label_sets;
        if !sets.admit(interner.hash_of(event.account), hour, interner.hash_of(labels)) {
            let other = interner.intern(crate::labels::OTHER.as_bytes());
            self.stage.keys[at * self.stage.key_width + crate::stage::KEY_HEAD + usize::from(dimension)] = other;
            self.outcome.counters.overflowed_labels += 1;
        }
    }

    /// Counts a new event.
    #[inline]
    fn count(&mut self, at: usize, hash: u64) {
        let (sums_start, subjects_start) = self.stage.starts(at);
        let Stage { events, keys, sums, subjects, text, key_width, .. } = &mut *self.stage;
        let event = &mut events[at];
        match self.spec.types[usize::from(event.event_type)].route {
            Route::Rollup => {
                let key = &keys[at * *key_width..(at + 1) * *key_width];
                let sums = &sums[sums_start..event.sums_end as usize];
                if let Err(measure) = self.pending.groups.add(hash, key, event.offset, sums) {
                    self.overflow.get_or_insert(measure);
                }
            }
            Route::Fact => {
                let payload = std::mem::replace(&mut event.payload, Payload::None);
                self.outcome.facts.push(Fact { offset: event.offset, index: event.index, payload });
            }
        }
        let day = (event.time_us / DAY_US) as u32;
        for subject in &subjects[subjects_start..event.subjects_end as usize] {
            let name = &text[subject.start as usize..subject.end as usize];
            self.pending.subjects.see(event.account, day, subject.kind, name, event.time_us);
        }
    }
}

impl Limits {
    /// The limits of a call whose records were appended at `append_us`, `floor_us` of all calls. Times whose minute does not fit in 32 bits of
    /// epoch seconds (before 1970, after 2106) are too old or in the future, whatever the horizon.
    pub fn at(append_us: i64, horizon_us: i64, future_us: i64, floor_us: i64) -> (i64, i64) {
        let earliest = append_us.saturating_sub(horizon_us).max(floor_us).max(0);
        let latest = append_us.saturating_add(future_us).min(LAST_MINUTE_END_US);
        (earliest, latest)
    }
}
