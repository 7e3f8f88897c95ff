//! Writes words and addresses as a shell reads them, for commands that the user copies.

/// Writes a text as one word of a shell.
pub fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Writes the address of a path of the daemon, as one word of a shell.
pub fn quote_url(daemon: &str, path: &str) -> String {
    quote(&format!("{}{path}", daemon.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_word_of_a_shell() {
        for (text, word) in [
            ("lecture-07", "lecture-07"),
            ("http://127.0.0.1:8788", "http://127.0.0.1:8788"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(id)", "'$(id)'"),
            ("", "''"),
        ] {
            assert_eq!(quote(text), word);
        }
        assert_eq!(quote_url("http://a:1/", "/v1/tasks"), "http://a:1/v1/tasks");
    }
}
