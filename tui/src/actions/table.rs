//! The table of all keys as they are in force, for `onceover keys` and the documentation.

use serde::Serialize;

use super::{
    registry::ACTIONS,
    spec::{ActionSpec, Group},
};
use crate::{
    key::{Key, KeyBindings},
    model::Page,
};

/// An action, and the keys that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyRow {
    pub action: &'static str,
    pub keys: Vec<String>,
    /// The pages where they do it.
    pub pages: Vec<String>,
    pub help: &'static str,
    /// Whether it changes something in the daemon.
    pub changes: bool,
    /// Whether the configuration file has given it these keys.
    pub configured: bool,
}

/// Lists every action with its keys, in the order of the help.
pub fn list_key_rows(bindings: &KeyBindings) -> Vec<KeyRow> {
    let groups = Group::ALL.into_iter();
    groups.flat_map(|group| list_group(group, bindings)).collect()
}

fn list_group(group: Group, bindings: &KeyBindings) -> Vec<KeyRow> {
    let specs = ACTIONS.iter().filter(|spec| spec.group == group);
    specs.map(|spec| make_row(spec, bindings)).collect()
}

fn make_row(spec: &ActionSpec, bindings: &KeyBindings) -> KeyRow {
    let keys = bindings.keys_of(spec.name, spec.keys).iter();
    KeyRow {
        action: spec.name,
        keys: keys.map(Key::to_string).collect(),
        pages: spec.pages.iter().map(|page| page.name()).collect(),
        help: spec.help,
        changes: spec.changes,
        configured: bindings.is_changed(spec.name),
    }
}

/// Writes the table for a document: a part for each group of the help.
pub fn format_markdown(bindings: &KeyBindings) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!(
            "**{}**\n\n| keys | action | pages | what it does |\n|---|---|---|---|\n",
            group.title()
        );
        for row in list_group(group, bindings) {
            let keys: Vec<_> = row.keys.iter().map(|key| format_key_cell(key)).collect();
            let pages = if row.pages.len() == Page::ALL.len() {
                "everywhere".to_owned()
            } else {
                row.pages.join(", ")
            };
            let help = row.help.replace('|', "\\|");
            text += &format!("| {} | `{}` | {pages} | {help} |\n", keys.join(" "), row.action);
        }
    }
    text
}

/// Writes a key as code; in a table a bar would end the cell.
fn format_key_cell(key: &str) -> String {
    format!("`{}`", key.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const BEGIN: &str = "<!-- keys: written by `ONCEOVER_KEYS=write cargo test -p onceover-tui --lib actions::` -->";
    const END: &str = "<!-- end of keys -->";

    /// Holds `docs/dashboard.md` equal to the registry. `ONCEOVER_KEYS=write` writes the table.
    #[test]
    fn tui17_the_documents_table_of_keys_is_the_registrys() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dashboard.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the table begins with its mark");
        let (_, after) = rest.split_once(END).expect("the table ends with its mark");
        let table = format_markdown(&KeyBindings::default());
        let wanted = format!("{before}{BEGIN}\n\n{table}\n{END}{after}");
        if std::env::var("ONCEOVER_KEYS").as_deref() == Ok("write") {
            std::fs::write(&path, &wanted).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == wanted,
            "docs/dashboard.md is not what the registry says: make keys-docs writes it"
        );
    }

    #[test]
    fn every_action_is_in_the_table_once() {
        let rows = list_key_rows(&KeyBindings::default());
        assert_eq!(rows.len(), ACTIONS.len());
        assert!(rows.iter().all(|row| !row.keys.is_empty() && !row.configured));
    }
}
