//! Matches lines in a model's reply by the key under which each was asked, and never by their order: a model merges
//! lines, cuts them, omits some and numbers what is left. A line is accepted only if nothing speaks against its being
//! the answer to that key; the others are asked again.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Deserializer, Map, Value};

use super::super::{similarity::text_ratio, spoken::tokens::letters, timed_text::shown_lines};

/// What was asked under one key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) key: usize,
    pub(super) source: &'a str,
    /// What stood between key and source in the question, which a reply may repeat.
    pub(super) columns: &'a str,
}

/// Lines by key that a reply has, and why the others are not among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) texts: BTreeMap<usize, String>,
    /// What is wrong with the line of a key.
    pub(super) doubts: Vec<(usize, &'static str)>,
}

/// One line of a reply as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    key: usize,
    text: String,
    /// The beginning of the line it answers, where the model repeats it.
    source: Option<String>,
}

/// How alike the repeated beginning of a line and the line must be.
const SAME_SOURCE: f64 = 0.6;
/// Names under which replies have the key, the text and the source of a line.
const KEYS: [&str; 7] = ["key", "index", "id", "n", "number", "no", "line"];
const TEXTS: [&str; 6] = [
    "text",
    "translation",
    "translated",
    "translated_text",
    "target",
    "content",
];
const SOURCES: [&str; 4] = ["source", "original", "source_text", "input"];

/// Returns the lines of a reply that can be trusted. The error says why none can.
pub(super) fn read(reply: &str, asked: &[Asked<'_>]) -> Result<Keyed, String> {
    if reply.trim().is_empty() {
        return Err("it is empty".into());
    }
    let parsed = match json_items(reply)? {
        Some(items) => Parsed {
            items,
            doubtful: BTreeSet::new(),
        },
        None => match plain_items(reply, asked)? {
            Some(parsed) => parsed,
            None => return keyless(&shown_lines(reply), asked),
        },
    };
    check(parsed, asked)
}

struct Parsed {
    items: Vec<Item>,
    /// Keys behind whose line something else follows.
    doubtful: BTreeSet<usize>,
}

fn check(parsed: Parsed, asked: &[Asked<'_>]) -> Result<Keyed, String> {
    let Parsed { items, doubtful } = parsed;
    let known: BTreeMap<usize, &Asked<'_>> = asked.iter().map(|line| (line.key, line)).collect();
    // A key that was not asked is a sign of another numbering, by which the others cannot be trusted either.
    if let Some(item) = items.iter().find(|item| !known.contains_key(&item.key)) {
        return Err(format!("it has an answer under key {}, which was not asked", item.key));
    }
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    for item in &items {
        *count.entry(item.key).or_default() += 1;
    }
    let with_source = items.iter().all(|item| item.source.is_some());
    let last = asked.last().map_or(0, |line| line.key);
    if !with_source && asked.len() > 1 && !count.contains_key(&last) {
        // If lines were merged and then numbered on, the last keys are left over.
        return Err(format!(
            "its lines end before key {last}, so that they may have slipped"
        ));
    }
    let mut matched = Keyed::default();
    for item in items.iter().filter(|item| item.text.is_empty()) {
        count.remove(&item.key);
    }
    for item in items.into_iter().filter(|item| !item.text.is_empty()) {
        let Some(line) = known.get(&item.key) else { continue };
        let doubt = if count[&item.key] > 1 {
            Some("is there more than once")
        } else if doubtful.contains(&item.key) {
            Some("is followed by text without a key")
        } else if item.source.as_deref().is_some_and(|source| !is_of(line, source, asked)) {
            Some("names another line as its source")
        } else {
            None
        };
        match doubt {
            Some(doubt) => matched.doubts.push((item.key, doubt)),
            None => {
                matched.texts.insert(item.key, cleaned(&item.text, line));
            }
        }
    }
    drop_echoes(&mut matched, &known);
    drop_beside_missing(&mut matched, &missing_of(&count, asked), asked);
    Ok(matched)
}

/// Returns the lines that the reply does not mention.
fn missing_of(count: &BTreeMap<usize, usize>, asked: &[Asked<'_>]) -> Vec<usize> {
    let missing = asked.iter().filter(|line| !count.contains_key(&line.key));
    missing.map(|line| line.key).collect()
}

/// Doubts the lines before and after a missing one: it may be in them, so that they are asked again with it.
fn drop_beside_missing(matched: &mut Keyed, missing: &[usize], asked: &[Asked<'_>]) {
    for (at, line) in asked.iter().enumerate().filter(|(_, line)| missing.contains(&line.key)) {
        matched.doubts.push((line.key, "is missing"));
        let beside = [at.checked_sub(1), Some(at + 1)];
        for key in beside.into_iter().flatten().filter_map(|at| Some(asked.get(at)?.key)) {
            if matched.texts.remove(&key).is_some() {
                matched.doubts.push((key, "may have a missing one in it"));
            }
        }
    }
}

/// Doubts sources that came back unchanged: they are no answers, unless a line is a name or a word that many languages
/// have.
fn drop_echoes(matched: &mut Keyed, known: &BTreeMap<usize, &Asked<'_>>) {
    let is_echo = |key: &usize, text: &String| is_same_text(text, known[key].source);
    let all = matched.texts.len() > 1 && matched.texts.iter().all(|(key, text)| is_echo(key, text));
    let echoes: Vec<usize> = matched
        .texts
        .iter()
        .filter(|(key, text)| is_echo(key, text) && (all || is_long(known[key].source)))
        .map(|(key, _)| *key)
        .collect();
    for key in echoes {
        matched.texts.remove(&key);
        matched.doubts.push((key, "came back as it was"));
    }
}

/// Whether a text is more than a name or an exclamation.
fn is_long(text: &str) -> bool {
    let others = text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).count();
    text.split_whitespace().count() >= 4 || others >= 12
}

/// Returns the items of JSON: an object with an array of lines, an array of lines, lines one behind another, or texts
/// by key. Returns `None` if the reply is not JSON, or has no keys. The error says what cannot be read in it.
fn json_items(reply: &str) -> Result<Option<Vec<Item>>, String> {
    let Some(start) = reply.find(['{', '[']) else {
        return Ok(None);
    };
    let before = reply[..start].trim();
    let mut stream = Deserializer::from_str(&reply[start..]).into_iter::<Value>();
    let mut values = Vec::new();
    let cut = loop {
        match stream.next() {
            Some(Ok(value)) => values.push(value),
            Some(Err(why)) => break Some(why),
            None => break None,
        }
    };
    if values.is_empty() {
        // Braces inside a text are no JSON.
        return match cut {
            Some(why) if before.is_empty() && reply.trim_start().starts_with('{') => {
                Err(format!("its JSON cannot be read: {why}"))
            }
            _ => Ok(None),
        };
    }
    let mut items = Vec::new();
    for value in &values {
        collect_items(value, &mut items);
    }
    Ok((!items.is_empty()).then_some(items))
}

/// Adds the items of a value, however deep in it they are.
fn collect_items(value: &Value, items: &mut Vec<Item>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_items(value, items)),
        Value::Object(fields) => match read_item(fields) {
            Some(item) => items.push(item),
            None => fields
                .iter()
                .for_each(|(name, value)| collect_field(name, value, items)),
        },
        _ => {}
    }
}

/// Returns an object that has both a key and a text.
fn read_item(fields: &Map<String, Value>) -> Option<Item> {
    let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name));
    let (key, text) = (field(&KEYS).and_then(key_of)?, field(&TEXTS).and_then(text_of)?);
    let source = field(&SOURCES).and_then(text_of).filter(|text| !text.trim().is_empty());
    Some(Item { key, text, source })
}

/// Adds a field that is named by a key and is the text or has it; else the items in it.
fn collect_field(name: &str, value: &Value, items: &mut Vec<Item>) {
    let item = |key, text| Item {
        key,
        text,
        source: None,
    };
    match (key_of(&Value::from(name)), text_of(value), value) {
        (Some(key), Some(text), _) => items.push(item(key, text)),
        (Some(key), None, Value::Object(inner)) => {
            let text = TEXTS.iter().find_map(|name| inner.get(*name).and_then(text_of));
            items.extend(text.map(|text| item(key, text)));
        }
        (None, None, Value::Array(_) | Value::Object(_)) => collect_items(value, items),
        _ => {}
    }
}

fn key_of(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => usize::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.trim().trim_matches(['#', '[', ']', '.']).parse().ok(),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    value
        .as_str()
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Returns the items of lines that begin with their key: `12 | text`, `12. text`, `[12] text`. Returns `None` if none
/// does.
fn plain_items(reply: &str, asked: &[Asked<'_>]) -> Result<Option<Parsed>, String> {
    let keyed: Vec<_> = shown_lines(reply).into_iter().map(leading_key).collect();
    let marks: BTreeSet<Mark> = keyed.iter().flatten().map(|(_, mark, _)| *mark).collect();
    let Some(mark) = marks.first().copied() else {
        return Ok(None);
    };
    let is_asked = |key: usize| asked.iter().any(|line| line.key == key);
    // "1. Mai" may be a date: if it is alone, it is a key only where nothing else shows it.
    if mark == Mark::Weak {
        let count = keyed.iter().flatten().count();
        match (asked, keyed.as_slice()) {
            ([line], [Some((key, ..))]) if *key != line.key => return Ok(None),
            ([line], [_]) if line.source.contains(&line.key.to_string()) => {
                return Err(format!(
                    "it is not clear whether '{}.' is its key or its text",
                    line.key
                ));
            }
            ([_], [_]) => {}
            _ if count < 2 => return Ok(None),
            _ => {}
        }
    }
    let mut items: Vec<Item> = Vec::new();
    let mut doubtful = BTreeSet::new();
    for key in &keyed {
        match key {
            Some((key, found, text))
                if *found == mark || is_asked(*key) && items.last().is_none_or(|last| *key > last.key) =>
            {
                items.push(Item {
                    key: *key,
                    text: (*text).to_owned(),
                    source: None,
                });
            }
            // Text before the first line is for people.
            _ => doubtful.extend(items.last().map(|last| last.key)),
        }
    }
    Ok(Some(Parsed { items, doubtful }))
}

/// How a key is separated from its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// As in the question: `12 | text`, also `[12] text`.
    Strong,
    /// As texts may begin, too: `12. text`, `12: text`.
    Weak,
}

fn leading_key(line: &str) -> Option<(usize, Mark, &str)> {
    let line = line.trim_start_matches(['-', '*', '•', ' ', '"']);
    let (line, bracket) = match line.strip_prefix(['[', '(', '<', '#']) {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let key = line[..digits].parse().ok()?;
    let rest = line[digits..].trim_start();
    if bracket && let Some(rest) = rest.strip_prefix([']', ')', '>']) {
        let text = rest.trim_start().trim_start_matches([':', '|', '.', '-']);
        return Some((key, Mark::Strong, text.trim()));
    }
    if let Some(text) = rest.strip_prefix(['|', '｜', '\t']) {
        return Some((key, Mark::Strong, text.trim()));
    }
    if let Some(text) = rest.strip_prefix([':', '：', ')', '.', '、']) {
        // "3.5 metres" and "12:30" begin with no key.
        return (!text.starts_with(|c: char| c.is_ascii_digit())).then_some((key, Mark::Weak, text.trim()));
    }
    None
}

/// Reads a reply without keys. It is accepted only where its lines can belong to no other line: one for one line, or
/// two for two, of which neither can have the time of a third.
fn keyless(given: &[&str], asked: &[Asked<'_>]) -> Result<Keyed, String> {
    let refused = || {
        format!(
            "the line count differs or its lines have no keys: {} for {}",
            given.len(),
            asked.len()
        )
    };
    if given.len() != asked.len() || asked.len() > 2 || given[0].starts_with(['{', '[']) {
        return Err(refused());
    }
    let announces = |text: &str| text.ends_with([':', '：']);
    if asked
        .iter()
        .zip(given)
        .any(|(line, text)| announces(text) && !announces(line.source.trim_end()))
    {
        return Err("it announces a translation".into());
    }
    let mut matched = Keyed::default();
    for (line, text) in asked.iter().zip(given) {
        matched.texts.insert(line.key, cleaned(text, line));
    }
    let known = asked.iter().map(|line| (line.key, line)).collect();
    drop_echoes(&mut matched, &known);
    Ok(matched)
}

/// Returns a text without the parts of the question that it repeats, and without quotation marks around it.
fn cleaned(text: &str, line: &Asked<'_>) -> String {
    let mut text = text.trim();
    if let Some(rest) = leading_key(text)
        && rest.0 == line.key
        && rest.1 == Mark::Strong
    {
        text = rest.2;
    }
    if !line.columns.is_empty()
        && let Some(rest) = text.strip_prefix(line.columns)
    {
        text = rest.trim_start_matches(['|', ' ']);
    }
    if let Some(rest) = text.strip_prefix(line.source)
        && !line.source.is_empty()
    {
        let rest = rest.trim_start();
        let translation = ["|", "｜", "->", "=>", "→", "⇒", "\t", "=", "–", "—"]
            .iter()
            .find_map(|between| rest.strip_prefix(between))
            .map(str::trim);
        text = translation.filter(|text| !text.is_empty()).unwrap_or(text);
    }
    unquoted(text, line.source).to_owned()
}

fn unquoted<'a>(text: &'a str, source: &str) -> &'a str {
    const PAIRS: [(char, char); 6] = [
        ('"', '"'),
        ('“', '”'),
        ('„', '“'),
        ('«', '»'),
        ('「', '」'),
        ('\'', '\''),
    ];
    let source = source.trim();
    for (open, close) in PAIRS {
        let inside = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        if let Some(inside) = inside
            && !inside.contains([open, close])
            && !source.starts_with(PAIRS.map(|(open, _)| open))
        {
            return inside.trim();
        }
    }
    text
}

/// Whether two texts have the same letters and digits.
fn is_same_text(text: &str, source: &str) -> bool {
    let source = letters(source);
    !source.is_empty() && letters(text) == source
}

/// Whether the repeated beginning of a line is that of this line, and not rather of another.
fn is_of(line: &Asked<'_>, repeated: &str, asked: &[Asked<'_>]) -> bool {
    let repeated = letters(repeated);
    let begins = |line: &Asked<'_>| {
        let line = letters(line.source);
        line.starts_with(&repeated) || repeated.starts_with(&line)
    };
    if begins(line) {
        return true;
    }
    let alike = |line: &Asked<'_>| {
        let beginning: String = letters(line.source).chars().take(repeated.chars().count()).collect();
        text_ratio(&beginning, &repeated)
    };
    let own = alike(line);
    let other = |other: &Asked<'_>| other.key != line.key && (begins(other) || alike(other) > own);
    own >= SAME_SOURCE && !asked.iter().any(other)
}

#[cfg(test)]
mod tests;
