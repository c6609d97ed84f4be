//! A backup of a header, put back on a device that has another: refused with nothing written, or the device
//! has the backup's header afterwards.
//!
//! The input is the backup's first bytes; checksums are put right unless the last byte is `R`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne::{HeaderBackup, MemoryStorage, Storage, read_header};
use sha2::{Digest, Sha256};

const DEVICE_LEN: usize = 2 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&last, start)) = input.split_last() else {
        return;
    };
    let mut file = start.to_vec();
    // As long as a backup of a small header is.
    file.resize(file.len().max(32 << 10).next_multiple_of(4096), 0);
    if last != b'R' {
        fix_checksums(&mut file);
    }
    let Ok(backup) = HeaderBackup::read(&MemoryStorage::from(file)) else {
        return;
    };
    let keyslots = backup.header().metadata().keyslots_area();
    assert!(backup.as_bytes().len() as u64 >= keyslots.start);
    let device = MemoryStorage::with_len(DEVICE_LEN);
    let Ok(restore) = backup.compare(&device) else {
        return untouched(&device);
    };
    let _ = (restore.warnings(), restore.is_atomic());
    match restore.run(None) {
        Ok(()) => {
            let restored = read_header(&device).expect("a restored header is read").header;
            assert_eq!(restored.metadata(), backup.header().metadata());
        }
        Err(_) => untouched(&device),
    }
});

fn untouched(device: &MemoryStorage) {
    let mut bytes = vec![0; DEVICE_LEN];
    device.read_at(&mut bytes, 0).expect("memory is read");
    assert!(bytes.iter().all(|&byte| byte == 0), "refused, and written");
}

/// Puts right the checksum of the copy at byte 0 and of the one behind it.
fn fix_checksums(file: &mut [u8]) {
    let Some(size) = file.get(8..16) else { return };
    let size = u64::from_be_bytes(size.try_into().expect("eight bytes"));
    let Ok(size) = usize::try_from(size) else { return };
    for at in [0, size] {
        let Some(copy) = at.checked_add(size).and_then(|end| file.get_mut(at..end)) else {
            return;
        };
        if copy.len() < 4096 {
            return;
        }
        copy[0x1c0..0x200].fill(0);
        let checksum = Sha256::digest(&*copy);
        copy[0x1c0..0x1e0].copy_from_slice(&checksum);
    }
}
