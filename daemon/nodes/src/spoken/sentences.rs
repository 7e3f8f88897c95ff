//! Where sentences end.

/// Returns where each sentence but the first starts, in bytes. A language that is not known is treated like English.
pub(crate) fn find_sentence_starts(text: &str, language: &str) -> Vec<usize> {
    let mut starts: Vec<_> = sentencex::get_sentence_boundaries(&language.to_lowercase(), text)
        .into_iter()
        .map(|sentence| sentence.start_byte)
        .filter(|start| *start > 0 && *start < text.len() && text.is_char_boundary(*start))
        .collect();
    starts.sort_unstable();
    starts.dedup();
    starts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sentences<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
        let starts = find_sentence_starts(text, language);
        let edges: Vec<_> = [0].into_iter().chain(starts).chain([text.len()]).collect();
        edges.windows(2).map(|edge| text[edge[0]..edge[1]].trim()).collect()
    }

    #[test]
    fn abbreviations_and_numbers_end_no_sentence() {
        for (language, text, expected) in [
            (
                "en",
                "Dr. Lee paid 3.5 dollars. It was ten a.m. already!",
                &["Dr. Lee paid 3.5 dollars.", "It was ten a.m. already!"][..],
            ),
            (
                "zh",
                "他说你好。世界很大！对吗？",
                &["他说你好。", "世界很大！", "对吗？"],
            ),
            ("Chinese", "他说你好。世界很大！", &["他说你好。", "世界很大！"]),
            ("no-such", "One. Two.", &["One.", "Two."]),
            ("en", "", &[""]),
        ] {
            assert_eq!(sentences(text, language), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_cut(text in ".{0,80}|[a-zA-Z .!?\"'()\n。！你]{0,80}", language in "en|zh|ja|de|xx") {
            prop_assert_eq!(sentences(&text, &language).concat().is_empty(), text.trim().is_empty());
        }
    }
}
