//! Fuzz targets of the files that describe nodes and pipelines.

use onceover_fuzz::fuzz;

use crate::{parse_node, pipeline::parse_pipeline};

#[test]
fn fuzz_nodes() {
    let words = &[
        "[[parameters]]",
        "type = \"path\"",
        "default = ",
        "fallbacks = [",
        "runner = {",
        "\n",
        "nan",
        "-1",
        "\"\"\"",
    ];
    fuzz("nodes", words, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(node) = parse_node(text) {
            let _ = node.check_input(&serde_json::Map::new());
        }
    });
}

#[test]
fn fuzz_pipelines() {
    fuzz(
        "pipelines",
        &["[[steps]]", "after = [", "node = ", "weight = ", "\n", "-1", "nan"],
        |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let _ = parse_pipeline(text);
        },
    );
}
