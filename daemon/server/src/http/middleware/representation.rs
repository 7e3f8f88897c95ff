//! How whole answers travel: not at all where the client has the same one already (`ETag`), and compressed where it reads
//! gzip. Streams, ranges and files go as they are.

use std::{
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::{Body, HttpBody, to_bytes},
    extract::Request,
    handler::Handler,
    http::{HeaderMap, HeaderValue, Method, Response as HttpResponse, StatusCode, header},
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind};
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, Predicate},
};
use xxhash_rust::xxh3::xxh3_128;

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
        is_compressible(response)
    }
}

fn is_compressible<B: HttpBody>(response: &HttpResponse<B>) -> bool {
    response.body().size_hint().lower() >= SMALLEST_COMPRESSED
        && is_whole(response)
        && COMPRESSED_TYPES.contains(&media_type(response.headers()))
        && !response.headers().contains_key(header::CONTENT_ENCODING)
}

fn compression() -> CompressionLayer<Compressible> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(Compressible)
}

/// Compresses an answer if its client takes gzip, and says of one that could be compressed that it depends on that.
pub async fn compress(mut response: Response, takes_gzip: bool) -> Response {
    if !is_compressible(&response) {
        return response;
    }
    if !takes_gzip {
        let names_it = |value: &HeaderValue| {
            let text = value.to_str().unwrap_or_default();
            text.to_ascii_lowercase().contains(header::ACCEPT_ENCODING.as_str())
        };
        if !response.headers().get_all(header::VARY).iter().any(names_it) {
            let depends = HeaderValue::from_static("accept-encoding");
            response.headers_mut().append(header::VARY, depends);
        }
        return response;
    }
    // The layer compresses what a handler answers, and a handler can be called again; this one is not.
    let answer = Arc::new(Mutex::new(Some(response)));
    let give = move || {
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        ready(answer.unwrap_or_default())
    };
    let mut request = Request::new(Body::empty());
    request
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    give.layer(compression()).call(request, ()).await
}

/// Reduces `Accept-Encoding` to what is spoken here, and answers whether that is gzip. A client that takes nothing of it
/// gets the answer as it is: what it asked for has been done by then, so that a 406 would be untrue.
pub fn reduce_to_gzip(request: &mut Request) -> bool {
    if !request.headers().contains_key(header::ACCEPT_ENCODING) {
        return false;
    }
    let takes = takes_gzip(request.headers());
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    if takes {
        request
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    takes
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

/// The tags of the answers to a read that its client has already.
pub struct KnownTags(Vec<HeaderValue>);

impl KnownTags {
    /// The tags that a request names. None: it is no read.
    pub fn of_request(request: &Request) -> Option<Self> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let tags = request.headers().get_all(header::IF_NONE_MATCH);
        is_read.then(|| Self(tags.iter().cloned().collect()))
    }

    /// Gives a JSON answer a weak tag over all its bytes, so that none can be stale, and makes it a 304 where the client
    /// has named that tag.
    pub async fn revalidate(&self, response: Response) -> Response {
        if !is_taggable(&response) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        let Ok(bytes) = to_bytes(body, usize::MAX).await else {
            let detail = "the answer could not be read to its end";
            return ApiError(Problem::new(ProblemKind::Internal, detail)).into_response();
        };
        // Not a hash against forgery: that two answers of one path have one tag is of use to nobody.
        let shared = parts.extensions.remove::<SharedBody>();
        let hash = shared.map_or_else(|| xxh3_128(&bytes), |body| body.hash());
        let tag = format!("W/\"{hash:032x}\"");
        let is_known = self
            .0
            .iter()
            .filter_map(|tags| tags.to_str().ok())
            .any(|tags| names_tag(tags, Some(tag.trim_start_matches("W/"))));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            parts.headers.insert(header::ETAG, tag);
        }
        // To be kept, but asked about before each use, and by nobody in between.
        let private = HeaderValue::from_static("private, no-cache");
        parts.headers.insert(header::CACHE_CONTROL, private);
        if is_known {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            return Response::from_parts(parts, Body::empty());
        }
        Response::from_parts(parts, Body::from(bytes))
    }
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

    #[tokio::test]
    async fn an_answer_that_could_be_compressed_depends_on_what_is_accepted_whether_it_is_or_not() {
        for (length, takes_gzip, coding, vary) in [
            (5000, true, Some("gzip"), Some("accept-encoding")),
            (5000, false, None, Some("accept-encoding")),
            (100, true, None, None),
        ] {
            let json = [(header::CONTENT_TYPE, "application/json")];
            let answer = (StatusCode::CREATED, json, "x".repeat(length)).into_response();
            let answer = compress(answer, takes_gzip).await;
            let text = |name| answer.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(answer.status(), StatusCode::CREATED);
            assert_eq!(
                (text(header::CONTENT_ENCODING), text(header::VARY)),
                (coding, vary),
                "{length} {takes_gzip}"
            );
            let size = to_bytes(answer.into_body(), usize::MAX).await.unwrap().len();
            assert_eq!(size < length, coding.is_some());
        }
    }

    #[tokio::test]
    async fn a_read_is_answered_with_304_where_its_tag_is_known_and_no_other_request_has_tags() {
        let answer = || ([(header::CONTENT_TYPE, "application/json")], "{}").into_response();
        let request = |method, tags: &[&HeaderValue]| {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method;
            for tag in tags {
                request.headers_mut().append(header::IF_NONE_MATCH, (*tag).clone());
            }
            KnownTags::of_request(&request)
        };
        let first = request(Method::GET, &[]).unwrap().revalidate(answer()).await;
        let (tag, other) = (first.headers()[header::ETAG].clone(), HeaderValue::from_static("\"a\""));
        assert_eq!(first.status(), StatusCode::OK);
        for (tags, status) in [
            (&[&other, &tag][..], StatusCode::NOT_MODIFIED),
            (&[&other], StatusCode::OK),
        ] {
            let known = request(Method::HEAD, tags).unwrap();
            let again = known.revalidate(answer()).await;
            assert_eq!((again.status(), &again.headers()[header::ETAG]), (status, &tag));
        }
        assert!(request(Method::POST, &[&tag]).is_none());
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
