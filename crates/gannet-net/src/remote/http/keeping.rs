//! Locks at a server, kept by a request that does not end (p2p-http §4.2).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gannet_core::lock::Held;
use gannet_core::{Asker, Error, Result};
use hyper::body::{Body, Frame};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Interval, interval, timeout};

use super::caller::Caller;

/// Keeps a lock that the server has given out.
///
/// # Errors
/// When the request could not begin; the lock then stands for ten minutes, but nobody may rely
/// on it.
pub(super) async fn keep(caller: &Arc<Caller>, asker: &Asker, lock_id: Vec<u8>) -> Result<Kept> {
    let (unlock, unlocked) = oneshot::channel();
    let (began, beginning) = oneshot::channel();
    let body = Keeping { began: Some(began), beat: interval(BEAT), unlocked: Some(unlocked) };
    let (calling, asker) = (Arc::clone(caller), asker.clone());
    let task =
        tokio::spawn(async move { calling.keep(&asker, lock_id, reqwest::Body::wrap(body)).await });
    let mut kept = Kept { unlock, request: Request(task), caller: Arc::clone(caller) };
    tokio::select! {
        // It is asked for bytes only once there is a connection to send them over.
        Ok(()) = beginning => Ok(kept),
        ended = &mut kept.request.0 => Err(match ended {
            Ok(Err(error)) => error,
            _ => caller.fault("the lock was given up at once"),
        }),
        () = tokio::time::sleep(caller.patience.idle) => {
            Err(caller.fault("the lock could not be kept: no connection in time"))
        }
    }
}

/// A lock that a server keeps. Dropping it closes the connection; the server then keeps the
/// content for the rest of the ten minutes.
pub(super) struct Kept {
    unlock: oneshot::Sender<()>,
    request: Request,
    caller: Arc<Caller>,
}

#[async_trait]
impl Held for Kept {
    async fn release(self: Box<Self>) -> Result<()> {
        let Self { unlock, mut request, caller } = *self;
        let sent = unlock.send(()).is_ok();
        match timeout(caller.patience.idle, &mut request.0).await {
            Ok(Ok(Ok(()))) if sent => Ok(()),
            Ok(Ok(Ok(()))) => Err(caller.fault("the lock was gone before it was released")),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(error)) => Err(Error::Internal(error.to_string())),
            Err(_) => Err(caller.fault("no reply to unlocking in time")),
        }
    }
}

/// A request that ends with its owner.
struct Request(JoinHandle<Result<()>>);

impl Drop for Request {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `{"unlock":false}` now and then, at last `{"unlock":true}`.
struct Keeping {
    began: Option<oneshot::Sender<()>>,
    beat: Interval,
    /// `None` once it has been unlocked.
    unlocked: Option<oneshot::Receiver<()>>,
}

impl Body for Keeping {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(unlocked) = &mut self.unlocked else { return Poll::Ready(None) };
        if let Poll::Ready(outcome) = Pin::new(unlocked).poll(cx) {
            self.unlocked = None;
            return Poll::Ready(Some(match outcome {
                Ok(()) => Ok(Frame::data(Bytes::from_static(UNLOCK))),
                // Without a holder nothing must be unlocked: the connection breaks.
                Err(_) => Err(GivenUp),
            }));
        }
        ready!(self.beat.poll_tick(cx));
        if let Some(began) = self.began.take()
            && began.send(()).is_err()
        {
            return Poll::Ready(Some(Err(GivenUp)));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(KEEP)))))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the lock is not needed any more")]
struct GivenUp;

const KEEP: &[u8] = b"{\"unlock\":false}\n";
const UNLOCK: &[u8] = b"{\"unlock\":true}\n";
/// Often enough for whatever stands between us and forgets idle connections.
const BEAT: Duration = Duration::from_secs(45);
