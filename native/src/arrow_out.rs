//! The pending deltas as Arrow record batches, in the column order of the spec.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow_schema::{Field, Schema};

use crate::aggregate::{Groups, SUMS_HEAD};
use crate::error::CoreError;
use crate::intern::Interner;
use crate::spec::Spec;
use crate::stage::KEY_HEAD;
use crate::subjects::Subjects;

/// Rows are turned into columns this many at a time, so that they stay in the cache meanwhile.
const BLOCK: usize = 128;

/// The usage deltas: event_type, account_id, minute, the dimensions, the measures, first_offset, next_offset.
pub fn usage(spec: &Spec, groups: &Groups, interner: &Interner) -> Result<RecordBatch, CoreError> {
    let mut ids = columns::<u32>(KEY_HEAD + spec.dimensions.len(), groups.len());
    let mut sums = columns::<u64>(SUMS_HEAD + spec.measures.len(), groups.len());
    for start in (0..groups.len()).step_by(BLOCK) {
        let rows = start..(start + BLOCK).min(groups.len());
        for (at, column) in ids.iter_mut().enumerate() {
            column.extend(rows.clone().map(|row| groups.key(row)[at]));
        }
        for (at, column) in sums.iter_mut().enumerate() {
            column.extend(rows.clone().map(|row| groups.sums(row)[at]));
        }
    }
    let mut fields: Vec<(String, ArrayRef)> = Vec::new();
    let mut locals = Locals { local: vec![0; interner.len()], used: Vec::new() };
    let names = ["event_type", "account_id", "minute"].into_iter().chain(spec.dimensions.iter().map(String::as_str));
    for (name, numbers) in names.zip(ids) {
        let column: ArrayRef = match name {
            "minute" => Arc::new(UInt32Array::from(numbers)),
            _ => Arc::new(locals.dictionary(&numbers, interner)?),
        };
        fields.push((name.to_owned(), column));
    }
    let mut sums = sums.into_iter();
    let offsets: Vec<Vec<u64>> = sums.by_ref().take(SUMS_HEAD).collect();
    let named = spec.measures.iter().map(String::as_str).zip(sums);
    for (name, column) in named.chain(["first_offset", "next_offset"].into_iter().zip(offsets)) {
        fields.push((name.to_owned(), Arc::new(UInt64Array::from(column))));
    }
    batch(fields)
}

/// The subjects: account_id, day, subject_kind, subject, first_seen_us, last_seen_us.
pub fn subjects(spec: &Spec, subjects: &Subjects, interner: &Interner) -> Result<RecordBatch, CoreError> {
    let rows = subjects.rows();
    let text = |bytes: &[u8]| text(bytes).map(str::to_owned);
    let texts = |column: Vec<Result<String, CoreError>>| -> Result<ArrayRef, CoreError> {
        Ok(Arc::new(StringArray::from(column.into_iter().collect::<Result<Vec<_>, _>>()?)))
    };
    let accounts = rows.iter().map(|row| text(interner.get(row.account))).collect();
    let kinds: Vec<&str> = rows.iter().map(|row| spec.subject_kinds[usize::from(row.kind)].as_str()).collect();
    let names = rows.iter().map(|row| text(subjects.name(row))).collect();
    let number = |column: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(column)) };
    batch(vec![
        ("account_id".to_owned(), texts(accounts)?),
        ("day".to_owned(), Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.day)))),
        ("subject_kind".to_owned(), Arc::new(StringArray::from(kinds))),
        ("subject".to_owned(), texts(names)?),
        ("first_seen_us".to_owned(), number(rows.iter().map(|row| row.first_seen_us).collect())),
        ("last_seen_us".to_owned(), number(rows.iter().map(|row| row.last_seen_us).collect())),
    ])
}

fn columns<T>(count: usize, rows: usize) -> Vec<Vec<T>> {
    (0..count).map(|_| Vec::with_capacity(rows)).collect()
}

fn batch(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch, CoreError> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), false)).collect();
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(output)
}

fn output(error: arrow_schema::ArrowError) -> CoreError {
    CoreError::Output(error.to_string())
}

fn text(bytes: &[u8]) -> Result<&str, CoreError> {
    // Everything interned comes from text that was validated; this is a check, not a hope.
    std::str::from_utf8(bytes).map_err(|error| CoreError::Output(error.to_string()))
}

/// Numbers of one column's own dictionary, by interned number (local number + 1; 0 for not in it).
struct Locals {
    local: Vec<i32>,
    used: Vec<u32>,
}

impl Locals {
    fn dictionary(&mut self, numbers: &[u32], interner: &Interner) -> Result<DictionaryArray<Int32Type>, CoreError> {
        self.used.clear();
        let mut keys = Vec::with_capacity(numbers.len());
        for number in numbers {
            let local = &mut self.local[*number as usize];
            if *local == 0 {
                self.used.push(*number);
                *local = self.used.len() as i32;
            }
            keys.push(*local - 1);
        }
        let texts = self.used.iter().map(|number| text(interner.get(*number))).collect::<Result<Vec<_>, _>>()?;
        let values = StringArray::from(texts);
        for number in &self.used {
            self.local[*number as usize] = 0;
        }
        DictionaryArray::try_new(Int32Array::from(keys), Arc::new(values)).map_err(output)
    }
}
