//! The nodes that the daemon ships, with the files of their programs.

use include_dir::{Dir, include_dir};

use crate::{Catalog, parse_node};

/// `assets/nodes`: a node file a node; a folder a service, with the programs of its nodes.
pub static ASSETS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../assets/nodes");

/// Returns the texts of the node files, by name of file.
fn shipped_files() -> impl Iterator<Item = &'static str> {
    ASSETS
        .files()
        .filter(|file| file.path().extension().is_some_and(|suffix| suffix == "toml"))
        .map(|file| file.contents_utf8().expect("node files are text"))
}

/// Builds the catalog without what the configuration adds.
pub fn shipped() -> Catalog {
    let mut catalog = Catalog::default();
    for text in shipped_files() {
        catalog.insert(parse_node(text).expect("shipped node files are read by a test"));
    }
    catalog
}

#[cfg(test)]
mod tests {
    use onceover_types::RunnerKind;

    use super::*;
    use crate::{Fallback, NodeSpec};

    /// By service, as the older system names them; its utility tasks are no nodes.
    const OF_THE_OLDER_SYSTEM: [(&str, &str); 9] = [
        (
            "ffmpeg",
            "extract_keyframes extract_audio crop_subtitle_images split_audio_segments",
        ),
        ("faster_whisper", "transcribe_audio"),
        ("qwen3_asr", "transcribe_audio"),
        ("funasr", "transcribe_audio"),
        ("audio_separator", "separate_vocals"),
        (
            "pyannote_audio",
            "diarize_speakers get_speaker_segments validate_diarization",
        ),
        (
            "paddleocr",
            "detect_subtitle_area create_stitched_images perform_ocr postprocess_and_finalize",
        ),
        ("indextts", "generate_speech"),
        (
            "wservice",
            "generate_subtitle_files correct_subtitles ai_optimize_text translate_subtitles rebuild_subtitle_with_words \
             merge_speaker_segments merge_with_word_timestamps merge_speaker_based_subtitles prepare_tts_segments \
             segment_subtitles",
        ),
    ];

    #[test]
    fn every_node_of_the_older_system_is_shipped() {
        let catalog = shipped();
        let methods = |(service, methods): &(&str, &str)| -> Vec<String> {
            methods
                .split_whitespace()
                .map(|method| format!("{service}.{method}"))
                .collect()
        };
        let missing: Vec<_> = OF_THE_OLDER_SYSTEM
            .iter()
            .flat_map(methods)
            .filter(|name| catalog.get(name).is_none())
            .collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn every_node_that_runs_a_model_says_which_engine_and_model_made_its_result() {
        let catalog = shipped();
        // Python is what runs models; the nodes in Rust that ask one let a request name its provider.
        let runs_a_model =
            |node: &&NodeSpec| node.runner.kind() == RunnerKind::Python || node.parameter("provider").is_some();
        let nodes: Vec<_> = catalog.iter().filter(runs_a_model).collect();
        assert!(nodes.len() >= 11, "{}", nodes.len());
        for node in nodes {
            for name in ["engine", "model_name"] {
                let is_declared = node.outputs.iter().any(|output| output.name == name);
                assert!(is_declared, "{} has no output {name}", node.name);
            }
        }
    }

    #[test]
    fn nodes_that_need_a_transcript_take_that_of_the_task() {
        let catalog = shipped();
        let needed: Vec<_> = catalog
            .iter()
            .flat_map(|node| node.parameters.iter().map(move |parameter| (node, parameter)))
            .filter(|(_, parameter)| parameter.name == "segments_file" && parameter.required)
            .collect();
        let names: Vec<_> = needed.iter().map(|(node, _)| node.name.as_str()).collect();
        assert!(names.contains(&"wservice.translate_subtitles"), "{names:?}");
        for (node, parameter) in needed {
            for transcribing in ["faster_whisper", "funasr", "qwen3_asr"] {
                let source = format!("{transcribing}.transcribe_audio");
                let takes = |fallback: &Fallback| fallback.node.as_str() == source && fallback.field == "segments_file";
                assert!(parameter.fallbacks.iter().any(takes), "{} and {source}", node.name);
            }
        }
    }
}
