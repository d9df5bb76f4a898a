//! A repository behind the HTTP API keeps the promise (p2p-http §7, "G client").
//!
//! [`HttpRemote`] says what each verb asks for and what the answer means; `caller` gets a request
//! there and a reply back, whatever version, login or address the server wants.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Key, Lock, PutOffset, Removal, Result, Span,
    Stored, Timestamp, Uuid,
};
use gannet_wire::http::result::{self, BadResult};
use gannet_wire::http::{Action, Version};
use reqwest::StatusCode;

use self::caller::Caller;

mod caller;
mod client;
mod keeping;
mod receiving;
mod sending;
mod sign_in;
#[cfg(test)]
mod tests;
mod url;

pub use gannet_wire::http::Version as HttpVersion;

pub(in crate::remote) use caller::chain;
pub use gannet_wire::http::Login;

pub use client::{BadHttpClient, HttpClient, HttpClientOptions};
pub(in crate::remote) use sending::Sending;
pub use sign_in::{Known, SignIn};
pub use url::{AnnexUrl, BadUrl};

/// A repository behind an `annex+http://` URL.
///
/// It speaks the newest version that the server does, and remembers it. Nothing is connected
/// before the first verb is called. What a server does not say is never guessed: an error is not
/// "absent", and contents that were cut short are [`Error::Interrupted`].
pub struct HttpRemote {
    uuid: Uuid,
    caller: Arc<Caller>,
}

/// How long a server may do nothing.
///
/// None of these cuts a transfer that moves: time runs only while it is the server's turn.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a reply begins, once all of the request has been sent. Long, because a server may
    /// have to hash what it holds of a large content first.
    pub reply: Duration,
    /// Until the next bytes of a body are sent or received.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { reply: Duration::from_secs(30 * 60), idle: Duration::from_secs(120) }
    }
}

impl HttpRemote {
    /// The repository `uuid` at `url`, or behind the gateway there.
    #[must_use]
    pub fn new(
        uuid: Uuid,
        url: &AnnexUrl,
        http: &HttpClient,
        sign_in: Arc<dyn SignIn>,
        patience: Patience,
    ) -> Self {
        let caller = Caller::new(uuid.clone(), url, http, sign_in, patience);
        Self { uuid, caller: Arc::new(caller) }
    }

    /// Speaks no newer version than this one.
    #[must_use]
    pub fn speaking_at_most(self, version: Version) -> Self {
        self.caller.speak_at_most(version);
        self
    }

    /// The version that the server was seen to speak; `None` before it was.
    #[must_use]
    pub fn spoken(&self) -> Option<Version> {
        self.caller.spoken()
    }

    /// Calls, and reads the result.
    async fn ask<T>(
        &self,
        asker: &Asker,
        action: Action,
        read: impl FnOnce(&[u8]) -> Result<T, BadResult>,
    ) -> Result<T> {
        let body = self.caller.result(asker, &action).await?;
        read(&body).map_err(|bad| self.caller.fault(bad))
    }

    /// Tells whether absent content is what a 404, or an empty reply, meant.
    async fn missing_or(&self, asker: &Asker, key: &Key, error: Error) -> Error {
        match self.check_present(asker, key).await {
            Ok(false) => Error::Missing { key: key.clone() },
            Ok(true) => error,
            Err(error) => error,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for HttpRemote {
    fn uuid(&self) -> &Uuid {
        &self.uuid
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        self.ask(asker, Action::CheckPresent { key: key.clone() }, result::present).await
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        // In version 0 nobody vouches for a content but the hash of all of it (p2p-http §3.1).
        let from = || match self.caller.speaks_at_most() == Version::V0 && span.is_provable(key) {
            true => 0,
            false => span.from,
        };
        let get = |offset| Action::Get { key: key.clone(), file: file.clone(), offset };
        let mut read = Span { from: from(), ..span };
        let mut reply = self.caller.reply(asker, &get(read.from)).await?;
        if from() != read.from {
            read.from = from();
            reply = self.caller.reply(asker, &get(read.from)).await?;
        }
        if reply.status() == StatusCode::NOT_FOUND {
            let error = self.caller.unexpected(&reply);
            return Err(self.missing_or(asker, key, error).await);
        }
        let content = receiving::content(reply, key, read, &self.caller)?;
        // The reference answers so, too, when the content is absent.
        if content.len == 0 && span.to.is_none_or(|to| to > span.from) {
            let nothing = Error::Missing { key: key.clone() };
            if !self.check_present(asker, key).await? {
                return Err(nothing);
            }
        }
        Ok(match self.caller.speaks_at_most() {
            Version::V0 => content.judged_by(key).starting_at(span.from),
            _ => content,
        })
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        _file: &AssociatedFile,
    ) -> Result<PutOffset> {
        let action = Action::PutOffset { key: key.clone() };
        match self.ask(asker, action, result::put_offset).await {
            Ok(PutOffset::From(offset)) if key.size().is_some_and(|size| offset > size) => {
                // More than there is: nothing of it can be right.
                Ok(PutOffset::From(0))
            }
            // Nobody can be asked how much he holds in version 0.
            Err(Error::Unsupported(_)) => Ok(match self.check_present(asker, key).await? {
                true => PutOffset::AlreadyHave { plus: Vec::new() },
                false => PutOffset::From(0),
            }),
            answer => answer,
        }
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        // A body can be sent once only. Version, login and address must be known before.
        if !self.caller.is_acquainted()
            && let PutOffset::AlreadyHave { plus } = self.put_offset(asker, key, file).await?
        {
            return Ok(Stored { plus });
        }
        let (offset, len) = (content.from, content.len);
        let action = Action::Put { key: key.clone(), file: file.clone(), offset, len };
        let (body, sent) = Sending::new(content);
        let reply = self.caller.put(asker, &action, body, &sent).await;
        let broke = sent.broke();
        match reply.and_then(|body| result::stored(&body).map_err(|bad| self.caller.fault(bad))) {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => {
                Err(broke.unwrap_or_else(|| self.caller.fault("did not store the content")))
            }
            // What broke the body says more than what the server made of it.
            Err(error) => Err(broke.unwrap_or(error)),
        }
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        let missing = Error::Missing { key: key.clone() };
        let action = Action::PutPresent { key: key.clone(), file: file.clone() };
        match self.ask(asker, action, result::stored).await {
            // Older servers note presence only by a put; they are asked whether it is needed.
            Err(Error::Unsupported(_)) => match self.put_offset(asker, key, file).await? {
                PutOffset::AlreadyHave { plus } => Ok(Stored { plus }),
                PutOffset::From(_) => Err(missing),
            },
            stored => stored?.ok_or(missing),
        }
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.ask(asker, Action::Remove { key: key.clone() }, result::removal).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.ask(asker, Action::RemoveBefore { key: key.clone(), deadline }, result::removal).await
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        self.ask(asker, Action::GetTimestamp, result::timestamp).await
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        let action = Action::LockContent { key: key.clone() };
        match self.ask(asker, action, result::lock).await? {
            None => Ok(None),
            Some(lock_id) => {
                let kept = keeping::keep(&self.caller, asker, lock_id).await?;
                Ok(Some(Lock::new(kept)))
            }
        }
    }
}

impl fmt::Display for HttpRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.caller.fmt(f)
    }
}
