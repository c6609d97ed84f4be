//! The system's libargon2, opened at run time.
#![allow(unsafe_code)]

use std::{cell::Cell, ffi::c_int, ptr::null_mut};

use argon2::Block;
use libloading::Library;

use crate::argon2_peers::{KEY_BYTES, PASSES, PASSWORD, SALT};

/// `argon2_context` of argon2.h.
#[repr(C)]
struct Context {
    out: *mut u8,
    out_len: u32,
    password: *mut u8,
    password_len: u32,
    salt: *mut u8,
    salt_len: u32,
    secret: *mut u8,
    secret_len: u32,
    data: *mut u8,
    data_len: u32,
    passes: u32,
    memory_kib: u32,
    lanes: u32,
    threads: u32,
    version: u32,
    allocate: Option<Allocate>,
    free: Option<Free>,
    flags: u32,
}

/// `allocate_fptr` of argon2.h.
type Allocate = unsafe extern "C" fn(*mut *mut u8, usize) -> c_int;
/// `deallocate_fptr` of argon2.h.
type Free = extern "C" fn(*mut u8, usize);

thread_local! {
    /// What the next allocation on this thread gets, and its length: `allocate_fptr` is told nothing that it could
    /// find it by.
    static KEPT: Cell<(*mut u8, usize)> = const { Cell::new((null_mut(), 0)) };
}

/// # Safety
/// An address may be written to `memory`.
unsafe extern "C" fn hand_out(memory: *mut *mut u8, bytes: usize) -> c_int {
    let (kept, len) = KEPT.replace((null_mut(), 0));
    let handed = if bytes <= len { kept } else { null_mut() };
    // SAFETY: the caller's promise.
    unsafe { *memory = handed };
    c_int::from(handed.is_null())
}

extern "C" fn take_back(_: *mut u8, _: usize) {}

/// `Argon2_id` of argon2.h.
const ID: c_int = 2;

pub(crate) struct Libargon2 {
    derive: unsafe extern "C" fn(*mut Context, c_int) -> c_int,
    /// Keeps the function in place.
    _library: Library,
}

impl Libargon2 {
    /// The system's libargon2, if there is one.
    pub(crate) fn open() -> Option<Self> {
        // SAFETY: the library has no initialisers; the function has this signature in argon2.h and is
        // used while the library is open.
        unsafe {
            let library = Library::new("libargon2.so.1").ok()?;
            let derive = *library.get("argon2_ctx").ok()?;
            Some(Self {
                derive,
                _library: library,
            })
        }
    }

    /// In `kept`, or in memory of its own.
    pub(crate) fn derive(
        &self,
        memory_kib: u32,
        lanes: u32,
        threads: usize,
        kept: Option<&mut [Block]>,
    ) -> Option<[u8; KEY_BYTES]> {
        let is_kept = kept.is_some();
        if let Some(kept) = kept {
            KEPT.set((kept.as_mut_ptr().cast(), size_of_val(kept)));
        }
        let mut key = [0; KEY_BYTES];
        let (mut password, mut salt) = (PASSWORD, SALT);
        let mut context = Context {
            out: key.as_mut_ptr(),
            out_len: KEY_BYTES as u32,
            password: password.as_mut_ptr(),
            password_len: password.len() as u32,
            salt: salt.as_mut_ptr(),
            salt_len: salt.len() as u32,
            secret: null_mut(),
            secret_len: 0,
            data: null_mut(),
            data_len: 0,
            passes: PASSES,
            memory_kib,
            lanes,
            threads: threads as u32,
            version: 0x13,
            allocate: is_kept.then_some(hand_out),
            free: is_kept.then_some(take_back),
            flags: 0,
        };
        // SAFETY: every pointer is null with a length of 0, or to as many bytes as are said, which live. What
        // `hand_out` gives is borrowed exclusively until the end, and may hold anything: a block is integers.
        let failed = unsafe { (self.derive)(&mut context, ID) };
        // Refused parameters allocate nothing, and `kept` is not ours for longer.
        KEPT.set((null_mut(), 0));
        (failed == 0).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, Version};

    use super::*;

    #[test]
    fn libargon2_derives_the_same_key_in_any_memory() {
        let Some(libargon2) = Libargon2::open() else {
            return;
        };
        let params = Params::new(1024, PASSES, 2, Some(KEY_BYTES)).unwrap();
        let mut expected = [0; KEY_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&PASSWORD, &SALT, &mut expected)
            .unwrap();
        assert_eq!(libargon2.derive(1024, 2, 1, None), Some(expected));
        let mut kept = vec![Block::new(); 1024];
        for _ in 0..2 {
            kept.iter_mut().for_each(|block| block.as_mut().fill(7));
            let derived = libargon2.derive(1024, 2, 1, Some(&mut kept));
            assert_eq!(derived, Some(expected));
            assert!(kept.iter().all(|block| block.as_ref() != [7; 128]));
        }
        // It does not go beyond what it was given.
        assert_eq!(libargon2.derive(1024, 2, 1, Some(&mut kept[1..])), None);
    }
}
