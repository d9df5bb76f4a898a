//! One connection to the other end.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use gannet_core::{Asker, Error, Uuid, Verdict};
use gannet_wire::p2p::client::{Broken, Event, Unasked};
use gannet_wire::p2p::{Answer, Client, MustClose, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::LineLimits;
use super::dial::{Dial, Dialled, Farewell};
use crate::wire::Wire;

/// A connection, and what says why it ended. Dropping it closes it.
pub(super) struct Connection {
    client: Client,
    wire: Wire<Box<dyn AsyncRead + Send + Sync + Unpin>, Box<dyn AsyncWrite + Send + Sync + Unpin>>,
    farewell: Box<dyn Farewell>,
    place: String,
    limits: LineLimits,
    /// Gateways that were told to be bypassed, which cannot be taken back.
    bypassed: Vec<Uuid>,
    used: bool,
    /// Counts it.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Unasked(#[from] Unasked),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    MustClose(#[from] MustClose),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the other end did nothing for {} seconds", .0.as_secs())]
    Hung(Duration),
    #[error("the other end does not speak version {} of the protocol, which is needed", .0.number())]
    TooOld(Version),
    #[error("the other end's answer makes no sense here")]
    Nonsense,
}

impl Trouble {
    /// Whether the connection is gone, and nothing else is wrong.
    pub(super) fn is_loss(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Broken(Broken::Lost))
    }
}

impl Connection {
    /// Connects, and makes sure that the repository `wanted` is at the other end.
    pub(super) async fn new(
        dial: &dyn Dial,
        wanted: &Uuid,
        place: &str,
        limits: LineLimits,
    ) -> Result<Self, Error> {
        let fault = |why: String| Error::Remote { place: place.to_owned(), why };
        let dialled = timeout(limits.connect, dial.dial());
        let Dialled { input, output, farewell } = match dialled.await {
            Ok(Ok(dialled)) => dialled,
            Ok(Err(error)) => return Err(fault(format!("cannot connect: {error}"))),
            Err(_) => return Err(fault(Trouble::Hung(limits.connect).to_string())),
        };
        let mut connection = Self {
            client: Client::new(limits.newest, Some(wanted.clone())),
            wire: Wire::new(input, output),
            farewell,
            place: place.to_owned(),
            limits,
            bypassed: Vec::new(),
            used: false,
            permit: None,
        };
        match connection.greeted().await {
            Ok(()) if connection.version() < limits.oldest => {
                Err(connection.fault(Trouble::TooOld(limits.oldest)).await)
            }
            Ok(()) => Ok(connection),
            Err(trouble) => Err(connection.fault(trouble).await),
        }
    }

    async fn greeted(&mut self) -> Result<(), Trouble> {
        match self.event(self.limits.connect).await? {
            Event::Ready { .. } => Ok(()),
            Event::Broken(why) => Err(why.into()),
            _ => Err(Trouble::Nonsense),
        }
    }

    /// The version that is spoken.
    pub(super) fn version(&self) -> Version {
        self.client.version()
    }

    /// Whether another request has used it before.
    pub(super) fn was_used(&self) -> bool {
        self.used
    }

    pub(super) fn mark_used(&mut self) {
        self.used = true;
    }

    /// Whether it may be used by this asker, as far as can be seen without asking.
    pub(super) fn suits(&mut self, asker: &Asker) -> bool {
        self.bypassed.iter().all(|uuid| asker.bypass.contains(uuid)) && self.is_clean()
    }

    /// Whether nothing is going on and nothing has come: not even the end.
    pub(super) fn is_clean(&mut self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let quiet = self.wire.poll_read(&mut cx, &mut byte).is_pending();
        quiet && self.client.is_idle()
    }

    /// Tells which gateways the request has passed already.
    pub(super) async fn bypass(&mut self, asker: &Asker) -> Result<(), Trouble> {
        let known = &self.bypassed;
        let more: Vec<_> = asker.bypass.iter().filter(|uuid| !known.contains(uuid)).collect();
        if more.is_empty() || !self.version().lists_others() {
            return Ok(());
        }
        let more: Vec<Uuid> = more.into_iter().cloned().collect();
        let said = self.client.bypass(&more)?;
        self.bypassed.extend(more);
        self.send(&said).await
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Answer, Trouble> {
        let said = self.client.ask(request)?;
        self.send(&said).await?;
        self.answer().await
    }

    /// Announces the data of a put.
    pub(super) async fn begin_put(&mut self, request: &Request) -> Result<(), Trouble> {
        let said = self.client.ask(request)?;
        self.write(&said).await
    }

    /// Sends the next bytes of a put.
    pub(super) async fn pass(&mut self, bytes: Bytes) -> Result<(), Trouble> {
        let bytes = self.client.pass(bytes)?;
        self.write(&bytes).await
    }

    /// Ends a put, and waits for what comes of it.
    pub(super) async fn end(&mut self, verdict: Verdict) -> Result<Answer, Trouble> {
        let said = self.client.end(verdict)?;
        self.send(&said).await?;
        self.answer().await
    }

    /// Leaves a put that was only begun.
    pub(super) async fn decline(&mut self) -> Result<(), Trouble> {
        let said = self.client.decline()?;
        self.send(&said).await?;
        self.answer().await?;
        Ok(())
    }

    pub(super) async fn unlock(&mut self) -> Result<(), Trouble> {
        let said = self.client.unlock()?;
        self.send(&said).await
    }

    /// The next part of a content; at its end the other end is told that it was taken.
    pub(super) async fn next_part(&mut self) -> Result<Part, Trouble> {
        match self.event(self.limits.idle).await? {
            Event::Data(bytes) => Ok(Part::Bytes(bytes)),
            Event::End(verdict) => {
                let said = self.client.taken(true)?;
                self.send(&said).await?;
                // Version 0 says nothing; whoever asked looks for himself.
                Ok(Part::End(verdict.unwrap_or(Verdict::Valid)))
            }
            Event::Broken(why) => Err(why.into()),
            _ => Err(Trouble::Nonsense),
        }
    }

    /// Closes the connection, and makes an error of what went wrong and what the program at the
    /// other end said of it.
    pub(super) async fn fault(self, trouble: Trouble) -> Error {
        let Self { wire, farewell, place, .. } = self;
        drop(wire);
        let words = timeout(LAST_WORDS, farewell.last_words()).await.unwrap_or_default();
        let why = match words.trim() {
            "" => trouble.to_string(),
            words => format!("{trouble} ({words})"),
        };
        Error::Remote { place, why }
    }

    async fn answer(&mut self) -> Result<Answer, Trouble> {
        match self.event(self.limits.reply).await? {
            Event::Answer(answer) => Ok(answer),
            Event::Broken(why) => Err(why.into()),
            _ => Err(Trouble::Nonsense),
        }
    }

    /// The next event that is not only something to say. That bytes come is not enough to be
    /// waited for longer: they may never become one.
    async fn event(&mut self, limit: Duration) -> Result<Event, Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            match self.client.pull() {
                Some(Event::Say(said)) => self.send(&said).await?,
                Some(event) => return Ok(event),
                None => {
                    let read = self.wire.read(self.client.inbox());
                    if timeout_at(deadline, read).await.map_err(|_| Trouble::Hung(limit))?? == 0 {
                        self.client.finish();
                    }
                }
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let idle = self.limits.idle;
        Ok(timeout(idle, self.wire.send(bytes)).await.map_err(|_| Trouble::Hung(idle))??)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let idle = self.limits.idle;
        // In parts, so that a slow line is not taken for one that does not move.
        for part in bytes.chunks(PART_BYTES) {
            timeout(idle, self.wire.write(part)).await.map_err(|_| Trouble::Hung(idle))??;
        }
        Ok(())
    }
}

/// A part of a content that comes.
pub(super) enum Part {
    Bytes(Bytes),
    End(Verdict),
}

const PART_BYTES: usize = 64 * 1024;
/// How long a program that failed may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);
