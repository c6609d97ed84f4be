//! The arguments of `token`, and the tokens of the verbs that open.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use lucarne::{CommandUnlocker, KernelKeyring, Unlocker};

use super::verb::RestArgs;
use crate::size;

/// `token`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  lucarne token add --key-description backup:disk disk.luks
  lucarne token import --json-file token.json --key-slot 1 disk.luks
  lucarne token export --token-id 0 disk.luks | jq .type

add makes a token of type luks2-keyring: the passphrase of its keyslots is then looked for in the
kernel's keyring, in a key of type user with that description. import takes the JSON of any other
type too.")]
pub(crate) struct TokenArgs {
    /// What to do
    #[arg(value_name = "ACTION")]
    pub(crate) action: TokenAction,

    /// The volume
    pub(crate) device: PathBuf,

    /// The token's number [default for add and import: the first that is free]
    #[arg(long, value_name = "N", value_parser = size::token)]
    pub(crate) token_id: Option<u32>,

    /// The keyslot that it serves, or with unassign shall serve no longer [default for add: all]
    #[arg(short = 'S', long, value_name = "SLOT", value_parser = size::keyslot)]
    pub(crate) key_slot: Option<u32>,

    /// add: the description of the key in the kernel's keyring
    #[arg(long, value_name = "TEXT")]
    pub(crate) key_description: Option<String>,

    /// add: let it serve no keyslot
    #[arg(long, conflicts_with = "key_slot")]
    pub(crate) unbound: bool,

    /// import, export: the token's JSON; - is standard input or output [default: -]
    #[arg(long, value_name = "FILE")]
    pub(crate) json_file: Option<PathBuf>,

    /// add, import: put it in the place of the token with that number
    #[arg(long)]
    pub(crate) token_replace: bool,

    /// The header lies in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) header: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) rest: RestArgs,
}

/// What `token` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenAction {
    /// make a token of type luks2-keyring
    Add,
    /// remove a token of any type
    Remove,
    /// add a token from its JSON
    Import,
    /// give a token's JSON
    Export,
    /// let a token serve a keyslot no longer
    Unassign,
}

/// Which tokens unlock.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct TokenUnlockArgs {
    /// Try this token only, before a passphrase
    #[arg(long, value_name = "N", value_parser = size::token)]
    pub(crate) token_id: Option<u32>,

    /// Try tokens of this type only, before a passphrase
    #[arg(long, value_name = "TYPE")]
    pub(crate) token_type: Option<String>,

    /// Take no passphrase where no token unlocks
    #[arg(long)]
    pub(crate) token_only: bool,

    #[command(flatten)]
    pub(crate) command: TokenCommandArgs,
}

/// Where luksAddKey's passphrases come from, if from tokens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct AddKeyTokenArgs {
    /// Take the existing key from this token: no passphrase of the volume is taken then
    #[arg(long, value_name = "N", value_parser = size::token)]
    token_id: Option<u32>,

    /// Take the existing key from a token of this type
    #[arg(long, value_name = "TYPE")]
    token_type: Option<String>,

    /// Take the existing key from any token
    #[arg(long)]
    token_only: bool,

    /// The new passphrase is what this token stands for, and the token serves the new keyslot; a new key file
    /// takes precedence
    #[arg(long, value_name = "N", value_parser = size::token, conflicts_with = "unbound")]
    pub(crate) new_token_id: Option<u32>,

    #[command(flatten)]
    pub(crate) command: TokenCommandArgs,
}

impl AddKeyTokenArgs {
    /// Which tokens give the existing key, if one shall.
    pub(crate) fn existing(&self) -> Option<TokenUnlockArgs> {
        let is_asked = self.token_id.is_some() || self.token_type.is_some() || self.token_only;
        is_asked.then(|| TokenUnlockArgs {
            token_id: self.token_id,
            token_type: self.token_type.clone(),
            // As in cryptsetup: who names a token is not asked for a passphrase instead.
            token_only: true,
            command: self.command.clone(),
        })
    }
}

/// Who knows the passphrases of tokens.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Tokens")]
pub(crate) struct TokenCommandArgs {
    /// Ask this command for the passphrases of tokens: the shell runs it, it gets the token's JSON on
    /// standard input and gives the passphrase, and no newline after it, on standard output. Without it
    /// only luks2-keyring tokens are tried
    #[arg(long, value_name = "COMMAND")]
    pub(crate) token_command: Option<OsString>,

    /// Kill the token command after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = size::number_u32, requires = "token_command")]
    pub(crate) token_timeout: u32,
}

impl TokenCommandArgs {
    /// Calls `run` with all who can be asked.
    pub(crate) fn with_unlockers<T>(&self, run: impl FnOnce(&[&dyn Unlocker]) -> T) -> T {
        let command = self.token_command.as_ref().map(|command| {
            let patience = Duration::from_secs(self.token_timeout.into());
            CommandUnlocker::new(command).with_patience(patience)
        });
        let mut unlockers: Vec<&dyn Unlocker> = vec![&KernelKeyring];
        unlockers.extend(command.iter().map(|command| command as &dyn Unlocker));
        run(&unlockers)
    }
}
