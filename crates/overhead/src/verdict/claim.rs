//! What becomes of "AES-NI makes it free, 2-3 %".

use super::{cost_text, name};
use crate::outcome::{Measured, Outcome};
use crate::plan::Workload;

/// For which work the cost is at most 3 %.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// All of the interval is below.
    pub holds: Vec<String>,
    /// All of the interval is above.
    pub fails: Vec<String>,
    /// The interval has both.
    pub open: Vec<String>,
}

/// What is claimed: a cost of 3 % at most.
pub const CLAIMED_COST: f64 = 0.03;

pub(super) fn claim(outcome: &Outcome) -> Claim {
    let mut claim = Claim::default();
    for result in outcome
        .cases
        .iter()
        .filter(|result| !result.compares_formats())
    {
        if result.case.workload == Workload::RequestSize {
            continue;
        }
        let Some(cost) = result.encrypted().and_then(Measured::cost) else {
            continue;
        };
        let list = if cost.high <= CLAIMED_COST {
            &mut claim.holds
        } else if cost.low > CLAIMED_COST {
            &mut claim.fails
        } else {
            &mut claim.open
        };
        list.push(format!("{}: {}", name(result), cost_text(cost)));
    }
    claim
}
