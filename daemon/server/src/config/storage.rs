//! `[storage]`, `[core]` and `[files]`: the object store, what goes up to it by itself, and limits of files. Where keys are,
//! never keys.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

use super::{ConfigError, duration};

/// An S3 store, such as MinIO. Without a `url` there is none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Where the store is, `http://minio:9000`, without a bucket.
    pub url: Option<String>,
    /// The same store as clients reach it: what URLs in answers begin with. Left out, `url`.
    pub public_url: Option<String>,
    /// Where tasks' files go; made when it is missing.
    pub bucket: String,
    /// More buckets that requests may name; others are refused, whatever the keys open.
    pub buckets: Vec<String>,
    pub region: String,
    /// Names of the environment variables with the two keys.
    pub access_key_env: String,
    pub secret_key_env: String,
    /// Or a file with them: the access key in the first line, the secret key in the second.
    pub credentials_file: Option<PathBuf>,
    /// `<url>/<bucket>/<key>`; false: the bucket is a part of the host's name.
    pub path_style: bool,
    /// Whether `url` may be `http://`.
    pub allow_http: bool,
    /// How long an upload is tried before it is given up.
    #[serde(deserialize_with = "duration")]
    pub retry_for: Duration,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            url: None,
            public_url: None,
            bucket: "yivideo".into(),
            buckets: Vec::new(),
            region: "us-east-1".into(),
            access_key_env: "MINIO_ACCESS_KEY".into(),
            secret_key_env: "MINIO_SECRET_KEY".into(),
            credentials_file: None,
            path_style: true,
            allow_http: false,
            retry_for: Duration::from_secs(12 * 3600),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoreConfig {
    /// Whether the files of finished stages go up to the store by themselves.
    pub auto_upload: bool,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self { auto_upload: true }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// Largest file that can be uploaded through `/v1/files`.
    pub max_bytes: u64,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self { max_bytes: 20 << 30 }
    }
}

/// Whether a text can be a bucket's name: 3 to 63 of `a-z 0-9 . -`, letters or digits at both ends.
pub fn is_bucket(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && !text.contains("..")
}

impl StorageConfig {
    /// What one value alone cannot tell.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError::Value(text));
        for (name, url) in [("url", &self.url), ("public_url", &self.public_url)] {
            let Some(text) = url else { continue };
            if let Err(why) = plain_url(text) {
                return refuse(format!("storage.{name}: {why}"));
            }
            if name == "url" && text.starts_with("http:") && !self.allow_http {
                return refuse(format!(
                    "storage.url is {text}, over which files go unencrypted; allow that with storage.allow_http = true, or use https"
                ));
            }
        }
        if self.public_url.is_some() && self.url.is_none() {
            return refuse(
                "storage.public_url says how clients reach a store, but there is none: set storage.url".into(),
            );
        }
        let main = [("bucket", &self.bucket)];
        let more = self.buckets.iter().map(|bucket| ("buckets", bucket));
        if let Some((name, bucket)) = main.into_iter().chain(more).find(|(_, bucket)| !is_bucket(bucket)) {
            return refuse(format!(
                "storage.{name}: '{bucket}' is no name for a bucket (3 to 63 of a-z 0-9 . -, a letter or digit at both ends)"
            ));
        }
        if !self.buckets.is_empty() && self.url.is_none() {
            return refuse("storage.buckets names buckets of a store, but there is none: set storage.url".into());
        }
        if self.retry_for.is_zero() {
            return refuse("storage.retry_for must be above zero".into());
        }
        Ok(())
    }
}

/// A URL with nothing behind its host and port.
fn plain_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("'{text}' is no URL ({error}); give http(s)://host:port"))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match plain {
        true => Ok(()),
        // Not shown: it may hold a password.
        false => Err("give http(s)://host:port and nothing more: no path, no bucket, no user".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let config: StorageConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn a_store_is_named_by_host_and_port_and_plain_http_must_be_allowed() {
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("url = 'http://minio:9000'\nallow_http = true"), Ok(()));
        assert_eq!(
            check("url = 'https://s3.eu-central-1.amazonaws.com'\npublic_url = 'https://files.example'"),
            Ok(())
        );
        for (wrong, word) in [
            ("url = 'http://minio:9000'", "storage.allow_http"),
            ("url = 'https://minio/yivideo'", "storage.url"),
            ("url = 'https://user:word@minio'", "storage.url"),
            ("url = 'minio:9000'", "storage.url"),
            ("url = 'ftp://minio'", "storage.url"),
            ("public_url = 'https://files.example'", "storage.url"),
            ("bucket = 'Yi'", "storage.bucket"),
            ("bucket = '../x'", "storage.bucket"),
            (
                "url = 'https://minio'\nbuckets = ['films', 'B']",
                "storage.buckets: 'B'",
            ),
            ("buckets = ['films']", "storage.url"),
            ("retry_for = '0s'", "storage.retry_for"),
            ("secret_key = 'x'", "secret_key_env"),
        ] {
            let error = check(wrong).unwrap_err();
            assert!(error.contains(word) && !error.contains("word@"), "{wrong}: {error}");
        }
    }
}
