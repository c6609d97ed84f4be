//! `open --test-passphrase DEVICE`

use lucarne::Access;

use crate::{
    args::{CommonArgs, OpenArgs},
    device::Opened,
    exit::Failure,
    passphrase::StdinRole,
    report::Report,
    unlock::Unlocking,
};

pub(crate) fn run(args: &OpenArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    if !args.test_passphrase {
        return Err(Failure::parameters(
            "open: not done yet: a door on the plaintext; decrypt and read give its bytes, --test-passphrase tries a key",
        )
        .into());
    }
    args.rest.complain();
    let opened = Opened::open(
        &args.device,
        args.opening.unlock.header.as_deref(),
        Access::ReadOnly,
    )?;
    let unlocking = Unlocking::new(&args.device, &args.opening, StdinRole::Free, common);
    let header = unlocking.read_judged(&opened)?;
    let keyslot = args.opening.unlock.key_slot;
    unlocking.vouched_key(&header, opened.header(), keyslot, args.unbound, report)?;
    Ok(())
}
