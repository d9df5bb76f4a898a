//! From a request to its reply.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Key, Mode, PutOffset, Removal, Result,
};
use gannet_wire::http::{Action, Call, DATA_LENGTH, Head, JSON, Login, Reply, Routes, Version};
use hyper::body::{Body, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::rt::Executor;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::fault::Fault;
use super::incoming::RequestBody;
use super::outgoing::{Outgoing, Segment};
use super::paced::{Busy, Pace};
use super::{Chores, Rights, Shared};
use crate::serve::held::NoRoom;
use crate::serve::shares::{Full, Place};

/// What one connection knows.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) shared: Arc<Shared>,
    pub(super) routes: Arc<Routes>,
    pub(super) pace: Arc<Pace>,
    pub(super) from: Option<IpAddr>,
    pub(super) chores: Chores,
    pub(super) stop: watch::Receiver<bool>,
}

/// What lives until the last byte of a reply is sent: the request counts as in flight, and the
/// peer need not send anything.
pub(super) type Keep = (Busy, Option<Place>);

/// A reply whose body does not hold anything yet.
pub(super) struct Draft {
    pub(super) head: Response<()>,
    pub(super) segments: Vec<Segment>,
    /// Whether the length of the body is announced.
    pub(super) sized: bool,
    pub(super) permit: Option<Place>,
}

/// A call on its way to the place it asks.
pub(super) struct Errand<'a> {
    pub(super) annex: Arc<dyn Annex>,
    pub(super) asker: Asker,
    pub(super) rights: Rights,
    pub(super) head_only: bool,
    /// Without its header fields, unless the route is the unversioned one.
    pub(super) request: &'a Parts,
}

impl Visit {
    /// Answers one request. Dropping the future, or the body of the reply, frees all it holds.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response<Outgoing<Keep>> {
        let (mut request, body) = request.into_parts();
        let ends_blank = body.size_hint().exact().is_none_or(|len| len == 0);
        let busy = self.pace.busy(request.version == hyper::Version::HTTP_2, ends_blank);
        let body = RequestBody::new(body);
        let announced =
            request.headers.get(DATA_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let waits = request.headers.contains_key(EXPECT);
        let mut draft = match self.respond(&mut request, &body).await {
            Ok(draft) => draft,
            Err(fault) => Draft::fault(fault),
        };
        if request.method == Method::HEAD {
            draft.behead();
        }
        tracing::debug!("{} {}: {}", request.method, request.uri.path(), draft.head.status());
        if request.version != hyper::Version::HTTP_2 && body.give_up(&self.pace, announced) {
            draft.head.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let drained = self.pace.busy(false, ends_blank);
        if let Some(rest) = body.drain(&self.pace, drained, waits) {
            self.chores.execute(rest);
        }
        let keep = (busy, draft.permit);
        draft.head.map(|()| match draft.sized {
            true => Outgoing::sized(draft.segments, keep),
            false => Outgoing::chunked(draft.segments, keep),
        })
    }

    /// Judges in the order of p2p-http §1: request, repository, rights; then acts.
    async fn respond(&self, request: &mut Parts, body: &RequestBody) -> Result<Draft, Fault> {
        check_framing(request)?;
        let call = self.routes.read(Head {
            method: request.method.as_str(),
            path: request.uri.path().as_bytes(),
            query: request.uri.query().unwrap_or_default().as_bytes(),
            data_length: request.headers.get(DATA_LENGTH).map(HeaderValue::as_bytes),
        })?;
        let login = request.headers.get(AUTHORIZATION);
        let login = login.and_then(|header| Login::parse(header.as_bytes()));
        let rights = self.shared.house.rights(login.as_ref());
        let Call { server, version, client, bypass, head_only, action } = call;
        if version.is_some() {
            // Nobody looks at them again, and the request may last for days.
            request.headers = HeaderMap::new();
        }
        let annex = match self.shared.house.annex(&server).await {
            Ok(annex) => {
                annex.ok_or_else(|| Fault::new(StatusCode::NOT_FOUND, "no such repository here"))?
            }
            Err(error) => {
                tracing::warn!("cannot serve {server}: {}", error.chain());
                return Err(Fault::from_error(&error, &rights));
            }
        };
        allow(rights.mode, &action).map_err(|error| Fault::from_error(&error, &rights))?;
        let asker = Asker { client, bypass, mode: rights.mode };
        let errand = Errand { annex, asker, rights, head_only, request };
        if let Action::KeepLocked { lock_id } = action {
            return self.keep_locked(&lock_id, body).await;
        }
        let permit = self.shared.requests.take(self.from).map_err(|full| {
            Fault::overloaded(match full {
                Full::InAll => "too many requests at once",
                Full::ForThisAddress => "too many requests from one address at once",
            })
        })?;
        let draft = match version {
            Some(version) => self.act(version, action, errand, body).await?,
            None => errand.get_plainly(action).await?,
        };
        Ok(Draft { permit: Some(permit), ..draft })
    }

    async fn act(
        &self,
        version: Version,
        action: Action,
        errand: Errand<'_>,
        body: &RequestBody,
    ) -> Result<Draft, Fault> {
        let Errand { annex, asker, .. } = &errand;
        let reply = match action {
            Action::Get { key, file, offset } => {
                return errand.get(&key, &file, offset).await;
            }
            Action::CheckPresent { key } => {
                annex.check_present(asker, &key).await.map(Reply::Present)
            }
            Action::LockContent { key } => self.lock(&errand, &key).await,
            Action::KeepLocked { .. } => Ok(Reply::NotLocked),
            Action::Remove { key } => removed(annex.remove(asker, &key).await),
            Action::RemoveBefore { key, deadline } => {
                removed(annex.remove_before(asker, &key, deadline).await)
            }
            Action::GetTimestamp => annex.timestamp(asker).await.map(Reply::Time),
            Action::PutOffset { key } => {
                let file = AssociatedFile::default();
                match annex.put_offset(asker, &key, &file).await {
                    // Another upload may fail yet: then this one may begin anew.
                    Err(Error::Busy { .. }) => Ok(Reply::Offset(PutOffset::From(0))),
                    offset => offset.map(Reply::Offset),
                }
            }
            Action::Put { key, file, offset, len } => {
                let content = Content {
                    total: offset.saturating_add(len),
                    from: offset,
                    len,
                    pieces: body.pieces(len, self.shared.limits.idle()),
                };
                stored(annex.put(asker, &key, &file, content).await)
            }
            Action::PutPresent { key, file } => stored(annex.put_present(asker, &key, &file).await),
        };
        match reply {
            Ok(reply) => Ok(Draft::result(&reply, version)),
            Err(error) => Err(errand.fault(&error)),
        }
    }

    async fn lock(&self, errand: &Errand<'_>, key: &Key) -> Result<Reply> {
        let locks = &self.shared.locks;
        let client = errand.asker.client.as_ref();
        let slot = match locks.reserve(client, self.from) {
            Ok(slot) => slot,
            Err(full) => {
                // One stranger must not fill the log either.
                match full {
                    NoRoom::InAll => tracing::warn!("{}: no more locks in all", errand.annex),
                    _ => tracing::debug!("{}: no more locks, {full:?}", errand.annex),
                }
                return Ok(Reply::NotLocked);
            }
        };
        match errand.annex.lock(&errand.asker, key).await {
            Ok(Some(lock)) => locks.hold(slot, lock).map(Reply::Locked),
            Ok(None) | Err(Error::Missing { .. } | Error::Busy { .. } | Error::Refused { .. }) => {
                Ok(Reply::NotLocked)
            }
            Err(error) => Err(error),
        }
    }
}

impl Errand<'_> {
    /// Logs what happened, and says what a stranger may know.
    pub(super) fn fault(&self, error: &Error) -> Fault {
        let fault = Fault::from_error(error, &self.rights);
        match fault.status {
            StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!("{}: {}", self.annex, error.chain());
            }
            StatusCode::INSUFFICIENT_STORAGE | StatusCode::BAD_GATEWAY => {
                tracing::warn!("{}: {}", self.annex, error.chain());
            }
            _ => tracing::debug!("{}: {}", self.annex, error.chain()),
        }
        fault
    }
}

impl Draft {
    /// A result, in JSON.
    pub(super) fn result(reply: &Reply, version: Version) -> Self {
        let mut head = Response::new(());
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        Self::text(head, reply.json(version))
    }

    /// Leaves of the body nothing but its length. hyper does so on HTTP/1 only.
    fn behead(&mut self) {
        if self.sized {
            let len: u64 = self.segments.iter().map(Segment::len).sum();
            self.head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        self.segments.clear();
        self.sized = false;
    }

    fn fault(fault: Fault) -> Self {
        let mut head = Response::new(());
        *head.status_mut() = fault.status;
        head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN));
        if let Some((name, value)) = fault.header {
            head.headers_mut().insert(name, value);
        }
        Self::text(head, fault.text + "\n")
    }

    fn text(head: Response<()>, text: String) -> Self {
        let segments = vec![Segment::Text(Bytes::from(text))];
        Self { head, segments, sized: true, permit: None }
    }
}

/// Refuses a head on which two servers could disagree: one without a host, and one whose body is
/// encoded in a way that is not undone here (RFC 9112 §3.2, §6.1).
fn check_framing(request: &Parts) -> Result<(), Fault> {
    if request.version == hyper::Version::HTTP_11 && !request.headers.contains_key(HOST) {
        return Err(Fault::new(StatusCode::BAD_REQUEST, "no Host header"));
    }
    let mut encodings = request.headers.get_all(TRANSFER_ENCODING).iter();
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(only), None) if plain(only) => Ok(()),
        _ => Err(Fault::new(StatusCode::NOT_IMPLEMENTED, "no transfer coding but chunked")),
    }
}

/// Asks for the right that an action needs (p2p-http §5).
fn allow(mode: Mode, action: &Action) -> Result<()> {
    match action {
        Action::Get { .. } | Action::CheckPresent { .. } | Action::GetTimestamp => {
            mode.allow_read()
        }
        Action::Put { .. } | Action::PutPresent { .. } | Action::PutOffset { .. } => {
            mode.allow_write()
        }
        Action::Remove { .. } | Action::RemoveBefore { .. } => mode.allow_remove(),
        Action::LockContent { .. } | Action::KeepLocked { .. } => mode.allow_lock(),
    }
}

/// Content that did not arrive well is a result, and so is content that is wanted elsewhere just
/// now (p2p-http §3.4): the client may try again.
fn stored(outcome: Result<gannet_core::Stored>) -> Result<Reply> {
    match outcome {
        Ok(stored) => Ok(Reply::Stored { stored: true, plus: stored.plus }),
        Err(error) => match error {
            Error::Missing { .. }
            | Error::Rejected { .. }
            | Error::Refused { .. }
            | Error::WrongLength
            | Error::Interrupted
            | Error::Doubtful
            | Error::WrongOffset { .. }
            | Error::Busy { .. } => {
                // Whoever may write could fill the log with these; the client hears the gist.
                tracing::debug!("not stored: {}", error.chain());
                Ok(Reply::Stored { stored: false, plus: Vec::new() })
            }
            Error::Overloaded { .. }
            | Error::NoSpace { .. }
            | Error::Forbidden { .. }
            | Error::Unsupported(_)
            | Error::Stalled
            | Error::Disk { .. }
            | Error::Git { .. }
            | Error::Command { .. }
            | Error::Remote { .. }
            | Error::Internal(_) => Err(error),
        },
    }
}

/// Content that is in use is not removed: a result, too.
fn removed(outcome: Result<Removal>) -> Result<Reply> {
    match outcome {
        Err(Error::Busy { .. }) => Ok(Reply::Removed(Removal::refused())),
        outcome => outcome.map(Reply::Removed),
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";
