//! Names that clients choose, as answers and errors show them.

/// Characters of a field's name that are shown.
const LONGEST_FIELD: usize = 100;

/// Returns the name of a field as it may be shown: a long one is cut.
pub fn shortened(field: &str) -> String {
    match field.char_indices().nth(LONGEST_FIELD) {
        Some((end, _)) => format!("{}...", &field[..end]),
        None => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        assert_eq!(shortened("task_id"), "task_id");
        assert_eq!(shortened(&"é".repeat(10_000)).chars().count(), LONGEST_FIELD + 3);
    }
}
