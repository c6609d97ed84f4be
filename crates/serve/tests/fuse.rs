//! The plaintext as a file: what requests do, without a kernel, and the same through one.
#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::{volume, volume_on};
use lucarne_serve::fuse::{
    MountError, PLAIN, PlainFile, ROOT, Server, ServerOptions, Stopper, Unmount, UnmountError,
    mounted_at,
};
use lucarne_serve::{Export, Extent, VolumeExport, ZeroHow};
use proptest::prelude::*;
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

const KEEP_SIZE: i32 = FallocateFlags::KEEP_SIZE.bits().cast_signed();
const PUNCH_HOLE: i32 = FallocateFlags::PUNCH_HOLE.bits().cast_signed();
const ZERO_RANGE: i32 = FallocateFlags::ZERO_RANGE.bits().cast_signed();

/// Bytes that are all different from their neighbours.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// A mounted export; it is unmounted when this goes.
struct Mounted {
    directory: tempfile::TempDir,
    stopper: Stopper,
    serving: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Mounted {
    /// `None`, and said so, where nothing can be mounted.
    #[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn new<E: Export + 'static>(export: E, options: &ServerOptions) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let server = match Server::mount(directory.path(), export, options) {
            Err(error @ (MountError::NoFuse | MountError::NotAllowed(_))) => {
                eprintln!("skipped: a mounted file: {error}");
                return None;
            }
            server => server.unwrap(),
        };
        let stopper = server.stopper();
        Some(Self {
            directory,
            stopper,
            serving: Some(std::thread::spawn(|| server.run())),
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("plaintext")
    }

    fn file(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(self.path()).unwrap()
    }

    /// Unmounts, and returns once the server has ended.
    fn stop(mut self) {
        self.stopper.stop(Unmount::IfUnused).unwrap();
        self.serving.take().unwrap().join().unwrap().unwrap();
        assert_eq!(mounted_at(self.directory.path()).unwrap(), None);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also when a test fails.
        let _ = self.stopper.stop(Unmount::Lazily);
    }
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

#[derive(Debug, Clone)]
enum Op {
    Write(u64, usize, u64),
    Read(u64, u32),
    Zero(u64, u64),
    Punch(u64, u64),
    Flush,
}

fn op(len: u64) -> impl Strategy<Value = Op> {
    let at = 0..len + 5000;
    prop_oneof![
        4 => (at.clone(), 0_usize..20_000, any::<u64>()).prop_map(|(at, len, seed)| Op::Write(at, len, seed)),
        4 => (at.clone(), 0_u32..30_000).prop_map(|(at, len)| Op::Read(at, len)),
        1 => (at.clone(), 1_u64..40_000).prop_map(|(at, len)| Op::Zero(at, len)),
        1 => (at, 1_u64..40_000).prop_map(|(at, len)| Op::Punch(at, len)),
        1 => Just(Op::Flush),
    ]
}

/// Within a file of this length.
fn clamped(at: u64, len: u64, file_len: u64) -> Range<usize> {
    at.min(file_len) as usize..at.saturating_add(len).min(file_len) as usize
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_does_what_memory_of_that_length_would_do(
        ops in prop::collection::vec(op(1 << 20), 1..60),
        cut in 0_u64..5000,
    ) {
        let export = VolumeExport::new(volume(1));
        let len = export.len() - cut;
        let plain = PlainFile::new(export.with_len(len), "x", false);
        prop_assert_eq!(plain.attributes(PLAIN).unwrap().len, len);
        // What nobody has written is noise.
        let mut model = vec![0; len as usize + 1];
        prop_assert_eq!(plain.read(PLAIN, 0, &mut model), Ok(len as usize));
        model.truncate(len as usize);
        let mut buffer = vec![0; len as usize];
        for op in ops {
            match op {
                Op::Write(at, data_len, seed) => {
                    let data = noise(data_len, seed);
                    let fits = clamped(at, data_len as u64, len);
                    let expected = match fits.is_empty() && data_len > 0 {
                        true => Err(Errno::NOSPC),
                        false => Ok(fits.len() as u32),
                    };
                    prop_assert_eq!(plain.write(PLAIN, at, &data), expected);
                    model[fits.clone()].copy_from_slice(&data[..fits.len()]);
                }
                Op::Read(at, read_len) => {
                    let fits = clamped(at, read_len.into(), len);
                    let into = &mut buffer[..read_len as usize];
                    let read = plain.read(PLAIN, at, into).unwrap();
                    prop_assert!(into[..read] == model[fits]);
                }
                Op::Zero(at, zero_len) => {
                    let grows = at + zero_len > len;
                    let expected = if grows { Err(Errno::PERM) } else { Ok(()) };
                    prop_assert_eq!(plain.allocate(PLAIN, at, zero_len, ZERO_RANGE), expected);
                    prop_assert_eq!(plain.allocate(PLAIN, at, zero_len, ZERO_RANGE | KEEP_SIZE), Ok(()));
                    model[clamped(at, zero_len, len)].fill(0);
                }
                // Nothing, and in no case noise.
                Op::Punch(at, hole_len) => {
                    let expected = match at >= len {
                        true => Ok(()),
                        false => Err(Errno::OPNOTSUPP),
                    };
                    prop_assert_eq!(plain.allocate(PLAIN, at, hole_len, PUNCH_HOLE | KEEP_SIZE), expected);
                }
                Op::Flush => plain.flush().unwrap(),
            }
        }
        prop_assert_eq!(plain.read(PLAIN, 0, &mut buffer), Ok(len as usize));
        prop_assert!(buffer == model);
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_systems_own_numbers() {
    let plain = PlainFile::new(VolumeExport::new(volume(1)), "x", false);
    let len = plain.export().len();
    let mut buffer = [0; 10];
    assert_eq!(plain.lookup(ROOT, OsStr::new("y")), Err(Errno::NOENT));
    assert_eq!(plain.lookup(PLAIN, OsStr::new("x")), Err(Errno::NOTDIR));
    assert_eq!(plain.attributes(3), Err(Errno::NOENT));
    assert_eq!(plain.read(ROOT, 0, &mut buffer), Err(Errno::ISDIR));
    assert_eq!(plain.read(PLAIN, u64::MAX, &mut buffer), Ok(0));
    assert_eq!(plain.read(PLAIN, len - 3, &mut buffer), Ok(3));
    assert_eq!(plain.write(ROOT, 0, b"x"), Err(Errno::ISDIR));
    assert_eq!(plain.write(PLAIN, len, b"x"), Err(Errno::NOSPC));
    assert_eq!(plain.write(PLAIN, u64::MAX, b"x"), Err(Errno::NOSPC));
    assert_eq!(plain.write(PLAIN, len - 1, b"xyz"), Ok(1));
    assert_eq!(
        plain.set_attributes(PLAIN, Some(0), false),
        Err(Errno::PERM)
    );
    assert_eq!(
        plain.set_attributes(PLAIN, Some(len + 1), false),
        Err(Errno::PERM)
    );
    assert_eq!(plain.set_attributes(PLAIN, None, true), Err(Errno::PERM));
    assert!(plain.set_attributes(PLAIN, Some(len), false).is_ok());
    for mode in [
        0,
        KEEP_SIZE,
        PUNCH_HOLE,
        8,
        0x20 | KEEP_SIZE,
        -1,
        PUNCH_HOLE | ZERO_RANGE | KEEP_SIZE,
    ] {
        assert_eq!(
            plain.allocate(PLAIN, 0, 1, mode),
            Err(Errno::OPNOTSUPP),
            "{mode:#x}"
        );
    }
    assert_eq!(
        plain.allocate(PLAIN, u64::MAX, 2, ZERO_RANGE | KEEP_SIZE),
        Err(Errno::INVAL)
    );
    assert_eq!(plain.allocate(PLAIN, 0, 0, ZERO_RANGE), Err(Errno::INVAL));
    assert_eq!(plain.seek(PLAIN, 0, 3), Ok(0));
    assert_eq!(plain.seek(PLAIN, 0, 4), Ok(len as i64));
    assert_eq!(plain.seek(PLAIN, len as i64, 3), Err(Errno::NXIO));
    assert_eq!(plain.seek(PLAIN, -1, 3), Err(Errno::NXIO));
    assert_eq!(plain.seek(PLAIN, 0, 0), Err(Errno::INVAL));
    let kept = PlainFile::new(VolumeExport::new(volume(1)).read_only(), "x", true);
    assert_eq!(kept.open(PLAIN, true), Err(Errno::ROFS));
    assert_eq!(kept.open(PLAIN, false), Ok(()));
    assert_eq!(kept.write(PLAIN, 0, b"x"), Err(Errno::ROFS));
    assert_eq!(kept.allocate(PLAIN, 0, 1, ZERO_RANGE), Err(Errno::ROFS));
    assert_eq!(kept.attributes(PLAIN).unwrap().permissions, 0o444);
}

/// An export that counts flushes, and fails as told.
struct Counting {
    inner: VolumeExport<lucarne::MemoryStorage>,
    flushes: Arc<AtomicU32>,
    failures: Arc<AtomicU32>,
}

impl Export for Counting {
    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn block_len(&self) -> u32 {
        4096
    }
    fn can_trim(&self) -> bool {
        false
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(data, offset)
    }
    fn flush(&self) -> io::Result<()> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let fails = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match fails {
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(_) => Ok(()),
        }
    }
    fn trim(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, range: Range<u64>, how: ZeroHow) -> io::Result<()> {
        self.inner.zero(range, how)
    }
    fn extent_at(&self, range: Range<u64>) -> io::Result<Extent> {
        self.inner.extent_at(range)
    }
}

#[test]
fn what_was_written_is_flushed_and_a_failure_is_not_forgotten() {
    let flushes = Arc::new(AtomicU32::new(0));
    let failures = Arc::new(AtomicU32::new(0));
    let export = Counting {
        inner: VolumeExport::new(volume(1)),
        flushes: Arc::clone(&flushes),
        failures: Arc::clone(&failures),
    };
    let count = || flushes.load(Ordering::SeqCst);
    let Some(mounted) = Mounted::new(export, &ServerOptions::default()) else {
        return;
    };
    drop(File::open(mounted.path()).unwrap());
    assert_eq!(count(), 0, "nothing was written");
    let file = mounted.file();
    file.write_all_at(b"abc", 1).unwrap();
    file.sync_data().unwrap();
    assert_eq!(count(), 1);
    file.write_all_at(b"abc", 1).unwrap();
    failures.store(1, Ordering::SeqCst);
    assert_eq!(errno(file.sync_all()), Some(Errno::NOSPC));
    assert_eq!(count(), 2);
    file.sync_all().unwrap();
    assert_eq!(count(), 3);
    file.write_all_at(b"abc", 1).unwrap();
    drop(file);
    assert_eq!(count(), 4, "closed, so it is durable");
    mounted.stop();
    assert_eq!(count(), 5, "the last one is never left out");
}

fn random_operations(is_uncached: bool) {
    let options = ServerOptions {
        is_uncached,
        ..ServerOptions::default()
    };
    let export = VolumeExport::new(volume(8));
    let len = export.len() - 777;
    let Some(mounted) = Mounted::new(export.with_len(len), &options) else {
        return;
    };
    let file = mounted.file();
    let direct = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(mounted.path())
        .unwrap();
    let mut model = Vec::new();
    (&file).read_to_end(&mut model).unwrap();
    assert_eq!(model.len() as u64, len);
    let random = noise(8 * 400, 5);
    for (turn, bytes) in random.chunks_exact(8).enumerate() {
        let value = u64::from_le_bytes(bytes.try_into().unwrap());
        let at = (value >> 20) % (len - 1);
        let size = 1 + value % if turn % 10 == 0 { 1_500_000 } else { 9000 };
        let range = clamped(at, size, len);
        match turn % 4 {
            0 => {
                let data = noise(range.len(), value);
                file.write_all_at(&data, at).unwrap();
                model[range].copy_from_slice(&data);
            }
            1 => {
                let mut back = vec![0; range.len()];
                file.read_exact_at(&mut back, at).unwrap();
                assert!(back == model[range], "turn {turn}");
            }
            2 => {
                fallocate(&file, FallocateFlags::ZERO_RANGE, at, range.len() as u64).unwrap();
                model[range].fill(0);
            }
            // Memory need not be aligned for FUSE, which copies.
            _ => {
                let at = at & !511;
                let range = clamped(at, 4096, len & !511);
                let data = noise(range.len(), value);
                let written = direct.write_at(&data, at).unwrap();
                model[range.start..range.start + written].copy_from_slice(&data[..written]);
                let mut back = vec![0; written];
                direct.read_exact_at(&mut back, at).unwrap();
                assert!(back == data[..written], "turn {turn}");
            }
        }
    }
    let mut back = Vec::new();
    (&file).seek(SeekFrom::Start(0)).unwrap();
    (&file).read_to_end(&mut back).unwrap();
    assert!(back == model);
    drop((file, direct));
    mounted.stop();
}

#[test]
fn random_operations_through_the_kernel() {
    random_operations(false);
}

#[test]
fn random_operations_through_the_kernel_without_its_cache() {
    random_operations(true);
}

/// Whoever reads through the cache sees what was written past it before, whatever was being read meanwhile.
#[test]
fn cached_reads_see_direct_writes() {
    const BLOCK: usize = 4096;
    const ROUNDS: u8 = 250;
    let Some(mounted) = Mounted::new(VolumeExport::new(volume(1)), &ServerOptions::default())
    else {
        return;
    };
    let direct = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(mounted.path())
        .unwrap();
    let (file, reader) = (mounted.file(), mounted.file());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Brings pages into the cache all the time, and has them thrown out for that.
        scope.spawn(|| {
            let mut back = vec![0; 16 * BLOCK];
            while !is_over.load(Ordering::SeqCst) {
                reader.read_exact_at(&mut back, 0).unwrap();
                rustix::fs::fadvise(&reader, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            }
        });
        let mut back = vec![0; BLOCK];
        for round in 0..ROUNDS {
            for block in 0..16 {
                let at = block * BLOCK as u64;
                assert_eq!(direct.write_at(&[round; BLOCK], at).unwrap(), BLOCK);
                file.read_exact_at(&mut back, at).unwrap();
                assert!(back == [round; BLOCK], "round {round}, block {block}");
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
    drop((direct, file, reader));
    mounted.stop();
}

#[test]
fn many_writers_meet_in_sectors() {
    const STRIPE: usize = 300;
    const LEN: usize = 240_000;
    for is_uncached in [false, true] {
        let options = ServerOptions {
            is_uncached,
            threads: Some(8),
            ..ServerOptions::default()
        };
        let Some(mounted) = Mounted::new(VolumeExport::new(volume(1)), &options) else {
            return;
        };
        let model = noise(LEN, 11);
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (model, mounted) = (&model, &mounted);
                scope.spawn(move || {
                    let file = mounted.file();
                    for stripe in (worker..LEN / STRIPE).step_by(8) {
                        let at = stripe * STRIPE;
                        file.write_all_at(&model[at..at + STRIPE], at as u64)
                            .unwrap();
                    }
                });
            }
        });
        let mut back = vec![0; LEN];
        mounted.file().read_exact_at(&mut back, 0).unwrap();
        assert!(back == model);
        mounted.stop();
    }
}

#[test]
fn the_directory_has_one_file_and_never_another() {
    let Some(mounted) = Mounted::new(VolumeExport::new(volume(1)), &ServerOptions::default())
    else {
        return;
    };
    let directory = mounted.directory.path();
    let path = mounted.path();
    let names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["plaintext"]);
    let metadata = path.metadata().unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    assert_eq!(metadata.nlink(), 1);
    assert!(metadata.len() > 1 << 20);
    let mount = mounted_at(directory).unwrap().unwrap();
    assert!(mount.kind.starts_with("fuse"), "{mount:?}");
    // Who asks as root is not asked for permissions, but nothing can be made or removed.
    for refused in [
        errno(File::create_new(directory.join("other"))),
        errno(std::fs::create_dir(directory.join("folder"))),
        errno(std::fs::remove_file(&path)),
        errno(std::fs::rename(&path, directory.join("other"))),
        errno(std::fs::hard_link(&path, directory.join("other"))),
        errno(std::os::unix::fs::symlink("x", directory.join("other"))),
    ] {
        let possible = [Errno::NOSYS, Errno::PERM, Errno::ACCESS];
        assert!(
            refused.is_some_and(|error| possible.contains(&error)),
            "{refused:?}"
        );
    }
    assert_eq!(errno(File::create(&path)), Some(Errno::PERM));
    assert_eq!(errno(mounted.file().set_len(5)), Some(Errno::PERM));
    let mode = PermissionsExt::from_mode(0o777);
    assert_eq!(
        errno(std::fs::set_permissions(&path, mode)),
        Some(Errno::PERM)
    );
    let times = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    mounted.file().set_times(times).unwrap();
    assert_eq!(
        errno(File::open(directory.join("none"))),
        Some(Errno::NOENT)
    );
    let mut name = [0; 10];
    assert_eq!(
        rustix::fs::getxattr(&path, "user.x", &mut name),
        Err(Errno::OPNOTSUPP)
    );
    // At the end what fits is written, and then there is no space.
    let end = metadata.len();
    let mut file = mounted.file();
    file.seek(SeekFrom::Start(end - 3)).unwrap();
    assert_eq!(file.write(b"abcdef").unwrap(), 3);
    assert_eq!(errno(file.write(b"def")), Some(Errno::NOSPC));
    assert_eq!(path.metadata().unwrap().len(), end);
    drop(file);
    mounted.stop();
}

#[test]
fn a_read_only_volume_is_a_read_only_file_system() {
    let export = VolumeExport::new(volume(1)).read_only();
    let Some(mounted) = Mounted::new(export, &ServerOptions::default()) else {
        return;
    };
    let path = mounted.path();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o400);
    assert_eq!(
        errno(OpenOptions::new().write(true).open(&path)),
        Some(Errno::ROFS)
    );
    assert!(std::fs::read(&path).unwrap().len() > 1 << 20);
    mounted.stop();
}

#[test]
fn holes_are_punched_where_they_read_as_zeros() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(10 << 20).unwrap();
    let image = lucarne_storage::FileStorage::from_file(file.try_clone().unwrap()).unwrap();
    let volume = volume_on(image).with_zeros_as_holes();
    let blocks = || file.metadata().unwrap().blocks();
    let export = VolumeExport::new(volume).allow_discards();
    let Some(mounted) = Mounted::new(export, &ServerOptions::default()) else {
        return;
    };
    let mut plain = mounted.file();
    let data = noise(4 << 20, 3);
    plain.write_all_at(&data, 1 << 20).unwrap();
    plain.sync_all().unwrap();
    let before = blocks();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&plain, flags, (2 << 20) + 100, 2 << 20).unwrap();
    plain.sync_all().unwrap();
    assert!(
        blocks() + (2 << 20) / 512 - 64 <= before,
        "{before} {}",
        blocks()
    );
    let mut back = vec![0; 4 << 20];
    plain.read_exact_at(&mut back, 1 << 20).unwrap();
    let hole = (1 << 20) + 100..(3 << 20) + 100;
    assert!(back[..hole.start] == data[..hole.start]);
    assert!(back[hole.clone()].iter().all(|&byte| byte == 0));
    assert!(back[hole.end..] == data[hole.end..]);
    let sought = |from, how: fn(u64) -> rustix::fs::SeekFrom| rustix::fs::seek(&plain, how(from));
    assert_eq!(sought(0, rustix::fs::SeekFrom::Data), Ok(1 << 20));
    let hole = sought(1 << 20, rustix::fs::SeekFrom::Hole).unwrap();
    assert!(
        ((2 << 20) + 100..(2 << 20) + 4196).contains(&hole),
        "{hole}"
    );
    let data = sought(hole, rustix::fs::SeekFrom::Data).unwrap();
    assert!(((4 << 20)..(4 << 20) + 4096).contains(&data), "{data}");
    plain.flush().unwrap();
    drop(plain);
    mounted.stop();
}

#[test]
fn in_use_it_stays_and_out_of_sight_it_ends_with_its_last_user() {
    let Some(mut mounted) = Mounted::new(VolumeExport::new(volume(2)), &ServerOptions::default())
    else {
        return;
    };
    let file = mounted.file();
    let refused = mounted.stopper.stop(Unmount::IfUnused);
    assert!(matches!(refused, Err(UnmountError::Busy)), "{refused:?}");
    file.write_all_at(b"still there", 5).unwrap();
    mounted.stopper.stop(Unmount::Lazily).unwrap();
    assert_eq!(mounted_at(mounted.directory.path()).unwrap(), None);
    assert!(!mounted.path().exists());
    let mut back = [0; 11];
    file.read_exact_at(&mut back, 5).unwrap();
    assert_eq!(&back, b"still there");
    // What is mounted there now is another's.
    mounted.stopper.stop(Unmount::IfUnused).unwrap();
    let serving = mounted.serving.take().unwrap();
    assert!(!serving.is_finished());
    drop(file);
    let begun = Instant::now();
    serving.join().unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_taken_directory_is_refused_and_another_mount_is_not_unmounted() {
    let Some(mounted) = Mounted::new(VolumeExport::new(volume(1)), &ServerOptions::default())
    else {
        return;
    };
    let mount = |directory: &Path| {
        Server::mount(
            directory,
            VolumeExport::new(volume(1)),
            &ServerOptions::default(),
        )
        .map(drop)
    };
    let directory = mounted.directory.path();
    assert!(matches!(mount(directory), Err(MountError::Taken(_))));
    let link = tempfile::tempdir().unwrap();
    let link = link.path().join("link");
    std::os::unix::fs::symlink(directory, &link).unwrap();
    assert!(matches!(mount(&link), Err(MountError::Taken(_))));
    let other = lucarne_serve::fuse::Mounted {
        device: (0, 0),
        ..mounted_at(directory).unwrap().unwrap()
    };
    lucarne_serve::fuse::unmount(&other, Unmount::Lazily).unwrap();
    assert!(mounted_at(directory).unwrap().is_some());
    mounted.stop();
}
