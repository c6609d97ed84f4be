//! Header bytes: the input is the first bytes of a device, zeros follow up to 256 KiB.
//!
//! The checksums of what looks like a copy are put right first: a fuzzer does not guess SHA-256, and
//! an attacker need not. What loads must encode to bytes that load to the same.
#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use lucarne_format::LoadError;
use lucarne_format::luks2::{Header, HeaderCopy, Selected};
use sha2::{Digest, Sha256};

const DEVICE_LEN: usize = 256 << 10;
/// Asks for the checksums to be left as they are: the last byte of the input.
const RAW: u8 = b'R';

fuzz_target!(|data: &[u8]| {
    let Some((&mode, data)) = data.split_last() else {
        return;
    };
    let data = &data[..data.len().min(DEVICE_LEN)];
    let mut device = vec![0; DEVICE_LEN];
    device[..data.len()].copy_from_slice(data);
    if mode != RAW {
        fix_checksums(&mut device);
    }
    let Ok(selected) = load(&device) else {
        return;
    };
    let header = selected.header;
    let Ok(primary) = header.encode(HeaderCopy::Primary, [1; 64]) else {
        return; // a number with a fraction took more room
    };
    let mut again = primary;
    again.extend(header.encode(HeaderCopy::Secondary, [2; 64]).unwrap());
    again.resize(again.len().max(DEVICE_LEN), 0);
    let again = load(&again).expect("what loads is written so that it loads");
    assert!(!again.repair.is_needed());
    assert_eq!(again.header.metadata(), header.metadata());
    assert_eq!(again.header.seqid(), header.seqid());

    if let Ok(edited) = header.edit(|draft| draft.set_label("edited")) {
        assert_eq!(edited.seqid(), header.seqid() + 1);
        assert_eq!(edited.metadata().tokens(), header.metadata().tokens());
        assert_eq!(edited.metadata().keyslots(), header.metadata().keyslots());
    }
});

fn fix_checksums(device: &mut [u8]) {
    for offset in [0, 0x4000, 0x8000, 0x10000] {
        let size = u64::from_be_bytes(device[offset + 8..offset + 16].try_into().unwrap());
        let Ok(size) = usize::try_from(size) else {
            continue;
        };
        if &device[offset + 72..offset + 79] != b"sha256\0"
            || size < 4096
            || size > device.len() - offset
        {
            continue;
        }
        let copy = &mut device[offset..offset + size];
        copy[448..512].fill(0);
        let sum = Sha256::digest(&*copy);
        copy[448..480].copy_from_slice(&sum);
    }
}

fn load(device: &[u8]) -> Result<Selected, LoadError<Infallible>> {
    let mut end_of_reads = 0;
    Header::load(|offset, buffer: &mut [u8]| {
        assert!(offset >= end_of_reads, "a byte is read twice");
        end_of_reads = offset + buffer.len() as u64;
        assert!(buffer.len() <= 8 << 20);
        // The keyslots area may lie past our device: pretend that it is there.
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| device.get(at..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        buffer[len..].fill(0);
        Ok(buffer.len())
    })
}
