//! A partition table or a file system, from its first byte on: nothing panics, and what is done is bounded.
#![no_main]

use std::collections::HashMap;
use std::io;

use libfuzzer_sys::fuzz_target;
use lucarne_inside::{FileSystem, Kind, ReadAt, detect, partitions, shown};

/// Directories and files that are looked at.
const MAX_NODES: usize = 64;

/// An image of which most is zeros: four bytes for its length in sectors, then sectors of 512 bytes, each behind four
/// bytes for its number.
struct Sparse<'a> {
    len: u64,
    sectors: HashMap<u64, &'a [u8]>,
}

impl<'a> Sparse<'a> {
    fn new(input: &'a [u8]) -> Option<Self> {
        let (len, records) = input.split_first_chunk()?;
        let sectors = records.chunks_exact(516).map(|record| {
            let (number, bytes) = record.split_at(4);
            let number = u32::from_le_bytes([number[0], number[1], number[2], number[3]]);
            (number.into(), bytes)
        });
        Some(Self {
            len: u64::from(u32::from_le_bytes(*len)) * 512,
            sectors: sectors.collect(),
        })
    }
}

impl ReadAt for Sparse<'_> {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|&end| end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.fill(0);
        if buf.is_empty() {
            return Ok(());
        }
        for number in offset / 512..end.div_ceil(512) {
            let Some(sector) = self.sectors.get(&number) else {
                continue;
            };
            let start = (number * 512).max(offset);
            let stop = (number * 512 + 512).min(end);
            buf[(start - offset) as usize..(stop - offset) as usize].copy_from_slice(
                &sector[(start - number * 512) as usize..(stop - number * 512) as usize],
            );
        }
        Ok(())
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(image) = Sparse::new(input) else {
        return;
    };
    let _ = detect(&image);
    let _ = partitions(&image, 512);
    let is_table = matches!(detect(&image), Ok(lucarne_inside::Content::PartitionTable));
    let partitions: &[_] = if is_table {
        &[None, Some(1), Some(5)]
    } else {
        &[None]
    };
    for &partition in partitions {
        match FileSystem::open(&image, partition) {
            Ok(files) => walk(&files),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

fn walk(files: &FileSystem<&Sparse<'_>>) {
    let Ok(root) = files.node(b"/") else {
        return;
    };
    let mut left = vec![(root, b"".to_vec())];
    let mut looked_at = 0;
    while let Some((node, path)) = left.pop() {
        looked_at += 1;
        if looked_at > MAX_NODES {
            return;
        }
        match node.kind {
            Kind::Directory => {
                let Ok(entries) = files.list_node(&node, &path) else {
                    continue;
                };
                for entry in entries.into_iter().take(MAX_NODES) {
                    assert!(!shown(&entry.name).chars().any(char::is_control));
                    let path = [&path, &b"/"[..], &entry.name].concat();
                    if entry.is_plain() && looked_at < 8 {
                        let _ = files.node(&path);
                    }
                    if let Ok(node) = files.entry_node(&entry) {
                        left.push((node, path));
                    }
                }
            }
            Kind::Link => {
                if let Ok(target) = files.link_target(&node) {
                    assert!(target.len() <= 4096);
                }
            }
            _ => read(files, &node, &path),
        }
    }
}

fn read(files: &FileSystem<&Sparse<'_>>, node: &lucarne_inside::Node, path: &[u8]) {
    let Ok(file) = files.open_node(node, path) else {
        return;
    };
    assert_eq!(file.len(), node.len);
    let mut buffer = [0; 5000];
    for at in [0, 1, file.len() / 2, file.len().saturating_sub(5000)] {
        let len = (file.len() - at.min(file.len())).min(5000) as usize;
        let _ = file.read_exact_at(&mut buffer[..len], at);
    }
    assert!(file.read_exact_at(&mut buffer[..1], file.len()).is_err());
    let (mut at, mut count) = (0, 0);
    while let Some(range) = file.next_data(at).filter(|_| count < 1000) {
        assert!(range.start >= at && range.start < range.end && range.end <= file.len());
        (at, count) = (range.end, count + 1);
    }
}
