//! `Range: bytes=...` of a request.

/// First byte and the one after the last, of the first range asked for; None when it lies outside.
pub fn byte_range(header: &str, length: u64) -> Option<(u64, u64)> {
    let Some(range) = header
        .strip_prefix("bytes=")
        .and_then(|ranges| ranges.split(',').next())
    else {
        return Some((0, length));
    };
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(length)),
        (Ok(first), Err(_)) if last.is_empty() => (first, length),
        (Err(_), Ok(suffix)) if first.is_empty() => (length.saturating_sub(suffix), length),
        _ => return None,
    };
    (first < last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        assert_eq!(byte_range("bytes=0-3", 10), Some((0, 4)));
        assert_eq!(byte_range("bytes=4-", 10), Some((4, 10)));
        assert_eq!(byte_range("bytes=-3", 10), Some((7, 10)));
        assert_eq!(byte_range("bytes=-30", 10), Some((0, 10)));
        assert_eq!(byte_range("bytes=5-99", 10), Some((5, 10)));
        for outside in ["bytes=10-", "bytes=5-3", "bytes=-0", "bytes=x-y", "bytes=7"] {
            assert_eq!(byte_range(outside, 10), None, "{outside}");
        }
        assert_eq!(byte_range("bytes=-5", 0), None);
    }
}
