//! Where an object is: bucket and key, and the URLs that name it. A key has the rules of a relative path: no empty part, no
//! `.` or `..`, no control characters.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::is_bucket;

/// Bytes of a key, as S3 has it.
pub const LONGEST_KEY: usize = 1024;
/// Of a part of a key, as file systems have it.
const LONGEST_PART: usize = 255;

/// Bucket and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub bucket: String,
    pub key: String,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

/// Whether a text can be a key, or a file's path below the share. The error is for people.
pub fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("it is empty; give a path such as lecture-07/clip.mp4".into());
    }
    if key.len() > LONGEST_KEY {
        return Err(format!("it is longer than {LONGEST_KEY} bytes"));
    }
    if key.starts_with('/') {
        return Err("it begins with '/'; give the path below share/workflows, such as lecture-07/clip.mp4".into());
    }
    if key.chars().any(char::is_control) {
        return Err("it has control characters".into());
    }
    for part in key.split('/') {
        match part {
            "" => return Err("it has an empty part: '//' or a '/' at the end".into()),
            "." | ".." => return Err(format!("it has '{part}' as a part; give the path without it")),
            _ if part.len() > LONGEST_PART => {
                return Err(format!("a part of it is longer than {LONGEST_PART} bytes"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a text is `s3://...` or `minio://...`.
pub fn is_object_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("s3" | "minio"))
}

/// The place that `s3://bucket/key` or `minio://bucket/key` names. The key stands there as it is, not percent-encoded.
pub fn of_object_url(text: &str) -> Result<Location, String> {
    let (_, rest) = text.split_once("://").unwrap_or_default();
    let (bucket, key) = rest
        .split_once('/')
        .ok_or_else(|| "it names no object; give s3://bucket/key".to_owned())?;
    location(bucket, key.to_owned())
}

fn location(bucket: &str, key: String) -> Result<Location, String> {
    if !is_bucket(bucket) {
        let bucket: String = bucket.chars().take(80).collect();
        return Err(format!("'{bucket}' is no name for a bucket"));
    }
    check_key(&key).map_err(|why| format!("its key cannot be used: {why}"))?;
    Ok(Location {
        bucket: bucket.to_owned(),
        key,
    })
}

/// The place that an http(s) URL names at a store; None when it is none of the store's. Of a presigned URL the query is left
/// out: the store's own keys open the object.
pub fn of_http_url(url: &Url, store: &Url, path_style: bool, bucket: &str) -> Option<Result<Location, String>> {
    if url.scheme() != store.scheme() || url.port_or_known_default() != store.port_or_known_default() {
        return None;
    }
    let decoded = |path: &str| {
        let text = percent_decode_str(path).decode_utf8();
        text.map(|text| text.into_owned())
            .map_err(|_| "its key is not UTF-8".to_owned())
    };
    let path = url.path().trim_start_matches('/');
    if path_style && url.host_str() == store.host_str() {
        let (bucket, key) = path.split_once('/')?;
        return Some(decoded(key).and_then(|key| location(bucket, key)));
    }
    let host = format!("{bucket}.{}", store.host_str()?);
    (!path_style && url.host_str() == Some(&host)).then(|| decoded(path).and_then(|key| location(bucket, key)))
}

#[cfg(test)]
mod tests {
    use onceover_types::url_path::encode_path;

    use super::*;

    #[test]
    fn keys_are_relative_paths_without_tricks() {
        for good in ["a", "t1/a b.wav", "t1/ü/..a", "t1/a%2e", "x/.hidden"] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "a\0",
            "a\nb",
            &"a".repeat(256),
            &"a/".repeat(600),
        ] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn d50_urls_are_encoded_once_and_decoded_once() {
        let store = Url::parse("http://minio:9000").unwrap();
        for key in [
            "t1/a b.wav",
            "t1/100%.wav",
            "t1/a%20b",
            "t1/字幕+#?&.srt",
            "t1/~a-b_c.d",
        ] {
            let url = Url::parse(&format!("http://minio:9000/yivideo/{}", encode_path(key))).unwrap();
            let found = of_http_url(&url, &store, true, "yivideo").unwrap().unwrap();
            assert_eq!((found.bucket.as_str(), found.key.as_str()), ("yivideo", key), "{url}");
        }
        assert_eq!(of_object_url("minio://yivideo/t1/a%20b").unwrap().key, "t1/a%20b");
        let presigned = Url::parse("http://minio:9000/other/t1/a?X-Amz-Signature=1").unwrap();
        let found = of_http_url(&presigned, &store, true, "yivideo").unwrap().unwrap();
        assert_eq!(found.to_string(), "other/t1/a");
    }

    #[test]
    fn d50_a_store_is_recognised_exactly() {
        let store = Url::parse("http://minio:9000").unwrap();
        for other in [
            "http://minio/yivideo/a",
            "http://minio:9001/yivideo/a",
            "https://minio:9000/yivideo/a",
            "http://minio.example:9000/yivideo/a",
            "http://example/minio:9000/yivideo/a",
            "http://minio:9000/yivideo",
        ] {
            let url = Url::parse(other).unwrap();
            assert_eq!(of_http_url(&url, &store, true, "yivideo"), None, "{other}");
        }
        let hosted = Url::parse("https://s3.example").unwrap();
        let url = Url::parse("https://yivideo.s3.example/t1/a").unwrap();
        assert_eq!(
            of_http_url(&url, &hosted, false, "yivideo").unwrap().unwrap().key,
            "t1/a"
        );
        for bad in [
            "http://minio:9000/yivideo/a%2f..%2fb",
            "http://minio:9000/yivideo/%ff",
            "http://minio:9000/Yi/a",
        ] {
            let url = Url::parse(bad).unwrap();
            assert!(of_http_url(&url, &store, true, "yivideo").unwrap().is_err(), "{bad}");
        }
        for bad in [
            "s3://",
            "s3://bucket",
            "s3://bucket/",
            "s3://b/../x",
            "s3:///a",
            "minio://yivideo/a/../b",
        ] {
            assert!(of_object_url(bad).is_err(), "{bad}");
        }
    }
}
