//! A JSON text as a tree that folds: where the cursor is, what is folded, what is searched. Its nodes lie one after the
//! other in the order of the text; only rows on the screen are ever written out.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Nodes that are kept at most, and bytes of a text that is read at all.
const MOST_NODES: usize = 200_000;
pub const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Lists and objects inside others begin folded where they have more items.
const FOLD_ABOVE: u32 = 20;

/// What a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonKind {
    /// A list with so many items.
    List(u32),
    /// An object with so many fields.
    Fields(u32),
    Text(String),
    /// A number, `true`, `false` or `null`.
    Plain(Value),
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JsonNode {
    pub depth: u16,
    /// Its name in an object; `None` in a list.
    pub name: Option<String>,
    /// Its index in a list.
    pub index: u32,
    pub kind: JsonKind,
    parent: u32,
    /// The node after the last one inside it.
    end: u32,
    pub is_folded: bool,
    /// Whether its text is shown whole, however long it is.
    pub is_whole: bool,
}

impl JsonNode {
    /// Whether there is something inside it to fold.
    pub fn has_items(&self) -> bool {
        matches!(self.kind, JsonKind::List(1..) | JsonKind::Fields(1..))
    }

    fn contains(&self, text: &str) -> bool {
        let has = |other: &str| other.to_lowercase().contains(text);
        self.name.as_deref().is_some_and(has)
            || match &self.kind {
                JsonKind::Text(own) => has(own),
                JsonKind::Plain(own) => has(&own.to_string()),
                JsonKind::List(_) | JsonKind::Fields(_) => false,
            }
    }
}

/// What is searched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonSearch {
    pub text: String,
    /// The nodes that have it.
    found: Vec<u32>,
}

impl JsonSearch {
    pub fn count(&self) -> usize {
        self.found.len()
    }
}

/// The tree.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct JsonTree {
    nodes: Vec<JsonNode>,
    /// The nodes that are not folded away, in their order.
    shown: Vec<u32>,
    /// The cursor, among those.
    at: usize,
    /// The row at the top of the screen.
    top: usize,
    /// Whether nodes are left out, because there are too many.
    pub is_cut: bool,
    pub search: Option<JsonSearch>,
}

impl JsonTree {
    /// Reads a text. One that is no JSON, or too long, is shown as it is, as far as that goes.
    pub fn parse(json: &str) -> Self {
        let value = match json.len() {
            0..=MOST_BYTES => serde_json::from_str(json).unwrap_or_else(|_| Value::String(json.to_owned())),
            _ => Value::String(json[..json.floor_char_boundary(MOST_BYTES / 16)].to_owned()),
        };
        let mut tree = Self {
            is_cut: json.len() > MOST_BYTES,
            ..Self::default()
        };
        match value {
            // The outermost brackets are known.
            Value::Object(fields) => tree.add_fields(fields, 0, 0),
            Value::Array(items) => tree.add_items(items, 0, 0),
            other => tree.add(None, 0, other, 0, 0),
        }
        tree.show();
        tree
    }

    fn add_fields(&mut self, fields: Map<String, Value>, depth: u16, parent: u32) {
        for (index, (name, value)) in fields.into_iter().enumerate() {
            self.add(Some(name), index as u32, value, depth, parent);
        }
    }

    fn add_items(&mut self, items: Vec<Value>, depth: u16, parent: u32) {
        for (index, value) in items.into_iter().enumerate() {
            self.add(None, index as u32, value, depth, parent);
        }
    }

    /// Adds a value and what is inside it. JSON is not nested deeper than its reader allows.
    fn add(&mut self, name: Option<String>, index: u32, value: Value, depth: u16, parent: u32) {
        if self.nodes.len() >= MOST_NODES {
            self.is_cut = true;
            return;
        }
        let at = self.nodes.len();
        let kind = match &value {
            Value::Array(items) => JsonKind::List(items.len() as u32),
            Value::Object(fields) => JsonKind::Fields(fields.len() as u32),
            Value::String(text) => JsonKind::Text(text.clone()),
            plain => JsonKind::Plain(plain.clone()),
        };
        let is_large = matches!(kind, JsonKind::List(items) | JsonKind::Fields(items) if items > FOLD_ABOVE);
        self.nodes.push(JsonNode {
            depth,
            name,
            index,
            kind,
            // The outermost nodes are their own parents.
            parent: if depth == 0 { at as u32 } else { parent },
            end: 0,
            is_folded: is_large,
            is_whole: false,
        });
        match value {
            Value::Array(items) => self.add_items(items, depth + 1, at as u32),
            Value::Object(fields) => self.add_fields(fields, depth + 1, at as u32),
            _ => {}
        }
        let end = self.nodes.len() as u32;
        self.nodes[at].end = end;
    }

    /// Lists the nodes that are shown.
    fn show(&mut self) {
        let cursor = self.cursor();
        self.shown.clear();
        let mut next = 0;
        while let Some(node) = self.nodes.get(next) {
            self.shown.push(next as u32);
            next = if node.is_folded { node.end as usize } else { next + 1 };
        }
        if let Some(cursor) = cursor {
            self.go_to(cursor);
        }
    }

    /// Puts the cursor on a node, or on the one that it is folded into.
    fn go_to(&mut self, node: u32) {
        let after = self.shown.partition_point(|shown| *shown <= node);
        self.at = after.saturating_sub(1);
    }

    fn cursor(&self) -> Option<u32> {
        self.shown.get(self.at).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Counts the rows.
    pub fn count_rows(&self) -> usize {
        self.shown.len()
    }

    /// Returns the row of the cursor.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Returns the row that the screen begins with where so many rows fit: the cursor's is among them.
    pub fn top_for(&self, rows: usize) -> usize {
        let least = (self.at + 1).saturating_sub(rows.max(1));
        self.top.clamp(least, self.at.max(least))
    }

    /// Returns the node of a row.
    pub fn row(&self, row: usize) -> Option<&JsonNode> {
        self.nodes.get(*self.shown.get(row)? as usize)
    }

    pub fn at_cursor(&self) -> Option<&JsonNode> {
        self.row(self.at)
    }

    /// Moves the cursor by so many rows, on a screen of `rows`.
    pub fn move_cursor(&mut self, by: isize, rows: usize) {
        let last = self.shown.len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
        self.top = self.top_for(rows);
    }

    /// Folds what is at the cursor, or unfolds it; a scalar is folded with what it is in.
    pub fn toggle(&mut self) {
        let Some(cursor) = self.cursor() else {
            return;
        };
        let node = &self.nodes[cursor as usize];
        let folded = if node.has_items() { cursor } else { node.parent };
        let node = &mut self.nodes[folded as usize];
        if node.has_items() {
            node.is_folded = !node.is_folded;
            self.at = self.shown.partition_point(|shown| *shown < folded);
            self.show();
        }
    }

    /// Unfolds what is at the cursor, shows a text whole, or goes into what is unfolded.
    pub fn open(&mut self) {
        let Some(cursor) = self.cursor() else {
            return;
        };
        let node = &mut self.nodes[cursor as usize];
        if matches!(node.kind, JsonKind::Text(_)) {
            node.is_whole = !node.is_whole;
        } else if node.is_folded {
            node.is_folded = false;
            self.show();
        } else if node.has_items() {
            self.at += 1;
        }
    }

    /// Folds what is at the cursor; where that is folded, or a scalar, goes to what it is in.
    pub fn close(&mut self) {
        let Some(cursor) = self.cursor() else {
            return;
        };
        let node = &mut self.nodes[cursor as usize];
        if node.has_items() && !node.is_folded {
            node.is_folded = true;
            self.show();
        } else {
            let parent = node.parent;
            self.go_to(parent);
        }
    }

    /// Folds everything, or unfolds everything where nothing is left to fold.
    pub fn toggle_all(&mut self) {
        let folds = self.nodes.iter().any(|node| node.has_items() && !node.is_folded);
        for node in self.nodes.iter_mut().filter(|node| node.has_items()) {
            node.is_folded = folds;
        }
        self.show();
    }

    /// Writes where the cursor is: `segments[3].text`.
    pub fn path(&self) -> String {
        let Some(mut at) = self.cursor() else {
            return String::new();
        };
        let mut steps = Vec::new();
        loop {
            let node = &self.nodes[at as usize];
            steps.push(match &node.name {
                Some(name) if is_word(name) => format!(".{name}"),
                Some(name) => format!("[{}]", Value::from(name.as_str())),
                None => format!("[{}]", node.index),
            });
            if node.depth == 0 {
                break;
            }
            at = node.parent;
        }
        steps.reverse();
        steps.concat().trim_start_matches('.').to_owned()
    }

    /// Searches a text, whatever the case, and goes to the first node from the cursor on that has it. An empty text ends
    /// the search.
    pub fn begin_search(&mut self, text: &str) {
        if text.is_empty() {
            self.search = None;
            return;
        }
        let wanted = text.to_lowercase();
        let nodes = self.nodes.iter().enumerate();
        let found = nodes
            .filter(|(_, node)| node.contains(&wanted))
            .map(|(at, _)| at as u32);
        self.search = Some(JsonSearch {
            text: text.to_owned(),
            found: found.collect(),
        });
        let cursor = self.cursor();
        let has_it = |search: &JsonSearch| cursor.is_some_and(|cursor| search.found.contains(&cursor));
        if !self.search.as_ref().is_some_and(has_it) {
            self.go_to_match(true);
        }
    }

    /// Goes to the next node that has what is searched, or to the one before; after the last one to the first. Returns
    /// `false` if there is none.
    pub fn go_to_match(&mut self, is_forward: bool) -> bool {
        let Some(cursor) = self.cursor() else {
            return false;
        };
        let Some(found) = self.search.as_ref().map(|search| search.found.as_slice()) else {
            return false;
        };
        let next = if is_forward {
            let after = found.partition_point(|node| *node <= cursor);
            found.get(after).or_else(|| found.first())
        } else {
            let before = found.partition_point(|node| *node < cursor);
            found[..before].last().or_else(|| found.last())
        };
        let Some(next) = next.copied() else {
            return false;
        };
        self.unfold_around(next);
        self.show();
        self.go_to(next);
        true
    }

    /// Unfolds everything that a node is in.
    fn unfold_around(&mut self, node: u32) {
        let mut at = node;
        while self.nodes[at as usize].depth > 0 {
            at = self.nodes[at as usize].parent;
            self.nodes[at as usize].is_folded = false;
        }
    }

    /// Returns the value at the cursor.
    pub fn value_at_cursor(&self) -> Option<Value> {
        Some(self.read_value(self.cursor()?))
    }

    /// Puts a value together from its nodes.
    fn read_value(&self, at: u32) -> Value {
        let node = &self.nodes[at as usize];
        match &node.kind {
            JsonKind::Text(text) => Value::from(text.as_str()),
            JsonKind::Plain(plain) => plain.clone(),
            JsonKind::List(_) => self.children(at).map(|child| self.read_value(child)).collect(),
            JsonKind::Fields(_) => {
                let field = |child: u32| {
                    let name = self.nodes[child as usize].name.clone().unwrap_or_default();
                    (name, self.read_value(child))
                };
                Value::Object(self.children(at).map(field).collect())
            }
        }
    }

    fn children(&self, at: u32) -> impl Iterator<Item = u32> + '_ {
        let end = self.nodes[at as usize].end;
        let mut next = at + 1;
        std::iter::from_fn(move || {
            let child = next;
            next = self.nodes.get(child as usize).filter(|_| child < end)?.end;
            Some(child)
        })
    }

    /// Lists the texts in it, in their order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| match &node.kind {
            JsonKind::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

/// Whether a name needs no quotes in a path.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"language":"ja","segments":[{"text":"안녕","end":1.5},{"text":"bye","end":2}],"none":{}}"#;

    fn names(tree: &JsonTree) -> Vec<String> {
        let rows = (0..tree.count_rows()).filter_map(|row| tree.row(row));
        rows.map(|node| node.name.clone().unwrap_or_else(|| node.index.to_string()))
            .collect()
    }

    #[test]
    fn what_is_folded_is_not_shown_and_the_cursor_stays_on_what_it_was_in() {
        let mut tree = JsonTree::parse(TEXT);
        let all = ["language", "segments", "0", "text", "end", "1", "text", "end", "none"];
        assert_eq!(names(&tree), all);
        tree.move_cursor(3, 20);
        assert_eq!(tree.path(), "segments[0].text");
        tree.toggle();
        assert_eq!(names(&tree), ["language", "segments", "0", "1", "text", "end", "none"]);
        assert_eq!(tree.path(), "segments[0]");
        tree.close();
        assert_eq!(tree.path(), "segments");
        tree.close();
        assert_eq!(names(&tree), ["language", "segments", "none"]);
        tree.open();
        assert_eq!(names(&tree).len(), 7, "what was folded inside stays folded");
        tree.toggle_all();
        assert_eq!(names(&tree), ["language", "segments", "none"]);
        tree.toggle_all();
        assert_eq!(names(&tree), all);
    }

    #[test]
    fn a_search_unfolds_what_it_finds_and_goes_round() {
        let mut tree = JsonTree::parse(TEXT);
        tree.toggle_all();
        tree.begin_search("BYE");
        assert_eq!(tree.path(), "segments[1].text");
        assert!(tree.go_to_match(true), "round to the only one");
        assert_eq!(tree.path(), "segments[1].text");
        tree.begin_search("text");
        assert_eq!(tree.search.as_ref().map(JsonSearch::count), Some(2));
        tree.go_to_match(true);
        assert_eq!(tree.path(), "segments[0].text");
        tree.go_to_match(false);
        assert_eq!(tree.path(), "segments[1].text");
        tree.begin_search("nowhere");
        assert!(!tree.go_to_match(true));
    }

    #[test]
    fn the_value_at_the_cursor_is_the_one_of_the_text() {
        let mut tree = JsonTree::parse(TEXT);
        tree.move_cursor(1, 20);
        let whole: Value = serde_json::from_str(TEXT).unwrap();
        assert_eq!(tree.value_at_cursor(), Some(whole["segments"].clone()));
        assert_eq!(tree.texts().collect::<Vec<_>>(), ["ja", "안녕", "bye"]);
    }

    #[test]
    fn tui16_a_text_of_five_megabytes_is_bounded_and_its_long_lists_begin_folded() {
        let items: Vec<Value> = (0..150_000)
            .map(|n| serde_json::json!({"n": n, "text": "자막"}))
            .collect();
        let json = serde_json::json!({ "segments": items }).to_string();
        assert!(json.len() > 4_000_000);
        let tree = JsonTree::parse(&json);
        assert!(tree.nodes.len() <= MOST_NODES && tree.is_cut);
        assert_eq!(tree.count_rows(), 1);
        assert!(JsonTree::parse("{}").is_empty());
        let broken = JsonTree::parse("{broken");
        assert_eq!(broken.texts().next(), Some("{broken"));
    }
}
