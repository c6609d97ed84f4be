//! Against Python's `safetensors` with NumPy, as `cargo xtask test` installs them under `target/`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::process::Command;

use lucarne_tensors::{Tensors, Trailing};
use lucarne_testkit::process::run;
use lucarne_testkit::scratch::Scratch;

/// Writes a file of many types and shapes, and the bytes of each tensor beside it.
const SCRIPT: &str = r#"
import sys, numpy
from safetensors.numpy import save_file, load_file
random = numpy.random.default_rng(7)
tensors = {}
for number, kind in enumerate(["float64", "float32", "float16", "int64", "int32", "int16", "int8",
                               "uint64", "uint32", "uint16", "uint8", "bool"]):
    for shape in [(), (0,), (1,), (3, 0, 2), (7, 5), (2, 3, 4, 5), (1000, 33)]:
        bytes = random.bytes(int(numpy.prod(shape)) * numpy.dtype(kind).itemsize)
        array = numpy.frombuffer(bytes, dtype="uint8" if kind == "bool" else kind).reshape(shape)
        tensors[f"{kind} {shape} \u00e9"] = array.astype(bool) if kind == "bool" else array
save_file(tensors, sys.argv[1], metadata={"made by": "a test"})
for name, array in tensors.items():
    print(name.encode().hex(), array.tobytes().hex() or "-")
"#;

#[test]
fn what_python_writes_is_read() {
    // `cargo xtask test` names one that has the modules.
    let python = std::env::var_os("LUCARNE_PYTHON").unwrap_or_else(|| "python3".into());
    let has_it = Command::new(&python)
        .args(["-c", "import numpy, safetensors"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_it {
        eprintln!("skipped: what Python writes: {python:?} has no numpy or safetensors");
        return;
    }
    let scratch = Scratch::new();
    let path = scratch.path("model.safetensors");
    let outcome = run(Command::new(&python).args(["-c", SCRIPT]).arg(&path), b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let file = std::fs::read(&path).unwrap();
    let tensors = Tensors::open(&file, Trailing::Refused).unwrap();
    assert_eq!(tensors.header().metadata()["made by"], "a test");
    let said = outcome.text();
    assert_eq!(said.lines().count(), 12 * 7);
    assert_eq!(tensors.header().tensors().len(), 12 * 7);
    for line in said.lines() {
        let (name, bytes) = line.split_once(' ').unwrap();
        let name = String::from_utf8(lucarne_testkit::payload::from_hex(name)).unwrap();
        let expected = lucarne_testkit::payload::from_hex(bytes.trim_matches('-'));
        let mut read = tensors.buffer(&name).unwrap();
        tensors.read(&name, &mut read).unwrap();
        assert!(read[..] == expected, "{name}");
    }
}
