//! The kernels and the key derivation beside other implementations, in one process: all contenders of a
//! comparison take turns, again and again, so that load and clock are the same for all of them. What is
//! printed is the median; how far the turns spread is printed where it is more than a little.
//!
//! `cargo run --release` in this folder compares everything, prints the tables in Markdown and writes a
//! record; `cargo run --release -- cache` (or `memory`, `argon2`) does only that, and records nothing.

mod argon2_peers;
mod evp;
mod gcrypt;
mod libargon2;
mod limits;
mod machine;
mod measure;
mod record;
mod rust;
mod sections;
mod table;
mod xts;

use std::path::Path;

use anyhow::bail;

use crate::{machine::Machine, measure::Row, sections::Section};

fn main() -> anyhow::Result<()> {
    let mut sections = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.parse() {
            Ok(section) => sections.push(section),
            Err(()) => bail!("{argument}: sections are cache, memory and argon2"),
        }
    }
    let is_whole = sections.is_empty();
    if is_whole {
        sections = Section::ALL.to_vec();
    }
    let machine = Machine::this()?;
    let mut rows: Vec<Row> = Vec::new();
    for section in sections {
        rows.extend(section.run()?);
    }
    print!("{}", table::markdown(&machine, &rows));
    if is_whole {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../record");
        let path = record::write(&folder, &machine, &rows)?;
        eprintln!("recorded in {}", path.display());
    }
    Ok(())
}
