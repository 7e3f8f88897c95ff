//! The table of differences from the older gateway, `differences.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

const TABLE: &str = include_str!("differences.toml");

/// One value or a list of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum Listed {
    #[default]
    Nothing,
    One(String),
    Many(Vec<String>),
}

impl Listed {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::Nothing => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// One row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    pub id: String,
    /// Sections of the pages that describe the older system: `wire 2.2, 3`.
    pub source: String,
    #[serde(rename = "where")]
    pub place: String,
    /// What the older system did; empty for what is no longer there.
    #[serde(default)]
    pub older: String,
    /// What Onceover does.
    pub now: String,
    /// The rule of the product, or the reason.
    pub why: String,
    #[serde(default)]
    check: Listed,
    #[serde(default)]
    test: Listed,
    /// Why nothing checks it.
    #[serde(default)]
    pub reason: String,
}

impl Difference {
    /// Checks of this program that see it, by section and name.
    pub fn checks(&self) -> &[String] {
        match self.check.as_slice() {
            [none] if none == "none" => &[],
            checks => checks,
        }
    }

    /// Tests of this repository that prove it.
    pub fn tests(&self) -> &[String] {
        self.test.as_slice()
    }
}

/// Rows by the table of the page they stand in.
pub type Differences = BTreeMap<String, Vec<Difference>>;

/// Reads the table.
pub fn load_differences() -> Differences {
    toml::from_str(TABLE).unwrap_or_else(|error| panic!("tests/contract/differences.toml: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;
    use crate::page::AREAS;

    fn rows() -> Vec<Difference> {
        load_differences().into_values().flatten().collect()
    }

    #[test]
    fn each_row_is_whole_and_held_by_a_check_a_test_or_a_reason() {
        let mut ids = BTreeSet::new();
        for (area, rows) in load_differences() {
            assert!(
                AREAS.iter().any(|known| known.name == area),
                "{area} is no table of the page"
            );
            for row in rows {
                let id = &row.id;
                assert!(ids.insert(id.clone()), "{id}: two rows have this id");
                for (field, text) in [("where", &row.place), ("now", &row.now), ("why", &row.why)] {
                    assert!(!text.trim().is_empty(), "{id}: {field} is empty");
                    assert!(!text.contains('|'), "{id}: {field} has a '|', which ends a column");
                }
                assert_eq!(row.older.is_empty(), area == "gone", "{id}: older");
                let held = !row.checks().is_empty() || !row.tests().is_empty();
                assert!(
                    held == row.reason.is_empty(),
                    "{id}: a check, a test, or none and the reason"
                );
            }
        }
    }

    /// `wire 2.1, 12` and `nodes 9.6`.
    #[test]
    fn each_row_names_sections_of_the_pages_on_the_older_system() {
        for row in rows() {
            let (page, sections) = row.source.split_once(' ').unwrap_or_default();
            assert!(["wire", "nodes"].contains(&page), "{}: {}", row.id, row.source);
            for section in sections.split(", ") {
                let mut parts = section.split('.');
                assert!(
                    parts.all(|part| part.parse::<u8>().is_ok()),
                    "{}: section {section}",
                    row.id
                );
            }
        }
    }

    #[test]
    fn every_defect_of_the_older_system_stands_in_a_row() {
        let mut named = BTreeSet::new();
        for row in rows() {
            for text in [&row.older, &row.now, &row.why] {
                for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
                    if let Some(number) = word.strip_prefix('D').and_then(|number| number.parse::<u8>().ok()) {
                        named.insert(number);
                    }
                }
            }
        }
        let missing: Vec<_> = (1..=56).filter(|number| !named.contains(number)).collect();
        assert!(missing.is_empty(), "defects without a row: {missing:?}");
        assert!(named.last() <= Some(&56), "there are 56 defects: {named:?}");
    }

    /// The file of a test, and its function.
    fn source_of(test: &str) -> Option<(PathBuf, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        let (place, name) = test.rsplit_once("::")?;
        let mut parts = place.split("::");
        let folder = match parts.next()? {
            suite @ ("it" | "real_nodes" | "nodes") => root.join("tests").join(suite),
            part @ ("daemon" | "common") => root.join(part).join(parts.next()?).join("src"),
            "tui" => root.join("tui").join("src"),
            _ => return None,
        };
        let module = folder.join(parts.collect::<PathBuf>());
        let files = [
            module.with_extension("rs"),
            module.join("mod.rs"),
            module.join("tests.rs"),
            module.with_extension("py"),
        ];
        let contains = |file: &PathBuf| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.contains(&format!("fn {name}(")) || text.contains(&format!("def {name}("))
        };
        let file = files.into_iter().find(contains)?;
        Some((file, name.to_owned()))
    }

    #[test]
    fn each_test_that_a_row_names_is_there() {
        for row in rows() {
            for test in row.tests() {
                let Some((file, name)) = source_of(test) else {
                    panic!("{}: there is no test {test}", row.id);
                };
                let text = fs::read_to_string(&file).expect("it was read before");
                let before = text.split(&format!("fn {name}(")).next().expect("a first part");
                let attribute = before.trim_end().trim_end_matches("async").trim_end();
                let is_test = name.starts_with("test_") || attribute.ends_with(']') && attribute.contains("test");
                assert!(is_test, "{}: {test} is no test", row.id);
            }
        }
    }
}
