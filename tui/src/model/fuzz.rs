//! Fuzz target of the language of filters, which people type.

use onceover_fuzz::fuzz;

use super::filter::Filter;

#[test]
fn fuzz_filters() {
    let words = &[
        "(",
        ")",
        "not ",
        " or ",
        "status:",
        "node:",
        "age>",
        "\"",
        "1h",
        "-",
        ":",
        "\u{1F3AC}",
    ];
    fuzz("filters", words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match Filter::parse(&text) {
            Ok(None) => assert!(text.trim().is_empty()),
            Ok(Some(_)) => {}
            // The position is one of the text, so that it can be marked.
            Err(error) => assert!(error.position <= text.chars().count() + 1, "{text}: {error:?}"),
        }
    });
}
