//! Errors as texts for people.

use std::error::Error;

/// Returns the error with what caused it, `cannot listen: address in use`. A cause that the text already has is not
/// repeated, so that it does not matter which errors name their sources themselves.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    because(error.to_string(), error.source())
}

/// Returns the text with the cause and what caused that, in the same way.
pub fn because(mut text: String, cause: Option<&(dyn Error + 'static)>) -> String {
    let mut next = cause;
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{what}{}", if *.tells { format!(": {source}; do something else") } else { String::new() })]
    struct Outer {
        what: &'static str,
        tells: bool,
        source: io::Error,
    }

    #[test]
    fn each_cause_is_told_once_whoever_tells_it() {
        let outer = |tells| Outer {
            what: "cannot lock it",
            tells,
            source: io::Error::other("permission denied"),
        };
        assert_eq!(
            causes(&outer(true)),
            "cannot lock it: permission denied; do something else"
        );
        assert_eq!(causes(&outer(false)), "cannot lock it: permission denied");
    }
}
