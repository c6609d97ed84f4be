//! What programs do with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lucarne_serve::fuse::{MountError, Server, ServerOptions, Unmount, UnmountError, mounted_at};
use lucarne_serve::{Export, Extent, VolumeExport, ZeroHow};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;

use super::{Mounted, errno};
use crate::common::{noise, volume, volume_on};

/// Within a file of this length.
fn clamped(at: u64, len: u64, file_len: u64) -> Range<usize> {
    at.min(file_len) as usize..at.saturating_add(len).min(file_len) as usize
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
    assert!(!mounted.serving.as_ref().unwrap().is_finished());
    drop(file);
    let begun = Instant::now();
    mounted.join();
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
    assert!(mounted.path().exists());
    mounted.stop();
}
