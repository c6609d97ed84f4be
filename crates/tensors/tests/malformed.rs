//! Files that are none: each with what is said of it.

#![allow(clippy::unwrap_used)]

use lucarne_tensors::{Header, Tensors, Trailing};

fn file(len: u64, json: &str, data_len: usize) -> Vec<u8> {
    let mut file = len.to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.resize(file.len() + data_len, 0);
    file
}

fn said(file: &Vec<u8>) -> String {
    Tensors::open(file, Trailing::Refused)
        .unwrap_err()
        .to_string()
}

#[test]
fn each_fault_is_named_with_its_tensor_field_value_and_limit() {
    let one = |members: &str| format!(r#"{{"w":{{{members}}}}}"#);
    let two = |a: &str, b: &str| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        )
    };
    let deep = format!("{{\"w\":{{\"x\":{}", "[".repeat(1000));
    let wide = format!(
        r#""dtype":"U8","shape":[{}1],"data_offsets":[0,1]"#,
        "1,".repeat(64)
    );
    let cases: Vec<(String, usize, &str)> = vec![
        (String::new(), 0, "does not begin with {"),
        (" {}".into(), 0, "does not begin with {"),
        ("[]".into(), 0, "does not begin with {"),
        (
            "{".into(),
            0,
            "the header: EOF while parsing an object at line 1 column 1",
        ),
        ("{}{".into(), 0, "trailing characters"),
        (
            "{}".into(),
            3,
            "3 bytes after the last tensor, which ends at byte 10",
        ),
        (
            r#"{"__metadata__":{"a":1}}"#.into(),
            0,
            "__metadata__: invalid type: integer `1`, expected a string",
        ),
        (
            r#"{"__metadata__":{"a":"1","a":"2"}}"#.into(),
            0,
            "__metadata__: two members \"a\"",
        ),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#.into(),
            0,
            "two members __metadata__",
        ),
        (
            r#"{"__metadata__":[]}"#.into(),
            0,
            "__metadata__: invalid type: sequence, expected an object of texts",
        ),
        (
            r#"{"w":["F32",[1],[0,4]]}"#.into(),
            4,
            "tensor \"w\": invalid type: sequence, expected an object with dtype, shape and data_offsets",
        ),
        (one(""), 0, "tensor \"w\": no dtype"),
        (one(r#""dtype":"U8""#), 0, "tensor \"w\": no shape"),
        (
            one(r#""dtype":"U8","shape":[]"#),
            0,
            "tensor \"w\": no data_offsets",
        ),
        (
            one(r#""dtype":"F31","shape":[1],"data_offsets":[0,4]"#),
            4,
            "tensor \"w\": dtype \"F31\" is unknown",
        ),
        (
            one(r#""dtype":7,"shape":[1],"data_offsets":[0,4]"#),
            4,
            "tensor \"w\": dtype: invalid type: integer `7`, expected a string",
        ),
        (
            one(r#""dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]"#),
            1,
            "tensor \"w\": two members \"dtype\"",
        ),
        (
            one(r#""dtype":"U8","shape":[-1],"data_offsets":[0,1]"#),
            1,
            "tensor \"w\": shape: invalid value: integer `-1`, expected u64",
        ),
        (
            one(r#""dtype":"U8","shape":[1.0],"data_offsets":[0,1]"#),
            1,
            "tensor \"w\": shape: invalid type: floating point `1.0`",
        ),
        (
            one(&wide),
            1,
            "tensor \"w\": shape: more than 64 dimensions",
        ),
        (
            one(r#""dtype":"U8","shape":[1],"data_offsets":[0]"#),
            1,
            "tensor \"w\": data_offsets: invalid length 1, expected a list of two whole numbers",
        ),
        (
            one(r#""dtype":"U8","shape":[1],"data_offsets":[0,1,2]"#),
            1,
            "tensor \"w\": data_offsets: invalid length 3",
        ),
        (
            one(r#""dtype":"U8","shape":[1],"data_offsets":[1,0]"#),
            1,
            "tensor \"w\": data_offsets begin at 1, behind their end at 0",
        ),
        (
            one(r#""dtype":"U8","shape":[9],"data_offsets":[0,9]"#),
            8,
            "tensor \"w\": data_offsets 0 to 9 reach past the 8 bytes of data",
        ),
        (
            one(
                r#""dtype":"U8","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615]"#,
            ),
            8,
            "reach past the 8 bytes of data",
        ),
        (
            one(r#""dtype":"F32","shape":[2,3],"data_offsets":[0,8]"#),
            8,
            "tensor \"w\": shape [2, 3] of F32 is 24 bytes, data_offsets give it 8",
        ),
        (
            one(r#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#),
            2,
            "tensor \"w\": shape [3] of F4 is 12 bits, no whole number of bytes",
        ),
        (
            one(r#""dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2]"#),
            2,
            "tensor \"w\": shape [2] of F6_E2M3 is 12 bits",
        ),
        (
            one(r#""dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]"#),
            0,
            "tensor \"w\": shape [4294967296, 4294967296, 0] of U8 overflows",
        ),
        (
            one(r#""dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]"#),
            0,
            "of F64 overflows",
        ),
        (
            two("[0,4]", "[3,7]"),
            7,
            "tensor \"b\": data_offsets begin at 3, before \"a\" ends at 4",
        ),
        (
            two("[0,4]", "[0,4]"),
            4,
            "tensor \"b\": data_offsets begin at 0, before \"a\" ends at 4",
        ),
        (
            two("[6,10]", "[0,4]"),
            10,
            "tensor \"a\": data_offsets begin at 6, bytes 4 to 6 are no tensor's",
        ),
        (
            two("[1,5]", "[5,9]"),
            9,
            "tensor \"a\": data_offsets begin at 1, bytes 0 to 1 are no tensor's",
        ),
        (
            two("[0,4]", "[4,8]").replace("\"b\"", "\"a\""),
            8,
            "tensor \"a\": two of that name",
        ),
        (deep, 0, "recursion limit exceeded"),
    ];
    for (json, data_len, expected) in cases {
        let said = said(&file(json.len() as u64, &json, data_len));
        assert!(said.contains(expected), "{json:.200}: {said}");
        assert!(said.starts_with("not a valid safetensors file: "), "{said}");
    }
}

#[test]
fn the_length_of_the_header_is_bounded_before_anything_is_allocated() {
    let json = "{}";
    for (len, expected) in [
        (3, "a header of 3 bytes in a file of 10"),
        (100_000_000, "a header of 100000000 bytes in a file of 10"),
        (
            100_000_001,
            "a header of 100000001 bytes, the limit is 100000000",
        ),
        (u64::MAX, "the limit is 100000000"),
    ] {
        assert!(said(&file(len, json, 0)).contains(expected), "{len}");
    }
    for len in 0..8 {
        assert!(
            said(&vec![0; len]).contains(&format!("{len} bytes, too short")),
            "{len}"
        );
    }
    let mut not_text = file(3, "{}", 0);
    not_text.push(0xff);
    assert!(said(&not_text).contains("not UTF-8 at its byte 2"));
}

#[test]
fn what_a_header_costs_is_bounded_by_its_length() {
    // Nothing here is valid; what counts is that none of it takes time or memory that its length does not justify.
    let list = format!("{{\"w\":{{\"x\":[{}0]}}}}", "[],".repeat(3_000_000));
    assert!(said(&file(list.len() as u64, &list, 0)).contains("no dtype"));
    let shape = format!("{{\"w\":{{\"shape\":[{}0]}}}}", "0,".repeat(4_000_000));
    assert!(said(&file(shape.len() as u64, &shape, 0)).contains("more than 64 dimensions"));
    let same = r#""w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"#.repeat(100_000);
    let same = format!("{{{}}}", same.trim_end_matches(','));
    assert!(said(&file(same.len() as u64, &same, 0)).contains("two of that name"));
}

#[test]
fn the_example_is_one() {
    let path = lucarne_testkit::testdata().join("weights/tiny.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let header = Header::read(&bytes, Trailing::Refused).unwrap();
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(!header.tensors().is_empty());
    let tensors = Tensors::open(&bytes, Trailing::Refused).unwrap();
    for tensor in header.tensors() {
        let view = reference.tensor(&tensor.name).unwrap();
        let mut buffer = tensors.buffer(&tensor.name).unwrap();
        tensors.read(&tensor.name, &mut buffer).unwrap();
        assert_eq!(view.data(), &buffer[..]);
    }
    assert_eq!(header.data().end, bytes.len() as u64);
}
