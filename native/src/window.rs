//! A few bytes of a text as numbers, so that short strings are compared and searched without a loop.

/// 32 bytes, the first in the lowest bits of the first number.
pub type Window = (u128, u128);

/// The bytes of `text` from `pos` on, zeros where it has no more.
#[inline(always)]
pub fn window(text: &[u8], pos: usize) -> Window {
    match text.get(pos..).and_then(<[u8]>::first_chunk::<32>) {
        Some(chunk) => {
            let (words, _) = chunk.as_chunks::<16>();
            (u128::from_le_bytes(words[0]), u128::from_le_bytes(words[1]))
        }
        None => window_near_end(text, pos),
    }
}

/// The first 8 of those bytes.
#[inline(always)]
pub fn eight(text: &[u8], pos: usize) -> u64 {
    match text.get(pos..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => sixteen(text, pos) as u64,
    }
}

#[inline(never)]
fn window_near_end(text: &[u8], pos: usize) -> Window {
    (sixteen(text, pos), sixteen(text, pos.saturating_add(16)))
}

#[inline(never)]
fn sixteen(text: &[u8], pos: usize) -> u128 {
    if pos >= text.len() {
        return 0;
    }
    if let Some(chunk) = text[pos..].first_chunk() {
        return u128::from_le_bytes(*chunk);
    }
    match text.last_chunk() {
        // The last 16 bytes, without those before `pos`.
        Some(chunk) => u128::from_le_bytes(*chunk) >> (8 * (pos + 16 - text.len())),
        None => text[pos..].iter().rev().fold(0, |bytes, byte| bytes << 8 | u128::from(*byte)),
    }
}

/// The window without what stands behind its first `length` bytes (at most 32).
#[inline(always)]
pub fn first_bytes(window: Window, length: usize) -> Window {
    let (low, high) = MASKS[length.min(32)];
    (window.0 & low, window.1 & high)
}

const MASKS: [Window; 33] = {
    let mut masks = [(0, 0); 33];
    let mut length = 0;
    while length <= 32 {
        masks[length] = (mask(length), if length > 16 { mask(length - 16) } else { 0 });
        length += 1;
    }
    masks
};

const fn mask(length: usize) -> u128 {
    if length >= 16 { u128::MAX } else { (1 << (8 * length)) - 1 }
}

/// A short text to be found at the start of others, at the price of a comparison.
pub struct Prefix {
    bytes: Block,
    mask: Block,
}

impl Prefix {
    /// None for a text of more than 32 bytes.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut prefix = Prefix { bytes: [0; 32], mask: [0; 32] };
        prefix.bytes.get_mut(..text.len())?.copy_from_slice(text);
        prefix.mask[..text.len()].fill(0xff);
        Some(prefix)
    }

    /// Whether it stands at `pos` of a text.
    #[inline(always)]
    pub fn stands_at(&self, text: &[u8], pos: usize) -> bool {
        let block = text.get(pos..).and_then(<[u8]>::first_chunk);
        vector::equal_where(block.unwrap_or(&block_near_end(text, pos, block.is_none())), &self.bytes, &self.mask)
    }
}

/// The place, from `pos` on, of the first quote, backslash or control character (DEL included), or of the text's end;
/// None if the next 32 bytes have none.
#[inline(always)]
pub fn first_special(text: &[u8], pos: usize) -> Option<usize> {
    let block = text.get(pos..).and_then(<[u8]>::first_chunk);
    let bits = vector::special_bits(block.unwrap_or(&block_near_end(text, pos, block.is_none())));
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

type Block = [u8; 32];

/// The block at `pos`, zeros where the text has no more, if it is `needed`.
#[inline(always)]
fn block_near_end(text: &[u8], pos: usize, needed: bool) -> Block {
    let mut block = [0; 32];
    if needed {
        let window = window_near_end(text, pos);
        block[..16].copy_from_slice(&window.0.to_le_bytes());
        block[16..].copy_from_slice(&window.1.to_le_bytes());
    }
    block
}

/// What a processor compares many bytes at a time.
#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };

    use super::Block;

    #[inline(always)]
    fn halves(block: &Block) -> (__m128i, __m128i) {
        let start: *const __m128i = block.as_ptr().cast();
        // SAFETY: both loads are of 16 of the block's 32 bytes, and need no alignment.
        unsafe { (_mm_loadu_si128(start), _mm_loadu_si128(start.add(1))) }
    }

    #[inline(always)]
    pub fn equal_where(block: &Block, bytes: &Block, mask: &Block) -> bool {
        let (block, bytes, mask) = (halves(block), halves(bytes), halves(mask));
        // SAFETY: SSE2 is part of every x86-64.
        unsafe {
            let low = _mm_cmpeq_epi8(_mm_and_si128(block.0, mask.0), bytes.0);
            let high = _mm_cmpeq_epi8(_mm_and_si128(block.1, mask.1), bytes.1);
            _mm_movemask_epi8(_mm_and_si128(low, high)) == 0xffff
        }
    }

    /// One bit for each byte that is a quote, a backslash or a control character.
    #[inline(always)]
    pub fn special_bits(block: &Block) -> u32 {
        let (low, high) = halves(block);
        // SAFETY: SSE2 is part of every x86-64.
        let special = |bytes| unsafe {
            let quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
            let backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
            let either = _mm_or_si128(_mm_or_si128(quote, backslash), _mm_or_si128(control, delete));
            _mm_movemask_epi8(either) as u32
        };
        special(low) | special(high) << 16
    }
}

/// The same, byte by byte.
#[cfg(not(target_arch = "x86_64"))]
mod vector {
    use super::Block;

    #[inline(always)]
    pub fn equal_where(block: &Block, bytes: &Block, mask: &Block) -> bool {
        block.iter().zip(bytes).zip(mask).all(|((byte, other), mask)| byte & mask == *other)
    }

    pub fn special_bits(block: &Block) -> u32 {
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f);
        block.iter().rev().fold(0, |bits, byte| bits << 1 | u32::from(special(byte)))
    }
}

/// The number that up to 7 digits at the start of 8 bytes say, and how many they are (0: none); `None` if there are more.
#[inline(always)]
pub fn digits(bytes: u64) -> Option<(u64, usize)> {
    let values = bytes ^ 0x3030_3030_3030_3030;
    // The high bit of each byte that is above 9. A byte that carries into the next one is above 9 itself, so that the
    // lowest bit is right.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    if others == 0 {
        return None;
    }
    let count = others.trailing_zeros() as usize / 8;
    // As if there were eight digits, zeros in front: pairs, then fours, then all.
    let shift = 64 - 8 * count as u32;
    let number = values.checked_shl(shift).unwrap_or(0);
    let number = (number.wrapping_mul(10)).wrapping_add(number >> 8);
    let low = (number & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let high = (number >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some((low.wrapping_add(high) >> 32, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn padded(text: &[u8], pos: usize) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(text.iter().skip(pos)) {
            *to = *from;
        }
        bytes
    }

    fn bytes_of(window: Window) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&window.0.to_le_bytes());
        bytes[16..].copy_from_slice(&window.1.to_le_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn windows_are_the_text_and_zeros(text in prop::collection::vec(prop_oneof![any::<u8>(), b'a'..=b'z'], 0..80), pos in 0usize..90, length in 0usize..=32) {
            let expected = padded(&text, pos);
            prop_assert_eq!(bytes_of(window(&text, pos)), expected);
            let mut cut = expected;
            cut[length..].fill(0);
            prop_assert_eq!(bytes_of(first_bytes(window(&text, pos), length)), cut);
            let special = expected.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7f));
            prop_assert_eq!(first_special(&text, pos), special);
        }

        #[test]
        fn a_prefix_is_found_where_it_stands(text in "[ab]{0,40}", prefix in "[ab]{0,33}", pos in 0usize..45) {
            let found = Prefix::new(prefix.as_bytes()).map(|one| one.stands_at(text.as_bytes(), pos));
            let stands = text.as_bytes().get(pos..).unwrap_or_default().starts_with(prefix.as_bytes());
            prop_assert_eq!(found, (prefix.len() <= 32).then_some(stands));
        }

        #[test]
        fn digits_are_read_up_to_the_first_other_byte(text in "[0-9]{0,9}", rest in prop::collection::vec(any::<u8>(), 8)) {
            let all = [text.as_bytes(), &rest[..]].concat();
            let found = digits(u64::from_le_bytes(*all.first_chunk().unwrap()));
            let count = all[..8].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let number = std::str::from_utf8(&all[..count]).unwrap().parse().unwrap_or(0);
            prop_assert_eq!(found, (count < 8).then_some((number, count)));
        }
    }
}
