//! libgcrypt, opened at run time.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    ptr::{null, null_mut},
    sync::Arc,
};

use anyhow::ensure;
use libloading::Library;

use crate::xts::{Contender, Xts};

/// `GCRY_CIPHER_AES128`, `GCRY_CIPHER_AES256`, `GCRY_CIPHER_MODE_XTS` and
/// `GCRYCTL_INITIALIZATION_FINISHED` of gcrypt.h.
const AES128: c_int = 7;
const AES256: c_int = 9;
const MODE_XTS: c_int = 13;
const INITIALIZATION_FINISHED: c_int = 38;

type Turn = unsafe extern "C" fn(*mut c_void, *mut u8, usize, *const u8, usize) -> c_uint;

struct Gcrypt {
    open: unsafe extern "C" fn(*mut *mut c_void, c_int, c_int, c_uint) -> c_uint,
    close: unsafe extern "C" fn(*mut c_void),
    set_key: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> c_uint,
    set_iv: unsafe extern "C" fn(*mut c_void, *const u8, usize) -> c_uint,
    encrypt: Turn,
    decrypt: Turn,
    /// Keeps the functions in place.
    _library: Library,
}

/// The system's libgcrypt, if there is one.
pub(crate) fn contender() -> Option<Contender> {
    type Version = unsafe extern "C" fn(*const c_char) -> *const c_char;
    type Control = unsafe extern "C" fn(c_int, ...) -> c_uint;
    // SAFETY: the library's functions by their names and with the signatures of gcrypt.h; they are used
    // while it is open, and initialised first, as its manual asks.
    let (library, version) = unsafe {
        let library = Library::new("libgcrypt.so.20").ok()?;
        let version = library.get::<Version>("gcry_check_version").ok()?(null());
        if version.is_null() {
            return None;
        }
        let version = CStr::from_ptr(version).to_string_lossy().into_owned();
        library.get::<Control>("gcry_control").ok()?(INITIALIZATION_FINISHED, 0 as c_int);
        let functions = Gcrypt {
            open: *library.get("gcry_cipher_open").ok()?,
            close: *library.get("gcry_cipher_close").ok()?,
            set_key: *library.get("gcry_cipher_setkey").ok()?,
            set_iv: *library.get("gcry_cipher_setiv").ok()?,
            encrypt: *library.get("gcry_cipher_encrypt").ok()?,
            decrypt: *library.get("gcry_cipher_decrypt").ok()?,
            _library: library,
        };
        (Arc::new(functions), version)
    };
    Some(Contender::new(format!("libgcrypt {version}"), move |key| {
        Ok(Box::new(Handle::new(&library, key)?))
    }))
}

struct Handle {
    gcrypt: Arc<Gcrypt>,
    handle: *mut c_void,
}

// SAFETY: a handle belongs to no thread; it is used by one at a time.
unsafe impl Send for Handle {}

impl Handle {
    fn new(gcrypt: &Arc<Gcrypt>, key: &[u8]) -> anyhow::Result<Self> {
        let algorithm = match key.len() {
            32 => AES128,
            _ => AES256,
        };
        let mut handle = null_mut();
        // SAFETY: the handle is written before it is read.
        let failed = unsafe { (gcrypt.open)(&mut handle, algorithm, MODE_XTS, 0) };
        ensure!(failed == 0, "error {failed}");
        let new = Self {
            gcrypt: Arc::clone(gcrypt),
            handle,
        };
        // SAFETY: the handle is open, the key as long as is said.
        let failed = unsafe { (gcrypt.set_key)(handle, key.as_ptr(), key.len()) };
        ensure!(failed == 0, "error {failed}");
        Ok(new)
    }

    fn run(&mut self, turn: Turn, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        for (number, unit) in (first_unit..).zip(data.chunks_exact_mut(unit_bytes)) {
            let iv = u128::from(number).to_le_bytes();
            // SAFETY: the handle is open and has a key; IV and unit are as long as is said. No source
            // means in place.
            let failed = unsafe {
                (self.gcrypt.set_iv)(self.handle, iv.as_ptr(), iv.len())
                    | turn(self.handle, unit.as_mut_ptr(), unit.len(), null(), 0)
            };
            assert_eq!(failed, 0);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: it is open and not used again.
        unsafe { (self.gcrypt.close)(self.handle) }
    }
}

impl Xts for Handle {
    fn encrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.run(self.gcrypt.encrypt, unit_bytes, first_unit, data);
    }

    fn decrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.run(self.gcrypt.decrypt, unit_bytes, first_unit, data);
    }
}
