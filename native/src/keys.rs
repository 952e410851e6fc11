//! Names of a JSON object's known members, looked up fast: first by what followed the previous member last time.

use crate::hash::TableHasher;
use hashbrown::HashTable;

/// A closed set of names, numbered in their order.
pub struct KeyTable {
    names: Vec<String>,
    quoted: Vec<QuotedName>,
    hasher: TableHasher,
    table: HashTable<u16>,
}

/// `name":` as words, so that the usual member costs a few comparisons instead of a call.
struct QuotedName {
    words: [u64; QUOTED_WORDS],
    masks: [u64; QUOTED_WORDS],
    length: usize,
}

const QUOTED_WORDS: usize = 5;
/// Longer names are looked up by hash.
const QUOTED_BYTES: usize = QUOTED_WORDS * 8;

impl KeyTable {
    /// `None` if a name stands twice.
    pub fn new<'a>(hasher: TableHasher, names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut keys = KeyTable { names: Vec::new(), quoted: Vec::new(), hasher, table: HashTable::new() };
        for name in names {
            if keys.find(name.as_bytes()).is_some() {
                return None;
            }
            let number = keys.names.len() as u16;
            keys.names.push(name.to_owned());
            keys.quoted.push(QuotedName::new(name));
            let names = &keys.names;
            let hash = |at: u16| hasher.bytes(0, names[usize::from(at)].as_bytes());
            keys.table.insert_unique(hash(number), number, |at| hash(*at));
        }
        Some(keys)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// The number of a name (unescaped).
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        let hash = self.hasher.bytes(0, name);
        self.table.find(hash, |at| self.names[usize::from(*at)].as_bytes() == name).map(|at| usize::from(*at))
    }

    /// Whether `text` (which starts behind the opening quote) starts with this name, a quote and a colon; the length of
    /// the three then. None also for layouts and lengths that are not worth it: the name must then be looked for.
    #[inline(always)]
    pub fn matches_quoted(&self, number: usize, text: &[u8]) -> Option<usize> {
        let quoted = self.quoted.get(number)?;
        let Some(window) = text.first_chunk::<QUOTED_BYTES>() else {
            return self.matches_near_end(number, text);
        };
        let (words, _) = window.as_chunks::<8>();
        let differs = |from: usize, to: usize| {
            let pairs = words[from..to].iter().zip(&quoted.words[from..to]).zip(&quoted.masks[from..to]);
            pairs.fold(0, |bits, ((word, name), mask)| bits | (u64::from_le_bytes(*word) ^ name) & mask) != 0
        };
        if differs(0, 2) || (quoted.length > 16 && differs(2, QUOTED_WORDS)) {
            return None;
        }
        Some(quoted.length)
    }

    #[cold]
    fn matches_near_end(&self, number: usize, text: &[u8]) -> Option<usize> {
        let name = self.names.get(number)?.as_bytes();
        let rest = text.strip_prefix(name)?;
        rest.starts_with(b"\":").then_some(name.len() + 2)
    }
}

impl QuotedName {
    fn new(name: &str) -> Self {
        let text = [name.as_bytes(), b"\":"].concat();
        let mut quoted = QuotedName { words: [0; QUOTED_WORDS], masks: [0; QUOTED_WORDS], length: text.len() };
        if text.len() > QUOTED_BYTES {
            // Eight bytes of 0xff are not UTF-8, so that nothing equals them.
            (quoted.words[0], quoted.masks[0]) = (u64::MAX, u64::MAX);
            return quoted;
        }
        for (i, byte) in text.iter().enumerate() {
            quoted.words[i / 8] |= u64::from(*byte) << (i % 8 * 8);
            quoted.masks[i / 8] |= 0xff << (i % 8 * 8);
        }
        quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_and_predicts_them() {
        let long = "x".repeat(60);
        let names = ["id", "cache_creation_input_tokens_5m", &long];
        let keys = KeyTable::new(TableHasher::new(&[0; 16]), names.into_iter()).unwrap();
        assert_eq!(keys.len(), 3);
        for (i, name) in names.iter().enumerate() {
            assert_eq!(keys.find(name.as_bytes()), Some(i));
            assert_eq!(keys.name(i), *name);
            let text = format!("{name}\":1,\"and so on, for forty more bytes at least, or it is too short\"");
            assert_eq!(keys.matches_quoted(i, text.as_bytes()), (name.len() < 40).then_some(name.len() + 2));
            assert_eq!(keys.matches_quoted(i, format!("{name}x{text}").as_bytes()), None);
            assert_eq!(keys.matches_quoted(i, format!("{name}\":1}}").as_bytes()).is_some(), name.len() < 40 || i < 2);
            assert_eq!(keys.matches_quoted(i, format!("{name}x\"").as_bytes()), None);
        }
        assert_eq!(keys.find(b"ids"), None);
        assert!(KeyTable::new(TableHasher::new(&[0; 16]), ["a", "a"].into_iter()).is_none());
    }
}
