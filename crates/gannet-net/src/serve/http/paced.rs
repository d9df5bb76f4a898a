//! A connection that does not wait for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;

/// How long what may take on one connection, and what is going on there.
///
/// hyper's own header timeout also runs between requests, and would cut idle connections as if
/// they were slow; so requests are timed here, where bytes are seen to arrive.
pub(super) struct Pace {
    header: Duration,
    keep_alive: Duration,
    idle: Duration,
    state: Mutex<State>,
}

struct State {
    /// Requests being answered, and bodies being drained.
    busy: usize,
    waiting: Waiting,
    /// Frames arrive between requests too: only idleness is limited.
    http2: bool,
    /// The peer may still be sending: closing at once could destroy the reply on its way.
    unread: bool,
    heard: bool,
    /// The last bytes that were read.
    tail: [u8; 4],
}

#[derive(Clone, Copy)]
enum Waiting {
    /// For the rest of a request's head, since then.
    Head(Instant),
    /// For the next request, since then.
    Request(Instant),
}

/// While this lives, the peer is not expected to send anything.
pub(super) struct Busy {
    pace: Arc<Pace>,
    ends_blank: bool,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            header: Duration::from_secs(limits.header_seconds_max.into()),
            keep_alive: Duration::from_secs(limits.keep_alive_seconds_max.into()),
            idle: limits.idle(),
            state: Mutex::new(State {
                busy: 0,
                waiting: Waiting::Head(Instant::now()),
                http2: false,
                unread: false,
                heard: false,
                tail: [0; 4],
            }),
        })
    }

    /// A request has arrived. `ends_blank`: it ends with an empty line, as one without a body
    /// does, and one with a body in chunks.
    pub(super) fn busy(self: &Arc<Self>, http2: bool, ends_blank: bool) -> Busy {
        let mut state = self.state();
        state.busy += 1;
        state.http2 |= http2;
        drop(state);
        Busy { pace: Arc::clone(self), ends_blank }
    }

    /// A part of a request will not be read.
    pub(super) fn leave_unread(&self) {
        self.state().unread = true;
    }

    /// Whether no request is being answered.
    pub(super) fn is_waiting(&self) -> bool {
        self.state().busy == 0
    }

    fn heard(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.heard = true;
        for &byte in &bytes[bytes.len().saturating_sub(4)..] {
            state.tail.rotate_left(1);
            state.tail[3] = byte;
        }
        if state.busy == 0 {
            match state.waiting {
                Waiting::Head(_) => {}
                Waiting::Request(_) if state.http2 => {
                    state.waiting = Waiting::Request(Instant::now());
                }
                Waiting::Request(_) => state.waiting = Waiting::Head(Instant::now()),
            }
        }
    }

    /// When waiting for the peer to send something ends.
    fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        match state.waiting {
            _ if state.busy > 0 => None,
            Waiting::Head(since) => Some(since + self.header),
            Waiting::Request(since) => Some(since + self.keep_alive),
        }
    }

    fn should_linger(&self) -> bool {
        let state = self.state();
        state.unread || state.heard && matches!(state.waiting, Waiting::Head(_))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.busy -= 1;
        if state.busy == 0 {
            // What came after the end of this request is the begin of another.
            let begun = self.ends_blank && !state.http2 && !ends_with_empty_line(&state.tail);
            let now = Instant::now();
            state.waiting = if begun { Waiting::Head(now) } else { Waiting::Request(now) };
        }
    }
}

/// Bytes from and to a peer that has to keep up.
pub(super) struct Paced<IO> {
    io: IO,
    pace: Arc<Pace>,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<IO> Paced<IO> {
    pub(super) fn new(io: IO, pace: Arc<Pace>) -> Self {
        Self { io, pace, reading: None, writing: None, lingering: None }
    }

    /// Passes on what became of a write; one that waits for too long becomes an error.
    fn paced_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let idle = self.pace.idle;
        let timer =
            self.writing.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + idle)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(too_slow("the peer stopped reading")))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Paced<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut this.io).poll_read(cx, buf) {
            if buf.filled().len() > before {
                this.pace.heard(&buf.filled()[before..]);
            }
            return Poll::Ready(outcome);
        }
        let Some(deadline) = this.pace.deadline() else { return Poll::Pending };
        let timer = this.reading.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(too_slow("no request came in time")))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.paced_write(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.paced_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.paced_write(cx, outcome)
    }

    /// Ends the sending side. If the peer is still sending, it gets a moment to read the reply:
    /// bytes that arrive at a closed socket make the system throw away what was sent before.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            let outcome = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.paced_write(cx, outcome))?;
            if !this.pace.should_linger() {
                return Poll::Ready(Ok(()));
            }
        }
        let timer =
            this.lingering.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        let mut scratch = [0; 8192];
        // Bounded, so that a peer that never stops does not keep this thread.
        for _ in 0..READS_MAX {
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut scratch);
            let outcome = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buf));
            if outcome.is_err() || buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn ends_with_empty_line(tail: &[u8]) -> bool {
    tail.ends_with(b"\n\r\n") || tail.ends_with(b"\n\n")
}

fn too_slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// How long a peer that is still sending may read the reply.
pub(super) const LINGER: Duration = Duration::from_secs(2);
const READS_MAX: usize = 64;
