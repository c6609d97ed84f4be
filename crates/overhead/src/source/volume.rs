//! The plaintext of a volume, through the library.

use std::fs::File;

use lucarne::{
    EncryptOptions, FormatOptions, KdfKind, KdfRequest, Kernel, Parallelism, Secret,
    Source as From, Volume,
};
use lucarne_storage::{FileStorage, Storage};
use rustix::fs::OFlags;

use super::{Format, Source, Way, plain};
use crate::{Control, Error, space::reopened};

/// Nobody's: it guards numbers without meaning, for as long as a run takes.
const PASSPHRASE: &[u8] = b"measured, and not a secret";

/// Makes a volume in `output` of a checkpoint file. Its key derivation costs next to nothing: what unlocking costs is
/// measured by itself.
pub(crate) fn encrypt(
    plain: &File,
    output: &File,
    format: Format,
    control: &Control,
) -> Result<(), Error> {
    let again = |file: &File, write| {
        reopened(file, OFlags::empty(), write)
            .and_then(FileStorage::from_file)
            .map_err(Error::io("cannot open the file again"))
    };
    let source = again(plain, false)?;
    let output = again(output, true)?.with_direct_writes();
    let kdf = KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    };
    let options = EncryptOptions {
        format: FormatOptions {
            key_len: format.key_len_bytes(),
            sector_size: Some(format.sector),
            kdf,
            ..FormatOptions::default()
        },
        parallelism: Parallelism::default(),
        ..EncryptOptions::default()
    };
    let inner = lucarne::Control::default();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            lucarne::encrypt(
                From::Storage(&source),
                &output,
                None,
                PASSPHRASE,
                &options,
                &inner,
            )
        });
        while !work.is_finished() {
            if control.is_interrupted() {
                inner.interrupt();
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        work.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(Error::volume("cannot make the encrypted volume"))
    })?;
    Ok(())
}

/// Opens a volume on some storage with a kernel.
pub(crate) fn opened<S: Storage>(storage: S, kernel: Kernel) -> Result<Volume<S>, Error> {
    let before = Kernel::preferred();
    let refused = |error: lucarne::CipherError| Error::Refused(error.to_string());
    kernel.prefer().map_err(refused)?;
    let volume = Volume::open(storage, Secret::Passphrase(PASSPHRASE));
    before.prefer().map_err(refused)?;
    volume.map_err(Error::volume("cannot open the encrypted volume"))
}

pub(super) fn open(
    file: &File,
    format: Format,
    kernel: Kernel,
    way: Way,
    write: bool,
) -> Result<Box<dyn Source + Send>, Error> {
    let volume = opened(plain::storage(file, way, write)?, kernel)?;
    debug_assert_eq!(volume.sector_len(), format.sector.bytes() as usize);
    Ok(Box::new(volume))
}

impl<S: Storage> Source for Volume<S> {
    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        // As those do who load weights.
        self.load_at(buf, offset)
            .map_err(Error::volume("cannot read the encrypted volume"))
    }

    fn write(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        self.write_at(data, offset)
            .map_err(Error::volume("cannot write the encrypted volume"))
    }

    fn flush(&self) -> Result<(), Error> {
        Volume::flush(self).map_err(Error::volume("cannot flush the encrypted volume"))
    }
}
