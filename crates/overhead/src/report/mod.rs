//! The answer and its figures: for a terminal, for a program, for a browser.

#[cfg(test)]
mod browser;
mod figures;
mod html;
mod json;
mod plots;
mod text;

pub use html::html;
pub use json::{SCHEMA_VERSION, json};
pub use text::text;
