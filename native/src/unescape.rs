//! The value of a JSON string whose escapes the scanner has validated.

/// Appends the value of `raw` (the bytes between the quotes) to `out`.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let used = match rest.get(at + 1) {
            Some(b'u') => {
                let (character, used) = unicode(&rest[at..]);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                used
            }
            Some(simple) => {
                out.push(match simple {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                2
            }
            None => 1,
        };
        rest = rest.get(at + used..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// The character of `\uXXXX` or of a pair of surrogates at the start of `text`, and its length there.
fn unicode(text: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4).unwrap_or_default();
        digits.iter().fold(0, |value, digit| value * 16 + (*digit as char).to_digit(16).unwrap_or(0))
    };
    let first = unit(2);
    if (0xD800..0xDC00).contains(&first) {
        let code = 0x10000 + ((first - 0xD800) << 10) + unit(8).saturating_sub(0xDC00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}
