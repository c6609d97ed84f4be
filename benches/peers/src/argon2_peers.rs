//! Argon2id, with fresh memory each time, as a keyslot's opening pays it.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
};

use anyhow::Context as _;
use argon2::{Algorithm, Argon2, Params, Version};
use libloading::Library;
use lucarne_format::luks2::Argon2Variant;
use lucarne_keyslot::{KdfParams, time_derivation};

use crate::measure::{Case, Entry, Role, Row, compare};

const PASSES: u32 = 4;
const KEY_BYTES: usize = 64;
const PASSWORD: [u8; 9] = *b"benchmark";
const SALT: [u8; 32] = [0; 32];

/// MiB, lanes, threads.
const COSTS: [(u32, u32, usize); 2] = [(256, 2, 1), (1024, 4, 2)];

pub(crate) fn run() -> anyhow::Result<Vec<Row>> {
    let libargon2 = Libargon2::open();
    let mut rows = Vec::new();
    for (mib, lanes, threads) in COSTS {
        let case = Case {
            section: "argon2",
            what: format!("argon2id, {mib} MiB, {PASSES} passes, {lanes} lanes"),
            key_bits: 8 * KEY_BYTES,
            unit_bytes: 0,
            threads,
        };
        let bytes = (mib as usize) << 20;
        let work_bytes = PASSES as usize * bytes;
        let memory_kib = mib << 10;
        // Whoever runs on rayon takes the pool that it is called on.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let pool = &pool;
        let ours = KdfParams::Argon2 {
            variant: Argon2Variant::Id,
            time: PASSES,
            memory_kib,
            lanes,
        };
        pool.install(|| time_derivation(&ours, KEY_BYTES))?;
        let params = Params::new(memory_kib, PASSES, lanes, Some(KEY_BYTES)).context("argon2")?;
        let theirs = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut entries = vec![
            Entry {
                variant: "lucarne-keyslot".into(),
                role: Role::Ours,
                work: Box::new(move |_| {
                    let taken = pool.install(|| time_derivation(&ours, KEY_BYTES));
                    taken.map_or(0, |_| work_bytes)
                }),
            },
            Entry {
                variant: "argon2 (RustCrypto)".into(),
                role: Role::Other,
                work: Box::new(move |_| {
                    let mut key = [0; KEY_BYTES];
                    let done =
                        pool.install(|| theirs.hash_password_into(&PASSWORD, &SALT, &mut key));
                    done.map_or(0, |()| work_bytes)
                }),
            },
        ];
        if let Some(libargon2) = &libargon2 {
            entries.push(Entry {
                variant: "libargon2 (system)".into(),
                role: Role::Other,
                work: Box::new(move |_| {
                    libargon2
                        .derive(memory_kib, lanes, threads)
                        .map_or(0, |_| work_bytes)
                }),
            });
        }
        rows.extend(compare(&case, entries, 3));
    }
    Ok(rows)
}

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

struct Libargon2 {
    derive: unsafe extern "C" fn(*mut Context, c_int) -> c_int,
    /// Keeps the function in place.
    _library: Library,
}

impl Libargon2 {
    /// The system's libargon2, if there is one.
    fn open() -> Option<Self> {
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

    fn derive(&self, memory_kib: u32, lanes: u32, threads: usize) -> Option<[u8; KEY_BYTES]> {
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
