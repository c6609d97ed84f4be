//! How much memory there is: physically, and for this process's control group.

use std::{fs, path::Path};

/// The least of the machine's memory and the control groups' limits, in KiB; `None` where the
/// system does not say.
pub(crate) fn memory_limit_kib() -> Option<u64> {
    let root = Path::new("/");
    [meminfo_kib(root, "MemTotal:"), cgroup_limit_kib(root)]
        .into_iter()
        .flatten()
        .min()
}

/// What a new keyslot may take, in KiB: half of [`memory_limit_kib`]; and without swap no more than
/// half of what is available now, unless that is as little as 64 MiB.
pub(crate) fn memory_for_new_keyslot_kib() -> Option<u64> {
    memory_for_new_keyslot_under(Path::new("/"))
}

fn memory_for_new_keyslot_under(root: &Path) -> Option<u64> {
    let total = meminfo_kib(root, "MemTotal:");
    let half = [total, cgroup_limit_kib(root)]
        .into_iter()
        .flatten()
        .min()?
        / 2;
    let has_swap = meminfo_kib(root, "SwapTotal:").is_some_and(|kib| kib > 0);
    match meminfo_kib(root, "MemAvailable:").map(|kib| kib / 2) {
        Some(available) if !has_swap && available > 64 << 10 => Some(half.min(available)),
        _ => Some(half),
    }
}

/// A line of `/proc/meminfo`: `MemTotal:       24100000 kB`.
fn meminfo_kib(root: &Path, name: &str) -> Option<u64> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The least limit of this process's control groups and all above them.
///
/// In a container the path in `/proc/self/cgroup` may be one of the host, of which only the root is
/// mounted here: whatever is readable on the way up counts.
fn cgroup_limit_kib(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        // Version 2: `0::/path`. Version 1: `4:memory:/path`.
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (mount, file) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        let mount = root.join(mount);
        // `..` leads to a group outside of this process's namespace: nothing of it is mounted here.
        let inside = !path.split('/').any(|name| name == "..");
        let group = if inside {
            mount.join(path.trim_start_matches('/'))
        } else {
            mount.clone()
        };
        group
            .ancestors()
            .take_while(|group| group.starts_with(&mount))
            .filter_map(|group| {
                // `max` is no number: no limit.
                let bytes = fs::read_to_string(group.join(file)).ok()?;
                bytes.trim().parse::<u64>().ok()
            })
            .min()
    });
    limits.min().map(|bytes| bytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        root
    }

    const MEMINFO: &str = "MemTotal:       16000000 kB\nMemFree:  100 kB\nMemAvailable:   12000000 kB\nSwapTotal:             0 kB\n";

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let v2 = machine(&[
            ("proc/self/cgroup", "0::/user.slice/app\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/user.slice/app/memory.max", "max\n"),
        ]);
        assert_eq!(cgroup_limit_kib(v2.path()), Some(1 << 20));
        let v1 = machine(&[
            (
                "proc/self/cgroup",
                "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n",
            ),
            (
                "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes",
                "524288000\n",
            ),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ]);
        assert_eq!(cgroup_limit_kib(v1.path()), Some(512_000));
        // A path of the host's, of which only the container's own root is here.
        let container = machine(&[
            ("proc/self/cgroup", "0::/../../host/abc\n"),
            ("sys/fs/cgroup/memory.max", "268435456\n"),
        ]);
        assert_eq!(cgroup_limit_kib(container.path()), Some(262_144));
        let none = machine(&[
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
        ]);
        assert_eq!(cgroup_limit_kib(none.path()), None);
        assert_eq!(cgroup_limit_kib(machine(&[]).path()), None);
    }

    #[test]
    fn a_new_keyslot_takes_half_of_what_there_is() {
        let plain = machine(&[("proc/meminfo", MEMINFO)]);
        assert_eq!(memory_for_new_keyslot_under(plain.path()), Some(6_000_000));
        let with_swap = MEMINFO.replace("SwapTotal:             0", "SwapTotal:       1000000");
        let swap = machine(&[("proc/meminfo", &with_swap)]);
        assert_eq!(memory_for_new_keyslot_under(swap.path()), Some(8_000_000));
        let grouped = machine(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ]);
        assert_eq!(memory_for_new_keyslot_under(grouped.path()), Some(1 << 19));
        assert_eq!(memory_for_new_keyslot_under(machine(&[]).path()), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_has_memory() {
        let total = memory_limit_kib().unwrap();
        assert!(memory_for_new_keyslot_kib().unwrap() <= total / 2);
    }
}
