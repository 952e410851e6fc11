//! Names of a JSON object's known members, looked up fast: first by what followed the previous member last time.

use crate::hash::TableHasher;
use crate::window::Prefix;
use hashbrown::HashTable;

/// A closed set of names, numbered in their order.
pub struct KeyTable {
    names: Vec<String>,
    quoted: Vec<QuotedName>,
    hasher: TableHasher,
    table: HashTable<u16>,
}

/// `name":`, so that the usual member costs one comparison instead of a call. Long names have none.
struct QuotedName {
    text: Option<Prefix>,
    length: usize,
}

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

    /// Whether this name, a quote and a colon stand at `pos` (behind the opening quote); the length of the three then.
    /// None also for layouts and lengths that are not worth it: the name must then be looked for.
    #[inline(always)]
    pub fn matches_quoted(&self, number: usize, text: &[u8], pos: usize) -> Option<usize> {
        let quoted = self.quoted.get(number)?;
        quoted.text.as_ref()?.stands_at(text, pos).then_some(quoted.length)
    }
}

impl QuotedName {
    fn new(name: &str) -> Self {
        let text = [name.as_bytes(), b"\":"].concat();
        QuotedName { text: Prefix::new(&text), length: text.len() }
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
            let quoted = (name.len() < 40).then_some(name.len() + 2);
            for rest in ["", "1}", "1,\"and so on, for forty more bytes at least\""] {
                assert_eq!(keys.matches_quoted(i, format!("{{\"{name}\":{rest}").as_bytes(), 2), quoted);
                assert_eq!(keys.matches_quoted(i, format!("{name}x\":{rest}").as_bytes(), 0), None);
            }
            assert_eq!(keys.matches_quoted(i, format!("{name}\"").as_bytes(), 0), None);
        }
        assert_eq!(keys.find(b"ids"), None);
        assert!(KeyTable::new(TableHasher::new(&[0; 16]), ["a", "a"].into_iter()).is_none());
    }
}
