//! Fuzz targets of what requests carry in headers and queries.

use onceover_fuzz::fuzz;

use super::{page, range::byte_range};

#[test]
fn fuzz_ranges() {
    fuzz(
        "ranges",
        &["bytes=", "-", ",", "18446744073709551615", " ", "0"],
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            for length in [0, 1, 1000, u64::MAX] {
                if let Some((first, end)) = byte_range(&text, length) {
                    assert!(first <= end && end <= length, "{text}: {first}..{end} of {length}");
                }
            }
        },
    );
}

#[test]
fn fuzz_cursors() {
    fuzz("cursors", &["MTIz", "=", "-", "_", "fA"], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(place) = page::read_cursor::<onceover_types::TaskId>(&text) {
            let written = page::write_cursor(&place);
            assert_eq!(page::read_cursor::<onceover_types::TaskId>(&written).ok(), Some(place));
        }
    });
}
