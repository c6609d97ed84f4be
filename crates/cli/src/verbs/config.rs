//! `config DEVICE`

use anyhow::Context;
use lucarne::{Access, luks2::Priority};

use crate::{
    args::{CommonArgs, ConfigArgs, PriorityName},
    device,
    exit::{Failure, shown},
    header,
};

pub(crate) fn run(args: &ConfigArgs, common: &CommonArgs) -> anyhow::Result<()> {
    args.rest.complain();
    let priority = args.key_slot.zip(args.priority.map(Priority::from));
    let labels = match (&args.label, &args.subsystem) {
        (None, None) => None,
        (label, subsystem) => Some((
            label.as_deref().unwrap_or_default(),
            subsystem.as_deref().unwrap_or_default(),
        )),
    };
    if priority.is_none() && labels.is_none() {
        return Err(Failure::parameters(
            "config: one of --priority, --label and --subsystem is missing",
        )
        .into());
    }
    let path = args.header.as_deref().unwrap_or(&args.device);
    let storage = device::open(path, Access::ReadWrite)?;
    let mut editor = header::editor(path, &storage, common)?;
    editor
        .configure(labels, priority)
        .with_context(|| shown(path))
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Normal => Self::Normal,
            PriorityName::Prefer => Self::Prefer,
            PriorityName::Ignore => Self::Ignore,
        }
    }
}
