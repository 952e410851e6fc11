//! Events out of an Arrow IPC stream: one event type, the columns of the contract, a row an event.

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use crate::arrow_columns::Batch;
use crate::arrow_framing;
use crate::contained;
use crate::event_json::write_event;
use crate::ingest::{Call, Candidate, named};
use crate::json_in::is_blank;
use crate::outcome::Payload;
use crate::reasons::{Reason, Rejection};
use crate::spec::Spec;

const CONTINUATION: [u8; 4] = [0xff; 4];
/// Schema metadata key that names the event type.
const TYPE_KEY: &str = "fleetmeter.type";
/// A record may hold this many times the record limit once decompressed.
const MOST_EXPANSION: u64 = 16;

/// The stream in a record's value, if its first bytes say that it is one.
#[inline]
pub fn stream_of(value: &[u8]) -> Option<&[u8]> {
    let start = value.iter().position(|byte| !is_blank(byte))?;
    // Blanks before it decide nothing about the format, but no stream starts with them: it will be found unreadable.
    value[start..].starts_with(&CONTINUATION).then_some(value)
}

/// Judges a stream and stages its events.
pub fn read(call: &mut Call<'_>, record: u32, stream: &[u8]) {
    let spec = call.spec;
    let most_bytes = (call.record_limit() as u64).saturating_mul(MOST_EXPANSION);
    // Should the decoder panic, that is a stream that cannot be read, like any other.
    let decoded =
        contained::run(|| decode(spec, stream, most_bytes)).unwrap_or_else(|| Err(Rejection::whole(Reason::BadArrow)));
    match decoded {
        Err(rejection) => call.reject_record(record, rejection),
        Ok((event_type, first, rest)) => {
            let mut index = 0;
            judge_all(call, record, &mut index, event_type, &first);
            drop(first);
            // One at a time: a batch with its columns at hand takes several times the memory of a decoded one.
            for batch in &rest {
                let batch = contained::run(|| Batch::new(&spec.types[event_type], batch));
                match batch.unwrap_or_else(|| Err(Rejection::whole(Reason::BadArrow))) {
                    Ok(batch) => judge_all(call, record, &mut index, event_type, &batch),
                    // All batches have the columns of the first one, so that none is refused alone.
                    Err(rejection) => return call.reject_record(record, rejection),
                }
            }
        }
    }
}

fn judge_all(call: &mut Call<'_>, record: u32, index: &mut u32, event_type: usize, batch: &Batch) {
    for row in 0..batch.rows() {
        judge(call, record, *index, event_type, batch, row);
        *index += 1;
        call.apply_if_full();
    }
}

/// The event type of a stream, its first batch with every column of the right type, and the batches after it.
fn decode(spec: &Spec, stream: &[u8], most_bytes: u64) -> Result<(usize, Batch, Vec<RecordBatch>), Rejection> {
    let bad = || Rejection::whole(Reason::BadArrow);
    let claims = arrow_framing::inspect(stream).ok_or_else(bad)?;
    if claims.decoded_bytes > most_bytes {
        return Err(Rejection::whole(Reason::TooLarge));
    }
    let (schema, mut batches) =
        arrow_framing::decode(stream, most_bytes - claims.decoded_bytes).map_err(Rejection::whole)?;
    let event_type = type_of(spec, &schema)?;
    let event = &spec.types[event_type];
    let rest = batches.split_off(batches.len().min(1));
    // A stream without rows must still have the right columns.
    let first = batches.pop().unwrap_or_else(|| RecordBatch::new_empty(schema));
    Ok((event_type, Batch::new(event, &first)?, rest))
}

fn type_of(spec: &Spec, schema: &Schema) -> Result<usize, Rejection> {
    let name = schema.metadata.get(TYPE_KEY).ok_or_else(|| Rejection::of(Reason::BadArrow, TYPE_KEY))?;
    spec.type_named(name.as_bytes()).ok_or_else(|| Rejection::of(Reason::UnknownType, "type"))
}

#[inline]
fn judge(call: &mut Call<'_>, record: u32, index: u32, event_type: usize, batch: &Batch, row: usize) {
    let mark = call.stage.mark();
    if let Err(rejection) = judge_row(call, record, index, event_type, batch, row) {
        call.stage.back_to(mark);
        let payload = made(call, event_type, batch, row);
        call.reject(record, index, rejection, payload);
    }
}

fn made(call: &Call<'_>, event_type: usize, batch: &Batch, row: usize) -> Payload {
    Payload::Made(write_event(&call.spec.types[event_type], batch, row))
}

#[inline]
fn judge_row(
    call: &mut Call<'_>,
    record: u32,
    index: u32,
    event_type: usize,
    batch: &Batch,
    row: usize,
) -> Result<(), Rejection> {
    let spec = call.spec;
    let missing = |name: &str| Rejection::of(Reason::MissingField, name);
    let id = named("id", batch.id.text(row).ok_or_else(|| missing("id"))?, spec.id_length)?;
    let source = named("source", batch.source.text(row).ok_or_else(|| missing("source"))?, spec.source_length)?;
    let subject = named("subject", batch.subject.text(row).ok_or_else(|| missing("subject"))?, spec.subject_length)?;
    let account = batch.subject.code(row);
    let time = batch.time.value(row).ok_or_else(|| missing("time"))?;
    let time_us = crate::arrow_columns::sayable(time).ok_or_else(|| Rejection::of(Reason::BadTime, "time"))?;
    let event = &spec.types[event_type];
    let unknown = batch.unknown_columns;
    let candidate = Candidate { record, index, event_type, id, source, subject, account, time_us, unknown };
    call.stage_event(event, &candidate, &batch.row(row), || Payload::Made(write_event(event, batch, row)))
}
