//! A token's JSON as `token import` takes it: what is taken can be put into a header, is read back to the
//! same from there, and can be taken out again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne_format::luks2::{NewHeader, CryptSegment, Digest, Header, HeaderCopy, Segment, SegmentSize, Token};

fuzz_target!(|text: &[u8]| {
    let Ok(token) = Token::parse_text(text) else {
        return;
    };
    let header = header();
    // Keyslots that are not there, and what does not fit, are refused.
    let Ok(with_token) = header.edit(|draft| draft.insert_token(7, token.clone())) else {
        return;
    };
    let bytes = with_token
        .encode(HeaderCopy::Primary, [0; 64])
        .expect("what was accepted is written");
    let mut image = bytes;
    image.extend(
        with_token
            .encode(HeaderCopy::Secondary, [1; 64])
            .expect("and once more"),
    );
    image.resize(1 << 20, 0);
    let read = Header::load(|offset, buffer: &mut [u8]| {
        let rest = usize::try_from(offset).ok().and_then(|at| image.get(at..));
        let rest = rest.unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok::<_, std::convert::Infallible>(len)
    })
    .expect("what was written is read");
    assert_eq!(read.header.metadata().tokens()[&7].json, token);
    let without = read
        .header
        .edit(|draft| draft.remove_token(7))
        .expect("what was added is removed");
    assert_eq!(without.metadata(), header.metadata());
});

/// A header with no keyslot.
fn header() -> Header {
    let names = NewHeader {
        uuid: "0b61d7cc-6b3c-4c2b-8f3a-5d6f8a1b2c3d".into(),
        keyslots_size: 512 << 10,
        ..NewHeader::default()
    };
    Header::new(&names, |draft| {
        draft.insert_segment(
            0,
            &Segment::Crypt(CryptSegment {
                offset: 1 << 20,
                size: SegmentSize::Dynamic,
                iv_tweak: 0,
                encryption: "aes-xts-plain64".into(),
                sector_size: 4096,
                integrity: None,
                flags: vec![],
            }),
        )?;
        draft.insert_digest(
            0,
            &Digest {
                keyslots: [].into(),
                segments: [0].into(),
                hash: "sha256".into(),
                iterations: 1000,
                salt: vec![7; 32],
                digest: vec![9; 32],
            },
        )
    })
    .expect("this header is sound")
}
