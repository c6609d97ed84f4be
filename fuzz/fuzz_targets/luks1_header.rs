//! LUKS1 header bytes: the input is the first bytes of a device.
//!
//! What loads must encode to the same bytes, its areas must be apart, and an edit must change what it
//! names and no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne_format::luks1::{HEADER_LEN, Header, KeyslotState};

fuzz_target!(|data: &[u8]| {
    if let Ok(repaired) = Header::repair(data) {
        let again = Header::repair(&repaired.header.encode()).expect("what is repaired is whole");
        assert_eq!(again.changes, []);
        assert_eq!(again.header, repaired.header);
    }
    let Ok(header) = Header::from_bytes(data) else {
        return;
    };
    assert_eq!(header.encode(), data[..HEADER_LEN]);

    let mut areas = header.keyslots().each_ref().map(|keyslot| keyslot.area.clone());
    areas.sort_by_key(|area| area.start);
    assert!(areas[0].start >= HEADER_LEN as u64);
    for pair in areas.windows(2) {
        assert!(pair[0].end <= pair[1].start);
    }
    assert_eq!(areas[7].end, header.keyslots_end());
    assert!(header.payload_offset() == 0 || header.keyslots_end() <= header.payload_offset());

    for (id, keyslot) in (0..).zip(header.keyslots()) {
        let edited = match keyslot.state {
            KeyslotState::Inactive => header.with_keyslot(id, 1, [1; 32]),
            _ => header.without_keyslot(id),
        }
        .expect("a keyslot is free or not");
        for (other, (before, after)) in
            (0..).zip(header.keyslots().iter().zip(edited.keyslots()))
        {
            assert_eq!(before == after, other != id);
        }
        assert_eq!(edited.encode()[..208], header.encode()[..208]);
    }
});
