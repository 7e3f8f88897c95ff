//! Which track of a media file a node reads: the same rule for every node. A request may name one by its number or its
//! language; else it is the track the file marks as its default, else the first. A cover picture is no track.

use serde_json::{Value, json};

use super::probe::{Media, Stream};
use crate::input::Input;
use onceover_run::RunError;

/// What a track holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrackKind {
    Audio,
    Video,
    Subtitle,
}

impl TrackKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Subtitle => "subtitle",
        }
    }

    /// Returns the parameter by which a request names one.
    pub(crate) const fn parameter(self) -> &'static str {
        match self {
            Self::Audio => "audio_track",
            Self::Video => "video_track",
            Self::Subtitle => "subtitle_track",
        }
    }

    /// Returns the track that a request names by that parameter. Results once held a track as an object, which has its
    /// number.
    pub(crate) fn wanted(self, input: &Input<'_>) -> Option<String> {
        match input.value(self.parameter())?.get("track") {
            Some(number) => Some(number.to_string()),
            None => input.text_or_number(self.parameter()),
        }
    }
}

/// A track that was chosen, or could be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Track {
    pub(crate) kind: TrackKind,
    /// Among those of its kind, from 0: what a request says.
    pub(crate) number: usize,
    /// Among all streams of the file, as ffmpeg numbers them.
    pub(crate) stream: u32,
    pub(crate) language: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) codec: Option<String>,
    pub(crate) is_default: bool,
    /// Seconds on the players' clock at which it begins, where the file says.
    pub(crate) start: Option<f64>,
    /// Seconds it lasts, where the file says.
    pub(crate) duration: Option<f64>,
}

impl Track {
    fn new(media: &Media, kind: TrackKind, number: usize, stream: &Stream) -> Self {
        let seconds = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok();
        Self {
            kind,
            number,
            stream: stream.index,
            language: stream
                .tags
                .language
                .clone()
                .filter(|language| !language.is_empty() && language != "und"),
            title: stream.tags.title.clone(),
            codec: stream.codec_name.clone(),
            is_default: stream.disposition.default != 0,
            start: seconds(&stream.start_time).map(|start| start - media.clock_start()),
            duration: seconds(&stream.duration),
        }
    }

    /// Value of `-map`.
    pub(crate) fn map(&self) -> String {
        format!("0:{}", self.stream)
    }

    /// Returns what every output has about a track that was read: its number and, for sound, the language in the file.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (String, Value)> {
        let language = self.language.as_ref().filter(|_| self.kind == TrackKind::Audio);
        let language = language.map(|language| ("audio_language".to_owned(), json!(language)));
        std::iter::once((self.kind.parameter().to_owned(), json!(self.number))).chain(language)
    }

    /// Returns all that is known of it, for `timeline.json` and the lists of `ffmpeg.probe`.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "track": self.number,
            "stream": self.stream,
            "codec": self.codec,
            "language": self.language,
            "default": self.is_default,
            "start": self.start.map(super::timeline::micros),
            "duration": self.duration.map(super::timeline::micros),
        });
        if let Some(title) = &self.title {
            json["title"] = json!(title);
        }
        json
    }

    /// `1 (eng, aac, default)`
    fn in_words(&self) -> String {
        let default = self.is_default.then(|| "default".to_owned());
        let known: Vec<_> = [self.language.clone(), self.codec.clone(), self.title.clone(), default]
            .into_iter()
            .flatten()
            .collect();
        format!("{} ({})", self.number, known.join(", "))
    }

    fn speaks(&self, language: &str) -> bool {
        self.language
            .as_deref()
            .is_some_and(|own| is_same_language(own, language))
    }
}

impl Media {
    /// Returns all tracks of a kind, in the order of the file.
    pub(crate) fn tracks(&self, kind: TrackKind) -> Vec<Track> {
        self.streams_of(kind)
            .enumerate()
            .map(|(number, stream)| Track::new(self, kind, number, stream))
            .collect()
    }

    /// Returns the track that the parameter of its kind names. `file` is for the error.
    pub(crate) fn track_of_request(
        &self,
        kind: TrackKind,
        input: &Input<'_>,
        file: impl std::fmt::Display,
    ) -> Result<Track, RunError> {
        self.track(kind, kind.wanted(input).as_deref(), file)
    }

    /// Returns the track a request names; `None` and `default` leave it to the file. `file` is for the error.
    pub(crate) fn track(
        &self,
        kind: TrackKind,
        wanted: Option<&str>,
        file: impl std::fmt::Display,
    ) -> Result<Track, RunError> {
        let tracks = self.tracks(kind);
        if tracks.is_empty() {
            return Err(RunError::failed(format!("{file} has no {} track", kind.name())));
        }
        let first_or_default = |among: &dyn Fn(&&Track) -> bool| {
            let mut among = tracks.iter().filter(among);
            let first = among.next()?;
            std::iter::once(first)
                .chain(among)
                .find(|track| track.is_default)
                .or(Some(first))
        };
        let wanted = wanted.unwrap_or_default().trim();
        let found = if wanted.is_empty() || wanted.eq_ignore_ascii_case("default") {
            first_or_default(&|_| true)
        } else if let Ok(number) = wanted.parse::<usize>() {
            tracks.get(number)
        } else {
            first_or_default(&|track| track.speaks(wanted))
        };
        found.cloned().ok_or_else(|| {
            let list: Vec<_> = tracks.iter().map(Track::in_words).collect();
            RunError::failed(format!(
                "input_data.{} is '{wanted}', but {file} has no such {} track; it has {}",
                kind.parameter(),
                kind.name(),
                list.join(", ")
            ))
        })
    }
}

/// Codes of the same language: `en`, `eng` and `en-US`; `fre`, `fra` and `fr`.
fn is_same_language(one: &str, other: &str) -> bool {
    let code = |text: &str| {
        let main = text.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        LANGUAGES
            .iter()
            .find(|codes| codes.contains(&main.as_str()))
            .map_or(main, |codes| codes[0].to_owned())
    };
    code(one) == code(other)
}

/// Codes of ISO 639-1 with those of 639-2, bibliographic and terminological, for what media are tagged with.
#[rustfmt::skip]
const LANGUAGES: &[&[&str]] = &[
    &["af", "afr"], &["am", "amh"], &["ar", "ara"], &["az", "aze"], &["be", "bel"], &["bg", "bul"], &["bn", "ben"],
    &["bo", "tib", "bod"], &["bs", "bos"], &["ca", "cat"], &["cs", "cze", "ces"], &["cy", "wel", "cym"], &["da", "dan"],
    &["de", "ger", "deu"], &["el", "gre", "ell"], &["en", "eng"], &["eo", "epo"], &["es", "spa"], &["et", "est"],
    &["eu", "baq", "eus"], &["fa", "per", "fas"], &["fi", "fin"], &["fil", "tl", "tgl"], &["fr", "fre", "fra"],
    &["ga", "gle"], &["gl", "glg"], &["gu", "guj"], &["he", "iw", "heb"], &["hi", "hin"], &["hr", "hrv", "scr"],
    &["hu", "hun"], &["hy", "arm", "hye"], &["id", "in", "ind"], &["is", "ice", "isl"], &["it", "ita"], &["ja", "jpn"],
    &["jv", "jav"], &["ka", "geo", "kat"], &["kk", "kaz"], &["km", "khm"], &["kn", "kan"], &["ko", "kor"], &["la", "lat"],
    &["lo", "lao"], &["lt", "lit"], &["lv", "lav"], &["mk", "mac", "mkd"], &["ml", "mal"], &["mn", "mon"],
    &["mr", "mar"], &["ms", "may", "msa"], &["mt", "mlt"], &["my", "bur", "mya"], &["ne", "nep"], &["nl", "dut", "nld"],
    &["no", "nor"], &["nb", "nob"], &["nn", "nno"], &["pa", "pan"], &["pl", "pol"], &["ps", "pus"], &["pt", "por"],
    &["ro", "rum", "ron"], &["ru", "rus"], &["si", "sin"], &["sk", "slo", "slk"], &["sl", "slv"], &["so", "som"],
    &["sq", "alb", "sqi"], &["sr", "srp", "scc"], &["su", "sun"], &["sv", "swe"], &["sw", "swa"], &["ta", "tam"],
    &["te", "tel"], &["th", "tha"], &["tr", "tur"], &["uk", "ukr"], &["ur", "urd"], &["uz", "uzb"], &["vi", "vie"],
    &["yi", "yid"], &["yue"], &["zh", "chi", "zho", "cmn"], &["zu", "zul"],
];

#[cfg(test)]
mod tests {
    use onceover_catalog::ValueKind;
    use serde_json::json;

    use super::*;
    use crate::fixture::Fixture;

    fn media() -> Media {
        let audio = |index: u32, language: &str, default: u8| {
            json!({"index": index, "codec_type": "audio", "codec_name": "aac", "start_time": "11.5",
                "tags": {"language": language}, "disposition": {"default": default}})
        };
        serde_json::from_value(json!({
            "streams": [
                {"index": 0, "codec_type": "video", "codec_name": "mjpeg", "disposition": {"attached_pic": 1, "default": 1}},
                {"index": 1, "codec_type": "video", "codec_name": "h264"},
                audio(2, "jpn", 0), audio(3, "eng", 0), audio(4, "eng", 1), audio(5, "fre", 0),
            ],
            "format": {"start_time": "10.0"},
        }))
        .unwrap()
    }

    fn stream(kind: TrackKind, wanted: Option<&str>) -> u32 {
        media().track(kind, wanted, "a.mkv").unwrap().stream
    }

    #[test]
    fn a_track_is_named_by_number_or_language_and_else_the_default_or_the_first() {
        for (wanted, expected) in [
            (None, 4),
            (Some("default"), 4),
            (Some(""), 4),
            (Some("0"), 2),
            (Some("3"), 5),
            (Some("jpn"), 2),
            (Some("JA"), 2),
            (Some("en-US"), 4),
            (Some("fra"), 5),
            (Some("fr"), 5),
        ] {
            assert_eq!(stream(TrackKind::Audio, wanted), expected, "{wanted:?}");
        }
        // The cover comes first and is marked as the default.
        assert_eq!(stream(TrackKind::Video, None), 1);
        assert_eq!(stream(TrackKind::Video, Some("0")), 1);
        assert_eq!(media().tracks(TrackKind::Audio)[0].start, Some(1.5));
    }

    #[test]
    fn every_node_tells_a_track_by_its_number_and_the_former_object_is_still_read() {
        for node in onceover_catalog::shipped::shipped().iter() {
            for output in &node.outputs {
                if [TrackKind::Audio, TrackKind::Video]
                    .map(TrackKind::parameter)
                    .contains(&output.name.as_str())
                {
                    assert_eq!(output.kind, ValueKind::Integer, "{} of {}", output.name, node.name);
                }
            }
        }
        let track = media().track(TrackKind::Audio, Some("fr"), "a.mkv").unwrap();
        let fields: Vec<_> = track.fields().collect();
        let expected = [("audio_track", json!(3)), ("audio_language", json!("fre"))];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value)));
        let fixture = Fixture::with_input(
            "paddleocr.postprocess_and_finalize",
            |_| json!({"ocr_results_path": "/a", "video_path": "/b", "video_track": track.json()}),
        );
        assert_eq!(TrackKind::Video.wanted(&Input(&fixture.context)).as_deref(), Some("3"));
    }

    #[test]
    fn programs_of_nodes_know_the_same_languages() {
        const PYTHON: &str = include_str!("../../../../assets/nodes/onceover_sound.py");
        let (_, table) = PYTHON.split_once("LANGUAGES = (").unwrap();
        let (table, _) = table.split_once(')').unwrap();
        let all: String = table.lines().map(|line| line.trim().trim_matches('"')).collect();
        let ours: Vec<_> = LANGUAGES.iter().map(|codes| codes.join(" ")).collect();
        assert_eq!(all, ours.join("|"));
    }

    #[test]
    fn a_track_that_is_not_there_is_refused_with_those_that_are() {
        let why = |kind, wanted| media().track(kind, Some(wanted), "a.mkv").unwrap_err().to_string();
        assert_eq!(
            why(TrackKind::Audio, "spa"),
            "input_data.audio_track is 'spa', but a.mkv has no such audio track; it has 0 (jpn, aac), 1 (eng, aac), \
             2 (eng, aac, default), 3 (fre, aac)"
        );
        assert!(why(TrackKind::Video, "1").contains("it has 0 (h264)"));
    }
}
