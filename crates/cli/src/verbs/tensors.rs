//! `tensors IMAGE[:/PATH]`, `tensor IMAGE[:/PATH] NAME OUT`

use std::io::Write;

use anyhow::Context;
use lucarne::{FileStorage, Output, ReadAt, ReadWindow, Storage, Volume};
use lucarne_inside::Content;
use lucarne_tensors::{AlignedBuffer, Tensors, Trailing};
use serde_json::json;

use super::inside::{files, in_image, opened, volume};
use crate::{
    args::{CommonArgs, InsideArgs, Target, TensorArgs, TensorsArgs},
    confirm, device,
    exit::{Failure, shown},
    report::Report,
    signals::{self, Graceful},
};

/// Bytes of a tensor in memory at a time.
const CHUNK_LEN_BYTES: usize = 4 << 20;

pub(crate) fn list(args: &TensorsArgs, common: &CommonArgs, report: &Report) -> anyhow::Result<()> {
    let opened = opened(&args.target, &args.inside)?;
    let volume = volume(&args.target, &args.inside, &opened, common, report)?;
    with_tensors(&args.target, &args.inside, &volume, |tensors| {
        let text = match args.json {
            true => format!("{}\n", as_json(tensors)?),
            false => as_text(tensors)?,
        };
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("standard output")
    })
}

pub(crate) fn extract(
    args: &TensorArgs,
    common: &CommonArgs,
    report: &Report,
) -> anyhow::Result<()> {
    let opened = opened(&args.target, &args.inside)?;
    let is_streamed = args.output.as_os_str() == "-";
    if !is_streamed {
        device::refuse_same_file(&opened.data, &args.output)?;
        device::refuse_same_file(opened.header(), &args.output)?;
    }
    let volume = volume(&args.target, &args.inside, &opened, common, report)?;
    with_tensors(&args.target, &args.inside, &volume, |tensors| {
        // Before anybody is asked whether OUT may be replaced.
        let tensor = tensors.tensor(&args.name);
        let len = tensor.with_context(|| shown(&args.target.image))?.len();
        if is_streamed {
            let mut stdout = std::io::stdout().lock();
            chunks(tensors, &args.name, &mut |chunk, _| {
                stdout.write_all(chunk).context("standard output")
            })?;
            return stdout.flush().context("standard output");
        }
        let replace = confirm::replacement(common.batch_mode, &args.output)?;
        let _graceful = Graceful::begin()?;
        let output = Output::create(&args.output, replace).with_context(|| shown(&args.output))?;
        device::claim_output(
            &args.output,
            &output,
            Some(&opened.data),
            common.disable_locks,
        )?;
        let storage = output.storage();
        if !output.is_device() {
            storage.set_len(len)?;
        }
        chunks(tensors, &args.name, &mut |chunk, at| {
            Ok(storage.write_at(chunk, at)?)
        })
        .with_context(|| shown(&args.output))?;
        output.finish().with_context(|| shown(&args.output))
    })
}

fn chunks(
    tensors: &Tensors<&dyn ReadAt>,
    name: &str,
    take: &mut dyn FnMut(&[u8], u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let len = tensors.tensor(name)?.len();
    let mut chunk = AlignedBuffer::zeroed(CHUNK_LEN_BYTES);
    let mut at = 0;
    while at < len {
        if signals::stop_requested() {
            return Err(Failure::Interrupted.into());
        }
        let rest = usize::try_from(len - at).unwrap_or(CHUNK_LEN_BYTES);
        let chunk = &mut chunk[..rest.min(CHUNK_LEN_BYTES)];
        tensors.read_part(name, at, chunk)?;
        take(chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(())
}

/// Opens the safetensors file that a volume is, or that lies in it.
fn with_tensors<T>(
    target: &Target,
    args: &InsideArgs,
    volume: &Volume<&FileStorage>,
    work: impl FnOnce(&Tensors<&dyn ReadAt>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let open = |source, trailing| {
        Tensors::open(source, trailing).with_context(|| match &target.path {
            Some(path) => format!("{}:{}", shown(&target.image), lucarne_inside::shown(path)),
            None => shown(&target.image),
        })
    };
    if let Some(path) = &target.path {
        let files = files(target, args, volume)?;
        let file = files
            .open_file(path)
            .map_err(|error| in_image(target, error))?;
        return work(&open(&file as &dyn ReadAt, Trailing::Refused)?);
    }
    let content = lucarne_inside::detect(volume).map_err(|error| in_image(target, error))?;
    if content.is_readable() || content == Content::PartitionTable || args.partition.is_some() {
        return Err(Failure::Device(format!(
            "{}: the volume holds {content}: name a safetensors file in it, as {}:/PATH",
            shown(&target.image),
            shown(&target.image)
        ))
        .into());
    }
    // Without a recorded length the file may be shorter than the volume.
    let recorded = volume
        .recorded_len()
        .with_context(|| shown(&target.image))?;
    match recorded {
        Some(len) => {
            let window = ReadWindow::new(volume, 0..len);
            work(&open(&window as &dyn ReadAt, Trailing::Refused)?)
        }
        None => work(&open(volume as &dyn ReadAt, Trailing::Allowed)?),
    }
}

fn trailing_len(tensors: &Tensors<&dyn ReadAt>) -> anyhow::Result<u64> {
    let len = tensors.source().len_bytes()?;
    Ok(len.saturating_sub(tensors.header().data().end))
}

fn as_json(tensors: &Tensors<&dyn ReadAt>) -> anyhow::Result<serde_json::Value> {
    let header = tensors.header();
    let listed: Vec<_> = header
        .tensors()
        .iter()
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "dtype": tensor.dtype.name(),
                "shape": tensor.shape,
                "bytes": tensor.len(),
                "offset": tensor.range.start,
            })
        })
        .collect();
    let data = header.data();
    Ok(json!({
        "tensors": listed,
        "metadata": header.metadata(),
        "bytes": data.end - data.start,
        "offset": data.start,
        "trailing_bytes": trailing_len(tensors)?,
    }))
}

/// A column each for name, type, shape, bytes and offset.
fn as_text(tensors: &Tensors<&dyn ReadAt>) -> anyhow::Result<String> {
    use std::fmt::Write;
    let header = tensors.header();
    let safe = |text: &str| lucarne_inside::shown(text.as_bytes());
    let mut rows = vec![["name", "dtype", "shape", "bytes", "offset"].map(str::to_owned)];
    rows.extend(header.tensors().iter().map(|tensor| {
        [
            safe(&tensor.name),
            tensor.dtype.name().to_owned(),
            format!("{:?}", tensor.shape),
            tensor.len().to_string(),
            tensor.range.start.to_string(),
        ]
    }));
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for [name, dtype, shape, bytes, offset] in &rows {
        writeln!(
            text,
            "{name:<0$}  {dtype:<1$}  {shape:<2$}  {bytes:>3$}  {offset:>4$}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        )?;
    }
    let data = header.data();
    writeln!(
        text,
        "{} tensors, {} bytes from byte {} on",
        header.tensors().len(),
        data.end - data.start,
        data.start
    )?;
    let trailing = trailing_len(tensors)?;
    if trailing > 0 {
        writeln!(text, "{trailing} bytes behind them, to the volume's end")?;
    }
    for (name, value) in header.metadata() {
        writeln!(text, "metadata: {}: {}", safe(name), safe(value))?;
    }
    Ok(text)
}
