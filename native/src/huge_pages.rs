//! Large pages for large tables, where the system gives them only on request (Linux: transparent huge pages, `madvise`).
//!
//! A table that is looked into at random places costs a walk through the page tables for each look, once it is larger
//! than the processor's list of pages; in a virtual machine such a walk is several times as long.

/// Bytes from which on it is worth asking.
#[cfg(target_os = "linux")]
const WORTH_IT: usize = 4 << 20;

/// Asks for large pages for all that the vector has room for. To be asked again after it has grown. A wish: nothing tells
/// whether it is granted, and nothing depends on it.
#[cfg(target_os = "linux")]
pub fn wish<T>(vector: &mut Vec<T>) {
    const PAGE: usize = 4096;
    let bytes = vector.capacity() * size_of::<T>();
    if bytes < WORTH_IT {
        return;
    }
    let start = vector.as_mut_ptr().cast::<u8>();
    let first = start.align_offset(PAGE);
    let length = (bytes - first) / PAGE * PAGE;
    // SAFETY: the range is whole pages (or, where pages are larger, refused) of memory that the vector owns, and the advice
    // changes nothing that a program can see. That it may be refused is why the answer is not looked at.
    unsafe { libc::madvise(start.add(first).cast(), length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
pub fn wish<T>(_: &mut Vec<T>) {}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_vector_holds_stays() {
        for size in [0usize, 1000, 3 << 20] {
            let mut vector: Vec<u64> = (0..size as u64).collect();
            super::wish(&mut vector);
            vector.push(7);
            super::wish(&mut vector);
            assert!(vector.iter().copied().eq((0..size as u64).chain([7])));
        }
    }
}
