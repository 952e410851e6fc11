//! Literals, numbers and strings: the scalars of JSON, in the usual form at full speed, in any form by the grammar.

use super::{NotJson, Scanner, Token, TokenKind};

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
}

/// A plain string or a short number at `pos`, and where it ends; None for anything else, valid or not.
#[inline(always)]
pub(super) fn usual_value(text: &[u8], pos: usize) -> Option<(Token, usize)> {
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
pub(super) fn behind_whitespace(text: &[u8], pos: usize) -> usize {
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
