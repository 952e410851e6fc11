//! What a text may be: its length in code points, and no control characters.

use crate::spec::Field;

/// Code points of valid UTF-8.
pub fn code_points(text: &[u8]) -> usize {
    text.iter().filter(|byte| (**byte as i8) >= -0x40).count()
}

/// Whether a C0 control character or DEL is in it.
#[inline]
pub fn has_control(text: &[u8]) -> bool {
    // No early exit: then it compiles to vector instructions.
    text.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == 0x7f))
}

/// At most `most` code points; counts only when the bytes could be too many.
#[inline]
pub fn fits(text: &[u8], most: u32) -> bool {
    text.len() <= most as usize || code_points(text) <= most as usize
}

/// Whether a field accepts a text that is not empty.
pub fn is_valid(field: &Field, text: &[u8]) -> bool {
    match &field.choices {
        Some(choices) => choices.iter().any(|choice| choice.as_bytes() == text),
        None => fits(text, field.max_length) && !has_control(text),
    }
}
