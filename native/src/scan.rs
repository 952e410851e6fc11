//! A single-pass JSON scanner. It validates the whole grammar of RFC 8259, whatever the nesting, and captures the values
//! of known members as tokens, in any order of keys. The text must be valid UTF-8 already.
//!
//! Nothing is copied and numbers are never floats: a quantity is its digits.

use crate::keys::KeyTable;
use crate::unescape::unescape;

mod lexeme;
mod token;

pub use token::{Members, NotJson, Token, TokenKind};

use lexeme::{behind_whitespace, usual_value};

/// Most nested objects and arrays in an event, its own object included.
pub const MAX_DEPTH: usize = 64;
/// A position in a text.
pub struct Scanner<'t> {
    text: &'t [u8],
    pos: usize,
    /// Deepest nesting met below the position where `deepest` was last cleared.
    deepest: usize,
}

impl<'t> Scanner<'t> {
    pub fn new(text: &'t [u8]) -> Self {
        Scanner { text, pos: 0, deepest: 0 }
    }

    pub fn at(text: &'t [u8], pos: usize) -> Self {
        Scanner { text, pos, deepest: 0 }
    }

    pub fn pos(&self) -> usize {
        self.pos
    }

    pub fn text(&self) -> &'t [u8] {
        self.text
    }

    /// Whether something was nested deeper than an event may be, since the last call.
    pub fn take_too_deep(&mut self) -> bool {
        std::mem::take(&mut self.deepest) > MAX_DEPTH
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    #[inline]
    pub fn advance(&mut self) {
        self.pos += 1;
    }

    #[inline]
    pub fn skip_whitespace(&mut self) {
        self.pos = behind_whitespace(self.text, self.pos);
    }

    /// Whether only whitespace is left.
    pub fn at_end(&mut self) -> bool {
        self.skip_whitespace();
        self.pos >= self.text.len()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() != Some(byte) {
            return Err(NotJson);
        }
        self.pos += 1;
        Ok(())
    }

    /// Scans any value, `depth` containers deep already.
    #[inline(always)]
    pub fn value(&mut self, depth: usize) -> Result<Token, NotJson> {
        match usual_value(self.text, self.pos) {
            Some((token, end)) => {
                self.pos = end;
                Ok(token)
            }
            None => self.other_value(depth),
        }
    }

    /// As `value`, where it is not worth its inlined code.
    #[inline(never)]
    fn any_value(&mut self, depth: usize) -> Result<Token, NotJson> {
        self.value(depth)
    }

    #[inline(never)]
    fn other_value(&mut self, depth: usize) -> Result<Token, NotJson> {
        let start = self.pos;
        let kind = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => return self.number(),
            Some(b'{') => {
                self.container(depth)?;
                TokenKind::Object
            }
            Some(b'[') => {
                self.container(depth)?;
                TokenKind::Array
            }
            Some(b't') => self.literal(b"true", TokenKind::Bool)?,
            Some(b'f') => self.literal(b"false", TokenKind::Bool)?,
            Some(b'n') => self.literal(b"null", TokenKind::Null)?,
            _ => return Err(NotJson),
        };
        Ok(Token::span(kind, start, self.pos))
    }

    /// Scans an object at the position and keeps the members that `keys` knows. Of the member `special`, `inner` may scan
    /// the value (it returns its token, or None to have it scanned as usual).
    #[inline(always)]
    pub fn object(
        &mut self,
        depth: usize,
        keys: &KeyTable,
        members: &mut Members,
        special: usize,
        mut inner: impl FnMut(&mut Self, &Members) -> Result<Option<Token>, NotJson>,
    ) -> Result<(), NotJson> {
        self.expect(b'{')?;
        self.deepest = self.deepest.max(depth + 1);
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(());
        }
        let mut previous = members.follows.len() - 1;
        // The position is kept in a local while nothing unusual is met: this loop is where the time goes.
        let (text, mut pos) = (self.text, self.pos);
        loop {
            if text.get(pos) != Some(&b'"') {
                return Err(NotJson);
            }
            let guess = usize::from(members.follows[previous]);
            let member = match keys.matches_quoted(guess, text, pos + 1) {
                Some(length) => {
                    pos += 1 + length;
                    Some(guess)
                }
                None => {
                    self.pos = pos;
                    let member = self.other_key(keys)?;
                    pos = self.pos;
                    member
                }
            };
            let token = match usual_value(text, pos) {
                Some((token, end)) => {
                    pos = end;
                    token
                }
                None => {
                    self.pos = behind_whitespace(text, pos);
                    let given = if member == Some(special) { inner(self, members)? } else { None };
                    let token = match given {
                        Some(token) => token,
                        None => self.any_value(depth + 1)?,
                    };
                    pos = self.pos;
                    token
                }
            };
            if let Some(member) = member {
                members.put(member, token);
                if member != guess {
                    members.follows[previous] = member as u16;
                }
                previous = member;
            } else {
                members.unknown += 1;
            }
            if let Some([b',', b'"']) = text.get(pos..).and_then(<[u8]>::first_chunk) {
                pos += 1;
                continue;
            }
            pos = behind_whitespace(text, pos);
            match text.get(pos) {
                Some(b',') => pos = behind_whitespace(text, pos + 1),
                Some(b'}') => {
                    self.pos = pos + 1;
                    return Ok(());
                }
                _ => return Err(NotJson),
            }
        }
    }

    /// Scans an object at the position and tells each key and value, known or not.
    pub fn pairs(&mut self, depth: usize, mut each: impl FnMut(Token, Token)) -> Result<(), NotJson> {
        self.expect(b'{')?;
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            let value = self.value(depth + 1)?;
            each(key, value);
            self.skip_whitespace();
            let more = self.peek() == Some(b',');
            if !more && self.peek() != Some(b'}') {
                return Err(NotJson);
            }
            self.pos += 1;
            if !more {
                return Ok(());
            }
            self.skip_whitespace();
        }
    }

    /// The member that the key at the position names. Ends behind the colon.
    #[inline(never)]
    fn other_key(&mut self, keys: &KeyTable) -> Result<Option<usize>, NotJson> {
        let token = self.string()?;
        self.skip_whitespace();
        self.expect(b':')?;
        let raw = token.of(self.text);
        if token.kind == TokenKind::EscapedText {
            let mut name = Vec::new();
            unescape(raw, &mut name);
            return Ok(keys.find(&name));
        }
        Ok(keys.find(raw))
    }

    /// Skips an object or array at the position, without recursion, so that no text can exhaust the stack.
    #[cold]
    fn container(&mut self, depth: usize) -> Result<(), NotJson> {
        let mut closers: Vec<u8> = Vec::new();
        loop {
            // At a value.
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.pos += 1;
                    closers.push(open + 2);
                    self.deepest = self.deepest.max(depth + closers.len());
                    self.skip_whitespace();
                    if self.peek() != Some(open + 2) {
                        if open == b'{' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ => {
                    self.value(depth)?;
                }
            }
            // Behind a value, or in front of the end of an empty container.
            loop {
                self.skip_whitespace();
                let Some(closer) = closers.last().copied() else {
                    return Err(NotJson);
                };
                match self.peek() {
                    Some(byte) if byte == closer => {
                        self.pos += 1;
                        closers.pop();
                        if closers.is_empty() {
                            return Ok(());
                        }
                    }
                    Some(b',') => {
                        self.pos += 1;
                        self.skip_whitespace();
                        if closer == b'}' {
                            self.skip_key()?;
                        }
                        break;
                    }
                    _ => return Err(NotJson),
                }
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), NotJson> {
        self.string()?;
        self.skip_whitespace();
        self.expect(b':')?;
        self.skip_whitespace();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scans a whole document.
    fn scan(text: &str) -> Result<Token, NotJson> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.skip_whitespace();
        let token = scanner.value(0)?;
        if scanner.at_end() { Ok(token) } else { Err(NotJson) }
    }

    /// Whether serde_json reads it; None where it refuses what is JSON (numbers that no float can hold).
    fn serde_reads(text: &str) -> Option<bool> {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => Some(true),
            Err(error) if error.to_string().contains("number out of range") => None,
            Err(_) => Some(false),
        }
    }

    fn fragment() -> impl Strategy<Value = String> {
        const WORDS: &[&str] = &[
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\"",
            "\"\\ud83dx\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"",
            "\"\u{1}\"",
            "\"\u{7f}é\"",
            "0",
            "-0",
            "01",
            "-",
            "1.5",
            "1.",
            ".5",
            "1e5",
            "1E+5",
            "1e",
            "12345678901234567890123",
            "true",
            "false",
            "null",
            "nul",
            "NaN",
            "-Infinity",
            " ",
            "\n",
            "\t",
            "\r",
            "\u{b}",
            "é",
            "\u{feff}",
        ];
        prop_oneof![
            20 => prop::sample::select(WORDS).prop_map(str::to_owned),
            1 => "[ -~é]{0,30}".prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
        ]
    }

    /// Valid documents, in odd layouts.
    fn document() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
            ".*".prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[ {}\n]", items.join(" , "))),
                prop::collection::vec((".{0,4}", inner), 0..6).prop_map(|items| {
                    let members: Vec<String> = items
                        .iter()
                        .map(|(key, value)| format!("{}\t:{value}", serde_json::to_string(key).unwrap_or_default()))
                        .collect();
                    format!("{{{}}}", members.join(",\r"))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn fragments_are_json_where_serde_says_so(parts in prop::collection::vec(fragment(), 0..12)) {
            let text = parts.concat();
            if let Some(valid) = serde_reads(&text) {
                prop_assert_eq!(scan(&text).is_ok(), valid, "{}", text);
            }
        }

        #[test]
        fn documents_are_json_and_damaged_ones_where_serde_says_so(text in document(), at: prop::sample::Index, with in "[\\[\\]{},:\"\\\\0e. -]") {
            prop_assert!(scan(&text).is_ok(), "{}", text);
            let mut damaged: Vec<char> = text.chars().collect();
            let at = at.index(damaged.len());
            damaged.splice(at..=at, with.chars());
            let damaged: String = damaged.into_iter().collect();
            if let Some(valid) = serde_reads(&damaged) {
                prop_assert_eq!(scan(&damaged).is_ok(), valid, "{}", damaged);
            }
        }

        #[test]
        fn strings_have_the_value_that_serde_gives(text in "(\\PC|[\\x7f\\x00-\\x1f\"\\\\/]){0,40}", ascii: bool) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                let units: Vec<u16> = text.encode_utf16().collect();
                json = format!("\"{}\"", units.iter().map(|unit| format!("\\u{unit:04X}")).collect::<String>());
            }
            let token = scan(&json).unwrap();
            let mut value = Vec::new();
            unescape(token.of(json.as_bytes()), &mut value);
            prop_assert_eq!(String::from_utf8(value).unwrap(), text);
            let raw = &json[1..json.len() - 1];
            prop_assert_eq!(token.kind == TokenKind::Text, !raw.contains(['\\', '\u{7f}']));
        }

        #[test]
        fn numbers_of_any_length_are_classified(minus: bool, digits in "0|[1-9][0-9]{0,40}", rest in "(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?") {
            let text = format!("{}{digits}{rest}", if minus { "-" } else { "" });
            let token = scan(&text).unwrap();
            let value: Option<u64> = digits.parse().ok();
            let kind = match (rest.is_empty(), minus, value) {
                (false, _, _) => TokenKind::Fraction,
                (true, false, Some(_)) => TokenKind::Whole,
                (true, false, None) => TokenKind::WholeTooBig,
                (true, true, Some(_)) => TokenKind::Minus,
                (true, true, None) => TokenKind::MinusTooBig,
            };
            prop_assert_eq!(token.kind, kind, "{}", text);
            if let (true, Some(value)) = (rest.is_empty(), value) {
                prop_assert_eq!(token.number(), value);
            }
        }
    }

    #[test]
    fn any_depth_is_read_and_its_depth_known() {
        for (depth, too_deep) in [(1, false), (64, false), (65, true), (1_000_000, true)] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let mut scanner = Scanner::new(text.as_bytes());
                assert!(scanner.value(0).is_ok());
                assert_eq!(scanner.take_too_deep(), too_deep, "{depth} times {open}");
            }
        }
    }

    #[test]
    fn members_are_found_in_any_order_and_repeats_noticed() {
        let hasher = crate::hash::TableHasher::new(&[0; 16]);
        let keys = KeyTable::new(hasher, ["id", "data", "time"].into_iter()).unwrap();
        let mut members = Members::new(3);
        for (text, present, repeated, unknown) in [
            (r#"{"id":1,"data":2,"time":3}"#, 0b111, 0, 0),
            (r#"{"time":3,"x":{"id":5},"\u0069d":1}"#, 0b101, 0, 1),
            (r#"{"id":1,"time":3,"id":2, "i":[1,2]}"#, 0b101, 0b001, 1),
            ("{ }", 0, 0, 0),
        ] {
            members.clear();
            let mut scanner = Scanner::new(text.as_bytes());
            assert_eq!(scanner.object(0, &keys, &mut members, usize::MAX, |_, _| Ok(None)), Ok(()), "{text}");
            assert!(scanner.at_end());
            assert_eq!(
                (members.present, members.repeated, members.unknown),
                ([present, 0], [repeated, 0], unknown),
                "{text}"
            );
            if repeated == 0 && present & 1 == 1 {
                assert_eq!(members.get(0).number(), 1);
            }
        }
    }
}
