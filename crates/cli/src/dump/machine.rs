//! `luksDump --json`: one object whose members keep their names and meanings.
//!
//! The manual page lists them.
//! Salts and digests are left out; `--dump-json-metadata` has them.

use lucarne::luks2::{Header, Kdf, Keyslot, Metadata, Segment, SegmentSize};
use serde_json::{Value, json};

use super::{digest_id, is_bound, priority_word, text::argon2_word};

/// The header as a JSON value.
pub(crate) fn header_json(header: &Header) -> Value {
    let metadata = header.metadata();
    let or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let requirements: Vec<_> = metadata
        .requirements()
        .iter()
        .map(|requirement| requirement.as_str())
        .collect();
    json!({
        "version": 2,
        "epoch": header.seqid(),
        "uuid": header.uuid(),
        "label": or_null(header.label()),
        "subsystem": or_null(header.subsystem()),
        "metadata_bytes": header.header_size(),
        "keyslots_bytes": metadata.keyslots_size(),
        "flags": metadata.flags(),
        "requirements": requirements,
        "segments": list(metadata.segments().iter().map(|(id, segment)| segment_json(*id, segment))),
        "keyslots": list(
            metadata.keyslots().iter().map(|(id, keyslot)| keyslot_json(metadata, *id, keyslot)),
        ),
        "tokens": list(metadata.tokens().iter().map(|(id, token)| {
            json!({ "id": id, "type": token.kind, "keyslots": token.keyslots })
        })),
        "digests": list(metadata.digests().iter().map(|(id, digest)| {
            json!({
                "id": id,
                "type": "pbkdf2",
                "hash": digest.hash,
                "iterations": digest.iterations,
                "keyslots": digest.keyslots,
                "segments": digest.segments,
            })
        }).chain(metadata.unusable_digests().iter().map(|(id, digest)| {
            json!({
                "id": id,
                "type": digest.kind,
                "keyslots": digest.keyslots,
                "segments": digest.segments,
                "unusable": digest.defect.to_string(),
            })
        }))),
    })
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    values.collect()
}

fn segment_json(id: u32, segment: &Segment) -> Value {
    let crypt = match segment {
        Segment::Crypt(crypt) => Some(crypt),
        _ => None,
    };
    json!({
        "id": id,
        "type": segment.kind(),
        "offset_bytes": segment.offset(),
        "size_bytes": match segment.size() {
            SegmentSize::Dynamic => None,
            SegmentSize::Bytes(bytes) => Some(bytes),
        },
        "cipher": crypt.map(|crypt| &crypt.encryption),
        "sector_bytes": crypt.map(|crypt| crypt.sector_size),
        "integrity": crypt.and_then(|crypt| crypt.integrity.as_ref()),
        "flags": segment.flags(),
    })
}

fn keyslot_json(metadata: &Metadata, id: u32, keyslot: &Keyslot) -> Value {
    let area = keyslot.area_range();
    let mut value = json!({
        "id": id,
        "type": keyslot.kind(),
        "key_bits": u64::from(keyslot.key_size()) * 8,
        "priority": priority_word(keyslot.priority()),
        "bound": is_bound(metadata, id),
        "digest": digest_id(metadata, id),
        "area_offset_bytes": area.start,
        "area_size_bytes": area.end.saturating_sub(area.start),
    });
    if let Keyslot::Unusable(unusable) = keyslot {
        value["unusable"] = json!(unusable.defect.to_string());
    }
    if let Keyslot::Luks2(luks2) = keyslot {
        value["cipher"] = json!(luks2.area.encryption);
        value["cipher_key_bits"] = json!(u64::from(luks2.area.key_size) * 8);
        value["af_hash"] = json!(luks2.af.hash);
        value["af_stripes"] = json!(luks2.af.stripes);
        value["pbkdf"] = match &luks2.kdf {
            Kdf::Pbkdf2 {
                hash, iterations, ..
            } => json!({ "type": "pbkdf2", "hash": hash, "iterations": iterations }),
            Kdf::Argon2 {
                variant,
                time,
                memory_kib,
                lanes,
                ..
            } => json!({
                "type": argon2_word(*variant),
                "time_cost": time,
                "memory_kib": memory_kib,
                "threads": lanes,
            }),
            Kdf::Unknown { kind } => json!({ "type": kind }),
            _ => Value::Null,
        };
    }
    value
}
