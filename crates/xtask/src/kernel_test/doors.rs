//! What a file system looks like through this system's kernel on our file: `serve --fuse`, a loop device, ext4.

use std::path::Path;

use anyhow::Result;
use lucarne_testkit::peers;

use super::Lucarne;
use crate::command::{command, output};

/// Whether this system's kernel mounts what we serve; says why if not.
pub(super) fn can_mount() -> bool {
    let is_root = output(&mut command("id", ["-u"])).is_ok_and(|id| id.trim() == "0");
    let missing = if !is_root {
        Some("only root sets up loop devices".to_owned())
    } else if let Some(device) = ["/dev/fuse", "/dev/loop-control"]
        .into_iter()
        .find(|device| !Path::new(device).exists())
    {
        Some(format!("{device} is not there"))
    } else {
        ["losetup", "mountpoint"]
            .into_iter()
            .find(|program| peers::locate(program).is_none())
            .map(|program| format!("{program} is not installed"))
    };
    if let Some(missing) = &missing {
        println!("skipped: file systems through our file and dm-crypt: {missing}");
    }
    missing.is_none()
}

/// Makes an ext4 file system in a volume and copies a folder's content into it.
pub(super) fn fill(lucarne: &Lucarne, image: &Path, key: &Path, folder: &Path) -> Result<()> {
    let folder = folder.join(".");
    let copy = ["cp", "-r"].map(Path::new);
    mounted(
        lucarne,
        image,
        key,
        "make",
        &[copy[0], copy[1], &folder, Path::new(".")],
    )
    .map(drop)
}

/// The hash of a file in a volume's file system.
pub(super) fn file_sha256(
    lucarne: &Lucarne,
    image: &Path,
    key: &Path,
    file: &str,
) -> Result<String> {
    let command = ["sha256sum", file].map(Path::new);
    let printed = mounted(lucarne, image, key, "keep", &command)?;
    Ok(printed.split(' ').next().unwrap_or_default().to_owned())
}

fn mounted(
    lucarne: &Lucarne,
    image: &Path,
    key: &Path,
    how: &str,
    inside: &[&Path],
) -> Result<String> {
    let script = include_str!("../../host/mounted.sh");
    let mut shell = command("sh", ["-euc", script, "mounted.sh"]);
    shell.arg(&lucarne.0).arg(image).arg(key).arg(how);
    // A user's PATH may lack losetup and mkfs.ext4.
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    output(shell.args(inside))
}
