//! Panics of a decoder that is fed hostile bytes: caught, and kept out of the log, where anyone could flood it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static CONTAINING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a task that changes nothing but its result; None if it panicked.
pub fn run<T>(task: impl FnOnce() -> T) -> Option<T> {
    let outer = CONTAINING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(task)).ok();
    CONTAINING.set(outer);
    result
}

/// Keeps contained panics from being printed; all others go to the hook that was there before. The hook is that of this
/// library's own runtime: in a Python process no other extension is affected.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !CONTAINING.get() {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_none_and_only_inside() {
        install_hook();
        assert_eq!(run(|| 5), Some(5));
        assert_eq!(run(|| -> i32 { panic!("not to be seen in the log") }), None);
        assert_eq!(run(|| run(|| -> i32 { panic!("nor this") }).is_none() && CONTAINING.get()), Some(true));
        assert!(!CONTAINING.get());
    }
}
