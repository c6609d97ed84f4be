//! What is compared: XTS over runs of data units.

use anyhow::{Context, ensure};
use lucarne_cipher::{Kernel, XtsAes};

use crate::{evp, gcrypt, rust};

/// One implementation under a key. Stateful, as C's contexts are: each thread has its own.
pub(crate) trait Xts: Send {
    /// Encrypts data units of `unit_bytes`, numbered one by one from `first_unit`.
    fn encrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]);
    fn decrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]);
}

type Make = Box<dyn Fn(&[u8]) -> anyhow::Result<Box<dyn Xts>>>;

/// An implementation.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) is_ours: bool,
    /// Whether it takes an XTS key of 32 bytes too, besides 64.
    pub(crate) takes_32: bool,
    make: Make,
}

impl Contender {
    pub(crate) fn new(
        name: impl Into<String>,
        make: impl Fn(&[u8]) -> anyhow::Result<Box<dyn Xts>> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            is_ours: false,
            takes_32: true,
            make: Box::new(make),
        }
    }

    /// Whether it takes an XTS key of so many bytes.
    pub(crate) fn takes(&self, key_bytes: usize) -> bool {
        key_bytes == 64 || self.takes_32
    }

    /// Under an XTS key of 32 or 64 bytes.
    pub(crate) fn keyed(&self, key: &[u8]) -> anyhow::Result<Box<dyn Xts>> {
        (self.make)(key).with_context(|| self.name.clone())
    }
}

/// All that this machine has. Each is shown to do the same as the others first: a comparison of different
/// things would be worth nothing.
pub(crate) fn contenders() -> anyhow::Result<Vec<Contender>> {
    let mut all = Vec::new();
    let preferred = Kernel::preferred();
    let mut kernels: Vec<_> = Kernel::available().collect();
    kernels.sort_by_key(|kernel| *kernel != preferred);
    for kernel in kernels {
        let mut ours = Contender::new(format!("lucarne {kernel}"), move |key| {
            Ok(Box::new(Ours(XtsAes::new(key, kernel)?)))
        });
        ours.is_ours = true;
        all.push(ours);
    }
    all.push(rust::contender());
    all.extend(evp::contenders());
    all.extend(gcrypt::contender());
    for contender in &all {
        check(contender)?;
    }
    Ok(all)
}

struct Ours(XtsAes);

impl Xts for Ours {
    fn encrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.0
            .encrypt(unit_bytes, first_unit, data)
            .expect("whole data units");
    }

    fn decrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.0
            .decrypt(unit_bytes, first_unit, data)
            .expect("whole data units");
    }
}

/// A key whose halves differ.
pub(crate) fn key(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| at as u8).collect()
}

fn check(contender: &Contender) -> anyhow::Result<()> {
    for key_bytes in [32, 64].into_iter().filter(|&bytes| contender.takes(bytes)) {
        for unit_bytes in [512, 4096] {
            let key = key(key_bytes);
            let plain: Vec<u8> = (0..16384_u32).map(|at| (at * 7) as u8).collect();
            let mut expected = plain.clone();
            XtsAes::new(&key, Kernel::Portable)?.encrypt(unit_bytes, 0xffff_fffe, &mut expected)?;
            let mut xts = contender.keyed(&key)?;
            let mut data = plain.clone();
            xts.encrypt(unit_bytes, 0xffff_fffe, &mut data);
            ensure!(data == expected, "{} encrypts otherwise", contender.name);
            xts.decrypt(unit_bytes, 0xffff_fffe, &mut data);
            ensure!(data == plain, "{} decrypts otherwise", contender.name);
        }
    }
    Ok(())
}
