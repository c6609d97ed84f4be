//! Against the reference implementation, the crate `safetensors`: what it writes is read the same, and nothing that
//! it refuses is read.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use lucarne::{FormatOptions, KdfKind, KdfRequest, MemoryStorage, Secret, Volume};
use lucarne_tensors::{Dtype, Error, Tensors, Trailing};
use proptest::prelude::*;
use safetensors::tensor::TensorView;

/// As the reference names it.
fn theirs(dtype: Dtype) -> safetensors::Dtype {
    serde_json::from_value(dtype.name().into()).unwrap()
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let shape = prop::collection::vec(0..9_usize, 0..4);
    let name = "[a-z.\"\\\\é\n]{0,9}";
    (name, prop::sample::select(Dtype::ALL), shape, any::<u64>()).prop_filter_map(
        "whole bytes",
        |(name, dtype, shape, seed)| {
            let bits = shape.iter().product::<usize>() * dtype.bits() as usize;
            let bytes = lucarne_testkit::payload::stream(&seed.to_string(), bits / 8);
            bits.is_multiple_of(8).then_some(Sample {
                name,
                dtype,
                shape,
                bytes,
            })
        },
    )
}

fn serialized(samples: &[Sample], metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let views = samples.iter().map(|sample| {
        let view = TensorView::new(theirs(sample.dtype), sample.shape.clone(), &sample.bytes);
        (sample.name.as_str(), view.unwrap())
    });
    safetensors::serialize(views, metadata).unwrap()
}

/// A volume that holds these bytes, and zeros behind them.
fn volume_of(bytes: &[u8]) -> Volume<MemoryStorage> {
    let kdf = KdfRequest {
        kind: KdfKind::Pbkdf2,
        iterations: Some(1000),
        ..KdfRequest::default()
    };
    let options = FormatOptions {
        kdf,
        keyslots_size: Some(512 << 10),
        ..FormatOptions::default()
    };
    let image = MemoryStorage::with_len((2 << 20) + bytes.len().next_multiple_of(4096));
    lucarne::format(&image, None, b"not a secret", &options).unwrap();
    let volume = Volume::open(image, Secret::Passphrase(b"not a secret")).unwrap();
    volume.write_at(bytes, 0).unwrap();
    volume
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_it_writes_is_read_the_same(
        samples in prop::collection::vec(sample(), 0..9),
        metadata in prop::option::of(prop::collection::hash_map("[a-z]{0,5}", ".{0,9}", 0..4)),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 2),
    ) {
        let mut names = std::collections::HashSet::new();
        let samples: Vec<_> = samples.into_iter().filter(|one| names.insert(one.name.clone())).collect();
        // Of no tensors and metadata without members the reference writes a file that it does not read.
        let metadata = metadata.filter(|metadata| !(metadata.is_empty() && samples.is_empty()));
        let file = serialized(&samples, metadata.clone());
        let volume = volume_of(&file);
        let of_file = Tensors::open(&file, Trailing::Refused).unwrap();
        let of_volume = Tensors::open(&volume, Trailing::Allowed).unwrap();
        let read: HashMap<_, _> = of_file.header().metadata().clone().into_iter().collect();
        prop_assert_eq!(read, metadata.unwrap_or_default());
        prop_assert_eq!(of_file.header().tensors().len(), samples.len());
        prop_assert_eq!(of_file.header().tensors(), of_volume.header().tensors());

        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for sample in &samples {
            let tensor = of_volume.tensor(&sample.name).unwrap();
            let shape: Vec<_> = sample.shape.iter().map(|&dimension| dimension as u64).collect();
            prop_assert_eq!((tensor.dtype, &tensor.shape), (sample.dtype, &shape));
            let mut buffer = of_volume.buffer(&sample.name).unwrap();
            of_volume.read(&sample.name, &mut buffer).unwrap();
            prop_assert_eq!(&buffer[..], &sample.bytes[..]);

            let mut ends = cuts.iter().map(|cut| cut.index(sample.bytes.len() + 1)).collect::<Vec<_>>();
            ends.sort_unstable();
            let mut part = vec![0; ends[1] - ends[0]];
            of_volume.read_part(&sample.name, ends[0] as u64, &mut part).unwrap();
            prop_assert_eq!(&part[..], &sample.bytes[ends[0]..ends[1]]);

            let mut too_long = vec![0; sample.bytes.len() + 1];
            let refused = of_volume.read(&sample.name, &mut too_long);
            let is_refused = matches!(refused, Err(Error::OutOfRange { .. }));
            prop_assert!(is_refused);
            let refused = of_volume.read_part(&sample.name, 1, &mut too_long);
            let is_refused = matches!(refused, Err(Error::OutOfRange { .. }));
            prop_assert!(is_refused);
        }
        let mut buffers: Vec<_> = samples.iter().map(|sample| vec![0; sample.bytes.len()]).collect();
        let mut wanted: Vec<_> = samples.iter().zip(&mut buffers)
            .map(|(sample, buffer)| (sample.name.as_str(), &mut buffer[..])).collect();
        of_volume.read_many_on(&pool, &mut wanted).unwrap();
        for (sample, buffer) in samples.iter().zip(&buffers) {
            prop_assert_eq!(&sample.bytes, buffer);
        }
    }
}

#[test]
fn a_large_tensor_is_read_by_many_threads() {
    let bytes = lucarne_testkit::payload::stream("large", 9 << 20);
    let sample = |name: &str, bytes: &[u8]| Sample {
        name: name.into(),
        dtype: Dtype::U8,
        shape: vec![bytes.len()],
        bytes: bytes.to_vec(),
    };
    let samples = [
        sample("a", &bytes[..3]),
        sample("b", &bytes),
        sample("c", &bytes[5..]),
    ];
    let volume = volume_of(&serialized(&samples, None));
    let tensors = Tensors::open(&volume, Trailing::Allowed).unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(4)
        .build()
        .unwrap();
    let mut buffer = tensors.buffer("b").unwrap();
    tensors.read_on(&pool, "b", &mut buffer).unwrap();
    assert!(buffer[..] == bytes[..]);
    let (mut a, mut c) = (vec![0; 3], vec![0; bytes.len() - 5]);
    tensors
        .read_many_on(&pool, &mut [("c", &mut c), ("a", &mut a)])
        .unwrap();
    assert!(a == bytes[..3] && c == bytes[5..]);
    let missing = tensors.read_on(&pool, "d", &mut a).unwrap_err();
    assert_eq!(missing.to_string(), "no tensor \"d\"");
}

/// Numbers that repeat, from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// Texts that stand where another stood.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "-0",
    "4",
    "8",
    "12",
    "16",
    "1.0",
    "1e1",
    "18446744073709551615",
    "18446744073709551616",
    "4611686018427387904",
    "\"0\"",
    "null",
    "true",
    "[]",
    "{}",
    "[0]",
    "[0,0]",
    "[2,2]",
    "[0,0,0]",
    "\"F32\"",
    "\"F4\"",
    "\"F6_E2M3\"",
    "\"f32\"",
    "\"\\ud800\"",
    "\"a\"",
    "\"b\"",
    "\"__metadata__\"",
    "1e999",
    "01",
    "[[[[]]]]",
];

/// A valid header, or nearly so, of up to three tensors.
fn header(random: &mut Random) -> String {
    let mut members = Vec::new();
    let mut offset = 0;
    for name in ["a", "b", "c"].iter().take(random.below(4)) {
        let (dtype, size) = [("F32", 4), ("U8", 1), ("BF16", 2), ("I64", 8)][random.below(4)];
        let (rows, columns) = (random.below(4), random.below(4));
        let end = offset + rows * columns * size;
        members.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":[{rows},{columns}],"data_offsets":[{offset},{end}]}}"#
        ));
        offset = end;
    }
    match random.below(4) {
        0 => members.push(r#""__metadata__":{"format":"pt"}"#.into()),
        1 => members.insert(0, r#""__metadata__":null"#.into()),
        _ => {}
    }
    format!("{{{}}}", members.join(","))
}

/// The header with a few things changed.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut text = header(random).into_bytes();
    for _ in 0..random.below(3) {
        // One of the words or numbers becomes something else.
        let words: Vec<_> = words(&text);
        if !words.is_empty() && random.below(4) > 0 {
            let (start, end) = words[random.below(words.len())];
            let value = random.one_of(VALUES).as_bytes().to_vec();
            text.splice(start..end, value);
            continue;
        }
        let at = random.below(text.len());
        match random.below(4) {
            0 => {
                text.remove(at);
                if text.is_empty() {
                    text.push(b'{');
                }
            }
            1 => text.insert(at, b"{}[],:\" 0\xff"[random.below(10)]),
            2 => text[at] = random.next() as u8,
            _ => {
                let end = (at + random.below(30)).min(text.len());
                let copy = text[at..end].to_vec();
                let to = random.below(text.len());
                text.splice(to..to, copy);
            }
        }
    }
    for _ in 0..random.below(3) {
        text.push(b" \n\0"[random.below(20).min(2) * usize::from(random.below(9) == 0)]);
    }
    text
}

/// Where numbers and quoted texts are.
fn words(text: &[u8]) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let len = match text[at] {
            b'"' => text[at + 1..]
                .iter()
                .position(|&byte| byte == b'"')
                .map(|len| len + 2),
            b'0'..=b'9' => Some(
                text[at..]
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count(),
            ),
            b'[' => text[at..]
                .iter()
                .position(|&byte| byte == b']')
                .map(|len| len + 1)
                .filter(|_| at % 3 == 0),
            _ => None,
        };
        if let Some(len) = len {
            words.push((at, at + len));
        }
        at += len.unwrap_or(1);
    }
    words
}

#[test]
fn nothing_that_it_refuses_is_read() {
    let (mut both, mut neither, mut stricter) = (0, 0, 0);
    let mut random = Random(1);
    for _ in 0..200_000 {
        let json = mutated(&mut random);
        let data_len = [0, 0, 8, 16, 24, 48][random.below(6)];
        let len = match random.below(50) {
            0 => json.len() as u64 + random.below(20) as u64,
            1 => (json.len() as u64).saturating_sub(random.below(20) as u64),
            2 => random.next(),
            _ => json.len() as u64,
        };
        let mut file = len.to_le_bytes().to_vec();
        file.extend_from_slice(&json);
        // As much data as the header wants, most of the time.
        let wanted = last_end(&json);
        file.resize(
            file.len()
                + if random.below(5) > 0 {
                    wanted
                } else {
                    data_len
                },
            0,
        );
        if random.below(1000) == 0 {
            file.truncate(random.below(9));
        }
        let reference = safetensors::SafeTensors::read_metadata(&file);
        let ours = Tensors::open(&file, Trailing::Refused);
        match (&reference, &ours) {
            (Err(error), Ok(_)) => panic!(
                "read, though refused for {error}: {:?}",
                String::from_utf8_lossy(&file)
            ),
            (Ok((header_len, metadata)), Ok(ours)) => {
                both += 1;
                assert_eq!(metadata.tensors().len(), ours.header().tensors().len());
                for tensor in ours.header().tensors() {
                    let info = metadata.info(&tensor.name).unwrap();
                    let shape: Vec<_> = info
                        .shape
                        .iter()
                        .map(|&dimension| dimension as u64)
                        .collect();
                    assert_eq!(
                        (info.dtype, shape),
                        (theirs(tensor.dtype), tensor.shape.clone())
                    );
                    let start = 8 + *header_len as u64;
                    let range =
                        start + info.data_offsets.0 as u64..start + info.data_offsets.1 as u64;
                    assert_eq!(range, tensor.range);
                }
            }
            (Ok(_), Err(error)) => {
                stricter += 1;
                let message = error.to_string();
                let on_purpose = [
                    "two members",
                    "two of that name",
                    "does not begin with {",
                    "invalid type",
                ];
                assert!(
                    on_purpose.iter().any(|reason| message.contains(reason)),
                    "refused for {message}: {:?}",
                    String::from_utf8_lossy(&file)
                );
            }
            (Err(_), Err(_)) => neither += 1,
        }
    }
    println!("read by both {both}, by neither {neither}, by the reference alone {stricter}");
    assert!(
        both > 20_000 && neither > 20_000 && stricter > 10,
        "{both} {neither} {stricter}"
    );
}

/// The largest number at a data_offsets' end, if it is small.
fn last_end(json: &[u8]) -> usize {
    let text = String::from_utf8_lossy(json);
    let ends = text.split("data_offsets\":[").skip(1).filter_map(|rest| {
        let numbers = rest.split(']').next()?;
        numbers.split(',').nth(1)?.trim().parse::<usize>().ok()
    });
    ends.max().unwrap_or(0).min(1000)
}
