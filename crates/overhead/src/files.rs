//! The files of a run: bare, and in volumes.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use lucarne_storage::{FileStorage, Storage};
use rustix::fs::OFlags;

use crate::plan::{Files, Lengths};
use crate::source::{self, Format, Protection, Source, Way};
use crate::space::{Space, reopened};
use crate::weights::{self, Checkpoint, Model};
use crate::{Control, Error, work};

/// Files of a sharded checkpoint that is generated.
pub(crate) const SHARD_COUNT: u64 = 4;

/// A checkpoint of one or several files: bare, and in a volume for each format that is asked for.
pub(crate) struct FileSet {
    pub(crate) checkpoints: Vec<Checkpoint>,
    plain: Vec<File>,
    volumes: HashMap<Format, Vec<File>>,
}

impl FileSet {
    /// What a kind of files is generated as.
    pub(crate) fn layout(files: Files, model: Model, lengths: &Lengths) -> Vec<Checkpoint> {
        match files {
            Files::Main => vec![Checkpoint::of_model(model, lengths.main)],
            Files::Formats => vec![Checkpoint::of_model(Model::Small, lengths.formats)],
            Files::Writes => vec![Checkpoint::of_model(Model::Small, lengths.writes)],
            Files::Small => vec![Checkpoint::of_small_tensors(lengths.small)],
            Files::Shards => (0..SHARD_COUNT)
                .map(|_| Checkpoint::of_model(Model::Small, lengths.shards / SHARD_COUNT))
                .collect(),
        }
    }

    pub(crate) fn generate(
        checkpoints: Vec<Checkpoint>,
        space: &Space,
        threads: usize,
        control: &Control,
    ) -> Result<Self, Error> {
        let mut plain = Vec::new();
        for (seed, checkpoint) in checkpoints.iter().enumerate() {
            let file = space.file()?;
            weights::generate(
                checkpoint,
                seed as u64,
                &storage(&file, true)?,
                threads,
                control,
            )?;
            plain.push(file);
        }
        Ok(Self {
            checkpoints,
            plain,
            volumes: HashMap::new(),
        })
    }

    /// Weights that are there already; they are only read.
    pub(crate) fn given(given: Given) -> Self {
        Self {
            checkpoints: given.checkpoints,
            plain: given.files,
            volumes: HashMap::new(),
        }
    }

    pub(crate) fn encrypt(
        &mut self,
        format: Format,
        space: &Space,
        control: &Control,
    ) -> Result<(), Error> {
        let mut volumes = Vec::new();
        for plain in &self.plain {
            let volume = space.file()?;
            source::encrypt(plain, &volume, format, control)?;
            volumes.push(volume);
        }
        self.volumes.insert(format, volumes);
        Ok(())
    }

    pub(crate) fn files(&self, protection: Protection) -> &[File] {
        match protection {
            Protection::Encrypted(format, _) => {
                self.volumes.get(&format).map_or(&[], Vec::as_slice)
            }
            _ => &self.plain,
        }
    }

    pub(crate) fn open(
        &self,
        protection: Protection,
        way: Way,
        write: bool,
    ) -> Result<Vec<Box<dyn Source + Send>>, Error> {
        self.files(protection)
            .iter()
            .map(|file| source::open(file, protection, way, write))
            .collect()
    }

    /// Has the next read come from the disk.
    pub(crate) fn drop_cached(&self, protection: Protection) -> Result<(), Error> {
        for file in self.files(protection) {
            storage(file, false)?
                .drop_cached()
                .map_err(Error::io("cannot drop the page cache of the file"))?;
        }
        Ok(())
    }

    /// That a volume holds what the bare file holds.
    ///
    /// # Errors
    /// [`Error::Io`] at the first byte that differs: figures of it would mean nothing.
    pub(crate) fn verify(&self, protection: Protection, control: &Control) -> Result<(), Error> {
        let other = self.open(protection, Way::Pread, false)?;
        self.compare(&other, &protection.name(), control)
    }

    /// That some sources, one for each file, hold what the bare files hold.
    ///
    /// # Errors
    /// As [`Self::verify`], which calls them `what`.
    pub(crate) fn compare(
        &self,
        other: &[Box<dyn Source + Send>],
        what: &str,
        control: &Control,
    ) -> Result<(), Error> {
        let plain = self.open(Protection::Plain, Way::Pread, false)?;
        let mut expected = vec![0; work::REQUEST_MAX_LEN_BYTES as usize];
        let mut got = expected.clone();
        for (shard, checkpoint) in self.checkpoints.iter().enumerate() {
            for request in work::blocks(checkpoint.len_bytes, shard, work::REQUEST_MAX_LEN_BYTES) {
                control.check()?;
                plain[shard].read(&mut expected[..request.len], request.offset)?;
                other[shard].read(&mut got[..request.len], request.offset)?;
                if expected[..request.len] != got[..request.len] {
                    let range = request.offset..request.offset + request.len as u64;
                    let fault = format!("the plaintext differs from the file in bytes {range:?}");
                    return Err(Error::io(what)(std::io::Error::other(fault)));
                }
            }
        }
        Ok(())
    }
}

fn storage(file: &File, write: bool) -> Result<FileStorage, Error> {
    reopened(file, OFlags::empty(), write)
        .and_then(FileStorage::from_file)
        .map_err(Error::io("cannot open the file again"))
}

/// Weights that a user has.
pub(crate) struct Given {
    pub(crate) checkpoints: Vec<Checkpoint>,
    files: Vec<File>,
}

/// Files of one checkpoint, at most.
const MAX_SHARD_COUNT: usize = 1000;

impl Given {
    /// Opens a safetensors file, or all of a directory, by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Weights`], and [`Error::Refused`] for a directory without any.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let mut paths: Vec<PathBuf> = match path.is_dir() {
            false => vec![path.to_owned()],
            true => std::fs::read_dir(path)
                .map_err(Error::io(format!("{shown}: cannot list it")))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    path.extension()
                        .is_some_and(|extension| extension == "safetensors")
                })
                .collect(),
        };
        paths.sort();
        if paths.is_empty() || paths.len() > MAX_SHARD_COUNT {
            return Err(Error::Refused(format!(
                "{shown}: {} files named *.safetensors (1 to {MAX_SHARD_COUNT} make a checkpoint)",
                paths.len()
            )));
        }
        let mut given = Self {
            checkpoints: Vec::new(),
            files: Vec::new(),
        };
        for path in paths {
            let name = path.display().to_string();
            let file = File::open(&path).map_err(Error::io(format!("{name}: cannot open it")))?;
            given
                .checkpoints
                .push(weights::read(&storage(&file, false)?, &name)?);
            given.files.push(file);
        }
        Ok(given)
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.checkpoints
            .iter()
            .map(|checkpoint| checkpoint.len_bytes)
            .sum()
    }
}
