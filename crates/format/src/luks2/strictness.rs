//! Where this crate is stricter than cryptsetup: every difference, in one place.
//!
//! A header that cryptsetup refuses to load is refused here too, by the rules of the newest: the parts
//! of a re-encryption, segments of self-encrypting drives, strings that are empty. These are loaded by
//! cryptsetup 2.6 to 2.8, in some cases to fail later, and refused here with the whole header, but for the
//! last list:
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
//! - negative or more than 32-bit values for `opal_segment_number` and `opal_key_size`.
//!
//! # Re-encryption
//! - members of a `reencrypt` keyslot's area with a wrong type.
//!
//! # Segments
//! - `offset` + `size` past 64 bits.
//!
//! # Binary header
//! - checksum algorithms other than sha1, sha224, sha256, sha384, sha512, and other spellings of
//!   their names (not supported).
//!
//! # The device
//! - a secondary copy under a lost primary where another format's signature stands (the error
//!   names it; cryptsetup asks libblkid, which looks for more formats and further into each).
//!
//! A copy that is refused for one of these reasons is unusable, as one that cryptsetup refuses: the
//! other copy is taken, and [`Defect::Unusable`](super::Defect::Unusable) tells the seqid of the
//! refused one.
//!
//! # Single keyslots and digests
//! These make one keyslot or one digest [`unusable`](super::unusable) and leave the header as it is.
//! cryptsetup loads such a header too, and opens the others; where it would go on with the part itself,
//! we do not:
//! - `key_size` 0, `area.key_size` 0, negative or above 32 bits (cryptsetup fails when it is opened);
//! - `priority` other than 0, 1 and 2 (it tries the keyslot if it is named);
//! - `af.stripes` other than 4000 (it uses 4000 whatever this says);
//! - `iterations`, `time`, `memory` or `cpus` of 0, negative or above 32 bits;
//! - a salt that is no padded base64 or not 32 bytes;
//! - an area whose offset or size is no multiple of 512, or that is too small for its key: `key_size` ×
//!   4000 bytes;
//! - a digest of a type other than `pbkdf2` (not supported), or with a member of that type missing or
//!   wrong, `iterations` of 0, a salt that is not 32 bytes, or a value that is not 20 to 64 bytes.
//!   With a digest that it cannot compute (a hash it does not know, a value of another length than the
//!   hash's, a member missing) cryptsetup 2.6.1 takes *any* passphrase for right.
//!
//! Not stricter on purpose, so that such a volume can still be looked at: sector sizes that are
//! multiples of 512 but cannot be activated, segments past the device's end, unknown KDF, keyslot,
//! segment and token types, unknown requirements and flags, a UUID field that holds no UUID, non-zero
//! padding in the binary header.
