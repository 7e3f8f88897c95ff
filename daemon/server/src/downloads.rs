//! Inputs that are URLs: fetched into the run's folder before the node runs, within limits of size and time; http(s) only from
//! where the address guard lets them come from, objects from the configured store with its keys.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use onceover_catalog::ValueKind;
use onceover_types::{causes::because, humane};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{CONTENT_LENGTH, ETAG, LOCATION},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, time::Instant};
use url::Url;

use crate::{
    evidence::{self, ByParameter, is_url},
    objects::{
        NO_STORE, ObjectStorage, StorageError,
        location::{Location, is_object_url},
    },
    ssrf_guard::{SsrfGuard, refusal},
};
use onceover_limits::{Limit, lack::Lack};
use onceover_run::paths::{harmless_name, remove_folder};
use onceover_run::{RunContext, RunError};

/// Redirects that are followed, each to an address that is judged like the first.
pub(crate) const HOPS: usize = 5;
/// Between two reports of how much has come.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Where an input comes from.
enum Source {
    Web(Url),
    Object(Arc<ObjectStorage>, Location),
}

/// Fetches inputs.
#[derive(Debug)]
pub struct Downloads {
    guard: SsrfGuard,
    client: Client,
    objects: Option<Arc<ObjectStorage>>,
    max_bytes: u64,
    timeout: Duration,
}

/// The folder with what was fetched for one run; removed when dropped.
#[derive(Debug)]
pub struct Downloaded {
    folder: PathBuf,
    keep: bool,
    /// What each server said of what it sent, by the name of the parameter.
    pub evidence: ByParameter,
}

impl Downloaded {
    /// Keeps it when the result refers to it.
    pub fn keep_if_named_in(&mut self, output: &str) {
        self.keep = output.contains(&*self.folder.to_string_lossy());
    }
}

impl Drop for Downloaded {
    fn drop(&mut self) {
        if !self.keep
            && let (Some(dir), Some(name)) = (self.folder.parent(), self.folder.file_name())
            && let Err(error) = remove_folder(dir, &name.to_string_lossy())
        {
            tracing::warn!(%error, folder = %self.folder.display(), "a download was not removed");
        }
    }
}

impl Downloads {
    pub fn new(
        guard: SsrfGuard,
        objects: Option<Arc<ObjectStorage>>,
        max_bytes: u64,
        timeout: Duration,
    ) -> reqwest::Result<Self> {
        Ok(Self {
            client: guard.client()?,
            guard,
            objects,
            max_bytes,
            timeout,
        })
    }

    /// Returns the object store, where there is one.
    pub fn objects(&self) -> Option<&Arc<ObjectStorage>> {
        self.objects.as_ref()
    }

    /// Checks what a URL shows before it is asked: at submit, and again before each request.
    pub fn check(&self, text: &str) -> Result<Url, String> {
        match self.source(text)? {
            Source::Web(url) => Ok(url),
            Source::Object(..) => Url::parse(text).map_err(|error| format!("it is no URL: {error}")),
        }
    }

    fn source(&self, text: &str) -> Result<Source, String> {
        if let Some(objects) = &self.objects
            && let Some(location) = objects.location(text)
        {
            return location.map(|location| Source::Object(Arc::clone(objects), location));
        }
        if is_object_url(text) {
            let scheme = text.split("://").next().unwrap_or_default();
            return Err(format!(
                "{scheme}:// is not supported: {NO_STORE}, or give an http(s) URL or a file's path"
            ));
        }
        self.guard.check_url(text).map(Source::Web)
    }

    /// Puts a file in the place of each URL among the run's path inputs. None: there was none.
    pub async fn fetch(&self, context: &mut RunContext) -> Result<Option<Downloaded>, RunError> {
        let wanted: Vec<(String, String)> = context
            .node
            .parameters
            .iter()
            .filter(|parameter| parameter.kind == ValueKind::Path)
            .filter_map(|parameter| {
                let url = context
                    .input
                    .get(&parameter.name)?
                    .as_str()
                    .filter(|text| is_url(text))?;
                Some((parameter.name.clone(), url.to_owned()))
            })
            .collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let mut downloaded = Downloaded {
            folder: context.dir.join("inputs"),
            keep: false,
            evidence: ByParameter::new(),
        };
        for (index, (name, url)) in wanted.into_iter().enumerate() {
            let folder = downloaded.folder.join(index.to_string());
            let fetched = tokio::select! {
                biased;
                () = context.cancel.cancelled() => Err(RunError::Interrupted),
                fetched = tokio::time::timeout(self.timeout, self.fetch_one(context, &url, &folder)) => {
                    fetched.unwrap_or_else(|_| {
                        Limit::InputTime.reached();
                        Err(RunError::failed(format!("it was not there within {} (inputs.timeout)", humane::duration(self.timeout))))
                    })
                }
            };
            let (path, evidence) = fetched.map_err(|error| {
                let url = Url::parse(&url).map_or_else(|_| String::new(), |url| shown(&url));
                error.about(format_args!("input_data.{name}: cannot download {url}"))
            })?;
            downloaded.evidence.insert(name.clone(), evidence);
            context.input.insert(name, Value::from(path.display().to_string()));
        }
        Ok(Some(downloaded))
    }

    async fn fetch_one(
        &self,
        context: &RunContext,
        url: &str,
        folder: &Path,
    ) -> Result<(PathBuf, Option<String>), RunError> {
        let cannot =
            |why: std::io::Error| RunError::of_file(format_args!("it cannot be written to {}", folder.display()), &why);
        tokio::fs::create_dir_all(folder).await.map_err(cannot)?;
        let (name, length, etag, mut body) = match self.source(url).map_err(RunError::Failed)? {
            Source::Web(first) => {
                let name = file_name(
                    first
                        .path_segments()
                        .and_then(|mut parts| parts.next_back())
                        .unwrap_or_default(),
                );
                let response = self.ask(context, first).await?;
                let length = response.content_length();
                let etag = entity_tag(&response);
                let body = response.bytes_stream().map_err(|error| broke_off(&error));
                (name, length, etag, body.boxed())
            }
            Source::Object(objects, location) => {
                context
                    .log
                    .line(&format!("downloading {location} from the object store"));
                let failed = |error: StorageError| RunError::failed(error.to_string());
                let (object, body) = objects.read(&location, None).await.map_err(failed)?;
                let name = harmless_name(location.key.rsplit('/').next().unwrap_or_default(), "input");
                (name, Some(object.size), object.etag, body.map_err(failed).boxed())
            }
        };
        let path = folder.join(name);
        if length.is_some_and(|length| length > self.max_bytes) {
            return Err(self.too_large());
        }
        let mut file = tokio::fs::File::create(&path).await.map_err(cannot)?;
        let (mut got, mut next_report) = (0, Instant::now());
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            got += chunk.len() as u64;
            if got > self.max_bytes {
                return Err(self.too_large());
            }
            file.write_all(&chunk).await.map_err(cannot)?;
            if Instant::now() >= next_report {
                next_report = Instant::now() + REPORT_INTERVAL;
                let of = length.map_or_else(String::new, |length| format!(" of {}", megabytes(length)));
                // What the node does is yet to come, so this is no share of it.
                context
                    .progress
                    .report(0.0, Some(format!("downloading: {}{of} MB", megabytes(got))));
            }
        }
        file.flush().await.map_err(cannot)?;
        context
            .log
            .line(&format!("downloaded {} to {}", humane::bytes(got), path.display()));
        Ok((path, evidence::of_resource(etag.as_deref(), length)))
    }

    /// What the server says of a resource now, without its content; None: nothing that it could be known by. The caller
    /// limits the time.
    pub async fn identity(&self, url: &str) -> Option<String> {
        match self.source(url).ok()? {
            Source::Web(url) => {
                let response = self.follow(url, |url| self.client.head(url)).await.ok()?;
                // The body of an answer to HEAD says nothing about the length.
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                evidence::of_resource(entity_tag(&response).as_deref(), length)
            }
            Source::Object(objects, location) => {
                let object = objects.find(&location).await.ok()??;
                evidence::of_resource(object.etag.as_deref(), Some(object.size))
            }
        }
    }

    /// The answer with the content.
    async fn ask(&self, context: &RunContext, url: Url) -> Result<Response, RunError> {
        let get = |url: Url| {
            context.log.line(&format!("downloading {}", shown(&url)));
            self.client.get(url)
        };
        self.follow(url, get).await
    }

    /// The answer to a request, once it is no redirect. Those are followed here, since each leads to an address to be judged.
    async fn follow(&self, mut url: Url, request: impl Fn(Url) -> RequestBuilder) -> Result<Response, RunError> {
        for _ in 0..=HOPS {
            let response = request(url.clone())
                // Longer than the limit of the whole download, which is kept by who asks, and not the client's own.
                .timeout(self.timeout * 2)
                .send()
                .await
                .map_err(|error| match refusal(&error) {
                    Some(refused) => RunError::failed(refused.to_string()),
                    None => broke_off(&error),
                })?;
            let status = response.status();
            if status == StatusCode::OK {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(RunError::failed(format!("{} answered {status}", shown(&url))));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let next = next.ok_or_else(|| {
                RunError::failed(format!("{} answered {status} without a place to go to", shown(&url)))
            })?;
            url = self
                .guard
                .check_url(next.as_str())
                .map_err(|why| RunError::failed(format!("it redirects to {}: {why}", shown(&next))))?;
        }
        Limit::Redirects.reached();
        Err(RunError::failed(format!("it redirects more than {HOPS} times")))
    }

    fn too_large(&self) -> RunError {
        Limit::DownloadedInput.reached();
        RunError::failed(format!(
            "it is larger than {} (inputs.max_bytes)",
            humane::bytes(self.max_bytes)
        ))
    }
}

/// The `ETag` of an answer. A weak one stands for the same content as well.
fn entity_tag(response: &Response) -> Option<String> {
    let tag = response.headers().get(ETAG)?.to_str().ok()?;
    Some(tag.trim_start_matches("W/").trim_matches('"').to_owned())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// Without the query, which often is a key to the file.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    if url.query().is_some() {
        url.set_query(Some("..."));
    }
    url.to_string()
}

fn broke_off(error: &reqwest::Error) -> RunError {
    let mut cause = std::error::Error::source(error);
    while let Some(why) = cause {
        if let Some(lack) = why.downcast_ref().and_then(Lack::in_use) {
            return RunError::lacking(lack, causes(error));
        }
        cause = why.source();
    }
    RunError::Failed(causes(error))
}

/// As `shown`: the error of a request names its URL otherwise.
fn causes(error: &reqwest::Error) -> String {
    let text = match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_body() || error.is_decode() => "it broke off",
        _ => "the request failed",
    };
    because(text.to_owned(), std::error::Error::source(error))
}

/// A name for the file: the last part of the URL's path, made harmless.
fn file_name(last: &str) -> String {
    harmless_name(&percent_encoding::percent_decode_str(last).decode_utf8_lossy(), "input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req25_a_file_from_a_url_gets_a_harmless_name() {
        for (url, name) in [
            ("http://a.example/films/clip.mp4?key=1#x", "clip.mp4"),
            ("http://a.example/", "input"),
            ("http://a.example", "input"),
            ("http://a.example/a/..", "input"),
            ("http://a.example/%2e%2e%2f%2e%2e%2fetc%2fpasswd", ".._.._etc_passwd"),
            ("http://a.example/%2fetc%2fpasswd", "_etc_passwd"),
            ("http://a.example/a%00b%0ac.mp4", "a_b_c.mp4"),
            ("http://a.example/..%5c..%5cx", ".._.._x"),
            ("http://a.example/%ff.mp4", "_.mp4"),
            ("http://a.example/%e4%b8%ad.mp4", "中.mp4"),
            ("http://a.example/%20", "input"),
        ] {
            let url = Url::parse(url).unwrap();
            let last = url.path_segments().unwrap().next_back().unwrap();
            assert_eq!(file_name(last), name, "{url}");
        }
        let long = file_name(&format!("{}.mp4", "é".repeat(300)));
        assert!(
            long.len() <= onceover_run::paths::LONGEST_NAME && long.ends_with(".mp4"),
            "{long}"
        );
    }

    #[test]
    fn only_urls_are_downloaded_and_keys_are_not_shown() {
        for (text, expected) in [
            ("http://a", true),
            ("HTTPS://a", true),
            ("s3://a", true),
            ("minio://a/b", true),
            ("/a/http://b", false),
            ("ftp://a", false),
            ("http:/a", false),
        ] {
            assert_eq!(is_url(text), expected, "{text}");
        }
        let url = Url::parse("https://a.example/clip.mp4?signature=secret#part").unwrap();
        assert_eq!(shown(&url), "https://a.example/clip.mp4?...");
    }
}
