//! A single-pass JSON scanner. It validates the whole grammar of RFC 8259, whatever the nesting, and captures the values
//! of known members as tokens, in any order of keys. The text must be valid UTF-8 already.
//!
//! Nothing is copied and numbers are never floats: a quantity is its digits.

use crate::keys::KeyTable;
use crate::unescape::unescape;

/// The text is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct NotJson;

/// Most nested objects and arrays in an event, its own object included.
pub const MAX_DEPTH: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Null,
    Bool,
    /// Without escapes: the bytes between the quotes are the value, and none of them is a control character (DEL included).
    Text,
    /// With valid escapes, or with DEL; see `unescape`.
    EscapedText,
    /// Digits only; the value is in `number`.
    Whole,
    /// Digits only, above 2^64 - 1.
    WholeTooBig,
    /// A minus and digits; the magnitude is in `number`.
    Minus,
    MinusTooBig,
    /// A number with a point or an exponent.
    Fraction,
    Object,
    Array,
}

/// A value in the text, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    /// Of `Whole` and `Minus` the magnitude; of texts (without the quotes), objects and arrays where they start (low half)
    /// and end (high half).
    payload: u64,
}

impl Token {
    pub const NULL: Token = Token { kind: TokenKind::Null, payload: 0 };

    #[inline(always)]
    pub fn span(kind: TokenKind, start: usize, end: usize) -> Token {
        Token { kind, payload: start as u64 | (end as u64) << 32 }
    }

    /// The value of a `Whole`, the magnitude of a `Minus`.
    #[inline(always)]
    pub fn number(&self) -> u64 {
        self.payload
    }

    #[inline(always)]
    pub fn start(&self) -> usize {
        self.payload as u32 as usize
    }

    #[inline(always)]
    pub fn end(&self) -> usize {
        (self.payload >> 32) as usize
    }

    /// The bytes of a text, object or array.
    #[inline(always)]
    pub fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.start()..self.end()).unwrap_or_default()
    }
}

/// The known members of one object.
#[derive(Clone)]
pub struct Members {
    tokens: Vec<Token>,
    /// One bit a member, in two words: those that are there, and those that are there more than once.
    present: [u64; 2],
    repeated: [u64; 2],
    pub unknown: u32,
    /// Which member followed each one last time (the last entry: which was first).
    follows: Vec<u16>,
}

impl Members {
    pub fn new(size: usize) -> Self {
        Members {
            tokens: vec![Token::NULL; size],
            present: [0; 2],
            repeated: [0; 2],
            unknown: 0,
            follows: (1..=size as u16).chain([0]).collect(),
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        (self.present, self.repeated, self.unknown) = ([0; 2], [0; 2], 0);
    }

    #[inline]
    pub fn has(&self, member: usize) -> bool {
        self.present[(member / 64) & 1] >> (member % 64) & 1 == 1
    }

    /// The members that are there, one bit each.
    #[inline]
    pub fn present(&self) -> u128 {
        u128::from(self.present[0]) | u128::from(self.present[1]) << 64
    }

    /// The first member, in the order of the table, that is there more than once.
    #[inline]
    pub fn first_repeated(&self) -> Option<usize> {
        match self.repeated {
            [0, 0] => None,
            [0, high] => Some(64 + high.trailing_zeros() as usize),
            [low, _] => Some(low.trailing_zeros() as usize),
        }
    }

    /// The token of a member that is there.
    #[inline(always)]
    pub fn present_token(&self, member: usize) -> Token {
        self.tokens[member]
    }

    /// The token of a member; null when it is absent.
    #[inline]
    pub fn get(&self, member: usize) -> Token {
        if self.has(member) { self.tokens[member] } else { Token::NULL }
    }

    #[inline(always)]
    fn put(&mut self, member: usize, token: Token) {
        let (word, bit) = ((member / 64) & 1, 1 << (member % 64));
        self.repeated[word] |= self.present[word] & bit;
        self.present[word] |= bit;
        self.tokens[member] = token;
    }
}

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
            let member = match keys.matches_quoted(guess, &text[pos + 1..]) {
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
            pos = behind_whitespace(text, pos);
            self.pos = pos;
            let given = if member == Some(special) { inner(self, members)? } else { None };
            let token = match (given, usual_value(text, pos)) {
                (Some(token), _) => {
                    pos = self.pos;
                    token
                }
                (None, Some((token, end))) => {
                    pos = end;
                    token
                }
                (None, None) => {
                    let token = self.other_value(depth + 1)?;
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

    #[inline]
    fn literal(&mut self, word: &[u8], kind: TokenKind) -> Result<TokenKind, NotJson> {
        if !self.text.get(self.pos..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(NotJson);
        }
        self.pos += word.len();
        Ok(kind)
    }

    /// A number at the position, of whatever form and length.
    fn number(&mut self) -> Result<Token, NotJson> {
        let minus = self.peek() == Some(b'-');
        self.pos += usize::from(minus);
        let digits = self.pos;
        let mut number = Some(0u64);
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.and_then(|number| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
            self.pos += 1;
        }
        let count = self.pos - digits;
        if count == 0 || (count > 1 && self.text[digits] == b'0') {
            return Err(NotJson);
        }
        let fraction = self.fraction_or_exponent()?;
        let kind = match (fraction, minus, number) {
            (true, _, _) => TokenKind::Fraction,
            (false, false, Some(_)) => TokenKind::Whole,
            (false, false, None) => TokenKind::WholeTooBig,
            (false, true, Some(_)) => TokenKind::Minus,
            (false, true, None) => TokenKind::MinusTooBig,
        };
        Ok(Token { kind, payload: number.unwrap_or_default() })
    }

    #[inline]
    fn fraction_or_exponent(&mut self) -> Result<bool, NotJson> {
        let mut found = false;
        if self.peek() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
            found = true;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.pos += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.pos += 1;
            }
            self.digits()?;
            found = true;
        }
        Ok(found)
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.pos;
        while let Some(b'0'..=b'9') = self.peek() {
            self.pos += 1;
        }
        if self.pos == start { Err(NotJson) } else { Ok(()) }
    }

    /// A string at the position, whatever is in it.
    fn string(&mut self) -> Result<Token, NotJson> {
        self.expect(b'"')?;
        let start = self.pos;
        let mut kind = TokenKind::Text;
        loop {
            if let Some(block) = self.text.get(self.pos..).and_then(<[u8]>::first_chunk) {
                let Some(special) = first_special(block) else {
                    self.pos += block.len();
                    continue;
                };
                self.pos += special;
            }
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = TokenKind::EscapedText;
                    self.escape()?;
                }
                Some(0x7f) => {
                    kind = TokenKind::EscapedText;
                    self.pos += 1;
                }
                Some(0..0x20) | None => return Err(NotJson),
                Some(_) => self.pos += 1,
            }
        }
        let end = self.pos;
        self.pos += 1;
        Ok(Token::span(kind, start, end))
    }

    #[cold]
    fn escape(&mut self) -> Result<(), NotJson> {
        match self.text.get(self.pos + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.pos += 2,
            Some(b'u') => match self.hex4(self.pos + 2)? {
                0xD800..=0xDBFF => {
                    let pair = self.text.get(self.pos + 6..self.pos + 8) == Some(b"\\u");
                    if !pair || !(0xDC00..=0xDFFF).contains(&self.hex4(self.pos + 8)?) {
                        return Err(NotJson);
                    }
                    self.pos += 12;
                }
                0xDC00..=0xDFFF => return Err(NotJson),
                _ => self.pos += 6,
            },
            _ => return Err(NotJson),
        }
        Ok(())
    }

    fn hex4(&self, at: usize) -> Result<u32, NotJson> {
        let digits = self.text.get(at..at + 4).ok_or(NotJson)?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + (*digit as char).to_digit(16).ok_or(NotJson)?;
        }
        Ok(value)
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

/// A plain string or a short number at `pos`, and where it ends; None for anything else, valid or not.
#[inline(always)]
fn usual_value(text: &[u8], pos: usize) -> Option<(Token, usize)> {
    let first = *text.get(pos)?;
    if first == b'"' {
        let mut at = pos + 1;
        loop {
            let block = text.get(at..)?.first_chunk()?;
            if let Some(special) = first_special(block) {
                at += special;
                break;
            }
            at += 16;
        }
        let token = Token::span(TokenKind::Text, pos + 1, at);
        return (*text.get(at)? == b'"').then_some((token, at + 1));
    }
    let mut number = u64::from(first.wrapping_sub(b'0'));
    let mut at = pos + 1;
    if number > 9 {
        return None;
    }
    loop {
        let byte = *text.get(at)?;
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            let leading_zero = first == b'0' && at > pos + 1;
            let usual = at - pos < 19 && !leading_zero && !matches!(byte, b'.' | b'e' | b'E');
            let token = Token { kind: TokenKind::Whole, payload: number };
            return usual.then_some((token, at));
        }
        number = number.wrapping_mul(10).wrapping_add(digit);
        at += 1;
    }
}

#[inline(always)]
fn behind_whitespace(text: &[u8], pos: usize) -> usize {
    if text.get(pos).is_some_and(|byte| *byte <= b' ') { behind_some_whitespace(text, pos) } else { pos }
}

#[inline(never)]
fn behind_some_whitespace(text: &[u8], pos: usize) -> usize {
    let rest = text.get(pos..).unwrap_or_default();
    pos + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// The place of the first quote, backslash or control character (DEL included).
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first_special(block: &[u8; 16]) -> Option<usize> {
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { first_special_sse2(block) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn first_special_sse2(block: &[u8; 16]) -> Option<usize> {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let number = u128::from_le_bytes(*block);
    let bytes = _mm_set_epi64x((number >> 64) as i64, number as i64);
    let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
    let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
    let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    let either = _mm_or_si128(_mm_or_si128(quote, backslash), _mm_or_si128(control, delete));
    let found = _mm_movemask_epi8(either);
    (found != 0).then(|| found.trailing_zeros() as usize)
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn first_special(block: &[u8; 16]) -> Option<usize> {
    block.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f))
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
