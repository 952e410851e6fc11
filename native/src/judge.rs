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
use crate::window::{Window, first_bytes, window};
use hashbrown::HashTable;

/// A field's value as some wire format has it.
pub enum Value<'r> {
    /// Null, which is the same as absent.
    Null,
    Text(&'r [u8]),
    /// A text, and where it stands: the bytes from its start on, which it begins.
    TextIn(&'r [u8], &'r [u8]),
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
    /// The value of a field that is present; `scratch` may hold it.
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
    dropped_labels: u32,
}

/// Texts that a field was found to accept, with their interned numbers.
struct CheckedTexts {
    hasher: TableHasher,
    table: HashTable<(u32, u32, u64)>,
    /// The last short texts of each field, by a few bits of themselves: most values are one of few.
    recent: Vec<[Recent; RECENT]>,
}

/// A text of up to 32 bytes, told exactly by its bytes and its length (0: none).
#[derive(Clone, Copy, Default)]
struct Recent {
    bytes: Window,
    length: u32,
    number: u32,
}

const RECENT: usize = 16;
const RECENT_SHIFT: u32 = u64::BITS - RECENT.ilog2();

impl Judge {
    pub fn new(spec: &Spec, hasher: TableHasher, label_keys: Vec<String>) -> Self {
        Judge {
            interner: Interner::new(hasher, spec.fixed_strings.clone()),
            checked: CheckedTexts::new(hasher),
            values: Values::new(spec.most_fields),
            scratch: Vec::new(),
            canonical: Vec::new(),
            label_keys,
            dropped_labels: 0,
        }
    }

    /// Forgets all texts; only when no group refers to them.
    pub fn reset_texts(&mut self) {
        self.interner.reset();
        self.checked = CheckedTexts::new(self.checked.hasher);
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
        let present = row.present();
        self.values.present = present;
        self.dropped_labels = 0;
        let mut scratch = std::mem::take(&mut self.scratch);
        let result = self.fields(event, row, event.required | present, &mut scratch, stage);
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
        Ok(self.dropped_labels)
    }

    #[inline(always)]
    fn fields(
        &mut self,
        event: &EventType,
        row: &impl Row,
        todo: FieldSet,
        scratch: &mut Vec<u8>,
        stage: &mut Stage,
    ) -> Result<(), Rejection> {
        let absent = todo & !row.present();
        for (first, word) in [(0, todo as u64), (64, (todo >> 64) as u64)] {
            let mut word = word;
            while word != 0 {
                let at = first + word.trailing_zeros() as usize;
                word &= word - 1;
                let field = &event.fields[at];
                if absent != 0 && absent >> at & 1 == 1 {
                    return Err(Rejection::of(Reason::MissingField, &field.path));
                }
                if let Err(reason) = self.field(at, field, row.value(at, scratch), stage) {
                    return Err(Rejection::of(reason, &field.path));
                }
            }
        }
        Ok(())
    }

    /// Judges one field: here what most are, the rest in `other_field`.
    #[inline(always)]
    fn field(&mut self, at: usize, field: &Field, value: Value<'_>, stage: &mut Stage) -> Result<(), Reason> {
        match (field.kind, value) {
            (Kind::Uint, Value::Whole(number)) if number <= field.cap as u64 => {
                self.quantity(at, field, number, stage);
                Ok(())
            }
            (Kind::String, Value::TextIn(text, place)) if !text.is_empty() => self.text(at, field, text, place, stage),
            (Kind::String, Value::Text(text)) if !text.is_empty() => self.text(at, field, text, text, stage),
            (Kind::String, Value::Coded(text, code)) if !text.is_empty() && field.interned => {
                if code.get() == UNCODED {
                    code.set(self.checked.number(&mut self.interner, field, text, text)?);
                }
                self.coded(at, field, code.get(), stage);
                Ok(())
            }
            (_, value) => self.other_field(at, field, value, stage),
        }
    }

    #[inline(never)]
    fn other_field(&mut self, at: usize, field: &Field, value: Value<'_>, stage: &mut Stage) -> Result<(), Reason> {
        let value = match value {
            Value::TextIn(text, _) => Value::Text(text),
            value => value,
        };
        match (field.kind, value) {
            (_, Value::Null) | (Kind::String | Kind::Time, Value::Text(b"")) | (Kind::String, Value::Coded(b"", _)) => {
                return self.absent(at, field);
            }
            (Kind::String, Value::Coded(text, _)) => self.text(at, field, text, text, stage)?,
            (Kind::Uint, Value::Minus(0)) => self.quantity(at, field, 0, stage),
            (Kind::Uint, Value::Whole(_) | Value::WholeTooBig) => return Err(Reason::Overflow),
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
                self.dropped_labels += labels::canonical(text, &self.label_keys, &mut self.canonical)?;
                if self.canonical.is_empty() {
                    return self.absent(at, field);
                }
                if let Some(dimension) = field.dimension {
                    stage.set_dimension(dimension, self.interner.intern(&self.canonical));
                }
            }
            _ => return Err(Reason::WrongType),
        }
        Ok(())
    }

    fn absent(&mut self, at: usize, field: &Field) -> Result<(), Reason> {
        self.values.present &= !(1 << at);
        if field.required { Err(Reason::MissingField) } else { Ok(()) }
    }

    #[inline(always)]
    fn quantity(&mut self, at: usize, field: &Field, number: u64, stage: &mut Stage) {
        self.values.numbers[at] = number as i64;
        if let Some(measure) = field.measure {
            stage.sums.push((measure, number));
            if let Some(samples) = field.samples {
                stage.sums.push((samples, 1));
            }
        }
    }

    /// A text that is not empty; `place` begins with it.
    #[inline(always)]
    fn text(&mut self, at: usize, field: &Field, text: &[u8], place: &[u8], stage: &mut Stage) -> Result<(), Reason> {
        if field.interned {
            let number = self.checked.number(&mut self.interner, field, text, place)?;
            self.coded(at, field, number, stage);
        } else if !is_valid(field, text) {
            return Err(Reason::BadValue);
        }
        if let Some(kind) = field.subject {
            stage.add_subject(kind, text);
        }
        Ok(())
    }

    #[inline(always)]
    fn coded(&mut self, at: usize, field: &Field, number: u32, stage: &mut Stage) {
        self.values.texts[at] = number;
        if let Some(dimension) = field.dimension {
            stage.set_dimension(dimension, number);
        }
    }
}

impl CheckedTexts {
    fn new(hasher: TableHasher) -> Self {
        CheckedTexts { hasher, table: HashTable::new(), recent: Vec::new() }
    }

    /// The interned number of a text that is not empty, if the field accepts it. `place` begins with the text.
    #[inline(always)]
    fn number(&mut self, interner: &mut Interner, field: &Field, text: &[u8], place: &[u8]) -> Result<u32, Reason> {
        let length = text.len();
        if length > size_of::<Window>() {
            return self.find(interner, field, text);
        }
        let bytes = first_bytes(window(place, 0), length);
        let mixed = bytes.0 ^ bytes.1.rotate_left(61);
        let mixed = mixed as u64 ^ ((mixed >> 64) as u64).rotate_left(29);
        let at = (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> RECENT_SHIFT) as usize;
        let slot = field.slot as usize;
        if slot >= self.recent.len() {
            self.recent.resize(slot + 1, [Recent::default(); RECENT]);
        }
        let recent = &self.recent[slot][at];
        if recent.bytes == bytes && recent.length as usize == length {
            return Ok(recent.number);
        }
        let number = self.find(interner, field, text)?;
        self.recent[slot][at] = Recent { bytes, length: length as u32, number };
        Ok(number)
    }

    #[inline(never)]
    fn find(&mut self, interner: &mut Interner, field: &Field, text: &[u8]) -> Result<u32, Reason> {
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
