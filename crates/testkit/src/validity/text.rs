//! The JSON's form: syntax, depth, terminator, numbers, members given twice.

use super::{Base, Corpus};
use crate::luks2;

const AREA_LEN: usize = 0x4000 - luks2::BINARY_LEN;

/// The JSON with one more member at its end.
fn with(json: &str, member: &str) -> Vec<u8> {
    format!("{},{member}}}", &json[..json.len() - 1]).into_bytes()
}

/// `levels` arrays within each other, or objects.
fn nested(levels: usize, inner: &str) -> String {
    format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels))
}

fn nested_objects(levels: usize, inner: &str) -> String {
    format!("{}{inner}{}", "{\"a\":".repeat(levels), "}".repeat(levels))
}

pub(super) fn cases(corpus: &mut Corpus) {
    whole(corpus);
    ends(corpus);
    depth(corpus);
    further_members(corpus);
    replaced(corpus);
}

fn whole(corpus: &mut Corpus) {
    for (what, text) in [
        ("JSON: nothing", ""),
        ("JSON: {}", "{}"),
        ("JSON: []", "[]"),
        ("JSON: null", "null"),
        ("JSON: a string", "\"{}\""),
        ("JSON: no JSON", "nonsense"),
        ("JSON: {", "{"),
    ] {
        corpus.text(Base::Plain, what, |_| text.as_bytes().to_vec());
    }
    corpus.text(Base::Plain, "JSON: white space within", |json| {
        json.replace(':', " :\t\n ").into_bytes()
    });
    corpus.text(Base::Plain, "JSON: a space before it", |json| {
        format!(" {json}").into_bytes()
    });
    corpus.text(Base::Plain, "JSON: a byte order mark before it", |json| {
        format!("\u{feff}{json}").into_bytes()
    });
    corpus.text(Base::Plain, "JSON: single quotes", |json| {
        json.replace('"', "'").into_bytes()
    });
    corpus.text(Base::Plain, "JSON: members in reverse order", |json| {
        let value: serde_json::Map<_, _> = serde_json::from_str(json).unwrap();
        let reversed: serde_json::Map<_, _> = value.into_iter().rev().collect();
        serde_json::Value::Object(reversed).to_string().into_bytes()
    });
}

fn ends(corpus: &mut Corpus) {
    corpus.text(Base::Plain, "JSON: its last brace missing", |json| {
        json.as_bytes()[..json.len() - 1].to_vec()
    });
    corpus.text(
        Base::Plain,
        "JSON: its last byte is the area's last but one",
        |json| padded(json, AREA_LEN - 1),
    );
    corpus.text(Base::Plain, "JSON: no terminator", |json| {
        padded(json, AREA_LEN)
    });
    corpus.text(Base::Plain, "JSON: spaces after it to the end", |json| {
        let mut text = json.as_bytes().to_vec();
        text.resize(AREA_LEN - 1, b' ');
        text
    });
    for (what, tail) in [
        ("a space after it", " "),
        ("a line break after it", "\n"),
        ("a byte after it", "x"),
        ("a brace after it", "}"),
        ("an object after it", "{}"),
        ("a comma after it", ","),
        ("a comment after it", "/* later */"),
        ("a byte after the terminator", "\0x"),
        (
            "a byte far after the terminator",
            "\0\0\0\0\0\0\0\0\0\0\0\0x",
        ),
        ("an object after the terminator", "\0{}"),
        ("a space after the terminator", "\0 "),
    ] {
        corpus.text(Base::Plain, format!("JSON: {what}"), move |json| {
            format!("{json}{tail}").into_bytes()
        });
    }
    corpus.push(
        Base::Plain,
        "JSON: the area's last byte not zero",
        |image| {
            for copy in super::binary::COPIES {
                image.header[copy + 0x3fff] = b'x';
                luks2::fix_checksum(&mut image.header, copy);
            }
        },
    );
}

/// The JSON made `len` bytes long by a member.
fn padded(json: &str, len: usize) -> Vec<u8> {
    let empty = with(json, "\"later\":\"\"").len();
    with(json, &format!("\"later\":\"{}\"", "x".repeat(len - empty)))
}

fn depth(corpus: &mut Corpus) {
    // The document is the first level.
    for levels in [29, 30, 31, 32, 33, 2000] {
        corpus.text(
            Base::Plain,
            format!("JSON: {levels} arrays within it"),
            move |json| with(json, &format!("\"later\":{}", nested(levels, ""))),
        );
        corpus.text(
            Base::Plain,
            format!("JSON: {levels} arrays within it round a number"),
            move |json| with(json, &format!("\"later\":{}", nested(levels, "1"))),
        );
        let objects = if levels > 1000 { 1500 } else { levels };
        corpus.text(
            Base::Plain,
            format!("JSON: {objects} objects within it round a number"),
            move |json| with(json, &format!("\"later\":{}", nested_objects(objects, "1"))),
        );
    }
}

/// Members that no one knows: whatever is JSON is kept.
fn further_members(corpus: &mut Corpus) {
    for value in [
        "true",
        "null",
        "0",
        "-0",
        "0.5",
        "1e3",
        "1E+3",
        "1e400",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "9007199254740993.0",
        "01",
        "+1",
        "1.",
        ".5",
        "0x10",
        "NaN",
        "Infinity",
        "TRUE",
        "True",
        "nul",
        "\"\\u0041\"",
        "\"\\u0000\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\x41\"",
        "\"\\u00\"",
        "\"\\/\"",
        "'single'",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\"}",
        "{\"\":1}",
        "\"unterminated",
    ] {
        corpus.text(
            Base::Plain,
            format!("JSON: a further member {value}"),
            move |json| with(json, &format!("\"later\":{value}")),
        );
    }
    for (what, value) in [
        ("a tab in a string", &b"\"a\tb\""[..]),
        ("a line break in a string", b"\"a\nb\""),
        ("byte 0x01 in a string", b"\"a\x01b\""),
        ("byte 0x7f in a string", b"\"a\x7fb\""),
        ("no UTF-8 in a string", b"\"\xff\""),
        ("an overlong form in a string", b"\"\xc0\xaf\""),
        ("UTF-8 in a string", "\"ü\"".as_bytes()),
        ("a comment within", b"/* later */1"),
    ] {
        corpus.text(Base::Plain, format!("JSON: {what}"), move |json| {
            let mut text = json.as_bytes()[..json.len() - 1].to_vec();
            text.extend_from_slice(b",\"later\":");
            text.extend_from_slice(value);
            text.push(b'}');
            text
        });
    }
    for (what, name) in [
        ("a member with a zero in its name", "\"a\\u0000b\""),
        ("a member without a name", "\"\""),
        ("a member named by an escape", "\"\\u006bater\""),
    ] {
        corpus.text(Base::Plain, format!("JSON: {what}"), move |json| {
            with(json, &format!("{name}:1"))
        });
    }
    for count in [1000, 5000] {
        corpus.text(
            Base::Plain,
            format!("JSON: {count} further values"),
            move |json| with(json, &format!("\"later\":[{}1]", "1,".repeat(count))),
        );
    }
}

/// A piece of the JSON spelled otherwise.
fn replaced(corpus: &mut Corpus) {
    for (from, to) in [
        ("\"keyslots\":{", "\"keyslots\":{},\"keyslots\":{"),
        ("\"tokens\":{}", "\"tokens\":{},\"tokens\":{}"),
        (
            "\"key_size\":32,\"af\"",
            "\"key_size\":32,\"key_size\":32,\"af\"",
        ),
        (
            "\"key_size\":32,\"af\"",
            "\"key_size\":16,\"key_size\":32,\"af\"",
        ),
        ("\"key_size\":32,\"af\"", "\"key_siz\\u0065\":32,\"af\""),
        ("\"key_size\":32,\"af\"", "\"Key_Size\":32,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":32.0,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":32.5,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":3.2e1,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":032,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":0x20,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":-32,\"af\""),
        ("\"key_size\":32,\"af\"", "\"key_size\":4294967328,\"af\""),
        (
            "\"key_size\":32,\"af\"",
            "\"key_size\":18446744073709551616,\"af\"",
        ),
        ("\"type\":\"crypt\"", "\"type\":\"crypt\\u0000x\""),
        ("\"type\":\"crypt\"", "\"type\":\"\\u0063rypt\""),
        (
            "\"type\":\"crypt\"",
            "\"type\":\"linear\",\"type\":\"crypt\"",
        ),
        (
            "\"type\":\"crypt\"",
            "\"type\":\"crypt\",\"type\":\"linear\"",
        ),
        ("\"sector_size\":4096", "\"sector_size\":4096.0"),
        ("\"sector_size\":4096", "\"sector_size\":4.096e3"),
        (
            "{\"0\":{\"type\":\"crypt\"",
            "{\"0\\u0000\":{\"type\":\"crypt\"",
        ),
        ("\"iterations\":1234", "\"iterations\":1234.0"),
        ("\"iterations\":1234", "\"iterations\":01234"),
    ] {
        corpus.text(Base::Plain, format!("JSON: {from} as {to}"), move |json| {
            assert_eq!(json.matches(from).count(), 1, "{from}");
            json.replace(from, to).into_bytes()
        });
    }
}
