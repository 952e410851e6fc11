//! The core of one partition: takes records, gives deltas.

use arrow_array::RecordBatch;

use crate::aggregate::Groups;
use crate::arrow_framing;
use crate::arrow_in;
use crate::arrow_out;
use crate::dedup::DedupState;
use crate::dedup::cold::{Maybe, Suspect};
use crate::error::CoreError;
use crate::hash::TableHasher;
use crate::held::HeldEvents;
use crate::identity::IdentityHasher;
use crate::ingest::{self, Limits};
use crate::json_in::JsonReader;
use crate::judge::Judge;
use crate::labels::LabelSets;
use crate::outcome::{Counters, Outcome};
use crate::spec::Spec;
use crate::stage::{KEY_HEAD, Stage};
use crate::subjects::Subjects;
use crate::time::MICROS_PER_SECOND;

mod chunks;
pub use chunks::Stats;

/// What an operator decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events older than the record's append time minus this are refused.
    pub horizon_us: i64,
    /// Events later than the record's append time plus this are refused.
    pub future_us: i64,
    pub record_limit_bytes: usize,
    pub event_limit_bytes: usize,
    pub label_keys: Vec<String>,
    pub label_sets_per_account_hour: u32,
    /// False takes every valid event as new and remembers no id: to measure what deduplication costs, never to count.
    pub deduplicate: bool,
}

/// What a flush takes out.
pub struct Flushed {
    pub counters: Counters,
    /// The new ids, packed; empty if there are none.
    pub blob: Vec<u8>,
    pub usage: RecordBatch,
    pub subjects: RecordBatch,
}

/// Everything that a call changes and that a failed call must leave as it was.
#[derive(Clone)]
pub struct Pending {
    pub counters: Counters,
    pub groups: Groups,
    pub subjects: Subjects,
    pub label_sets: LabelSets,
    pub dedup: DedupState,
    pub held: HeldEvents,
}

/// Memory that is used again from call to call and holds nothing that counts.
pub struct Working {
    pub judge: Judge,
    pub stage: Stage,
    pub json: JsonReader,
    pub hashes: Vec<(u32, u64)>,
    pub identities: IdentityHasher,
    pub suspects: Vec<Suspect>,
    pub maybes: Vec<Maybe>,
}

/// Texts are forgotten at a flush once they take more than this.
const MOST_INTERNED_BYTES: usize = 32 << 20;
const MOST_INTERNED: usize = 1 << 20;
/// Positions in a record are 32-bit numbers.
const MOST_RECORD_BYTES: usize = 1 << 31;
/// No valid JSON event is shorter: its required attributes alone are longer.
const LEAST_EVENT_BYTES: u64 = 64;
/// No valid Arrow row takes less, once decompressed: a time, and a byte each for id, source and subject.
const LEAST_ROW_BYTES: u64 = 11;
const DAY_US: i64 = 86_400 * MICROS_PER_SECOND;

pub struct Core {
    spec: Spec,
    options: Options,
    floor_us: i64,
    hasher: TableHasher,
    working: Working,
    pending: Pending,
}

impl Core {
    pub fn new(spec: &[u8], hash_key: &[u8; 16], options: Options) -> Result<Core, CoreError> {
        check(&options)?;
        let hasher = TableHasher::new(hash_key);
        let spec = Spec::parse(spec, hasher)?;
        let identities = IdentityHasher::new(hash_key);
        let key_width = KEY_HEAD + spec.dimensions.len();
        Ok(Core {
            working: Working {
                judge: Judge::new(&spec, hasher, options.label_keys.clone()),
                stage: Stage::new(spec.dimensions.len()),
                json: JsonReader::new(&spec),
                hashes: Vec::new(),
                identities: identities.clone(),
                suspects: Vec::new(),
                maybes: Vec::new(),
            },
            pending: Pending {
                counters: Counters::default(),
                groups: Groups::new(hasher, key_width, spec.measures.len()),
                subjects: Subjects::new(hasher),
                label_sets: LabelSets::new(options.label_sets_per_account_hour),
                dedup: DedupState::new(identities.key_check()),
                held: HeldEvents::new(spec.dimensions.len()),
            },
            floor_us: 0,
            hasher,
            options,
            spec,
        })
    }

    /// Judges and counts records; `values[i]` has offset `base_offset + i` and was appended at `append_us`. Either all of
    /// the call is counted, or (on an error) nothing.
    pub fn ingest(&mut self, values: &[Option<&[u8]>], base_offset: u64, append_us: i64) -> Result<Outcome, CoreError> {
        let count = u32::try_from(values.len())
            .map_err(|_| CoreError::Invalid("one call takes less than 2^32 values".to_owned()))?;
        if base_offset.checked_add(u64::from(count)).is_none_or(|next| next > i64::MAX as u64) {
            return Err(CoreError::Invalid(format!("base_offset {base_offset} is beyond Kafka's largest offset")));
        }
        let Options { horizon_us, future_us, .. } = self.options;
        let (earliest_us, latest_us) = Limits::at(append_us, horizon_us, future_us, self.floor_us);
        let limits = Limits {
            record_bytes: self.options.record_limit_bytes,
            event_bytes: self.options.event_limit_bytes,
            earliest_us,
            latest_us,
            base_offset,
            append_day: (append_us / DAY_US).clamp(0, i64::from(u16::MAX)) as u16,
            deduplicate: self.options.deduplicate,
        };
        let most = most_events(values);
        self.all_or_nothing(most, |core| ingest::run(&core.spec, &mut core.working, &mut core.pending, values, limits))
    }

    /// Does a call that adds the outcome of at most so many events, all of it or nothing.
    fn all_or_nothing(
        &mut self,
        most_events: u64,
        call: impl FnOnce(&mut Core) -> Result<Outcome, CoreError>,
    ) -> Result<Outcome, CoreError> {
        // Only an overflowing sum can fail a call half-way. Where none is possible, no copy is needed to go back to.
        let events = self.pending.counters.accepted.saturating_add(most_events);
        let could_overflow = events.checked_mul(self.spec.largest_cap).is_none();
        let backup = could_overflow.then(|| self.pending.clone());
        let result = call(self);
        match (&result, backup) {
            (Ok(outcome), _) => self.pending.counters.add(&outcome.counters),
            (Err(_), Some(backup)) => self.pending = backup,
            (Err(_), None) => debug_assert!(false, "a sum overflowed that could not"),
        }
        result
    }

    /// Takes the pending deltas; the ids stay known. Not while events are held.
    pub fn flush(&mut self) -> Result<Flushed, CoreError> {
        if !self.pending.held.is_empty() {
            let held = self.pending.held.len();
            return Err(CoreError::NotNow(format!("{held} events are held: resolve their lookups, then flush")));
        }
        let interner = &self.working.judge.interner;
        let usage = arrow_out::usage(&self.spec, &self.pending.groups, interner)?;
        let subjects = arrow_out::subjects(&self.spec, &self.pending.subjects, interner)?;
        let blob = self.pending.dedup.take_blob();
        self.pending.groups.clear();
        self.pending.subjects = Subjects::new(self.hasher);
        if interner.text_bytes() > MOST_INTERNED_BYTES || interner.len() > MOST_INTERNED {
            self.working.judge.reset_texts();
        }
        Ok(Flushed { counters: std::mem::take(&mut self.pending.counters), blob, usage, subjects })
    }

    /// Adds the ids of a committed blob.
    pub fn restore(&mut self, blob: &[u8]) -> Result<(), CoreError> {
        self.pending.dedup.restore(blob)
    }

    /// All ids, packed; equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        self.pending.dedup.snapshot()
    }

    /// Events that came in since the last flush.
    pub fn pending_events(&self) -> u64 {
        self.pending.counters.events_in
    }

    /// Groups that the next flush would have.
    pub fn pending_groups(&self) -> u64 {
        self.pending.groups.len() as u64
    }
}

/// The most valid events that fit in the values. What an Arrow stream claims is held against its bytes, so that no few
/// bytes can claim so many rows that the state is copied.
fn most_events(values: &[Option<&[u8]>]) -> u64 {
    let most = values.iter().flatten().map(|value| match arrow_in::stream_of(value) {
        Some(stream) => {
            arrow_framing::inspect(stream).map_or(0, |claims| claims.rows.min(claims.decoded_bytes / LEAST_ROW_BYTES))
        }
        None => value.len() as u64 / LEAST_EVENT_BYTES + 1,
    });
    most.fold(0, u64::saturating_add)
}

fn check(options: &Options) -> Result<(), CoreError> {
    let invalid = |message: &str| Err(CoreError::Invalid(message.to_owned()));
    if options.horizon_us < 0 || options.future_us < 0 {
        return invalid("horizon_us and future_us must not be negative");
    }
    for limit in [options.record_limit_bytes, options.event_limit_bytes] {
        if !(1..=MOST_RECORD_BYTES).contains(&limit) {
            return invalid("record_limit_bytes and event_limit_bytes must be from 1 to 2^31");
        }
    }
    let mut keys: Vec<&String> = options.label_keys.iter().collect();
    keys.sort();
    if keys.iter().any(|key| key.is_empty()) || keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid("label_keys must be distinct and not empty");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, NullArray};
    use arrow_ipc::writer::StreamWriter;
    use std::sync::Arc;

    #[test]
    fn a_stream_cannot_claim_more_rows_than_its_bytes_can_hold() {
        let rows: ArrayRef = Arc::new(NullArray::new(1 << 40));
        let batch = RecordBatch::try_from_iter([("x", rows)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let stream = writer.into_inner().unwrap();
        assert_eq!(arrow_framing::inspect(&stream).unwrap().rows, 1 << 40);
        assert!(most_events(&[Some(&stream), Some(b"{}"), None]) <= stream.len() as u64 / LEAST_ROW_BYTES + 1);
    }
}
