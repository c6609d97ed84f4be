//! A corpus of headers, each a sound one with one rule of the format broken, or nearly broken.
//!
//! | module | what its cases are about |
//! |---|---|
//! | `binary` | the 4096 bytes before the JSON, and the checksum |
//! | `text` | the JSON's form: syntax, depth, terminator, numbers, names of members |
//! | `members` | every member of every object: absent, of another type, and its values at the limits |
//! | `relations` | members against each other: references, numbering, areas, segments, re-encryption |
//! | `copies` | the two copies against each other, and files that end early |
//! | `luks1` | LUKS1, all of it |
//!
//! Nothing is committed but the code: a case is a change of one of `testdata/images`, and the same in every run. A
//! case's name is what the committed lists of verdicts know it by.

mod binary;
mod copies;
mod luks1;
mod members;
mod relations;
mod text;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::luks2;
use crate::scratch::Scratch;
use crate::vectors::Vector;

/// The passphrase of every case's keyslot, which is number 0 in LUKS2.
pub const PASSPHRASE: &str = "fixture passphrase";

/// A sound volume that cases are changes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// One keyslot with PBKDF2, one segment at 1 MiB.
    Plain,
    /// One keyslot with Argon2id.
    Argon2,
    /// Copies of 32 KiB.
    Large,
    /// Three keyslots, 0, 4 and 31, of normal, preferred and ignored priority.
    Priorities,
    /// A second keyslot, whose key is not the volume's.
    Unbound,
    /// A re-encryption that was begun and has not moved a sector.
    Reencryption,
    /// The header in a file of its own.
    Detached,
    /// LUKS1 with aes-xts-plain64 and a key of 64 bytes, in keyslot 6.
    Luks1,
}

impl Base {
    /// Those of LUKS2.
    pub const LUKS2: [Self; 7] = [
        Self::Plain,
        Self::Argon2,
        Self::Large,
        Self::Priorities,
        Self::Unbound,
        Self::Reencryption,
        Self::Detached,
    ];

    /// The name that cases begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Argon2 => "argon2",
            Self::Large => "large",
            Self::Priorities => "priorities",
            Self::Unbound => "unbound",
            Self::Reencryption => "reencryption",
            Self::Detached => "detached",
            Self::Luks1 => "luks1",
        }
    }

    /// The image of `testdata/images`.
    fn vector(self) -> &'static str {
        match self {
            Self::Plain => "kdf-pbkdf2",
            Self::Argon2 => "kdf-argon2id",
            Self::Large => "metadata-32k",
            Self::Priorities => "keyslots-priorities",
            Self::Unbound => "keyslots-unbound",
            Self::Reencryption => "refused-reencryption",
            Self::Detached => "detached-header",
            Self::Luks1 => "luks1-xts-512",
        }
    }
}

/// A volume in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The device that the header lies on.
    pub header: Vec<u8>,
    /// The data device, if the header is detached.
    pub data: Option<Vec<u8>>,
}

/// The unpacked images that cases are made of.
#[derive(Debug)]
pub struct Bases(BTreeMap<Base, Image>);

impl Bases {
    /// Unpacks them.
    ///
    /// # Panics
    /// If an image is missing or has another passphrase.
    pub fn unpack() -> Self {
        let scratch = Scratch::new();
        let folder = crate::testdata().join("images");
        let read = |path| std::fs::read(path).expect("an unpacked image is readable");
        let of = |base: Base| {
            let vector = Vector::load(&folder.join(format!("{}.txt", base.vector())));
            assert_eq!(vector.key(), PASSPHRASE.as_bytes(), "{}", vector.name);
            let unpacked = vector.unpack(&scratch);
            let (header, data) = match unpacked.header {
                Some(header) => (read(header), Some(read(unpacked.image))),
                None => (read(unpacked.image), None),
            };
            (base, Image { header, data })
        };
        let bases = Base::LUKS2.into_iter().chain([Base::Luks1]);
        Self(bases.map(of).collect())
    }

    /// The sound volume itself.
    pub fn sound(&self, base: Base) -> &Image {
        &self.0[&base]
    }
}

/// What is done to a sound volume.
type Change = Box<dyn Fn(&mut Image) + Send + Sync>;

/// A sound volume and what is done to it.
pub struct Case {
    /// Unique; begins with the base's name.
    pub name: String,
    base: Base,
    change: Change,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

impl Case {
    /// The changed volume.
    pub fn image(&self, bases: &Bases) -> Image {
        let mut image = bases.sound(self.base).clone();
        (self.change)(&mut image);
        image
    }
}

/// Cases in the making.
#[derive(Default)]
struct Corpus(Vec<Case>);

impl Corpus {
    fn push(
        &mut self,
        base: Base,
        what: impl std::fmt::Display,
        change: impl Fn(&mut Image) + Send + Sync + 'static,
    ) {
        self.0.push(Case {
            name: format!("{}: {what}", base.name()),
            base,
            change: Box::new(change),
        });
    }

    /// A change of the JSON in both copies, checksums right.
    fn json(
        &mut self,
        base: Base,
        what: impl std::fmt::Display,
        edit: impl Fn(&mut Value) + Send + Sync + 'static,
    ) {
        self.push(base, what, move |image| {
            luks2::edit_json(&mut image.header, &edit);
        });
    }

    /// A member set to a value, by its path `keyslots.0.key_size`.
    fn set(&mut self, base: Base, path: &str, value: Value) {
        let what = format!("{path} = {value}");
        let path = path.to_owned();
        self.json(base, what, move |json| set(json, &path, value.clone()));
    }

    /// [`Self::set`], a case for each value.
    fn each(&mut self, base: Base, path: &str, values: impl IntoIterator<Item = Value>) {
        for value in values {
            self.set(base, path, value);
        }
    }

    /// Another text in both copies, made from the JSON's, checksums right.
    fn text(
        &mut self,
        base: Base,
        what: impl std::fmt::Display,
        text: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) {
        self.push(base, what, move |image| {
            let json = luks2::json(&image.header, 0).to_string();
            luks2::set_json(&mut image.header, &text(&json));
        });
    }
}

/// The cases of LUKS1, the sound volume first.
pub fn luks1_corpus() -> Vec<Case> {
    let mut corpus = Corpus::default();
    corpus.push(Base::Luks1, "sound", |_| {});
    luks1::cases(&mut corpus);
    corpus.0
}

/// The cases of LUKS2, sound volumes first.
pub fn corpus() -> Vec<Case> {
    let mut corpus = Corpus::default();
    for base in Base::LUKS2 {
        corpus.push(base, "sound", |_| {});
    }
    binary::cases(&mut corpus);
    text::cases(&mut corpus);
    members::cases(&mut corpus);
    relations::cases(&mut corpus);
    copies::cases(&mut corpus);
    corpus.0
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

/// The member at `path`, which must be there.
fn member<'a>(json: &'a mut Value, path: &str) -> &'a mut Value {
    json.pointer_mut(&pointer(path))
        .unwrap_or_else(|| panic!("the base has {path}"))
}

/// Sets the member at `path`; the object it stands in must be there.
fn set(json: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = if parent.is_empty() {
        json
    } else {
        member(json, parent)
    };
    let parent = parent.as_object_mut().expect("members stand in objects");
    parent.insert(name.to_owned(), value);
}

/// Takes the member at `path` away and returns it.
fn take(json: &mut Value, path: &str) -> Value {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let parent = if parent.is_empty() {
        json
    } else {
        member(json, parent)
    };
    let parent = parent.as_object_mut().expect("members stand in objects");
    parent
        .shift_remove(name)
        .unwrap_or_else(|| panic!("the base has {path}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_fit_a_table() {
        let (luks2, luks1) = (corpus(), luks1_corpus());
        assert!(luks2.len() >= 250, "{} cases", luks2.len());
        assert!(luks1.len() >= 60, "{} cases", luks1.len());
        for case in luks2.into_iter().chain(luks1) {
            let fits = case.name.bytes().all(|byte| (b' '..0x7f).contains(&byte));
            assert!(fits, "{:?}", case.name);
        }
    }

    #[test]
    fn every_case_is_another_image_and_the_same_in_every_run() {
        let bases = Bases::unpack();
        let (mut names, mut images) = (BTreeSet::new(), BTreeMap::new());
        let mut doubles = Vec::new();
        for case in corpus().into_iter().chain(luks1_corpus()) {
            let image = case.image(&bases);
            assert!(image == case.image(&bases), "{}", case.name);
            let data = image.data.unwrap_or_default();
            let hash = crate::payload::sha256_hex(&[image.header, data].concat());
            if let Some(other) = images.insert(hash, case.name.clone()) {
                doubles.push(format!("{} is the same image as {other}", case.name));
            }
            if !names.insert(case.name.clone()) {
                doubles.push(format!("{} is there twice", case.name));
            }
        }
        assert!(doubles.is_empty(), "{}", doubles.join("\n"));
    }
}
