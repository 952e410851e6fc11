//! The columns of one Arrow record batch as the contract has them: each checked for its type once, then read row by row.

use std::cell::Cell;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, LargeStringArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow_schema::{DataType, TimeUnit};

use crate::judge::{Row, UNCODED, Value};
use crate::reasons::{Reason, Rejection};
use crate::spec::{EventType, FieldSet, Kind, attribute};
use crate::time::{FIRST_MICROS, LAST_MICROS};

/// One record batch of an event type.
pub struct Batch {
    pub id: Texts,
    pub source: Texts,
    pub subject: Texts,
    pub time: Times,
    /// The columns of the data's fields, where the batch has them.
    pub columns: Vec<Option<Column>>,
    pub unknown_columns: u32,
    rows: usize,
    /// Fields whose columns have no null, and those that have some values and some nulls.
    full: FieldSet,
    mixed: Vec<usize>,
}

pub enum Column {
    Texts(Texts),
    Labels(Texts),
    Whole(Numbers),
    Times(Times),
}

/// A column of texts.
pub enum Texts {
    Small(StringArray),
    Large(LargeStringArray),
    /// Dictionary: the place of each row's text (`NO_TEXT` for null), the texts, and the numbers they were interned as (none
    /// for more texts than rows: a batch must not cost what a dictionary that it hardly uses does).
    Coded {
        places: Vec<u32>,
        texts: Box<Texts>,
        codes: Vec<Cell<u32>>,
    },
}

const NO_TEXT: u32 = u32::MAX;

/// A column of whole numbers.
pub enum Numbers {
    Unsigned(UInt64Array),
    /// Any other width; None for null.
    Other(Vec<Option<i64>>),
}

/// A column of instants.
pub struct Times(TimestampMicrosecondArray);

/// A time that RFC 3339 can say in UTC: years 1 to 9999.
#[inline]
pub fn sayable(micros: i64) -> Option<i64> {
    (FIRST_MICROS..=LAST_MICROS).contains(&micros).then_some(micros)
}

impl Batch {
    /// Finds and checks the columns; a rejection names the column that is missing, doubled or of a wrong type.
    pub fn new(event: &EventType, batch: &RecordBatch) -> Result<Self, Rejection> {
        let bad = |path: &str| Rejection::of(Reason::BadArrow, path);
        let find = |name: &str, path: &str, required: bool| -> Result<Option<&dyn Array>, Rejection> {
            let mut found = batch.schema_ref().fields().iter().enumerate().filter(|(_, field)| field.name() == name);
            let first = found.next();
            if found.next().is_some() || (required && first.is_none()) {
                return Err(bad(path));
            }
            Ok(first.map(|(at, _)| batch.column(at).as_ref()))
        };
        let texts = |name: &str| find(name, name, true)?.and_then(Texts::new).ok_or_else(|| bad(name));
        let (id, source, subject) = (texts("id")?, texts("source")?, texts("subject")?);
        let time = find("time", "time", true)?.and_then(Times::new).ok_or_else(|| bad("time"))?;
        let mut columns = Vec::with_capacity(event.fields.len());
        let (mut full, mut mixed) = (0, Vec::new());
        for (at, field) in event.fields.iter().enumerate() {
            let Some(array) = find(&field.name, &field.path, field.required)? else {
                columns.push(None);
                continue;
            };
            columns.push(Some(Column::new(field.kind, array).ok_or_else(|| bad(&field.path))?));
            match array.logical_null_count() {
                0 => full |= 1 << at,
                nulls if nulls < array.len() => mixed.push(at),
                _ => {}
            }
        }
        let known = |name: &str| {
            attribute::NAMES[attribute::ID..=attribute::TIME].contains(&name)
                || event.keys.find(name.as_bytes()).is_some()
        };
        let unknown = batch.schema_ref().fields().iter().filter(|field| !known(field.name())).count();
        Ok(Batch {
            id,
            source,
            subject,
            time,
            columns,
            unknown_columns: unknown as u32,
            rows: batch.num_rows(),
            full,
            mixed,
        })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The data of one row.
    #[inline]
    pub fn row(&self, row: usize) -> BatchRow<'_> {
        let mut present = self.full;
        for field in &self.mixed {
            let null = self.columns[*field].as_ref().is_none_or(|column| column.is_null(row));
            present |= FieldSet::from(!null) << field;
        }
        BatchRow { batch: self, row, present }
    }
}

pub struct BatchRow<'b> {
    batch: &'b Batch,
    row: usize,
    present: FieldSet,
}

impl Row for BatchRow<'_> {
    #[inline]
    fn present(&self) -> FieldSet {
        self.present
    }

    #[inline(always)]
    fn value<'r>(&'r self, field: usize, _scratch: &'r mut Vec<u8>) -> Value<'r> {
        match &self.batch.columns[field] {
            Some(Column::Texts(texts)) => texts.value(self.row),
            Some(Column::Whole(numbers)) => numbers.value(self.row),
            Some(Column::Times(times)) => times.value(self.row).map_or(Value::Null, |time| Value::Time(sayable(time))),
            Some(Column::Labels(texts)) => match texts.text(self.row) {
                None | Some(b"") => Value::Null,
                Some(text) => Value::Object(text),
            },
            None => Value::Null,
        }
    }
}

impl Column {
    fn new(kind: Kind, array: &dyn Array) -> Option<Self> {
        Some(match kind {
            Kind::String => Column::Texts(Texts::new(array)?),
            Kind::Labels => Column::Labels(Texts::new(array)?),
            Kind::Uint | Kind::Int => Column::Whole(Numbers::new(array)?),
            Kind::Time => Column::Times(Times::new(array)?),
        })
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Column::Texts(texts) | Column::Labels(texts) => texts.is_null(row),
            Column::Whole(Numbers::Unsigned(array)) => array.is_null(row),
            Column::Whole(Numbers::Other(values)) => values[row].is_none(),
            Column::Times(Times(array)) => array.is_null(row),
        }
    }
}

impl Texts {
    fn new(array: &dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8 => array.as_string_opt::<i32>().cloned().map(Texts::Small),
            DataType::LargeUtf8 => array.as_string_opt::<i64>().cloned().map(Texts::Large),
            DataType::Dictionary(key, _) => match **key {
                DataType::Int8 => Texts::coded::<Int8Type>(array),
                DataType::Int16 => Texts::coded::<Int16Type>(array),
                DataType::Int32 => Texts::coded::<Int32Type>(array),
                DataType::Int64 => Texts::coded::<Int64Type>(array),
                DataType::UInt8 => Texts::coded::<UInt8Type>(array),
                DataType::UInt16 => Texts::coded::<UInt16Type>(array),
                DataType::UInt32 => Texts::coded::<UInt32Type>(array),
                DataType::UInt64 => Texts::coded::<UInt64Type>(array),
                _ => None,
            },
            _ => None,
        }
    }

    fn coded<K: ArrowDictionaryKeyType>(array: &dyn Array) -> Option<Self>
    where
        K::Native: TryInto<u32>,
    {
        let array = array.as_dictionary_opt::<K>()?;
        let texts = match Texts::new(array.values().as_ref())? {
            Texts::Coded { .. } => return None,
            plain => plain,
        };
        let count = array.values().len();
        let places = array.keys().iter().map(|key| match key {
            None => Some(NO_TEXT),
            Some(key) => {
                let place: u32 = key.try_into().ok()?;
                if place as usize >= count {
                    return None;
                }
                Some(if texts.is_null(place as usize) { NO_TEXT } else { place })
            }
        });
        let places = places.collect::<Option<Vec<_>>>()?;
        let codes = if count <= places.len() { vec![Cell::new(UNCODED); count] } else { Vec::new() };
        Some(Texts::Coded { places, texts: Box::new(texts), codes })
    }

    #[inline]
    fn is_null(&self, row: usize) -> bool {
        match self {
            Texts::Small(array) => array.is_null(row),
            Texts::Large(array) => array.is_null(row),
            Texts::Coded { places, .. } => places[row] == NO_TEXT,
        }
    }

    /// A row's text; None for null.
    #[inline]
    pub fn text(&self, row: usize) -> Option<&[u8]> {
        match self {
            Texts::Small(array) => (!array.is_null(row)).then(|| array.value(row).as_bytes()),
            Texts::Large(array) => (!array.is_null(row)).then(|| array.value(row).as_bytes()),
            Texts::Coded { places, texts, .. } => match places[row] {
                NO_TEXT => None,
                place => texts.text(place as usize),
            },
        }
    }

    /// Where the number of a row's text may be remembered, if there is a place.
    #[inline]
    pub fn code(&self, row: usize) -> Option<&Cell<u32>> {
        match self {
            Texts::Coded { places, codes, .. } => codes.get(places[row] as usize),
            _ => None,
        }
    }

    #[inline]
    fn value(&self, row: usize) -> Value<'_> {
        match self {
            Texts::Coded { places, texts, codes } => match places[row] {
                NO_TEXT => Value::Null,
                place => {
                    let text = texts.text(place as usize).unwrap_or_default();
                    codes.get(place as usize).map_or(Value::Text(text), |code| Value::Coded(text, code))
                }
            },
            plain => plain.text(row).map_or(Value::Null, Value::Text),
        }
    }
}

impl Numbers {
    fn new(array: &dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::UInt64 => Numbers::Unsigned(array.as_primitive_opt::<UInt64Type>()?.clone()),
            DataType::UInt8 => Numbers::other::<UInt8Type>(array)?,
            DataType::UInt16 => Numbers::other::<UInt16Type>(array)?,
            DataType::UInt32 => Numbers::other::<UInt32Type>(array)?,
            DataType::Int8 => Numbers::other::<Int8Type>(array)?,
            DataType::Int16 => Numbers::other::<Int16Type>(array)?,
            DataType::Int32 => Numbers::other::<Int32Type>(array)?,
            DataType::Int64 => Numbers::other::<Int64Type>(array)?,
            _ => return None,
        })
    }

    fn other<T: ArrowPrimitiveType>(array: &dyn Array) -> Option<Self>
    where
        T::Native: Into<i64>,
    {
        let array = array.as_primitive_opt::<T>()?;
        Some(Numbers::Other(array.iter().map(|value| value.map(Into::into)).collect()))
    }

    #[inline]
    fn value(&self, row: usize) -> Value<'_> {
        match self {
            Numbers::Unsigned(array) if array.is_null(row) => Value::Null,
            Numbers::Unsigned(array) => Value::Whole(array.value(row)),
            Numbers::Other(values) => match values[row] {
                None => Value::Null,
                Some(value) if value < 0 => Value::Minus(value.unsigned_abs()),
                Some(value) => Value::Whole(value as u64),
            },
        }
    }
}

impl Times {
    fn new(array: &dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {
                array.as_primitive_opt::<TimestampMicrosecondType>().cloned().map(Times)
            }
            _ => None,
        }
    }

    /// A row's microseconds since the epoch; None for null.
    #[inline]
    pub fn value(&self, row: usize) -> Option<i64> {
        (!self.0.is_null(row)).then(|| self.0.value(row))
    }
}
