//! How whole answers travel: not at all where the client has the same one already (`ETag`), and compressed where it reads
//! gzip. Streams, ranges and files go as they are.

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response as HttpResponse, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate},
};

use crate::{http::ApiError, shared_body::SharedBody};

/// Smaller answers fit into a packet as they are.
const SMALLEST_COMPRESSED: u64 = 1024;
/// What is compressed: text that is made here or is a part of the description's page.
const COMPRESSED_TYPES: [&str; 6] = [
    "application/json",
    "application/problem+json",
    "application/javascript",
    "text/javascript",
    "text/css",
    "text/html",
];
/// Characters of an entity tag: 128 bits of the answer's hash.
const TAG_LENGTH: usize = 32;

/// Whether an answer is whole: in memory, and no file or a part of one.
fn is_whole<B: HttpBody>(response: &HttpResponse<B>) -> bool {
    let has = |name| response.headers().contains_key(name);
    response.body().size_hint().exact().is_some()
        && !has(header::ACCEPT_RANGES)
        && !has(header::CONTENT_RANGE)
        && !has(header::CONTENT_DISPOSITION)
}

fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    kind.unwrap_or_default().trim()
}

impl IntoResponse for SharedBody {
    /// Sends it as JSON. The body itself goes along, because it knows its hash.
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        let mut response = ([(header::CONTENT_TYPE, json)], self.bytes()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Decides which answers are compressed.
#[derive(Clone)]
pub struct Compressible;

impl Predicate for Compressible {
    fn should_compress<B: HttpBody>(&self, response: &HttpResponse<B>) -> bool {
        is_whole(response)
            && response.body().size_hint().lower() >= SMALLEST_COMPRESSED
            && COMPRESSED_TYPES.contains(&media_type(response.headers()))
    }
}

/// Compresses answers for clients that have asked for it, as [`only_gzip`] has left it standing.
pub fn compression() -> CompressionLayer<Compressible> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(Compressible)
}

/// Reduces `Accept-Encoding` to what is spoken here. A client that takes nothing of it gets the answer as it is: what it asked
/// for has been done by then, so that a 406 would be untrue.
pub async fn only_gzip(mut request: Request) -> Request {
    if request.headers().contains_key(header::ACCEPT_ENCODING) {
        let takes = takes_gzip(request.headers());
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        if takes {
            let gzip = HeaderValue::from_static("gzip");
            request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
        }
    }
    request
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (mut named, mut any) = (None, None);
    for coding in codings {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().to_ascii_lowercase();
        let wanted = !weight.strip_prefix("q=").is_some_and(is_zero);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => named = Some(wanted),
            "*" => any = Some(wanted),
            _ => {}
        }
    }
    named.or(any).unwrap_or(false)
}

fn is_zero(weight: &str) -> bool {
    weight.parse().is_ok_and(|weight: f32| weight == 0.0)
}

fn is_taggable(response: &Response) -> bool {
    let has = |name| response.headers().contains_key(name);
    response.status() == StatusCode::OK
        && media_type(response.headers()) == "application/json"
        && is_whole(response)
        && !has(header::ETAG)
        // Not even the client keeps this one.
        && !has(header::CACHE_CONTROL)
}

/// Gives every JSON answer to a read a weak tag over all its bytes, so that none can be stale, and answers 304 to a client
/// that names it.
pub async fn revalidate(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let known: Vec<_> = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .cloned()
        .collect();
    let response = next.run(request).await;
    if !is_taggable(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        let detail = "the answer could not be read to its end";
        return ApiError(Problem::new(ProblemKind::Internal, detail)).into_response();
    };
    let shared = parts.extensions.remove::<SharedBody>();
    let hash = shared.map_or_else(|| blake3::hash(&bytes), |body| body.hash());
    let hash = hash.to_hex();
    let opaque = format!("\"{}\"", &hash[..TAG_LENGTH]);
    if let Ok(tag) = HeaderValue::from_str(&format!("W/{opaque}")) {
        parts.headers.insert(header::ETAG, tag);
    }
    // To be kept, but asked about before each use, and by nobody in between.
    let private = HeaderValue::from_static("private, no-cache");
    parts.headers.insert(header::CACHE_CONTROL, private);
    let same = known
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| names_tag(tags, Some(&opaque)));
    if same {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Whether a list of entity tags names this one, given without `W/`.
pub fn names_tag(tags: &str, etag: Option<&str>) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|tag| Some(opaque(tag).as_str()) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_compared_weakly() {
        for (tags, same) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(names_tag(tags, Some("\"a\"")), same, "{tags}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_alone_who_take_it() {
        for (accept, takes) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br, GZIP;q=0.5", true),
            ("*", true),
            ("identity;q=0, *", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*;q=0", false),
            ("identity", false),
            ("br", false),
            ("identity;q=0", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accept))]);
            assert_eq!(takes_gzip(&headers), takes, "{accept}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn whole_text_of_some_length_is_compressed_and_nothing_else() {
        let answer = |kind: &str, more: Option<(header::HeaderName, &str)>, length: usize| {
            let mut answer = HttpResponse::builder().header(header::CONTENT_TYPE, kind);
            if let Some((name, value)) = more {
                answer = answer.header(name, value);
            }
            Compressible.should_compress(&answer.body(Body::from(vec![b'x'; length])).unwrap())
        };
        assert!(answer("application/json", None, 1024));
        assert!(answer("application/problem+json", None, 5000));
        assert!(answer("text/html; charset=utf-8", None, 5000));
        assert!(!answer("application/json", None, 1023));
        assert!(!answer("text/event-stream", None, 5000));
        assert!(!answer("text/plain; charset=utf-8", None, 5000));
        assert!(!answer("video/mp4", None, 5000));
        for header in [
            header::ACCEPT_RANGES,
            header::CONTENT_RANGE,
            header::CONTENT_DISPOSITION,
        ] {
            assert!(!answer("application/json", Some((header, "x")), 5000));
        }
        let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b'x'; 5000]))]);
        let stream = HttpResponse::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from_stream(stream));
        assert!(!Compressible.should_compress(&stream.unwrap()), "a stream");
    }
}
