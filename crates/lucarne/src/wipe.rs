//! Overwriting what lies on a device before a volume is made there, or after one is gone.

use std::ops::Range;

use lucarne_cipher::SectorCipher;
use lucarne_storage::Storage;

use crate::bulk::extents::Extents;
use crate::bulk::pipeline::{self, Piece, Sink};
use crate::error::{flushing, measuring, reading};
use crate::header_io::{is_magic, noise_cipher};
use crate::layout::METADATA_SIZES;
use crate::watermark::Watermark;
use crate::{Control, Error, Parallelism, read_any_header};

/// What a range is overwritten with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WipeContent {
    /// Bytes that nobody can tell from ciphertext: AES-XTS under a random key that is forgotten.
    #[default]
    Random,
    /// Zeros.
    Zeros,
}

/// A range that is overwritten, once and in whole.
///
/// Flash storage and file systems that copy on write may keep what was there before, out of reach of any
/// program; so may copies and snapshots.
///
/// ```
/// use lucarne::{Control, MemoryStorage, Parallelism, Storage, Wipe, WipeContent};
/// let disk = MemoryStorage::from(vec![1; 10_000]);
/// let wipe = Wipe::new(&disk, 1000..9000, WipeContent::Zeros)?;
/// wipe.run(Parallelism::default(), &Control::default())?;
/// assert_eq!(wipe.complete_to(), 9000);
/// let mut there = [1; 3];
/// disk.read_at(&mut there, 999).unwrap();
/// assert_eq!(there, [1, 0, 0]);
/// # Ok::<(), lucarne::Error>(())
/// ```
pub struct Wipe<'a> {
    storage: &'a dyn Storage,
    range: Range<u64>,
    /// `None`: zeros.
    noise: Option<SectorCipher>,
    watermark: Watermark,
}

impl std::fmt::Debug for Wipe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wipe")
            .field("range", &self.range)
            .field("complete_to", &self.complete_to())
            .finish_non_exhaustive()
    }
}

/// One key's data unit; the last one may be cut.
const BLOCK_LEN_BYTES: usize = 4096;

impl<'a> Wipe<'a> {
    /// Looks at the range; nothing is written.
    ///
    /// # Errors
    /// [`Error::Refused`] when the range is empty, reaches past the end, or holds a part of a LUKS header
    /// ([`Self::over_luks_header`] takes it all the same); [`Error::Io`].
    pub fn new(
        storage: &'a dyn Storage,
        range: Range<u64>,
        content: WipeContent,
    ) -> Result<Self, Error> {
        if let Some(at) = Self::luks_header_in(storage, &range)? {
            return Err(Error::refused(format!(
                "the range {} to {} holds a LUKS header or a part of it, at byte {at}: without it the volume is lost",
                range.start, range.end
            )));
        }
        Self::over_luks_header(storage, range, content)
    }

    /// Where in the range there is a part of a LUKS header: the storage's own, or one that begins where the
    /// range does.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn luks_header_in(storage: &dyn Storage, range: &Range<u64>) -> Result<Option<u64>, Error> {
        match read_any_header(storage) {
            Ok(header) => {
                if range.start < header.as_ref().end() {
                    return Ok(Some(range.start));
                }
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            // Damaged ones show by their magic.
            Err(_) => {}
        }
        let len = storage.len().map_err(measuring)?;
        let copies = || std::iter::once(0).chain(METADATA_SIZES);
        let places = copies().chain(copies().map(|copy| range.start.saturating_add(copy)));
        for at in places {
            let mut magic = [0; 6];
            if range.contains(&at) && at.saturating_add(6) <= len {
                storage.read_at(&mut magic, at).map_err(reading(at))?;
                if is_magic(&magic) {
                    return Ok(Some(at));
                }
            }
        }
        Ok(None)
    }

    /// As [`Self::new`], whatever the range holds.
    ///
    /// # Errors
    /// [`Error::Refused`] when the range is empty or reaches past the end; [`Error::Io`].
    pub fn over_luks_header(
        storage: &'a dyn Storage,
        range: Range<u64>,
        content: WipeContent,
    ) -> Result<Self, Error> {
        let len = storage.len().map_err(measuring)?;
        if range.is_empty() {
            return Err(Error::refused(format!(
                "the range from byte {} to {} is empty",
                range.start, range.end
            )));
        }
        if range.end > len {
            return Err(Error::refused(format!(
                "the range from byte {} to {} reaches past the end at {len} bytes",
                range.start, range.end
            )));
        }
        let noise = match content {
            WipeContent::Zeros => None,
            WipeContent::Random => Some(noise_cipher()?),
        };
        let watermark = Watermark::starting_at(range.start);
        Ok(Self {
            storage,
            range,
            noise,
            watermark,
        })
    }

    /// Everything before this byte of the storage, from the range's start on, is overwritten; after a run that
    /// was interrupted it is flushed too.
    pub fn complete_to(&self) -> u64 {
        self.watermark.complete()
    }

    /// Overwrites the range and flushes. At most 64 MiB of memory are used.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub fn run(&self, parallelism: Parallelism<'_>, control: &Control) -> Result<(), Error> {
        control.set_total_bytes(self.range.end - self.range.start);
        let mut extents = Extents::all(self.range.end).starting_at(self.range.start);
        let result = pipeline::run(
            parallelism,
            control,
            |buffer: &mut [u8]| {
                // Pieces end at multiples of their greatest length on the storage: aligned for direct I/O.
                let piece = extents.next(buffer.len(), control)?;
                if let Some(piece) = piece {
                    self.watermark.hand_out(piece);
                }
                Ok(piece)
            },
            |piece: Piece, buffer: &mut [u8]| self.fill(piece, buffer),
            &Sink::Watched {
                storage: self.storage,
                offset: 0,
                written: &|piece| {
                    self.watermark.written(piece);
                    Ok(())
                },
            },
        );
        let flushed = self.storage.flush().map_err(flushing);
        match result {
            // Asked to stop when nothing was left to do.
            Err(Error::Interrupted) if self.complete_to() == self.range.end => flushed,
            result => result.and(flushed),
        }
    }

    fn fill(&self, piece: Piece, buffer: &mut [u8]) -> Result<(), Error> {
        buffer.fill(0);
        let Some(noise) = &self.noise else {
            return Ok(());
        };
        let whole = buffer.len() - buffer.len() % BLOCK_LEN_BYTES;
        let (blocks, rest) = buffer.split_at_mut(whole);
        noise.encrypt(piece.offset / 512, blocks)?;
        if !rest.is_empty() {
            let mut last = [0; BLOCK_LEN_BYTES];
            noise.encrypt((piece.offset + whole as u64) / 512, &mut last)?;
            rest.copy_from_slice(&last[..rest.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lucarne_storage::MemoryStorage;

    use super::*;
    use crate::{FormatOptions, KdfKind, KdfRequest};

    fn wiped(range: Range<u64>, content: WipeContent) -> Vec<u8> {
        let storage = MemoryStorage::from(vec![7; 9 << 20]);
        let wipe = Wipe::new(&storage, range, content).unwrap();
        let control = Control::default();
        wipe.run(Parallelism::default(), &control).unwrap();
        assert_eq!(control.done_bytes(), wipe.range.end - wipe.range.start);
        storage.into_bytes()
    }

    #[test]
    fn the_range_is_overwritten_and_nothing_else() {
        let len = 9 << 20;
        for range in [
            0..len,
            1..len - 1,
            4095..4097,
            4096..8192,
            513..(5 << 20) + 77,
            len - 1..len,
        ] {
            for content in [WipeContent::Zeros, WipeContent::Random] {
                let bytes = wiped(range.clone(), content);
                let (start, end) = (range.start as usize, range.end as usize);
                assert!(bytes[..start].iter().all(|&byte| byte == 7), "{range:?}");
                assert!(bytes[end..].iter().all(|&byte| byte == 7), "{range:?}");
                let inside = &bytes[start..end];
                match content {
                    WipeContent::Zeros => assert!(inside.iter().all(|&byte| byte == 0)),
                    WipeContent::Random if inside.len() >= 4096 => {
                        let mut counts = [0_usize; 256];
                        inside
                            .iter()
                            .for_each(|&byte| counts[usize::from(byte)] += 1);
                        let most = counts.iter().max().unwrap();
                        assert!(*most < inside.len() / 64, "{range:?}: {most}");
                    }
                    WipeContent::Random => {}
                }
            }
        }
    }

    #[test]
    fn noise_does_not_repeat() {
        let first = wiped(0..9 << 20, WipeContent::Random);
        let blocks: std::collections::HashSet<_> = first.chunks(16).collect();
        assert_eq!(blocks.len(), first.len() / 16);
        assert_ne!(first, wiped(0..9 << 20, WipeContent::Random));
    }

    #[test]
    fn a_range_with_a_header_is_refused() {
        let kdf = KdfRequest {
            kind: KdfKind::Pbkdf2,
            iterations: Some(1000),
            ..KdfRequest::default()
        };
        let options = FormatOptions {
            kdf,
            keyslots_size: Some(512 << 10),
            ..FormatOptions::default()
        };
        let image = MemoryStorage::with_len(4 << 20);
        crate::format(&image, None, b"an example", &options).unwrap();
        let header_end = (32 << 10) + (512 << 10);
        let new = |range| Wipe::new(&image, range, WipeContent::Zeros).map(|_| ());
        for range in [0..1, 5000..5001, header_end - 1..header_end, 0..4 << 20] {
            assert!(matches!(new(range), Err(Error::Refused(_))));
        }
        new(header_end..4 << 20).unwrap();

        // One copy destroyed, both damaged.
        image.write_at(&[0; 4096], 0).unwrap();
        assert!(new(0..1).is_err());
        image.write_at(&[9; 100], 16_384 + 400).unwrap();
        assert!(new(0..16_384).is_ok() && new(0..32_768).is_err());
        // That of a partition.
        let disk = MemoryStorage::with_len(8 << 20);
        disk.write_at(b"LUKS\xba\xbe\x00\x02", 1 << 20).unwrap();
        assert!(Wipe::new(&disk, 1 << 20..2 << 20, WipeContent::Zeros).is_err());

        let all = Wipe::over_luks_header(&image, 0..4 << 20, WipeContent::Zeros).unwrap();
        all.run(Parallelism::default(), &Control::default())
            .unwrap();
        assert!(image.into_bytes().iter().all(|&byte| byte == 0));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let storage = MemoryStorage::with_len(1000);
        let (late, early) = (500, 400);
        for range in [0..1001, 1000..1000, late..early, 2000..3000] {
            let refused = Wipe::new(&storage, range.clone(), WipeContent::Zeros);
            assert!(matches!(refused, Err(Error::Refused(_))), "{range:?}");
        }
    }

    #[test]
    fn an_interrupted_run_says_how_far_it_came() {
        let storage = MemoryStorage::from(vec![7; 1 << 20]);
        let wipe = Wipe::new(&storage, 100..1 << 20, WipeContent::Zeros).unwrap();
        let control = Control::default();
        control.interrupt();
        let stopped = wipe.run(Parallelism::default(), &control);
        assert!(matches!(stopped, Err(Error::Interrupted)));
        assert_eq!(wipe.complete_to(), 100);
    }
}
