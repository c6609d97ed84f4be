//! Every rule of the metadata, each broken alone, and the words that say so.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::json_area;
use lucarne_format::luks2::{Keyslot, Metadata, Requirement, Resilience};
use serde_json::{Value, json};

fn refused(change: impl FnOnce(&mut Value)) -> String {
    Metadata::from_json_area(&json_area(change))
        .unwrap_err()
        .to_string()
}

fn accepted(change: impl FnOnce(&mut Value)) -> Metadata {
    Metadata::from_json_area(&json_area(change)).unwrap()
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.shift_remove(name).unwrap();
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(name.into(), new);
}

#[test]
fn the_sample_is_valid() {
    accepted(|_| {});
}

#[test]
fn no_member_may_be_missing() {
    for pointer in [
        "/keyslots",
        "/digests",
        "/segments",
        "/tokens",
        "/config",
        "/config/json_size",
        "/config/keyslots_size",
        "/keyslots/0/type",
        "/keyslots/0/key_size",
        "/keyslots/0/af",
        "/keyslots/0/af/type",
        "/keyslots/0/af/stripes",
        "/keyslots/0/af/hash",
        "/keyslots/0/kdf",
        "/keyslots/0/kdf/type",
        "/keyslots/0/kdf/hash",
        "/keyslots/0/kdf/iterations",
        "/keyslots/0/kdf/salt",
        "/keyslots/1/kdf/time",
        "/keyslots/1/kdf/memory",
        "/keyslots/1/kdf/cpus",
        "/keyslots/1/kdf/salt",
        "/keyslots/0/area",
        "/keyslots/0/area/type",
        "/keyslots/0/area/offset",
        "/keyslots/0/area/size",
        "/keyslots/0/area/encryption",
        "/keyslots/0/area/key_size",
        "/digests/0/type",
        "/digests/0/keyslots",
        "/digests/0/segments",
        "/segments/0/type",
        "/segments/0/offset",
        "/segments/0/size",
        "/segments/0/iv_tweak",
        "/segments/0/encryption",
        "/segments/0/sector_size",
        "/tokens/0/type",
        "/tokens/0/keyslots",
    ] {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        assert_eq!(
            refused(|json| remove(json, pointer)),
            format!("corrupt header: {path} is missing")
        );
        // Nor be of another type.
        let error = refused(|json| set(json, pointer, json!(true)));
        assert!(
            error.starts_with(&format!("corrupt header: {path} is a boolean, must be ")),
            "{error}"
        );
        // Nor be an empty string.
        refused(|json| set(json, pointer, json!("")));
    }
}

#[test]
fn members_are_within_their_limits() {
    for (pointer, value, error) in [
        (
            "/keyslots/0/key_size",
            json!(-1),
            "keyslots.0.key_size is -1, must be an integer from 0 to 4294967295",
        ),
        (
            "/keyslots/0/af/type",
            json!("luks2"),
            "keyslots.0.af.type is \"luks2\", must be \"luks1\"",
        ),
        (
            "/keyslots/0/area/type",
            json!("round"),
            "keyslots.0.area.type is \"round\", must be \"raw\"",
        ),
        (
            "/keyslots/0/area/size",
            json!("0"),
            "keyslots.0.area.size is 0, the least is 1",
        ),
        (
            "/keyslots/0/area/offset",
            json!("18446744073709551104"),
            "keyslots.0.area is 0xfffffffffffffe00+0x3f000, past 64 bits",
        ),
        (
            "/keyslots/0/area/offset",
            json!("0"),
            "keyslot 0 area 0x0+0x3f000 lies outside the keyslots area 0x8000+0x100000",
        ),
        (
            "/keyslots/0/area/offset",
            json!("1081344"),
            "keyslot 0 area 0x108000+0x3f000 lies outside the keyslots area 0x8000+0x100000",
        ),
        (
            "/keyslots/1/area/offset",
            json!("65536"),
            "keyslot 1 area 0x10000+0x3f000 overlaps keyslot 0 area 0x8000+0x3f000",
        ),
        (
            "/digests/0/keyslots",
            json!(["0"]),
            "keyslot 1 belongs to 0 digests, must belong to exactly one",
        ),
        (
            "/digests/0/keyslots",
            json!(["0", "1", "2"]),
            "digests.0.keyslots names keyslot 2, which does not exist",
        ),
        (
            "/digests/0/keyslots",
            json!(["0", "01"]),
            "digests.0.keyslots[1] is \"01\", must be a number from 0 to 31",
        ),
        (
            "/digests/0/keyslots",
            json!([0]),
            "digests.0.keyslots[0] is a number, must be a string",
        ),
        (
            "/digests/0/segments",
            json!([]),
            "segment 0 belongs to no digest",
        ),
        (
            "/digests/0/segments",
            json!(["0", "1"]),
            "digests.0.segments names segment 1, which does not exist",
        ),
        (
            "/digests/1",
            json!({"type": "pbkdf2", "keyslots": ["0"], "segments": [], "hash": "sha1", "iterations": 1,
            "salt": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "digest": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}),
            "keyslot 0 belongs to 2 digests, must belong to exactly one",
        ),
        (
            "/tokens/0/keyslots",
            json!(["7"]),
            "tokens.0.keyslots names keyslot 7, which does not exist",
        ),
        (
            "/segments/0/offset",
            json!("513"),
            "segments.0.offset is 513, must be a multiple of 512",
        ),
        ("/segments/0/offset", json!("1081343488"), ""),
        (
            "/segments/0/size",
            json!("0"),
            "segments.0.size is 0, the least is 512",
        ),
        (
            "/segments/0/size",
            json!("512"),
            "segments.0.size is 512, must be a multiple of 4096",
        ),
        (
            "/segments/0/size",
            json!("18446744073709551104"),
            "segments.0 is 0x1000000+0xfffffffffffffe00, past 64 bits",
        ),
        (
            "/segments/0/size",
            json!("all"),
            "segments.0.size is \"all\", must be a decimal string of at most 64 bits",
        ),
        (
            "/segments/0/sector_size",
            json!(513),
            "segments.0.sector_size is 513, must be a multiple of 512",
        ),
        (
            "/segments/0/sector_size",
            json!(0),
            "segments.0.sector_size is 0, the least is 1",
        ),
        (
            "/segments/0/integrity",
            json!("hmac"),
            "segments.0.integrity is a string, must be an object",
        ),
        (
            "/segments/0/integrity",
            json!({"type": "aead"}),
            "segments.0.integrity.journal_encryption is missing",
        ),
        (
            "/segments/0/flags",
            json!("x"),
            "segments.0.flags is a string, must be an array",
        ),
        (
            "/segments/0/flags",
            json!(["backup-final"]),
            "segment 0 is a backup, and no regular segment comes before it",
        ),
        (
            "/segments/2",
            json!({"type": "linear", "offset": "0", "size": "512"}),
            "segment 1 is missing: segments are numbered without gaps",
        ),
        (
            "/segments/00",
            json!({"type": "linear", "offset": "0", "size": "512"}),
            "segments number is \"00\", must be a number from 0 to 31",
        ),
        (
            "/keyslots/32",
            json!({}),
            "keyslots number is \"32\", must be a number from 0 to 31",
        ),
        (
            "/config/json_size",
            json!("16384"),
            "config.json_size is 16384, must be a power of two from 16384 to 4194304, less 4096",
        ),
        (
            "/config/json_size",
            json!("28672"),
            "config.json_size is 28672, the header's is 12288",
        ),
        (
            "/config/json_size",
            json!("+12288"),
            "config.json_size is \"+12288\", must be a decimal string of at most 64 bits",
        ),
        (
            "/config/keyslots_size",
            json!("4095"),
            "config.keyslots_size is 4095, must be a multiple of 4096",
        ),
        (
            "/config/keyslots_size",
            json!("134221824"),
            "config.keyslots_size is 134221824, the limit is 134217728",
        ),
        (
            "/config/keyslots_size",
            json!("16748544"),
            "config.keyslots_size is 0xff9000, the first segment at 0x1000000 leaves 0xff8000 after the headers",
        ),
        (
            "/config/flags",
            json!([1]),
            "config.flags[0] is a number, must be a string",
        ),
        (
            "/config/requirements",
            json!([]),
            "config.requirements is an array, must be an object",
        ),
        (
            "/config/requirements",
            json!({"mandatory": "x"}),
            "config.requirements.mandatory is a string, must be an array",
        ),
        (
            "/config/requirements",
            json!({"mandatory": ["online-reencrypt", "online-reencrypt-v9"]}),
            "config.requirements names online re-encryption 2 times, at most once is allowed",
        ),
        (
            "/config/requirements",
            json!({"mandatory": ["online-reencrypt"]}),
            "config.requirements names online re-encryption, but no keyslot is of type reencrypt",
        ),
    ] {
        if error.is_empty() {
            accepted(|json| set(json, pointer, value));
            continue;
        }
        assert_eq!(
            refused(|json| set(json, pointer, value)),
            format!("corrupt header: {error}"),
            "{pointer}"
        );
    }
    assert_eq!(
        refused(|json| json["segments"] = json!({})),
        "corrupt header: digests.0.segments names segment 0, which does not exist"
    );
    assert_eq!(
        refused(|json| {
            json["segments"] = json!({});
            json["digests"]["0"]["segments"] = json!([]);
        }),
        "corrupt header: segments is empty"
    );
}

/// What cryptsetup finds out only when the keyslot or the digest is used: the header is loaded, the part is
/// kept and opens nothing, and the others are as they were.
#[test]
fn a_defect_of_one_part_leaves_the_others() {
    let sound = accepted(|_| {});
    let check = |change: &dyn Fn(&mut Value), error: &str| {
        let metadata = accepted(change);
        let defects: Vec<_> = metadata.defects().map(ToString::to_string).collect();
        assert_eq!(defects, [error]);
        assert_eq!(metadata.keyslots().len(), 2);
        let of_digest = error.contains("digests.0");
        assert_eq!(metadata.digests().is_empty(), of_digest, "{error}");
        assert_eq!(metadata.unusable_digests().len(), usize::from(of_digest));
        assert_eq!(metadata.digest_of_segment(0).is_none(), of_digest);
        for (id, keyslot) in metadata.keyslots() {
            let whole = *keyslot == sound.keyslots()[id];
            let named = error.contains(&format!("keyslots.{id}."))
                || error.contains(&format!("keyslot {id} "));
            assert_eq!(whole, !named, "{error}");
            assert_eq!(matches!(keyslot, Keyslot::Unusable(_)), named, "{error}");
            // It owns what it owned.
            assert_eq!(keyslot.kind(), "luks2");
            assert_eq!(
                metadata.digest_links().next().unwrap().keyslots,
                &[0, 1].into()
            );
        }
        // And a rewrite keeps it, but makes no other.
        let again = Metadata::from_json_area(&json_area(|json| {
            *json = Value::Object(metadata.json().clone());
        }));
        assert_eq!(again.unwrap(), metadata);
    };
    for (pointer, value, error) in [
        (
            "/keyslots/0/key_size",
            json!(0),
            "keyslots.0.key_size is 0, the least is 1",
        ),
        (
            "/keyslots/0/key_size",
            json!(65),
            "keyslot 0 area is 258048 bytes, a key of 65 bytes needs 260000",
        ),
        (
            "/keyslots/0/priority",
            json!(3),
            "keyslots.0.priority is 3, the limit is 2",
        ),
        (
            "/keyslots/0/af/stripes",
            json!(4001),
            "keyslots.0.af.stripes is 4001, must be 4000",
        ),
        (
            "/keyslots/0/kdf/iterations",
            json!(0),
            "keyslots.0.kdf.iterations is 0, the least is 1",
        ),
        (
            "/keyslots/0/kdf/salt",
            json!("AAAA"),
            "keyslots.0.kdf.salt length is 3, the least is 32",
        ),
        (
            "/keyslots/0/kdf/salt",
            json!("A"),
            "keyslots.0.kdf.salt is \"A\", must be padded base64",
        ),
        (
            "/keyslots/1/area/offset",
            json!("290817"),
            "keyslots.1.area.offset is 290817, must be a multiple of 512",
        ),
        (
            "/digests/0/iterations",
            json!(0),
            "digests.0.iterations is 0, the least is 1",
        ),
        (
            "/digests/0/digest",
            json!("AAAA"),
            "digests.0.digest length is 3, the least is 20",
        ),
        (
            "/keyslots/0/priority",
            json!("1"),
            "keyslots.0.priority is a string, must be an integer",
        ),
        (
            "/keyslots/0/af/stripes",
            json!(-1),
            "keyslots.0.af.stripes is -1, must be an integer from 0 to 4294967295",
        ),
        (
            "/keyslots/0/area/key_size",
            json!(0),
            "keyslots.0.area.key_size is 0, the least is 1",
        ),
        (
            "/keyslots/1/kdf/time",
            json!(0),
            "keyslots.1.kdf.time is 0, the least is 1",
        ),
        (
            "/keyslots/1/kdf/memory",
            json!(4_294_967_296_u64),
            "keyslots.1.kdf.memory is 4294967296, must be an integer from 0 to 4294967295",
        ),
        (
            "/keyslots/1/kdf/cpus",
            json!(-1),
            "keyslots.1.kdf.cpus is -1, must be an integer from 0 to 4294967295",
        ),
        (
            "/digests/0/hash",
            json!(""),
            "digests.0.hash is \"\", must be a string that is not empty",
        ),
        (
            "/digests/0/salt",
            json!(7),
            "digests.0.salt is a number, must be a string",
        ),
    ] {
        check(
            &|json| set(json, pointer, value.clone()),
            &format!("corrupt header: {error}"),
        );
    }
    for name in ["hash", "iterations", "salt", "digest"] {
        check(
            &|json| remove(json, &format!("/digests/0/{name}")),
            &format!("corrupt header: digests.0.{name} is missing"),
        );
    }
    check(
        &|json| json["digests"]["0"]["type"] = json!("argon2"),
        "not supported: digests.0 type \"argon2\"",
    );
}

#[test]
fn what_cryptsetup_loads_is_loaded() {
    // Empty tokens, no keyslots left after an erase, a digest that only names a segment.
    let erased = accepted(|json| {
        json["keyslots"] = json!({});
        json["tokens"] = json!({});
        json["digests"]["0"]["keyslots"] = json!([]);
    });
    assert!(erased.keyslots().is_empty());
    assert!(erased.keyslots_by_priority(0).is_empty());
    // A detached header: data at 0.
    assert_eq!(
        accepted(|json| json["segments"]["0"]["offset"] = json!("0")).data_offset(),
        0
    );
    // Leftover members of the other KDF.
    accepted(|json| json["keyslots"]["0"]["kdf"]["memory"] = json!(1024));
    // Types from the future.
    let future = accepted(|json| {
        json["keyslots"]["0"]["type"] = json!("future");
        json["keyslots"]["1"]["kdf"] = json!({"type": "scrypt", "n": 5});
        json["config"]["requirements"] = json!({"mandatory": ["teleport"], "more": 1});
    });
    assert!(matches!(future.keyslots()[&0], Keyslot::Unknown(_)));
    assert_eq!(future.keyslots()[&0].kind(), "future");
    assert_eq!(
        future.requirements(),
        [Requirement::Unknown("teleport".into())]
    );
    accepted(|json| json["segments"]["0"]["type"] = json!("future"));
    // Odd sector sizes: only activation fails.
    accepted(|json| json["segments"]["0"]["sector_size"] = json!(1536));
}

#[test]
fn opal_segments_have_their_members() {
    let opal = |json: &mut Value, kind: &str| {
        let segment = json["segments"]["0"].as_object_mut().unwrap();
        segment.insert("type".into(), json!(kind));
        segment.insert("size".into(), json!("8192"));
        segment.insert("opal_segment_number".into(), json!(1));
        segment.insert("opal_key_size".into(), json!(32));
        segment.insert("opal_segment_size".into(), json!("8192"));
    };
    for kind in ["hw-opal", "hw-opal-crypt"] {
        accepted(|json| opal(json, kind));
        let error = refused(|json| {
            opal(json, kind);
            json["segments"]["0"]["size"] = json!("12288");
        });
        assert_eq!(
            error,
            "corrupt header: segments.0.size is 12288, the limit is 8192"
        );
        refused(|json| {
            opal(json, kind);
            json["segments"]["0"]["size"] = json!("dynamic");
        });
    }
    refused(|json| {
        opal(json, "hw-opal-crypt");
        remove(json, "/segments/0/encryption");
    });
}

#[test]
fn regular_segments_do_not_overlap_and_only_the_last_is_dynamic() {
    let linear =
        |offset: &str, size: &str| json!({"type": "linear", "offset": offset, "size": size});
    let with = |first: Value, second: Value| {
        move |json: &mut Value| {
            json["digests"]["0"]["segments"] = json!([]);
            json["segments"] = json!({"0": first, "1": second});
        }
    };
    accepted(with(
        linear("16777216", "512"),
        linear("16777728", "dynamic"),
    ));
    accepted(with(linear("16777728", "512"), linear("16777216", "512")));
    assert_eq!(
        refused(with(
            linear("16777216", "dynamic"),
            linear("17777664", "512")
        )),
        "corrupt header: segment 0 is dynamic, only the last regular segment, 1, may be"
    );
    assert_eq!(
        refused(with(linear("16777216", "1024"), linear("16777728", "512"))),
        "corrupt header: segment 1 at 0x1000200 overlaps segment 0 at 0x1000000"
    );
    assert_eq!(
        refused(with(
            linear("17777664", "512"),
            linear("16777216", "dynamic")
        )),
        "corrupt header: segment 0 at 0x10f4400 overlaps segment 1 at 0x1000000"
    );
}

/// A re-encryption in the middle, as `reencrypt --init-only` writes it.
fn reencryption(json: &mut Value) {
    json["keyslots"]["2"] = json!({
        "type": "reencrypt", "key_size": 1, "mode": "reencrypt", "direction": "forward",
        "area": {"type": "checksum", "offset": "557056", "size": "524288", "hash": "sha256", "sector_size": 4096}
    });
    let crypt = json["segments"]["0"].clone();
    json["segments"]["1"] = crypt.clone();
    json["segments"]["1"]["flags"] = json!(["backup-previous"]);
    json["segments"]["2"] = crypt;
    json["segments"]["2"]["flags"] = json!(["backup-final"]);
    json["segments"]["2"]["encryption"] = json!("aes-cbc-essiv:sha256");
    json["digests"]["0"]["segments"] = json!(["0", "1", "2"]);
    json["config"]["requirements"] = json!({"mandatory": ["online-reencrypt-v2"]});
}

#[test]
fn a_reencryption_has_all_of_its_parts() {
    let metadata = accepted(reencryption);
    let Keyslot::Reencrypt(keyslot) = &metadata.keyslots()[&2] else {
        panic!("not a reencrypt keyslot")
    };
    assert!(
        matches!(&keyslot.resilience, Resilience::Checksum(checksum) if checksum.sector_size == 4096)
    );
    assert_eq!(keyslot.area, 557_056..1_081_344);
    assert_eq!(
        metadata.requirements(),
        [Requirement::OnlineReencrypt { version: 2 }]
    );

    for (pointer, value, error) in [
        (
            "/keyslots/2/mode",
            json!("shuffle"),
            "keyslots.2.mode is \"shuffle\", must be \"reencrypt\", \"encrypt\" or \"decrypt\"",
        ),
        (
            "/keyslots/2/direction",
            json!("up"),
            "keyslots.2.direction is \"up\", must be \"forward\" or \"backward\"",
        ),
        (
            "/keyslots/2/key_size",
            json!(2),
            "keyslots.2.key_size is 2, must be 1",
        ),
        (
            "/keyslots/2/area/sector_size",
            json!(1000),
            "keyslots.2.area.sector_size is 1000, must be a power of two, at least 512",
        ),
        (
            "/keyslots/2/area/type",
            json!("datashift"),
            "keyslots.2.area.shift_size is missing",
        ),
        (
            "/config/requirements",
            json!({}),
            "keyslot 2 is of type reencrypt, but config.requirements names no re-encryption",
        ),
        (
            "/segments/1/flags",
            json!(["backup-other"]),
            "config.requirements names online re-encryption, but no segment has the flag backup-previous",
        ),
        (
            "/segments/1/flags",
            json!([]),
            "segment 1 at 0x1000000 overlaps segment 0 at 0x1000000",
        ),
        (
            "/segments/2/flags",
            json!([]),
            "segment 2 is no backup, but follows one",
        ),
        (
            "/segments/0/flags",
            json!(["in-reencryption"]),
            "segment 0 is like neither backup segment of the re-encryption",
        ),
        (
            "/segments/1/flags",
            json!(["backup-previous", "backup-final"]),
            "config.requirements names online re-encryption, but no segment has the flag backup-previous",
        ),
    ] {
        let result = refused(|json| {
            reencryption(json);
            if pointer == "/segments/1/flags" && value == json!([]) {
                json["segments"]["0"]["size"] = json!("8192");
            }
            set(json, pointer, value);
        });
        assert_eq!(result, format!("corrupt header: {error}"), "{pointer}");
    }
    assert_eq!(
        refused(|json| {
            reencryption(json);
            json["keyslots"]["3"] = json["keyslots"]["2"].clone();
            json["keyslots"]["2"]["area"]["size"] = json!("4096");
            json["keyslots"]["3"]["area"]["offset"] = json!("561152");
            json["keyslots"]["3"]["area"]["size"] = json!("4096");
        }),
        "corrupt header: keyslots 2 and 3 are both of type reencrypt, at most one may be"
    );
    for (area, fine) in [
        (json!({"type": "none"}), true),
        (json!({"type": "journal"}), true),
        (json!({"type": "datashift", "shift_size": "1024"}), true),
        (json!({"type": "datashift", "shift_size": "1000"}), false),
        (json!({"type": "datashift", "shift_size": "0"}), false),
        (
            json!({"type": "datashift-journal", "shift_size": "512"}),
            true,
        ),
        (
            json!({"type": "datashift-checksum", "shift_size": "512"}),
            false,
        ),
        (
            json!({"type": "datashift-checksum", "shift_size": "512", "hash": "sha1", "sector_size": 512}),
            true,
        ),
        (json!({"type": "checksum", "hash": "sha1"}), false),
        (json!({"type": "future"}), true),
    ] {
        let change = |json: &mut Value| {
            reencryption(json);
            let mut area = area.clone();
            area["offset"] = json!("557056");
            area["size"] = json!("4096");
            json["keyslots"]["2"]["area"] = area;
        };
        let result = Metadata::from_json_area(&json_area(change));
        assert_eq!(result.is_ok(), fine, "{area}: {result:?}");
        if let Ok(metadata) = result {
            let Keyslot::Reencrypt(keyslot) = &metadata.keyslots()[&2] else {
                panic!("not a reencrypt keyslot")
            };
            assert_eq!(keyslot.resilience.kind(), area["type"]);
        }
    }
}
