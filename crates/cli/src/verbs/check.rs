//! `check IMAGE`

use lucarne::policy::{self, Judgement, Policy};
use lucarne::{Access, HeaderRef};
use serde_json::json;

use crate::{
    args::{CheckArgs, LimitArgs, VolumeType},
    device::Opened,
    exit::{Failure, shown},
    policy::{Judging, data_device},
    report,
    unlock::read_header,
};

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let Judging { policy, pins } = Judging::new(&args.judging)?;
    let policy = policy.unwrap_or_default();
    let Some(image) = &args.image else {
        return print_policy(&policy);
    };
    let opened = Opened::open(image, args.header.as_deref(), Access::ReadOnly)?;
    let path = args.header.as_ref().unwrap_or(image);
    let limits = LimitArgs::default();
    let header = read_header(path, opened.header(), VolumeType::Luks, &limits)?;
    let device = data_device(&opened.data, opened.detached_header.is_some())?;
    let judgement = policy.judge_pinned(&header, device, &pins);
    let text = match args.json {
        true => json_text(header.as_ref(), &judgement),
        false => table(header.as_ref(), &judgement),
    };
    report::print(text.as_bytes())?;
    match judgement.violations() {
        0 => Ok(()),
        count => Err(Failure::Parameters(format!(
            "{}: {} of policy {}",
            shown(image),
            counted(count, "violation"),
            judgement.policy()
        ))
        .into()),
    }
}

fn print_policy(policy: &Policy) -> anyhow::Result<()> {
    Ok(report::print(policy.to_json().as_bytes())?)
}

/// The values to pin, of this header.
struct Identity {
    uuid: String,
    volume_key_digest: Option<String>,
    header_hash: Option<String>,
}

impl Identity {
    fn of(header: HeaderRef<'_>) -> Self {
        let hex = |hash: [u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect();
        // Nothing of LUKS1 can be pinned.
        let luks2 = match header {
            HeaderRef::Luks1(_) => None,
            HeaderRef::Luks2(header) => Some(header),
        };
        Self {
            uuid: header.uuid().to_owned(),
            volume_key_digest: luks2.and_then(policy::volume_key_digest),
            header_hash: luks2.and_then(|header| policy::header_hash(header).ok().map(hex)),
        }
    }
}

fn json_text(header: HeaderRef<'_>, judgement: &Judgement) -> String {
    let identity = Identity::of(header);
    let findings = judgement.findings().iter().map(|finding| {
        json!({
            "rule": finding.rule,
            "severity": finding.severity.name(),
            "field": finding.field,
            "value": finding.value,
            "limit": finding.limit,
        })
    });
    let object = json!({
        "version": 1,
        "policy": judgement.policy(),
        "holds": judgement.holds(),
        "violations": judgement.violations(),
        "findings": findings.collect::<Vec<_>>(),
        "findings_left_out": judgement.left_out(),
        "uuid": identity.uuid,
        "volume_key_digest": identity.volume_key_digest,
        "header_hash": identity.header_hash,
    });
    format!("{object}\n")
}

/// One line for each finding, in columns, then what the header would have to be pinned to.
fn table(header: HeaderRef<'_>, judgement: &Judgement) -> String {
    let rows: Vec<[&str; 5]> = judgement
        .findings()
        .iter()
        .map(|finding| {
            [
                finding.severity.name(),
                finding.rule,
                &finding.field,
                &finding.value,
                &finding.limit,
            ]
        })
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let head = ["severity", "rule", "field", "value", "allowed"];
        let all = || std::iter::once(&head).chain(&rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..4).map(|column| width(column).unwrap_or(0)).collect();
        for row in all() {
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(&format!("{cell:width$}  "));
            }
            // The last column is long, and nothing follows it.
            text.push_str(row[4]);
            text.push('\n');
        }
        if judgement.left_out() > 0 {
            text.push_str(&format!("and {} more\n", judgement.left_out()));
        }
        text.push('\n');
    }
    let identity = Identity::of(header);
    let verdict = match judgement.violations() {
        0 => "holds".to_owned(),
        count => format!("broken: {}", counted(count, "violation")),
    };
    for (name, value) in [
        ("policy", format!("{} {verdict}", judgement.policy())),
        // A header may say anything there.
        ("uuid", format!("{}", identity.uuid.escape_debug())),
        (
            "volume key digest",
            identity.volume_key_digest.unwrap_or("-".into()),
        ),
        ("header hash", identity.header_hash.unwrap_or("-".into())),
    ] {
        text.push_str(&format!("{name:17}  {value}\n"));
    }
    text
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}
