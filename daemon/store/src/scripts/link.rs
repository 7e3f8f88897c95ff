//! Links scripts: a script gets those definitions of the library that it uses, and those that these use. Redis creates every
//! function of a script again at each call, so a script that carried the whole library would pay for it each time.
//!
//! What a function takes from the one around it costs as well: to find a local variable, Lua walks over all that are taken
//! already, while one from further out is found at once. So a script that uses much is linked as two functions: outside is
//! what nearly every definition takes, inside is the rest and the script itself. `submit` begins a quarter faster that way.
//!
//! A function of the library whose first line ends in [`RARE`] is seldom called. What only such functions use is defined inside
//! them, so that a call which does not need it does not create it.
//!
//! A definition is a `local` at the beginning of a line, with what follows up to the next one. Names are compared as words
//! outside strings, comments and fields; a word that only looks like a name adds a definition that is not needed, and never
//! leaves one out.

use std::collections::{BTreeSet, HashMap};

/// A definition of the library.
struct Definition {
    name: String,
    text: String,
}

/// The files of `lua/lib`, in an order in which each uses what stands before it.
const LIBRARY: &[&str] = &[
    include_str!("../lua/lib/base.lua"),
    include_str!("../lua/lib/keys.lua"),
    include_str!("../lua/lib/json.lua"),
    include_str!("../lua/lib/record.lua"),
    include_str!("../lua/lib/public_json.lua"),
    include_str!("../lua/lib/notes.lua"),
    include_str!("../lua/lib/events.lua"),
    include_str!("../lua/lib/disk.lua"),
    include_str!("../lua/lib/index.lua"),
    include_str!("../lua/lib/outbox.lua"),
    include_str!("../lua/lib/ends.lua"),
    include_str!("../lua/lib/history.lua"),
    include_str!("../lua/lib/statistics.lua"),
    include_str!("../lua/lib/deliveries.lua"),
    include_str!("../lua/lib/callbacks.lua"),
    include_str!("../lua/lib/run_end.lua"),
    include_str!("../lua/lib/claim.lua"),
    include_str!("../lua/lib/task_view.lua"),
    include_str!("../lua/lib/foreign.lua"),
    include_str!("../lua/lib/expiry.lua"),
    include_str!("../lua/lib/reuse.lua"),
    include_str!("../lua/lib/hits.lua"),
    include_str!("../lua/lib/submits.lua"),
    include_str!("../lua/lib/run_start.lua"),
    include_str!("../lua/lib/minutes.lua"),
];

/// The files at the beginning of the library whose definitions are outside: arguments, key names, texts. A function may take
/// no more than 60 values from further out, and these files have fewer.
const OUTER_FILES: usize = 3;
/// Definitions up to which a second function costs more than it saves.
const FEW: usize = 8;

/// What the first line of a function that is seldom called ends in.
const RARE: &str = " -- rare";

/// What follows the script in an inner function. The fault proxy of the tests knows it.
const END_OF_FUNCTION: &str = "\nend)()\n";

/// Links scripts with one library.
pub(super) struct Linker {
    definitions: Vec<Definition>,
    by_name: HashMap<String, usize>,
    /// How many definitions the outer files have.
    outer: usize,
}

impl Linker {
    pub(super) fn new() -> Self {
        let mut definitions: Vec<Definition> = Vec::new();
        for line in LIBRARY.iter().flat_map(|file| file.lines()) {
            if let Some(name) = defined_name(line) {
                definitions.push(Definition {
                    name: name.to_owned(),
                    text: String::new(),
                });
            }
            let is_comment = line.starts_with("--");
            if let Some(definition) = definitions.last_mut().filter(|_| !is_comment && !line.is_empty()) {
                definition.text.push_str(line);
                definition.text.push('\n');
            }
        }
        let by_name = definitions
            .iter()
            .enumerate()
            .map(|(index, definition)| (definition.name.clone(), index))
            .collect();
        let outer_lines = LIBRARY[..OUTER_FILES].iter().flat_map(|file| file.lines());
        Self {
            definitions,
            by_name,
            outer: outer_lines.filter_map(defined_name).count(),
        }
    }

    /// Returns the script with the definitions it needs before it.
    pub(super) fn link(&self, script: &str) -> String {
        let needed = self.close(script, &BTreeSet::new());
        let (outer, inner): (Vec<usize>, Vec<usize>) = needed.iter().copied().partition(|index| *index < self.outer);
        let inner_count = inner.len();
        let (outer, inner) = (self.join(outer, &needed), self.join(inner, &needed));
        if inner_count <= FEW {
            format!("{outer}{inner}\n{script}")
        } else {
            format!("{outer}return (function()\n{inner}\n{script}{END_OF_FUNCTION}")
        }
    }

    /// The definitions that a text needs where those of `known` are there, without those that only rare functions need.
    fn close(&self, text: &str, known: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut unread = self.uses(text);
        while let Some(index) = unread.pop() {
            if known.contains(&index) || !needed.insert(index) {
                continue;
            }
            let text = &self.definitions[index].text;
            if rare_body(text).is_none() {
                unread.extend(self.uses(text));
            }
        }
        needed
    }

    /// The texts of definitions, one after the other. In a rare function stands first what it needs beside those of `known`.
    fn join(&self, indexes: impl IntoIterator<Item = usize>, known: &BTreeSet<usize>) -> String {
        let mut joined = String::new();
        for index in indexes {
            let text = &self.definitions[index].text;
            let Some((head, body)) = rare_body(text) else {
                joined.push_str(text);
                continue;
            };
            let inside = self.close(body, known);
            let all: BTreeSet<usize> = known.union(&inside).copied().collect();
            joined.push_str(head);
            joined.push('\n');
            joined.push_str(&self.join(inside, &all));
            joined.push_str(body);
        }
        joined
    }

    /// The definitions that a text names.
    fn uses(&self, text: &str) -> Vec<usize> {
        words(text).filter_map(|word| self.by_name.get(word).copied()).collect()
    }
}

/// The first line of a rare function and the lines after it; none where the text is no rare function.
fn rare_body(text: &str) -> Option<(&str, &str)> {
    let (head, body) = text.split_once('\n')?;
    head.ends_with(RARE).then_some((head, body))
}

/// The name that a line of the library defines.
fn defined_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("local ")?;
    words(rest.strip_prefix("function ").unwrap_or(rest)).next()
}

/// The words of a Lua text that can be names of definitions: no strings, comments or fields.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    // Whether what stands before is the dot of a field.
    let mut after_dot = false;
    std::iter::from_fn(move || {
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                '\'' | '"' => string_length(rest, first),
                '.' if rest.starts_with("..") => 2,
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            let (part, after) = rest.split_at(length);
            rest = after;
            let is_field = std::mem::replace(&mut after_dot, part == ".");
            if is_word(first) && !is_field {
                return Some(part);
            }
        }
        None
    })
}

/// Bytes of the string that a text begins with, its quotes included.
fn string_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_no_strings_comments_or_fields() {
        let text = "local a = b.c .. d -- e\nf('g \\' h', \"i\")[1].j";
        assert_eq!(words(text).collect::<Vec<_>>(), ["local", "a", "b", "d", "f", "1"]);
    }

    #[test]
    fn a_name_is_defined_once_and_before_it_is_used() {
        let linker = Linker::new();
        assert_eq!(
            linker.by_name.len(),
            linker.definitions.len(),
            "two definitions have one name"
        );
        for (index, definition) in linker.definitions.iter().enumerate() {
            for used in linker.uses(&definition.text) {
                // A local or a parameter may be called as a later definition is.
                let is_called = definition.text.contains(&format!("{}(", linker.definitions[used].name));
                let name = &linker.definitions[used].name;
                assert!(
                    used <= index || !is_called,
                    "{} uses {name}, which follows it",
                    definition.name
                );
            }
        }
    }

    #[test]
    fn the_comment_of_a_helper_names_the_arguments_that_it_needs() {
        let linker = Linker::new();
        let mut comment = String::new();
        for line in LIBRARY.iter().flat_map(|file| file.lines()) {
            if line.starts_with("--") {
                comment.push_str(line);
                comment.push('\n');
                continue;
            }
            let name = defined_name(line);
            let text = name.map(|name| linker.link(name)).unwrap_or_default();
            let arguments = text.split("args.").skip(1).filter_map(|rest| words(rest).next());
            // Every call has the date, and that of a simulation the time.
            for argument in arguments.filter(|argument| !["now", "day", "date"].contains(argument)) {
                let mut named = comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                assert!(
                    named.any(|word| word == argument),
                    "the comment of {name:?} does not name {argument}"
                );
            }
            comment.clear();
        }
    }

    #[test]
    fn an_inner_function_can_take_all_that_is_outside() {
        let linker = Linker::new();
        assert!(linker.outer <= 60, "Lua allows 60, and there are {}", linker.outer);
        assert_eq!(linker.definitions[linker.outer - 1].name, "quote_text");
    }

    #[test]
    fn a_script_that_uses_much_is_an_inner_function() {
        let linked = Linker::new().link("return end_run(args.task, args.name, {}, args.outcome, {})");
        let (outer, inner) = linked.split_once("return (function()\n").unwrap();
        assert!(outer.contains("local call = ") && !outer.contains("load_record"));
        assert!(inner.contains("local function end_run(") && inner.ends_with(END_OF_FUNCTION));
    }

    #[test]
    fn what_only_a_rare_function_uses_is_defined_inside_it() {
        let linked = Linker::new()
            .link("local key = stage_key(args.task, args.name)\npreserve_current_end(args.task, args.name)");
        let (before, inside) = linked.split_once("local function preserve_current_end(").unwrap();
        assert!(before.contains("local function stage_key(") && !inside.contains("local function stage_key("));
        let (inside, _) = inside.split_once("\nend\n\nlocal key").unwrap();
        for helper in ["read_end", "load_record_fields", "end_key"] {
            let definition = format!("local function {helper}(");
            assert!(
                !before.contains(&definition) && inside.contains(&definition),
                "{helper}"
            );
        }
    }

    #[test]
    fn a_script_carries_what_it_uses_and_no_more() {
        let linker = Linker::new();
        let linked = linker.link("return call('ZCARD', slots_key(args.queue))");
        let names: Vec<_> = linked.lines().filter_map(defined_name).collect();
        assert_eq!(names, ["args", "call", "slots_key"]);
        assert!(linked.ends_with("return call('ZCARD', slots_key(args.queue))"));
    }
}
