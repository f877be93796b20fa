//! How the static programs copy memory. musl's `memcpy` for this processor begins a string instruction for every copy, be
//! it of one byte: half the time that a daemon took to write its list as JSON. What is here takes the place of both of
//! musl's functions, as the linker finds it first; no crate has them for programs that are linked as usual.

use std::arch::asm;
use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// Copies `count` bytes between places that may overlap.
///
/// # Safety
/// `from` can be read and `to` be written for `count` bytes.
#[expect(unsafe_code, reason = "it is what copying is made of")]
#[inline]
unsafe fn copy(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: nothing outside of the `count` bytes is touched. Up to 128 of them are all read before one is written; of
    // more, those that the string instruction leaves or would have overwritten are.
    unsafe {
        match count {
            0 => {}
            1 => to.write(from.read()),
            2..=3 => ends::<u16>(to, from, count),
            4..=7 => ends::<u32>(to, from, count),
            8..=16 => ends::<u64>(to, from, count),
            17..=32 => blocks::<1>(to, from, count),
            33..=64 => blocks::<2>(to, from, count),
            65..=128 => blocks::<4>(to, from, count),
            _ if to.addr().wrapping_sub(from.addr()) >= count => forwards(to, from, count),
            _ => backwards(to, from, count),
        }
    }
}

/// The first and the last of a type, which meet or overlap.
///
/// # Safety
/// As of [`copy`], of one to two of the type.
#[expect(unsafe_code, reason = "as of `copy`")]
#[inline]
unsafe fn ends<T>(to: *mut u8, from: *const u8, count: usize) {
    let last = count - size_of::<T>();
    // SAFETY: as of the caller: both are inside, and may overlap.
    unsafe {
        let (head, tail) = (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(head);
        to.add(last).cast::<T>().write_unaligned(tail);
    }
}

/// As [`ends`], of `N` blocks each.
///
/// # Safety
/// As of [`copy`], of N to 2 N blocks.
#[expect(unsafe_code, reason = "as of `copy`")]
#[inline]
unsafe fn blocks<const N: usize>(to: *mut u8, from: *const u8, count: usize) {
    const BLOCK: usize = size_of::<__m128i>();
    let last = count - N * BLOCK;
    // SAFETY: as of the caller: both halves are inside, and may overlap.
    unsafe {
        let head: [__m128i; N] = std::array::from_fn(|at| _mm_loadu_si128(from.add(at * BLOCK).cast()));
        let tail: [__m128i; N] = std::array::from_fn(|at| _mm_loadu_si128(from.add(last + at * BLOCK).cast()));
        for (at, block) in head.into_iter().enumerate() {
            _mm_storeu_si128(to.add(at * BLOCK).cast(), block);
        }
        for (at, block) in tail.into_iter().enumerate() {
            _mm_storeu_si128(to.add(last + at * BLOCK).cast(), block);
        }
    }
}

/// Of places of which the second does not begin inside the first: more than 128 bytes.
///
/// # Safety
/// As of [`copy`].
#[expect(unsafe_code, reason = "as of `copy`")]
#[inline]
unsafe fn forwards(to: *mut u8, from: *const u8, count: usize) {
    // Written in whole blocks.
    let skipped = 16 - to.addr() % 16;
    // SAFETY: as of the caller; what comes before the words is less than a block, and after them less than a word.
    unsafe {
        let head = _mm_loadu_si128(from.cast());
        let tail = from.add(count - 8).cast::<u64>().read_unaligned();
        asm!(
            "rep movsq",
            inout("rcx") (count - skipped) / 8 => _,
            inout("rdi") to.add(skipped) => _,
            inout("rsi") from.add(skipped) => _,
            options(nostack, preserves_flags)
        );
        _mm_storeu_si128(to.cast(), head);
        to.add(count - 8).cast::<u64>().write_unaligned(tail);
    }
}

/// Of places of which the second begins inside the first: from its end on.
///
/// # Safety
/// As of [`copy`].
#[expect(unsafe_code, reason = "as of `copy`")]
#[inline]
unsafe fn backwards(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: as of the caller; what is left before the words is less than a word.
    unsafe {
        let head = from.cast::<u64>().read_unaligned();
        asm!(
            "std",
            "rep movsq",
            "cld",
            inout("rcx") count / 8 => _,
            inout("rdi") to.add(count - 8) => _,
            inout("rsi") from.add(count - 8) => _,
            options(nostack)
        );
        to.cast::<u64>().write_unaligned(head);
    }
}

// What is not optimised might itself call what it is to replace.
#[cfg(all(target_env = "musl", not(debug_assertions)))]
#[expect(unsafe_code, reason = "names that the whole program is linked by")]
mod exported {
    // SAFETY: it does what C says, and more: the places may overlap.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: as of the caller.
        unsafe { super::copy(to, from, count) };
        to
    }

    // SAFETY: it does what C says.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
        // SAFETY: as of the caller.
        unsafe { super::copy(to, from, count) };
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_arrives_whole_wherever_it_overlaps() {
        let before: Vec<u8> = (0..1024_u32).map(|at| (at * 31 % 251) as u8).collect();
        for count in 0..=300 {
            for to in (0..40).chain([150, 299, 300, 301, 400]) {
                for from in [0, 1, 7, 8, 15, 16, 17, 33, 150, 300, 401] {
                    let (mut ours, mut theirs) = (before.clone(), before.clone());
                    theirs.copy_within(from..from + count, to);
                    // SAFETY: both places are inside.
                    #[expect(unsafe_code, reason = "what is tested")]
                    unsafe {
                        let place = ours.as_mut_ptr();
                        copy(place.add(to), place.add(from), count);
                    }
                    assert!(ours == theirs, "{count} bytes from {from} to {to}");
                }
            }
        }
    }
}
