//! The records of one Kafka record batch (message format v2, uncompressed): where each value and its headers lie.
//!
//! Layout: Kafka protocol guide, "Record" (<https://kafka.apache.org/documentation/#record>). Nothing is trusted: lengths
//! are checked against the bytes that are there, and a batch must be used up exactly.

/// Key and value of a header.
pub type Header<'r> = (&'r str, Option<&'r [u8]>);

/// One record, borrowed from its batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'r> {
    /// None: a tombstone.
    pub value: Option<&'r [u8]>,
    pub headers: Vec<Header<'r>>,
}

/// Why a batch can't be read, and in which of its records (from 0).
#[derive(Debug, PartialEq, Eq)]
pub struct Damaged {
    pub record: usize,
    pub what: &'static str,
}

/// No record is shorter: six one-byte numbers and the attributes.
const LEAST_RECORD_BYTES: usize = 7;

/// The records of one batch may have so many headers together. One of two bytes takes a hundred times as much memory once
/// it is read; and a producer's request of 8 MiB can't hold more, unless it is compressed.
const MOST_HEADERS: usize = 4 * 1024 * 1024;

/// Reads `count` records, which must be all of `bytes`.
pub fn read(bytes: &[u8], count: usize) -> Result<Vec<Record<'_>>, Damaged> {
    // The count is the batch's word; room is made only for what its bytes can hold.
    let mut records = Vec::with_capacity(count.min(bytes.len() / LEAST_RECORD_BYTES));
    let mut rest = Rest { bytes };
    let mut room = MOST_HEADERS;
    for record in 0..count {
        records.push(rest.record(&mut room).map_err(|what| Damaged { record, what })?);
    }
    if rest.bytes.is_empty() {
        Ok(records)
    } else {
        Err(Damaged { record: count, what: "there are bytes behind the last record" })
    }
}

/// What is left to read.
struct Rest<'r> {
    bytes: &'r [u8],
}

impl<'r> Rest<'r> {
    fn record(&mut self, room: &mut usize) -> Result<Record<'r>, &'static str> {
        let length = usize::try_from(self.number()?).map_err(|_| "its length is negative")?;
        let mut inner = Rest { bytes: self.take(length).ok_or("it ends behind its batch")? };
        inner.take(1).ok_or(CUT_OFF)?; // attributes: unused in this format
        inner.number()?; // timestamp delta: the batch's append time counts
        inner.number()?; // offset delta
        inner.sized()?; // key
        let value = inner.sized()?;
        let headers = inner.headers(room)?;
        if inner.bytes.is_empty() { Ok(Record { value, headers }) } else { Err("it is longer than its parts") }
    }

    /// Headers, taken off the `room` for those of the whole batch.
    fn headers(&mut self, room: &mut usize) -> Result<Vec<Header<'r>>, &'static str> {
        let count = usize::try_from(self.number()?).map_err(|_| "its number of headers is negative")?;
        *room = room.checked_sub(count).ok_or("with it the batch has more than 4,194,304 headers")?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let key = self.sized()?.ok_or("a header has no key")?;
            let key = std::str::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
            headers.push((key, self.sized()?));
        }
        Ok(headers)
    }

    /// Bytes after their length; None for the length -1.
    #[inline]
    fn sized(&mut self) -> Result<Option<&'r [u8]>, &'static str> {
        match self.number()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| "a length is negative")?;
                self.take(length).map(Some).ok_or(CUT_OFF)
            }
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Option<&'r [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    /// A variable-length zigzag number of up to 64 bits.
    #[inline]
    fn number(&mut self) -> Result<i64, &'static str> {
        let mut number = 0u64;
        for (at, byte) in self.bytes.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[at + 1..];
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(if self.bytes.len() < 10 { CUT_OFF } else { "a number has more than 64 bits" })
    }
}

const CUT_OFF: &str = "it is cut off";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type OwnHeader = (String, Option<Vec<u8>>);

    fn put_number(number: i64, out: &mut Vec<u8>) {
        let mut rest = ((number << 1) ^ (number >> 63)) as u64;
        while rest > 0x7f {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    fn put_sized(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        put_number(bytes.map_or(-1, |bytes| bytes.len() as i64), out);
        out.extend_from_slice(bytes.unwrap_or_default());
    }

    fn put_record(
        times: (i64, i64),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[OwnHeader],
        out: &mut Vec<u8>,
    ) {
        let mut record = vec![0];
        put_number(times.0, &mut record);
        put_number(times.1, &mut record);
        put_sized(key, &mut record);
        put_sized(value, &mut record);
        put_number(headers.len() as i64, &mut record);
        for (key, value) in headers {
            put_sized(Some(key.as_bytes()), &mut record);
            put_sized(value.as_deref(), &mut record);
        }
        put_number(record.len() as i64, out);
        out.extend_from_slice(&record);
    }

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
    }

    proptest! {
        #[test]
        fn reads_what_was_written(records in prop::collection::vec((any::<i64>(), any::<i32>(), bytes(), bytes(),
                prop::collection::vec(("\\PC{0,9}", bytes()), 0..3)), 0..20)) {
            let mut all = Vec::new();
            for (time, offset, key, value, headers) in &records {
                put_record((*time, i64::from(*offset)), key.as_deref(), value.as_deref(), headers, &mut all);
            }
            let found = read(&all, records.len()).unwrap();
            prop_assert_eq!(found.len(), records.len());
            for (record, (.., value, headers)) in found.iter().zip(&records) {
                prop_assert_eq!(record.value, value.as_deref());
                let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
                prop_assert_eq!(&record.headers, &headers);
            }
            // Any other count, and any part of the bytes, is damage.
            prop_assert!(read(&all, records.len() + 1).is_err());
            if let Some(fewer) = records.len().checked_sub(1) {
                prop_assert!(read(&all, fewer).is_err());
                for end in 0..all.len() {
                    prop_assert!(read(&all[..end], records.len()).is_err());
                }
            }
        }

        #[test]
        fn never_reads_beyond_anything(garbage in prop::collection::vec(any::<u8>(), 0..60), count in 0usize..1 << 31) {
            if let Ok(records) = read(&garbage, count) {
                prop_assert!(records.len() * LEAST_RECORD_BYTES <= garbage.len());
            }
        }
    }

    #[test]
    fn damage_names_the_record() {
        let mut all = Vec::new();
        put_record((0, 0), None, Some(b"a"), &[], &mut all);
        let whole = all.len();
        put_record((0, 1), None, Some(b"b"), &[], &mut all);
        assert_eq!(read(&all[..all.len() - 1], 2), Err(Damaged { record: 1, what: "it ends behind its batch" }));
        all[whole] += 2; // one byte longer than its parts
        all.push(0);
        assert_eq!(read(&all, 2), Err(Damaged { record: 1, what: "it is longer than its parts" }));
    }
}
