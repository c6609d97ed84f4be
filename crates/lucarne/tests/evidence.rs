//! Erasing with a record: it is given only for what was really overwritten.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io;
use std::ops::Range;

use common::{FIRST, SECOND, cheap};
use lucarne::{
    AnyEditor, Error, FormatOptions, LuksVersion, MemoryStorage, Secret, Storage, UnlockOptions,
    format,
};

fn volume(version: LuksVersion) -> MemoryStorage {
    let options = FormatOptions {
        version,
        kdf: cheap(),
        keyslots_size: (version == LuksVersion::Luks2).then_some(1 << 20),
        ..FormatOptions::default()
    };
    let image = MemoryStorage::with_len(6 << 20);
    format(&image, None, FIRST, &options).unwrap();
    image
}

/// Forgets the writes to a range, as a broken disk or a layer that copies on write may.
struct Deaf {
    storage: MemoryStorage,
    to: Range<u64>,
}

impl Storage for Deaf {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.storage.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        for (byte, at) in data.iter().zip(offset..) {
            if !self.to.contains(&at) {
                self.storage.write_at(&[*byte], at)?;
            }
        }
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.set_len(len)
    }
    fn discard(&self, range: Range<u64>) -> io::Result<()> {
        self.storage.discard(range)
    }
}

#[test]
fn a_disk_that_keeps_the_old_key_material_is_found_out() {
    for version in [LuksVersion::Luks1, LuksVersion::Luks2] {
        // The first keyslot's area, in LUKS1 from byte 4096 on, in LUKS2 from byte 32768 on.
        let start = if version == LuksVersion::Luks1 {
            4096
        } else {
            32_768
        };
        let disk = Deaf {
            storage: volume(version),
            to: start..start + 258_048,
        };
        let mut editor = AnyEditor::open(&disk).unwrap();
        let error = editor
            .erase_keyslots_with_evidence(None, &UnlockOptions::default())
            .unwrap_err();
        assert!(matches!(error, Error::Device(_)), "{error}");
        assert!(
            error.to_string().contains("read back as they were"),
            "{error}"
        );
    }
}

#[test]
fn a_passphrase_that_still_opens_is_found_out() {
    // The area's last 2048 bytes reach the disk and are none of the key's: only the passphrase tells.
    let area = 32_768..32_768 + 258_048;
    let disk = Deaf {
        storage: volume(LuksVersion::Luks2),
        to: area.start..area.end - 2048,
    };
    let mut editor = AnyEditor::open(&disk).unwrap();
    let error = editor
        .erase_keyslots_with_evidence(Some(Secret::Passphrase(FIRST)), &UnlockOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("still opens"), "{error}");
}

#[test]
fn a_wrong_passphrase_erases_nothing() {
    for version in [LuksVersion::Luks1, LuksVersion::Luks2] {
        let image = volume(version);
        let mut editor = AnyEditor::open(&image).unwrap();
        let wrong = Some(Secret::Passphrase(SECOND));
        let refused = editor.erase_keyslots_with_evidence(wrong, &UnlockOptions::default());
        assert!(matches!(refused, Err(Error::WrongKey)));
        editor
            .unlock(Secret::Passphrase(FIRST), &UnlockOptions::default())
            .unwrap();
        let right = Some(Secret::Passphrase(FIRST));
        let evidence = editor
            .erase_keyslots_with_evidence(right, &UnlockOptions::default())
            .unwrap();
        assert!(evidence.passphrase_tried && evidence.removed == [0]);
        assert!(evidence.keyslots.iter().all(|area| !area.reads_as_before()));
        // A header without keyslots can be erased again, and the record says that there were none.
        let evidence = editor
            .erase_keyslots_with_evidence(None, &UnlockOptions::default())
            .unwrap();
        assert!(evidence.removed.is_empty() && !evidence.passphrase_tried);
    }
}
