//! Finds actions by page and key, and the keys of an action.

use crossterm::event::KeyCode;

use super::{
    registry::ACTIONS,
    spec::{Action, ActionSpec},
};
use crate::{
    key::{Key, KeyBindings},
    model::{Model, Page},
};

/// Lists what can be done on a page.
pub fn list_actions(page: Page) -> impl Iterator<Item = &'static ActionSpec> {
    ACTIONS.iter().filter(move |spec| spec.pages.contains(&page))
}

/// Lists what footer, help and palette offer on the model's page: where nothing may be changed, nothing that changes.
pub fn list_offered(model: &Model) -> impl Iterator<Item = &'static ActionSpec> {
    list_actions(model.page).filter(move |spec| is_offered(model, spec))
}

/// Whether the user may do it: where nothing may be changed, nothing that changes.
pub fn is_offered(model: &Model, spec: &ActionSpec) -> bool {
    !model.access.is_denied() || !spec.needs_change()
}

/// Lists the keys that an action has on a page: where text is typed, none that is text or edits it.
pub fn list_keys<'a>(spec: &'a ActionSpec, page: Page, bindings: &'a KeyBindings) -> impl Iterator<Item = &'a Key> {
    let free = move |key: &&Key| {
        let types = matches!(key.code, KeyCode::Char(_) | KeyCode::Backspace | KeyCode::Delete) && !key.ctrl;
        !page.is_typed() || !types
    };
    bindings.keys_of(spec.name, spec.keys).iter().filter(free)
}

/// Finds the action that a key is bound to on a page.
pub fn find_action(page: Page, key: Key, bindings: &KeyBindings) -> Option<&'static ActionSpec> {
    list_actions(page).find(|spec| list_keys(spec, page, bindings).any(|other| *other == key))
}

/// Writes the keys of an action: `r` or `k ↑`.
pub fn format_keys(spec: &ActionSpec, page: Page, bindings: &KeyBindings) -> String {
    let keys: Vec<_> = list_keys(spec, page, bindings).map(Key::to_string).collect();
    keys.join(" ")
}

/// Writes the first key that an action has on a page; empty if it has none there.
pub fn format_first_key(action: Action, page: Page, bindings: &KeyBindings) -> String {
    let spec = list_actions(page).find(|spec| spec.action == action);
    let first = spec.and_then(|spec| list_keys(spec, page, bindings).next());
    first.map_or(String::new(), Key::to_string)
}

/// Writes a hint with the first key that an action has on a page; empty if it has none there.
pub fn format_hint(action: Action, page: Page, bindings: &KeyBindings, hint: impl FnOnce(&str) -> String) -> String {
    match format_first_key(action, page, bindings).as_str() {
        "" => String::new(),
        key => hint(key),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_hint_names_the_key_of_the_page_or_is_left_out() {
        let usual = KeyBindings::default();
        let hint = |page| format_hint(Action::Send, page, &usual, |key| format!("; {key} sends it"));
        assert_eq!(hint(Page::Form), "; ctrl-s sends it");
        assert_eq!(hint(Page::Tasks), "");
    }

    #[test]
    fn no_key_means_two_things_on_a_page_and_no_action_is_without_one() {
        let (mut names, mut actions) = (HashSet::new(), HashSet::new());
        let usual = KeyBindings::default();
        for spec in ACTIONS {
            assert!(!spec.keys.is_empty(), "{} has no key", spec.name);
            assert!(!spec.pages.is_empty(), "{} can be done nowhere", spec.name);
            assert!(names.insert(spec.name), "{} is there twice", spec.name);
            assert!(actions.insert(spec.action), "{} is another's action", spec.name);
        }
        for page in Page::ALL {
            let mut keys = HashSet::new();
            for spec in list_actions(page) {
                assert!(
                    list_keys(spec, page, &usual).next().is_some(),
                    "{} has no key on {page:?}",
                    spec.name
                );
                for key in list_keys(spec, page, &usual) {
                    assert!(keys.insert(*key), "{key} is bound twice on {page:?}");
                    assert_eq!(find_action(page, *key, &usual).unwrap().action, spec.action);
                }
            }
        }
    }
}
