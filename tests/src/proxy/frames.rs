//! Requests and replies of Redis as they pass on a connection.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The file that a script ends with; the store may have put it into a function.
pub(super) fn script_name(text: &str) -> Option<String> {
    let text = text.strip_suffix("\nend)()\n").unwrap_or(text);
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/store/src/lua");
    let folders = fs::read_dir(folder).ok()?.flatten();
    let files = folders
        .filter_map(|folder| fs::read_dir(folder.path()).ok())
        .flat_map(|folder| folder.flatten().map(|file| file.path()));
    let named = files.filter_map(|path| {
        let content = fs::read_to_string(&path).ok()?;
        let name = path.file_stem()?.to_str()?.to_owned();
        text.ends_with(&content).then_some((content.len(), name))
    });
    named.max().map(|(_, name)| name)
}

/// The words of a request: an array of bulk strings.
pub(super) fn words(request: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let Some((_, mut at)) = line(request, 0) else {
        return words;
    };
    while let Some((length, start)) = line(request, at) {
        let end = start + usize::try_from(length).unwrap_or_default();
        words.push(&request[start..end.min(request.len())]);
        at = end + 2;
    }
    words
}

/// Takes the first whole frame (request or reply) from what has arrived.
pub(super) fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = frame_end(buffer, 0)?;
    let rest = buffer.split_off(end);
    Some(std::mem::replace(buffer, rest))
}

/// Number in the line that begins at `at`, and where the next line begins.
fn line(buffer: &[u8], at: usize) -> Option<(i64, usize)> {
    let end = at + buffer.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(buffer.get(at + 1..end)?).ok();
    Some((number.and_then(|text| text.parse().ok()).unwrap_or(-1), end + 2))
}

fn frame_end(buffer: &[u8], at: usize) -> Option<usize> {
    let kind = *buffer.get(at)?;
    let (number, next) = line(buffer, at)?;
    let members = match kind {
        b'$' | b'!' | b'=' if number >= 0 => {
            let end = next + usize::try_from(number).ok()? + 2;
            return (end <= buffer.len()).then_some(end);
        }
        b'*' | b'~' | b'>' => number.max(0),
        b'%' => number.max(0) * 2,
        _ => 0,
    };
    (0..members).try_fold(next, |at, _| frame_end(buffer, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole_and_one_by_one() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n%1\r\n+k\r\n*-1\r\n>2\r\n:1\r\n$-1\r\n_\r\n".to_vec();
        let mut cut = whole[..15].to_vec();
        assert_eq!(take_frame(&mut cut), None);
        let mut buffer = whole;
        let frames: Vec<_> = std::iter::from_fn(|| take_frame(&mut buffer)).collect();
        let starts: Vec<_> = frames.iter().map(|frame| frame[0]).collect();
        assert_eq!(starts, b"*%>_");
        assert_eq!(words(&frames[0]), [b"GET".as_slice(), b"a"]);
    }
}
