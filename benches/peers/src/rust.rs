//! The crates `aes` and `xts-mode`.

use aes::{Aes128, Aes256};
use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use xts_mode::{Xts128, get_tweak_default};

use crate::xts::{Contender, Xts};

pub(crate) fn contender() -> Contender {
    Contender::new("aes + xts-mode", |key| {
        Ok(match key.len() {
            32 => Box::new(Rust(xts::<Aes128>(key)?)),
            _ => Box::new(Rust(xts::<Aes256>(key)?)),
        })
    })
}

struct Rust<C: BlockCipherEncrypt + BlockCipherDecrypt>(Xts128<C>);

fn xts<C>(key: &[u8]) -> anyhow::Result<Xts128<C>>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    let (data, tweak) = key.split_at(key.len() / 2);
    Ok(Xts128::new(
        C::new_from_slice(data)?,
        C::new_from_slice(tweak)?,
    ))
}

impl<C> Xts for Rust<C>
where
    C: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send,
{
    fn encrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.0
            .encrypt_area(data, unit_bytes, first_unit.into(), get_tweak_default);
    }

    fn decrypt(&mut self, unit_bytes: usize, first_unit: u64, data: &mut [u8]) {
        self.0
            .decrypt_area(data, unit_bytes, first_unit.into(), get_tweak_default);
    }
}
