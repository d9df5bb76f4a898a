//! Gets what `object_store` asks for to a server: to the right place, signed, with its bytes.
//!
//! Names of objects may be such as `object_store` cannot spell, and contents larger than memory;
//! so it is told of an object called [`PATH`] that is empty, and here is what that stands for.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use gannet_core::{Piece, Result};
use http_body_util::BodyExt;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Body, Method, Response, StatusCode, Url};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::trouble::{Refusal, Trouble};
use crate::remote::http::{Patience, Sending, chain};
use crate::remote::special::{Permission, Source};

/// What `object_store` calls the object.
pub(super) static PATH: LazyLock<Path> = LazyLock::new(|| Path::from("object"));

/// The way to one object, and what for it is taken.
pub(super) struct Wire {
    pub(super) client: reqwest::Client,
    /// Where the object is.
    pub(super) url: Url,
    pub(super) signing: Option<Signing>,
    pub(super) errand: Errand,
    pub(super) patience: Patience,
    /// Whether the bucket has been seen.
    pub(super) seen: Arc<AtomicBool>,
    pub(super) trouble: Mutex<Option<Trouble>>,
    /// The server may have done what was asked for, or may still, whatever was heard of it.
    pub(super) begun: AtomicBool,
}

/// What `object_store` sends its requests to.
#[derive(Debug)]
pub(super) struct Connection(pub(super) Arc<Wire>);

/// In whose name requests are made.
pub(super) struct Signing {
    pub(super) credential: Arc<AwsCredential>,
    pub(super) region: String,
}

/// What is wanted of the object.
pub(super) enum Errand {
    /// To find or read it.
    Look,
    /// To store these bytes, in parts of so many if they are cut, with these headers.
    Store { source: Source, part: Option<u64>, headers: HeaderMap },
    /// To remove it while that is permitted.
    Remove(Permission),
}

impl Wire {
    /// What was wrong with the last request.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The object was not asked to be removed in time: `false` if it surely was not removed, for
    /// `Some`: it is not permitted any more. Whether it was begun before nevertheless, and nobody
    /// heard what became of that.
    pub(super) fn was_too_late(&self) -> Option<bool> {
        let late = matches!(self.trouble(), Some(Trouble::TooLate));
        late.then(|| self.begun.load(Ordering::Relaxed))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let method = request.method().clone();
        if let Errand::Remove(permission) = &self.errand
            && !permission.holds()
        {
            return Err(self.failed(HttpErrorKind::Unknown, Trouble::TooLate));
        }
        let (request, source) = self.prepare(request).await?;
        let sent = self.send(request, source).await;
        let was_not_begun = match &sent {
            Ok(reply) => matches!(
                reply.status(),
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            ),
            Err(error) => error.kind() == HttpErrorKind::Connect,
        };
        if !was_not_begun {
            self.begun.store(true, Ordering::Relaxed);
        }
        let mut reply = sent?;
        if reply.status().is_success() && matches!(method, Method::GET | Method::HEAD) {
            self.seen.store(true, Ordering::Relaxed);
            self.note(None);
            let (mut parts, body) = hyper::Response::<Body>::from(reply).into_parts();
            parts.headers = read(&parts.headers);
            let body = body.map_err(|error| {
                let why = Failed(chain(&error.without_url()));
                HttpError::new(HttpErrorKind::Interrupted, why)
            });
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)));
        }
        let body = self.collect(&mut reply).await?;
        let (status, headers) = (reply.status(), reply.headers());
        let refusal = Refusal::read(status, headers, &body);
        let mut status = status;
        if !status.is_success() {
            self.refused(refusal);
        } else if method == Method::POST && body_is_error(&body) {
            // It began its reply before it knew.
            status = match refusal.is_passing() {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::BAD_REQUEST,
            };
            self.refused(refusal.with_status(status));
        } else {
            self.seen.store(true, Ordering::Relaxed);
            self.note(None);
        }
        let mut response = HttpResponse::new(HttpResponseBody::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = read(reply.headers());
        Ok(response)
    }

    fn note(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn failed(&self, kind: HttpErrorKind, trouble: Trouble) -> HttpError {
        let why = Failed(format!("{trouble:?}"));
        self.note(Some(trouble));
        HttpError::new(kind, why)
    }

    fn broken(&self, error: reqwest::Error) -> HttpError {
        let kind = match error.is_connect() {
            true => HttpErrorKind::Connect,
            // Whatever is asked for may be asked for again.
            false => HttpErrorKind::Request,
        };
        self.failed(kind, Trouble::Broken(chain(&error.without_url())))
    }

    /// The bytes that go with a request that has this query.
    fn body(&self, method: &Method, query: Option<&str>) -> Option<Source> {
        let Errand::Store { source, part, .. } = &self.errand else { return None };
        if *method != Method::PUT {
            return None;
        }
        let number =
            query.unwrap_or_default().split('&').find_map(|it| it.strip_prefix("partNumber="));
        match (number.and_then(|number| number.parse::<u64>().ok()), part) {
            (Some(number), Some(part)) => Some(source.part(number.saturating_sub(1) * part, *part)),
            _ => Some(source.clone()),
        }
    }

    /// The request as it is to be sent, and its bytes, if they are ours.
    async fn prepare(
        &self,
        request: HttpRequest,
    ) -> Result<(reqwest::Request, Option<Source>), HttpError> {
        let (mut parts, body) = request.into_parts();
        let query = parts.uri.query().map(str::to_owned);
        let mut url = self.url.clone();
        url.set_query(query.as_deref());
        parts.uri =
            url.as_str().parse().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let source = self.body(&parts.method, query.as_deref());
        let is_new = match (&parts.method, query.as_deref()) {
            (&Method::PUT, None) => true,
            (&Method::POST, Some(query)) => query.starts_with("uploads"),
            _ => false,
        };
        if let (true, Errand::Store { headers, .. }) = (is_new, &self.errand) {
            parts.headers.extend(headers.clone());
        }
        if let Some(source) = &source {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(source.bytes()));
        }
        let bytes = body.as_bytes().cloned().unwrap_or_default();
        let mut request = HttpRequest::from_parts(parts, HttpRequestBody::from(bytes.clone()));
        if let Some(signing) = &self.signing {
            let mut authorizer = AwsAuthorizer::new(&signing.credential, "s3", &signing.region);
            let mut digest = None;
            match &source {
                // Nobody changes on the way what is encrypted.
                Some(_) if url.scheme() == "https" => {
                    authorizer = authorizer.with_sign_payload(false)
                }
                Some(source) => digest = Some(self.digest(source).await?),
                None => {}
            }
            authorizer
                .try_authorize(&mut request, digest.as_ref().map(|digest| &digest[..]))
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        }
        let (parts, _) = request.into_parts();
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if !bytes.is_empty() {
            *request.body_mut() = Some(bytes.into());
        }
        Ok((request, source))
    }

    async fn digest(&self, source: &Source) -> Result<[u8; 32], HttpError> {
        let mut hash = Sha256::new();
        let mut pieces = source.content().pieces;
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(Piece::Bytes(bytes)) => hash.update(&bytes),
                Ok(Piece::End(_)) => {}
                Err(error) => {
                    tracing::warn!("{}", error.chain());
                    return Err(self.failed(HttpErrorKind::Unknown, Trouble::Source));
                }
            }
        }
        Ok(hash.finalize().into())
    }

    async fn send(
        &self,
        mut request: reqwest::Request,
        source: Option<Source>,
    ) -> Result<Response, HttpError> {
        let stalled = || self.failed(HttpErrorKind::Timeout, Trouble::Stalled);
        let source = source.filter(|source| source.bytes() > 0);
        let Some(source) = source else {
            let reply = timeout(self.patience.reply, self.client.execute(request)).await;
            return reply.map_err(|_| stalled())?.map_err(|error| self.broken(error));
        };
        let (body, sent) = Sending::new(source.content());
        *request.body_mut() = Some(Body::wrap(body));
        let reply = tokio::select! {
            reply = self.client.execute(request) => reply,
            () = sent.stalls(self.patience.idle, self.patience.reply) => return Err(stalled()),
        };
        match sent.broke() {
            Some(_) => Err(self.failed(HttpErrorKind::Unknown, Trouble::Source)),
            None => reply.map_err(|error| self.broken(error)),
        }
    }

    /// All of a body that is not large.
    async fn collect(&self, reply: &mut Response) -> Result<Bytes, HttpError> {
        let mut body = BytesMut::new();
        while body.len() < BODY_BYTES_MAX {
            match timeout(self.patience.idle, reply.chunk()).await {
                Err(_) => return Err(self.failed(HttpErrorKind::Timeout, Trouble::Stalled)),
                Ok(Err(error)) => return Err(self.broken(error)),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
            }
        }
        Ok(body.freeze())
    }

    fn refused(&self, refusal: Refusal) {
        if refusal.is_of_object() {
            self.seen.store(true, Ordering::Relaxed);
        }
        self.note(Some(Trouble::Refused(refusal)));
    }
}

impl HttpConnector for Connection {
    fn connect(&self, _: &object_store::ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Self(Arc::clone(&self.0))))
    }
}

#[async_trait]
impl HttpService for Connection {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.0.exchange(request).await
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({})", self.url)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

/// The headers that are of use. What others say might not be understood.
fn read(headers: &HeaderMap) -> HeaderMap {
    let useful = [CONTENT_LENGTH, CONTENT_RANGE, ETAG, LOCATION];
    let find = |name: HeaderName| headers.get(&name).map(|value| (name, value.clone()));
    useful.into_iter().filter_map(find).collect()
}

fn body_is_error(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start();
    let root = match text.starts_with("<?") {
        true => text.split_once("?>").map_or("", |(_, rest)| rest.trim_start()),
        false => text,
    };
    root.starts_with("<Error>")
}

/// Errors and results of uploads are smaller.
const BODY_BYTES_MAX: usize = 1 << 20;
