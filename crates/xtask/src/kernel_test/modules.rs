//! Kernel modules in the order in which they load, told by the modules themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The modules below a folder such as `/lib/modules/6.1.0-1-amd64`, by name.
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Modules {
    pub(super) fn find(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let builtin = std::fs::read_to_string(folder.join("modules.builtin"))?;
        let builtin = builtin
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        Ok(Self { files, builtin })
    }

    /// The named modules and all that they need, each after what it needs.
    pub(super) fn in_load_order(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(name, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<()> {
        let name = name.replace('-', "_");
        if self.builtin.contains(&name) || !seen.insert(name.clone()) {
            return Ok(());
        }
        let path = self
            .files
            .get(&name)
            .with_context(|| format!("the kernel has no module {name}"))?;
        let bytes = unpacked(path)?;
        for needed in depends(&bytes) {
            self.visit(&needed, seen, order)?;
        }
        order.push((name, bytes));
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `dm_crypt` for `…/dm-crypt.ko` and its packed forms.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (stem, _) = file.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => Ok(std::fs::read(path)?),
        Some("xz") => {
            let mut bytes = Vec::new();
            let file = std::io::BufReader::new(std::fs::File::open(path)?);
            std::io::copy(&mut lzma_rust2::XzReader::new(file, true), &mut bytes)?;
            Ok(bytes)
        }
        _ => bail!("{}: packed in a way that is not known here", path.display()),
    }
}

/// The names in a module's `depends=` entry (section .modinfo).
fn depends(module: &[u8]) -> Vec<String> {
    const ENTRY: &[u8] = b"\0depends=";
    let Some(start) = module
        .windows(ENTRY.len())
        .position(|window| window == ENTRY)
    else {
        return Vec::new();
    };
    let list = &module[start + ENTRY.len()..];
    let end = list
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(list.len());
    let list = String::from_utf8_lossy(&list[..end]).into_owned();
    list.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dependencies() {
        assert_eq!(
            module_name(Path::new("kernel/drivers/md/dm-crypt.ko.xz")).as_deref(),
            Some("dm_crypt")
        );
        assert_eq!(module_name(Path::new("modules.dep")), None);
        assert_eq!(
            depends(b"license=GPL\0depends=dm-mod,libaes\0retpoline=Y\0"),
            ["dm-mod", "libaes"]
        );
        assert!(depends(b"x\0depends=\0").is_empty());
    }
}
