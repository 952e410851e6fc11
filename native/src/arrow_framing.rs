//! The messages of an Arrow IPC stream. They are looked over before anything is decoded: that they lie within the record,
//! and how much they claim to hold, so that a small record cannot ask for all memory.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{Schema, SchemaRef};

use crate::reasons::Reason;

const CONTINUATION: [u8; 4] = [0xff; 4];

/// What a stream claims.
#[derive(Default)]
pub struct Claims {
    /// Rows of its record batches.
    pub rows: u64,
    /// Bytes of its bodies after decompression.
    pub decoded_bytes: u64,
}

/// Looks the messages over; `None` if one is damaged or reaches beyond the stream.
pub fn inspect(stream: &[u8]) -> Option<Claims> {
    let mut claims = Claims::default();
    each_message(stream, |message, body_start, body_length| {
        claims.add(message, stream.get(body_start..body_start + body_length)?)
    })?;
    Some(claims)
}

/// Decodes the schema and all record batches. Every column counts as nullable, whatever the schema says: a null where none
/// may be is the fault of its row. `BadArrow` if the stream cannot be read, `TooLarge` if additions to its dictionaries
/// would copy more than `most_copied` bytes.
pub fn decode(stream: &[u8], most_copied: u64) -> Result<(SchemaRef, Vec<RecordBatch>), Reason> {
    // One copy, into aligned memory; the arrays point into it.
    let buffer = Buffer::from(stream);
    let mut schema: Option<SchemaRef> = None;
    let mut dictionaries: HashMap<i64, ArrayRef> = HashMap::new();
    let mut batches = Vec::new();
    let mut copied = 0u64;
    let read = each_message(stream, |message, body_start, body_length| {
        let body = buffer.slice_with_length(body_start, body_length);
        match (message.header_type(), &schema) {
            (MessageHeader::Schema, None) => {
                schema = Some(nullable(try_fb_to_schema(message.header_as_schema()?).ok()?))
            }
            (MessageHeader::DictionaryBatch, Some(schema)) => {
                let batch = message.header_as_dictionary_batch()?;
                if let Some(known) = dictionaries.get(&batch.id()).filter(|_| batch.isDelta()) {
                    // An addition makes a copy of all before it, while the batches in between keep that.
                    copied = copied.saturating_add(known.to_data().get_slice_memory_size().ok()? as u64);
                    if copied > most_copied {
                        return None;
                    }
                }
                read_dictionary(&body, batch, schema, &mut dictionaries, &message.version()).ok()?;
            }
            (MessageHeader::RecordBatch, Some(schema)) => {
                let batch = message.header_as_record_batch()?;
                let version = message.version();
                batches.push(read_record_batch(&body, batch, schema.clone(), &dictionaries, None, &version).ok()?);
            }
            _ => return None,
        }
        Some(())
    });
    match (read, schema) {
        (Some(()), Some(schema)) => Ok((schema, batches)),
        _ if copied > most_copied => Err(Reason::TooLarge),
        _ => Err(Reason::BadArrow),
    }
}

fn nullable(schema: Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata))
}

/// Gives each message, and where its body starts and how long it is. The end may be marked, or simply be there; behind the
/// mark there may be zeros that pad it. Anything else there (a second stream, say) would be lost, so it is damage.
fn each_message(stream: &[u8], mut give: impl FnMut(&Message<'_>, usize, usize) -> Option<()>) -> Option<()> {
    let mut start = 0;
    loop {
        let rest = stream.get(start..)?;
        if rest.is_empty() {
            return Some(());
        }
        let (mark, rest) = rest.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        if *mark != CONTINUATION {
            return None;
        }
        let size = u32::from_le_bytes(*size) as usize;
        if size == 0 {
            return rest.iter().all(|byte| *byte == 0).then_some(());
        }
        let (metadata, rest) = rest.split_at_checked(size)?;
        let message = root_as_message(metadata).ok()?;
        let body_length = usize::try_from(message.bodyLength()).ok().filter(|length| *length <= rest.len())?;
        let body_start = start + 8 + size;
        give(&message, body_start, body_length)?;
        start = body_start + body_length;
    }
}

impl Claims {
    fn add(&mut self, message: &Message<'_>, body: &[u8]) -> Option<()> {
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message.header_as_record_batch()?;
                self.rows = self.rows.checked_add(u64::try_from(batch.length()).ok()?)?;
                Some(batch)
            }
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch()?.data(),
            _ => None,
        };
        let decoded = match batch {
            Some(batch) => decoded_bytes(&batch, body)?,
            None => body.len() as u64,
        };
        self.decoded_bytes = self.decoded_bytes.checked_add(decoded)?;
        Some(())
    }
}

/// Bytes of a batch's buffers, each of which must lie in the body. A compressed one starts with its length after
/// decompression, or -1 if it is stored as it is.
fn decoded_bytes(batch: &arrow_ipc::RecordBatch<'_>, body: &[u8]) -> Option<u64> {
    let is_compressed = batch.compression().is_some();
    let mut total = 0u64;
    for buffer in batch.buffers()? {
        let start = usize::try_from(buffer.offset()).ok()?;
        let length = usize::try_from(buffer.length()).ok()?;
        let bytes = body.get(start..start.checked_add(length)?)?;
        let claim = match bytes.first_chunk::<8>() {
            Some(claim) if is_compressed => u64::try_from(i64::from_le_bytes(*claim)).ok(),
            _ => None,
        };
        total = total.checked_add(claim.unwrap_or(length as u64))?;
    }
    Some(total)
}
