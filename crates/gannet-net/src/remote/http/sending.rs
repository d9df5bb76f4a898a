//! Contents on their way to a server.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use gannet_core::{Content, Error, Piece, Verdict};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, sleep_until};

use crate::watched::{CutOff, Doubt, Watched};

/// The body of a put. A doubtful content ends before its announced length, so that the server
/// does not store it (p2p-http §3.4).
pub(in crate::remote) struct Sending {
    /// Behind a lock only to be `Sync`, which the HTTP library wants; nobody else locks it.
    content: Mutex<Watched>,
    sent: Arc<Sent>,
}

/// How far a body has come.
pub(in crate::remote) struct Sent(Mutex<State>);

struct State {
    /// Since when it has been the server's turn; `None` while the content is waited for.
    since: Option<Instant>,
    /// All of the body has been handed over.
    complete: bool,
    /// Why the body is not what was announced.
    broke: Option<Error>,
}

impl Sending {
    pub(in crate::remote) fn new(mut content: Content) -> (Self, Arc<Sent>) {
        let state = State { since: Some(Instant::now()), complete: false, broke: None };
        let sent = Arc::new(Sent(Mutex::new(state)));
        let noting = Arc::clone(&sent);
        content.pieces = content
            .pieces
            .map(move |piece| {
                match &piece {
                    Ok(Piece::Bytes(_) | Piece::End(Verdict::Valid)) => {}
                    Ok(Piece::End(Verdict::Doubtful)) => noting.note(Error::Doubtful),
                    // An error has one owner; the other is told of the same situation.
                    Err(Error::Doubtful) => noting.note(Error::Doubtful),
                    Err(Error::WrongLength) => noting.note(Error::WrongLength),
                    Err(Error::Stalled) => noting.note(Error::Stalled),
                    Err(_) => noting.note(Error::Interrupted),
                }
                piece
            })
            .boxed();
        let content = Mutex::new(Watched::new(content, Doubt::Shorten));
        (Self { content, sent: Arc::clone(&sent) }, sent)
    }
}

impl Sent {
    /// Why the body was cut short, if it was.
    pub(in crate::remote) fn broke(&self) -> Option<Error> {
        self.state().broke.take()
    }

    /// Ends when the server has done nothing for too long: `idle` while it should take bytes,
    /// `reply` when it has them all.
    pub(in crate::remote) async fn stalls(&self, idle: Duration, reply: Duration) {
        loop {
            let (since, complete) = {
                let state = self.state();
                (state.since, state.complete)
            };
            let now = Instant::now();
            let limit = if complete { reply } else { idle };
            match since.map(|since| since + limit) {
                Some(end) if end <= now => return,
                Some(end) => sleep_until(end).await,
                None => sleep_until(now + limit).await,
            }
        }
    }

    fn note(&self, error: Error) {
        self.state().broke.get_or_insert(error);
    }

    fn moved(&self, polled: &Poll<Option<Result<Frame<Bytes>, CutOff>>>) {
        let mut state = self.state();
        match polled {
            Poll::Pending => state.since = None,
            Poll::Ready(Some(Ok(_))) => state.since = Some(Instant::now()),
            Poll::Ready(Some(Err(_)) | None) => {
                state.since = Some(Instant::now());
                state.complete = true;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let content = self.content.get_mut().unwrap_or_else(PoisonError::into_inner);
        let polled = content.poll(cx).map(|next| match next {
            Ok(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Ok(None) => None,
            Err(cut_off) => Some(Err(cut_off)),
        });
        self.sent.moved(&polled);
        polled
    }
}
