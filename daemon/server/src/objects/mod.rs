//! The object store: an S3 service such as MinIO, and how files go to it and come from it. What goes up by itself, and when,
//! is in `uploads`; nothing here knows Redis.

pub mod location;
pub mod plan;
mod transfer;
mod uploading;
pub mod zip;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt,
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as ObjectPath,
    signer::Signer,
};
use onceover_types::{causes, text_file::without_mark, url_path::encode_path};
use url::Url;

use crate::config::StorageConfig;
use location::Location;
use onceover_process::environment;

pub use transfer::Sink;
pub use uploading::{OnItsWay, Uploading};

/// How long a presigned URL opens its object.
pub const PRESIGNED: Duration = Duration::from_secs(24 * 3600);

/// What a refusal of objects says where there is no store.
pub const NO_STORE: &str = "this daemon has no object store; name one with storage.url in its configuration";

/// Limits of one request to the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A request that fails for the moment is repeated so often, for so long; what goes on longer is for the caller to judge.
const RETRIES: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("there is no object {0}")]
    Missing(Location),
    #[error("it cannot be used: {0}")]
    Unusable(String),
    /// Away, refusing or broken: the same can be asked again.
    #[error("the object store at {url} failed: {why}")]
    Unavailable { url: String, why: String },
    /// The content broke off or could not be read: not the store's fault.
    #[error("{0}")]
    Content(String),
}

/// The two keys; never shown.
#[derive(Clone)]
struct Keys {
    access: String,
    secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// A configured store. Cheap to share behind a pointer; connects at the first request.
#[derive(Debug)]
pub struct ObjectStorage {
    url: Url,
    public_url: Url,
    bucket: String,
    /// Every bucket that may be named, `bucket` first.
    buckets: Vec<String>,
    region: String,
    path_style: bool,
    keys: Keys,
    http: reqwest::Client,
    clients: Mutex<HashMap<(bool, String), Arc<AmazonS3>>>,
    /// Buckets that are known to exist.
    known: Mutex<HashSet<String>>,
    /// Held while it is checked whether a bucket exists, and while it is made: by one caller at a time.
    making: tokio::sync::Mutex<()>,
}

/// What is known of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    pub key: String,
    pub size: u64,
    /// Milliseconds since 1970.
    pub changed: i64,
    pub etag: Option<String>,
}

impl From<ObjectMeta> for StoredObject {
    fn from(meta: ObjectMeta) -> Self {
        Self {
            key: meta.location.to_string(),
            size: meta.size,
            changed: meta.last_modified.timestamp_millis(),
            etag: meta.e_tag,
        }
    }
}

/// What a delete of many removed, and what it could not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    pub total: u64,
    pub deleted: u64,
    pub bytes: u64,
    pub error: Option<String>,
}

impl ObjectStorage {
    /// The configured store; None without a `url`. The error is for people.
    pub fn open(config: &StorageConfig) -> Result<Option<Self>, String> {
        let Some(text) = &config.url else { return Ok(None) };
        let parse = |text: &str| Url::parse(text).map_err(|error| format!("storage.url: {error}"));
        let url = parse(text)?;
        let public_url = parse(config.public_url.as_deref().unwrap_or(text))?;
        // The keys open everything there, so requests go where they are meant to and nowhere else.
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| format!("cannot make the HTTP client for the object store: {error}"))?;
        Ok(Some(Self {
            url,
            public_url,
            bucket: config.bucket.clone(),
            buckets: [&config.bucket].into_iter().chain(&config.buckets).cloned().collect(),
            region: config.region.clone(),
            path_style: config.path_style,
            keys: keys(config)?,
            http,
            clients: Mutex::default(),
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }))
    }

    /// The bucket that tasks' files go to.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Where it is, without anything secret.
    pub fn address(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// A place in the configured bucket.
    pub fn place(&self, key: impl Into<String>) -> Location {
        Location {
            bucket: self.bucket.clone(),
            key: key.into(),
        }
    }

    /// Refuses a bucket that the configuration does not name. The store's keys may open more than clients should reach.
    pub fn check_bucket(&self, bucket: &str) -> Result<(), String> {
        if self.buckets.iter().any(|known| known == bucket) {
            return Ok(());
        }
        let known = self.buckets.join("', '");
        Err(format!(
            "this daemon does not open the bucket '{bucket}', only '{known}'; storage.buckets in its configuration names more"
        ))
    }

    /// The place an `s3://`, `minio://` or http(s) URL names; None for what is none of this store's.
    pub fn location(&self, text: &str) -> Option<Result<Location, String>> {
        let found = if location::is_object_url(text) {
            location::of_object_url(text)
        } else {
            let url = Url::parse(text).ok()?;
            let stores = [&self.url, &self.public_url].into_iter();
            let mut places = stores.flat_map(|store| self.buckets.iter().map(move |bucket| (store, bucket)));
            places.find_map(|(store, bucket)| location::of_http_url(&url, store, self.path_style, bucket))?
        };
        Some(found.and_then(|location| self.check_bucket(&location.bucket).map(|()| location)))
    }

    /// URL of an object, as clients reach it; unsigned.
    pub fn url_of(&self, location: &Location) -> String {
        format!("{}/{}", self.base(true, &location.bucket), encode_path(&location.key))
    }

    /// A URL that opens the object for [`PRESIGNED`] without keys.
    pub async fn presigned(&self, location: &Location) -> Result<String, StorageError> {
        self.presigned_for(reqwest::Method::GET, location, PRESIGNED).await
    }

    /// A URL that reads or writes the object without keys, as others reach the store.
    pub async fn presigned_for(
        &self,
        method: reqwest::Method,
        location: &Location,
        lifetime: Duration,
    ) -> Result<String, StorageError> {
        let client = self.client(true, &location.bucket)?;
        let url = client.signed_url(method, &path(&location.key)?, lifetime).await;
        url.map(String::from).map_err(|error| self.error(error, location))
    }

    fn base(&self, public: bool, bucket: &str) -> String {
        let url = if public { &self.public_url } else { &self.url };
        let text = url.as_str().trim_end_matches('/');
        match (self.path_style, text.split_once("://")) {
            (false, Some((scheme, host))) => format!("{scheme}://{bucket}.{host}"),
            _ => format!("{text}/{bucket}"),
        }
    }

    /// The client of a bucket; `public` is the one whose URLs are given to others.
    fn client(&self, public: bool, bucket: &str) -> Result<Arc<AmazonS3>, StorageError> {
        let mut clients = self.clients.lock().expect("no thread panics with the clients");
        let known = (public, bucket.to_owned());
        if let Some(client) = clients.get(&known) {
            return Ok(Arc::clone(client));
        }
        let url = if public { &self.public_url } else { &self.url };
        let endpoint = match self.path_style {
            true => url.as_str().trim_end_matches('/').to_owned(),
            false => self.base(public, bucket),
        };
        let retry = RetryConfig {
            backoff: BackoffConfig {
                max_backoff: Duration::from_secs(2),
                ..BackoffConfig::default()
            },
            max_retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
        };
        let options = ClientOptions::new()
            .with_allow_http(url.scheme() == "http")
            .with_connect_timeout(CONNECT_TIMEOUT)
            // Not of a whole request, which may carry a whole film.
            .with_timeout_disabled()
            .with_read_timeout(READ_TIMEOUT);
        let client = AmazonS3Builder::new()
            .with_endpoint(endpoint)
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.keys.access)
            .with_secret_access_key(&self.keys.secret)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_retry(retry)
            .with_client_options(options)
            .build()
            .map_err(|error| StorageError::Unusable(error.to_string()))?;
        let client = Arc::new(client);
        clients.insert(known, Arc::clone(&client));
        Ok(client)
    }

    fn error(&self, error: object_store::Error, location: &Location) -> StorageError {
        match error {
            object_store::Error::NotFound { .. } => StorageError::Missing(location.clone()),
            error => StorageError::Unavailable {
                url: self.address().to_owned(),
                why: causes(&error),
            },
        }
    }

    /// Makes sure that a bucket exists, once.
    pub async fn prepare(&self, bucket: &str) -> Result<(), StorageError> {
        let known = |with: &dyn Fn(&mut HashSet<String>) -> bool| {
            with(&mut self.known.lock().expect("no thread panics with the list"))
        };
        if known(&|known| known.contains(bucket)) {
            return Ok(());
        }
        let _one = self.making.lock().await;
        if known(&|known| known.contains(bucket)) {
            return Ok(());
        }
        let client = self.client(false, bucket)?;
        let there = async || match client.list(None).next().await {
            None | Some(Ok(_)) => Ok(true),
            Some(Err(error)) if is_missing(&error) => Ok(false),
            Some(Err(error)) => Err(self.error(error, &self.place(""))),
        };
        if !there().await?
            && let Err(error) = self.make(&client, bucket).await
            // Unless another client was making it at the same moment: stores answer that in many ways.
            && !there().await?
        {
            return Err(error);
        }
        known(&|known| known.insert(bucket.to_owned()));
        Ok(())
    }

    /// Makes a bucket, which `object_store` has no call for: a signed PUT of the bucket itself.
    async fn make(&self, client: &AmazonS3, bucket: &str) -> Result<(), StorageError> {
        let unavailable = |why: String| StorageError::Unavailable {
            url: self.address().to_owned(),
            why: format!("bucket '{bucket}' does not exist and cannot be made: {why}"),
        };
        let url = client
            .signed_url(reqwest::Method::PUT, &ObjectPath::default(), Duration::from_secs(60))
            .await
            .map_err(|error| unavailable(causes(&error)))?;
        let answer = self.http.put(url).send().await;
        // The error of a request names its URL, which is signed.
        let answer = answer.map_err(|error| unavailable(error.without_url().to_string()))?;
        // 409: another client has made it meanwhile.
        match answer.status().as_u16() {
            200..300 | 409 => {
                tracing::info!(bucket, "bucket made");
                Ok(())
            }
            status => Err(unavailable(format!("the store answered {status}"))),
        }
    }

    /// What is known of one object; None where there is none.
    pub async fn find(&self, location: &Location) -> Result<Option<StoredObject>, StorageError> {
        let client = self.client(false, &location.bucket)?;
        match client.head(&path(&location.key)?).await {
            Ok(meta) => Ok(Some(meta.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(error, location)),
        }
    }

    /// Bytes of an object, as they come; all of them without a range.
    pub async fn read(
        self: &Arc<Self>,
        location: &Location,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<(StoredObject, BoxStream<'static, Result<Bytes, StorageError>>), StorageError> {
        let client = self.client(false, &location.bucket)?;
        let options = GetOptions {
            range: range.map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let found = client.get_opts(&path(&location.key)?, options).await;
        let found = found.map_err(|error| self.error(error, location))?;
        let object = found.meta.clone().into();
        let (this, location) = (Arc::clone(self), location.clone());
        let stream = found.into_stream().map_err(move |error| this.error(error, &location));
        Ok((object, stream.boxed()))
    }

    /// A place to write one object to, which is there whole once it is finished. `size`, when it is known or limited.
    pub async fn write(&self, location: &Location, size: u64) -> Result<Sink, StorageError> {
        self.prepare(&location.bucket).await?;
        let client = self.client(false, &location.bucket)?;
        let kind = mime_guess::from_path(&location.key).first_or_octet_stream();
        let attributes = Attributes::from_iter([(Attribute::ContentType, kind.to_string())]);
        Ok(Sink::new(
            client,
            path(&location.key)?,
            attributes,
            size,
            self.address(),
            location,
        ))
    }

    /// Removes one object; that there is none is no error.
    pub async fn remove(&self, location: &Location) -> Result<(), StorageError> {
        let client = self.client(false, &location.bucket)?;
        match client.delete(&path(&location.key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(error, location)),
        }
    }

    /// Whether there is anything below a folder of the configured bucket.
    pub async fn has_any(&self, folder: &str) -> Result<bool, StorageError> {
        let client = self.client(false, &self.bucket)?;
        match client.list(Some(&path(folder)?)).next().await {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) if is_missing(&error) => Ok(false),
            Some(Err(error)) => Err(self.error(error, &self.place(folder))),
        }
    }

    /// Objects below a folder (empty: all), in the order of their keys, after a key, at most `limit`.
    pub async fn list(
        &self,
        bucket: &str,
        folder: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredObject>, StorageError> {
        let client = self.client(false, bucket)?;
        let prefix = path(folder)?;
        let prefix = (!folder.is_empty()).then_some(&prefix);
        let listed = match after {
            Some(after) => client.list_with_offset(prefix, &path(after)?),
            None => client.list(prefix),
        };
        let place = Location {
            bucket: bucket.to_owned(),
            key: folder.to_owned(),
        };
        let listed = listed.take(limit).map_ok(StoredObject::from).try_collect().await;
        match listed {
            Err(error) if is_missing(&error) => Ok(Vec::new()),
            listed => listed.map_err(|error| self.error(error, &place)),
        }
    }

    /// Removes everything below a folder of the configured bucket.
    pub async fn clear(&self, folder: &str) -> Cleared {
        let mut cleared = Cleared::default();
        let opened = self
            .client(false, &self.bucket)
            .and_then(|client| Ok((client, path(folder)?)));
        let (client, prefix) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                cleared.error = Some(error.to_string());
                return cleared;
            }
        };
        // What was listed before an error is listed again by the next try.
        let mut listed = client.list(Some(&prefix)).try_chunks(1000).map_err(|error| error.1);
        while let Some(chunk) = listed.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) if is_missing(&error) => return cleared,
                Err(error) => {
                    cleared.error = Some(self.error(error, &self.place(folder)).to_string());
                    return cleared;
                }
            };
            let sizes: HashMap<_, _> = chunk.iter().map(|meta| (meta.location.clone(), meta.size)).collect();
            cleared.total += sizes.len() as u64;
            let paths = futures_util::stream::iter(chunk.into_iter().map(|meta| Ok(meta.location)));
            let mut removed = client.delete_stream(paths.boxed());
            while let Some(removed) = removed.next().await {
                match removed {
                    Ok(path) => {
                        cleared.deleted += 1;
                        cleared.bytes += sizes.get(&path).copied().unwrap_or_default();
                    }
                    Err(error) => cleared.error = Some(self.error(error, &self.place(folder)).to_string()),
                }
            }
        }
        cleared
    }
}

fn path(key: &str) -> Result<ObjectPath, StorageError> {
    // `parse` takes the key as it is; `from` would encode what it holds for unwise.
    ObjectPath::parse(key).map_err(|error| StorageError::Unusable(error.to_string()))
}

/// Whether an object or its whole bucket is missing; of a list `object_store` tells that only in words.
fn is_missing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || causes(error).contains("<Code>NoSuchBucket</Code>")
}

/// The keys, from where the configuration says.
fn keys(config: &StorageConfig) -> Result<Keys, String> {
    let keys = match &config.credentials_file {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| format!("storage.credentials_file {} cannot be read: {error}", file.display()))?;
            let mut lines = without_mark(&text).lines().map(str::trim);
            let mut next = || lines.next().unwrap_or_default().to_owned();
            Keys {
                access: next(),
                secret: next(),
            }
        }
        None => {
            let variable = |name: &str| environment::var(name).unwrap_or_default();
            Keys {
                access: variable(&config.access_key_env),
                secret: variable(&config.secret_key_env),
            }
        }
    };
    if keys.access.is_empty() || keys.secret.is_empty() {
        return Err(match &config.credentials_file {
            Some(file) => format!(
                "storage.credentials_file {} must have the access key in its first line and the secret key in its second",
                file.display()
            ),
            None => format!(
                "storage.url names an object store, but there are no keys for it: set {} and {} in the daemon's environment, \
                 or name a file with storage.credentials_file",
                config.access_key_env, config.secret_key_env
            ),
        });
    }
    Ok(keys)
}
