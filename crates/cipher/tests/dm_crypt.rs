//! What Linux's dm-crypt wrote, where a folder of its images is at hand: `raw-vectors.json`.
#![allow(clippy::unwrap_used)]

use lucarne_cipher::{CipherError, CipherSpec, DataUnit, Kernel, SectorCipher, XtsAes};
use lucarne_testkit::raw_vectors::{self, RawVector};

/// Every kernel on every vector of a cipher in scope; the other ciphers are refused.
#[test]
fn every_kernel_writes_what_dm_crypt_wrote() {
    let vectors = raw_vectors::all_or_skip("sector ciphers against dm-crypt");
    if vectors.is_empty() {
        return;
    }
    let plaintext = raw_vectors::plaintext();
    let mut checked = Vec::new();
    for vector in &vectors {
        match vector.cipher().parse::<CipherSpec>() {
            Ok(spec) if spec.check_supported().is_ok() => {
                for kernel in Kernel::available() {
                    check(vector, &spec, kernel, &plaintext);
                }
                checked.push(vector.id());
            }
            Ok(spec) => {
                let refused = SectorCipher::new(&spec, vector.key(), DataUnit::B512);
                assert!(
                    matches!(refused, Err(CipherError::Unsupported { .. })),
                    "{}",
                    vector.cipher()
                );
            }
            // Notations that this crate does not read at all.
            Err(_) => assert!(vector.cipher().contains([':', ',']), "{}", vector.cipher()),
        }
    }
    assert!(
        checked.len() >= 7,
        "only {checked:?} of the file were checked"
    );
}

fn check(vector: &RawVector, spec: &CipherSpec, kernel: Kernel, plaintext: &[u8]) {
    let what = format!("vector {}, {kernel}", vector.id());
    let mut data = plaintext.to_vec();
    if vector.counts_sectors() {
        // One by one whatever their size, which is no LUKS volume's way.
        let xts = XtsAes::new(vector.key(), kernel).unwrap();
        let unit_bytes = vector.sector_bytes() as usize;
        xts.encrypt(unit_bytes, vector.iv_offset(), &mut data)
            .unwrap();
        vector
            .check(&data)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        xts.decrypt(unit_bytes, vector.iv_offset(), &mut data)
            .unwrap();
    } else {
        let unit = DataUnit::try_from(vector.sector_bytes()).unwrap();
        let cipher = SectorCipher::new_with_kernel(spec, vector.key(), unit, kernel).unwrap();
        cipher.encrypt(vector.iv_offset(), &mut data).unwrap();
        vector
            .check(&data)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        cipher.decrypt(vector.iv_offset(), &mut data).unwrap();
    }
    assert!(data == plaintext, "{what}");
}
