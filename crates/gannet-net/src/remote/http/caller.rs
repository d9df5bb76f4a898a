//! Gets a request to a server and a reply back: whatever version it speaks, whoever it wants to
//! know, wherever it has moved.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use gannet_core::error::Denied;
use gannet_core::{Asker, Error, Key, Result, Uuid};
use gannet_wire::http::{Action, Call, DATA_LENGTH, Login, OCTETS, Request, Version};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use tokio::time::{sleep, timeout};

use super::sending::{Sending, Sent};
use super::{AnnexUrl, HttpClient, Patience, SignIn, url};

pub(super) struct Caller {
    uuid: Uuid,
    http: HttpClient,
    sign_in: Arc<dyn SignIn>,
    pub(super) patience: Patience,
    /// Where we were told that the server is: logins are for it alone.
    origin: Url,
    /// Where it was found.
    base: Mutex<Url>,
    /// Index in [`Version::ALL`] of the newest that may be spoken.
    newest: AtomicU8,
    /// The server was seen to speak the newest one.
    proven: AtomicBool,
    /// The server was seen to let us write.
    acquainted: AtomicBool,
    login: Mutex<Option<Used>>,
    /// Kept while somebody is asked for a login, so that it is asked for once.
    asking: tokio::sync::Mutex<()>,
}

/// Whose turn it is while a reply is waited for.
enum Waiting<'a> {
    /// The server has all it needs.
    Reply,
    /// A body is under way.
    Sent(&'a Sent),
    /// The reply comes when we say so.
    ForEver,
}

/// A login that is sent with each request.
#[derive(Clone, PartialEq, Eq)]
struct Used {
    login: Login,
    header: String,
    /// The same in the other alphabet, if the server turns out to read only that one.
    other: Option<String>,
    accepted: bool,
}

impl Caller {
    pub(super) fn new(
        uuid: Uuid,
        url: &AnnexUrl,
        http: &HttpClient,
        sign_in: Arc<dyn SignIn>,
        patience: Patience,
    ) -> Self {
        Self {
            uuid,
            http: http.clone(),
            sign_in,
            patience,
            origin: url.base().clone(),
            base: Mutex::new(url.base().clone()),
            newest: AtomicU8::new(NEWEST),
            proven: AtomicBool::new(false),
            acquainted: AtomicBool::new(false),
            login: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// The newest version that the server may speak.
    pub(super) fn speaks_at_most(&self) -> Version {
        Version::ALL[usize::from(self.newest.load(Ordering::Relaxed).min(NEWEST))]
    }

    /// The version that the server was seen to speak.
    pub(super) fn spoken(&self) -> Option<Version> {
        self.proven.load(Ordering::Relaxed).then(|| self.speaks_at_most())
    }

    /// Whether version, login and address are known well enough to send a body, which can be
    /// sent once only.
    pub(super) fn is_acquainted(&self) -> bool {
        self.acquainted.load(Ordering::Relaxed)
    }

    /// The body of a reply whose status is 200.
    pub(super) async fn result(&self, asker: &Asker, action: &Action) -> Result<Bytes> {
        let reply = self.reply(asker, action).await?;
        match reply.status() {
            StatusCode::OK => self.body(reply).await,
            _ => Err(self.refused(action, reply).await),
        }
    }

    /// A reply whose status is 200 or 404.
    ///
    /// Until the server has been seen to speak a version, 404 may mean that it does not; then
    /// the older ones are tried (p2p-http §7.3). Some servers say 400 instead.
    pub(super) async fn reply(&self, asker: &Asker, action: &Action) -> Result<Response> {
        let mut version = self.speaks_at_most();
        if version < action.since() {
            return Err(self.too_old());
        }
        let mut first = None;
        loop {
            let call = self.call(asker, action, version);
            let reply = self.exchange(&call.write(), None, &Waiting::Reply).await?;
            let maybe_unspoken = matches!(reply.status().as_u16(), 400 | 404);
            match reply.status() {
                StatusCode::OK => {
                    self.speaks(version, action);
                    return Ok(reply);
                }
                _ if maybe_unspoken && !self.proven.load(Ordering::Relaxed) => {
                    let older = Version::ALL.into_iter().rev().find(|&older| older < version);
                    let older = older.filter(|&older| older >= action.since());
                    let reply = first.get_or_insert(reply);
                    match older {
                        Some(older) => version = older,
                        None if reply.status() == StatusCode::NOT_FOUND => break,
                        None => return Err(self.unexpected(reply)),
                    }
                }
                StatusCode::NOT_FOUND => return Ok(reply),
                _ => return Err(self.refused(action, reply).await),
            }
        }
        // All versions know how to ask this: then it is clear which are spoken.
        if action.since() > Version::V0
            && let Ok(key) = Key::parse(NO_CONTENT)
        {
            Box::pin(self.reply(asker, &Action::CheckPresent { key })).await?;
            if self.speaks_at_most() < action.since() {
                return Err(self.too_old());
            }
        }
        first.ok_or_else(|| self.too_old())
    }

    /// Sends a content, and returns the body of the reply.
    pub(super) async fn put(
        &self,
        asker: &Asker,
        action: &Action,
        body: Sending,
        sent: &Sent,
    ) -> Result<Bytes> {
        let call = self.call(asker, action, self.speaks_at_most());
        let body = Some(Body::wrap(body));
        let reply = self.exchange(&call.write(), body, &Waiting::Sent(sent)).await?;
        if reply.status() == StatusCode::OK {
            return self.body(reply).await;
        }
        // Another login may be wanted by now, for which the next put asks first.
        self.acquainted.store(false, Ordering::Relaxed);
        Err(self.refused(action, reply).await)
    }

    /// Keeps a lock for as long as `body` has no end.
    pub(super) async fn keep(&self, asker: &Asker, lock_id: Vec<u8>, body: Body) -> Result<()> {
        let action = Action::KeepLocked { lock_id };
        let call = self.call(asker, &action, self.speaks_at_most());
        let reply = self.exchange(&call.write(), Some(body), &Waiting::ForEver).await?;
        match reply.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.refused(&action, reply).await),
        }
    }

    /// An error of the server, or of the way to it.
    pub(super) fn fault(&self, why: impl fmt::Display) -> Error {
        Error::Remote { place: self.to_string(), why: why.to_string() }
    }

    /// An error that a status tells.
    pub(super) fn unexpected(&self, reply: &Response) -> Error {
        match reply.status() {
            StatusCode::NOT_FOUND => self.fault(
                "404 Not Found: there is no such repository, or the server knows no such request",
            ),
            status => self.fault(status),
        }
    }

    fn call(&self, asker: &Asker, action: &Action, version: Version) -> Call {
        let client = match action {
            Action::KeepLocked { .. } => None,
            // Every versioned request must say who asks.
            _ => Some(asker.client.clone().unwrap_or_else(|| self.uuid.clone())),
        };
        let bypass = if version >= Version::V2 { asker.bypass.clone() } else { Vec::new() };
        Call {
            server: self.uuid.clone(),
            version: Some(version),
            client,
            bypass,
            head_only: false,
            action: action.clone(),
        }
    }

    pub(super) fn speak_at_most(&self, version: Version) {
        let index = Version::ALL.iter().position(|&other| other == version);
        let index = index.and_then(|index| u8::try_from(index).ok()).unwrap_or(NEWEST);
        self.newest.store(index, Ordering::Relaxed);
    }

    fn speaks(&self, version: Version, action: &Action) {
        self.speak_at_most(version);
        self.proven.store(true, Ordering::Relaxed);
        let wrote = matches!(action, Action::PutOffset { .. } | Action::PutPresent { .. });
        if wrote || version == Version::V0 {
            self.acquainted.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a request, again where that helps, until there is a reply that says something.
    async fn exchange(
        &self,
        request: &Request,
        body: Option<Body>,
        waiting: &Waiting<'_>,
    ) -> Result<Response> {
        let once = body.is_some();
        let mut body = body;
        let (mut repeated, mut attempts) = (false, 0);
        loop {
            attempts += 1;
            let url = self.url(&request.target)?;
            let used = self.login_for(&url);
            let mut builder = self.http.0.request(method(request.method), url.clone());
            if let Some(used) = &used {
                let mut header =
                    HeaderValue::from_str(&used.header).map_err(|error| self.fault(error))?;
                header.set_sensitive(true);
                builder = builder.header(AUTHORIZATION, header);
            }
            if let Some(len) = request.data_length {
                builder = builder.header(DATA_LENGTH, len).header(CONTENT_TYPE, OCTETS);
            }
            if let Some(body) = body.take() {
                builder = builder.body(body);
            }
            let reply = tokio::select! {
                reply = builder.send() => reply,
                () = waiting.stalls(&self.patience) => return Err(self.fault("no reply in time")),
            };
            let reply = match reply {
                Ok(reply) => reply,
                // An idle connection may be closed at any moment, also at this one.
                Err(error) if !once && !repeated && !error.is_connect() => {
                    repeated = true;
                    continue;
                }
                Err(error) => {
                    if error.is_connect() {
                        // Where we were sent nobody may be any more.
                        *self.base() = self.origin.clone();
                    }
                    return Err(self.fault(chain(&error.without_url())));
                }
            };
            let may_repeat = !once && attempts < ATTEMPTS_MAX;
            match reply.status().as_u16() {
                301 | 307 | 308 => self.follow(&url, &request.target, &reply)?,
                302 | 303 => {
                    return Err(self.fault(format_args!("{}: not followed", reply.status())));
                }
                401 if may_repeat => self.sign_in(&url, used, &reply).await?,
                400 if may_repeat && self.use_other_alphabet(used.as_ref()) => {}
                _ => {
                    if let Some(used) = used.filter(|_| reply.status().is_success()) {
                        self.accepted(used).await;
                    }
                    return Ok(reply);
                }
            }
            if !may_repeat {
                return Err(self.fault(format_args!("{}: ask again", reply.status())));
            }
        }
    }

    fn url(&self, target: &str) -> Result<Url> {
        let base = self.base();
        let base = base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{target}")).map_err(|error| self.fault(error))
    }

    /// Takes notice that the server is elsewhere.
    fn follow(&self, url: &Url, target: &str, reply: &Response) -> Result<()> {
        let location = reply.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.and_then(|location| url.join(location).ok());
        let Some(location) = location else {
            return Err(self.fault(format_args!("{} to nowhere", reply.status())));
        };
        let base = url::moved(url, target, &location).map_err(|why| self.fault(why))?;
        *self.base() = base;
        Ok(())
    }

    fn base(&self) -> MutexGuard<'_, Url> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logins are for the server that they were given for, however it is reached.
    fn is_ours(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
            || (url.scheme() == "https" && url.host() == self.origin.host())
    }

    fn login_for(&self, url: &Url) -> Option<Used> {
        self.login().clone().filter(|_| self.is_ours(url))
    }

    /// Gets another login than `used`, which the server did not take.
    async fn sign_in(&self, url: &Url, used: Option<Used>, reply: &Response) -> Result<()> {
        if !self.is_ours(url) {
            return Err(self.fault("401 Unauthorized, after a redirect to another server"));
        }
        let _asking = self.asking.lock().await;
        if *self.login() != used {
            // Somebody else was quicker.
            return Ok(());
        }
        if let Some(used) = used {
            *self.login() = None;
            self.sign_in.rejected(&used.login).await;
            if !used.accepted {
                return Err(self.fault("401 Unauthorized: wrong user or password"));
            }
        }
        let challenges: Vec<_> = reply.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        let challenges = challenges.into_iter().filter_map(|text| text.to_str().ok());
        let challenges: Vec<_> = challenges.map(str::to_owned).collect();
        let Some(login) = self.sign_in.login(&challenges).await else {
            return Err(self.fault("401 Unauthorized: user and password are needed"));
        };
        let (header, other) = login.headers();
        *self.login() = Some(Used { login, header, other, accepted: false });
        Ok(())
    }

    fn use_other_alphabet(&self, used: Option<&Used>) -> bool {
        let Some(used) = used.filter(|used| !used.accepted) else { return false };
        let Some(other) = used.other.clone() else { return false };
        *self.login() = Some(Used { header: other, other: None, ..used.clone() });
        true
    }

    async fn accepted(&self, used: Used) {
        if used.accepted {
            return;
        }
        let login = used.login.clone();
        {
            let mut current = self.login();
            if current.as_ref() != Some(&used) {
                return;
            }
            *current = Some(Used { accepted: true, ..used });
        }
        self.sign_in.accepted(&login).await;
    }

    fn login(&self) -> MutexGuard<'_, Option<Used>> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn too_old(&self) -> Error {
        Error::Unsupported(format!("{self}: the server is too old for that"))
    }

    /// An error that a reply tells, with the server's own words.
    async fn refused(&self, action: &Action, reply: Response) -> Error {
        let status = reply.status();
        match status {
            StatusCode::FORBIDDEN => return Error::Forbidden { denied: right_for(action) },
            StatusCode::SERVICE_UNAVAILABLE => {
                return Error::Overloaded { what: "requests at the server" };
            }
            StatusCode::NOT_FOUND => return self.unexpected(&reply),
            _ => {}
        }
        let text = self.body(reply).await.unwrap_or_default();
        let text: String = String::from_utf8_lossy(&text)
            .chars()
            .take(TEXT_CHARS_MAX)
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        match text.trim() {
            "" => self.fault(status),
            text => self.fault(format_args!("{status}: {text}")),
        }
    }

    async fn body(&self, mut reply: Response) -> Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            match timeout(self.patience.idle, reply.chunk()).await {
                Err(_) => return Err(self.fault("the reply stopped in the middle")),
                Ok(Err(error)) => return Err(self.fault(chain(&error.without_url()))),
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
            }
            if body.len() > RESULT_BYTES_MAX {
                return Err(self.fault("the reply is too long"));
            }
        }
    }
}

impl Waiting<'_> {
    async fn stalls(&self, patience: &Patience) {
        match self {
            Self::Reply => sleep(patience.reply).await,
            Self::Sent(sent) => sent.stalls(patience.idle, patience.reply).await,
            Self::ForEver => std::future::pending().await,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at annex+{}", self.uuid.as_str(), self.origin)
    }
}

fn method(name: &str) -> Method {
    if name == "GET" { Method::GET } else { Method::POST }
}

fn right_for(action: &Action) -> Denied {
    match action {
        Action::Get { .. } | Action::CheckPresent { .. } | Action::GetTimestamp => Denied::Read,
        Action::Put { .. } | Action::PutPresent { .. } | Action::PutOffset { .. } => Denied::Write,
        Action::Remove { .. } | Action::RemoveBefore { .. } => Denied::Remove,
        Action::LockContent { .. } | Action::KeepLocked { .. } => Denied::Lock,
    }
}

/// An error with its causes: the outermost one seldom says what happened.
pub(in crate::remote) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

const NEWEST: u8 = 4;
/// A key of which it does not matter whether anybody has its content.
const NO_CONTENT: &[u8] = b"WORM-s0--versions";
const ATTEMPTS_MAX: u32 = 10;
const RESULT_BYTES_MAX: usize = 1 << 20;
const TEXT_CHARS_MAX: usize = 300;
