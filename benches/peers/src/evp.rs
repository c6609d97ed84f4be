//! OpenSSL's EVP interface, which AWS-LC has too: the system's library, opened at run time, and those
//! that were built from source.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem::transmute,
    ptr::null,
    sync::Arc,
};

use anyhow::{Context as _, anyhow, ensure};
use libloading::Library;

use crate::xts::{Contender, Xts};

type CipherInit = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    *mut c_void,
    *const u8,
    *const u8,
    c_int,
) -> c_int;
type CipherUpdate =
    unsafe extern "C" fn(*mut c_void, *mut u8, *mut c_int, *const u8, c_int) -> c_int;

/// The functions that are used, of one library.
struct Evp {
    context_new: unsafe extern "C" fn() -> *mut c_void,
    context_free: unsafe extern "C" fn(*mut c_void),
    cipher_init: CipherInit,
    cipher_update: CipherUpdate,
    /// AWS-LC has none.
    aes_128_xts: Option<unsafe extern "C" fn() -> *const c_void>,
    aes_256_xts: unsafe extern "C" fn() -> *const c_void,
    version: String,
    /// Keeps the functions in place.
    _library: Option<Library>,
}

/// Every library of this kind that is there.
pub(crate) fn contenders() -> Vec<Contender> {
    let mut all = Vec::new();
    for library in [system(), newest(), aws_lc()].into_iter().flatten() {
        let library = Arc::new(library);
        let has_aes_128 = library.aes_128_xts.is_some();
        let mut contender = Contender::new(library.version.clone(), move |key| {
            Ok(Box::new(Keyed {
                encrypting: Context::new(&library, key, true)?,
                decrypting: Context::new(&library, key, false)?,
            }))
        });
        contender.takes_32 = has_aes_128;
        all.push(contender);
    }
    all
}

impl Evp {
    /// # Safety
    /// `address` gives the functions of these names with OpenSSL's signatures, for as long as `library`
    /// lives.
    unsafe fn new(
        address: impl Fn(&'static str) -> Option<*const ()>,
        library: Option<Library>,
    ) -> Option<Self> {
        type Version = unsafe extern "C" fn(c_int) -> *const c_char;
        // SAFETY: the caller vouches for names and signatures.
        unsafe {
            let version = transmute::<*const (), Version>(address("OpenSSL_version")?);
            let version = CStr::from_ptr(version(0)).to_string_lossy();
            // "OpenSSL 3.0.17 1 Jul 2025": without the date.
            let words: Vec<_> = version.split_whitespace().take(2).collect();
            Some(Self {
                context_new: transmute::<*const (), unsafe extern "C" fn() -> *mut c_void>(
                    address("EVP_CIPHER_CTX_new")?,
                ),
                context_free: transmute::<*const (), unsafe extern "C" fn(*mut c_void)>(address(
                    "EVP_CIPHER_CTX_free",
                )?),
                cipher_init: transmute::<*const (), CipherInit>(address("EVP_CipherInit_ex")?),
                cipher_update: transmute::<*const (), CipherUpdate>(address("EVP_CipherUpdate")?),
                aes_128_xts: address("EVP_aes_128_xts").map(|address| {
                    transmute::<*const (), unsafe extern "C" fn() -> *const c_void>(address)
                }),
                aes_256_xts: transmute::<*const (), unsafe extern "C" fn() -> *const c_void>(
                    address("EVP_aes_256_xts")?,
                ),
                version: words.join(" "),
                _library: library,
            })
        }
    }
}

fn system() -> Option<Evp> {
    // SAFETY: OpenSSL's initialisers may run in any process. Its names stay its own: libloading opens
    // a library without letting others see them.
    let library = unsafe { Library::new("libcrypto.so.3") }.ok()?;
    let address = |name: &'static str| {
        // SAFETY: only the address is taken; it is used while the library lives.
        let symbol = unsafe { library.get::<unsafe extern "C" fn()>(name) }.ok()?;
        Some(*symbol as *const ())
    };
    let names = [
        "OpenSSL_version",
        "EVP_CIPHER_CTX_new",
        "EVP_CIPHER_CTX_free",
        "EVP_CipherInit_ex",
        "EVP_CipherUpdate",
        "EVP_aes_128_xts",
        "EVP_aes_256_xts",
    ];
    let addresses: Vec<_> = names.map(|name| (name, address(name))).into();
    let found = move |wanted| addresses.iter().find(|(name, _)| *name == wanted)?.1;
    // SAFETY: libcrypto.so.3 is OpenSSL 3, whose functions these are.
    let mut evp = unsafe { Evp::new(found, Some(library)) }?;
    evp.version.push_str(" (system)");
    Some(evp)
}

#[cfg(feature = "openssl-newest")]
fn newest() -> Option<Evp> {
    unsafe extern "C" {
        fn OpenSSL_version(what: c_int) -> *const c_char;
        fn EVP_CIPHER_CTX_new() -> *mut c_void;
        fn EVP_CIPHER_CTX_free(context: *mut c_void);
        fn EVP_CipherInit_ex(
            context: *mut c_void,
            cipher: *const c_void,
            engine: *mut c_void,
            key: *const u8,
            iv: *const u8,
            encrypting: c_int,
        ) -> c_int;
        fn EVP_CipherUpdate(
            context: *mut c_void,
            out: *mut u8,
            out_bytes: *mut c_int,
            data: *const u8,
            bytes: c_int,
        ) -> c_int;
        fn EVP_aes_128_xts() -> *const c_void;
        fn EVP_aes_256_xts() -> *const c_void;
    }
    let address = |name| {
        Some(match name {
            "OpenSSL_version" => OpenSSL_version as *const (),
            "EVP_CIPHER_CTX_new" => EVP_CIPHER_CTX_new as *const (),
            "EVP_CIPHER_CTX_free" => EVP_CIPHER_CTX_free as *const (),
            "EVP_CipherInit_ex" => EVP_CipherInit_ex as *const (),
            "EVP_CipherUpdate" => EVP_CipherUpdate as *const (),
            "EVP_aes_128_xts" => EVP_aes_128_xts as *const (),
            "EVP_aes_256_xts" => EVP_aes_256_xts as *const (),
            _ => return None,
        })
    };
    // SAFETY: the build script linked OpenSSL, whose functions these are.
    unsafe { Evp::new(address, None) }
}

#[cfg(not(feature = "openssl-newest"))]
fn newest() -> Option<Evp> {
    None
}

#[cfg(feature = "aws-lc")]
fn aws_lc() -> Option<Evp> {
    let address = |name| {
        Some(match name {
            "OpenSSL_version" => aws_lc_sys::OpenSSL_version as *const (),
            "EVP_CIPHER_CTX_new" => aws_lc_sys::EVP_CIPHER_CTX_new as *const (),
            "EVP_CIPHER_CTX_free" => aws_lc_sys::EVP_CIPHER_CTX_free as *const (),
            "EVP_CipherInit_ex" => aws_lc_sys::EVP_CipherInit_ex as *const (),
            "EVP_CipherUpdate" => aws_lc_sys::EVP_CipherUpdate as *const (),
            "EVP_aes_256_xts" => aws_lc_sys::EVP_aes_256_xts as *const (),
            _ => return None,
        })
    };
    // SAFETY: AWS-LC keeps OpenSSL's signatures for these.
    unsafe { Evp::new(address, None) }
}

#[cfg(not(feature = "aws-lc"))]
fn aws_lc() -> Option<Evp> {
    None
}

/// A context with a key, in one direction.
struct Context {
    evp: Arc<Evp>,
    context: *mut c_void,
}

// SAFETY: a context belongs to no thread; it is used by one at a time.
unsafe impl Send for Context {}

impl Context {
    fn new(evp: &Arc<Evp>, key: &[u8], is_encrypting: bool) -> anyhow::Result<Self> {
        let cipher = match key.len() {
            32 => evp.aes_128_xts.context("no AES-128-XTS")?,
            _ => evp.aes_256_xts,
        };
        // SAFETY: no arguments.
        let (cipher, context) = unsafe { (cipher(), (evp.context_new)()) };
        ensure!(!context.is_null(), "no memory for a context");
        let new = Self {
            evp: Arc::clone(evp),
            context,
        };
        // SAFETY: the context is new, the key as long as the cipher reads (32 or 64 bytes); no IV is set.
        let done = unsafe {
            (evp.cipher_init)(
                context,
                cipher,
                std::ptr::null_mut(),
                key.as_ptr(),
                null(),
                is_encrypting.into(),
            )
        };
        (done == 1)
            .then_some(new)
            .ok_or_else(|| anyhow!("the library refuses the key"))
    }

    fn run(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        for (number, unit) in (first_unit..).zip(data.chunks_exact_mut(unit_bytes)) {
            let iv = u128::from(number).to_le_bytes();
            let mut written = 0;
            // SAFETY: the context lives and has a key; the IV has the 16 bytes that are read; the unit
            // is read and written over its own length.
            let done = unsafe {
                let set = (self.evp.cipher_init)(
                    self.context,
                    null(),
                    std::ptr::null_mut(),
                    null(),
                    iv.as_ptr(),
                    -1,
                );
                set & (self.evp.cipher_update)(
                    self.context,
                    unit.as_mut_ptr(),
                    &mut written,
                    unit.as_ptr(),
                    unit.len() as c_int,
                )
            };
            assert!(done == 1 && written as usize == unit.len());
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was made by the same library and is not used again.
        unsafe { (self.evp.context_free)(self.context) }
    }
}

struct Keyed {
    encrypting: Context,
    decrypting: Context,
}

impl Xts for Keyed {
    fn encrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.encrypting.run(unit_bytes, first_unit, data);
    }

    fn decrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.decrypting.run(unit_bytes, first_unit, data);
    }
}
