//! Every option of cryptsetup 2.8: done, to come, or refused by name.
//!
//! `options.tsv` is the one table of it. No option is ignored: one that is not done is answered
//! with its reason, so that a script learns at once what it cannot rely on.

use std::{fmt, sync::LazyLock};

/// How far an option or a verb is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Works as cryptsetup's manual says.
    Done,
    /// Will work.
    ToCome,
    /// Will not work, for a reason that lasts.
    Refused,
}

impl State {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "done" => Some(Self::Done),
            "to come" => Some(Self::ToCome),
            "refused" => Some(Self::Refused),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::ToCome => "not done yet",
            Self::Refused => "refused",
        })
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) takes_value: bool,
    pub(crate) state: State,
    pub(crate) reason: &'static str,
    /// The verbs that have it, if it is done.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) verbs: Vec<&'static str>,
}

static TABLE: LazyLock<Vec<Known>> = LazyLock::new(|| {
    include_str!("../options.tsv")
        .lines()
        .skip(1)
        .map(|line| parse_line(line).unwrap_or_else(|| panic!("options.tsv: {line:?}")))
        .collect()
});

fn parse_line(line: &'static str) -> Option<Known> {
    let mut columns = line.split('\t');
    let mut next = || columns.next().filter(|column| !column.is_empty());
    let known = Known {
        long: next()?,
        short: match next()? {
            "-" => None,
            letter => Some(letter.chars().next()?),
        },
        takes_value: next()? != "-",
        state: State::parse(next()?)?,
        verbs: match next()? {
            "-" => Vec::new(),
            verbs => verbs.split(' ').collect(),
        },
        reason: next()?,
    };
    columns.next().is_none().then_some(known)
}

/// The whole table, in the order of cryptsetup's help.
pub(crate) fn table() -> &'static [Known] {
    &TABLE
}

/// cryptsetup's verbs that are not done here, and this command's own that are to come.
pub(crate) const VERBS_NOT_DONE: &[(&str, State, &str)] = {
    const CLOSE: &str = "nothing is ever held open by this command";
    const PLAIN: &str = "plain dm-crypt has no header; only LUKS volumes are opened";
    const FOREIGN: &str = "only LUKS volumes are opened";
    const DM: &str = "there is no device-mapper device to apply it to";
    const WORK: &str = "use cryptsetup meanwhile: the volumes are the same";
    const OWN: &str = "use decrypt, read and write meanwhile";
    &[
        ("resize", State::ToCome, WORK),
        ("close", State::ToCome, CLOSE),
        ("luksClose", State::ToCome, CLOSE),
        ("status", State::ToCome, CLOSE),
        ("serve", State::ToCome, OWN),
        ("overhead", State::ToCome, OWN),
        ("create", State::Refused, PLAIN),
        ("plainOpen", State::Refused, PLAIN),
        ("loopaesOpen", State::Refused, FOREIGN),
        ("tcryptOpen", State::Refused, FOREIGN),
        ("bitlkOpen", State::Refused, FOREIGN),
        ("fvault2Open", State::Refused, FOREIGN),
        ("tcryptDump", State::Refused, FOREIGN),
        ("bitlkDump", State::Refused, FOREIGN),
        ("fvault2Dump", State::Refused, FOREIGN),
        ("remove", State::Refused, DM),
        ("plainClose", State::Refused, DM),
        ("loopaesClose", State::Refused, DM),
        ("tcryptClose", State::Refused, DM),
        ("bitlkClose", State::Refused, DM),
        ("fvault2Close", State::Refused, DM),
        ("luksSuspend", State::Refused, DM),
        ("luksResume", State::Refused, DM),
        ("refresh", State::Refused, DM),
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_parses_and_names_each_option_once() {
        let longs: BTreeSet<_> = table().iter().map(|known| known.long).collect();
        assert_eq!(longs.len(), table().len());
        let shorts: Vec<_> = table().iter().filter_map(|known| known.short).collect();
        let distinct: BTreeSet<_> = shorts.iter().collect();
        assert_eq!(distinct.len(), shorts.len());
    }

    #[test]
    fn an_option_has_verbs_exactly_if_it_is_done() {
        for known in table() {
            assert_eq!(
                known.state == State::Done,
                !known.verbs.is_empty(),
                "{}",
                known.long
            );
        }
    }
}
