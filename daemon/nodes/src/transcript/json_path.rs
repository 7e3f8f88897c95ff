//! JMESPath expressions of a request.

use serde_json::Value;

use onceover_run::RunError;

/// A path that was read.
pub(super) struct JsonPath {
    text: String,
    expression: jmespath::Expression<'static>,
}

impl JsonPath {
    /// The parser goes one level deeper per bracket.
    const LONGEST: usize = 300;

    pub(super) fn parse(parameter: &str, text: &str) -> Result<Self, RunError> {
        let cannot = |why: String| RunError::failed(format!("input_data.{parameter}: '{text}' is no JMESPath: {why}"));
        if text.len() > Self::LONGEST {
            return Err(RunError::failed(format!(
                "input_data.{parameter} is longer than {} bytes",
                Self::LONGEST
            )));
        }
        let expression = jmespath::compile(text.trim()).map_err(|why| cannot(why.reason.to_string()))?;
        Ok(Self {
            text: text.trim().to_owned(),
            expression,
        })
    }

    /// Returns what it finds; null if nothing.
    pub(super) fn find(&self, json: &Value) -> Result<Value, String> {
        let cannot = |why: String| format!("{} cannot be found in it: {why}", self.text);
        let found = self
            .expression
            .search(json)
            .map_err(|why| cannot(why.reason.to_string()))?;
        serde_json::to_value(&*found).map_err(|why| cannot(why.to_string()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Returns the paths of a list separated by commas; commas in brackets and quotes belong to a path.
pub(super) fn split_list(list: &str) -> Vec<&str> {
    let (mut depth, mut quote, mut from) = (0_usize, None, 0);
    let mut paths = Vec::new();
    for (at, c) in list.char_indices() {
        match (quote, c) {
            (Some(open), _) => quote = (c != open).then_some(open),
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                paths.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    paths.push(&list[from..]);
    paths
        .into_iter()
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_split_at_commas_between_paths() {
        assert_eq!(split_list("time_stamps, words"), ["time_stamps", "words"]);
        assert_eq!(
            split_list("join(',', a[].b) , \"x,y\","),
            ["join(',', a[].b)", "\"x,y\""]
        );
        assert!(split_list(" ").is_empty());
    }

    #[test]
    fn paths_are_found_or_refused() {
        let find = |path: &str| {
            JsonPath::parse("p", path)
                .unwrap()
                .find(&json!({"a": [{"b": 1.5}, {"b": 2}]}))
        };
        assert_eq!(find("a[].b"), Ok(json!([1.5, 2])));
        assert_eq!(find("x.y"), Ok(Value::Null));
        assert!(find("join('', a)").is_err());
        for broken in ["a[", &"(".repeat(301)] {
            let error = JsonPath::parse("p", broken).err().unwrap().to_string();
            assert!(error.contains("input_data.p"), "{error}");
        }
        assert!(JsonPath::parse("p", &"(".repeat(300)).is_err());
    }
}
