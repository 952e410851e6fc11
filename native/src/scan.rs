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
    /// Without escapes: the bytes between the quotes are the value.
    Text,
    /// With valid escapes; see `unescape`.
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

/// A value in the text: `start..end` are its bytes (of a text: without the quotes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub start: u32,
    pub end: u32,
    pub number: u64,
}

impl Token {
    pub const NULL: Token = Token { kind: TokenKind::Null, start: 0, end: 0, number: 0 };

    #[inline]
    pub fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The known members of one object.
#[derive(Clone)]
pub struct Members {
    pub tokens: Vec<Token>,
    /// Members that are there, and those that are there more than once.
    pub present: u128,
    pub repeated: u128,
    pub unknown: u32,
    /// Which member followed each one last time (the last entry: which was first).
    follows: Vec<u16>,
}

impl Members {
    pub fn new(size: usize) -> Self {
        Members {
            tokens: vec![Token::NULL; size],
            present: 0,
            repeated: 0,
            unknown: 0,
            follows: (1..=size as u16).chain([0]).collect(),
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        (self.present, self.repeated, self.unknown) = (0, 0, 0);
    }

    #[inline]
    pub fn has(&self, member: usize) -> bool {
        self.present >> member & 1 == 1
    }

    /// The token of a member; null when it is absent.
    #[inline]
    pub fn get(&self, member: usize) -> Token {
        if self.has(member) { self.tokens[member] } else { Token::NULL }
    }

    #[inline]
    fn put(&mut self, member: usize, token: Token) {
        let bit = 1 << member;
        self.repeated |= self.present & bit;
        self.present |= bit;
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
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.pos += 1;
        }
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
    #[inline]
    pub fn value(&mut self, depth: usize) -> Result<Token, NotJson> {
        let start = self.pos;
        let kind = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'0'..=b'9' | b'-') => return self.number(),
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
        Ok(Token { kind, start: start as u32, end: self.pos as u32, number: 0 })
    }

    /// Scans an object at the position and keeps the members that `keys` knows. `inner` may take over the value of a
    /// member (it stands at the value, and returns its token, or None to have it scanned as usual).
    #[inline]
    pub fn object(
        &mut self,
        depth: usize,
        keys: &KeyTable,
        members: &mut Members,
        mut inner: impl FnMut(&mut Self, usize, &Members) -> Result<Option<Token>, NotJson>,
    ) -> Result<(), NotJson> {
        self.expect(b'{')?;
        self.deepest = self.deepest.max(depth + 1);
        let first = members.follows.len() - 1;
        let mut previous = first;
        self.skip_whitespace();
        if self.peek() == Some(b'}') {
            self.pos += 1;
            return Ok(());
        }
        loop {
            self.expect(b'"')?;
            let member = self.key(keys, members.follows[previous] as usize)?;
            self.skip_whitespace();
            self.expect(b':')?;
            self.skip_whitespace();
            if let Some(member) = member {
                let token = match inner(self, member, members)? {
                    Some(token) => token,
                    None => self.value(depth + 1)?,
                };
                members.put(member, token);
                members.follows[previous] = member as u16;
                previous = member;
            } else {
                self.value(depth + 1)?;
                members.unknown += 1;
            }
            self.skip_whitespace();
            match self.peek() {
                Some(b',') => self.pos += 1,
                Some(b'}') => {
                    self.pos += 1;
                    return Ok(());
                }
                _ => return Err(NotJson),
            }
            self.skip_whitespace();
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

    /// The member that a key names, behind its opening quote; `guess` is tried first.
    #[inline]
    fn key(&mut self, keys: &KeyTable, guess: usize) -> Result<Option<usize>, NotJson> {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        if let Some(length) = keys.matches_quoted(guess, rest) {
            self.pos += length + 1;
            return Ok(Some(guess));
        }
        self.pos -= 1;
        let token = self.string()?;
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

    #[inline]
    fn number(&mut self) -> Result<Token, NotJson> {
        let start = self.pos;
        let minus = self.peek() == Some(b'-');
        self.pos += usize::from(minus);
        let digits = self.pos;
        let mut number = 0u64;
        let mut fits = true;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let next = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            // 19 digits always fit; only longer ones need the check.
            if self.pos - digits >= 19 {
                fits &= number <= (u64::MAX - u64::from(digit - b'0')) / 10;
            }
            number = next;
            self.pos += 1;
        }
        let count = self.pos - digits;
        if count == 0 || (count > 1 && self.text[digits] == b'0') {
            return Err(NotJson);
        }
        let fraction = self.fraction_or_exponent()?;
        let kind = match (fraction, minus, fits) {
            (true, _, _) => TokenKind::Fraction,
            (false, false, true) => TokenKind::Whole,
            (false, false, false) => TokenKind::WholeTooBig,
            (false, true, true) => TokenKind::Minus,
            (false, true, false) => TokenKind::MinusTooBig,
        };
        Ok(Token { kind, start: start as u32, end: self.pos as u32, number })
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

    /// A string at its opening quote.
    #[inline]
    pub fn string(&mut self) -> Result<Token, NotJson> {
        self.expect(b'"')?;
        let start = self.pos;
        let mut kind = TokenKind::Text;
        loop {
            self.pos += plain_length(self.text.get(self.pos..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = TokenKind::EscapedText;
                    self.escape()?;
                }
                // A raw control character, or the end of the text.
                _ => return Err(NotJson),
            }
        }
        let end = self.pos;
        self.pos += 1;
        Ok(Token { kind, start: start as u32, end: end as u32, number: 0 })
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

/// How many bytes of a string come before a quote, a backslash, a control character or the end.
#[inline]
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let (words, tail) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        let found = ((quote.wrapping_sub(ONES) & !quote) | (backslash.wrapping_sub(ONES) & !backslash) | below) & HIGHS;
        if found != 0 {
            // Borrows can only set bits above the first true one.
            return i * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let plain = tail.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    words.len() * 8 + plain
}
