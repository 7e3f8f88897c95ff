//! Pictures of frames in a folder: which files they are, in which order, and the numbers in their names.

use std::{cmp::Ordering, path::Path};

use onceover_run::RunError;

const SUFFIXES: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "tiff"];

/// A file that is a frame's picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OcrFrame {
    pub(super) name: String,
    pub(super) number: u64,
}

/// Returns the frames in a folder, in the order of their names as people count (2 before 10), not of their numbers.
pub(super) fn list(folder: &Path) -> Result<Vec<OcrFrame>, RunError> {
    let cannot = |why: std::io::Error| RunError::of_file(format_args!("cannot read {}", folder.display()), &why);
    let mut frames = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        if let Ok(name) = entry.map_err(cannot)?.file_name().into_string()
            && let Some(number) = number_in(&name)
        {
            frames.push(OcrFrame { name, number });
        }
    }
    frames.sort_by(|a, b| natural(&a.name, &b.name).then_with(|| a.name.cmp(&b.name)));
    Ok(frames)
}

/// Returns the digits right after an underscore, else the first ones; `None` if not the picture of a frame.
fn number_in(name: &str) -> Option<u64> {
    let (stem, suffix) = name.rsplit_once('.')?;
    if !SUFFIXES.iter().any(|known| suffix.eq_ignore_ascii_case(known)) {
        return None;
    }
    let is_digit = |c: char| c.is_ascii_digit();
    let start = stem
        .match_indices('_')
        .map(|(at, _)| at + 1)
        .find(|at| stem[*at..].starts_with(is_digit))
        .or_else(|| stem.find(is_digit))?;
    let digits = &stem[start..];
    let end = digits.find(|c| !is_digit(c)).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Runs of digits as numbers, all else letter by letter without regard to case.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(first), Some(second)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            digits(&mut a).cmp(&digits(&mut b))
        } else {
            a = &a[first.len_utf8()..];
            b = &b[second.len_utf8()..];
            first.to_lowercase().cmp(second.to_lowercase())
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes the number that a text begins with. Without leading zeros, a longer number is larger.
fn digits<'a>(text: &mut &'a str) -> (usize, &'a str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    *text = rest;
    let number = number.trim_start_matches('0');
    (number.len(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_an_underscore_or_come_first() {
        for (name, number) in [
            ("00000011.jpg", Some(11)),
            ("note_7b.png", Some(7)),
            ("v2_frame_0042.JPEG", Some(42)),
            ("v2_frame.bmp", Some(2)),
            ("clip3.tiff", Some(3)),
            ("cover.jpg", None),
            ("00000011.txt", None),
            ("00000011", None),
            ("99999999999999999999.jpg", None),
        ] {
            assert_eq!(number_in(name), number, "{name}");
        }
    }

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = [
            "b.jpg",
            "Frame_10.jpg",
            "frame_9.jpg",
            "frame_009b.jpg",
            "A.jpg",
            "10.jpg",
            "2.jpg",
        ];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "2.jpg",
                "10.jpg",
                "A.jpg",
                "b.jpg",
                "frame_9.jpg",
                "frame_009b.jpg",
                "Frame_10.jpg"
            ]
        );
    }
}
