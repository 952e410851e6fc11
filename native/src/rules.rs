//! Rules between the fields of one event, in table order.

use crate::intern::EMPTY;
use crate::reasons::{Reason, Rejection};
use crate::spec::{EventType, FieldSet, Rule};

/// The values of an event's fields that rules look at.
#[derive(Clone, Default)]
pub struct Values {
    pub present: FieldSet,
    /// Quantities as they are, times in microseconds; only where present.
    pub numbers: Vec<i64>,
    /// Interned texts, of fields that ask for them; only where present.
    pub texts: Vec<u32>,
}

impl Values {
    pub fn new(fields: usize) -> Self {
        Values { present: 0, numbers: vec![0; fields], texts: vec![0; fields] }
    }

    #[inline]
    pub fn has(&self, field: usize) -> bool {
        self.present >> field & 1 == 1
    }

    #[inline]
    fn or_zero(&self, field: usize) -> i64 {
        if self.has(field) { self.numbers[field] } else { 0 }
    }

    /// Whether a text is one of some; an absent one is the empty text.
    #[inline]
    fn is_one_of(&self, field: usize, texts: &[u32]) -> bool {
        let text = if self.has(field) { self.texts[field] } else { EMPTY };
        texts.contains(&text)
    }
}

/// The first broken rule of an event at `time_us`, as the rejection of the field it names.
#[inline]
pub fn check(event: &EventType, values: &Values, time_us: i64) -> Result<(), Rejection> {
    for (triggers, rule) in &event.rules {
        if *triggers != 0 && triggers & values.present == 0 {
            continue;
        }
        if let Some((reason, field)) = broken(rule, values, time_us) {
            return Err(Rejection::of(reason, &event.fields[field].path));
        }
    }
    Ok(())
}

#[inline]
fn broken(rule: &Rule, values: &Values, time_us: i64) -> Option<(Reason, usize)> {
    match rule {
        Rule::PartsWithin { parts, whole } => {
            let total: i128 = parts.iter().map(|part| i128::from(values.or_zero(*part))).sum();
            if total <= i128::from(values.or_zero(*whole)) {
                return None;
            }
            let first = parts.iter().find(|part| values.or_zero(**part) > 0)?;
            Some((Reason::PartExceedsWhole, *first))
        }
        Rule::NotAbove { field, limit } => {
            let both = values.has(*field) && values.has(*limit);
            (both && values.numbers[*field] > values.numbers[*limit]).then_some((Reason::PartExceedsWhole, *field))
        }
        Rule::RequiredWhen { field, on, values: when } => {
            (!values.has(*field) && values.is_one_of(*on, when)).then_some((Reason::MissingField, *field))
        }
        Rule::AbsentWhen { field, on, values: when } => {
            (values.has(*field) && values.is_one_of(*on, when)).then_some((Reason::NotAllowed, *field))
        }
        Rule::NearEventTime { field, max_age_us, max_ahead_us } => {
            let moment = if values.has(*field) { values.numbers[*field] } else { return None };
            if moment < time_us.saturating_sub(*max_age_us) {
                return Some((Reason::TooOld, *field));
            }
            (moment > time_us.saturating_add(*max_ahead_us)).then_some((Reason::InFuture, *field))
        }
    }
}
