//! The table for people, and for scripts that read `cryptsetup benchmark`: its rows are printed as it
//! prints them. Rows that it does not have have another number of columns.

use lucarne::benchmark::{
    CipherSpeed, Direction, KEY_BYTES, KdfSpeed, KernelSpeed, MemorySpeed, Outcome,
};

pub(super) const TITLE: &str = "# Tests are approximate using memory only (no storage IO).\n";
const CIPHERS: &str = "#     Algorithm |       Key |      Encryption |      Decryption\n";
const KERNELS: &str = "\
# AES-XTS kernels on one thread, 256 KiB in the cache, and what they reach of AES on registers alone.
#        Kernel |       Key | Sector |      Encryption | Reached |      Decryption | Reached |       AES alone
";
const MEMORY: &str = "\
# Memory that no cache holds: read, changed and written back in place; copied from one half to the other.
#       Threads |  Read-xor-write |            Copy
";

/// Which headings were printed.
#[derive(Default)]
pub(super) struct Table {
    last: Option<&'static str>,
}

impl Table {
    /// A row, after its heading if it is the first under it.
    pub(super) fn rows(&mut self, outcome: &Outcome) -> String {
        let (heading, row) = match outcome {
            Outcome::Kdf(speed) => ("", kdf(speed)),
            Outcome::Cipher(speed) => (CIPHERS, cipher(speed)),
            Outcome::Kernel(speed) => (KERNELS, kernel(speed)),
            Outcome::Memory(speed) => (MEMORY, memory(speed)),
            _ => ("", String::new()),
        };
        match self.last.replace(heading) {
            Some(last) if last == heading => row,
            _ => [heading, &row].concat(),
        }
    }
}

fn kdf(speed: &KdfSpeed) -> String {
    let key_bits = 8 * KEY_BYTES;
    match speed {
        KdfSpeed::Pbkdf2 {
            hash,
            iterations_per_second: Some(rate),
        } => format!("PBKDF2-{hash:<9} {rate:7.0} iterations per second for {key_bits}-bit key\n"),
        KdfSpeed::Pbkdf2 { hash, .. } => format!("PBKDF2-{hash:<9} {:>7}\n", "N/A"),
        KdfSpeed::Argon2 {
            kind,
            time,
            memory_kib,
            lanes,
            target,
        } => format!(
            "{:<10} {time:4} iterations, {memory_kib:5} memory, {lanes} parallel threads (CPUs) for \
             {key_bits}-bit key (requested {} ms time)\n",
            kind.to_string(),
            target.as_millis(),
        ),
        _ => String::new(),
    }
}

fn cipher(speed: &CipherSpeed) -> String {
    let rate = |rate: Option<f64>| match rate {
        Some(rate) => mib(rate),
        None => format!("{:>16}", "N/A"),
    };
    format!(
        "{:>15}  {:9}b  {}  {}\n",
        speed.name,
        8 * speed.request.key_bytes,
        rate(speed.encryption),
        rate(speed.decryption),
    )
}

fn kernel(speed: &KernelSpeed) -> String {
    let reached = |direction: Direction| {
        let share = match direction.share {
            Some(share) => format!("{:5.1} %", 100.0 * share),
            None => "N/A".into(),
        };
        format!("{}  {share:>8}", mib(direction.rate))
    };
    let limit = match speed.limit {
        Some(limit) => mib(limit),
        None => format!("{:>16}", "N/A"),
    };
    format!(
        "{:>15}  {:9}b  {:7}  {}  {}  {limit}\n",
        speed.kernel.name(),
        8 * speed.key_bytes,
        speed.sector.bytes(),
        reached(speed.encryption),
        reached(speed.decryption),
    )
}

fn memory(speed: &MemorySpeed) -> String {
    format!(
        "{:15}  {}  {}\n",
        speed.threads,
        mib(speed.xor),
        mib(speed.copy)
    )
}

fn mib(bytes_per_second: f64) -> String {
    format!("{:10.1} MiB/s", bytes_per_second / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lucarne::{
        KdfKind, Kernel,
        benchmark::{CipherRequest, Test},
    };

    use super::*;

    /// Lines of `cryptsetup benchmark` 2.6.1, and of 2.x where it found a cipher and where it did not.
    #[test]
    fn rows_are_laid_out_as_cryptsetups() {
        let pbkdf2 = |hash: &str, rate| {
            kdf(&KdfSpeed::Pbkdf2 {
                hash: hash.into(),
                iterations_per_second: rate,
            })
        };
        assert_eq!(
            pbkdf2("sha1", Some(1_862_479.0)),
            "PBKDF2-sha1      1862479 iterations per second for 256-bit key\n"
        );
        assert_eq!(
            pbkdf2("ripemd160", Some(755_458.4)),
            "PBKDF2-ripemd160  755458 iterations per second for 256-bit key\n"
        );
        assert_eq!(pbkdf2("md99", None), "PBKDF2-md99          N/A\n");
        let argon2 = |kind, memory_kib, lanes, ms| {
            kdf(&KdfSpeed::Argon2 {
                kind,
                time: 4,
                memory_kib,
                lanes,
                target: Duration::from_millis(ms),
            })
        };
        assert_eq!(
            argon2(KdfKind::Argon2i, 463_578, 4, 2000),
            "argon2i       4 iterations, 463578 memory, 4 parallel threads (CPUs) for 256-bit key (requested 2000 ms time)\n"
        );
        assert_eq!(
            argon2(KdfKind::Argon2id, 1024, 3, 50),
            "argon2id      4 iterations,  1024 memory, 3 parallel threads (CPUs) for 256-bit key (requested 50 ms time)\n"
        );
        let serpent = CipherRequest {
            cipher: "serpent-cbc".into(),
            key_bytes: 16,
            kernel: Kernel::Portable,
        };
        let Ok(Outcome::Cipher(mut speed)) = Test::Cipher(serpent).run() else {
            panic!("not a cipher's outcome");
        };
        assert_eq!(
            cipher(&speed),
            "    serpent-cbc        128b               N/A               N/A\n"
        );
        speed.name = "aes-cbc".into();
        speed.encryption = Some(94.1 * f64::from(1 << 20));
        speed.decryption = Some(138.6 * f64::from(1 << 20));
        assert_eq!(
            cipher(&speed),
            "        aes-cbc        128b        94.1 MiB/s       138.6 MiB/s\n"
        );
    }

    #[test]
    fn a_heading_comes_once() {
        let request = CipherRequest {
            cipher: "twofish-xts".into(),
            key_bytes: 64,
            kernel: Kernel::Portable,
        };
        let outcome = Test::Cipher(request).run().unwrap();
        let mut table = Table::default();
        assert_eq!(table.rows(&outcome).lines().count(), 2);
        assert_eq!(table.rows(&outcome).lines().count(), 1);
    }
}
