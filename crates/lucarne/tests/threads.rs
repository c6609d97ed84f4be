//! Threads of one process that share a storage: no lock between processes tells them apart.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use common::{FIRST, cheap};
use lucarne::{FormatOptions, HeaderBackup, HeaderEditor, MemoryStorage, Storage, read_header};

/// Tells when it is first read, and waits a moment: whoever may change it then, does.
struct SlowToRead {
    inner: Arc<MemoryStorage>,
    first_read: Mutex<Option<Sender<()>>>,
}

impl Storage for SlowToRead {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_at(buf, offset)?;
        let mut first_read = self
            .first_read
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = first_read.take() {
            told.send(()).unwrap();
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.inner.discard(range)
    }
}

/// A backup is of one moment: a thread that changes the header meanwhile waits.
#[test]
fn a_backup_is_not_torn_by_another_thread() {
    let image = Arc::new(MemoryStorage::with_len(2 << 20));
    let options = FormatOptions {
        kdf: cheap(),
        keyslots_size: Some(512 << 10),
        ..FormatOptions::default()
    };
    lucarne::format(&image, None, FIRST, &options).unwrap();
    let (sender, told) = channel();
    let slow = SlowToRead {
        inner: Arc::clone(&image),
        first_read: Mutex::new(Some(sender)),
    };
    let backup = thread::scope(|scope| {
        let image = &image;
        let changing = scope.spawn(move || {
            let mut editor = HeaderEditor::open(image).unwrap();
            told.recv().unwrap();
            editor.set_labels(Some("later"), None).unwrap();
        });
        let backup = HeaderBackup::take(&slow, None).unwrap();
        changing.join().unwrap();
        backup
    });
    assert_eq!(backup.header().label(), "");
    let kept = MemoryStorage::from(backup.as_bytes().to_vec());
    assert!(!read_header(&kept).unwrap().repair.is_needed());
    assert_eq!(read_header(&image).unwrap().header.label(), "later");
}
