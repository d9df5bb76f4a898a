//! The special remote `httpalso`: what another special remote keeps, read from a web server
//! (remotes §9).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use gannet_core::place::{Levels, Scheme, hash_dirs};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::timeout;

use super::http::HttpClient;
use super::special::{Found, Permission, Source, Store};

/// Objects below a url, in whatever layout they lie there. They can only be read: the
/// [`Special`](super::special::Special) over it is to be `readonly`.
///
/// The first layout in which an object is found is the one that is used from then on.
pub struct HttpAlso {
    client: Client,
    /// Without a slash at its end.
    url: String,
    /// Number of the layout that was found, if there is one.
    layout: AtomicUsize,
}

impl HttpAlso {
    /// Objects below `url`.
    #[must_use]
    pub fn new(client: HttpClient, url: &str) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { client: client.0, url, layout: AtomicUsize::new(UNKNOWN) }
    }

    /// Where the object is, and how large.
    async fn locate(&self, name: &Key) -> Result<Option<(String, Option<u64>)>> {
        let known = self.layout.load(Ordering::Relaxed);
        for (layout, paths) in layouts(name).into_iter().enumerate() {
            if known != UNKNOWN && known != layout {
                continue;
            }
            for path in paths {
                let url = format!("{}/{path}", self.url);
                let reply = self.ask(Method::HEAD, &url, None).await?;
                match reply.status() {
                    StatusCode::OK => {
                        self.layout.store(layout, Ordering::Relaxed);
                        let bytes = reply.headers().get(CONTENT_LENGTH);
                        let bytes = bytes.and_then(|bytes| bytes.to_str().ok()?.parse().ok());
                        return Ok(Some((url, bytes)));
                    }
                    StatusCode::NOT_FOUND | StatusCode::GONE => {}
                    status => return Err(self.fault(format!("{status} for {url}"))),
                }
            }
        }
        Ok(None)
    }

    async fn ask(&self, method: Method, url: &str, range: Option<String>) -> Result<Response> {
        let mut request = self.client.request(method, url);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        match timeout(IDLE, request.send()).await {
            Ok(reply) => reply.map_err(|error| self.fault(error.to_string())),
            Err(_) => Err(Error::Stalled),
        }
    }

    fn fault(&self, why: String) -> Error {
        Error::Remote { place: self.to_string(), why }
    }
}

#[async_trait]
impl Store for HttpAlso {
    async fn find(&self, name: &Key) -> Result<Option<Found>> {
        Ok(self.locate(name).await?.map(|(_, bytes)| Found { bytes }))
    }

    async fn get(&self, name: &Key, bytes: Option<u64>, span: Span) -> Result<Content> {
        let missing = || Error::Missing { key: name.clone() };
        let (url, found) = self.locate(name).await?.ok_or_else(missing)?;
        let total = found.or(bytes);
        let total = total.ok_or_else(|| self.fault("the server tells no sizes".to_owned()))?;
        let (from, len) = span.within(total);
        let (client, place) = (self.client.clone(), self.to_string());
        let asking = async move {
            let fault = |why: String| Error::Remote { place: place.clone(), why };
            if len == 0 {
                return Ok(stream::once(async { Ok(Piece::End(Verdict::Valid)) }).boxed());
            }
            let mut request = client.get(&url);
            if len != total {
                request = request.header(RANGE, format!("bytes={from}-{}", from + len - 1));
            }
            let reply = timeout(IDLE, request.send()).await.map_err(|_| Error::Stalled)?;
            let reply = reply.map_err(|error| fault(error.to_string()))?;
            // A server may ignore what part was asked for.
            let skip = match reply.status() {
                StatusCode::OK => from,
                StatusCode::PARTIAL_CONTENT if begins_at(&reply, from) => 0,
                status => return Err(fault(format!("{status} for a part of {url}"))),
            };
            Ok(pieces(reply, place, skip, len))
        };
        let pieces = stream::once(asking).try_flatten().boxed();
        Ok(Content { total, from, len, pieces })
    }

    async fn put(&self, _: &Key, _: &Source) -> Result<()> {
        Err(read_only())
    }

    async fn remove(&self, _: &Key, _: &Permission) -> Result<bool> {
        Err(read_only())
    }
}

impl fmt::Display for HttpAlso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What signs in somewhere is nobody's business.
        match self.url.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
            Some((scheme, Some((_, rest)))) => write!(f, "{scheme}://{rest}"),
            _ => f.write_str(&self.url),
        }
    }
}

/// The body without its first `skip` bytes, which must have `len` bytes more at least.
fn pieces(
    reply: Response,
    place: String,
    skip: u64,
    len: u64,
) -> BoxStream<'static, Result<Piece>> {
    let state = (reply, place, skip, len, false);
    let next = |(mut reply, place, mut skip, mut left, ended)| async move {
        if ended {
            return Ok(None);
        }
        loop {
            if left == 0 {
                return Ok(Some((Piece::End(Verdict::Valid), (reply, place, skip, left, true))));
            }
            let chunk: Result<Option<bytes::Bytes>, _> =
                timeout(IDLE, Response::chunk(&mut reply)).await.map_err(|_| Error::Stalled)?;
            let chunk = chunk.map_err(|error| Error::Remote {
                place: String::clone(&place),
                why: error.to_string(),
            })?;
            let Some(mut bytes) = chunk else { return Err(Error::Interrupted) };
            let skipped = usize::try_from(skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
            drop(bytes.split_to(skipped));
            skip -= skipped as u64;
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            if !bytes.is_empty() {
                left -= bytes.len() as u64;
                return Ok(Some((Piece::Bytes(bytes), (reply, place, skip, left, false))));
            }
        }
    };
    stream::try_unfold(state, next).boxed()
}

fn begins_at(reply: &Response, from: u64) -> bool {
    let range = reply.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// In which ways objects may lie below the url; where the first of a pair is not, the second may
/// be.
fn layouts(name: &Key) -> [Vec<String>; 4] {
    let file = percent_encode(&name.file_name(), ESCAPED).to_string();
    let dirs =
        |levels| [Scheme::Lower, Scheme::Mixed].map(|scheme| hash_dirs(scheme, levels, name));
    let below = |levels, file: &str| dirs(levels).map(|dirs| format!("{dirs}/{file}")).to_vec();
    [
        below(Levels::Two, &format!("{file}/{file}")),
        vec![file.clone()],
        below(Levels::Two, &file),
        below(Levels::One, &file),
    ]
}

fn read_only() -> Error {
    Error::Unsupported("this remote is readonly".to_owned())
}

const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const UNKNOWN: usize = usize::MAX;
const IDLE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
