//! A set of hours of event time, as bits: a few weeks of them take a hundred bytes.

use crate::error::CoreError;
use crate::time::MICROS_PER_SECOND;

/// No event is later: the seconds of its minute fit in 32 bits.
const LAST_HOUR: u32 = u32::MAX / 3600;
const WORD: u32 = u64::BITS;

/// Hours since 1970-01-01.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours {
    /// The first word holds the hours from `first_word * 64` on; neither the first nor the last word is 0.
    first_word: u32,
    words: Vec<u64>,
}

/// The hour of an event's time, which is neither before 1970 nor too late for 32 bits of seconds.
#[inline]
pub fn hour_of(time_us: i64) -> u32 {
    (time_us / (3600 * MICROS_PER_SECOND)) as u32
}

impl Hours {
    #[inline]
    pub fn contains(&self, hour: u32) -> bool {
        let word = (hour / WORD).wrapping_sub(self.first_word) as usize;
        self.words.get(word).is_some_and(|bits| bits >> (hour % WORD) & 1 == 1)
    }

    /// Adds an hour, of which there are about a million (see `LAST_HOUR`).
    #[inline]
    pub fn insert(&mut self, hour: u32) {
        if !self.contains(hour) {
            self.insert_new(hour);
        }
    }

    #[cold]
    fn insert_new(&mut self, hour: u32) {
        let word = hour / WORD;
        if self.words.is_empty() {
            self.first_word = word;
        }
        if let Some(missing) = self.first_word.checked_sub(word).filter(|missing| *missing > 0) {
            self.words.splice(..0, std::iter::repeat_n(0, missing as usize));
            self.first_word = word;
        }
        let at = (word - self.first_word) as usize;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (hour % WORD);
    }

    pub fn len(&self) -> usize {
        self.words.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub fn memory_bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    /// The hours, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().zip(self.first_word..).flat_map(|(bits, word)| {
            (0..WORD).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * WORD + bit)
        })
    }

    /// Each hour as a little-endian u32, ascending.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Reads what `to_bytes` wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Hours, CoreError> {
        let damaged = |what: &str| Err(CoreError::Chunk(format!("its hours are damaged: {what}")));
        let (each, []) = bytes.as_chunks::<4>() else {
            return damaged("they are not 4 bytes each");
        };
        let mut hours = Hours::default();
        let mut next = 0;
        for hour in each.iter().map(|bytes| u32::from_le_bytes(*bytes)) {
            if !Hours::is_valid(hour) || hour < next {
                return damaged("they do not ascend, or one is after 2106");
            }
            hours.insert(hour);
            next = hour + 1;
        }
        Ok(hours)
    }

    /// Whether an event can have this hour.
    pub fn is_valid(hour: u32) -> bool {
        hour <= LAST_HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn equals_a_set_and_comes_back_from_bytes(added in prop::collection::vec(prop_oneof![400_000u32..401_000, 0..=LAST_HOUR], 0..60)) {
            let (mut hours, model) = (Hours::default(), added.iter().copied().collect::<BTreeSet<u32>>());
            added.iter().for_each(|hour| hours.insert(*hour));
            prop_assert!(hours.iter().eq(model.iter().copied()));
            prop_assert_eq!((hours.len(), hours.is_empty()), (model.len(), model.is_empty()));
            for hour in added.iter().flat_map(|hour| [hour.saturating_sub(1), *hour, hour + 1, hour + 64]) {
                prop_assert_eq!(hours.contains(hour), model.contains(&hour));
            }
            prop_assert_eq!(Hours::from_bytes(&hours.to_bytes()), Ok(hours));
        }

        #[test]
        fn any_bytes_are_hours_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(hours) = Hours::from_bytes(&bytes) {
                prop_assert_eq!(hours.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn what_is_wrong_with_bytes_is_said() {
        for bytes in [&[0, 0, 0][..], &[5, 0, 0, 0, 5, 0, 0, 0], &[255; 4]] {
            assert!(Hours::from_bytes(bytes).unwrap_err().to_string().contains("hours are damaged"));
        }
    }
}
