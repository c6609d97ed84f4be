//! The copying itself, its checkpoints, and the comparison.

use std::sync::Mutex;

use lucarne_format::luks2::Repair;
use lucarne_storage::Storage;

use super::{Rekey, RekeyRun};
use crate::bulk::encrypt::STEP_LEN_BYTES;
use crate::bulk::extents::{Extents, Holes};
use crate::bulk::pipeline::{self, Piece, Sink};
use crate::error::{flushing, reading};
use crate::watermark::Watermark;
use crate::{Control, Error, Parallelism};

impl<S: Storage> Rekey<'_, S> {
    /// Copies what is not copied yet, and compares if that is asked for. Stopped by an error or by
    /// `control` it makes durable what is complete, as far as that can be done.
    ///
    /// # Errors
    /// [`Error::Device`] when what was written reads back as something else, [`Error::Io`] from either side,
    /// [`Error::Interrupted`].
    pub fn run(&self, run: &RekeyRun<'_>, control: &Control) -> Result<(), Error> {
        let passes = if run.verify { 2 } else { 1 };
        control.set_total_bytes(self.map.len().saturating_mul(passes));
        control.add_done_bytes(self.done_bytes());
        self.copy(run, control)?;
        if run.verify {
            self.compare(run.parallelism, control)?;
        }
        Ok(())
    }

    fn copy(&self, run: &RekeyRun<'_>, control: &Control) -> Result<(), Error> {
        let start = self.done_bytes();
        let watermark = Watermark::starting_at(start);
        // Whole sectors of whichever size.
        let interval = run.checkpoint_bytes.max(4096).next_multiple_of(4096);
        let mut extents = self.extents().starting_at(start);
        let next_checkpoint = Mutex::new(start.saturating_add(interval));
        let result = pipeline::run(
            run.parallelism,
            control,
            |buffer: &mut [u8]| {
                let len_max = buffer
                    .len()
                    .min(usize::try_from(interval).unwrap_or(usize::MAX));
                let piece = extents.next(len_max, control)?;
                if let Some(piece) = piece {
                    watermark.hand_out(piece);
                }
                Ok(piece)
            },
            |piece: Piece, buffer: &mut [u8]| self.turn(piece, buffer),
            &Sink::Watched {
                storage: self.output,
                offset: self.map.data_offset(),
                written: &|piece| {
                    let complete = watermark.written(piece);
                    // One thread is enough for it; the others go on meanwhile.
                    let Ok(mut next) = next_checkpoint.try_lock() else {
                        return Ok(());
                    };
                    if complete < *next {
                        return Ok(());
                    }
                    *next = complete.saturating_add(interval);
                    self.checkpoint(complete)
                },
            },
        );
        match result {
            Ok(()) => self.checkpoint(self.map.len()),
            Err(error) => {
                // The error that stopped it says more than one that comes of it.
                let _ = self.checkpoint(watermark.complete());
                Err(error)
            }
        }
    }

    /// Old ciphertext into plaintext into new ciphertext, in steps that stay in the cache.
    fn turn(&self, piece: Piece, buffer: &mut [u8]) -> Result<(), Error> {
        let mut offset = piece.offset;
        for step in buffer.chunks_mut(STEP_LEN_BYTES) {
            self.read_source(step, offset)?;
            self.map.encrypt(step, offset)?;
            offset += step.len() as u64;
        }
        Ok(())
    }

    /// Fills `step` with the source's plaintext, and with zeros past its end.
    fn read_source(&self, step: &mut [u8], offset: u64) -> Result<(), Error> {
        let rest = self.volume.len().saturating_sub(offset);
        let len = step.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let (present, padding) = step.split_at_mut(len);
        self.volume.read_at(present, offset)?;
        padding.fill(0);
        Ok(())
    }

    fn compare(&self, parallelism: Parallelism<'_>, control: &Control) -> Result<(), Error> {
        self.output.drop_cached().map_err(reading(0))?;
        let mut extents = self.extents();
        pipeline::run(
            parallelism,
            control,
            |buffer: &mut [u8]| extents.next(buffer.len(), control),
            |piece: Piece, buffer: &mut [u8]| {
                let mut copied = vec![0; STEP_LEN_BYTES.min(buffer.len())];
                let mut offset = piece.offset;
                for step in buffer.chunks_mut(STEP_LEN_BYTES) {
                    let copied = &mut copied[..step.len()];
                    self.read_source(step, offset)?;
                    self.map.read_at(self.output, copied, offset)?;
                    if step != copied {
                        let mut pairs = step.iter().zip(&*copied);
                        let at = pairs.position(|(a, b)| a != b).unwrap_or_default();
                        return Err(Error::device(format!(
                            "what was written reads back as something else, from byte {} of the plaintext on",
                            offset + at as u64
                        )));
                    }
                    offset += step.len() as u64;
                }
                Ok(())
            },
            &Sink::Nowhere,
        )
    }

    fn extents(&self) -> Extents<'_> {
        if !self.state().record.sparse {
            return Extents::all(self.map.len());
        }
        Extents::with_data(
            self.map.len(),
            Holes {
                storage: self.volume.storage(),
                offset: self.volume.data_offset(),
                granule: self.map.sector_len().max(self.volume.sector_len()) as u64,
            },
        )
    }

    /// Makes durable that all plaintext before `done` is copied.
    fn checkpoint(&self, done: u64) -> Result<(), Error> {
        let mut state = self.state();
        if done <= state.record.done {
            return Ok(());
        }
        // The data before the record that says that they are there.
        self.output.flush().map_err(flushing)?;
        state.record.done = done;
        state.header = state.record.update_in(&state.header, state.token)?;
        state.write(self.output, &Repair::default())?;
        tracing::debug!(done_bytes = done, "checkpoint");
        Ok(())
    }
}
