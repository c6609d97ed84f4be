//! [`FileSystem`]: from a path to a file.

use std::collections::VecDeque;

use lucarne_storage::{ReadAt, ReadWindow};

use crate::detect::{Content, detect};
use crate::error::Error;
use crate::ext::{self, Ext};
use crate::fat::Fat;
use crate::file::File;
use crate::node::{Entry, Kind, Node, What};
use crate::partition::{Partition, partitions};
use crate::window::length;

/// Symbolic links that are followed on the way to one file; Linux's number.
const MAX_LINKS: usize = 40;
/// Names of one directory that are kept in memory.
const MAX_ENTRIES: usize = 1 << 21;

/// The files in a volume, or in a partition of it, read only.
///
/// ```
/// use lucarne_inside::{FileSystem, ReadAt};
/// # fn example(volume: lucarne::Volume<lucarne::FileStorage>) -> Result<(), Box<dyn std::error::Error>> {
/// let files = FileSystem::open(&volume, None)?;
/// for entry in files.list(b"/")? {
///     println!("{}", lucarne_inside::shown(&entry.name));
/// }
/// let weights = files.open_file(b"/models/weights.safetensors")?;
/// let mut head = [0; 16];
/// weights.read_exact_at(&mut head, 0)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FileSystem<R> {
    window: ReadWindow<R>,
    format: Format,
    partition: Option<Partition>,
}

#[derive(Debug)]
enum Format {
    Ext(Box<Ext>),
    Fat(Box<Fat>),
}

impl<R: ReadAt> FileSystem<R> {
    /// Opens the file system that `source` is, or that lies in the partition of this number. Without a number the
    /// only partition that holds one that is read here is taken.
    ///
    /// # Errors
    /// [`Error::NoFileSystem`], [`Error::WhichPartition`], [`Error::NoPartition`]; [`Error::Corrupt`] and
    /// [`Error::Unsupported`] by what the file system says; [`Error::Io`].
    pub fn open(source: R, partition: Option<u32>) -> Result<Self, Error> {
        let len = length(&source)?;
        let (window, content, partition) = match (detect(&source)?, partition) {
            (Content::PartitionTable, number) => {
                let (partition, content) = chosen(&source, number)?;
                let window = ReadWindow::new(source, partition.range.clone());
                (window, content, Some(partition))
            }
            (_, Some(number)) => {
                let partitions = Vec::new();
                return Err(Error::NoPartition { number, partitions });
            }
            (content, None) => (ReadWindow::new(source, 0..len), content, None),
        };
        let format = match content {
            Content::Ext => Format::Ext(Box::new(Ext::open(&window)?)),
            Content::Fat => Format::Fat(Box::new(Fat::open(&window)?)),
            content => {
                let place = match partition {
                    Some(partition) => format!("partition {}", partition.number),
                    None => "the volume".into(),
                };
                return Err(Error::NoFileSystem { place, content });
            }
        };
        Ok(Self {
            window,
            format,
            partition,
        })
    }

    /// `ext2`, `ext3`, `ext4`, `fat12`, `fat16` or `fat32`.
    pub fn format(&self) -> &'static str {
        match &self.format {
            Format::Ext(ext) => ext.version(),
            Format::Fat(fat) => fat.version(),
        }
    }

    /// Its label; empty if it has none.
    pub fn label(&self) -> &str {
        match &self.format {
            Format::Ext(ext) => ext.label(),
            Format::Fat(fat) => fat.label(),
        }
    }

    /// The partition in which it lies, if there is a table.
    pub fn partition(&self) -> Option<&Partition> {
        self.partition.as_ref()
    }

    /// Gives back what was opened.
    pub fn into_source(self) -> R {
        self.window.into_source()
    }

    /// What a path leads to, symbolic links followed: never out of the file system, `/..` is `/`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::TooManyLinks`]; [`Error::Corrupt`],
    /// [`Error::Unsupported`] and [`Error::Io`] on the way.
    pub fn node(&self, path: &[u8]) -> Result<Node, Error> {
        self.resolved(path, true)
    }

    /// As [`Self::node`], but a symbolic link at the path's end is the link itself.
    ///
    /// # Errors
    /// As [`Self::node`].
    pub fn link_node(&self, path: &[u8]) -> Result<Node, Error> {
        self.resolved(path, path.ends_with(b"/"))
    }

    /// The names in a directory, in the directory's order, without `.` and `..`.
    ///
    /// # Errors
    /// As [`Self::node`]; [`Error::NotADirectory`]; [`Error::Unsupported`] for more than two million names.
    pub fn list(&self, path: &[u8]) -> Result<Vec<Entry>, Error> {
        let node = self.node(path)?;
        self.list_node(&node, path)
    }

    /// As [`Self::list`], of a directory that was found before; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn list_node(&self, directory: &Node, path: &[u8]) -> Result<Vec<Entry>, Error> {
        if directory.kind != Kind::Directory {
            let path = path.to_vec();
            return Err(Error::NotADirectory { path });
        }
        let mut entries = Vec::new();
        let mut take = |entry| {
            if entries.len() == MAX_ENTRIES {
                return Err(Error::unsupported(format!(
                    "a directory of more than {MAX_ENTRIES} names"
                )));
            }
            entries.push(entry);
            Ok(true)
        };
        match &self.format {
            Format::Ext(ext) => {
                let number = inode_number(directory)?;
                ext.list(&self.window, number, &mut |name, number, kind| {
                    let what = What::Inode(number);
                    let name = name.to_vec();
                    take(Entry { name, kind, what })
                })?;
            }
            Format::Fat(fat) => fat.list(&self.window, directory, &mut |entry, _| take(entry))?,
        }
        Ok(entries)
    }

    /// What a name stands for; a symbolic link is the link itself.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn entry_node(&self, entry: &Entry) -> Result<Node, Error> {
        match (&entry.what, &self.format) {
            (What::Inode(number), Format::Ext(ext)) => ext.node(&self.window, *number),
            (What::Node(node), _) => Ok(node.clone()),
            (What::Inode(_), Format::Fat(_)) => {
                Err(Error::corrupt("a name of another file system"))
            }
        }
    }

    /// Where a symbolic link leads: any bytes, at most 4096.
    ///
    /// # Errors
    /// [`Error::Corrupt`], also where the node is no link; [`Error::Io`].
    pub fn link_target(&self, link: &Node) -> Result<Vec<u8>, Error> {
        match (&self.format, link.kind, u32::try_from(link.id.0)) {
            (Format::Ext(ext), Kind::Link, Ok(number)) => ext.link_target(&self.window, number),
            _ => Err(Error::corrupt("not a symbolic link")),
        }
    }

    /// Opens the regular file at `path`.
    ///
    /// # Errors
    /// As [`Self::node`]; [`Error::IsADirectory`], [`Error::NotAFile`].
    pub fn open_file(&self, path: &[u8]) -> Result<File<'_>, Error> {
        let node = self.node(path)?;
        self.open_node(&node, path)
    }

    /// As [`Self::open_file`], of a node that was found before; `path` is for messages.
    ///
    /// # Errors
    /// As [`Self::open_file`].
    pub fn open_node(&self, node: &Node, path: &[u8]) -> Result<File<'_>, Error> {
        let path = path.to_vec();
        match node.kind {
            Kind::File => {}
            Kind::Directory => return Err(Error::IsADirectory { path }),
            _ => return Err(Error::NotAFile { path }),
        }
        let layout = match &self.format {
            Format::Ext(ext) => ext.layout(&self.window, inode_number(node)?)?,
            Format::Fat(fat) => fat.layout(&self.window, node)?,
        };
        Ok(File::new(&self.window, layout))
    }

    fn root(&self) -> Result<Node, Error> {
        match &self.format {
            Format::Ext(ext) => ext.node(&self.window, ext::ROOT),
            Format::Fat(fat) => Ok(fat.root()),
        }
    }

    /// The entry of that name; a FAT does not tell upper from lower case, but prefers a name that is the same.
    fn lookup(&self, directory: &Node, name: &[u8], path: &[u8]) -> Result<Option<Entry>, Error> {
        if directory.kind != Kind::Directory {
            let path = path.to_vec();
            return Err(Error::NotADirectory { path });
        }
        let mut result = None;
        match &self.format {
            Format::Ext(ext) => ext.list(
                &self.window,
                inode_number(directory)?,
                &mut |found, number, kind| {
                    if found == name {
                        result = Some(Entry {
                            name: name.to_vec(),
                            kind,
                            what: What::Inode(number),
                        });
                    }
                    Ok(result.is_none())
                },
            )?,
            Format::Fat(fat) => {
                let folded = |name: &[u8]| String::from_utf8_lossy(name).to_lowercase();
                let wanted = folded(name);
                fat.list(&self.window, directory, &mut |entry, short| {
                    let is_it = entry.name == name;
                    let may_be = || folded(&entry.name) == wanted || folded(short) == wanted;
                    if is_it || (result.is_none() && may_be()) {
                        result = Some(entry);
                    }
                    Ok(!is_it)
                })?;
            }
        }
        Ok(result)
    }

    fn resolved(&self, path: &[u8], follows_last: bool) -> Result<Node, Error> {
        // The directories above, for `..`, and the one reached.
        let mut above = Vec::new();
        let mut reached = self.root()?;
        let mut left: VecDeque<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if reached.kind != Kind::Directory {
                return Err(Error::NotADirectory {
                    path: path.to_vec(),
                });
            }
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    reached = above.pop().unwrap_or(reached);
                    continue;
                }
                _ => {}
            }
            let entry = self.lookup(&reached, &name, path)?;
            let entry = entry.ok_or_else(|| Error::NotFound {
                path: path.to_vec(),
            })?;
            let node = self.entry_node(&entry)?;
            if node.kind == Kind::Link && (follows_last || !left.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Error::TooManyLinks {
                        path: path.to_vec(),
                        limit: MAX_LINKS,
                    });
                }
                let target = self.link_target(&node)?;
                if target.starts_with(b"/") {
                    above.clear();
                    reached = self.root()?;
                }
                for name in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(name.to_vec());
                }
                continue;
            }
            above.push(std::mem::replace(&mut reached, node));
        }
        if path.ends_with(b"/") && reached.kind != Kind::Directory {
            return Err(Error::NotADirectory {
                path: path.to_vec(),
            });
        }
        Ok(reached)
    }
}

fn inode_number(node: &Node) -> Result<u32, Error> {
    u32::try_from(node.id.0).map_err(|_| Error::corrupt("a node of another file system"))
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

/// The partition of that number, or the only one that can be read.
fn chosen(source: &dyn ReadAt, number: Option<u32>) -> Result<(Partition, Content), Error> {
    let mut listed = Vec::new();
    // A volume's sectors may be the unit of the table's numbers: it is the one in which something is found.
    for sector_len in [512, 4096] {
        let mut there = Vec::new();
        for partition in partitions(source, sector_len)? {
            let content = detect(&ReadWindow::new(source, partition.range.clone()))?;
            there.push((partition, content));
        }
        let is_readable = |(_, content): &&(Partition, Content)| content.is_readable();
        if listed.is_empty() || there.iter().any(|partition| is_readable(&partition)) {
            listed = there;
        }
        if listed.iter().any(|partition| is_readable(&partition)) {
            break;
        }
    }
    if let Some(number) = number {
        let found = listed
            .iter()
            .find(|(partition, _)| partition.number == number);
        return match found {
            Some(found) => Ok(found.clone()),
            None => Err(Error::NoPartition {
                number,
                partitions: listed,
            }),
        };
    }
    let mut readable = listed.iter().filter(|(_, content)| content.is_readable());
    match (readable.next(), readable.next()) {
        (Some(one), None) => Ok(one.clone()),
        _ => Err(Error::WhichPartition { partitions: listed }),
    }
}
