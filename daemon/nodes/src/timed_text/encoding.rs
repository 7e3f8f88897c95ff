//! Decodes texts: with byte order marks, UTF-16 without one, UTF-8, and older encodings, which are guessed.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes that are checked to find UTF-16 without a mark.
const SAMPLE: usize = 4096;

/// A text and how its encoding became known.
#[derive(Debug, PartialEq)]
pub(super) struct DecodedText {
    pub(super) text: String,
    /// The encoding's name.
    pub(super) encoding: &'static str,
    /// Whether the encoding was guessed: neither the file nor the request names it.
    pub(super) is_guessed: bool,
    /// Whether some bytes are no text in it and became `�`.
    pub(super) is_damaged: bool,
}

/// Decodes with the given encoding, a label such as `gbk`, else with the one that is found. The error is a sentence's
/// second half.
pub(super) fn decode(bytes: &[u8], label: Option<&str>) -> Result<DecodedText, String> {
    let label = label
        .map(str::trim)
        .filter(|label| !label.is_empty() && !label.eq_ignore_ascii_case("auto"));
    if let Some(label) = label {
        let encoding = Encoding::for_label(label.as_bytes()).ok_or_else(|| {
            format!(
                "'{label}' is no encoding that is known; use a name such as utf-8, gbk, big5, shift_jis or windows-1251"
            )
        })?;
        return Ok(decoded(bytes, encoding, false));
    }
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Ok(decoded(bytes, encoding, false));
    }
    if let Some(encoding) = unmarked_utf16(bytes) {
        return Ok(decoded(bytes, encoding, true));
    }
    if std::str::from_utf8(bytes).is_ok() {
        return Ok(decoded(bytes, UTF_8, false));
    }
    if is_damaged_utf8(bytes) {
        return Ok(decoded(bytes, UTF_8, true));
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(bytes, true);
    Ok(decoded(bytes, detector.guess(None, Utf8Detection::Deny), true))
}

fn decoded(bytes: &[u8], encoding: &'static Encoding, is_guessed: bool) -> DecodedText {
    let (text, encoding, is_damaged) = encoding.decode(bytes);
    DecodedText {
        text: clean(&text),
        encoding: encoding.name(),
        is_guessed,
        is_damaged,
    }
}

/// Removes further marks at the start, and NULs, which some programs leave.
fn clean(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}');
    if text.contains('\0') {
        text.replace('\0', "")
    } else {
        text.to_owned()
    }
}

/// Detects UTF-16 of mostly Latin text or with line ends: every second byte of many is zero.
fn unmarked_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let zeros = |first: usize| sample.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), sample.len() / 2);
    if pairs < 2 {
        return None;
    }
    // Digits, blanks and line ends of the times are a large part of any subtitle file.
    if odd * 4 >= pairs && even * 20 <= odd {
        Some(UTF_16LE)
    } else if even * 4 >= pairs && odd * 20 <= even {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Whether it is UTF-8 with a few damaged bytes and not another encoding: most of what is not ASCII is valid.
fn is_damaged_utf8(bytes: &[u8]) -> bool {
    let (mut sound, mut broken) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        sound += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    broken > 0 && sound >= broken * 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> (String, &'static str, bool) {
        let decoded = decode(bytes, None).unwrap();
        (decoded.text, decoded.encoding, decoded.is_guessed)
    }

    fn utf16(text: &str, bytes: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn marks_decide_and_utf16_is_found_without_one() {
        let text = "1\n00:00:01,000 --> 00:00:02,000\n你好，世界\n";
        assert_eq!(of(text.as_bytes()), (text.into(), "UTF-8", false));
        assert_eq!(
            of(format!("\u{feff}\u{feff}{text}").as_bytes()),
            (text.into(), "UTF-8", false)
        );
        let marked = format!("\u{feff}{text}");
        assert_eq!(of(&utf16(&marked, u16::to_le_bytes)), (text.into(), "UTF-16LE", false));
        assert_eq!(of(&utf16(&marked, u16::to_be_bytes)), (text.into(), "UTF-16BE", false));
        assert_eq!(of(&utf16(text, u16::to_le_bytes)), (text.into(), "UTF-16LE", true));
        assert_eq!(of(&utf16(text, u16::to_be_bytes)), (text.into(), "UTF-16BE", true));
        assert_eq!(of(b"").0, "");
        assert_eq!(of(b"a\0b").0, "ab");
    }

    #[test]
    fn older_encodings_are_guessed_and_a_label_overrides() {
        for (label, text) in [
            ("gbk", "你好，世界。我们在家里等你。"),
            ("big5", "你好，世界。我們在家裡等你。"),
            ("shift_jis", "こんにちは、世界。"),
            ("windows-1251", "Привет, мир! Как дела?"),
            ("windows-1252", "C’est déjà l’été, n’est-ce pas?"),
        ] {
            let encoding = Encoding::for_label(label.as_bytes()).unwrap();
            let (bytes, ..) = encoding.encode(text);
            let (guessed, _, is_guessed) = of(&bytes);
            assert_eq!((guessed.as_str(), is_guessed), (text, true), "{label}");
            let told = decode(&bytes, Some(label)).unwrap();
            assert_eq!(
                (told.text.as_str(), told.is_guessed, told.is_damaged),
                (text, false, false)
            );
        }
        assert!(
            decode(b"x", Some("klingon"))
                .unwrap_err()
                .contains("'klingon' is no encoding")
        );
        assert_eq!(decode(b"x", Some(" auto ")).unwrap().encoding, "UTF-8");
    }

    #[test]
    fn one_broken_byte_does_not_make_utf8_another_encoding() {
        let mut bytes = "Привет, мир! Как дела?".as_bytes().to_vec();
        bytes[3] = 0xff;
        let decoded = decode(&bytes, None).unwrap();
        assert_eq!(
            (decoded.encoding, decoded.is_guessed, decoded.is_damaged),
            ("UTF-8", true, true)
        );
        assert!(decoded.text.ends_with("Как дела?"));
    }
}
