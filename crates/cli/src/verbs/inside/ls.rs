//! `ls IMAGE[:/PATH]`

use std::io::{IsTerminal, Write};

use anyhow::Context;
use lucarne_inside::{Error, FileSystem, Kind, Node, ReadAt};
use serde_json::json;

use super::listing::{mode_text, name_json, time_text};
use super::{files, in_image, opened, volume};
use crate::{
    args::{CommonArgs, LsArgs},
    exit::{Failure, shown},
    report::{Report, complain},
};

/// A line of the list.
struct Line {
    name: Vec<u8>,
    /// Read only where it is shown.
    node: Option<Result<Node, Error>>,
    target: Option<Vec<u8>>,
}

pub(crate) fn run(args: &LsArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let target = &args.target;
    let path = target.path.as_deref().unwrap_or(b"/");
    let opened = opened(target, &args.inside)?;
    let volume = volume(target, &args.inside, &opened, common, report)?;
    let files = files(target, &args.inside, &volume)?;
    let lines =
        lines(&files, path, args.long || args.json).map_err(|error| in_image(target, error))?;
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    if args.json {
        let object = json!({
            "format": files.format(),
            "label": files.label(),
            "partition": files.partition().map(|partition| partition.number),
            "path": name_json(path),
            "entries": lines.iter().map(line_json).collect::<Vec<_>>(),
        });
        writeln!(stdout, "{object}").context("standard output")?;
    } else {
        print(
            &mut stdout,
            &lines,
            args.long,
            std::io::stdout().is_terminal(),
        )
        .context("standard output")?;
    }
    stdout.flush().context("standard output")?;
    let mut unreadable = 0;
    for line in &lines {
        if let Some(Err(error)) = &line.node {
            unreadable += 1;
            if unreadable <= 10 {
                complain(&format!("{}: {error}", lucarne_inside::shown(&line.name)));
            }
        }
    }
    match unreadable {
        0 => Ok(()),
        count => Err(Failure::Parameters(format!(
            "{}: {count} of {} files cannot be looked at",
            shown(&target.image),
            lines.len()
        ))
        .into()),
    }
}

fn lines<R: ReadAt>(
    files: &FileSystem<R>,
    path: &[u8],
    with_nodes: bool,
) -> Result<Vec<Line>, Error> {
    let target = |node: &Node| match node.kind {
        Kind::Link => files.link_target(node).map(Some),
        _ => Ok(None),
    };
    let node = files.node(path)?;
    if node.kind != Kind::Directory {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        return Ok(vec![Line {
            name: name.to_vec(),
            node: Some(Ok(node)),
            target: None,
        }]);
    }
    let mut entries = files.list_node(&node, path)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let line = |entry: lucarne_inside::Entry| {
        let node = with_nodes.then(|| files.entry_node(&entry));
        let (node, target) = match node {
            // A link whose target cannot be read is as bad as one that cannot be read itself.
            Some(Ok(node)) => match target(&node) {
                Ok(target) => (Some(Ok(node)), target),
                Err(error) => (Some(Err(error)), None),
            },
            other => (other, None),
        };
        Line {
            name: entry.name,
            node,
            target,
        }
    };
    Ok(entries.into_iter().map(line).collect())
}

fn line_json(line: &Line) -> serde_json::Value {
    let name = name_json(&line.name);
    match &line.node {
        Some(Ok(node)) => json!({
            "name": name,
            "kind": node.kind.to_string(),
            "bytes": node.len,
            "mode": format!("{:04o}", node.mode),
            "user": node.user,
            "group": node.group,
            "modified": node.modified,
            "target": line.target.as_deref().map(name_json),
        }),
        Some(Err(error)) => json!({ "name": name, "error": error.to_string() }),
        None => json!({ "name": name }),
    }
}

fn print(
    out: &mut dyn Write,
    lines: &[Line],
    long: bool,
    is_terminal: bool,
) -> std::io::Result<()> {
    // A terminal acts on what it is shown; a program wants the bytes.
    let name = |name: &[u8]| match is_terminal {
        true => lucarne_inside::shown(name).into_bytes(),
        false => name.to_vec(),
    };
    let nodes = || {
        lines
            .iter()
            .filter_map(|line| line.node.as_ref()?.as_ref().ok())
    };
    let width = |of: fn(&Node) -> u64| nodes().map(of).max().unwrap_or(0).to_string().len();
    let (users, groups, lens) = (
        width(|node| node.user.into()),
        width(|node| node.group.into()),
        width(|node| node.len),
    );
    for line in lines {
        match &line.node {
            Some(Ok(node)) if long => {
                let time = node.modified.map_or_else(|| "-".into(), time_text);
                write!(
                    out,
                    "{} {:>users$} {:>groups$} {:>lens$} {time:<16} ",
                    mode_text(node),
                    node.user,
                    node.group,
                    node.len,
                )?;
            }
            Some(Err(_)) if long => {
                write!(
                    out,
                    "?????????? {:>users$} {:>groups$} {:>lens$} {:<16} ",
                    "?", "?", "?", "?"
                )?;
            }
            _ => {}
        }
        out.write_all(&name(&line.name))?;
        if let (true, Some(target)) = (long, &line.target) {
            out.write_all(b" -> ")?;
            out.write_all(&name(target))?;
        }
        out.write_all(b"\n")?;
    }
    Ok(())
}
