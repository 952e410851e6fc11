//! The judgement of one event's data: the same for every wire format, field by field in table order, then the rules.

use std::cell::Cell;

use crate::hash::TableHasher;
use crate::intern::{EMPTY, Interner};
use crate::labels;
use crate::reasons::{Reason, Rejection};
use crate::rules::{self, Values};
use crate::spec::{EventType, Field, FieldSet, Kind, Spec};
use crate::stage::Stage;
use crate::text::is_valid;
use crate::time::parse_rfc3339;
use hashbrown::HashTable;

/// A field's value as some wire format has it.
pub enum Value<'r> {
    /// Null, which is the same as absent.
    Null,
    Text(&'r [u8]),
    /// A text of a dictionary, and where the number that it got may be remembered (`UNCODED` until then).
    Coded(&'r [u8], &'r Cell<u32>),
    /// A whole number, not negative.
    Whole(u64),
    WholeTooBig,
    /// A whole number with a minus (its magnitude, perhaps 0).
    Minus(u64),
    MinusTooBig,
    Fraction,
    /// A time that the format has as a number; None if RFC 3339 could not say it.
    Time(Option<i64>),
    /// The JSON text of an object.
    Object(&'r [u8]),
    /// Something that no field can be.
    Other,
}

pub const UNCODED: u32 = u32::MAX;

/// An event's data fields.
pub trait Row {
    /// The fields that may have a value.
    fn present(&self) -> FieldSet;
    /// The value of a field; `scratch` may hold it.
    fn value<'r>(&'r self, field: usize, scratch: &'r mut Vec<u8>) -> Value<'r>;
}

/// Judges data; remembers which texts it found valid.
pub struct Judge {
    pub interner: Interner,
    checked: CheckedTexts,
    values: Values,
    scratch: Vec<u8>,
    canonical: Vec<u8>,
    label_keys: Vec<String>,
}

/// Texts that a field was found to accept, with their interned numbers.
struct CheckedTexts {
    hasher: TableHasher,
    table: HashTable<(u32, u32, u64)>,
}

impl Judge {
    pub fn new(spec: &Spec, hasher: TableHasher, label_keys: Vec<String>) -> Self {
        Judge {
            interner: Interner::new(hasher, spec.fixed_strings.clone()),
            checked: CheckedTexts { hasher, table: HashTable::new() },
            values: Values::new(spec.most_fields),
            scratch: Vec::new(),
            canonical: Vec::new(),
            label_keys,
        }
    }

    /// Forgets all texts; only when no group refers to them.
    pub fn reset_texts(&mut self) {
        self.interner.reset();
        self.checked.table.clear();
    }

    /// Judges an event's data and stages its dimensions, measures and subjects (of the event that `stage` has begun).
    /// Returns how many of its labels were dropped. After a rejection the stage must go back to its mark.
    #[inline]
    pub fn data(
        &mut self,
        event: &EventType,
        row: &impl Row,
        time_us: i64,
        stage: &mut Stage,
    ) -> Result<u32, Rejection> {
        self.values.present = 0;
        let mut dropped_labels = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut todo = event.required | row.present();
        let mut result = Ok(());
        while todo != 0 {
            let at = todo.trailing_zeros() as usize;
            todo &= todo - 1;
            let field = &event.fields[at];
            let value = row.value(at, &mut scratch);
            match self.field(at, field, value, stage) {
                Ok(dropped) => dropped_labels += dropped,
                Err(reason) => {
                    result = Err(Rejection::of(reason, &field.path));
                    break;
                }
            }
        }
        self.scratch = scratch;
        result?;
        rules::check(event, &self.values, time_us)?;
        for band in &event.bands {
            if self.values.has(band.of) {
                let value = self.values.numbers[band.of];
                stage.set_dimension(band.dimension, band.labels[band.thresholds.partition_point(|top| *top < value)]);
            }
        }
        if let Some(count) = event.count {
            stage.sums.push((count, 1));
        }
        Ok(dropped_labels)
    }

    /// Judges one field. Returns how many labels were dropped.
    #[inline]
    fn field(&mut self, at: usize, field: &Field, value: Value<'_>, stage: &mut Stage) -> Result<u32, Reason> {
        let absent = |field: &Field| if field.required { Err(Reason::MissingField) } else { Ok(0) };
        let present = 1 << at;
        match (field.kind, value) {
            (_, Value::Null) | (Kind::String | Kind::Time, Value::Text(b"")) => return absent(field),
            (Kind::Uint, Value::Whole(number)) => {
                if number > field.cap as u64 {
                    return Err(Reason::Overflow);
                }
                self.values.numbers[at] = number as i64;
                if let Some(measure) = field.measure {
                    stage.sums.push((measure, number));
                    if let Some(samples) = field.samples {
                        stage.sums.push((samples, 1));
                    }
                }
            }
            (Kind::String, Value::Text(text)) => self.text(at, field, text, stage)?,
            (Kind::String, Value::Coded(text, code)) => {
                if text.is_empty() {
                    return absent(field);
                }
                if !field.interned || field.subject.is_some() {
                    self.text(at, field, text, stage)?;
                } else {
                    if code.get() == UNCODED {
                        code.set(self.checked.number(&mut self.interner, field, text)?);
                    }
                    self.coded(at, field, code.get(), stage);
                }
            }
            (Kind::Uint, Value::Minus(0)) => return self.field(at, field, Value::Whole(0), stage),
            (Kind::Uint, Value::WholeTooBig) => return Err(Reason::Overflow),
            (Kind::Uint, Value::Minus(_) | Value::MinusTooBig) => return Err(Reason::Negative),
            (Kind::Int, Value::Whole(number) | Value::Minus(number)) if number > field.cap as u64 => {
                return Err(Reason::Overflow);
            }
            (Kind::Int, Value::Whole(number)) => self.values.numbers[at] = number as i64,
            (Kind::Int, Value::Minus(number)) => self.values.numbers[at] = -(number as i64),
            (Kind::Int, Value::WholeTooBig | Value::MinusTooBig) => return Err(Reason::Overflow),
            (Kind::Uint | Kind::Int, Value::Fraction) => return Err(Reason::Fraction),
            (Kind::Time, Value::Text(text)) => {
                self.values.numbers[at] = parse_rfc3339(text).ok_or(Reason::BadTime)?;
            }
            (Kind::Time, Value::Time(time)) => self.values.numbers[at] = time.ok_or(Reason::BadTime)?,
            (Kind::Labels, Value::Object(text)) => {
                self.canonical.clear();
                let dropped = labels::canonical(text, &self.label_keys, &mut self.canonical)?;
                if let Some(dimension) = field.dimension {
                    stage.set_dimension(dimension, self.interner.intern(&self.canonical));
                }
                if self.canonical.is_empty() {
                    return absent(field).map(|_| dropped);
                }
                self.values.present |= present;
                return Ok(dropped);
            }
            _ => return Err(Reason::WrongType),
        }
        self.values.present |= present;
        Ok(0)
    }

    #[inline]
    fn text(&mut self, at: usize, field: &Field, text: &[u8], stage: &mut Stage) -> Result<(), Reason> {
        if field.interned {
            let number = self.checked.number(&mut self.interner, field, text)?;
            self.coded(at, field, number, stage);
        } else if !is_valid(field, text) {
            return Err(Reason::BadValue);
        }
        if let Some(kind) = field.subject {
            stage.add_subject(kind, text);
        }
        Ok(())
    }

    #[inline]
    fn coded(&mut self, at: usize, field: &Field, number: u32, stage: &mut Stage) {
        self.values.texts[at] = number;
        if let Some(dimension) = field.dimension {
            stage.set_dimension(dimension, number);
        }
    }
}

impl CheckedTexts {
    /// The interned number of a text that is not empty, if the field accepts it.
    #[inline]
    fn number(&mut self, interner: &mut Interner, field: &Field, text: &[u8]) -> Result<u32, Reason> {
        let hash = self.hasher.bytes(u64::from(field.slot), text);
        let found = self.table.find(hash, |(slot, number, _)| *slot == field.slot && interner.get(*number) == text);
        match found {
            Some((_, number, _)) => Ok(*number),
            None => self.check(interner, field, text, hash),
        }
    }

    #[cold]
    fn check(&mut self, interner: &mut Interner, field: &Field, text: &[u8], hash: u64) -> Result<u32, Reason> {
        if !is_valid(field, text) {
            return Err(Reason::BadValue);
        }
        let number = interner.intern(text);
        debug_assert_ne!(number, EMPTY);
        self.table.insert_unique(hash, (field.slot, number, hash), |(_, _, hash)| *hash);
        Ok(number)
    }
}
