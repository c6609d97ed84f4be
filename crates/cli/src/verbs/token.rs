//! `token ACTION DEVICE`

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use lucarne::{Access, HeaderEditor, KeyringToken, Output, Replace, Storage};

use crate::{
    args::{CommonArgs, TokenAction, TokenArgs},
    device,
    exit::{Failure, shown},
    header,
    report::{self, Report},
};

/// No header has room for a longer one.
const JSON_LEN_MAX: u64 = 4 << 20;

pub(crate) fn run(args: &TokenArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    args.rest.complain();
    let wanted = Wanted::new(args)?;
    let path = args.header.as_deref().unwrap_or(&args.device);
    let access = match wanted {
        Wanted::Export { .. } => Access::ReadOnly,
        _ => Access::ReadWrite,
    };
    let storage = device::open(path, access)?;
    let mut editor = header::editor(path, &storage, common)?;
    let (id, replace) = (args.token_id, args.token_replace);
    match wanted {
        Wanted::Add(token) => {
            let keyslots = match args.key_slot {
                _ if args.unbound => Vec::new(),
                Some(keyslot) => vec![keyslot],
                None => {
                    let keyslots = editor.header().metadata().keyslots();
                    keyslots.keys().copied().collect()
                }
            };
            let id = editor
                .add_keyring_token(id, replace, &token, &keyslots)
                .with_context(|| shown(path))?;
            report.say(&format!("Token {id} created."));
        }
        Wanted::Import => {
            let text = read_json(args.json_file.as_deref())?;
            let id = editor
                .import_token(id, replace, &text, args.key_slot)
                .with_context(|| shown(path))?;
            report.say(&format!("Token {id} created."));
        }
        Wanted::Remove { id } => {
            editor.remove_token(id).with_context(|| shown(path))?;
            report.say(&format!("Token {id} removed."));
        }
        Wanted::Export { id } => export(&editor, id, path, args.json_file.as_ref())?,
        Wanted::Unassign { id, keyslot } => editor
            .assign_token(id, keyslot, false)
            .with_context(|| shown(path))?,
    }
    Ok(())
}

/// An action with what it needs.
enum Wanted {
    Add(KeyringToken),
    Import,
    Remove { id: u32 },
    Export { id: u32 },
    Unassign { id: u32, keyslot: u32 },
}

impl Wanted {
    fn new(args: &TokenArgs) -> anyhow::Result<Self> {
        let missing = |option: &str| {
            Failure::Parameters(format!("token {}: {option} is missing", name(args.action)))
        };
        if args.unbound && args.action != TokenAction::Add {
            return Err(Failure::parameters("--unbound: only for token add").into());
        }
        let id = || args.token_id.ok_or_else(|| missing("--token-id"));
        Ok(match args.action {
            TokenAction::Add => {
                let description = args.key_description.as_ref();
                let description = description.ok_or_else(|| missing("--key-description"))?;
                let token = KeyringToken::new(description)
                    .map_err(|error| Failure::Parameters(format!("--key-description: {error}")))?;
                Self::Add(token)
            }
            TokenAction::Import => Self::Import,
            TokenAction::Remove => Self::Remove { id: id()? },
            TokenAction::Export => Self::Export { id: id()? },
            TokenAction::Unassign => Self::Unassign {
                keyslot: args.key_slot.ok_or_else(|| missing("--key-slot"))?,
                id: id()?,
            },
        })
    }
}

fn name(action: TokenAction) -> &'static str {
    match action {
        TokenAction::Add => "add",
        TokenAction::Remove => "remove",
        TokenAction::Import => "import",
        TokenAction::Export => "export",
        TokenAction::Unassign => "unassign",
    }
}

fn read_json(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let (name, read) = match path.filter(|path| path.as_os_str() != "-") {
        None => (
            "standard input".to_owned(),
            std::io::stdin()
                .take(JSON_LEN_MAX + 1)
                .read_to_end(&mut text),
        ),
        Some(path) => (
            shown(path),
            File::open(path).and_then(|file| file.take(JSON_LEN_MAX + 1).read_to_end(&mut text)),
        ),
    };
    let refused = |what: String| Failure::Parameters(format!("token JSON from {name}: {what}"));
    read.map_err(|error| refused(error.to_string()))?;
    if text.len() as u64 > JSON_LEN_MAX {
        return Err(refused(format!("more than {JSON_LEN_MAX} bytes")).into());
    }
    if text.is_empty() {
        return Err(refused("nothing to read".into()).into());
    }
    Ok(text)
}

fn export(
    editor: &HeaderEditor<'_>,
    id: u32,
    path: &Path,
    file: Option<&PathBuf>,
) -> anyhow::Result<()> {
    let Some(token) = editor.header().metadata().tokens().get(&id) else {
        return Err(
            Failure::Parameters(format!("{}: token {id} is not in use", shown(path))).into(),
        );
    };
    let text = serde_json::to_vec(&token.json)?;
    let Some(file) = file.filter(|file| file.as_os_str() != "-") else {
        return Ok(report::print(&text)?);
    };
    let not_made =
        |error: &dyn std::fmt::Display| Failure::Parameters(format!("{}: {error}", shown(file)));
    // What is no file (a pipe, /dev/stdout) is written to, not replaced.
    if std::fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Ok(std::fs::write(file, text).map_err(|error| not_made(&error))?);
    }
    let output =
        Output::create_private(file, Replace::Allowed).map_err(|error| not_made(&error))?;
    output
        .storage()
        .write_at(&text, 0)
        .map_err(|error| not_made(&error))?;
    Ok(output.finish().map_err(|error| not_made(&error))?)
}
