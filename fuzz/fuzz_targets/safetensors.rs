//! The header of a safetensors file: what the reference implementation refuses is not read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne_tensors::{Tensors, Trailing};
use safetensors::SafeTensors;

/// Two bytes: how much data follows the header, and a byte that changes the header's length. Then the header's JSON.
fuzz_target!(|input: &[u8]| {
    let [low, high, skew, json @ ..] = input else {
        return;
    };
    let data_len = usize::from(u16::from_le_bytes([*low, *high]) % 8192);
    let len = match skew {
        0xff => u64::MAX,
        0x80..=0xfe => json.len() as u64 + u64::from(skew - 0x80),
        0x40..=0x7f => (json.len() as u64).saturating_sub(u64::from(skew - 0x40)),
        _ => json.len() as u64,
    };
    let mut file = len.to_le_bytes().to_vec();
    file.extend_from_slice(json);
    file.resize(file.len() + data_len, 0x5a);

    let reference = SafeTensors::read_metadata(&file);
    let ours = Tensors::open(&file, Trailing::Refused);
    match (&ours, &reference) {
        (Ok(_), Err(error)) => panic!("read, though the reference refuses it: {error}"),
        (Err(error), _) => assert!(!error.to_string().is_empty()),
        (Ok(tensors), Ok((header_len, metadata))) => {
            assert_eq!(metadata.tensors().len(), tensors.header().tensors().len());
            let mut end = 8 + *header_len as u64;
            for tensor in tensors.header().tensors() {
                let info = metadata.info(&tensor.name).expect("the reference has it");
                assert_eq!(info.dtype.to_string(), tensor.dtype.name());
                assert!(
                    info.shape
                        .iter()
                        .map(|&one| one as u64)
                        .eq(tensor.shape.iter().copied())
                );
                assert_eq!(tensor.range.start, end);
                end = tensor.range.end;
                let mut bytes = vec![0; tensor.len() as usize];
                tensors
                    .read(&tensor.name, &mut bytes)
                    .expect("it lies in the file");
                let range = tensor.range.start as usize..tensor.range.end as usize;
                assert!(bytes == file[range]);
            }
            assert_eq!(end, file.len() as u64);
        }
    }
    // What may follow changes nothing else.
    if ours.is_ok() {
        assert!(Tensors::open(&file, Trailing::Allowed).is_ok());
    }
});
