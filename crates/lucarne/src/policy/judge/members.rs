//! Members that the format does not name: a reader that knows them would see another header.

use lucarne_format::luks2::Metadata;
use serde_json::{Map, Value};

use super::super::finding::quoted;
use super::{Judge, Rule};

const ROOT: &[&str] = &["keyslots", "tokens", "segments", "digests", "config"];
const CONFIG: &[&str] = &["json_size", "keyslots_size", "flags", "requirements"];
const SEGMENT: &[&str] = &[
    "type",
    "offset",
    "size",
    "iv_tweak",
    "encryption",
    "sector_size",
    "integrity",
    "flags",
];
const KEYSLOT: &[&str] = &[
    "type",
    "key_size",
    "priority",
    "af",
    "area",
    "kdf",
    "mode",
    "direction",
];
const AREA: &[&str] = &[
    "type",
    "offset",
    "size",
    "encryption",
    "key_size",
    "hash",
    "sector_size",
    "shift_size",
];
/// Those of the other kind are left behind by a conversion, and tolerated.
const KDF: &[&str] = &[
    "type",
    "salt",
    "hash",
    "iterations",
    "time",
    "memory",
    "cpus",
];
const AF: &[&str] = &["type", "stripes", "hash"];
const INTEGRITY: &[&str] = &[
    "type",
    "journal_encryption",
    "journal_integrity",
    "key_size",
];
const DIGEST: &[&str] = &[
    "type",
    "keyslots",
    "segments",
    "hash",
    "iterations",
    "salt",
    "digest",
];

impl Judge<'_> {
    /// Tokens are left out: what stands in one is its type's affair.
    pub(super) fn members(&mut self, metadata: &Metadata) {
        if !self.is_on(Rule::UnknownMembers) {
            return;
        }
        let root = metadata.json();
        self.known(root, "", ROOT);
        if let Some(config) = object(root, "config") {
            self.known(config, "config.", CONFIG);
            if let Some(requirements) = object(config, "requirements") {
                self.known(requirements, "config.requirements.", &["mandatory"]);
            }
        }
        for (path, segment) in numbered(root, "segments") {
            self.known(segment, &path, SEGMENT);
            self.inner(segment, &path, "integrity", INTEGRITY);
        }
        for (path, keyslot) in numbered(root, "keyslots") {
            self.known(keyslot, &path, KEYSLOT);
            self.inner(keyslot, &path, "area", AREA);
            self.inner(keyslot, &path, "kdf", KDF);
            self.inner(keyslot, &path, "af", AF);
        }
        for (path, digest) in numbered(root, "digests") {
            self.known(digest, &path, DIGEST);
        }
    }

    fn inner(&mut self, of: &Map<String, Value>, path: &str, name: &str, known: &[&str]) {
        if let Some(inner) = object(of, name) {
            self.known(inner, &format!("{path}{name}."), known);
        }
    }

    fn known(&mut self, of: &Map<String, Value>, path: &str, known: &[&str]) {
        for name in of.keys().filter(|name| !known.contains(&name.as_str())) {
            let field = match path.strip_suffix('.') {
                Some(path) => path.to_owned(),
                None => "the JSON".to_owned(),
            };
            self.broken(
                Rule::UnknownMembers,
                field,
                quoted(name),
                "a member that the format names",
            );
        }
    }
}

fn object<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    of.get(name)?.as_object()
}

fn numbered<'a>(
    root: &'a Map<String, Value>,
    name: &'static str,
) -> impl Iterator<Item = (String, &'a Map<String, Value>)> {
    object(root, name)
        .into_iter()
        .flatten()
        .filter_map(move |(id, value)| Some((format!("{name}.{id}."), value.as_object()?)))
}
