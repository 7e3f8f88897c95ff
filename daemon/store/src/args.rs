//! The arguments of scripts, by name, and the texts that they are made of.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, TaskStatus, VideoId};
use redis::{Cmd, Script};
use serde::Serialize;

/// Bytes of an error, as JSON, in a stage summary.
pub(super) const SHORT_ERROR: usize = 240;

/// The arguments of one script call by name. One that is absent is not sent.
#[derive(Default)]
pub(super) struct ScriptArgs<'a>(pub(super) Vec<(&'static str, Option<Cow<'a, str>>)>);

impl<'a> ScriptArgs<'a> {
    /// Adds an argument.
    pub(super) fn with(mut self, name: &'static str, value: impl Argument<'a>) -> Self {
        self.0.push((name, value.into_text()));
        self
    }

    pub(super) fn present(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?)))
    }
}

/// A script with the arguments of one call.
pub(super) struct PreparedCall<'a> {
    pub(super) script: &'static Script,
    pub(super) args: ScriptArgs<'a>,
}

impl PreparedCall<'_> {
    /// Builds the command that calls the script.
    pub(super) fn command(&self) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script.get_hash()).arg(0);
        for (name, value) in self.args.present() {
            command.arg(name).arg(value);
        }
        command
    }
}

/// Defines a call of a script: a struct whose fields are its arguments, by the names that the script reads them with.
macro_rules! script_call {
    ($name:ident<$life:lifetime>: $script:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)+ }) => {
        struct $name<$life> {
            $($(#[$meta])* $field: $kind,)+
        }

        impl<$life> $name<$life> {
            fn prepare(self, store: &$life crate::Store) -> crate::args::PreparedCall<$life> {
                crate::args::PreparedCall {
                    script: &crate::scripts::$script,
                    args: store.args()$(.with(stringify!($field), self.$field))+,
                }
            }
        }
    };
    ($name:ident: $script:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)+ }) => {
        struct $name {
            $($(#[$meta])* $field: $kind,)+
        }

        impl $name {
            fn prepare(self, store: &crate::Store) -> crate::args::PreparedCall<'_> {
                crate::args::PreparedCall {
                    script: &crate::scripts::$script,
                    args: store.args()$(.with(stringify!($field), self.$field))+,
                }
            }
        }
    };
}
pub(super) use script_call;

/// A value that a script takes as text; none for one that is absent.
pub(super) trait Argument<'a> {
    fn into_text(self) -> Option<Cow<'a, str>>;
}

impl<'a, T: Argument<'a>> Argument<'a> for Option<T> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        self.and_then(T::into_text)
    }
}

impl<'a> Argument<'a> for &'a str {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(self))
    }
}

impl<'a> Argument<'a> for String {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(self))
    }
}

/// A flag: a script finds it set, or not at all.
impl<'a> Argument<'a> for bool {
    fn into_text(self) -> Option<Cow<'a, str>> {
        self.then_some(Cow::Borrowed("1"))
    }
}

/// A time in milliseconds.
impl<'a> Argument<'a> for Duration {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(self.as_millis().to_string()))
    }
}

macro_rules! number_argument {
    ($($kind:ty),+) => {$(
        impl<'a> Argument<'a> for $kind {
            fn into_text(self) -> Option<Cow<'a, str>> {
                Some(Cow::Owned(self.to_string()))
            }
        }
    )+};
}
number_argument!(u16, u32, u64, i64, usize);

/// Lets types be arguments by their names, which `as_str` returns.
macro_rules! named_argument {
    ($($kind:ty),+) => {$(
        impl<'a> crate::args::Argument<'a> for $kind {
            fn into_text(self) -> Option<std::borrow::Cow<'a, str>> {
                Some(std::borrow::Cow::Borrowed(self.as_str()))
            }
        }
    )+};
}
pub(super) use named_argument;
named_argument!(StageState, TaskStatus, CallbackStatus);

macro_rules! borrowed_argument {
    ($($kind:ty),+) => {$(
        impl<'a> Argument<'a> for &'a $kind {
            fn into_text(self) -> Option<Cow<'a, str>> {
                Some(Cow::Borrowed(self.as_str()))
            }
        }
    )+};
}
borrowed_argument!(TaskId, NodeName, RunId, VideoId, CatalogNames);

/// A yes or no that a script always gets: `1` or `0`.
pub(super) struct OneOrZero(pub(super) bool);

impl<'a> Argument<'a> for OneOrZero {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(if self.0 { "1" } else { "0" }))
    }
}

/// A percentage, with one decimal.
pub(super) struct Percent(pub(super) f64);

impl<'a> Argument<'a> for Percent {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(format!("{:.1}", self.0)))
    }
}

/// A list or a map, as JSON.
pub(super) struct Json<'a, T: ?Sized>(pub(super) &'a T);

impl<'a, T: Serialize + ?Sized> Argument<'a> for Json<'a, T> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(json_list(self.0)))
    }
}

/// A text, as a JSON string; `null` where there is none.
pub(super) struct JsonText<'a>(pub(super) Option<&'a str>);

impl<'a> Argument<'a> for JsonText<'a> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(
            self.0
                .map_or(Cow::Borrowed("null"), |text| Cow::Owned(json_string(text))),
        )
    }
}

/// A text, as a JSON string of at most so many bytes.
pub(super) struct ShortJson<'a>(pub(super) &'a str, pub(super) usize);

impl<'a> Argument<'a> for ShortJson<'a> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        Some(Cow::Owned(short_json(self.0, self.1)))
    }
}

/// Hashes of JSONs that a script is to ignore; absent where there are none.
pub(super) struct IgnoredHashes<'a>(pub(super) &'a [String]);

impl<'a> Argument<'a> for IgnoredHashes<'a> {
    fn into_text(self) -> Option<Cow<'a, str>> {
        (!self.0.is_empty()).then(|| Cow::Owned(self.0.join(" ")))
    }
}

/// The names of the catalog's nodes: where scripts look for what other workers wrote. Cheap to clone, however many there
/// are.
#[derive(Debug, Clone)]
pub(super) struct CatalogNames(Arc<ListedNames>);

#[derive(Debug)]
struct ListedNames {
    names: Vec<NodeName>,
    positions: HashMap<NodeName, usize>,
    /// The argument of scripts, made once because most calls have it.
    argument: String,
}

impl CatalogNames {
    pub(super) fn new(names: impl IntoIterator<Item = NodeName>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let positions = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        let argument = names.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ");
        Self(Arc::new(ListedNames {
            names,
            positions,
            argument,
        }))
    }

    /// The names as scripts take them.
    pub(super) fn as_str(&self) -> &str {
        &self.0.argument
    }

    pub(super) fn list(&self) -> &[NodeName] {
        &self.0.names
    }

    pub(super) fn count(&self) -> usize {
        self.0.names.len()
    }

    /// The place of a node in the catalog.
    pub(super) fn position(&self, node: &NodeName) -> Option<usize> {
        self.0.positions.get(node).copied()
    }

    pub(super) fn contains(&self, node: &NodeName) -> bool {
        self.0.positions.contains_key(node)
    }
}

/// Writes a list as an argument of a script.
pub(super) fn json_list<T: Serialize + ?Sized>(items: &T) -> String {
    serde_json::to_string(items).expect("a list of texts and numbers can be written as JSON")
}

/// Writes a JSON string of at most `limit` bytes; longer text is cut and ends in an ellipsis.
pub(super) fn short_json(text: &str, limit: usize) -> String {
    let whole = json_string(text);
    if whole.len() <= limit {
        return whole;
    }
    let mut cut: String = text.chars().take(limit).collect();
    loop {
        let json = json_string(&format!("{cut}…"));
        if json.len() <= limit {
            return json;
        }
        let excess = (json.len() - limit).div_ceil(6).max(1);
        let keep = cut.chars().count().saturating_sub(excess);
        cut = cut.chars().take(keep).collect();
    }
}

/// Writes a text as a JSON string.
fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_json_keeps_its_limit_and_whole_characters() {
        assert_eq!(short_json("fine", 20), "\"fine\"");
        for text in [
            "x".repeat(500),
            "字幕".repeat(300),
            "\u{1}".repeat(400),
            "a\"\\".repeat(200),
        ] {
            let json = short_json(&text, 120);
            assert!(json.len() <= 120, "{} bytes", json.len());
            assert!(serde_json::from_str::<String>(&json).unwrap().ends_with('…'));
        }
    }
}
