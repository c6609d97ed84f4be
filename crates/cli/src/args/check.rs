//! `check`, and the options by which any verb that opens a volume has its header judged.

use std::path::PathBuf;

use clap::Args;

/// How a header is judged before it is used.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Judging the header")]
pub(crate) struct PolicyArgs {
    /// The policy that the header must hold to: default, strict-1, legacy, or a JSON file
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<PathBuf>,

    /// The UUID that the header must have
    #[arg(long, value_name = "UUID")]
    pub(crate) expect_uuid: Option<String>,

    /// The digest that must recognise the volume key, in hexadecimal, as luksDump prints it
    #[arg(long, value_name = "HEX")]
    pub(crate) expect_volume_key_digest: Option<String>,

    /// The hash that the header must have, in hexadecimal, as check prints it
    #[arg(long, value_name = "HEX")]
    pub(crate) expect_header_hash: Option<String>,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  lucarne check disk.luks
  lucarne check --policy strict-1 --expect-volume-key-digest \"$DIGEST\" disk.luks
  lucarne check --policy strict-1 --print-policy > mine.json

The policies: default (now default-1), by which check judges unless told otherwise, takes what
cryptsetup 2 makes; strict-1 is for the disk of a confidential VM, whose host may rewrite the header;
legacy (now legacy-1) also takes the ciphers and hashes of old versions. A version never changes.
--print-policy shows every rule with its limit.

The exit code is 0 only if the policy holds and the header is as expected; warnings do not matter.
Nothing is written and no passphrase is needed. The verbs that open a volume take the same options,
and then open exactly the header that was judged.";

/// What `verbs::check` prints for `--json`; a member keeps its name and meaning within a version.
const CHECK_JSON: &str = "

A policy file is a JSON object: base (a preset), name (for messages; may be left out), and rules, an
object of what differs from the base. A rule's value is a limit (a list, or an object with min, max
or both), a severity (warning, violation, off), or an object with limit and severity.

The object that --json prints, one line:
  version            1
  policy             its name
  holds              whether the policy holds and the header is as expected
  violations         how many
  findings           list of: rule (for an expectation its option without dashes), severity (warning,
                     violation), field, value, limit (texts)
  findings_left_out  how many more there are: of one rule at most 64 are listed
  uuid, volume_key_digest, header_hash
                     what --expect-uuid and so on would have to be for this header; the digest is
                     null unless exactly one digest belongs to segments
A header that cannot be read is an error: one line on standard error, no object, no exit code 0.";

/// `check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES, after_long_help = [CHECK_EXAMPLES, CHECK_JSON].concat())]
pub(crate) struct CheckArgs {
    /// The volume
    #[arg(required_unless_present = "print_policy")]
    pub(crate) image: Option<PathBuf>,

    /// Print one JSON object instead of the table
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the policy as a policy file with every rule, and judge nothing
    #[arg(long, conflicts_with_all = ["image", "json", "header"])]
    pub(crate) print_policy: bool,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) judging: PolicyArgs,
}
