//! Makes recorded answers the same each time: folders, ids, times and durations become fixed examples.

use serde_json::Value;

/// What stands for what, in texts.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    pairs: Vec<(String, String)>,
    runs: Vec<String>,
}

/// Times by field, as one run of a second and a half would have them.
const TIMES: [(&str, &str); 12] = [
    ("create_at", "09:30:00.000"),
    ("created_at", "09:30:00.000"),
    ("queued_at", "09:30:00.000"),
    ("started_at", "09:30:00.012"),
    ("ended_at", "09:30:01.512"),
    ("updated_at", "09:30:01.512"),
    ("cached_at", "09:30:01.512"),
    ("timestamp", "09:30:01.520"),
    ("last_tried_at", "09:30:01.520"),
    ("next_try_at", "09:30:01.520"),
    ("saved_at", "09:30:01.512"),
    ("expires_at", "09:30:01.512"),
];
const DAY: &str = "2026-01-15";

/// Numbers that are another each time: seconds of a stage, and those a node itself measures.
const SECONDS: [&str; 2] = ["duration", "saved_seconds"];
const MEASURED: &str = "processing_time";
/// Milliseconds of the runs of a node.
const MILLISECONDS: [&str; 4] = ["p50_ms", "p95_ms", "last_ms", "saved_ms"];

impl Redaction {
    /// `text` stands for `real`.
    pub fn replace(&mut self, real: impl Into<String>, text: &str) {
        self.pairs.push((real.into(), text.to_owned()));
        // A folder before what it lies in.
        self.pairs.sort_by_key(|(real, _)| std::cmp::Reverse(real.len()));
    }

    pub fn value(&mut self, value: &mut Value) {
        self.field("", value, false);
    }

    /// `given`: inside of what a node gave, whose durations are of the medium.
    fn field(&mut self, name: &str, value: &mut Value, given: bool) {
        match value {
            Value::String(text) => *text = self.text(name, text),
            Value::Number(number)
                if (name == MEASURED || (SECONDS.contains(&name) && !given)) && number.as_f64() != Some(0.0) =>
            {
                *value = 1.5.into();
            }
            Value::Number(number) if MILLISECONDS.contains(&name) && number.as_u64() != Some(0) => *value = 1500.into(),
            // How often the record was written depends on how long the run took.
            Value::Number(_) if name == "revision" => *value = 6.into(),
            // Folders have names of other lengths, and so has what the log says of them.
            Value::Number(number) if name == "disk_bytes" && number.as_u64() != Some(0) => *value = 4096.into(),
            Value::Array(items) => items.iter_mut().for_each(|item| self.field(name, item, given)),
            Value::Object(fields) => fields
                .iter_mut()
                .for_each(|(inner, field)| self.field(inner, field, given || name == "output")),
            _ => {}
        }
    }

    pub fn text(&mut self, name: &str, text: &str) -> String {
        if is_time(text) {
            let time = TIMES.iter().find(|(field, _)| *field == name);
            return format!("{DAY}T{}Z", time.map_or("09:30:00.000", |(_, time)| time));
        }
        let mut text = text.to_owned();
        for (real, shown) in &self.pairs {
            text = text.replace(real, shown);
        }
        self.ids(&text)
    }

    /// The first UUID is run 1, the next run 2.
    fn ids(&mut self, text: &str) -> String {
        const LENGTH: usize = 36;
        let (mut shown, mut rest) = (String::new(), text);
        while !rest.is_empty() {
            let head = rest.get(..LENGTH).filter(|head| is_uuid(head));
            let Some(id) = head else {
                let first = rest.chars().next().map_or(1, char::len_utf8);
                shown.push_str(&rest[..first]);
                rest = &rest[first..];
                continue;
            };
            let known = self.runs.iter().position(|run| run == id);
            let number = known.unwrap_or_else(|| {
                self.runs.push(id.to_owned());
                self.runs.len() - 1
            });
            shown.push_str(&format!("01981f5e-7a3c-7d21-9c40-{:012}", number + 1));
            rest = &rest[LENGTH..];
        }
        shown
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2026-01-15T09:30:00.000Z`.
fn is_time(text: &str) -> bool {
    text.len() == 24
        && text.ends_with('Z')
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            23 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        })
}

/// A value without what is another on every machine: names of fields and kinds of values.
pub fn shape(value: &Value) -> Value {
    match value {
        // A quick run's last word may come too late to be recorded.
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "message")
            .map(|(name, field)| (name.clone(), shape(field)))
            .collect(),
        Value::Array(items) => {
            let mut shapes: Vec<Value> = Vec::new();
            for item in items {
                let item = shape(item);
                if !shapes.contains(&item) {
                    shapes.push(item);
                }
            }
            shapes.into()
        }
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Null => Value::Null,
    }
}
