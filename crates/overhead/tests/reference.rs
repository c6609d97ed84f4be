//! Python's `safetensors` reads what is generated, and agrees byte for byte with what is taken from the encrypted
//! volume.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::Command;

use lucarne::{
    Access, EncryptOptions, FileStorage, FormatOptions, KdfKind, KdfRequest, Secret, Source, Volume,
};
use lucarne_overhead::weights::{Checkpoint, generate};
use lucarne_overhead::{Control, Model};
use lucarne_tensors::{Tensors, Trailing};
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;
use sha2::{Digest, Sha256};

/// Set to the interpreter that has `safetensors`.
const PYTHON: &str = "LUCARNE_PYTHON";
const PASSPHRASE: &[u8] = b"an example, and not a secret";

const SCRIPT: &str = "
import hashlib, sys
from safetensors import deserialize
for name, tensor in deserialize(open(sys.argv[1], 'rb').read()):
    shape = 'x'.join(map(str, tensor['shape']))
    print(name, tensor['dtype'], shape, hashlib.sha256(bytes(tensor['data'])).hexdigest())
";

fn line(dtype: &str, shape: &[u64], bytes: &[u8]) -> String {
    let shape: Vec<_> = shape.iter().map(u64::to_string).collect();
    let mut line = format!("{dtype} {} ", shape.join("x"));
    for byte in Sha256::digest(bytes) {
        write!(line, "{byte:02x}").unwrap();
    }
    line
}

/// A generated file, and what our reader takes from a volume of it.
fn made(scratch: &Scratch, model: Model) -> (std::path::PathBuf, BTreeMap<String, String>) {
    let path = scratch.path("model.safetensors");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    let checkpoint = Checkpoint::of_model(model, 20 << 20);
    let plain = FileStorage::from_file(file).unwrap();
    generate(&checkpoint, 9, &plain, 2, &Control::default()).unwrap();

    let image = FileStorage::open(scratch.file("model.luks", b""), Access::ReadWrite).unwrap();
    let kdf = KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    };
    let options = EncryptOptions {
        format: FormatOptions {
            kdf,
            ..FormatOptions::default()
        },
        ..EncryptOptions::default()
    };
    let control = lucarne::Control::default();
    lucarne::encrypt(
        Source::Storage(&plain),
        &image,
        None,
        PASSPHRASE,
        &options,
        &control,
    )
    .unwrap();
    let volume = Volume::open(image.with_mapped_reads(), Secret::Passphrase(PASSPHRASE)).unwrap();
    let tensors = Tensors::open(&volume, Trailing::Allowed).unwrap();
    let ours = tensors.header().tensors().iter().map(|tensor| {
        let mut bytes = vec![0; usize::try_from(tensor.len()).unwrap()];
        tensors.read(&tensor.name, &mut bytes).unwrap();
        (
            tensor.name.clone(),
            line(tensor.dtype.name(), &tensor.shape, &bytes),
        )
    });
    (path, ours.collect())
}

#[test]
fn the_reference_reads_the_same_tensors() {
    for model in [Model::Small, Model::SevenB, Model::SeventyB] {
        let scratch = Scratch::new();
        let (path, ours) = made(&scratch, model);
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let theirs: BTreeMap<_, _> = theirs
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let shape: Vec<u64> = view.shape().iter().map(|&len| len as u64).collect();
                (
                    name,
                    line(&format!("{:?}", view.dtype()), &shape, view.data()),
                )
            })
            .collect();
        assert!(ours.len() > 10);
        assert_eq!(ours, theirs);
    }
}

#[test]
fn python_reads_the_same_tensors() {
    let chosen = std::env::var_os(PYTHON);
    let python = chosen.clone().unwrap_or_else(|| OsString::from("python3"));
    let asked = Command::new(&python)
        .args(["-c", "import safetensors"])
        .output();
    if !asked.is_ok_and(|asked| asked.status.success()) {
        assert!(chosen.is_none(), "{PYTHON}={python:?} has no safetensors");
        eprintln!(
            "skipped: Python's safetensors: python3 has no such module ({PYTHON} names another interpreter)"
        );
        return;
    }
    for model in [Model::Small, Model::SeventyB] {
        let scratch = Scratch::new();
        let (path, ours) = made(&scratch, model);
        let mut command = Command::new(&python);
        command.args(["-c", SCRIPT]).arg(&path);
        let said = run(&mut command, b"");
        assert_eq!(said.code, Some(0), "{}", said.text());
        let theirs: BTreeMap<String, String> = String::from_utf8(said.stdout)
            .unwrap()
            .lines()
            .map(|line| {
                let (name, rest) = line.split_once(' ').unwrap();
                (name.to_owned(), rest.to_owned())
            })
            .collect();
        assert_eq!(ours, theirs);
    }
}
