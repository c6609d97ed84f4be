//! What each workload reads or writes, in which order, and where to.

use crate::plan::{Case, Workload};
use crate::random::Random;
use crate::source::Way;
use crate::weights::Checkpoint;
use crate::work::{self, Into, Request};

/// From here on a tensor is large.
const LARGE_TENSOR_BYTES: u64 = 1 << 20;
const FAULT_LEN_BYTES: u64 = 4096;
const FAULT_COUNT: u64 = 1 << 15;

/// What a case reads or writes, in order, and where to.
pub(crate) fn requests(case: &Case, checkpoints: &[Checkpoint]) -> (Vec<Request>, Into) {
    let mut random = Random::new(3);
    let of_all = |requests: &dyn Fn(usize, &Checkpoint) -> Vec<Request>| -> Vec<Request> {
        let numbered = checkpoints.iter().enumerate();
        numbered
            .flat_map(|(shard, checkpoint)| requests(shard, checkpoint))
            .collect()
    };
    let in_order =
        || of_all(&|shard, checkpoint| work::sequential(checkpoint, shard, case.request_len));
    match case.workload {
        Workload::WarmLoad | Workload::Write | Workload::RequestSize | Workload::Shards => {
            (in_order(), Into::OwnPlaces)
        }
        Workload::ColdLoad if case.way == Way::Direct => {
            let blocks = of_all(&|shard, checkpoint| {
                work::blocks(checkpoint.len_bytes, shard, case.request_len)
            });
            // A file's last bytes fill no block: they come last, so that the places of the blocks stay aligned.
            let (mut whole, rest): (Vec<_>, Vec<_>) = blocks
                .into_iter()
                .partition(|block| block.len.is_multiple_of(lucarne_storage::DIRECT_ALIGNMENT));
            whole.extend(rest);
            (whole, Into::OwnPlaces)
        }
        Workload::ColdLoad | Workload::CachedLoad => (in_order(), Into::OwnPlaces),
        Workload::LoadAndCopy => (in_order(), Into::ThenSecond),
        Workload::SmallTensors => {
            let mut requests =
                of_all(&|shard, checkpoint| work::sequential(checkpoint, shard, u64::MAX));
            random.shuffle(&mut requests);
            (requests, Into::OwnPlaces)
        }
        Workload::RandomTensors => {
            let mut requests =
                of_all(&|shard, checkpoint| work::sequential(checkpoint, shard, u64::MAX));
            requests.retain(|request| request.len as u64 >= LARGE_TENSOR_BYTES);
            random.shuffle(&mut requests);
            (requests, Into::OwnPlaces)
        }
        Workload::Increment => {
            let requests = in_order().into_iter().step_by(8).collect();
            (requests, Into::OwnPlaces)
        }
        Workload::Faults => {
            let requests = (0..FAULT_COUNT)
                .map(|_| {
                    let shard = random.below(checkpoints.len() as u64) as usize;
                    let pages = checkpoints[shard].len_bytes / FAULT_LEN_BYTES;
                    Request {
                        shard,
                        offset: random.below(pages) * FAULT_LEN_BYTES,
                        len: FAULT_LEN_BYTES as usize,
                    }
                })
                .collect();
            (requests, Into::OnePlace)
        }
    }
}
