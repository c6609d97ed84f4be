//! One key, held by the kernel that was chosen for it.

use aes::{Aes128, Aes128Enc, Aes256, Aes256Enc};
use cipher::inout::InOutBuf;

#[cfg(target_arch = "aarch64")]
use super::arch::ArmAes;
#[cfg(target_arch = "x86_64")]
use super::arch::{AesNi, Vaes256, Vaes512, shares_aes_pipes_with_clmul};
use super::{
    Run,
    arch::{Enter, Isa},
    fused::{Decrypt, DecryptPastCaches, Encrypt, Keys},
    portable::Portable,
    schedule::Schedule,
};
use crate::{CipherError, Kernel};

/// XTS-AES under a key.
pub(crate) struct Xts(Engine);

enum Engine {
    Portable128(Portable<Aes128, Aes128Enc>),
    Portable256(Portable<Aes256, Aes256Enc>),
    Fused128(VectorUnit, Box<Schedule<11>>),
    Fused256(VectorUnit, Box<Schedule<15>>),
}

/// A CPU's vector unit; a value is the proof that the CPU has it.
#[derive(Clone, Copy)]
pub(crate) struct VectorUnit(pub(super) Unit);

#[derive(Clone, Copy)]
pub(super) enum Unit {
    #[cfg(target_arch = "x86_64")]
    Vaes512Clmul(Vaes512<true>),
    #[cfg(target_arch = "x86_64")]
    Vaes512Shifts(Vaes512<false>),
    #[cfg(target_arch = "x86_64")]
    Vaes256(Vaes256),
    #[cfg(target_arch = "x86_64")]
    AesNi(AesNi),
    #[cfg(target_arch = "aarch64")]
    ArmAes(ArmAes),
}

/// Calls a method of [`Enter`] on the one unit that there is.
macro_rules! on_unit {
    ($unit:expr, $isa:ident => $call:expr) => {
        match $unit.0 {
            #[cfg(target_arch = "x86_64")]
            $crate::xts::dispatch::Unit::Vaes512Clmul($isa) => $call,
            #[cfg(target_arch = "x86_64")]
            $crate::xts::dispatch::Unit::Vaes512Shifts($isa) => $call,
            #[cfg(target_arch = "x86_64")]
            $crate::xts::dispatch::Unit::Vaes256($isa) => $call,
            #[cfg(target_arch = "x86_64")]
            $crate::xts::dispatch::Unit::AesNi($isa) => $call,
            #[cfg(target_arch = "aarch64")]
            $crate::xts::dispatch::Unit::ArmAes($isa) => $call,
        }
    };
}

impl VectorUnit {
    /// The one that a fused kernel runs on, if this CPU has it; none for the portable kernel.
    pub(crate) fn of(kernel: Kernel) -> Option<Self> {
        let unit = match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Vaes512 if shares_aes_pipes_with_clmul() => {
                Vaes512::new().map(Unit::Vaes512Shifts)
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Vaes512 => Vaes512::new().map(Unit::Vaes512Clmul),
            #[cfg(target_arch = "x86_64")]
            Kernel::Vaes256 => Vaes256::new().map(Unit::Vaes256),
            #[cfg(target_arch = "x86_64")]
            Kernel::AesNi => AesNi::new().map(Unit::AesNi),
            #[cfg(target_arch = "aarch64")]
            Kernel::ArmAes => ArmAes::new().map(Unit::ArmAes),
            _ => None,
        };
        unit.map(Self)
    }

    /// As [`Self::of`], and an error for a fused kernel that this CPU cannot run.
    pub(crate) fn require(kernel: Kernel) -> Result<Option<Self>, CipherError> {
        match Self::of(kernel) {
            None if kernel != Kernel::Portable => Err(CipherError::KernelUnavailable { kernel }),
            unit => Ok(unit),
        }
    }

    /// Copies past the caches, where this unit can do that.
    pub(crate) fn copy_past_caches(self, data: InOutBuf<'_, '_, u8>) {
        on_unit!(self, isa => isa.copy_past_caches(data));
    }

    /// Runs blocks through AES that come from nowhere and go nowhere: as fast as this unit can. Gives
    /// how many bytes that were, about `bytes`.
    pub(crate) fn spin(self, key_bytes: usize, bytes: usize) -> usize {
        match key_bytes {
            16 => on_unit!(self, isa => isa.spin::<11>(bytes)),
            _ => on_unit!(self, isa => isa.spin::<15>(bytes)),
        }
    }
}

impl Xts {
    /// On `unit`, or portable. `None` if the key is neither 32 nor 64 bytes long: the data key, then the
    /// tweak key.
    pub(crate) fn new(unit: Option<VectorUnit>, key: &[u8]) -> Option<Self> {
        let engine = match (unit, key.len()) {
            (None, 32) => Engine::Portable128(Portable::new(key)?),
            (None, 64) => Engine::Portable256(Portable::new(key)?),
            (Some(unit), 32) => {
                let schedule: Option<Box<Schedule<11>>> =
                    on_unit!(unit, isa => Schedule::new(isa, key));
                Engine::Fused128(unit, schedule?)
            }
            (Some(unit), 64) => {
                let schedule: Option<Box<Schedule<15>>> =
                    on_unit!(unit, isa => Schedule::new(isa, key));
                Engine::Fused256(unit, schedule?)
            }
            _ => return None,
        };
        Some(Self(engine))
    }

    pub(crate) fn encrypt(&self, run: Run<'_, '_>) {
        match &self.0 {
            Engine::Portable128(portable) => portable.encrypt(run),
            Engine::Portable256(portable) => portable.encrypt(run),
            Engine::Fused128(unit, schedule) => fused_encrypt(*unit, schedule, run),
            Engine::Fused256(unit, schedule) => fused_encrypt(*unit, schedule, run),
        }
    }

    pub(crate) fn decrypt(&self, run: Run<'_, '_>) {
        match &self.0 {
            Engine::Portable128(portable) => portable.decrypt(run),
            Engine::Portable256(portable) => portable.decrypt(run),
            Engine::Fused128(unit, schedule) => fused_decrypt(*unit, schedule, run),
            Engine::Fused256(unit, schedule) => fused_decrypt(*unit, schedule, run),
        }
    }

    /// At multiples of how many bytes plaintext must lie to go past the caches; `None` where it never does.
    pub(crate) fn past_caches_alignment(&self) -> Option<usize> {
        match &self.0 {
            Engine::Portable128(_) | Engine::Portable256(_) => None,
            Engine::Fused128(unit, _) | Engine::Fused256(unit, _) => {
                on_unit!(unit, isa => alignment_of(isa))
            }
        }
    }

    /// As [`Self::decrypt`]; the plaintext goes to memory past the caches, where the kernel can do that.
    pub(crate) fn decrypt_past_caches(&self, run: Run<'_, '_>) {
        match &self.0 {
            Engine::Portable128(portable) => portable.decrypt(run),
            Engine::Portable256(portable) => portable.decrypt(run),
            Engine::Fused128(unit, schedule) => fused_decrypt_past_caches(*unit, schedule, run),
            Engine::Fused256(unit, schedule) => fused_decrypt_past_caches(*unit, schedule, run),
        }
    }
}

fn alignment_of<I: Isa>(_: I) -> Option<usize> {
    I::PAST_CACHES_ALIGNMENT
}

fn fused_encrypt<const N: usize>(unit: VectorUnit, schedule: &Schedule<N>, run: Run<'_, '_>) {
    let keys = Keys {
        data: schedule.encrypt(),
        tweak: schedule.tweak(),
    };
    on_unit!(unit, isa => isa.process::<Encrypt, N>(keys, run));
}

fn fused_decrypt<const N: usize>(unit: VectorUnit, schedule: &Schedule<N>, run: Run<'_, '_>) {
    let keys = decrypt_keys(schedule);
    on_unit!(unit, isa => isa.process::<Decrypt, N>(keys, run));
}

fn fused_decrypt_past_caches<const N: usize>(
    unit: VectorUnit,
    schedule: &Schedule<N>,
    run: Run<'_, '_>,
) {
    let keys = decrypt_keys(schedule);
    on_unit!(unit, isa => isa.process::<DecryptPastCaches, N>(keys, run));
}

fn decrypt_keys<const N: usize>(schedule: &Schedule<N>) -> Keys<'_, N> {
    Keys {
        data: schedule.decrypt(),
        tweak: schedule.tweak(),
    }
}

#[cfg(test)]
pub(super) use on_unit;

/// Calls `test` with every vector unit that this CPU has, those too that no kernel chooses here.
#[cfg(test)]
pub(crate) fn for_every_unit(test: impl Fn(VectorUnit)) {
    #[cfg(target_arch = "x86_64")]
    let units = [
        Vaes512::new().map(Unit::Vaes512Clmul),
        Vaes512::new().map(Unit::Vaes512Shifts),
        Vaes256::new().map(Unit::Vaes256),
        AesNi::new().map(Unit::AesNi),
    ];
    #[cfg(target_arch = "aarch64")]
    let units = [ArmAes::new().map(Unit::ArmAes)];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let units: [Option<Unit>; 0] = [];
    for unit in units.into_iter().flatten() {
        test(VectorUnit(unit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iv::{Iv, Numbers};

    #[derive(Debug, Clone, Copy)]
    enum Way {
        Encrypt,
        Decrypt,
        DecryptPastCaches,
    }

    /// Everything else is tested by kernel, from outside; but on any one CPU only one of the two ways
    /// to reduce belongs to a kernel.
    #[test]
    fn every_unit_agrees_with_the_portable_kernel() {
        let key: Vec<u8> = (0..64).map(|byte: u8| byte.wrapping_mul(37) ^ 5).collect();
        let data: Vec<u8> = (0..3 << 16)
            .map(|place: u32| ((place * 7) >> 3) as u8)
            .collect();
        let run = |xts: &Xts, unit_bytes: usize, way: Way, into_line: usize| {
            let len = data.len() / unit_bytes * unit_bytes;
            let mut memory = vec![0; len + 256];
            // Past the caches only what lies at a multiple of a vector's length is written.
            let start = 64 + memory.as_ptr().align_offset(64) + into_line;
            let room = &mut memory[start..start + len];
            room.copy_from_slice(&data[..len]);
            let run = Run {
                unit_bytes,
                numbers: Numbers::new(Iv::Plain64, u64::from(u32::MAX) - 20, 3),
                data: (&mut *room).into(),
            };
            match way {
                Way::Encrypt => xts.encrypt(run),
                Way::Decrypt => xts.decrypt(run),
                Way::DecryptPastCaches => xts.decrypt_past_caches(run),
            }
            let around = [&memory[..start], &memory[start + len..]].concat();
            assert!(around.iter().all(|&byte| byte == 0), "{unit_bytes}");
            memory[start..start + len].to_vec()
        };
        for key in [&key[..32], &key] {
            let portable = Xts::new(None, key).unwrap();
            for_every_unit(|unit| {
                let xts = Xts::new(Some(unit), key).unwrap();
                for unit_bytes in [16, 112, 128, 272, 512, 1024, 2048, 4096, 4112, 65536] {
                    for way in [Way::Encrypt, Way::Decrypt] {
                        let expected = run(&portable, unit_bytes, way, 0);
                        let actual = run(&xts, unit_bytes, way, 0);
                        assert!(actual == expected, "{unit_bytes}, {way:?}");
                    }
                    let expected = run(&portable, unit_bytes, Way::Decrypt, 0);
                    // Wherever a line of the cache begins.
                    for into_line in (0..64).step_by(8).chain([1, 12, 63]) {
                        let actual = run(&xts, unit_bytes, Way::DecryptPastCaches, into_line);
                        assert!(actual == expected, "{unit_bytes}, {into_line}");
                    }
                }
            });
        }
    }
}
