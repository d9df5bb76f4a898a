//! A repository that speaks the line protocol keeps the promise (p2p-line §6, "G client").
//!
//! [`LineRemote`] says what each verb asks for and what the answer means; `pool` keeps
//! connections, of which each is used by one request at a time; [`Dial`] makes them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use gannet_core::error::Denied;
use gannet_core::lock::Held;
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Key, Lock, Piece, PutOffset, Removal, Result,
    Span, Stored, Timestamp, Uuid, Verdict,
};
use gannet_wire::p2p::{APPEND_ONLY, Answer, READ_ONLY, Request, Text, Version};

use self::connection::{Connection, Trouble};
use self::pool::{Pool, Use};

mod connection;
mod dial;
mod pool;
mod receiving;
#[cfg(test)]
mod tests;

pub use dial::{Dial, Dialled, Farewell, Program, Socket};

/// A repository at the other end of a connection that speaks the line protocol.
///
/// Connections are made when they are needed, kept for the next request if nothing is in doubt,
/// and closed otherwise. Dropping the future of a verb closes the one that it used.
pub struct LineRemote {
    uuid: Uuid,
    pool: Arc<Pool>,
}

/// How many connections there may be, and how long the other end may do nothing.
///
/// None of these cuts a transfer that moves: time runs only while it is the other end's turn.
#[derive(Clone, Copy, Debug)]
pub struct LineLimits {
    /// Connections at once, not counted those on which contents come and those of locks.
    pub connections_max: usize,
    /// Contents that come at once; each takes a connection, for as long as its reader likes.
    pub gets_max: usize,
    /// Locks at once; each takes a connection.
    pub locks_max: usize,
    /// Until a connection is made, and the other end has said who it is.
    pub connect: Duration,
    /// Until an answer comes. Long, because the other end may have to hash what it holds of a
    /// large content first.
    pub reply: Duration,
    /// Until the next bytes of a content are sent or received.
    pub idle: Duration,
    /// How long a connection that nobody uses is kept.
    pub keep: Duration,
    /// How many connections that nobody uses are kept.
    pub idle_max: usize,
    /// No newer version is spoken.
    pub newest: Version,
    /// Who speaks only an older one is not spoken to.
    pub oldest: Version,
}

impl Default for LineLimits {
    fn default() -> Self {
        Self {
            connections_max: 8,
            gets_max: 8,
            locks_max: 32,
            connect: Duration::from_secs(60),
            reply: Duration::from_secs(30 * 60),
            idle: Duration::from_secs(120),
            keep: Duration::from_secs(60),
            idle_max: 8,
            newest: Version::NEWEST,
            oldest: Version::V0,
        }
    }
}

impl LineRemote {
    /// The repository `uuid`, which `dial` reaches.
    #[must_use]
    pub fn new(uuid: Uuid, dial: Arc<dyn Dial>, limits: LineLimits) -> Self {
        let pool = Arc::new(Pool::new(uuid.clone(), dial, limits));
        Self { uuid, pool }
    }

    /// The version that was agreed upon last; `None` before there was a connection.
    #[must_use]
    pub fn spoken(&self) -> Option<Version> {
        self.pool.spoken()
    }

    /// Asks, and returns the answer and the connection, on which more may follow.
    ///
    /// An idle connection may have been closed without our knowledge; then another is tried. What
    /// is asked for here may be asked twice.
    async fn call(&self, asker: &Asker, request: &Request) -> Result<(Connection, Answer)> {
        let uses = match request {
            Request::LockContent { .. } => Use::Lock,
            _ => Use::Answer,
        };
        self.call_in(asker, uses, |_| request.clone()).await
    }

    /// The same with a request that depends on the version that is spoken.
    async fn call_in(
        &self,
        asker: &Asker,
        uses: Use,
        request: impl Fn(Version) -> Request,
    ) -> Result<(Connection, Answer)> {
        loop {
            let mut connection = self.pool.lease(asker, uses).await?;
            let request = &request(connection.version());
            match connection.ask(request).await {
                Ok(Answer::Refused(text)) => {
                    let error = self.refused(&text);
                    self.pool.give_back(connection);
                    return Err(error);
                }
                Ok(answer) => return Ok((connection, answer)),
                Err(Trouble::Unasked(why)) => {
                    self.pool.give_back(connection);
                    return Err(self.unasked(request, why));
                }
                Err(trouble) if connection.was_used() && trouble.is_loss() => {}
                Err(trouble) => return Err(connection.fault(trouble).await),
            }
        }
    }

    /// Asks for something that has an answer and nothing more.
    async fn ask<T>(
        &self,
        asker: &Asker,
        request: Request,
        read: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T> {
        let (connection, answer) = self.call(asker, &request).await?;
        match read(answer) {
            Some(read) => {
                self.pool.give_back(connection);
                Ok(read)
            }
            None => Err(connection.fault(Trouble::Nonsense).await),
        }
    }

    fn refused(&self, text: &Text) -> Error {
        match text.as_bytes() {
            text if text == READ_ONLY.as_bytes() => Error::Forbidden { denied: Denied::Write },
            text if text == APPEND_ONLY.as_bytes() => Error::Forbidden { denied: Denied::Remove },
            _ => Error::Remote { place: self.to_string(), why: text.to_string() },
        }
    }

    fn unasked(&self, request: &Request, why: gannet_wire::p2p::client::Unasked) -> Error {
        use gannet_wire::p2p::client::Unasked;
        match (why, key_of(request)) {
            (Unasked::Unspeakable(why), Some(key)) => {
                Error::Refused { key: key.clone(), why: why.to_string() }
            }
            (why, _) => Error::Unsupported(format!("{self}: {why}")),
        }
    }

    /// Leaves a put that was begun: without a trace if that can be said, else by closing.
    async fn decline(&self, mut connection: Connection) {
        if connection.decline().await.is_ok() {
            self.pool.give_back(connection);
        }
    }

    /// Sends the part of `content` that the other end lacks, and waits for what comes of it.
    async fn pour(
        &self,
        mut connection: Connection,
        mut content: Content,
        held: u64,
    ) -> Result<Stored> {
        let mut skip = held.saturating_sub(content.from).min(content.len);
        let mut left = content.len;
        // The last bytes wait for the verdict. Servers have been seen to store a content that was
        // complete and never vouched for, once the connection had broken.
        let mut last = Bytes::new();
        let verdict = loop {
            match content.pieces.next().await {
                Some(Ok(Piece::Bytes(mut bytes))) => {
                    let Some(rest) = left.checked_sub(bytes.len() as u64) else {
                        return Err(Error::WrongLength);
                    };
                    left = rest;
                    let skipped = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                    skip -= skipped as u64;
                    let bytes = bytes.split_off(skipped);
                    if left == 0 && !bytes.is_empty() {
                        last = bytes;
                    } else if !bytes.is_empty()
                        && let Err(trouble) = connection.pass(bytes).await
                    {
                        return Err(connection.fault(trouble).await);
                    }
                }
                Some(Ok(Piece::End(verdict))) if left == 0 => break verdict,
                Some(Ok(Piece::End(_))) | None => return Err(Error::Interrupted),
                Some(Err(error)) => return Err(error),
            }
        };
        drop(content);
        if let Err(trouble) = connection.pass(last).await {
            return Err(connection.fault(trouble).await);
        }
        match (connection.end(verdict).await, verdict) {
            // Version 0 cannot say so otherwise than by ending here.
            (Err(_), Verdict::Doubtful) => Err(Error::Doubtful),
            (Err(trouble), Verdict::Valid) => Err(connection.fault(trouble).await),
            (Ok(answer), _) => {
                let outcome = match (answer, verdict) {
                    (_, Verdict::Doubtful) => Err(Error::Doubtful),
                    (Answer::Stored(stored), Verdict::Valid) => Ok(stored),
                    (Answer::Refused(text), Verdict::Valid) => Err(self.refused(&text)),
                    (_, Verdict::Valid) => Err(self.fault("it did not store the content")),
                };
                self.pool.give_back(connection);
                outcome
            }
        }
    }

    fn fault(&self, why: impl fmt::Display) -> Error {
        Error::Remote { place: self.to_string(), why: why.to_string() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for LineRemote {
    fn uuid(&self) -> &Uuid {
        &self.uuid
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        let request = Request::CheckPresent { key: key.clone() };
        self.ask(asker, request, |answer| match answer {
            Answer::Present(present) => Some(present),
            _ => None,
        })
        .await
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        // In version 0 nobody vouches for a content but the hash of all of it.
        let from = |version: Version| match !version.tells_validity() && span.is_provable(key) {
            true => 0,
            false => span.from,
        };
        let request = |version: Version| Request::Get {
            key: key.clone(),
            file: file.clone(),
            from: from(version),
        };
        match self.call_in(asker, Use::Get, request).await? {
            (connection, Answer::Content { len }) => {
                let version = connection.version();
                let read = Span { from: from(version), ..span };
                let content = receiving::content(&self.pool, connection, key, read, len);
                Ok(match version.tells_validity() {
                    true => content,
                    false => content.judged_by(key).starting_at(span.from),
                })
            }
            (connection, Answer::Missing) => {
                self.pool.give_back(connection);
                Err(Error::Missing { key: key.clone() })
            }
            (connection, _) => Err(connection.fault(Trouble::Nonsense).await),
        }
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        let request = Request::PutOffset { key: key.clone(), file: file.clone() };
        match self.call(asker, &request).await? {
            (connection, Answer::Offset(PutOffset::From(from))) => {
                self.decline(connection).await;
                // More than there is: nothing of it can be right.
                let too_much = key.size().is_some_and(|size| from > size);
                Ok(PutOffset::From(if too_much { 0 } else { from }))
            }
            (connection, Answer::Offset(have)) => {
                self.pool.give_back(connection);
                Ok(have)
            }
            (connection, _) => Err(connection.fault(Trouble::Nonsense).await),
        }
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        let (key, file) = (key.clone(), file.clone());
        let request = Request::PutOffset { key: key.clone(), file: file.clone() };
        let (mut connection, answer) = self.call(asker, &request).await?;
        let held = match answer {
            Answer::Offset(PutOffset::From(held)) => held,
            Answer::Offset(PutOffset::AlreadyHave { plus }) => {
                self.pool.give_back(connection);
                return Ok(Stored { plus });
            }
            _ => return Err(connection.fault(Trouble::Nonsense).await),
        };
        if content.from > held {
            self.decline(connection).await;
            return Err(Error::WrongOffset { from: content.from, held });
        }
        let len = content.from.saturating_add(content.len).saturating_sub(held);
        let request = Request::Put { key, file, from: held, len };
        match connection.begin_put(&request).await {
            Ok(()) => self.pour(connection, content, held).await,
            Err(trouble) => Err(connection.fault(trouble).await),
        }
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        let (key, file) = (key.clone(), file.clone());
        let request = Request::PutOffset { key: key.clone(), file: file.clone() };
        let (mut connection, answer) = self.call(asker, &request).await?;
        match answer {
            Answer::Offset(PutOffset::AlreadyHave { plus }) => {
                self.pool.give_back(connection);
                Ok(Stored { plus })
            }
            Answer::Offset(PutOffset::From(_)) if connection.version().has_data_present() => {
                let request = Request::PutPresent { key: key.clone(), file };
                match connection.ask(&request).await {
                    Ok(answer) => {
                        self.pool.give_back(connection);
                        match answer {
                            Answer::Stored(stored) => Ok(stored),
                            Answer::Refused(text) => Err(self.refused(&text)),
                            _ => Err(Error::Missing { key }),
                        }
                    }
                    Err(trouble) => Err(connection.fault(trouble).await),
                }
            }
            // An older server is asked only whether it has found the content by itself.
            Answer::Offset(PutOffset::From(_)) => {
                self.decline(connection).await;
                Err(Error::Missing { key })
            }
            _ => Err(connection.fault(Trouble::Nonsense).await),
        }
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.ask(asker, Request::Remove { key: key.clone() }, removal).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.ask(asker, Request::RemoveBefore { key: key.clone(), deadline }, removal).await
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        self.ask(asker, Request::GetTimestamp, |answer| match answer {
            Answer::Time(now) => Some(now),
            _ => None,
        })
        .await
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        match self.call(asker, &Request::LockContent { key: key.clone() }).await? {
            (connection, Answer::Locked(true)) => {
                let pool = Arc::clone(&self.pool);
                Ok(Some(Lock::new(LockedThere { connection, pool })))
            }
            (connection, Answer::Locked(false)) => {
                self.pool.give_back(connection);
                Ok(None)
            }
            (connection, _) => Err(connection.fault(Trouble::Nonsense).await),
        }
    }
}

impl fmt::Display for LineRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

/// A lock at the other end, which lasts as long as the connection. Dropping it closes that.
struct LockedThere {
    connection: Connection,
    pool: Arc<Pool>,
}

#[async_trait]
impl Held for LockedThere {
    async fn release(self: Box<Self>) -> Result<()> {
        let Self { mut connection, pool } = *self;
        match connection.unlock().await {
            Ok(()) => {
                pool.give_back(connection);
                Ok(())
            }
            Err(trouble) => Err(connection.fault(trouble).await),
        }
    }
}

fn removal(answer: Answer) -> Option<Removal> {
    match answer {
        Answer::Removed(removal) => Some(removal),
        _ => None,
    }
}

fn key_of(request: &Request) -> Option<&Key> {
    match request {
        Request::CheckPresent { key }
        | Request::LockContent { key }
        | Request::Remove { key }
        | Request::RemoveBefore { key, .. }
        | Request::PutOffset { key, .. }
        | Request::Put { key, .. }
        | Request::PutPresent { key, .. }
        | Request::Get { key, .. } => Some(key),
        Request::GetTimestamp | Request::Connect(_) | Request::NotifyChange => None,
    }
}
