//! Where this crate is stricter than cryptsetup: every difference, in one place.
//!
//! A header that cryptsetup refuses to load is refused here too, by the rules of the newest: the parts
//! of a re-encryption, segments of self-encrypting drives, strings that are empty. These are loaded by
//! cryptsetup 2.6 to 2.8, in some cases to fail later, and refused here:
//!
//! # JSON
//! - a member given twice in one object (cryptsetup takes the last one);
//! - a zero byte in a string or a member's name, spelled `\u0000` (in C the string ends there);
//! - text that is no JSON by RFC 8259: comments, single quotes, `NaN`, leading zeros, bytes that are
//!   no UTF-8, and what else json-c forgives;
//! - an integer past 64 bits, and a number with an integer value of 2^53 or more that is written with
//!   a fraction or exponent: a rewrite could not keep it;
//! - more than 65,536 values and member names in all.
//!
//! # Numbers
//! - numbers of keyslots, tokens, digests and segments above 31, with leading zeros, or empty;
//! - signs and spaces in `config.json_size` and `config.keyslots_size`;
//! - negative or more than 32-bit values for `iterations`, `time`, `memory`, `cpus`, `stripes`,
//!   `priority`, `area.key_size`, `opal_segment_number`, `opal_key_size`.
//!
//! # Keyslots
//! - `key_size` 0 and `area.key_size` 0 of a `luks2` keyslot;
//! - `priority` other than 0, 1 and 2;
//! - `af.stripes` other than 4000 (cryptsetup uses 4000 whatever it says);
//! - `iterations`, `time`, `memory` or `cpus` of 0;
//! - a salt that is no padded base64 or not 32 bytes (cryptsetup fails when the keyslot is opened);
//! - an area of type `raw` whose offset or size is no multiple of 512;
//! - members of a `reencrypt` keyslot's area with a wrong type;
//! - an area too small for its key: `key_size` × 4000 bytes.
//!
//! # Digests
//! - a type other than `pbkdf2` (not supported), a missing or wrong member of that type;
//! - `iterations` of 0, a salt that is not 32 bytes, a value that is not 20 to 64 bytes.
//!
//! # Segments
//! - `offset` + `size` past 64 bits.
//!
//! # Binary header
//! - checksum algorithms other than sha1, sha224, sha256, sha384, sha512, and other spellings of
//!   their names (not supported).
//!
//! A copy that is refused for one of these reasons is unusable, as one that cryptsetup refuses: the
//! other copy is taken, and [`Defect::Unusable`](super::Defect::Unusable) tells the seqid of the
//! refused one.
//!
//! Not stricter on purpose, so that such a volume can still be looked at: sector sizes that are
//! multiples of 512 but cannot be activated, segments past the device's end, unknown KDF, keyslot,
//! segment and token types, unknown requirements and flags, a UUID field that holds no UUID, non-zero
//! padding in the binary header.
