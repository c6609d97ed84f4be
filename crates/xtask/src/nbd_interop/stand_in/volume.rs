//! A volume of what another server would have served.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;
use tempfile::TempDir;

use super::{Content, Options, Wanted};
use crate::command::run_quietly;

/// Key derivation that costs nothing, and holes that stay holes.
const ENCRYPT: [&str; 7] = [
    "encrypt",
    "--batch-mode",
    "--sparse",
    "--pbkdf",
    "pbkdf2",
    "--pbkdf-force-iterations",
    "1000",
];
const PASSPHRASE: &str = "a passphrase of tests";

/// A volume in a folder of its own.
pub(super) struct Volume {
    pub(super) dir: TempDir,
    pub(super) image: PathBuf,
    pub(super) key: PathBuf,
    /// An image of no bytes that matter, where the other must have a name.
    pub(super) other: Option<PathBuf>,
}

/// A volume, or why there is none.
pub(super) fn make(options: &Options, wanted: &Wanted) -> Result<Result<Volume, String>> {
    let dir = tempfile::Builder::new()
        .prefix("")
        .tempdir_in(&options.scratch)?;
    let key = dir.path().join("key");
    std::fs::write(&key, PASSPHRASE)?;
    let plain = dir.path().join("plain");
    let mut read_from = match &wanted.content {
        Content::Plugin(arguments) => {
            let mut copy = Command::new("nbdcopy");
            // What nbdkit calls data is to be data here too, zeros or not, and no more: its pages are of 32 KiB.
            copy.args(["--sparse=0", "--request-size=32768", "--", "["]);
            copy.arg(&options.nbdkit);
            copy.args(["-r", "--exit-with-parent"]).args(arguments);
            copy.arg("]").arg(&plain);
            // The socket in it is not for that one.
            copy.env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
            if let Err(error) = run_quietly(copy.stdin(Stdio::null())) {
                return Ok(Err(format!("nbdkit {}: {error:#}", arguments.join(" "))));
            }
            plain.clone()
        }
        Content::Image(image, Some(format)) if format == "raw" => image.clone(),
        Content::Image(image, format) => {
            let mut convert = Command::new("qemu-img");
            convert.arg("convert");
            if let Some(format) = format {
                convert.args(["-f", format]);
            }
            convert.args(["-O", "raw"]).arg(image).arg(&plain);
            convert.stdin(Stdio::null());
            if let Err(error) = run_quietly(&mut convert) {
                return Ok(Err(format!("qemu-img: {error:#}")));
            }
            plain.clone()
        }
    };
    let len = match read_from.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Ok(Err("what is no file".to_owned())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    if len == 0 && plain.exists() {
        // nbdkit's way to say that nobody looks.
        std::fs::write(&plain, [0; 512])?;
    } else if len % 512 != 0 && matches!(wanted.content, Content::Image(..)) {
        // QEMU fills the last sector up.
        run_quietly(Command::new("cp").arg(&read_from).arg(&plain))?;
        let file = OpenOptions::new().write(true).open(&plain)?;
        file.set_len(len.next_multiple_of(512))?;
        read_from = plain.clone();
    } else if len == 0 || len % 512 != 0 {
        return Ok(Err(format!("a disk of {len} bytes, which are no sectors")));
    }
    let name = wanted.export_name.as_deref().unwrap_or("image");
    let volumes = dir.path().join("volumes");
    std::fs::create_dir(&volumes)?;
    let image = volumes.join(name);
    encrypt(options, &key, &read_from, &image)?;
    let mut other = None;
    if wanted.export_name.is_some() {
        let (plain, path) = (dir.path().join("other.plain"), volumes.join("other volume"));
        std::fs::write(&plain, [0; 4096])?;
        encrypt(options, &key, &plain, &path)?;
        other = Some(path);
    }
    // Gone already where it was none of ours.
    let _ = std::fs::remove_file(&plain);
    Ok(Ok(Volume {
        dir,
        image,
        key,
        other,
    }))
}

fn encrypt(options: &Options, key: &Path, from: &Path, to: &Path) -> Result<()> {
    let mut encrypt = Command::new(&options.lucarne);
    encrypt.args(ENCRYPT).arg("--key-file").arg(key);
    // Sectors that do not fit would be filled up, and the disk be longer than the other server's.
    if from.metadata()?.len() % 4096 != 0 {
        encrypt.args(["--sector-size", "512"]);
    }
    run_quietly(encrypt.arg(from).arg(to).stdin(Stdio::null()))
}
