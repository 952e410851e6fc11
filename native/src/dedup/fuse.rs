//! Builds the filter of a chunk's ids (see `filter`).

use crate::dedup::filter::{HEAD, MAGIC, MOST_SEGMENT_BITS, SLOT, Shape, TAIL, hash_of, tag_of};
use crate::error::CoreError;

/// Each seed fails for less than one set in a thousand; so many never do.
const MOST_SEEDS: u32 = 100;

/// A filter of distinct, ascending fingerprints. The same ones give the same bytes.
pub fn build(fingerprints: &[u128], key_check: u64) -> Result<Vec<u8>, CoreError> {
    let shape = shape_for(fingerprints.len())?;
    for seed in 0..MOST_SEEDS {
        if let Some(slots) = slots_of(fingerprints, shape, seed) {
            return Ok(write(&slots, shape, seed, fingerprints.len(), key_check));
        }
    }
    Err(CoreError::Output(format!("no filter of {} ids could be built with {MOST_SEEDS} seeds", fingerprints.len())))
}

/// The sizes that the paper found best for three slots an id.
fn shape_for(ids: usize) -> Result<Shape, CoreError> {
    let count = match u32::try_from(ids) {
        Ok(0) => return Ok(Shape { segments: 0, segment_bits: 0 }),
        Ok(count) => f64::from(count.max(2)),
        Err(_) => return Err(CoreError::Output(format!("{ids} ids are too many for one filter"))),
    };
    let segment_bits = ((count.ln() / 3.33f64.ln() + 2.25) as u32).min(MOST_SEGMENT_BITS);
    let factor = (0.875 + 0.25 * 1e6f64.ln() / count.ln()).max(1.125);
    let segments = ((count * factor) as u64).div_ceil(1 << segment_bits).saturating_sub(2).max(1);
    Ok(Shape { segments: segments as u32, segment_bits })
}

/// Finds an order in which each id has a slot that no later one needs, then fills the slots in the opposite order. None if
/// there is no such order for this seed.
fn slots_of(fingerprints: &[u128], shape: Shape, seed: u32) -> Option<Vec<u16>> {
    let mut counts = vec![0u8; shape.slots()];
    // XOR of the hashes that need the slot: with a count of 1, the hash itself.
    let mut hashes = vec![0u64; shape.slots()];
    for fingerprint in fingerprints {
        let hash = hash_of(*fingerprint, seed);
        for slot in shape.positions(hash) {
            counts[slot] = counts[slot].checked_add(1)?;
            hashes[slot] ^= hash;
        }
    }
    let mut order: Vec<(u64, u32)> = Vec::with_capacity(fingerprints.len());
    let mut alone: Vec<u32> = Vec::new();
    for start in 0..shape.slots() {
        // From each start on as far as it goes: what follows lies near, in the cache.
        alone.push(start as u32);
        while let Some(slot) = alone.pop() {
            if counts[slot as usize] != 1 {
                continue;
            }
            let hash = hashes[slot as usize];
            order.push((hash, slot));
            for other in shape.positions(hash) {
                counts[other] -= 1;
                hashes[other] ^= hash;
                if counts[other] == 1 {
                    alone.push(other as u32);
                }
            }
        }
    }
    if order.len() != fingerprints.len() {
        return None;
    }
    drop((counts, hashes, alone));
    let mut slots = vec![0u16; shape.slots()];
    for (hash, slot) in order.into_iter().rev() {
        let [a, b, c] = shape.positions(hash);
        // Its own slot is still 0.
        slots[slot as usize] = tag_of(hash) ^ slots[a] ^ slots[b] ^ slots[c];
    }
    Some(slots)
}

fn write(slots: &[u16], shape: Shape, seed: u32, ids: usize, key_check: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + slots.len() * SLOT + TAIL);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&shape.segment_bits.to_le_bytes());
    out.extend_from_slice(&key_check.to_le_bytes());
    out.extend_from_slice(&(ids as u64).to_le_bytes());
    out.extend_from_slice(&seed.to_le_bytes());
    out.extend_from_slice(&shape.segments.to_le_bytes());
    for slot in slots {
        out.extend_from_slice(&slot.to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}
