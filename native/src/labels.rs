//! Labels: up to 8 operator-chosen strings by key, made one canonical string; and the bound on distinct ones.

use std::collections::HashMap;

use crate::reasons::Reason;
use crate::scan::{Scanner, Token, TokenKind};
use crate::text::{fits, has_control};
use crate::unescape::unescape;
use hashbrown::HashTable;

const MOST_ENTRIES: usize = 8;
const KEY_LENGTH: u32 = 64;
const VALUE_LENGTH: u32 = 128;
/// The label set of events beyond the bound.
pub const OTHER: &str = "__other__";

/// Writes the canonical form of a labels object (JSON text) to `out`: compact, keys of `allowed` only, sorted by bytes;
/// nothing if no label is left. Returns how many labels were dropped because their key is not allowed.
///
/// In this order: not an object of strings is a wrong type; too many entries, or an empty, overlong or control-bearing key
/// or value is a bad value; a repeated key is a duplicate.
pub fn canonical(text: &[u8], allowed: &[String], out: &mut Vec<u8>) -> Result<u32, Reason> {
    let mut entries: Vec<(Token, Token)> = Vec::new();
    let mut all_text = true;
    let mut scanner = Scanner::new(text);
    scanner.skip_whitespace();
    let scanned = scanner.pairs(0, |key, value| {
        all_text &= matches!(value.kind, TokenKind::Text | TokenKind::EscapedText);
        if entries.len() <= MOST_ENTRIES {
            entries.push((key, value));
        }
    });
    if scanned.is_err() || !scanner.at_end() || !all_text {
        return Err(Reason::WrongType);
    }
    if entries.len() > MOST_ENTRIES {
        return Err(Reason::BadValue);
    }
    let mut labels: Vec<(Vec<u8>, Vec<u8>)> =
        entries.iter().map(|(key, value)| (value_of(text, key), value_of(text, value))).collect();
    let wrong = |label: &[u8], most| label.is_empty() || !fits(label, most) || has_control(label);
    if labels.iter().any(|(key, value)| wrong(key, KEY_LENGTH) || wrong(value, VALUE_LENGTH)) {
        return Err(Reason::BadValue);
    }
    labels.sort();
    if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Reason::DuplicateKey);
    }
    let before = labels.len();
    labels.retain(|(key, _)| allowed.iter().any(|name| name.as_bytes() == key));
    write_object(&labels, out);
    Ok((before - labels.len()) as u32)
}

fn value_of(text: &[u8], token: &Token) -> Vec<u8> {
    let raw = token.of(text);
    if token.kind == TokenKind::Text {
        return raw.to_vec();
    }
    let mut value = Vec::with_capacity(raw.len());
    unescape(raw, &mut value);
    value
}

fn write_object(labels: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) {
    for (i, (key, value)) in labels.iter().enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        crate::json_text::write_string(key, out);
        out.push(b':');
        crate::json_text::write_string(value, out);
    }
    if !labels.is_empty() {
        out.push(b'}');
    }
}

/// How many distinct label sets an account may have for one hour of event time.
///
/// Sets are remembered by a keyed 64-bit hash, over flushes, up to a bound on memory; beyond it all are forgotten, and
/// each account has its allowance anew. Labels are never priced, so this can change no bill.
#[derive(Clone)]
pub struct LabelSets {
    limit: u32,
    seen: HashTable<u64>,
    counts: HashMap<u64, u32>,
}

const MOST_REMEMBERED: usize = 1 << 20;

impl LabelSets {
    pub fn new(limit: u32) -> Self {
        LabelSets { limit, seen: HashTable::new(), counts: HashMap::new() }
    }

    /// Whether a label set (not the empty one) is one of those that count for themselves.
    #[inline]
    pub fn admit(&mut self, account_hash: u64, hour: u32, labels_hash: u64) -> bool {
        let account_hour = mix(account_hash, u64::from(hour));
        let set = mix(account_hour, labels_hash);
        self.seen.find(set, |other| *other == set).is_some() || self.admit_new(account_hour, set)
    }

    #[cold]
    fn admit_new(&mut self, account_hour: u64, set: u64) -> bool {
        if self.seen.len() + self.counts.len() >= MOST_REMEMBERED {
            self.seen.clear();
            self.counts.clear();
        }
        let count = self.counts.entry(account_hour).or_default();
        if *count >= self.limit {
            return false;
        }
        *count += 1;
        self.seen.insert_unique(set, set, |set| *set);
        true
    }
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xD1B5_4A32_D192_ED03);
    (product as u64 ^ (product >> 64) as u64).rotate_left(17) ^ a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical_text(text: &str) -> Result<(String, u32), Reason> {
        let allowed = ["team".to_owned(), "app".to_owned(), "é".to_owned()];
        let mut out = Vec::new();
        let dropped = canonical(text.as_bytes(), &allowed, &mut out)?;
        Ok((String::from_utf8(out).unwrap(), dropped))
    }

    #[test]
    fn canonical_form_is_sorted_compact_and_allow_listed() {
        let ok = |text: &str, canonical: &str, dropped| {
            assert_eq!(canonical_text(text), Ok((canonical.to_owned(), dropped)), "{text}");
        };
        ok("{}", "", 0);
        ok(r#"{"other":"x"}"#, "", 1);
        ok(r#" { "team" : "b" , "other":"x", "app":"a" } "#, r#"{"app":"a","team":"b"}"#, 1);
        ok(r#"{"t\u0065am":"q\"\\\/","\u00e9":"\ud83d\ude00"}"#, r#"{"team":"q\"\\/","é":"😀"}"#, 0);
    }

    #[test]
    fn each_limit_has_its_reason() {
        let refused = |text: &str, reason| assert_eq!(canonical_text(text), Err(reason), "{text}");
        let many = |n: usize| {
            let entries: Vec<_> = (0..n).map(|i| format!(r#""k{i}":"v""#)).collect();
            format!("{{{}}}", entries.join(","))
        };
        assert!(canonical_text(&many(8)).is_ok());
        refused(&many(9), Reason::BadValue);
        for wrong in
            ["[]", "\"x\"", r#"{"team":1}"#, r#"{"team":null}"#, r#"{"team":{}}"#, "{", "{} {}", r#"{"a":"b",}"#]
        {
            refused(wrong, Reason::WrongType);
        }
        refused(r#"{"":"x"}"#, Reason::BadValue);
        refused(r#"{"team":""}"#, Reason::BadValue);
        refused(r#"{"team":"a\u0000"}"#, Reason::BadValue);
        refused("{\"team\":\"\u{7f}\"}", Reason::BadValue);
        refused(&format!(r#"{{"{}":"x"}}"#, "é".repeat(65)), Reason::BadValue);
        assert!(canonical_text(&format!(r#"{{"{}":"x"}}"#, "é".repeat(64))).is_ok());
        refused(&format!(r#"{{"team":"{}"}}"#, "é".repeat(129)), Reason::BadValue);
        refused(r#"{"team":"a","t\u0065am":"a"}"#, Reason::DuplicateKey);
    }

    #[test]
    fn label_sets_are_bounded_by_account_and_hour() {
        let mut sets = LabelSets::new(2);
        assert!(sets.admit(1, 5, 10) && sets.admit(1, 5, 11));
        assert!(!sets.admit(1, 5, 12));
        assert!(sets.admit(1, 5, 10), "one that was there stays");
        assert!(sets.admit(1, 6, 12) && sets.admit(2, 5, 12), "another hour or account has its own allowance");
    }
}
