//! The language of filters: `state:failed node:whisper* age>10m "text" not id:demo or reused:yes error:"no text"`. Parses
//! and matches; the tree decides what is hidden.

use onceover_types::{NodeName, StageState, Timestamp};
use onceover_wire::WarningCount;

use super::{
    stage::KeptStage,
    task::{Standing, Task},
};

/// A filter as typed, and as understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub text: String,
    expr: Expr,
}

/// Why a filter was not understood, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// Column of the first character that does not fit, from 1.
    pub position: usize,
    pub message: String,
}

/// Which warnings a result has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warned {
    Yes,
    No,
    /// One says that running again could give a better result.
    Retryable,
}

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    State(Vec<StageState>),
    Node(String),
    Id(String),
    Queue(String),
    Reused(bool),
    Warned(Warned),
    Pipeline(String),
    Error(String),
    OlderThan(f64),
    YoungerThan(f64),
    LongerThan(f64),
    ShorterThan(f64),
    Text(String),
}

impl Filter {
    /// Parses a filter; `None` for an empty text, which shows everything.
    pub fn parse(text: &str) -> Result<Option<Self>, FilterError> {
        let tokens = split_tokens(text)?;
        if tokens.is_empty() {
            return Ok(None);
        }
        let mut parser = Parser {
            tokens,
            at: 0,
            end: text.chars().count() + 1,
            depth: 0,
        };
        let expr = parser.parse_any()?;
        if let Some(token) = parser.peek() {
            return Err(error(token.position, "nothing opened this ')'"));
        }
        Ok(Some(Self {
            text: text.to_owned(),
            expr,
        }))
    }

    /// A filter that only stages in these states pass.
    pub fn for_states(text: &str, states: &[StageState]) -> Self {
        Self {
            text: text.to_owned(),
            expr: Expr::State(states.to_vec()),
        }
    }

    /// Whether this row of the task is shown: a stage, or a planned step without one.
    pub fn matches(&self, task: &Task, node: &NodeName, stage: Option<&KeptStage>, now: Timestamp) -> bool {
        self.expr.matches(task, Some(node), stage, now)
    }

    /// Whether what matches can change without a change of a task, because time goes on.
    pub fn depends_on_time(&self) -> bool {
        self.expr.depends_on_time()
    }

    /// Whether a task without stages is shown.
    pub fn matches_bare(&self, task: &Task, now: Timestamp) -> bool {
        self.expr.matches(task, None, None, now)
    }
}

impl Expr {
    fn depends_on_time(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(Self::depends_on_time),
            Self::Not(part) => part.depends_on_time(),
            Self::OlderThan(_) | Self::YoungerThan(_) | Self::LongerThan(_) | Self::ShorterThan(_) => true,
            _ => false,
        }
    }

    fn matches(&self, task: &Task, node: Option<&NodeName>, stage: Option<&KeptStage>, now: Timestamp) -> bool {
        let name = node.map_or("", NodeName::as_str);
        let age = || now.seconds_since(task.created_at);
        let duration = || match (stage, node) {
            (Some(stage), _) => stage.elapsed(now),
            (None, Some(_)) => 0.0,
            (None, None) => task.elapsed(now),
        };
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(task, node, stage, now)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(task, node, stage, now)),
            Self::Not(part) => !part.matches(task, node, stage, now),
            Self::State(states) => match (stage, node) {
                (Some(stage), _) => states.contains(&stage.status),
                (None, Some(node)) => {
                    let state = task.standing(node).and_then(Standing::state);
                    state.is_some_and(|state| states.contains(&state))
                }
                (None, None) => states.contains(&task.state()),
            },
            Self::Node(pattern) => matches_glob(pattern, name),
            Self::Id(pattern) => matches_glob(pattern, task.id.as_str()),
            Self::Queue(pattern) => stage.is_some_and(|stage| matches_glob(pattern, stage.queue())),
            Self::Reused(wanted) => stage.is_some_and(|stage| stage.reuses() > 0) == *wanted,
            Self::Warned(wanted) => {
                let row = node.map_or_else(WarningCount::default, |node| task.row_warnings(node));
                match wanted {
                    Warned::Yes => row.warnings > 0,
                    Warned::No => row.warnings == 0,
                    Warned::Retryable => row.retryable,
                }
            }
            Self::Pipeline(pattern) => {
                let pipeline = task.pipeline.as_ref();
                pipeline.is_some_and(|pipeline| matches_glob(pattern, &pipeline.processing.pipeline))
            }
            Self::Error(pattern) => {
                let of_step = || node.and_then(|node| task.step(node)?.error.as_deref());
                let error = stage.and_then(KeptStage::error).or_else(of_step);
                error.is_some_and(|error| matches_glob(pattern, error))
            }
            Self::OlderThan(seconds) => age() > *seconds,
            Self::YoungerThan(seconds) => age() < *seconds,
            Self::LongerThan(seconds) => duration() > *seconds,
            Self::ShorterThan(seconds) => duration() < *seconds,
            Self::Text(text) => {
                contains(task.id.as_str(), text)
                    || contains(name, text)
                    || stage
                        .and_then(KeptStage::error)
                        .is_some_and(|error| contains(error, text))
            }
        }
    }
}

/// Whether a text contains another, which is lower case already.
fn contains(hay: &str, needle: &str) -> bool {
    if needle.is_ascii() && hay.is_ascii() {
        return find_ascii(hay.as_bytes(), needle.as_bytes()).is_some();
    }
    hay.to_lowercase().contains(needle)
}

/// Finds a text, which is lower case, in another, whatever the case of its letters is.
fn find_ascii(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let Some((first, rest)) = needle.split_first() else {
        return Some(0);
    };
    let upper = first.to_ascii_uppercase();
    // Most places differ in their first character already.
    let is_here = |part: &[u8]| match part.split_first() {
        Some((head, tail)) => (head == first || *head == upper) && tail.eq_ignore_ascii_case(rest),
        None => false,
    };
    hay.windows(needle.len()).position(is_here)
}

/// Whether a text matches a pattern, where `*` stands for any text. Without one, the pattern matches anywhere in the
/// text.
fn matches_glob(pattern: &str, text: &str) -> bool {
    if !pattern.contains('*') {
        return contains(text, pattern);
    }
    // Ids and names are ASCII, and there are many: they are compared as they are.
    if text.is_ascii() {
        return matches_stars(pattern, text.as_bytes());
    }
    matches_stars(pattern, text.to_lowercase().as_bytes())
}

/// Does the same for a pattern with stars.
fn matches_stars(pattern: &str, text: &[u8]) -> bool {
    let has_at = |text: &[u8], at: usize, part: &str| {
        let found = text.get(at..at + part.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(part.as_bytes()))
    };
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    if !has_at(text, 0, first) {
        return false;
    }
    let mut rest = &text[first.len()..];
    let mut last = "";
    for (index, part) in parts.enumerate() {
        // Each but the last one is found as early as it is.
        if index > 0 {
            match find_ascii(rest, last.as_bytes()) {
                Some(at) => rest = &rest[at + last.len()..],
                None => return false,
            }
        }
        last = part;
    }
    rest.len() >= last.len() && has_at(rest, rest.len() - last.len(), last)
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    position: usize,
    text: String,
    quoted: bool,
}

fn error(position: usize, message: impl Into<String>) -> FilterError {
    FilterError {
        position,
        message: message.into(),
    }
}

/// Splits a text into words, quoted texts and parentheses.
fn split_tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut open: Option<Token> = None;
    let mut quote: Option<usize> = None;
    for (index, c) in text.chars().enumerate() {
        let position = index + 1;
        let fresh = |quoted| Token {
            position,
            text: String::new(),
            quoted,
        };
        if quote.is_some() {
            if c == '"' {
                quote = None;
            } else if let Some(token) = &mut open {
                token.text.push(c);
            }
            continue;
        }
        match c {
            '"' => {
                quote = Some(position);
                open.get_or_insert(fresh(true));
            }
            '(' | ')' => {
                tokens.extend(open.take());
                tokens.push(Token {
                    text: c.into(),
                    ..fresh(false)
                });
            }
            c if c.is_whitespace() => tokens.extend(open.take()),
            c => open.get_or_insert(fresh(false)).text.push(c),
        }
    }
    if let Some(position) = quote {
        return Err(error(position, "this '\"' is not closed"));
    }
    tokens.extend(open);
    Ok(tokens)
}

/// How deep parentheses and `not` may be nested.
const DEEPEST: usize = 64;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    end: usize,
    /// How deep the parser is.
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next_is(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| !token.quoted && token.text == word)
    }

    /// Parses parts with `or` between them.
    fn parse_any(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.parse_all()?];
        while self.next_is("or") {
            self.at += 1;
            parts.push(self.parse_all()?);
        }
        Ok(join_parts(parts, Expr::Any))
    }

    /// Parses parts that all have to match.
    fn parse_all(&mut self) -> Result<Expr, FilterError> {
        let mut parts = vec![self.parse_unary()?];
        while self.peek().is_some() && !self.next_is("or") && !self.next_is(")") {
            if self.next_is("and") {
                self.at += 1;
            }
            parts.push(self.parse_unary()?);
        }
        Ok(join_parts(parts, Expr::All))
    }

    /// Parses one level deeper.
    fn parse_inside(&mut self, parse: fn(&mut Self) -> Result<Expr, FilterError>) -> Result<Expr, FilterError> {
        self.depth += 1;
        let inner = parse(self);
        self.depth -= 1;
        inner
    }

    /// Parses one part.
    fn parse_unary(&mut self) -> Result<Expr, FilterError> {
        let Some(token) = self.peek().cloned() else {
            return Err(error(self.end, "something is missing here"));
        };
        self.at += 1;
        if token.quoted {
            return Ok(Expr::Text(token.text.to_lowercase()));
        }
        match token.text.as_str() {
            "not" | "(" if self.depth == DEEPEST => Err(error(
                token.position,
                format!("a filter is {DEEPEST} levels deep at most"),
            )),
            "not" => Ok(Expr::Not(Box::new(self.parse_inside(Self::parse_unary)?))),
            "(" => {
                let inner = self.parse_inside(Self::parse_any)?;
                if !self.next_is(")") {
                    return Err(error(token.position, "this '(' is not closed"));
                }
                self.at += 1;
                Ok(inner)
            }
            ")" | "or" | "and" => Err(error(token.position, format!("'{}' has nothing before it", token.text))),
            text => match text.strip_prefix('-') {
                Some(rest) if !rest.is_empty() => Ok(Expr::Not(Box::new(parse_term(rest, token.position + 1)?))),
                _ => parse_term(text, token.position),
            },
        }
    }
}

/// Joins parts, if there is more than one.
fn join_parts(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.len() {
        1 => parts.swap_remove(0),
        _ => many(parts),
    }
}

/// Parses one condition.
fn parse_term(text: &str, position: usize) -> Result<Expr, FilterError> {
    let lower = text.to_lowercase();
    if let Some(compared) = parse_comparison(&lower, position) {
        return compared;
    }
    let Some((field, value)) = lower.split_once(':') else {
        return Ok(Expr::Text(lower));
    };
    let at_value = position + field.chars().count() + 1;
    let value_owned = value.to_owned();
    match field {
        "state" | "status" => parse_states(value).map(Expr::State).ok_or_else(|| {
            error(
                at_value,
                "a state is pending, running, done, failed, cancelled, active or ended",
            )
        }),
        "node" => Ok(Expr::Node(value_owned)),
        "id" | "task" => Ok(Expr::Id(value_owned)),
        "queue" => Ok(Expr::Queue(value_owned)),
        "pipeline" => Ok(Expr::Pipeline(value_owned)),
        "error" => Ok(Expr::Error(value_owned)),
        "reused" => match value {
            "yes" => Ok(Expr::Reused(true)),
            "no" => Ok(Expr::Reused(false)),
            _ => Err(error(at_value, "reused: takes yes or no")),
        },
        "warned" => match value {
            "yes" => Ok(Expr::Warned(Warned::Yes)),
            "no" => Ok(Expr::Warned(Warned::No)),
            "retryable" => Ok(Expr::Warned(Warned::Retryable)),
            _ => Err(error(at_value, "warned: takes yes, no or retryable")),
        },
        _ => Err(error(
            position,
            "a field is state, node, id, queue, pipeline, error, reused, warned, age or duration; quote text that holds ':'",
        )),
    }
}

/// Parses a comparison of a time; `None` for what is none.
fn parse_comparison(text: &str, position: usize) -> Option<Result<Expr, FilterError>> {
    type Make = fn(f64) -> Expr;
    let comparisons: [(&str, Make); 4] = [
        ("age>", Expr::OlderThan),
        ("age<", Expr::YoungerThan),
        ("duration>", Expr::LongerThan),
        ("duration<", Expr::ShorterThan),
    ];
    comparisons.into_iter().find_map(|(sign, make)| {
        let value = text.strip_prefix(sign)?;
        let example = "a time is a number and s, m, h or d, such as age>10m";
        let seconds = parse_seconds(value).ok_or_else(|| error(position + sign.len(), example));
        Some(seconds.map(make))
    })
}

/// Parses the name of one or more states.
fn parse_states(value: &str) -> Option<Vec<StageState>> {
    use StageState::*;
    Some(match value {
        "pending" | "waiting" => vec![Pending],
        "running" => vec![Running],
        "done" | "success" | "completed" => vec![Success],
        "failed" => vec![Failed],
        "cancelled" => vec![Cancelled],
        "active" => vec![Pending, Running],
        "ended" => vec![Success, Failed, Cancelled],
        _ => return None,
    })
}

/// Parses an age.
fn parse_seconds(value: &str) -> Option<f64> {
    let unit = match value.chars().last()? {
        's' => 1.0,
        'm' => 60.0,
        'h' => 3600.0,
        'd' => 86400.0,
        _ => return None,
    };
    let number: f64 = value[..value.len() - 1].parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Expr {
        Filter::parse(text).unwrap().unwrap().expr
    }

    #[test]
    fn a_wrong_filter_shows_where() {
        for (text, position) in [
            ("state:nope", 7),
            ("a age>10x", 7),
            ("duration<", 10),
            ("a (b", 3),
            ("a b)", 4),
            ("a \"b", 3),
            ("a or", 5),
            ("or a", 1),
            ("colour:red", 1),
            ("warned:maybe", 8),
            ("not", 4),
        ] {
            assert_eq!(Filter::parse(text).unwrap_err().position, position, "{text}");
        }
        assert_eq!(Filter::parse("   ").unwrap(), None);
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert_eq!(
            parsed("a b or not c"),
            Expr::Any(vec![
                Expr::All(vec![Expr::Text("a".into()), Expr::Text("b".into())]),
                Expr::Not(Box::new(Expr::Text("c".into()))),
            ])
        );
        assert_eq!(parsed("-\"x y\" a"), parsed("-\"x y\" and a"));
    }

    #[test]
    fn tui18_fields_take_quoted_text_and_times() {
        assert_eq!(parsed("error:\"No text\""), Expr::Error("no text".into()));
        assert_eq!(parsed("pipeline:sub*"), Expr::Pipeline("sub*".into()));
        assert_eq!(parsed("duration>2m"), Expr::LongerThan(120.0));
        assert!(Filter::parse("a or not age<1h").unwrap().unwrap().depends_on_time());
        assert!(!Filter::parse("state:failed").unwrap().unwrap().depends_on_time());
    }

    #[test]
    fn stars_stand_for_any_text() {
        assert!(matches_glob("whisper", "faster_whisper.x"));
        assert!(!matches_glob("whisper*", "faster_whisper.x"));
        assert!(matches_glob("*whisper*", "faster_whisper.x"));
        assert!(matches_glob("f*.x", "Faster_whisper.x"));
        assert!(!matches_glob("f*.y", "faster_whisper.x"));
        assert!(matches_glob("*", ""));
        assert!(matches_glob("a*b*c", "aXbbYc"));
        assert!(!matches_glob("ab*bc", "abc"), "a character counts once");
        assert!(matches_glob("*한*", "clip_한국어"));
    }
}
