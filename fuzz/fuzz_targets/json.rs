//! JSON: the input is the text; its area is the one that the text's `json_size` fits, as far as it
//! is a legal one. What loads must read back to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lucarne_format::luks2::Metadata;

fuzz_target!(|text: &[u8]| {
    for header_size in [0x4000_usize, 0x8000] {
        let size = header_size - 4096;
        if text.len() >= size {
            continue;
        }
        let mut area = text.to_vec();
        area.resize(size, 0);
        let Ok(metadata) = Metadata::from_json_area(&area) else {
            continue;
        };
        let mut again = metadata.to_json_text().into_bytes();
        if again.len() >= size {
            continue; // a number with a fraction took more room
        }
        again.resize(size, 0);
        let again =
            Metadata::from_json_area(&again).expect("what loads is written so that it loads");
        assert_eq!(again, metadata);

        assert!(
            metadata.keyslots_area().end <= metadata.data_offset() || metadata.data_offset() == 0
        );
        let mut areas: Vec<_> = metadata
            .keyslots()
            .values()
            .map(|keyslot| keyslot.area_range())
            .collect();
        areas.sort_by_key(|area| area.start);
        for pair in areas.windows(2) {
            assert!(pair[0].end <= pair[1].start);
        }
        if let Some(free) = metadata.free_area(4096) {
            assert!(
                areas
                    .iter()
                    .all(|area| free + 4096 <= area.start || area.end <= free)
            );
        }
        for &segment in metadata.segments().keys() {
            for (id, _) in metadata.keyslots_by_priority(segment) {
                assert!(metadata.digest_of_keyslot(id).is_some());
            }
        }
    }
});
