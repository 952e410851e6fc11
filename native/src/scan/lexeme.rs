//! Literals, numbers and strings: the scalars of JSON, in the usual form at full speed, in any form by the grammar.

use super::{NotJson, Scanner, Token, TokenKind};
use crate::window::{digits, eight, first_special};

impl Scanner<'_> {
    #[inline]
    pub(super) fn literal(&mut self, word: &[u8], kind: TokenKind) -> Result<TokenKind, NotJson> {
        if !self.text.get(self.pos..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(NotJson);
        }
        self.pos += word.len();
        Ok(kind)
    }

    /// A number at the position, of whatever form and length.
    pub(super) fn number(&mut self) -> Result<Token, NotJson> {
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
    pub(super) fn string(&mut self) -> Result<Token, NotJson> {
        self.expect(b'"')?;
        let start = self.pos;
        let mut kind = TokenKind::Text;
        loop {
            let Some(special) = first_special(self.text, self.pos) else {
                self.pos += 32;
                continue;
            };
            self.pos += special;
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
                _ => return Err(NotJson),
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
}

/// A plain string or a short number at `pos`, and where it ends; None for anything else, valid or not.
#[inline(always)]
pub(super) fn usual_value(text: &[u8], pos: usize) -> Option<(Token, usize)> {
    let first = *text.get(pos)?;
    if first == b'"' {
        let mut end = pos + 1;
        loop {
            if let Some(special) = first_special(text, end) {
                end += special;
                break;
            }
            end += 32;
        }
        let token = Token::span(TokenKind::Text, pos + 1, end);
        return (*text.get(end)? == b'"').then_some((token, end + 1));
    }
    // Without a loop: most numbers have another length than the one before, so that its end would be guessed wrong.
    let bytes = eight(text, pos);
    let (number, count) = digits(bytes)?;
    let behind = (bytes >> (8 * count)) as u8;
    let leading_zero = first == b'0' && count > 1;
    let usual = count > 0 && !leading_zero && !matches!(behind, b'.' | b'e' | b'E');
    usual.then_some((Token { kind: TokenKind::Whole, payload: number }, pos + count))
}

#[inline(always)]
pub(super) fn behind_whitespace(text: &[u8], pos: usize) -> usize {
    if text.get(pos).is_some_and(|byte| *byte <= b' ') { behind_some_whitespace(text, pos) } else { pos }
}

#[inline(never)]
fn behind_some_whitespace(text: &[u8], pos: usize) -> usize {
    let rest = text.get(pos..).unwrap_or_default();
    pos + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}
