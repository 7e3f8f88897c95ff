//! A check: what an older client does, and what it gets for it.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use serde_json::Value;

use crate::{
    differences::{Difference, Differences},
    pattern,
    world::World,
};

/// What a check saw, and what it has to look like, as a pattern of [`pattern`].
pub struct Seen {
    got: Value,
    /// As the older gateway answered.
    older: Value,
    /// As Onceover answers, where that differs on purpose.
    now: Option<Value>,
}

/// Why a check saw nothing.
#[derive(Debug)]
pub enum Stop {
    /// It cannot be played here.
    Skipped(String),
    /// What it needs went wrong.
    Broken(String),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(format!("{error:#}"))
    }
}

pub type Played = Result<Seen, Stop>;

/// The answer has to be as the older gateway's.
pub fn same(got: Value, older: Value) -> Played {
    Ok(Seen { got, older, now: None })
}

/// The answer was one and is another; a row of the table tells why.
pub fn differs(got: Value, older: Value, now: Value) -> Played {
    Ok(Seen {
        got,
        older,
        now: Some(now),
    })
}

type Play = Box<dyn Fn(Arc<World>) -> Pin<Box<dyn Future<Output = Played> + Send>> + Send + Sync>;

/// A row of the contract.
pub struct Check {
    /// Section and name: `2.3 an unknown task has no result`.
    pub name: &'static str,
    pub play: Play,
}

/// Names what is played.
pub fn check<F, P>(name: &'static str, play: F) -> Check
where
    F: Fn(Arc<World>) -> P + Send + Sync + 'static,
    P: Future<Output = Played> + Send + 'static,
{
    Check {
        name,
        play: Box::new(move |world| Box::pin(play(world))),
    }
}

/// How a check ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the older gateway.
    Same,
    /// As a row of the table tells: its id, and why.
    Differs(String),
    Skipped(String),
    /// What is wrong, one thing a line.
    Failed(Vec<String>),
}

/// Rows of the table by the checks they name.
pub struct Rows(HashMap<String, Vec<Difference>>);

impl Rows {
    pub fn index(differences: &Differences) -> Self {
        let mut rows = HashMap::<String, Vec<Difference>>::new();
        for row in differences.values().flatten() {
            for check in row.checks() {
                rows.entry(check.clone()).or_default().push(row.clone());
            }
        }
        Self(rows)
    }

    /// Judges what a check saw. A difference needs a row, and a row a difference.
    pub fn judge(&self, name: &str, played: Played) -> Verdict {
        let seen = match played {
            Ok(seen) => seen,
            Err(Stop::Skipped(why)) => return Verdict::Skipped(why),
            Err(Stop::Broken(why)) => return Verdict::Failed(vec![why]),
        };
        let row = self.0.get(name).and_then(|rows| rows.first());
        let older = pattern::differences(&seen.older, &seen.got);
        match (seen.now, row) {
            (None, None) if older.is_empty() => Verdict::Same,
            (None, None) => Verdict::Failed(older),
            (None, Some(row)) => Verdict::Failed(vec![stale(row)]),
            (Some(_), None) => Verdict::Failed(vec!["no row of differences.toml names this check".into()]),
            (Some(now), Some(row)) => {
                let mut wrong = pattern::differences(&now, &seen.got);
                if older.is_empty() {
                    wrong.push(stale(row));
                }
                if wrong.is_empty() {
                    Verdict::Differs(format!("{}: {}", row.id, row.why))
                } else {
                    Verdict::Failed(wrong)
                }
            }
        }
    }
}

fn stale(row: &Difference) -> String {
    format!(
        "row {} of differences.toml is stale: the answer is as the older gateway's",
        row.id
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::{checks::all_checks, differences::load_differences};

    fn rows() -> Rows {
        let table =
            "[[http]]\nid = 'a'\nsource = 'wire 1'\nwhere = 'w'\nolder = 'o'\nnow = 'n'\nwhy = 'y'\ncheck = 'known'";
        Rows::index(&toml::from_str(table).expect("a table"))
    }

    fn failed(verdict: Verdict) -> String {
        match verdict {
            Verdict::Failed(why) => why.join("; "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_check_without_a_row_has_to_answer_as_the_older_gateway() {
        let rows = rows();
        assert_eq!(rows.judge("other", same(json!(1), json!(1))), Verdict::Same);
        assert_eq!(
            failed(rows.judge("other", same(json!(1), json!(2)))),
            "the answer is 1; expected 2"
        );
        let without = rows.judge("other", differs(json!(1), json!(2), json!(1)));
        assert_eq!(failed(without), "no row of differences.toml names this check");
    }

    #[test]
    fn a_check_with_a_row_has_to_answer_as_the_row_says_and_not_as_the_older_gateway() {
        let rows = rows();
        let known = |got| rows.judge("known", differs(json!(got), json!(1), json!(2)));
        assert_eq!(known(2), Verdict::Differs("a: y".into()));
        assert_eq!(failed(known(3)), "the answer is 3; expected 2");
        assert!(failed(known(1)).contains("row a of differences.toml is stale"));
        let as_before = rows.judge("known", same(json!(1), json!(1)));
        assert!(failed(as_before).contains("row a of differences.toml is stale"));
    }

    #[test]
    fn a_check_that_could_not_be_played_has_neither_passed_nor_failed_unless_it_broke() {
        let rows = rows();
        assert_eq!(
            rows.judge("known", Err(Stop::Skipped("no Redis".into()))),
            Verdict::Skipped("no Redis".into())
        );
        assert_eq!(
            failed(rows.judge("known", Err(Stop::Broken("cut off".into())))),
            "cut off"
        );
    }

    #[test]
    fn names_of_checks_are_unique_begin_with_their_section_and_are_those_of_the_rows() {
        let checks = all_checks();
        let names: BTreeSet<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), checks.len(), "two checks have one name");
        for name in &names {
            let section = name.split(' ').next().expect("a section");
            assert!(
                section.split('.').all(|part| part.parse::<u8>().is_ok()),
                "{name} does not begin with a section of the contract"
            );
        }
        for row in load_differences().values().flatten() {
            for check in row.checks() {
                assert!(
                    names.contains(check.as_str()),
                    "{}: there is no check '{check}'",
                    row.id
                );
            }
        }
    }
}
