//! The schema and the check that answers with 422 are made from the same specification, and agree on every input.

use std::{fs, path::Path};

use jsonschema::Validator;
use proptest::{collection::vec, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Value, json};

use crate::{NodeSpec, ParameterSpec, ValueKind, parse_node};

fn shipped() -> Vec<NodeSpec> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/nodes");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|suffix| suffix == "toml"));
    files
        .map(|path| parse_node(&fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

fn validator(node: &NodeSpec) -> Validator {
    let document = node.schema_document();
    jsonschema::meta::validate(&document).unwrap_or_else(|error| panic!("{}: {error}", node.name));
    jsonschema::draft202012::new(&document).unwrap_or_else(|error| panic!("{}: {error}", node.name))
}

/// Values that lie on, just inside and just outside of what a parameter takes, and such as no parameter takes.
fn values(parameter: &ParameterSpec) -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(""),
        json!("a"),
        json!("/v/a.mp4"),
        json!("${{ stages.a.b.output.c }}"),
        json!(" ${{}} "),
        json!("${{}"),
        json!(0),
        json!(4.0),
        json!(1.5),
        json!(-1),
        json!(1e300),
        json!(true),
        json!({}),
        json!({"a": 1}),
        json!([]),
        json!(["a"]),
        json!([0, 1, 2, 3]),
        json!([0, "a", null]),
        json!([["a"], {}]),
    ];
    for limit in [parameter.min, parameter.max].into_iter().flatten() {
        for number in [limit, limit - 1.0, limit + 1.0, limit + 0.5] {
            values.extend([json!(number), json!([number]), json!(number as i64)]);
        }
    }
    for limit in [parameter.min_length, parameter.max_length].into_iter().flatten() {
        for length in [limit.saturating_sub(1), limit, limit + 1].map(|length| length.min(5000)) {
            values.extend([
                json!("é".repeat(length)),
                json!(vec![1; length]),
                json!(vec!["a"; length]),
            ]);
        }
    }
    for allowed in &parameter.allowed {
        values.push(allowed.clone());
        values.extend(allowed.as_f64().map(|number| json!(number)));
    }
    values.extend(parameter.default.clone());
    values
}

/// The node's example with up to four of its names changed or removed, or as many names alone.
fn inputs(node: &NodeSpec) -> impl Strategy<Value = Map<String, Value>> + use<> {
    let choices: Vec<(String, Value)> = node
        .parameters
        .iter()
        .flat_map(|parameter| {
            let names: Vec<String> = parameter.names().map(str::to_owned).collect();
            let values = values(parameter);
            names
                .into_iter()
                .flat_map(move |name| values.clone().into_iter().map(move |value| (name.clone(), value)))
        })
        .chain([("no_parameter".to_owned(), json!([1]))])
        .collect();
    let example = node.example.as_ref().map(|example| example.input.clone());
    let example = example.unwrap_or_default();
    (any::<bool>(), vec((select(choices), prop::bool::weighted(0.15)), 0..5)).prop_map(
        move |(from_example, changes)| {
            let mut input = if from_example { example.clone() } else { Map::new() };
            for ((name, value), is_removed) in changes {
                if is_removed {
                    input.remove(&name);
                } else {
                    input.insert(name, value);
                }
            }
            input
        },
    )
}

/// Fails where the schema and the check differ. Returns whether both accept.
fn agree(node: &NodeSpec, validator: &Validator, input: Map<String, Value>) -> Result<bool, TestCaseError> {
    let refusals = node.check_input(&input);
    let input = Value::Object(input);
    let faults: Vec<_> = validator.iter_errors(&input).map(|error| error.to_string()).collect();
    prop_assert_eq!(
        refusals.is_empty(),
        faults.is_empty(),
        "{}: {}: the check says {:?}, the schema {:?}",
        node.name,
        input,
        refusals,
        faults
    );
    Ok(faults.is_empty())
}

#[test]
fn the_schema_of_every_shipped_node_accepts_what_the_check_accepts() {
    let nodes = shipped();
    assert!(nodes.len() >= 26);
    for node in nodes {
        let validator = validator(&node);
        let (mut accepted, mut refused) = (0, 0);
        for parameter in &node.parameters {
            let base = node.example.as_ref().map(|example| example.input.clone());
            for name in parameter.names() {
                for value in values(parameter) {
                    let mut input = base.clone().unwrap_or_default();
                    input.insert(name.to_owned(), value);
                    let is_accepted = agree(&node, &validator, input).unwrap();
                    *(if is_accepted { &mut accepted } else { &mut refused }) += 1;
                }
            }
        }
        assert!(
            accepted > 0 && refused > 0,
            "{}: {accepted} accepted, {refused} refused",
            node.name
        );
        let mut runner = TestRunner::deterministic();
        for _ in 0..200 {
            let input = inputs(&node).new_tree(&mut runner).unwrap().current();
            agree(&node, &validator, input).unwrap();
        }
    }
}

fn kind() -> impl Strategy<Value = ValueKind> {
    use ValueKind::{Array, Boolean, Integer, Number, Object, Path, String};
    select(vec![String, Integer, Number, Boolean, Array, Object, Path])
}

prop_compose! {
    fn parameter()(
        kind in kind(),
        also in vec(kind(), 0..2),
        items in prop::option::of(kind()),
        is_required in any::<bool>(),
        has_alias in any::<bool>(),
        default in prop::option::weighted(0.2, select(vec![json!("a"), json!(2)])),
        allowed in prop::option::weighted(0.2, vec(select(vec![json!("a"), json!("b"), json!(1), json!(2.0)]), 1..3)),
        min in prop::option::of(-2.0..3.0f64),
        max in prop::option::of(1.0..5.0f64),
        lengths in (prop::option::of(0..7usize), prop::option::of(2..9usize)),
        has_fallback in prop::bool::weighted(0.2),
    ) -> Value {
        let mut fields = json!({"type": kind, "also": also, "required": is_required});
        let mut put = |name: &str, value: Value| fields[name] = value;
        for (name, value) in [("items", json!(items)), ("default", json!(default)), ("allowed", json!(allowed)),
            ("min", json!(min)), ("max", json!(max)), ("min_length", json!(lengths.0)), ("max_length", json!(lengths.1))] {
            if !value.is_null() {
                put(name, value);
            }
        }
        if has_fallback {
            put("fallbacks", json!([{"node": "a.first", "field": "x"}]));
        }
        if has_alias {
            put("aliases", json!(["?", "?2"]));
        }
        fields
    }
}

/// A node with three parameters, whose aliases are their own, in up to two groups.
fn node() -> impl Strategy<Value = NodeSpec> {
    let group = vec(select(vec!["p0", "p1", "p2"]), 1..3);
    (vec(parameter(), 3), vec(group, 0..3)).prop_map(|(mut parameters, one_of)| {
        for (at, parameter) in parameters.iter_mut().enumerate() {
            parameter["name"] = json!(format!("p{at}"));
            if let Some(aliases) = parameter.get_mut("aliases") {
                *aliases = json!([format!("q{at}"), format!("r{at}")]);
            }
        }
        let node = json!({"name": "a.b", "runner": {"command": ["true"]}, "parameters": parameters, "one_of": one_of});
        serde_json::from_value(node).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_schema_of_any_node_accepts_what_the_check_accepts(
        (node, inputs) in node().prop_flat_map(|node| { let inputs = vec(inputs(&node), 12); (Just(node), inputs) })
    ) {
        let validator = validator(&node);
        for input in inputs {
            agree(&node, &validator, input)?;
        }
    }
}

#[test]
fn a_parameter_reads_like_its_specification() {
    let node = parse_node(
        r#"
        name = "demo.node"
        purpose = "Does it."
        runner = { command = ["true"] }
        one_of = [["inline", "file"]]
        [[parameters]]
        name = "count"
        type = "integer"
        required = true
        min = 1
        max = 9
        meaning = "How many"
        [[parameters]]
        name = "format"
        type = "string"
        allowed = ["wav", "flac"]
        default = "wav"
        [[parameters]]
        name = "audio"
        type = "path"
        required = true
        aliases = ["sound"]
        fallbacks = [{ node = "ffmpeg.extract_audio", field = "audio_path" }]
        [[parameters]]
        name = "inline"
        type = "array"
        items = "number"
        [[parameters]]
        name = "file"
        type = "path"
        "#,
    )
    .unwrap();
    let schema = node.schema_document();
    let count = &schema["properties"]["count"];
    assert_eq!(count["description"], "How many.");
    assert_eq!(
        count["anyOf"][0],
        json!({"type": "integer", "minimum": 1, "maximum": 9})
    );
    let format = &schema["properties"]["format"];
    assert_eq!(format["anyOf"][0]["enum"], json!(["wav", "flac"]));
    assert_eq!(format["anyOf"][2], json!({"type": "null"}));
    assert_eq!(format["default"], "wav");
    let audio = &schema["properties"]["audio"];
    assert_eq!((&audio["format"], &audio["minLength"]), (&json!("path"), &json!(1)));
    assert_eq!(audio["x-fallbacks"], json!(["ffmpeg.extract_audio.output.audio_path"]));
    assert_eq!(audio["x-aliases"], json!(["sound"]));
    assert_eq!(
        schema["required"],
        json!(["count"]),
        "what an earlier stage may give is not required"
    );
    assert!(
        schema.get("additionalProperties").is_none(),
        "unknown names are let through"
    );
}
