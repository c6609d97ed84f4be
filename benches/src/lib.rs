//! Measurements of the engine; see the folder benches/ for each.

pub mod whole;
