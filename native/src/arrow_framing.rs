//! The messages of an Arrow IPC stream, looked over before anything is decoded: that they lie within the record, and how
//! much they claim to hold, so that a small record cannot ask for all memory.

use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::{Message, MessageHeader, RecordBatch, root_as_message};

const CONTINUATION: [u8; 4] = [0xff; 4];
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What a stream claims.
pub struct Framed {
    /// Rows of its record batches.
    pub rows: u64,
    /// Bytes of its bodies after decompression.
    pub decoded_bytes: u64,
    /// Where its last message ends.
    end: usize,
}

impl Framed {
    /// The messages in aligned memory, closed by an end-of-stream mark (which a writer may leave out).
    pub fn buffer(&self, stream: &[u8]) -> Buffer {
        let messages = stream.get(..self.end).unwrap_or_default();
        let mut buffer = MutableBuffer::new(messages.len() + END_OF_STREAM.len());
        buffer.extend_from_slice(messages);
        buffer.extend_from_slice(&END_OF_STREAM);
        buffer.into()
    }
}

/// Walks the messages; `None` if one is damaged or reaches beyond the stream.
pub fn inspect(stream: &[u8]) -> Option<Framed> {
    let mut framed = Framed { rows: 0, decoded_bytes: 0, end: 0 };
    loop {
        let rest = stream.get(framed.end..)?;
        if rest.is_empty() {
            return Some(framed);
        }
        let (mark, rest) = rest.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        if *mark != CONTINUATION {
            return None;
        }
        let size = u32::from_le_bytes(*size) as usize;
        if size == 0 {
            return Some(framed);
        }
        let (metadata, rest) = rest.split_at_checked(size)?;
        let message = root_as_message(metadata).ok()?;
        let body = rest.get(..usize::try_from(message.bodyLength()).ok()?)?;
        framed.add(&message, body)?;
        framed.end += 8 + size + body.len();
    }
}

impl Framed {
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
            Some(batch) if batch.compression().is_some() => decompressed(&batch, body)?,
            _ => body.len() as u64,
        };
        self.decoded_bytes = self.decoded_bytes.checked_add(decoded)?;
        Some(())
    }
}

/// Each compressed buffer starts with its length after decompression, or -1 if it is stored as it is.
fn decompressed(batch: &RecordBatch<'_>, body: &[u8]) -> Option<u64> {
    let mut total = 0u64;
    for buffer in batch.buffers()? {
        let start = usize::try_from(buffer.offset()).ok()?;
        let length = usize::try_from(buffer.length()).ok()?;
        let bytes = body.get(start..start.checked_add(length)?)?;
        if let Some(claim) = bytes.first_chunk::<8>() {
            let claim = u64::try_from(i64::from_le_bytes(*claim)).unwrap_or(bytes.len() as u64);
            total = total.checked_add(claim)?;
        }
    }
    Some(total)
}
