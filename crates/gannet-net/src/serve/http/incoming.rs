//! Bodies of requests: read when somebody asks for them, and not before.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gannet_core::{Error, Piece, Result, Verdict};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::paced::{Busy, LINGER, Pace};

/// The body of one request. Clones share it: what one has read, the others do not see.
#[derive(Clone)]
pub(super) struct RequestBody(Arc<Mutex<Unread>>);

struct Unread {
    /// `None` once it has ended, failed, or was given up.
    body: Option<Incoming>,
    touched: bool,
}

/// The connection broke, or the framing is wrong.
pub(super) struct Broken;

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        let body = (!body.is_end_stream()).then_some(body);
        Self(Arc::new(Mutex::new(Unread { body, touched: false })))
    }

    /// Returns the next bytes, or `None` at the end. May be dropped and called again.
    pub(super) async fn next(&self) -> Option<Result<Bytes, Broken>> {
        std::future::poll_fn(|cx| {
            let mut unread = self.unread();
            unread.touched = true;
            loop {
                let Some(body) = &mut unread.body else { return Poll::Ready(None) };
                let frame = match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(frame) => frame,
                };
                match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
                    Some(Ok(Ok(bytes))) if !bytes.is_empty() => {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    // Trailers mean nothing here.
                    Some(Ok(_)) => {}
                    None => {
                        unread.body = None;
                        return Poll::Ready(None);
                    }
                    Some(Err(error)) => {
                        tracing::debug!("body ended: {error}");
                        unread.body = None;
                        return Poll::Ready(Some(Err(Broken)));
                    }
                }
            }
        })
        .await
    }

    /// The body as a content of `len` bytes: shorter is [`Error::Interrupted`], at most one chunk
    /// more is handed out before [`Error::WrongLength`], and a peer that sends nothing for `idle`
    /// gets [`Error::Stalled`].
    pub(super) fn pieces(&self, len: u64, idle: Duration) -> BoxStream<'static, Result<Piece>> {
        let state = Pouring { body: self.clone(), left: len, idle, step: Step::Bytes };
        stream::unfold(state, |mut state| async move {
            let piece = state.next().await?;
            Some((piece, state))
        })
        .boxed()
    }

    /// Gives up the body if more is to come than [`drain`](Self::drain) would read, and tells
    /// whether it did: then the connection ends with the reply, which had better say so.
    ///
    /// `announced` is what the peer said elsewhere that it would send.
    pub(super) fn give_up(&self, pace: &Pace, announced: Option<u64>) -> bool {
        let mut unread = self.unread();
        let Some(body) = &unread.body else { return false };
        let announced = announced.filter(|_| !unread.touched).unwrap_or(0);
        if body.size_hint().lower().max(announced) <= DRAINED_BYTES_MAX as u64 {
            return false;
        }
        unread.body = None;
        pace.leave_unread();
        true
    }

    /// Reads a small rest of the body, so that the connection can be used again; a large one, or
    /// one that does not come, is given up. `None`: nothing is left to be done.
    ///
    /// `expects_leave`: the peer waits for a `100 Continue` before it sends the body.
    pub(super) fn drain(
        &self,
        pace: &Arc<Pace>,
        busy: Busy,
        expects_leave: bool,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut unread = self.unread();
        if !unread.touched && expects_leave {
            unread.body = None;
            pace.leave_unread();
        }
        unread.body.as_ref()?;
        drop(unread);
        let (body, pace) = (self.clone(), Arc::clone(pace));
        Some(async move {
            let rest = async {
                let mut left = DRAINED_BYTES_MAX;
                while let Some(Ok(bytes)) = body.next().await {
                    left = left.checked_sub(bytes.len())?;
                }
                Some(())
            };
            if !matches!(timeout(LINGER, rest).await, Ok(Some(()))) {
                pace.leave_unread();
                body.unread().body = None;
            }
            drop(busy);
        })
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Pouring {
    body: RequestBody,
    left: u64,
    idle: Duration,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Bytes,
    /// More came than was announced.
    Surplus,
    Done,
}

impl Pouring {
    async fn next(&mut self) -> Option<Result<Piece>> {
        match self.step {
            Step::Bytes => {}
            Step::Surplus => {
                self.step = Step::Done;
                return Some(Err(Error::WrongLength));
            }
            Step::Done => return None,
        }
        let next = timeout(self.idle, self.body.next()).await;
        self.step = Step::Done;
        Some(match next {
            Err(_) => Err(Error::Stalled),
            Ok(Some(Ok(bytes))) => {
                let left = self.left.checked_sub(bytes.len() as u64);
                self.left = left.unwrap_or(0);
                self.step = if left.is_some() { Step::Bytes } else { Step::Surplus };
                Ok(Piece::Bytes(bytes))
            }
            Ok(None) if self.left == 0 => Ok(Piece::End(Verdict::Valid)),
            Ok(None | Some(Err(Broken))) => Err(Error::Interrupted),
        })
    }
}

const DRAINED_BYTES_MAX: usize = 1 << 20;
