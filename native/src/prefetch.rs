//! A hint to the processor's cache; does nothing where the platform has none in stable Rust.

/// Bytes that are loaded together.
pub const CACHE_LINE: usize = 64;

/// Starts loading the cache line of `target`, if there is one.
#[inline]
pub fn prefetch<T>(target: Option<&T>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(target) = target {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is that of a live reference, and a prefetch reads nothing that a program can see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}
