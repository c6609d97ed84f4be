//! What both sides agree on before anything else.

use zerocopy::IntoBytes;

use crate::abi::{self, InitOut, init_flag};
use crate::request::Offer;

/// The congestion of background requests begins at three quarters of them.
const CONGESTION: (u16, u16) = (3, 4);

/// What is asked of the kernel.
///
/// ```
/// let settings = lucarne_fuse::Settings { threads: 8, ..Default::default() };
/// assert_eq!(settings.request_len_max, 1 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data of one request are no longer, in bytes; nor does the kernel read further ahead.
    pub request_len_max: u32,
    /// Requests of readahead and direct I/O that wait at a time.
    pub background_max: u16,
    /// How many threads answer on `/dev/fuse`.
    pub threads: usize,
    /// How many threads answer by io_uring, if the kernel offers that; `None` to do without.
    pub ring_threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_len_max: 1 << 20,
            background_max: 64,
            threads: 4,
            ring_threads: None,
        }
    }
}

/// What is wanted where the kernel has it.
const WISHES: u64 = init_flag::ASYNC_READ
    | init_flag::BIG_WRITES
    | init_flag::MAX_PAGES
    | init_flag::INIT_EXT
    // A loop device with direct I/O has many requests under way.
    | init_flag::ASYNC_DIO
    | init_flag::PARALLEL_DIROPS
    // So that an uncached file can be mapped all the same.
    | init_flag::DIRECT_IO_ALLOW_MMAP;

/// From this version of the protocol on (7.45, Linux 6.18) a ring is seen to go on when root takes the kernel's parameter
/// back. Kernels before 6.14 have none, and the first that do refuse its answers then: who asked would wait for good.
const RING_LASTS_SINCE_MINOR: u32 = 45;

/// Whether the kernel takes requests by io_uring, and as long as the file system is mounted.
pub(crate) fn offers_ring(offer: &Offer) -> bool {
    offer.flags & init_flag::OVER_IO_URING != 0 && offer.minor >= RING_LASTS_SINCE_MINOR
}

/// The longest data of a request in whole pages, in bytes: what a ring's payload must hold.
pub(crate) fn data_len_max(settings: &Settings) -> usize {
    usize::from(pages_max(settings)) * rustix::param::page_size()
}

fn pages_max(settings: &Settings) -> u16 {
    // OK to cut: the kernel's own limit is far below.
    let pages = (settings.request_len_max as usize).div_ceil(rustix::param::page_size());
    u16::try_from(pages).unwrap_or(u16::MAX)
}

/// The answer to the kernel's first request.
pub(crate) fn answer(offer: &Offer, settings: &Settings, by_ring: bool) -> InitOut {
    let mut wishes = WISHES;
    if by_ring {
        wishes |= init_flag::OVER_IO_URING;
    }
    let flags = wishes & offer.flags;
    let (numerator, denominator) = CONGESTION;
    InitOut {
        major: abi::MAJOR,
        minor: abi::MINOR,
        max_readahead: settings.request_len_max.min(offer.max_readahead),
        flags: flags as u32,
        flags2: (flags >> 32) as u32,
        max_background: settings.background_max,
        congestion_threshold: settings.background_max / denominator * numerator,
        max_write: settings.request_len_max,
        // Times are exact to the nanosecond.
        time_gran: 1,
        max_pages: pages_max(settings),
        ..Default::default()
    }
}

/// The answer to a kernel of a later protocol: it asks again, in this one.
pub(crate) fn version_alone() -> InitOut {
    InitOut {
        major: abi::MAJOR,
        minor: abi::MINOR,
        ..Default::default()
    }
}

/// Writes it to the front of `into`; gives its length.
pub(crate) fn encode(answer: &InitOut, into: &mut [u8]) -> usize {
    let bytes = answer.as_bytes();
    into[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_that_is_not_offered() {
        let settings = Settings::default();
        let offer = Offer {
            major: 7,
            minor: 45,
            max_readahead: 128 << 10,
            flags: u64::MAX,
        };
        let answered = answer(&offer, &settings, true);
        assert_eq!(answered.flags, 0x4044_8021);
        assert_eq!(answered.flags2, 0x210);
        assert_eq!(answer(&offer, &settings, false).flags2, 0x10);
        assert_eq!(answered.max_readahead, 128 << 10);
        assert_eq!(answered.congestion_threshold, 48);
        assert_eq!(
            usize::from(answered.max_pages) * rustix::param::page_size(),
            1 << 20
        );
        assert!(offers_ring(&offer));
        assert!(!offers_ring(&Offer { minor: 44, ..offer }));
        let offer = Offer { flags: 1, ..offer };
        assert!(!offers_ring(&offer));
        let answered = answer(&offer, &settings, true);
        assert_eq!((answered.flags, answered.flags2), (1, 0));
    }
}
