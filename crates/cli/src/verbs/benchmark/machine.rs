//! `benchmark --json`: one object, whose members the help describes.

use lucarne::{
    Kernel,
    benchmark::{CipherSpeed, KEY_BYTES, KdfSpeed, KernelSpeed, MemorySpeed, Outcome, SECTOR},
};
use serde_json::{Value, json};

/// Grows with what is added, and changes when a member changes its meaning or goes.
const VERSION: u32 = 1;

/// The lists, which are there even if they are empty.
#[derive(Default)]
pub(super) struct Object {
    key_derivations: Vec<Value>,
    ciphers: Vec<Value>,
    kernels: Vec<Value>,
    memory: Vec<Value>,
}

impl Object {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Kdf(speed) => self.key_derivations.push(kdf(speed)),
            Outcome::Cipher(speed) => self.ciphers.push(cipher(speed)),
            Outcome::Kernel(speed) => self.kernels.push(kernel(speed)),
            Outcome::Memory(speed) => self.memory.push(memory(speed)),
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Value {
        json!({
            "version": VERSION,
            "cpus": std::thread::available_parallelism().map_or(1, usize::from),
            "key_derivations": self.key_derivations,
            "ciphers": self.ciphers,
            "kernels": self.kernels,
            "memory": self.memory,
        })
    }
}

fn kdf(speed: &KdfSpeed) -> Value {
    let key_bits = 8 * KEY_BYTES;
    match speed {
        KdfSpeed::Pbkdf2 {
            hash,
            iterations_per_second,
        } => json!({
            "pbkdf": "pbkdf2",
            "key_bits": key_bits,
            "hash": hash,
            "iterations_per_second": iterations_per_second.map(f64::round),
        }),
        KdfSpeed::Argon2 {
            kind,
            time,
            memory_kib,
            lanes,
            target,
        } => json!({
            "pbkdf": kind.to_string(),
            "key_bits": key_bits,
            "iterations": time,
            "memory_kib": memory_kib,
            "lanes": lanes,
            "requested_ms": u64::try_from(target.as_millis()).ok(),
        }),
        _ => Value::Null,
    }
}

fn cipher(speed: &CipherSpeed) -> Value {
    json!({
        "cipher": speed.name,
        "key_bits": 8 * speed.request.key_bytes,
        // The kernels are XTS's.
        "kernel": speed
            .encryption
            .filter(|_| speed.name.ends_with("-xts"))
            .map(|_| speed.request.kernel.name()),
        "sector_bytes": SECTOR.bytes(),
        "encryption": speed.encryption.map(mib),
        "decryption": speed.decryption.map(mib),
    })
}

fn kernel(speed: &KernelSpeed) -> Value {
    json!({
        "kernel": speed.kernel.name(),
        "preferred": speed.kernel == Kernel::preferred(),
        "key_bits": 8 * speed.key_bytes,
        "sector_bytes": speed.sector.bytes(),
        "encryption": mib(speed.encryption.rate),
        "decryption": mib(speed.decryption.rate),
        "limit": speed.limit.map(mib),
        "encryption_share": speed.encryption.share.map(thousandths),
        "decryption_share": speed.decryption.share.map(thousandths),
    })
}

fn memory(speed: &MemorySpeed) -> Value {
    json!({
        "threads": speed.threads,
        "buffer_bytes": speed.buffer_bytes,
        "xor": mib(speed.xor),
        "copy": mib(speed.copy),
    })
}

/// MiB per second, to a tenth: more digits would be noise.
fn mib(bytes_per_second: f64) -> f64 {
    (bytes_per_second / f64::from(1 << 20) * 10.0).round() / 10.0
}

fn thousandths(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}
