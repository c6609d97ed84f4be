//! For a browser.

use crate::outcome::Outcome;
use crate::verdict::Answer;

/// The page.
#[must_use]
pub fn html(_outcome: &Outcome, answer: &Answer) -> String {
    answer.headline.clone()
}
