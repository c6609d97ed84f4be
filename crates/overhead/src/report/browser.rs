//! The page as a real browser shows it: as wide as a telephone and as a desk's screen, light and dark, and on paper.

use std::path::Path;
use std::process::Command;

use lucarne_testkit::{peers, process, scratch::Scratch};
use serde_json::Value;

use super::html::{escaped, html};
use crate::plan::Depth;
use crate::synthetic::{Planted, outcome};
use crate::verdict::answer;

/// Runs in the page around the report, looks into it, and leaves what it saw as the page's text.
const LOOK: &str = r#"
addEventListener('load', () => {
  const frame = document.querySelector('iframe'), page = frame.contentDocument, view = frame.contentWindow;
  const rgb = text => text.match(/[\d.]+/g).slice(0, 3).map(Number);
  const light = colour => {
    const [r, g, b] = rgb(colour).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const shown = element => element.getClientRects().length > 0;
  const faults = [];
  const width = view.innerWidth;
  if (page.documentElement.scrollWidth > width) faults.push('wider than the screen: ' + page.documentElement.scrollWidth);
  for (const element of page.body.querySelectorAll('*')) {
    if (!shown(element)) continue;
    const box = element.getBoundingClientRect();
    if (box.right > width + 1 || box.left < -1) faults.push('outside: ' + element.tagName + ' ' + element.textContent.slice(0, 30));
  }
  const svgs = [...page.querySelectorAll('svg')].filter(shown);
  let letters = 0;
  for (const svg of svgs) {
    const box = svg.getBoundingClientRect();
    if (box.width < 200 || box.height < 80) faults.push('an empty picture');
    if (svg.querySelectorAll('circle, rect, polyline, polygon, path').length < 3) faults.push('nothing is drawn');
    const paper = view.getComputedStyle(svg.parentElement).backgroundColor;
    for (const text of svg.querySelectorAll('text')) {
      if (!text.textContent.trim()) continue;
      letters += 1;
      const own = text.getBoundingClientRect();
      if (own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1 || own.bottom > box.bottom + 1)
        faults.push('clipped: ' + text.textContent.trim());
      const scale = box.width / svg.viewBox.baseVal.width;
      if (parseFloat(view.getComputedStyle(text).fontSize) * scale < 10) faults.push('too small: ' + text.textContent.trim());
      if (contrast(view.getComputedStyle(text).fill, paper) < 4.5) faults.push('too faint: ' + text.textContent.trim());
    }
    for (const mark of svg.querySelectorAll('circle, rect')) {
      const fill = view.getComputedStyle(mark).fill;
      if (fill !== 'none' && !rgb(fill).every(v => v > 0 && v < 9) && contrast(fill, paper) < 2.5) faults.push('a faint mark: ' + fill);
      if (fill !== 'none' && rgb(fill).every(v => v > 0 && v < 9)) faults.push('a colour that the style sheet does not know: ' + fill);
    }
  }
  const body = view.getComputedStyle(page.body);
  if (contrast(body.color, body.backgroundColor) < 7) faults.push('faint text');
  document.body.textContent = 'SEEN' + JSON.stringify({
    faults: [...new Set(faults)], pictures: svgs.length, letters, width, paper: light(body.backgroundColor),
    rows: page.querySelectorAll('tr').length,
  }) + 'SEEN';
});
"#;

/// Blink's names for what the user prefers.
const SCHEMES: [(&str, u8); 2] = [("dark", 0), ("light", 1)];
const HEIGHT: u32 = 2000;

fn chromium(
    browser: &Path,
    scratch: &Scratch,
    scheme: u8,
    width: u32,
    more: &[String],
) -> process::Outcome {
    let mut command = Command::new(browser);
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--no-first-run",
    ]);
    command.arg(format!(
        "--user-data-dir={}",
        scratch.path("profile").display()
    ));
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    // Windows are no narrower than 500 pixels: the frame is.
    command.arg(format!("--window-size={},{HEIGHT}", width.max(500)));
    command.args(more);
    process::run(&mut command, b"")
}

#[test]
fn a_browser_shows_all_of_it_on_every_screen() {
    let Some(browser) = peers::locate("chromium") else {
        peers::skipped("the report in a browser", "chromium");
        return;
    };
    let outcome = outcome(Depth::Full, &Planted::default());
    let page = html(&outcome, &answer(&outcome));
    let scratch = Scratch::new();
    let mut pictures = Vec::new();
    for (scheme, number) in SCHEMES {
        for width in [390, 1200] {
            let around = format!(
                "<!DOCTYPE html><body style=\"margin:0\"><script>{LOOK}</script>\
                 <iframe style=\"border:0;width:{width}px;height:{HEIGHT}px\" srcdoc=\"{}\"></iframe>",
                escaped(&page)
            );
            let file = scratch.file(&format!("{scheme}-{width}.html"), around.as_bytes());
            let url = format!("file://{}", file.display());
            let shown = chromium(
                &browser,
                &scratch,
                number,
                width,
                &["--dump-dom".into(), url],
            );
            let dom = String::from_utf8_lossy(&shown.stdout).into_owned();
            let seen = dom
                .split("SEEN")
                .nth(1)
                .unwrap_or_else(|| panic!("{}", shown.text()));
            let seen: Value = serde_json::from_str(&seen.replace("&amp;", "&")).unwrap();
            assert_eq!(
                seen["faults"],
                serde_json::json!([]),
                "{scheme}, {width} pixels"
            );
            assert_eq!(seen["width"], width);
            assert_eq!(seen["pictures"], 10, "{scheme}, {width} pixels");
            assert!(
                seen["letters"].as_u64().unwrap() > 60 && seen["rows"].as_u64().unwrap() > 60,
                "{seen}"
            );
            assert_eq!(
                seen["paper"].as_f64().unwrap() < 0.1,
                scheme == "dark",
                "{seen}"
            );

            let picture = scratch.path(&format!("{scheme}-{width}.png"));
            let bare = scratch.file("report.html", page.as_bytes());
            let to = format!("--screenshot={}", picture.display());
            let url = format!("file://{}", bare.display());
            chromium(&browser, &scratch, number, width, &[to, url]);
            pictures.push(std::fs::read(&picture).unwrap());
        }
    }
    for (place, picture) in pictures.iter().enumerate() {
        let number = |at: usize| u32::from_be_bytes(picture[at..at + 4].try_into().unwrap());
        assert!(picture.starts_with(b"\x89PNG"));
        // IHDR's width and height.
        assert_eq!((number(16), number(20)), ([500, 1200][place % 2], HEIGHT));
        assert!(
            picture.len() > 60_000,
            "{} bytes: an empty page",
            picture.len()
        );
        assert!(
            pictures[..place].iter().all(|other| other != picture),
            "dark and light are one"
        );
    }
}

/// Where a row of a table begins with it, and nothing else does.
const ROWS: [&str; 3] = ["plain  ", "plain, again ", "AES-256-XTS, "];

#[test]
fn on_paper_every_table_is_whole_and_light() {
    let what = "the report on paper";
    let (Some(browser), Some(to_text), Some(to_pixels)) = (
        peers::locate("chromium"),
        peers::locate("pdftotext"),
        peers::locate("pdftoppm"),
    ) else {
        peers::skipped(what, "chromium, pdftotext or pdftoppm");
        return;
    };
    let outcome = outcome(Depth::Full, &Planted::default());
    let page = html(&outcome, &answer(&outcome));
    let scratch = Scratch::new();
    let file = scratch.file("report.html", page.as_bytes());
    let printed = scratch.path("report.pdf");
    let to = format!("--print-to-pdf={}", printed.display());
    let url = format!("file://{}", file.display());
    // Who prefers dark screens has white paper all the same.
    let more = [to, "--no-pdf-header-footer".into(), url];
    chromium(&browser, &scratch, 0, 1200, &more);

    let said = process::run(
        Command::new(to_text).arg("-layout").arg(&printed).arg("-"),
        b"",
    );
    assert_eq!(said.code, Some(0), "{}", said.text());
    let text = said.text();
    let pages: Vec<Vec<&str>> = text
        .trim_end_matches('\u{c}')
        .split('\u{c}')
        .map(|page| {
            page.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect()
        })
        .collect();
    assert!((5..60).contains(&pages.len()), "{} pages", pages.len());
    for (number, lines) in (1..).zip(&pages) {
        let (first, last) = (lines[0], lines[lines.len() - 1]);
        let is_row = ROWS.iter().any(|start| first.starts_with(start));
        assert!(!is_row, "page {number} begins inside of a table: {first}");
        let is_heading = last.contains("own share") || last.contains("CPU s/GiB");
        assert!(
            !is_heading,
            "page {number} ends with the heading of a table: {last}"
        );
    }
    // Columns beside each other, and not a card for each row as on a telephone.
    let headings = text
        .lines()
        .filter(|line| line.contains("of plain") && line.contains("CPU s/GiB"));
    assert_eq!(headings.count(), outcome.cases.len());

    let pixels = scratch.path("page");
    let mut command = Command::new(to_pixels);
    command
        .args(["-r", "40", "-gray"])
        .arg(&printed)
        .arg(&pixels);
    assert_eq!(process::run(&mut command, b"").code, Some(0));
    let mut drawn = 0;
    for name in scratch.names().iter().filter(|name| name.ends_with(".pgm")) {
        let picture = std::fs::read(scratch.path(name)).unwrap();
        // Three lines of text before the pixels: the format, the size, the whitest.
        let start = picture
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n');
        let start = start.map(|(place, _)| place + 1).nth(2).unwrap();
        let size = std::str::from_utf8(&picture[..start]).unwrap();
        let width = size.split_whitespace().nth(1).unwrap().parse().unwrap();
        let pixels = &picture[start..];
        let white = pixels.iter().filter(|&&pixel| pixel > 250).count();
        assert!(2 * white > pixels.len(), "{name} is dark");
        // Nothing reaches into the margins.
        for row in pixels.chunks_exact(width) {
            let margin = width / 25;
            assert!(
                row[..margin].iter().all(|&pixel| pixel > 250),
                "{name}: cut at the left"
            );
            assert!(
                row[width - margin..].iter().all(|&pixel| pixel > 250),
                "{name}: cut at the right"
            );
        }
        drawn += usize::from(white < pixels.len());
    }
    assert_eq!(drawn, pages.len(), "pages with something on them");
}
