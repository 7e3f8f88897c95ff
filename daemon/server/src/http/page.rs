//! What pages of lists have in common: how long one may be, and the cursor that leads to the next.

use std::{fmt::Display, str::FromStr};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use onceover_types::Problem;

use super::ApiError;
use crate::services::lists::{ListPosition, ListRange};

/// Items on a page: 1 to 500, 50 where a request does not say.
pub fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    let limit = asked.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(Problem::invalid_field("limit", "it must be from 1 to 500").into());
    }
    Ok(limit)
}

/// The part of a list that a request asks for.
pub fn range<T: FromStr>(limit: u32, cursor: Option<&str>) -> Result<ListRange<T>, ApiError> {
    let after = cursor.map(read_cursor).transpose()?;
    Ok(ListRange { limit, after })
}

/// The cursor that goes on after this place.
pub fn write_cursor<T: Display>((score, id): &ListPosition<T>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{score}:{id}"))
}

/// The place that a cursor goes on after.
pub fn read_cursor<T: FromStr>(cursor: &str) -> Result<ListPosition<T>, ApiError> {
    let read = || {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (score, id) = text.split_once(':')?;
        Some((score.parse().ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| Problem::invalid_field("cursor", "it is not a next_cursor of an earlier page").into())
}
