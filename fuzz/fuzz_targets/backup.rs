//! A backup of a header, put back on a device that has another: refused with nothing written, or the device
//! has the backup's header afterwards.
//!
//! The input is the backup's first bytes; the checksums of LUKS2 are put right unless the last byte is `R`. The
//! file is as long as a backup of that header has to be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne::{AnyHeader, AnyHeaderBackup, HeaderRef, MemoryStorage, Storage, read_any_header};
use sha2::{Digest, Sha256};

/// Room for the keyslots of a small header of either version.
const DEVICE_LEN: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&last, start)) = input.split_last() else {
        return;
    };
    let mut file = start.to_vec();
    file.resize(file.len().max(backup_len(start)).next_multiple_of(4096), 0);
    if last != b'R' {
        fix_checksums(&mut file);
    }
    let Ok(backup) = AnyHeaderBackup::read(&MemoryStorage::from(file)) else {
        return;
    };
    assert!(backup.as_bytes().len() as u64 >= keyslots_start(backup.header()));
    let device = MemoryStorage::with_len(DEVICE_LEN);
    let Ok(restore) = backup.compare(&device) else {
        return untouched(&device);
    };
    let _ = (restore.warnings(), restore.is_atomic());
    match restore.run(None) {
        Ok(()) => match (read_any_header(&device), backup.header()) {
            (Ok(AnyHeader::Luks1(restored)), HeaderRef::Luks1(header)) => assert_eq!(restored, *header),
            (Ok(AnyHeader::Luks2(restored)), HeaderRef::Luks2(header)) => {
                assert_eq!(restored.header.metadata(), header.metadata());
            }
            (restored, _) => panic!("restored was {restored:?}"),
        },
        Err(_) => untouched(&device),
    }
});

/// LUKS1 has its keyslots before the payload, whose first sector is told at byte 104.
fn backup_len(start: &[u8]) -> usize {
    const LUKS2_LEN: usize = 32 << 10;
    let (Some([0, 1]), Some(sectors)) = (start.get(6..8), start.get(104..108)) else {
        return LUKS2_LEN;
    };
    let sectors = u32::from_be_bytes(sectors.try_into().expect("four bytes"));
    (sectors as usize).saturating_mul(512).clamp(LUKS2_LEN, DEVICE_LEN)
}

fn keyslots_start(header: HeaderRef<'_>) -> u64 {
    match header {
        HeaderRef::Luks1(_) => 592,
        HeaderRef::Luks2(header) => header.metadata().keyslots_area().start,
    }
}

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
