//! `benchmark`

mod machine;
mod table;

use std::{fmt::Display, time::Duration};

use lucarne::{
    KdfRequest, Kernel,
    benchmark::{CipherRequest, Test},
};

use crate::{args::BenchmarkArgs, exit::Failure, report};

/// cryptsetup's, for `benchmark --cipher`.
const DEFAULT_KEY_BYTES: usize = 32;
/// LUKS2's.
const DEFAULT_HASH: &str = "sha256";

pub(crate) fn run(args: &BenchmarkArgs) -> anyhow::Result<()> {
    let tests = tests(args)?;
    if args.json {
        let mut object = machine::Object::default();
        for test in tests {
            object.add(&test.run()?);
        }
        let text = format!("{:#}\n", object.finish());
        return Ok(report::print(text.as_bytes())?);
    }
    let mut table = table::Table::default();
    report::print(table::TITLE.as_bytes())?;
    for test in tests {
        // One by one: a person watches.
        report::print(table.rows(&test.run()?).as_bytes())?;
    }
    Ok(())
}

/// What the options ask for, refused before anything is measured if it cannot be had.
fn tests(args: &BenchmarkArgs) -> anyhow::Result<Vec<Test>> {
    let kernel = args.kernel.kernel;
    let argon2 = argon2(args)?;
    let mut tests = Vec::new();
    match (args.pbkdf.as_deref(), &args.hash) {
        (None, None) => {}
        (None | Some("pbkdf2"), hash) => {
            let hash = hash.as_deref().unwrap_or(DEFAULT_HASH);
            tests.push(checked("--hash", Test::Pbkdf2(hash.to_owned()))?);
        }
        (Some(kind), Some(_)) => {
            return Err(refused("--hash", format!("{kind} has none; pbkdf2 has")));
        }
        (Some(_), None) => tests.push(Test::Argon2(argon2.clone())),
    }
    if let Some(cipher) = &args.cipher {
        let key_bytes = match args.key_size {
            None | Some(0) => DEFAULT_KEY_BYTES,
            Some(bytes) => usize::try_from(bytes)?,
        };
        let request = CipherRequest {
            cipher: cipher.clone(),
            key_bytes,
            kernel: kernel.unwrap_or_else(Kernel::preferred),
        };
        tests.push(checked("--cipher", Test::Cipher(request))?);
    }
    if tests.is_empty() {
        tests = Test::all(&argon2, kernel);
    }
    Ok(tests)
}

fn argon2(args: &BenchmarkArgs) -> anyhow::Result<KdfRequest> {
    // As in cryptsetup, 0 stands for the default.
    let chosen = |number: Option<u32>| number.filter(|&number| number != 0);
    let mut request = KdfRequest::default();
    if let Some(kind) = args.pbkdf.as_deref().filter(|kind| *kind != "pbkdf2") {
        request.kind = kind.parse().map_err(|error| refused("--pbkdf", error))?;
    }
    if let Some(ms) = chosen(args.iter_time) {
        request.target = Duration::from_millis(ms.into());
    }
    if let Some(kib) = chosen(args.pbkdf_memory) {
        request.max_memory_kib = kib;
    }
    if let Some(lanes) = chosen(args.pbkdf_parallel) {
        request.max_lanes = lanes;
    }
    checked("--pbkdf", Test::Argon2(request.clone()))?;
    Ok(request)
}

fn checked(option: &str, test: Test) -> anyhow::Result<Test> {
    test.check().map_err(|error| refused(option, error))?;
    Ok(test)
}

fn refused(option: &str, error: impl Display) -> anyhow::Error {
    Failure::parameters(format!("{option}: {error}")).into()
}
