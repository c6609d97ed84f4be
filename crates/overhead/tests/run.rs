//! A whole run, small.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use lucarne_overhead::plan::Workload;
use lucarne_overhead::source::Way;
use lucarne_overhead::{
    Control, Depth, Error, Model, Options, Outcome, Run, Weights, report, verdict,
};
use lucarne_testkit::scratch::Scratch;
use serde_json::Value;

fn options(dir: &std::path::Path, depth: Depth) -> Options {
    Options {
        dir: dir.to_owned(),
        weights: Weights::Generated {
            model: Model::Small,
            len_bytes: 9 << 20,
        },
        threads: 2,
        depth,
        doors: None,
    }
}

/// One run for all that look at its figures: it takes a while.
fn outcome() -> &'static Outcome {
    static OUTCOME: LazyLock<Outcome> = LazyLock::new(|| {
        let scratch = Scratch::new();
        let run = Run::new(options(scratch.dir(), Depth::Quick)).unwrap();
        let outcome = run.measure(&Control::default()).unwrap();
        assert_eq!(scratch.names(), [""; 0], "nothing has a name");
        outcome
    });
    &OUTCOME
}

/// The names of all members, with those of their parents before them; list places are left out.
fn members(value: &Value, path: &str, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let path = format!("{path}.{name}");
                names.insert(path.clone());
                members(value, &path, names);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| members(value, path, names)),
        _ => {}
    }
}

#[test]
fn a_run_answers_in_every_form_and_leaves_nothing() {
    let outcome = outcome();
    let answer = verdict::answer(outcome);
    assert!(
        answer.headline.starts_with("Here encryption costs "),
        "{}",
        answer.headline
    );

    let text = report::text(outcome, &answer);
    assert_eq!(text.lines().next(), Some(answer.headline.as_str()));
    assert!(
        text.contains("What saturates:") && text.contains("CPU s/GiB"),
        "{text}"
    );

    let json = report::json(outcome, &answer);
    assert_eq!(json["version"], report::SCHEMA_VERSION);
    let mut have = BTreeSet::new();
    members(&json, "", &mut have);
    let schema = include_str!("../SCHEMA.md");
    let described: BTreeSet<String> = schema
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(path, _)| format!(".{path}"))
        .collect();
    // A cipher's members are there wherever a volume is.
    assert_eq!(have, described);

    let html = report::html(outcome, &answer);
    assert!(html.contains(&answer.headline.replace('"', "&quot;")));
    assert!(html.matches("<svg").count() >= 8);
    for needs_network in ["src=", "href=", "@import", "url("] {
        assert!(!html.contains(needs_network), "{needs_network}");
    }
    assert!(html.len() < 500_000, "{} bytes", html.len());
}

#[test]
fn every_figure_has_its_runs_and_the_bytes_are_the_checkpoints() {
    let outcome = outcome();
    let warm = outcome.case(Workload::WarmLoad, Way::Pread).unwrap();
    assert!(warm.bytes.abs_diff(outcome.main_bytes) < outcome.main_bytes / 10);
    for result in &outcome.cases {
        let runs = result.measured[0].rate.runs;
        assert!(runs >= result.case.rounds.least, "{}", result.case.id());
        for measured in &result.measured {
            assert_eq!(measured.samples.len(), runs, "{}", result.case.id());
            assert!(measured.rate.median > 0.0 && measured.cpu_per_gib.median >= 0.0);
            assert_eq!(
                measured.ratio.is_some(),
                measured.protection != result.measured[0].protection
            );
        }
    }
}

#[test]
fn given_weights_are_read_and_stay_as_they_are() {
    let scratch = Scratch::new();
    let checkpoint = lucarne_overhead::weights::Checkpoint::of_model(Model::SevenB, 12 << 20);
    for name in ["a.safetensors", "b.safetensors"] {
        let file = std::fs::File::create_new(scratch.path(name)).unwrap();
        let storage = lucarne::FileStorage::from_file(file).unwrap();
        lucarne_overhead::weights::generate(&checkpoint, 1, &storage, 2, &Control::default())
            .unwrap();
    }
    let before = std::fs::read(scratch.path("b.safetensors")).unwrap();
    let given = Options {
        weights: Weights::Given(scratch.dir().to_owned()),
        ..options(scratch.dir(), Depth::Quick)
    };
    let outcome = Run::new(given)
        .unwrap()
        .measure(&Control::default())
        .unwrap();
    assert!(
        outcome.weights.contains("in 2 files"),
        "{}",
        outcome.weights
    );
    assert_eq!(outcome.main_bytes, 2 * checkpoint.len_bytes);
    assert!(std::fs::read(scratch.path("b.safetensors")).unwrap() == before);
    assert_eq!(scratch.names(), ["a.safetensors", "b.safetensors"]);
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_written() {
    let scratch = Scratch::new();
    let refusal = |len_bytes| {
        let mut options = options(scratch.dir(), Depth::Normal);
        options.weights = Weights::Generated {
            model: Model::Small,
            len_bytes,
        };
        Run::new(options).unwrap_err()
    };
    assert!(refusal(1 << 20).to_string().contains("at least"));
    let error = refusal(1 << 50);
    assert!(
        matches!(&error, Error::Refused(message) if message.contains("MiB of disk")),
        "{error}"
    );
    let mut options = options(scratch.dir(), Depth::Quick);
    options.weights = Weights::Given(scratch.file("x.safetensors", b"no header"));
    let error = Run::new(options).unwrap_err();
    assert!(
        matches!(&error, Error::Weights { file, .. } if file.ends_with("x.safetensors")),
        "{error}"
    );
    assert_eq!(scratch.names(), ["x.safetensors"]);
}

#[test]
fn an_interrupted_run_ends_and_leaves_nothing() {
    let scratch = Scratch::new();
    let control = Control::default();
    let run = Run::new(options(scratch.dir(), Depth::Normal)).unwrap();
    let result = std::thread::scope(|scope| {
        let run = scope.spawn(|| run.measure(&control));
        std::thread::sleep(std::time::Duration::from_millis(300));
        control.interrupt();
        run.join().unwrap()
    });
    assert!(matches!(result, Err(Error::Interrupted)));
    assert_eq!(scratch.names(), [""; 0]);
}
