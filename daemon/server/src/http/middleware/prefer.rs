//! `Prefer: handling=strict` and `lenient` (RFC 7240): whether a request wants to be refused for a field that nothing
//! reads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue},
    response::Response,
};

use crate::config::UnknownFields;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a request prefers, and whether that was heeded.
#[derive(Clone)]
pub struct Preference {
    unknown_fields: UnknownFields,
    applied: Arc<AtomicBool>,
}

impl Preference {
    /// Reads the preference of a request, and leaves a copy with it for what heeds it. None: it says nothing.
    pub fn read_from(request: &mut Request) -> Option<Self> {
        let preference = Self {
            unknown_fields: asked(request.headers())?,
            applied: Arc::default(),
        };
        request.extensions_mut().insert(preference.clone());
        Some(preference)
    }

    /// Says in the answer whether the preference was heeded.
    pub fn report_in(&self, response: &mut Response) {
        if self.applied.load(Ordering::Relaxed) {
            let heeded = match self.unknown_fields {
                UnknownFields::Refuse => "handling=strict",
                UnknownFields::Warn => "handling=lenient",
            };
            let heeded = HeaderValue::from_static(heeded);
            response.headers_mut().insert(PREFERENCE_APPLIED, heeded);
        }
    }
}

/// What becomes of unknown fields of this request. What the operator has configured to be refused no client can allow.
pub fn unknown_fields(extensions: &Extensions, configured: UnknownFields) -> UnknownFields {
    let Some(preference) = extensions.get::<Preference>() else {
        return configured;
    };
    let heeded = match (configured, preference.unknown_fields) {
        (UnknownFields::Refuse, _) => UnknownFields::Refuse,
        (UnknownFields::Warn, asked) => asked,
    };
    if heeded == preference.unknown_fields {
        preference.applied.store(true, Ordering::Relaxed);
    }
    heeded
}

/// The first `handling` among the preferences, `strict` or `lenient`; another value means nothing.
fn asked(headers: &HeaderMap) -> Option<UnknownFields> {
    let values = headers
        .get_all(PREFER)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split(','));
    let handling = preferences.filter_map(|preference| {
        // Behind a semicolon are parameters of the preference.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("handling")
            .then(|| value.trim().trim_matches('"'))
    });
    match handling.take(1).next()?.to_ascii_lowercase().as_str() {
        "strict" => Some(UnknownFields::Refuse),
        "lenient" => Some(UnknownFields::Warn),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_handling_counts_however_it_is_spelt() {
        for (values, expected) in [
            (&["handling=strict"][..], Some(UnknownFields::Refuse)),
            (
                &["respond-async, Handling = \"STRICT\"; x=1"],
                Some(UnknownFields::Refuse),
            ),
            (
                &["wait=10", "handling=lenient, handling=strict"],
                Some(UnknownFields::Warn),
            ),
            (&["handling=odd"], None),
            (&["strict"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, value.parse().unwrap());
            }
            assert_eq!(asked(&headers), expected, "{values:?}");
        }
    }
}
