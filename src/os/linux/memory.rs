//! What the static programs take their memory from.

use std::alloc::{GlobalAlloc, Layout};

use dlmalloc::Dlmalloc;
use spin::Yield;
use spin::mutex::SpinMutex;

/// One allocator for all threads, behind a lock that is waited for without the kernel: it is held for less than a
/// microsecond, and whoever sleeps for it must be woken. Three threads that look at a thousand repos wake each other for
/// longer than they look.
pub struct Memory(SpinMutex<Dlmalloc, Yield>);

impl Memory {
    /// Has taken nothing yet.
    #[expect(clippy::new_without_default, reason = "it is the one of the program")]
    pub const fn new() -> Self {
        Self(SpinMutex::new(Dlmalloc::new()))
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

// SAFETY: every call goes to the same allocator, which keeps the promises, with the lock held.
#[expect(unsafe_code, reason = "no safe crate gives memory")]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as of the caller.
        unsafe { self.0.lock().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as of the caller.
        unsafe { self.0.lock().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as of the caller; it came from this allocator with this layout.
        unsafe { self.0.lock().free(place, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as of the caller; it came from this allocator with this layout.
        unsafe { self.0.lock().realloc(place, layout.size(), layout.align(), size) }
    }
}
