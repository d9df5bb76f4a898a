//! The line door: serves one connection of the line protocol (p2p-line).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use gannet_core::error::Denied;
use gannet_core::{
    Annex, Asker, Content, Error, Lock, Mode, Piece, Removal, Result, Span, Stored, Verdict,
};
use gannet_wire::p2p::server::{Close, Event};
use gannet_wire::p2p::{APPEND_ONLY, Answer, MustClose, READ_ONLY, Request, Server, Text};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::gist::gist;
use crate::wire::Wire;

pub use gannet_wire::p2p::{Service, Version};

/// What is served to one client.
pub struct LineDoor {
    /// The place; it judges what the client may do.
    pub annex: Arc<dyn Annex>,
    /// Who is asking.
    pub asker: Asker,
    /// What it knows of git.
    pub git: Arc<dyn Git>,
    /// No newer version is spoken.
    pub newest: Version,
}

/// The git repository behind a place, as far as clients may have to do with it (p2p-line §6.6,
/// §6.7).
#[async_trait]
pub trait Git: Send + Sync + 'static {
    /// Starts a service. `None`: this is not to be had here.
    ///
    /// # Errors
    /// When it could not be started.
    async fn connect(&self, service: Service) -> Result<Option<Box<dyn Running>>>;
    /// Waits until references have changed since this was last called, and returns what they
    /// show to now; the first time it returns at once. `None`: this is not to be had here.
    ///
    /// Dropping the future loses no change.
    ///
    /// # Errors
    /// When references cannot be watched.
    async fn changed(&self) -> Result<Option<Vec<Bytes>>>;
}

/// A service that runs. Dropping it ends it.
#[async_trait]
pub trait Running: Send {
    /// Lets it hear what is in `said`, from which that is removed, until it has heard all, or says
    /// something itself. What is said to a service that does not listen any more is gone.
    ///
    /// Dropping the future loses nothing, in either direction.
    ///
    /// # Errors
    /// When it cannot be heard.
    async fn turn(&mut self, said: &mut Bytes) -> Result<Turn>;
    /// Ends it, if it has not ended by itself, and returns its exit code.
    async fn end(self: Box<Self>) -> i32;
}

/// What a service did when it was its turn.
#[derive(Debug)]
pub enum Turn {
    /// It heard all.
    Heard,
    /// It said this.
    Said(Bytes),
    /// It has said all that it will say.
    Silent,
}

/// There is no git here.
#[derive(Clone, Copy, Debug)]
pub struct NoGit;

#[async_trait]
impl Git for NoGit {
    async fn connect(&self, _service: Service) -> Result<Option<Box<dyn Running>>> {
        Ok(None)
    }
    async fn changed(&self) -> Result<Option<Vec<Bytes>>> {
        Ok(None)
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// The client ended it, or made that necessary.
    #[error(transparent)]
    Closed(#[from] Close),
    /// It broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    /// It had to be closed, because what would have been said next was not true any more.
    #[error(transparent)]
    MustClose(#[from] MustClose),
    /// A service was asked for that is not to be had.
    #[error("no service was connected")]
    NotConnected,
    /// A service was connected, which ended with this exit code.
    #[error("the service ended with exit code {0}")]
    Done(i32),
}

impl End {
    /// Whether nothing went wrong (p2p-line §7).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        match self {
            Self::Closed(close) => close.is_clean(),
            Self::Done(_) => true,
            Self::Broken(_) | Self::MustClose(_) | Self::NotConnected => false,
        }
    }
}

impl LineDoor {
    /// Serves a client that has been let in, until one of both ends it.
    ///
    /// Dropping the future ends what is going on; a lock leaves its retention.
    pub async fn serve(
        self,
        input: impl AsyncRead + Send + Unpin,
        output: impl AsyncWrite + Send + Unpin,
    ) -> End {
        let (server, greeting) = Server::greeting(self.annex.uuid(), self.newest);
        let mut talk = Talk { door: self, server, wire: Wire::new(input, output), lock: None };
        match talk.talk(greeting).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }
}

/// A conversation.
struct Talk<R, W> {
    door: LineDoor,
    server: Server,
    wire: Wire<R, W>,
    lock: Option<Lock>,
}

enum Never {}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin> Talk<R, W> {
    async fn talk(&mut self, greeting: Bytes) -> Result<Never, End> {
        self.wire.send(&greeting).await?;
        loop {
            match self.event().await? {
                Event::Say(bytes) => self.wire.send(&bytes).await?,
                // Nobody has to say who it is who was let in already.
                Event::Auth { .. } => return Err(MustClose::OutOfTurn.into()),
                Event::Request(request) => self.on_request(request).await?,
                Event::Unlock => {
                    if let Some(lock) = self.lock.take()
                        && let Err(error) = lock.release().await
                    {
                        tracing::warn!("unlocking: {}", error.chain());
                    }
                }
                Event::Forsake => self.lock = None,
                Event::Data(_) | Event::End(_) | Event::ConnectDone(_) => {
                    return Err(MustClose::OutOfTurn.into());
                }
                Event::Close(why) => return Err(why.into()),
            }
        }
    }

    /// The next event, for which more is read if need be.
    async fn event(&mut self) -> Result<Event, End> {
        loop {
            if let Some(event) = self.server.pull() {
                return Ok(event);
            }
            if self.wire.read(self.server.inbox()).await? == 0 {
                self.server.finish();
            }
        }
    }

    async fn on_request(&mut self, request: Request) -> Result<(), End> {
        let annex = Arc::clone(&self.door.annex);
        let mut asker = self.door.asker.clone();
        asker.bypass.extend_from_slice(self.server.bypass());
        if !self.server.version().lists_others() {
            // It may be a gateway, which cannot say what to bypass: at least, not back to it.
            asker.bypass.extend(asker.client.clone());
        }
        let asker = &asker;
        let answer = match request {
            Request::CheckPresent { key } => {
                annex.check_present(asker, &key).await.map(Answer::Present)
            }
            Request::LockContent { key } => annex.lock(asker, &key).await.map(|lock| {
                self.lock = lock;
                Answer::Locked(self.lock.is_some())
            }),
            Request::Remove { key } => removed(annex.remove(asker, &key).await),
            Request::RemoveBefore { key, deadline } => {
                removed(annex.remove_before(asker, &key, deadline).await)
            }
            Request::GetTimestamp => annex.timestamp(asker).await.map(Answer::Time),
            Request::PutOffset { key, file } => {
                annex.put_offset(asker, &key, &file).await.map(Answer::Offset)
            }
            Request::PutPresent { key, file } => {
                Ok(stored(annex.put_present(asker, &key, &file).await))
            }
            Request::Put { key, file, from, len } => {
                let (pieces, content) = incoming(from, len);
                // Version 0 says nothing after the data, and places that are far away may take
                // the word of whoever sends for it that nothing changed.
                let content = match self.server.version().tells_validity() {
                    true => content,
                    false => content.judged_by(&key),
                };
                let put = annex.put(asker, &key, &file, content);
                return self.receive(put, pieces).await;
            }
            Request::Get { key, file, from } => {
                match annex.get(asker, &key, &file, Span::starting_at(from)).await {
                    Ok(content) => return self.send(content).await,
                    Err(Error::Missing { .. }) => Ok(Answer::Missing),
                    Err(error) => Err(error),
                }
            }
            Request::Connect(service) => {
                let refused = match self.connect(service, asker.mode).await {
                    Ok(Some(running)) => return self.relay(running).await,
                    Ok(None) => refused("git cannot be reached through this connection"),
                    Err(error) => failed(&error, asker.mode),
                };
                let said = self.server.answer(refused)?;
                self.wire.send(&said).await?;
                // git-annex goes on to wait for the service as long as the connection is open.
                return Err(End::NotConnected);
            }
            Request::NotifyChange => return self.notify().await,
        };
        let answer = answer.unwrap_or_else(|error| failed(&error, asker.mode));
        let said = self.server.answer(answer)?;
        Ok(self.wire.send(&said).await?)
    }

    /// Lets what comes flow into a put, until both have ended.
    async fn receive(
        &mut self,
        put: impl Future<Output = Result<Stored>>,
        pieces: mpsc::Sender<Result<Piece>>,
    ) -> Result<(), End> {
        let (outcome, came) = tokio::join!(put, self.pump(pieces));
        if let (Err(error), Err(_)) = (&outcome, &came) {
            tracing::info!("not stored: {}", error.chain());
        }
        came?;
        let said = self.server.answer(stored(outcome))?;
        Ok(self.wire.send(&said).await?)
    }

    /// Hands on the data of a put. Once nobody takes it any more it is passed over: only after
    /// all of it the client listens.
    async fn pump(&mut self, pieces: mpsc::Sender<Result<Piece>>) -> Result<(), End> {
        loop {
            match self.event().await? {
                Event::Data(bytes) => {
                    pieces.send(Ok(Piece::Bytes(bytes))).await.ok();
                }
                Event::End(verdict) => {
                    let verdict = verdict.unwrap_or(Verdict::Valid);
                    pieces.send(Ok(Piece::End(verdict))).await.ok();
                    return Ok(());
                }
                // Only on the way to the end of the connection.
                Event::Say(bytes) => self.wire.send(&bytes).await?,
                Event::Close(why) => return Err(why.into()),
                _ => return Err(MustClose::OutOfTurn.into()),
            }
        }
    }

    /// Sends a content, and its verdict.
    async fn send(&mut self, mut content: Content) -> Result<(), End> {
        let said = self.server.answer(Answer::Content { len: content.len })?;
        self.wire.write(&said).await?;
        let verdict = loop {
            match content.pieces.next().await {
                Some(Ok(Piece::Bytes(piece))) => {
                    let piece = self.server.pass(piece)?;
                    self.wire.write(&piece).await?;
                }
                Some(Ok(Piece::End(verdict))) => break verdict,
                Some(Err(error)) => {
                    tracing::warn!("sending content: {}", error.chain());
                    self.wire.flush().await?;
                    return Err(MustClose::TooLittle.into());
                }
                None => return Err(MustClose::TooLittle.into()),
            }
        };
        drop(content);
        let said = self.server.end(verdict)?;
        Ok(self.wire.send(&said).await?)
    }

    async fn connect(&self, service: Service, mode: Mode) -> Result<Option<Box<dyn Running>>> {
        match service {
            Service::UploadPack => mode.allow_read()?,
            // Whoever may push may also take away what was there.
            Service::ReceivePack if !mode.remove => {
                return Err(Error::Forbidden { denied: Denied::Write });
            }
            Service::ReceivePack => {}
        }
        self.door.git.connect(service).await
    }

    /// Passes on what client and service tell each other, until the service ends, which it does
    /// not later than its connection.
    async fn relay(&mut self, mut running: Box<dyn Running>) -> Result<(), End> {
        let relayed = self.exchange(running.as_mut()).await;
        let code = running.end().await;
        relayed?;
        let said = self.server.connect_done(code)?;
        self.wire.send(&said).await?;
        Err(End::Done(code))
    }

    async fn exchange(&mut self, running: &mut dyn Running) -> Result<(), End> {
        let said = self.server.answer(Answer::Connected)?;
        self.wire.send(&said).await?;
        let mut unheard = Bytes::new();
        loop {
            let more = unheard.is_empty();
            let event = self.event();
            tokio::select! {
                turn = running.turn(&mut unheard) => match turn {
                    Ok(Turn::Heard) => {}
                    Ok(Turn::Said(said)) => {
                        for part in self.server.relay(said)? {
                            self.wire.write(&part).await?;
                        }
                        self.wire.flush().await?;
                    }
                    Ok(Turn::Silent) => return Ok(()),
                    Err(error) => {
                        tracing::warn!("{}", error.chain());
                        return Ok(());
                    }
                },
                // While it does not listen, nothing more is taken from the client either.
                event = event, if more => match event? {
                    Event::Data(bytes) => unheard = bytes,
                    Event::ConnectDone(_) => return Ok(()),
                    Event::Say(bytes) => self.wire.send(&bytes).await?,
                    Event::Close(why) => return Err(why.into()),
                    _ => return Err(MustClose::OutOfTurn.into()),
                },
            }
        }
    }

    /// Waits for a change, for as long as the client does.
    async fn notify(&mut self) -> Result<(), End> {
        let git = Arc::clone(&self.door.git);
        let changed = async {
            match self.door.asker.mode.allow_read() {
                Ok(()) => git.changed().await,
                Err(error) => Err(error),
            }
        };
        let answer = tokio::select! {
            changed = changed => match changed {
                Ok(Some(ids)) => Answer::Changed(ids),
                Ok(None) => refused("changes are not told through this connection"),
                Err(error) => failed(&error, self.door.asker.mode),
            },
            ended = self.wire.read(self.server.inbox()) => {
                ended?;
                // Nothing may be said before the answer; most likely the client has gone.
                return Err(Close::Lost.into());
            }
        };
        let said = self.server.answer(answer)?;
        Ok(self.wire.send(&said).await?)
    }
}

/// A content that comes in pieces through a channel.
fn incoming(from: u64, len: u64) -> (mpsc::Sender<Result<Piece>>, Content) {
    let (sender, mut receiver) = mpsc::channel(PIECES_MAX);
    let pieces = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed();
    (sender, Content { total: from.saturating_add(len), from, len, pieces })
}

/// Content that is in use is not removed: an answer, too.
fn removed(outcome: Result<Removal>) -> Result<Answer> {
    match outcome {
        Err(Error::Busy { .. }) => Ok(Answer::Removed(Removal::refused())),
        outcome => outcome.map(Answer::Removed),
    }
}

/// After the data of a put only success or failure may be said; why goes to the log, which ssh
/// shows to the client.
fn stored(outcome: Result<Stored>) -> Answer {
    match outcome {
        Ok(stored) => Answer::Stored(stored),
        Err(error) => {
            tracing::warn!("not stored: {}", error.chain());
            Answer::NotStored
        }
    }
}

/// What a failure looks like to the client. The whole story goes to the log.
fn failed(error: &Error, mode: Mode) -> Answer {
    match error {
        Error::Forbidden { denied: Denied::Remove } if mode.write => refused(APPEND_ONLY),
        Error::Forbidden { denied: Denied::Remove | Denied::Write } => refused(READ_ONLY),
        error => {
            tracing::warn!("{}", error.chain());
            refused(gist(error))
        }
    }
}

fn refused(why: impl std::fmt::Display) -> Answer {
    Answer::Refused(Text::new(why))
}

/// So that reading and storing overlap; each has at most as many bytes as were read at once.
const PIECES_MAX: usize = 2;
