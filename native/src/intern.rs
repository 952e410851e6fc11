//! Strings as small numbers, so that groups are compared by number.
//!
//! A number is valid until `reset`, which happens only between flushes, when the strings have grown too large.

use crate::hash::TableHasher;
use hashbrown::HashTable;

/// The number of the empty string, which means "unknown" everywhere.
pub const EMPTY: u32 = 0;

/// A bounded two-way table of strings and numbers.
#[derive(Clone)]
pub struct Interner {
    hasher: TableHasher,
    table: HashTable<u32>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
    text: Vec<u8>,
    /// Strings that every reset puts back, with the same numbers.
    fixed: Vec<String>,
}

impl Interner {
    /// `fixed` are strings whose numbers never change: see `number_of_fixed`.
    pub fn new(hasher: TableHasher, fixed: Vec<String>) -> Self {
        let mut interner =
            Interner { hasher, table: HashTable::new(), ends: Vec::new(), hashes: Vec::new(), text: Vec::new(), fixed };
        interner.reset();
        interner
    }

    /// Forgets all strings except the empty one (number 0) and the fixed ones.
    pub fn reset(&mut self) {
        self.table.clear();
        self.ends.clear();
        self.hashes.clear();
        self.text.clear();
        self.intern(b"");
        let fixed = std::mem::take(&mut self.fixed);
        for text in &fixed {
            self.intern(text.as_bytes());
        }
        self.fixed = fixed;
    }

    /// Bytes of text held.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Strings held.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of a string; `text` must be valid UTF-8.
    #[inline]
    pub fn intern(&mut self, text: &[u8]) -> u32 {
        let hash = self.hasher.bytes(0, text);
        if let Some(number) = self.table.find(hash, |number| self.get(*number) == text) {
            return *number;
        }
        self.add(hash, text)
    }

    /// The keyed hash of a number's string, the same over resets.
    #[inline]
    pub fn hash_of(&self, number: u32) -> u64 {
        self.hashes.get(number as usize).copied().unwrap_or_default()
    }

    /// The string of a number; empty for a number that was never given.
    #[inline]
    pub fn get(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends.get(at - 1).copied().unwrap_or_default() };
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }

    #[cold]
    fn add(&mut self, hash: u64, text: &[u8]) -> u32 {
        let number = self.ends.len() as u32;
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len());
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.table.insert_unique(hash, number, |number| hashes[*number as usize]);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_fixed_strings_survive_a_reset() {
        let mut interner = Interner::new(TableHasher::new(&[1; 16]), vec!["diffusion".to_owned()]);
        let fixed = interner.intern(b"diffusion");
        let model = interner.intern("llada-8b".as_bytes());
        assert_eq!(interner.intern(b""), EMPTY);
        assert_eq!(interner.intern(b"llada-8b"), model);
        assert_eq!(interner.get(model), b"llada-8b");
        for i in 0..10_000 {
            interner.intern(format!("m{i}").as_bytes());
        }
        assert_eq!(interner.get(model), b"llada-8b");
        assert_eq!(interner.len(), 10_003);
        interner.reset();
        assert_eq!((interner.len(), interner.intern(b"diffusion")), (2, fixed));
    }
}
