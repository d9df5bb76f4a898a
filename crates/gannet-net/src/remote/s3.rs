//! The special remote `S3`: objects in a bucket, as git-annex lays them out (remotes §8).
//!
//! The verbs are those of `object_store`, which is told of one object at a time: `wire` knows
//! where that really is, signs what is asked for, and gives and takes its bytes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential};
use object_store::{
    BackoffConfig, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutOptions,
    PutPayload, RetryConfig,
};
use tokio::time::timeout;

use self::upload::Upload;
use self::wire::{Connection, Errand, Signing, Wire};
use super::http::{HttpClient, Patience};
use super::special::{Found, Permission, Source, Store, Unusable};

mod credentials;
mod settings;
mod trouble;
mod upload;
mod wire;

pub use credentials::S3Credentials;
pub use settings::S3Settings;

/// Objects in a bucket.
///
/// What the server does not say is never guessed: only its 404 means that an object is not there,
/// and that only where the bucket is. Requests that failed for a moment are repeated a few times.
pub struct S3 {
    client: reqwest::Client,
    settings: S3Settings,
    credential: Option<Arc<AwsCredential>>,
    patience: Patience,
    /// There is such a bucket.
    seen: Arc<AtomicBool>,
}

impl S3 {
    /// Objects in the bucket of these settings. Nothing is connected before the first verb.
    ///
    /// # Errors
    /// When there are no credentials, and the bucket cannot be read without.
    pub fn new(
        client: HttpClient,
        settings: S3Settings,
        credentials: Option<S3Credentials>,
    ) -> Result<Self, Unusable> {
        if credentials.is_none() && !settings.anonymous && settings.public.is_none() {
            return Err(Unusable::Credentials(
                "there are none: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the \
                 environment, nor a file in annex/creds",
            ));
        }
        Ok(Self {
            client: client.0,
            settings,
            credential: credentials.map(|credentials| Arc::new(credentials.0)),
            patience: Patience { reply: REPLY, idle: IDLE },
            seen: Arc::default(),
        })
    }

    /// Waits no longer than that for a server that does nothing.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Whether it can only be read: then the [`Special`](super::special::Special) over it is to be
    /// `readonly`.
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        self.credential.is_none() && !self.settings.anonymous
    }

    /// The object of this name, as `object_store` sees it.
    fn object(&self, name: &Key, errand: Errand) -> Result<Object> {
        let signing = self.credential.as_ref().filter(|_| !self.settings.anonymous);
        let wire = Arc::new(Wire {
            client: self.client.clone(),
            url: self.settings.url(name, self.is_readonly())?,
            signing: signing.map(|credential| Signing {
                credential: Arc::clone(credential),
                region: self.settings.region.clone(),
            }),
            errand,
            patience: self.patience,
            seen: Arc::clone(&self.seen),
            trouble: std::sync::Mutex::default(),
            begun: AtomicBool::new(false),
        });
        let store = AmazonS3Builder::new()
            .with_endpoint("http://object.invalid")
            .with_allow_http(true)
            .with_bucket_name("bucket")
            .with_region("region")
            .with_skip_signature(true)
            .with_disable_bulk_delete(true)
            .with_retry(retry())
            .with_http_connector(Connection(Arc::clone(&wire)))
            .build()
            .map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Object { store, wire, name: name.clone(), place: self.to_string() })
    }

    /// Tells an object that is not there from a bucket that is not, which the server says only
    /// where a reply has a body.
    async fn check_bucket(&self, name: &Key) -> Result<()> {
        if self.seen.load(Ordering::Relaxed) || self.is_readonly() {
            return Ok(());
        }
        let object = self.object(name, Errand::Look)?;
        let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
        match object.store.get_opts(&wire::PATH, first).await {
            Err(error) if !self.seen.load(Ordering::Relaxed) => Err(object.fault(&error)),
            _ => Ok(()),
        }
    }
}

/// How one object is reached, and what went wrong.
struct Object {
    store: AmazonS3,
    wire: Arc<Wire>,
    name: Key,
    place: String,
}

impl Object {
    /// What an error of `object_store` really was.
    fn fault(&self, error: &object_store::Error) -> Error {
        match self.wire.trouble() {
            Some(trouble) => trouble.error(&self.place, &self.name),
            None => Error::Remote { place: self.place.clone(), why: error.to_string() },
        }
    }

    async fn open(&self, from: u64, len: u64, total: u64) -> Result<GetResult> {
        let range = (len != total).then(|| GetRange::Bounded(from..from + len));
        let options = GetOptions { range, ..GetOptions::default() };
        let opened = self.store.get_opts(&wire::PATH, options).await;
        let opened = opened.map_err(|error| self.fault(&error))?;
        match opened.meta.size == total && opened.range == (from..from + len) {
            true => Ok(opened),
            false => Err(Error::Interrupted), // it is another object now
        }
    }
}

#[async_trait]
impl Store for S3 {
    async fn find(&self, name: &Key) -> Result<Option<Found>> {
        let object = self.object(name, Errand::Look)?;
        match object.store.head(&wire::PATH).await {
            Ok(meta) => Ok(Some(Found { bytes: Some(meta.size) })),
            Err(object_store::Error::NotFound { .. }) => {
                self.check_bucket(name).await?;
                Ok(None)
            }
            Err(error) => Err(object.fault(&error)),
        }
    }

    async fn get(&self, name: &Key, bytes: Option<u64>, span: Span) -> Result<Content> {
        let total = match bytes {
            Some(bytes) => bytes,
            None => match self.find(name).await? {
                Some(Found { bytes: Some(bytes) }) => bytes,
                _ => return Err(Error::Missing { key: name.clone() }),
            },
        };
        let (from, len) = span.within(total);
        let object = self.object(name, Errand::Look)?;
        let idle = self.patience.idle;
        let opening = async move {
            let bytes = match len {
                0 => stream::empty().boxed(),
                _ => object.open(from, len, total).await?.into_stream(),
            };
            Ok(pieces(object, bytes, len, idle))
        };
        let pieces = stream::once(opening).try_flatten().boxed();
        Ok(Content { total, from, len, pieces })
    }

    async fn put(&self, name: &Key, source: &Source) -> Result<()> {
        let part = self.settings.part_bytes(source.bytes());
        let headers = self.settings.headers.clone();
        let errand = Errand::Store { source: source.clone(), part, headers };
        let object = self.object(name, errand)?;
        let Some(part) = part else {
            // The wire has the bytes.
            let none = PutPayload::default();
            let put = object.store.put_opts(&wire::PATH, none, PutOptions::default()).await;
            return put.map(drop).map_err(|error| object.fault(&error));
        };
        let mut upload = Upload::begin(&object).await?;
        for _ in 0..source.bytes().div_ceil(part) {
            upload.next_part().await?;
        }
        match upload.complete().await {
            Err(object_store::Error::NotFound { .. })
                if self.find(name).await?.is_some_and(|it| it.bytes == Some(source.bytes())) =>
            {
                Ok(()) // it was complete when it was asked for again
            }
            completed => completed.map_err(|error| object.fault(&error)),
        }
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        if !permission.holds() {
            return Ok(false);
        }
        let object = self.object(name, Errand::Remove(permission.clone()))?;
        match object.store.delete(&wire::PATH).await {
            Ok(()) => Ok(true),
            Err(error) => match (object.wire.was_too_late(), object.fault(&error)) {
                (Some(false), _) => Ok(false),
                // It was asked for once, in time, and what became of that was not heard.
                (Some(true), _) if self.find(name).await?.is_none() => Ok(true),
                (_, Error::Missing { .. }) => Ok(true),
                (_, fault) => Err(fault),
            },
        }
    }
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3 bucket {} at {}", self.settings.bucket, self.settings.host)
    }
}

/// The `len` bytes that come, and the verdict that they are all of them.
fn pieces(
    object: Object,
    bytes: BoxStream<'static, object_store::Result<bytes::Bytes>>,
    len: u64,
    idle: Duration,
) -> BoxStream<'static, Result<Piece>> {
    let next = move |(object, mut bytes, left): (Object, BoxStream<'static, _>, Option<u64>)| async move {
        let Some(left) = left else { return Ok(None) };
        if left == 0 {
            return Ok(Some((Piece::End(Verdict::Valid), (object, bytes, None))));
        }
        match timeout(idle, bytes.next()).await {
            Err(_) => Err(Error::Stalled),
            Ok(None) => Err(Error::Interrupted),
            Ok(Some(Err(error))) => {
                tracing::debug!("{}: reading {}: {error}", object.place, object.name);
                let trouble = object.wire.trouble();
                Err(trouble.map_or(Error::Interrupted, |it| it.error(&object.place, &object.name)))
            }
            Ok(Some(Ok(some))) => {
                let some: bytes::Bytes = some;
                let left = left.checked_sub(some.len() as u64).ok_or(Error::WrongLength)?;
                Ok(Some((Piece::Bytes(some), (object, bytes, Some(left)))))
            }
        }
    };
    stream::try_unfold((object, bytes, Some(len)), next).boxed()
}

/// What failed for a moment (5xx, 408, 429, connections that broke) is repeated so often, but not
/// when a server has let us wait for long already.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(60),
    }
}

const REPLY: Duration = Duration::from_secs(120);
const IDLE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
