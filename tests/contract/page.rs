//! The tables of `docs/migrating.md`, written from the table of differences. What stands around them is written by hand.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::differences::{Difference, Differences};

/// A table of the page.
pub struct Area {
    pub name: &'static str,
    head: [&'static str; 3],
}

/// The tables, in the order of the page.
pub const AREAS: &[Area] = &[
    Area {
        name: "http",
        head: ["where", "gateway", "Onceover"],
    },
    Area {
        name: "callbacks",
        head: ["", "gateway", "Onceover"],
    },
    Area {
        name: "files",
        head: ["where", "gateway", "Onceover"],
    },
    Area {
        name: "redis",
        head: ["where", "gateway", "Onceover"],
    },
    Area {
        name: "gone",
        head: ["gone", "", "instead"],
    },
    Area {
        name: "nodes",
        head: ["node or area", "older system", "Onceover"],
    },
];

/// Ends what is written.
const END: &str = "<!-- end of the table -->";

/// Path of the page.
pub fn page_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrating.md")
}

/// Begins what is written.
fn begin(area: &Area) -> String {
    format!(
        "<!-- {} differences: rows of tests/contract/differences.toml, written by make contract-docs -->",
        area.name
    )
}

fn line(cells: &[&str]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    format!("| {} |\n", cells.join(" | "))
}

fn render_table(area: &Area, rows: &[Difference]) -> String {
    let [place, older, now] = area.head;
    // The table of removed endpoints has no column for what they did.
    let narrow = older.is_empty();
    let mut table = if narrow {
        line(&[place, now])
    } else {
        line(&[place, older, now])
    };
    table.push_str(if narrow { "|---|---|\n" } else { "|---|---|---|\n" });
    for row in rows {
        table.push_str(&if narrow {
            line(&[&row.place, &row.now])
        } else {
            line(&[&row.place, &row.older, &row.now])
        });
    }
    table
}

/// The page with its tables rewritten; the error names the table that it has no markers for.
pub fn render_page(page: &str, differences: &Differences) -> Result<String, String> {
    let mut page = page.to_owned();
    for area in AREAS {
        let rows = differences.get(area.name).map(Vec::as_slice).unwrap_or_default();
        let begin = begin(area);
        let start = page
            .find(&begin)
            .ok_or_else(|| format!("docs/migrating.md lacks the line {begin}"))?;
        let start = start + begin.len();
        let length = page[start..]
            .find(END)
            .ok_or_else(|| format!("docs/migrating.md lacks {END} after {begin}"))?;
        page.replace_range(start..start + length, &format!("\n\n{}\n", render_table(area, rows)));
    }
    Ok(page)
}

/// Writes the tables into the page. Returns whether it changed.
pub fn write_page(differences: &Differences) -> io::Result<bool> {
    let path = page_path();
    let before = fs::read_to_string(&path)?;
    let after = render_page(&before, differences).map_err(io::Error::other)?;
    fs::write(&path, &after)?;
    Ok(before != after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differences::load_differences;

    #[test]
    fn the_page_is_as_old_as_its_table() {
        let page = fs::read_to_string(page_path()).expect("the page is there");
        let now = render_page(&page, &load_differences()).expect("the page has its markers");
        let differs = page.lines().zip(now.lines()).position(|(old, new)| old != new);
        assert!(
            page == now,
            "docs/migrating.md differs from tests/contract/differences.toml from line {} on: make contract-docs",
            differs.map_or(0, |line| line + 1)
        );
    }

    #[test]
    fn a_changed_row_changes_the_page() {
        let page = fs::read_to_string(page_path()).expect("the page is there");
        let mut differences = load_differences();
        differences.get_mut("http").expect("rows")[0].now = "something\nelse".into();
        let now = render_page(&page, &differences).expect("the page has its markers");
        assert!(page != now && now.contains("| something else |"), "{now}");
    }
}
