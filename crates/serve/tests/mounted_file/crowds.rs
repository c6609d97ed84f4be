//! Many at a time, slow ones, some that give up, and a server that fails.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use lucarne_serve::fuse::{ServerOptions, Unmount};
use lucarne_serve::{Export, Extent, ExtentKind, ZeroHow};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Mounted, errno};

const BLOCK: u64 = 4096;
const LEN: u64 = 64 * BLOCK;
/// A read there panics.
const PANIC_AT: u64 = 8 * BLOCK;
/// A read there fails.
const FAILURE_AT: u64 = 9 * BLOCK;
/// From here on reads wait.
const SLOW_FROM: u64 = 16 * BLOCK;

/// Lets reads of the slow part in, and counts them.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    waiting: usize,
    is_open: bool,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.is_open));
    }

    fn open(&self) {
        self.state.lock().unwrap().is_open = true;
        self.changed.notify_all();
    }

    /// Waits until so many reads wait; tells whether there were.
    fn have_come(&self, count: usize) -> bool {
        let state = self.state.lock().unwrap();
        let limit = Duration::from_secs(10);
        let waited = (self.changed).wait_timeout_while(state, limit, |state| state.waiting < count);
        !waited.unwrap().1.timed_out()
    }
}

/// Reads as the number of the block that was asked for.
struct Slow(Arc<Gate>);

impl Export for Slow {
    fn len(&self) -> u64 {
        LEN
    }
    fn is_read_only(&self) -> bool {
        false
    }
    fn block_len(&self) -> u32 {
        BLOCK as u32
    }
    fn can_trim(&self) -> bool {
        false
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match offset {
            PANIC_AT => panic!("on purpose"),
            FAILURE_AT => return Err(io::ErrorKind::StorageFull.into()),
            SLOW_FROM.. => self.0.pass(),
            _ => {}
        }
        buf.fill((offset / BLOCK) as u8);
        Ok(())
    }
    fn write_at(&self, _: &[u8], offset: u64) -> io::Result<()> {
        match offset {
            PANIC_AT => panic!("on purpose"),
            _ => Ok(()),
        }
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn trim(&self, _: Range<u64>) -> io::Result<()> {
        Ok(())
    }
    fn zero(&self, _: Range<u64>, _: ZeroHow) -> io::Result<()> {
        Ok(())
    }
    fn extent_at(&self, range: Range<u64>) -> io::Result<Extent> {
        Ok(Extent {
            len: range.end - range.start,
            kind: ExtentKind::Data,
        })
    }
}

/// Past the cache, so that each read is one request.
fn slow() -> Option<(Mounted, Arc<Gate>)> {
    let gate = Arc::default();
    let options = ServerOptions {
        is_uncached: true,
        ..ServerOptions::default()
    };
    Some((Mounted::new(Slow(Arc::clone(&gate)), &options)?, gate))
}

fn block(file: &File, number: u64) -> io::Result<u8> {
    let mut bytes = [0xff; BLOCK as usize];
    file.read_exact_at(&mut bytes, number * BLOCK)?;
    assert!(bytes.iter().all(|&byte| byte == bytes[0]));
    Ok(bytes[0])
}

#[test]
fn a_panic_or_failure_is_one_requests_own() {
    let Some((mounted, _)) = slow() else { return };
    let file = mounted.file();
    for _ in 0..20 {
        assert_eq!(errno(block(&file, PANIC_AT / BLOCK)), Some(Errno::IO));
        assert_eq!(errno(block(&file, FAILURE_AT / BLOCK)), Some(Errno::NOSPC));
        assert_eq!(errno(file.write_at(b"x", PANIC_AT)), Some(Errno::IO));
        assert_eq!(block(&file, 7).unwrap(), 7);
    }
    drop(file);
    mounted.stop();
}

/// Whichever processor they ask on.
#[test]
fn four_that_wait_for_the_disk_wait_at_the_same_time() {
    let Some((mounted, gate)) = slow() else {
        return;
    };
    std::thread::scope(|scope| {
        for number in 20..24 {
            let file = mounted.file();
            scope.spawn(move || assert_eq!(block(&file, number).unwrap(), number as u8));
        }
        let have_come = gate.have_come(4);
        gate.open();
        assert!(have_come);
    });
    mounted.stop();
}

#[test]
fn who_is_killed_while_waiting_leaves_nothing_behind() {
    let Some((mounted, gate)) = slow() else {
        return;
    };
    let path = mounted.path();
    let mut waiting: Vec<_> = (0..4)
        .map(|number| {
            let skip = format!("skip={}", 20 + number);
            let input = format!("if={}", path.display());
            let mut command = Command::new("dd");
            command.args([&input, "of=/dev/null", "bs=4096", "count=1", &skip]);
            command.stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    assert!(gate.have_come(2));
    for child in &mut waiting {
        child.kill().unwrap();
    }
    // One is answered in the end, as the kernel cannot take it back; who asks for another is answered meanwhile.
    gate.open();
    for mut child in waiting {
        child.wait().unwrap();
    }
    let file = mounted.file();
    for number in 0..8 {
        assert_eq!(block(&file, number).unwrap(), number as u8);
    }
    drop(file);
    mounted.stop();
}

#[test]
fn a_thousand_files_are_open() {
    let Some((mounted, _)) = slow() else { return };
    let files: Vec<_> = (0..1000).map(|_| mounted.file()).collect();
    std::thread::scope(|scope| {
        for part in files.chunks(250) {
            scope.spawn(move || {
                for (number, file) in (0..8).cycle().zip(part) {
                    assert_eq!(block(file, number).unwrap(), number as u8);
                }
            });
        }
    });
    drop(files);
    mounted.stop();
}

#[test]
fn it_ends_when_it_is_taken_away_from_under_its_users() {
    let Some((mut mounted, gate)) = slow() else {
        return;
    };
    let file = mounted.file();
    let reader = mounted.file();
    let direct = File::options()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(mounted.path())
        .unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(block(&reader, 20).unwrap(), 20));
        scope.spawn(|| assert_eq!(block(&direct, 21).unwrap(), 21));
        assert!(gate.have_come(2));
        mounted.stopper.stop(Unmount::Lazily).unwrap();
        assert_eq!(block(&file, 3).unwrap(), 3);
        gate.open();
    });
    drop((file, reader, direct));
    mounted.join();
}
