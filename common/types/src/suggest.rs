//! Finds the name that a misspelt one was meant to be.

/// Returns the candidate that `name` most likely stands for, by edit distance; case and the characters between words do
/// not count. Returns `None` when none is near.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().nth(LONGEST).is_some() {
        return None;
    }
    let asked = words(name);
    let near = candidates.into_iter().filter_map(|candidate| {
        let known = words(candidate);
        let distance = strsim::damerau_levenshtein(&asked, &known);
        let longer = asked.chars().count().max(known.chars().count());
        let extends = || is_extended(&asked, &known) || is_extended(&known, &asked);
        match distance {
            distance if distance <= longer / 3 => Some((distance, candidate)),
            // `video` for `video_path`, `reuse_mode` for `reuse`.
            distance if extends() => Some((distance + longer, candidate)),
            _ => None,
        }
    });
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Finds the node that was meant: by its whole name, else by its method alone.
pub fn closest_node<'a>(name: &str, nodes: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    closest(name, nodes.clone()).or_else(|| {
        let method = |node: &'a str| node.split_once('.').map_or(node, |(_, method)| method);
        let asked = name.rsplit(['.', ':', '/']).next().unwrap_or(name);
        let meant = closest(asked, nodes.clone().into_iter().map(method))?;
        nodes.into_iter().find(|node| method(node) == meant)
    })
}

/// Returns `; did you mean sample_rate?`, or nothing where no candidate is near.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, candidates).map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}

/// Longest name that is compared; a longer one is no misspelling.
const LONGEST: usize = 64;

fn words(name: &str) -> String {
    // `inputData` is `input_data`.
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    letters.map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether `longer` is `shorter` with something before or after it.
fn is_extended(shorter: &str, longer: &str) -> bool {
    shorter.chars().count() >= 4 && (longer.starts_with(shorter) || longer.ends_with(shorter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_the_one_that_was_meant() {
        let fields = ["task_name", "task_id", "input_data", "callback", "reuse"];
        for (name, meant) in [
            ("inputData", Some("input_data")),
            ("input-data", Some("input_data")),
            ("tsak_id", Some("task_id")),
            ("Reuse", Some("reuse")),
            ("reuse_mode", Some("reuse")),
            ("task", Some("task_id")),
            ("webhook", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(name, fields), meant, "{name}");
        }
        let parameters = ["sample_rate", "video_path", "keyframe_sample_count"];
        assert_eq!(closest("smaple_rate", parameters), Some("sample_rate"));
        assert_eq!(closest("video", parameters), Some("video_path"));
        assert_eq!(closest("state", ["status", "node", "search"]), Some("status"));
        assert_eq!(closest(&"sample_rate".repeat(10_000), parameters), None);
        assert_eq!(did_you_mean("smaple_rate", parameters), "; did you mean sample_rate?");
    }

    #[test]
    fn a_node_is_found_by_its_method_too() {
        let nodes = [
            "ffmpeg.extract_audio",
            "ffmpeg.extract_keyframes",
            "funasr.transcribe_audio",
        ];
        for (name, meant) in [
            ("ffmpeg.extract_audo", Some("ffmpeg.extract_audio")),
            ("ffmpeg:extract_audio", Some("ffmpeg.extract_audio")),
            ("extract_audio", Some("ffmpeg.extract_audio")),
            ("ffmpeg.keyframes", Some("ffmpeg.extract_keyframes")),
            ("media.extract_audio", Some("ffmpeg.extract_audio")),
            ("*", None),
            ("test.nope", None),
        ] {
            assert_eq!(closest_node(name, nodes), meant, "{name}");
        }
    }
}
