//! Links that need no token.

use serde::{Deserialize, Serialize};

use onceover_types::Timestamp;

/// Answer of `GET /v1/links`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SignedLink {
    /// A URL that opens the path for reading without anything added: in `EventSource`, `<a href>` or curl.
    pub url: String,
    /// When the URL expires; null where the daemon needs no token, so that the URL has no signature.
    pub expires_at: Option<Timestamp>,
}
