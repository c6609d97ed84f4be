//! One large request on many threads.
//!
//! A request is cut where regions meet, so that no two parts share a sector or wait for each other's lock.

use lucarne_storage::Storage;
use rayon::prelude::*;

use crate::Error;
use crate::sector_map::{REGION_LEN_BYTES, SectorMap};

/// Shorter requests stay on the calling thread: to wake another and wait for it takes about as long as
/// it would save.
const MIN_LEN_BYTES: usize = 1 << 20;

/// The parts into which a request of `len` bytes from `offset` on is cut: offsets from its start, the last
/// being its end; about two parts a thread, so that one that is late holds up little.
fn borders(len: usize, offset: u64, threads: usize) -> Vec<usize> {
    let regions = len.div_ceil(REGION_LEN_BYTES as usize);
    let regions_per_part = regions.div_ceil(2 * threads).max(1);
    let part_len = regions_per_part * REGION_LEN_BYTES as usize;
    // Less than a region, so it fits.
    let into_region = (offset % REGION_LEN_BYTES) as usize;
    let mut borders: Vec<_> = (part_len - into_region..len).step_by(part_len).collect();
    borders.push(len);
    borders
}

/// `read` fills a part from an offset on; the caller has checked the whole range.
pub(super) fn read(
    pool: &rayon::ThreadPool,
    buf: &mut [u8],
    offset: u64,
    read: impl Fn(&mut [u8], u64) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let threads = pool.current_num_threads();
    if buf.len() < MIN_LEN_BYTES || threads == 1 {
        return read(buf, offset);
    }
    let mut parts = Vec::new();
    let (mut rest, mut start) = (buf, 0);
    let len = rest.len();
    for end in borders(len, offset, threads) {
        let (part, after) = rest.split_at_mut(end - start);
        parts.push((part, offset + start as u64));
        (rest, start) = (after, end);
    }
    pool.install(|| {
        parts
            .into_par_iter()
            .try_for_each(|(part, offset)| read(part, offset))
    })
}

pub(super) fn write(
    pool: &rayon::ThreadPool,
    map: &SectorMap,
    storage: &dyn Storage,
    data: &[u8],
    offset: u64,
) -> Result<(), Error> {
    let threads = pool.current_num_threads();
    if data.len() < MIN_LEN_BYTES || threads == 1 {
        return map.write_at(storage, data, offset);
    }
    map.check_range(data.len(), offset)?;
    let mut parts = Vec::new();
    let mut start = 0;
    for end in borders(data.len(), offset, threads) {
        parts.push((&data[start..end], offset + start as u64));
        start = end;
    }
    pool.install(|| {
        parts
            .into_par_iter()
            .try_for_each(|(part, offset)| map.write_at(storage, part, offset))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_meet_where_regions_meet_and_are_the_whole(
            len in 1..40_000_000_usize,
            offset in 0..(1_u64 << 62),
            threads in 1..70_usize,
        ) {
            let borders = borders(len, offset, threads);
            let mut start = 0;
            for (index, &end) in borders.iter().enumerate() {
                prop_assert!(end > start);
                let is_last = index + 1 == borders.len();
                let meets = (offset + end as u64).is_multiple_of(REGION_LEN_BYTES);
                prop_assert!(is_last || meets);
                start = end;
            }
            prop_assert_eq!(start, len);
            prop_assert!(borders.len() <= 2 * threads + 1);
        }
    }
}
