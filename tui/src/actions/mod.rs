//! The one registry of actions: names, keys, pages, conditions, help texts. Footer and help are made from it. What an
//! action does is in `update`. Which keys an action has, the configuration file may change (`remap`).

mod conditions;
mod find;
mod page_sets;
mod registry;
mod remap;
mod spec;
mod table;
mod tabs;

pub use find::{
    find_action, format_first_key, format_hint, format_keys, is_offered, list_actions, list_keys, list_offered,
};
pub use registry::ACTIONS;
pub use remap::{KeyChange, WrongChange, remap_keys};
pub use spec::{Action, ActionSpec, Group};
pub use table::{KeyRow, format_markdown, list_key_rows};
pub use tabs::{PageTab, TABS, owner_of, page_of_digit, title_of};
