//! The system's libargon2, opened at run time.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
};

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
    allocate: *const c_void,
    free: *const c_void,
    flags: u32,
}

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

    pub(crate) fn derive(
        &self,
        memory_kib: u32,
        lanes: u32,
        threads: usize,
    ) -> Option<[u8; KEY_BYTES]> {
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
            allocate: std::ptr::null(),
            free: std::ptr::null(),
            flags: 0,
        };
        // SAFETY: every pointer is null with a length of 0, or to as many bytes as are said, which live.
        let failed = unsafe { (self.derive)(&mut context, ID) };
        (failed == 0).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use argon2::{Algorithm, Argon2, Params, Version};

    use super::*;

    #[test]
    fn libargon2_derives_the_same_key() {
        let Some(libargon2) = Libargon2::open() else {
            return;
        };
        let params = Params::new(1024, PASSES, 2, Some(KEY_BYTES)).unwrap();
        let mut expected = [0; KEY_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&PASSWORD, &SALT, &mut expected)
            .unwrap();
        assert_eq!(libargon2.derive(1024, 2, 1), Some(expected));
    }
}
