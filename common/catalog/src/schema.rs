//! A node's input as JSON Schema 2020-12: accepts exactly what [`NodeSpec::check_input`] accepts. Parameters that the
//! node does not have are let through by both.

use serde_json::{Map, Value, json};

use super::{NodeSpec, ParameterSpec, ValueKind};

/// The dialect, as a schema document names it.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The pattern of a text that stands for a value of an earlier stage, as [`super::is_placeholder`] decides it.
const PLACEHOLDER: &str = r"^\s*\$\{\{[\s\S]*\}\}\s*$";

/// Characters of the shortest placeholder, `${{}}`.
const SHORTEST_PLACEHOLDER: usize = 5;

impl NodeSpec {
    /// Returns the schema of `input_data` as a separate document.
    pub fn schema_document(&self) -> Value {
        let mut document = Map::new();
        document.insert("$schema".into(), DIALECT.into());
        document.insert("$id".into(), format!("/v1/nodes/{}/schema", self.name).into());
        document.insert("title".into(), format!("Input of {}", self.name).into());
        document.extend(self.input_schema());
        Value::Object(document)
    }

    /// Returns the schema of `input_data`, to be part of another document.
    pub fn input_schema(&self) -> Map<String, Value> {
        let mut schema = Map::new();
        let mut put = |name: &str, value: Value| schema.insert(name.into(), value);
        put("type", "object".into());
        if !self.purpose.is_empty() {
            put("description", self.purpose.as_str().into());
        }
        let properties = self.parameters.iter();
        let properties = properties.map(|parameter| (parameter.name.clone(), parameter.schema()));
        put("properties", Value::Object(properties.collect()));
        let required = self.parameters.iter().filter(|parameter| parameter.must_be_named());
        let required: Vec<_> = required.map(|parameter| parameter.name.as_str()).collect();
        if !required.is_empty() {
            put("required", json!(required));
        }
        let conditions = self.conditions();
        if !conditions.is_empty() {
            put("allOf", Value::Array(conditions));
        }
        if let Some(example) = &self.example {
            put("examples", json!([example.input]));
        }
        schema
    }

    /// Returns what several names together must fulfil: aliases and groups.
    fn conditions(&self) -> Vec<Value> {
        let aliases = self.parameters.iter().flat_map(ParameterSpec::alias_conditions);
        let groups = self.one_of.iter().filter_map(|group| {
            let parameters: Vec<_> = group.iter().filter_map(|name| self.parameter(name)).collect();
            let may_be_left_out = parameters.iter().any(|parameter| parameter.has_other_source());
            let names = parameters.iter().flat_map(|parameter| parameter.names());
            (!may_be_left_out).then(|| json!({"anyOf": names.map(is_given).collect::<Vec<_>>()}))
        });
        aliases.chain(groups).collect()
    }
}

impl ParameterSpec {
    /// Returns every name under which an input may give it; the first that does counts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }

    /// Whether a value can come from the node's default or an earlier stage.
    fn has_other_source(&self) -> bool {
        self.default.is_some() || !self.fallbacks.is_empty()
    }

    fn must_be_given(&self) -> bool {
        self.required && !self.has_other_source()
    }

    /// Whether an input without this very name is refused.
    fn must_be_named(&self) -> bool {
        self.must_be_given() && self.aliases.is_empty()
    }

    /// Returns the schema of its property, with its description.
    fn schema(&self) -> Value {
        let mut schema = self.value_schema(!self.must_be_named());
        let mut put = |name: &str, value: Value| schema.insert(name.into(), value);
        let description = self.description();
        if !description.is_empty() {
            put("description", description.into());
        }
        if let Some(default) = self.default.as_ref().filter(|default| !default.is_null()) {
            put("default", default.clone());
        }
        if !self.aliases.is_empty() {
            put("x-aliases", json!(self.aliases));
        }
        if !self.fallbacks.is_empty() {
            let fallbacks = self.fallbacks.iter();
            let fallbacks = fallbacks.map(|fallback| format!("{}.output.{}", fallback.node, fallback.field));
            put("x-fallbacks", fallbacks.collect());
        }
        Value::Object(schema)
    }

    fn description(&self) -> String {
        let mut sentences: Vec<String> = Vec::new();
        let meaning = self.meaning.trim();
        if !meaning.is_empty() {
            let end = if meaning.ends_with(['.', '!', '?']) { "" } else { "." };
            sentences.push(format!("{meaning}{end}"));
        }
        if !self.fallbacks.is_empty() {
            let sources = self.fallbacks.iter();
            let sources = sources.map(|fallback| format!("`{}` of {}", fallback.field, fallback.node));
            let sources: Vec<_> = sources.collect();
            sentences.push(format!(
                "If omitted, taken from an earlier stage of the task: {}.",
                sources.join(", or ")
            ));
        }
        if !self.aliases.is_empty() {
            let aliases: Vec<_> = self.aliases.iter().map(|alias| format!("`{alias}`")).collect();
            sentences.push(format!("Also taken as {}.", aliases.join(", ")));
        }
        sentences.join(" ")
    }

    /// Returns the schema of what [`ParameterSpec::refusal`] accepts, of a placeholder, and of null where it may be
    /// omitted.
    fn value_schema(&self, nullable: bool) -> Map<String, Value> {
        if self.lets_placeholders_through() {
            return self.plain_schema(nullable);
        }
        let mut variants = vec![
            Value::Object(self.plain_schema(false)),
            json!({"type": "string", "pattern": PLACEHOLDER}),
        ];
        variants.extend(nullable.then(|| json!({"type": "null"})));
        Map::from_iter([("anyOf".to_owned(), Value::Array(variants))])
    }

    /// Whether a text of any kind is let through already.
    fn lets_placeholders_through(&self) -> bool {
        let takes_text = self
            .kinds()
            .any(|kind| matches!(kind, ValueKind::String | ValueKind::Path));
        let is_short_enough = self.min_length.is_none_or(|min| min <= SHORTEST_PLACEHOLDER);
        takes_text && self.allowed.is_empty() && self.max_length.is_none() && is_short_enough
    }

    fn plain_schema(&self, nullable: bool) -> Map<String, Value> {
        let mut schema = Map::new();
        let mut put = |name: &str, value: Value| {
            schema.insert(name.into(), value);
        };
        let mut types: Vec<&str> = Vec::new();
        for kind in self.kinds() {
            if !types.contains(&kind.json_type()) {
                types.push(kind.json_type());
            }
        }
        if nullable {
            types.push("null");
        }
        put(
            "type",
            if let [one] = types[..] {
                one.into()
            } else {
                json!(types)
            },
        );
        match &self.allowed[..] {
            [] => {}
            [one] => put("const", one.clone()),
            several => put("enum", json!(several)),
        }
        let numbers: Map<String, Value> = [("minimum", self.min), ("maximum", self.max)]
            .into_iter()
            .filter_map(|(name, limit)| Some((name.to_owned(), number(limit?))))
            .collect();
        let least = usize::from(self.required).max(self.min_length.unwrap_or(0));
        let takes = |kind: &str| types.contains(&kind);
        if takes("string") {
            if self.kind == ValueKind::Path {
                put("format", "path".into());
            }
            put_length(&mut put, "minLength", "maxLength", least, self.max_length);
        }
        if takes("array") {
            put_length(&mut put, "minItems", "maxItems", least, self.max_length);
            let mut items = numbers.clone();
            if let Some(kind) = self.items {
                items.insert("type".into(), kind.json_type().into());
            }
            put("items", Value::Object(items));
        }
        if takes("object") && self.required {
            put("minProperties", 1.into());
        }
        schema.extend(numbers);
        schema
    }

    /// Returns the conditions of aliases: an alias counts where no name before it is given, and a required parameter
    /// needs one of its names.
    fn alias_conditions(&self) -> Vec<Value> {
        if self.aliases.is_empty() {
            return Vec::new();
        }
        let names: Vec<&str> = self.names().collect();
        let mut conditions: Vec<Value> = (1..names.len())
            .map(|at| {
                let before: Vec<_> = names[..at].iter().copied().map(is_given).collect();
                let value = self.value_schema(true);
                json!({"if": {"not": {"anyOf": before}}, "then": {"properties": {names[at]: value}}})
            })
            .collect();
        if self.must_be_given() {
            conditions.push(json!({"anyOf": names.into_iter().map(is_given).collect::<Vec<_>>()}));
        }
        conditions
    }
}

impl ValueKind {
    /// Returns the name that JSON Schema has for it.
    fn json_type(self) -> &'static str {
        match self {
            Self::Path => "string",
            other => other.as_str(),
        }
    }
}

/// Returns the schema of an input that has this name with a value; null counts as omitted.
fn is_given(name: &str) -> Value {
    json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}})
}

fn put_length(put: &mut impl FnMut(&str, Value), min: &str, max: &str, least: usize, most: Option<usize>) {
    if least > 0 {
        put(min, least.into());
    }
    if let Some(most) = most {
        put(max, most.into());
    }
}

/// Returns a limit as people write it: `1`, not `1.0`.
fn number(limit: f64) -> Value {
    let whole = limit as i64;
    if whole as f64 == limit {
        whole.into()
    } else {
        limit.into()
    }
}

#[cfg(test)]
mod tests;
