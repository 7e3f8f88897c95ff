//! Gives actions other keys, as the configuration file asks for, and finds what cannot be: unknown actions, what is no
//! key, and keys that would mean two things on one page.

use std::collections::{BTreeMap, HashMap};

use onceover_types::suggest::did_you_mean;

use super::{
    find::{list_actions, list_keys},
    registry::ACTIONS,
    spec::{Action, ActionSpec},
};
use crate::{
    key::{Key, KeyBindings, parse_key},
    model::Page,
};

/// What stands for no key at all.
const UNBOUND: &str = "none";
/// The key that quits wherever one is.
const ALWAYS_QUITS: Key = Key::ctrl('c');

/// The keys that an action is to have, as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    pub action: String,
    pub keys: Vec<String>,
}

/// Why a change cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongChange {
    /// The index of the change.
    pub at: usize,
    pub why: String,
}

/// Makes the bindings of these changes, or says what is wrong with each.
pub fn remap_keys(changes: &[KeyChange]) -> Result<KeyBindings, Vec<WrongChange>> {
    let mut bindings = KeyBindings::default();
    let mut places = BTreeMap::new();
    let mut wrong = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        match read_change(change) {
            Ok((spec, keys)) => {
                places.insert(spec.name, at);
                bindings.bind(spec.name, keys);
            }
            Err(why) => wrong.push(WrongChange { at, why }),
        }
    }
    if wrong.is_empty() {
        wrong = find_clashes(&bindings, &places);
    }
    if wrong.is_empty() { Ok(bindings) } else { Err(wrong) }
}

/// Reads the action and the keys of a change.
fn read_change(change: &KeyChange) -> Result<(&'static ActionSpec, Vec<Key>), String> {
    let name = change.action.as_str();
    let Some(spec) = ACTIONS.iter().find(|spec| spec.name == name) else {
        let hint = did_you_mean(name, ACTIONS.iter().map(|spec| spec.name));
        let hint = if hint.is_empty() {
            "; 'onceover keys' lists the actions"
        } else {
            hint.as_str()
        };
        return Err(format!("there is no action '{name}'{hint}"));
    };
    let mut keys = Vec::new();
    for word in change.keys.iter().filter(|word| *word != UNBOUND) {
        let key = parse_key(word)?;
        if key == ALWAYS_QUITS && spec.action != Action::Quit {
            return Err(format!("{key} always quits; give {name} another key"));
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if spec.action == Action::Quit && !keys.contains(&ALWAYS_QUITS) {
        keys.push(ALWAYS_QUITS);
    }
    Ok((spec, keys))
}

/// Finds keys that would mean two things on a page, and pages that could not be left.
fn find_clashes(bindings: &KeyBindings, places: &BTreeMap<&'static str, usize>) -> Vec<WrongChange> {
    let mut wrong: Vec<WrongChange> = Vec::new();
    let mut add = |at: usize, why: String| {
        let found = WrongChange { at, why };
        if !wrong.contains(&found) {
            wrong.push(found);
        }
    };
    for page in Page::ALL {
        let mut owners: HashMap<Key, &ActionSpec> = HashMap::new();
        for spec in list_actions(page) {
            for key in list_keys(spec, page, bindings) {
                let Some(other) = owners.insert(*key, spec) else {
                    continue;
                };
                // Of the two one was changed: without changes no key means two things.
                let changed = [places.get(spec.name), places.get(other.name)];
                if let Some(at) = changed.into_iter().flatten().max() {
                    let (first, second) = (other.name, spec.name);
                    add(
                        *at,
                        format!("'{key}' would be both '{first}' and '{second}'; give one of them another key"),
                    );
                }
            }
            if spec.action == Action::Back
                && let Some(at) = places.get(spec.name)
                && list_keys(spec, page, bindings).next().is_none()
            {
                let why = "'back' needs a key that is no character, such as esc: forms take characters as text";
                add(*at, why.to_owned());
            }
        }
    }
    wrong.sort_by_key(|wrong| wrong.at);
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::{find_action, format_keys};

    fn change(action: &str, keys: &[&str]) -> KeyChange {
        KeyChange {
            action: action.to_owned(),
            keys: keys.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn tui17_every_action_takes_another_key() {
        for spec in ACTIONS {
            // No action of the registry has it, and forms take it.
            let bindings = remap_keys(&[change(spec.name, &["f12"])]).unwrap();
            let key = Key::new(crossterm::event::KeyCode::F(12));
            for page in spec.pages {
                assert_eq!(find_action(*page, key, &bindings).unwrap().action, spec.action);
                for usual in spec.keys.iter().filter(|usual| **usual != ALWAYS_QUITS) {
                    let found = find_action(*page, *usual, &bindings);
                    assert!(found.is_none(), "{} still has {usual}", spec.name);
                }
            }
        }
    }

    #[test]
    fn tui17_what_cannot_be_is_said_of_the_change_that_asks_for_it() {
        for (changes, at, words) in [
            (vec![change("cancelx", &["x"])], 0, "did you mean cancel?"),
            (vec![change("cancel", &["xx"])], 0, "'xx' is not a key"),
            (vec![change("cancel", &["d"])], 0, "'d' would be both"),
            (
                vec![change("cancel", &["Z"]), change("delete", &["Z"])],
                1,
                "'Z' would be both",
            ),
            (vec![change("cancel", &["ctrl-c"])], 0, "always quits"),
            (vec![change("back", &["b"])], 0, "'back' needs a key"),
        ] {
            let wrong = remap_keys(&changes).unwrap_err();
            assert_eq!(wrong[0].at, at, "{wrong:?}");
            assert!(wrong[0].why.contains(words), "{wrong:?}");
        }
        // Two that change places do not clash.
        let swapped = remap_keys(&[change("cancel", &["d"]), change("delete", &["x"])]).unwrap();
        assert_eq!(
            find_action(Page::Tasks, Key::char('x'), &swapped).unwrap().name,
            "delete"
        );
    }

    #[test]
    fn tui17_none_leaves_an_action_without_a_key_and_ctrl_c_quits_all_the_same() {
        let bindings = remap_keys(&[change("delete", &["none"]), change("quit", &["f10"])]).unwrap();
        assert!(find_action(Page::Tasks, Key::char('d'), &bindings).is_none());
        let quit = ACTIONS.iter().find(|spec| spec.action == Action::Quit).unwrap();
        assert_eq!(format_keys(quit, Page::Tasks, &bindings), "f10 ctrl-c");
    }
}
