//! Every kernel derives what RFC 9106 says and what the `argon2` crate derives.
#![allow(clippy::unwrap_used)]

use argon2::{Algorithm, Version};
use hex_literal::hex;
use lucarne_argon2::{Argon2, Error, Inputs, Kernel, Params, Variant};
use proptest::prelude::*;

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

/// RFC 9106, 5.2 and 5.3.
#[test]
fn the_rfcs_vectors() {
    let inputs = Inputs {
        password: &[1; 32],
        salt: &[2; 16],
        secret: &[3; 8],
        associated_data: &[4; 12],
    };
    for (variant, tag) in [
        (
            Variant::I,
            hex!("c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8"),
        ),
        (
            Variant::Id,
            hex!("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"),
        ),
    ] {
        let argon2 = Argon2::new(Params::new(variant, 3, 32, 4).unwrap());
        for kernel in Kernel::available() {
            let mut out = [0; 32];
            argon2
                .with_kernel(kernel)
                .derive(&inputs, &mut out)
                .unwrap();
            assert_eq!(out, tag, "{variant:?} on {kernel}");
        }
    }
}

#[derive(Debug)]
struct Case {
    variant: Variant,
    time: u32,
    memory_kib: u32,
    lanes: u32,
    threads: usize,
    password: Vec<u8>,
    salt: Vec<u8>,
    secret: Vec<u8>,
    associated_data: Vec<u8>,
    out_len: usize,
}

impl Case {
    fn expected(&self) -> Vec<u8> {
        let algorithm = match self.variant {
            Variant::I => Algorithm::Argon2i,
            _ => Algorithm::Argon2id,
        };
        let params = argon2::ParamsBuilder::new()
            .m_cost(self.memory_kib)
            .t_cost(self.time)
            .p_cost(self.lanes)
            .output_len(self.out_len)
            .data(argon2::AssociatedData::new(&self.associated_data).unwrap())
            .build()
            .unwrap();
        let mut out = vec![0; self.out_len];
        argon2::Argon2::new_with_secret(&self.secret, algorithm, Version::V0x13, params)
            .unwrap()
            .hash_password_into(&self.password, &self.salt, &mut out)
            .unwrap();
        out
    }

    fn derived(&self, kernel: Kernel) -> Vec<u8> {
        let params = Params::new(self.variant, self.time, self.memory_kib, self.lanes).unwrap();
        let inputs = Inputs {
            password: &self.password,
            salt: &self.salt,
            secret: &self.secret,
            associated_data: &self.associated_data,
        };
        let mut out = vec![0; self.out_len];
        let argon2 = Argon2::new(params).with_kernel(kernel);
        pool(self.threads)
            .install(|| argon2.derive(&inputs, &mut out))
            .unwrap();
        out
    }
}

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

prop_compose! {
    /// Memory from the least, 8 blocks to a lane, to more than is needed for threads.
    fn case()(
        (lanes, memory_kib) in (1_u32..18).prop_flat_map(|lanes| {
            (Just(lanes), prop_oneof![8 * lanes..8 * lanes + 40, 8 * lanes..3000])
        }),
        variant in prop_oneof![Just(Variant::I), Just(Variant::Id)],
        time in 1_u32..6,
        threads in 1_usize..6,
        password in bytes(0..200),
        salt in bytes(8..200),
        secret in bytes(0..40),
        associated_data in bytes(0..33),
        out_len in 4_usize..201,
    ) -> Case {
        Case {
            variant, time, memory_kib, lanes, threads, password, salt, secret, associated_data,
            out_len,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_kernel_derives_the_argon2_crates_key(case in case()) {
        let expected = case.expected();
        for kernel in Kernel::available() {
            prop_assert_eq!(&case.derived(kernel), &expected, "{}", kernel);
        }
    }
}

#[test]
fn lanes_over_threads_at_a_size_that_is_spread_and_faulted_in() {
    for (lanes, threads) in [(1, 2), (2, 2), (3, 2), (4, 3), (5, 2), (17, 5)] {
        let case = Case {
            variant: Variant::Id,
            time: 2,
            memory_kib: (32 << 10) + 77,
            lanes,
            threads,
            password: b"password".to_vec(),
            salt: vec![5; 32],
            secret: Vec::new(),
            associated_data: Vec::new(),
            out_len: 64,
        };
        let expected = case.expected();
        for kernel in Kernel::available() {
            assert_eq!(
                case.derived(kernel),
                expected,
                "{lanes} on {threads}, {kernel}"
            );
        }
    }
}

/// A derivation that runs within a pool's only thread must not wait for another.
#[test]
fn within_a_busy_pool_there_is_no_deadlock() {
    let argon2 = Argon2::new(Params::new(Variant::Id, 3, 4096, 8).unwrap());
    let key = || {
        let mut out = [0; 32];
        let inputs = Inputs {
            salt: &[0; 8],
            ..Inputs::default()
        };
        argon2.derive(&inputs, &mut out).unwrap();
        out
    };
    let alone = key();
    pool(1).install(|| assert_eq!(key(), alone));
    pool(2).install(|| {
        let (a, (b, (c, d))) = rayon::join(key, || rayon::join(key, || rayon::join(key, key)));
        assert_eq!([a, b, c, d], [alone; 4]);
    });
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let message = |result: Result<Params, Error>| result.unwrap_err().to_string();
    for (result, expected) in [
        (
            Params::new(Variant::Id, 0, 8, 1),
            "argon2 passes of 0 is outside of 1 to 4294967295",
        ),
        (
            Params::new(Variant::Id, 1, 8, 0),
            "argon2 lanes of 0 is outside of 1 to 16777215",
        ),
        (
            Params::new(Variant::Id, 1, u32::MAX, 1 << 24),
            "argon2 lanes of 16777216 is outside of 1 to 16777215",
        ),
        (
            Params::new(Variant::I, 1, 79, 10),
            "argon2 memory in KiB of 79 is outside of 80 to 4294967295",
        ),
    ] {
        assert_eq!(message(result), expected);
    }
    let argon2 = Argon2::new(Params::new(Variant::Id, 1, 8, 1).unwrap());
    for (salt_len, data_len, out_len, expected) in [
        (
            7,
            0,
            32,
            "argon2 salt length in bytes of 7 is outside of 8 to 4294967295",
        ),
        (
            8,
            33,
            32,
            "argon2 associated data length in bytes of 33 is outside of 0 to 32",
        ),
        (
            8,
            0,
            3,
            "argon2 output length in bytes of 3 is outside of 4 to 4294967295",
        ),
    ] {
        let inputs = Inputs {
            salt: &[0; 40][..salt_len],
            associated_data: &[0; 40][..data_len],
            ..Inputs::default()
        };
        for kernel in Kernel::available() {
            let mut out = [9; 32];
            let result = argon2
                .with_kernel(kernel)
                .derive(&inputs, &mut out[..out_len]);
            assert_eq!(result.unwrap_err().to_string(), expected);
            assert_eq!(out, [9; 32]);
        }
    }
}

#[test]
fn memory_above_the_limit_is_refused() {
    let argon2 = Argon2::new(Params::new(Variant::Id, 1, u32::MAX, 1).unwrap());
    let inputs = Inputs {
        salt: &[0; 8],
        ..Inputs::default()
    };
    for kernel in Kernel::available() {
        let argon2 = argon2
            .with_kernel(kernel)
            .with_memory_limit_kib(u32::MAX - 1);
        let error = argon2.derive(&inputs, &mut [0; 32]).unwrap_err();
        assert_eq!(
            error,
            Error::MemoryLimit {
                kib: u32::MAX,
                limit_kib: u32::MAX - 1
            }
        );
    }
    let exactly = Argon2::new(Params::new(Variant::Id, 1, 8, 1).unwrap()).with_memory_limit_kib(8);
    exactly.derive(&inputs, &mut [0; 32]).unwrap();
}
