//! The token `lucarne-rekey`: what an unfinished copy is a copy of, and how far it is.
//!
//! ```json
//! {"type": "lucarne-rekey", "keyslots": [], "version": 1,
//!  "source": {"uuid": "0b61d7cc-…", "seqid": "5", "volume_key_digest": "d61b…", "bytes": "1048576", "stamp": "…"},
//!  "bytes": "1048576", "sparse": false, "done": "524288"}
//! ```
//!
//! It stands in the new volume's own header, so it can be of no other copy; the requirement of the same name
//! keeps every tool from taking the volume for a complete one. Both go with the last write. 64-bit numbers
//! are decimal strings, as everywhere in LUKS2. Nothing authenticates it: whoever can write to the unfinished
//! copy can spoil it in any way, which `verify` shows.

use lucarne_format::luks2::{Header, Metadata, Requirement};
use serde_json::{Map, Value, json};

use crate::{Error, VolumeIdentity};

pub(super) const NAME: &str = "lucarne-rekey";
const VERSION: u64 = 1;

/// What is read, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) identity: VolumeIdentity,
    /// Bytes of plaintext.
    pub(super) len: u64,
    /// What the caller knows of the state that its bytes are in.
    pub(super) stamp: Option<String>,
}

impl Source {
    /// Why a copy of this one cannot go on from `other`.
    pub(super) fn refuse_other(&self, other: &Self) -> Result<(), Error> {
        let (begun, now) = (&self.identity, &other.identity);
        let what = if begun.uuid != now.uuid {
            format!(
                "it is a copy of volume {}, and this is {}",
                begun.uuid, now.uuid
            )
        } else if begun.volume_key_digest != now.volume_key_digest {
            "the source has another volume key by now".to_owned()
        } else if begun.seqid != now.seqid {
            let shown =
                |seqid: Option<u64>| seqid.map_or("none".to_owned(), |seqid| seqid.to_string());
            format!(
                "the source's header has been changed since: its seqid was {} and is {}",
                shown(begun.seqid),
                shown(now.seqid)
            )
        } else if self.len != other.len {
            format!(
                "the source had {} bytes of plaintext and has {}",
                self.len, other.len
            )
        } else if self.stamp != other.stamp {
            "the source has been written to since".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::refused(format!(
            "the unfinished copy cannot go on: {what}"
        )))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) source: Source,
    /// Bytes of plaintext in the new volume.
    pub(super) len: u64,
    pub(super) sparse: bool,
    /// All plaintext before this byte is copied and durable.
    pub(super) done: u64,
}

impl Record {
    /// The record of an unfinished copy, and its token's number; `None` if the header is not that of one.
    pub(super) fn find(metadata: &Metadata) -> Result<Option<(u32, Self)>, Error> {
        if !metadata.requirements().contains(&requirement()) {
            return Ok(None);
        }
        let token = metadata
            .tokens()
            .iter()
            .find(|(_, token)| token.kind == NAME);
        match token.and_then(|(&id, token)| Some((id, Self::parse(&token.json)?))) {
            Some(found) => Ok(Some(found)),
            None => Err(Error::unsupported(format!(
                "the header of an unfinished copy without a {NAME} token of version {VERSION}"
            ))),
        }
    }

    fn parse(json: &Map<String, Value>) -> Option<Self> {
        if json.get("version")?.as_u64()? != VERSION {
            return None;
        }
        let source = json.get("source")?;
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let number = |value: &Value, name: &str| text(value, name)?.parse::<u64>().ok();
        let whole = Value::Object(json.clone());
        let record = Self {
            source: Source {
                identity: VolumeIdentity {
                    uuid: text(source, "uuid")?,
                    seqid: match source.get("seqid")? {
                        Value::Null => None,
                        _ => Some(number(source, "seqid")?),
                    },
                    volume_key_digest: text(source, "volume_key_digest")?,
                },
                len: number(source, "bytes")?,
                stamp: match source.get("stamp")? {
                    Value::Null => None,
                    _ => Some(text(source, "stamp")?),
                },
            },
            len: number(&whole, "bytes")?,
            sparse: json.get("sparse")?.as_bool()?,
            done: number(&whole, "done")?,
        };
        (record.done <= record.len && record.source.len <= record.len).then_some(record)
    }

    fn to_json(&self) -> Map<String, Value> {
        let identity = &self.source.identity;
        let Value::Object(json) = json!({
            "type": NAME,
            "keyslots": [],
            "version": VERSION,
            "source": {
                "uuid": identity.uuid,
                "seqid": identity.seqid.map(|seqid| seqid.to_string()),
                "volume_key_digest": identity.volume_key_digest,
                "bytes": self.source.len.to_string(),
                "stamp": self.source.stamp,
            },
            "bytes": self.len.to_string(),
            "sparse": self.sparse,
            "done": self.done.to_string(),
        }) else {
            unreachable!("the braces make an object")
        };
        json
    }

    /// A complete volume's header as that of an unfinished copy; the token's number too.
    pub(super) fn put_into(&self, header: &Header) -> Result<(Header, u32), Error> {
        let mut id = 0;
        let header = header.edit(|draft| {
            draft.set_requirements(&[requirement()]);
            id = draft.free_token_id().unwrap_or_default();
            draft.insert_token(id, self.to_json())
        })?;
        Ok((header, id))
    }

    /// The header with this in the place of the record `id`.
    pub(super) fn update_in(&self, header: &Header, id: u32) -> Result<Header, Error> {
        Ok(header.edit(|draft| {
            draft.remove_token(id)?;
            draft.insert_token(id, self.to_json())
        })?)
    }

    /// The header as that of a complete volume.
    pub(super) fn take_from(header: &Header, id: u32) -> Result<Header, Error> {
        Ok(header.edit(|draft| {
            draft.set_requirements(&[]);
            draft.remove_token(id)
        })?)
    }
}

fn requirement() -> Requirement {
    Requirement::from(NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            source: Source {
                identity: VolumeIdentity {
                    uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
                    seqid: Some(5),
                    volume_key_digest: "d61b".into(),
                },
                len: 1000,
                stamp: Some("7".into()),
            },
            len: 4096,
            sparse: true,
            done: 512,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let of_luks1 = |mut record: Record| {
            record.source.identity.seqid = None;
            record.source.stamp = None;
            record
        };
        for written in [record(), of_luks1(record())] {
            assert_eq!(Record::parse(&written.to_json()), Some(written));
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_record() {
        let json = record().to_json();
        for (member, value) in [
            ("version", json!(2)),
            ("done", json!("4097")),
            ("done", json!(512)),
            ("bytes", json!("999")),
            ("sparse", json!("yes")),
            ("source", json!({})),
        ] {
            let mut changed = json.clone();
            changed.insert(member.into(), value);
            assert_eq!(Record::parse(&changed), None, "{member}");
        }
    }

    #[test]
    fn each_difference_of_the_source_has_its_words() {
        let begun = record().source;
        begun.refuse_other(&begun.clone()).unwrap();
        type Change = fn(&mut Source);
        let changes: [(Change, &str); 5] = [
            (
                |source| source.identity.uuid = "x".into(),
                "a copy of volume",
            ),
            (
                |source| source.identity.volume_key_digest = "x".into(),
                "another volume key",
            ),
            (|source| source.identity.seqid = Some(6), "was 5 and is 6"),
            (|source| source.len = 512, "had 1000 bytes"),
            (|source| source.stamp = None, "written to since"),
        ];
        for (change, words) in changes {
            let mut now = begun.clone();
            change(&mut now);
            let error = begun.refuse_other(&now).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
