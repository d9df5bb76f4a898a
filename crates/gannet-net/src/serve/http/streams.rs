//! HTTP/2 streams whose reader has stopped.
//!
//! On HTTP/1 such a reader blocks the connection, where [`Paced`](super::paced::Paced) notices.
//! On HTTP/2 it blocks its own stream alone: nothing is asked for any more, so the stream's future
//! is watched instead.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Chores;
use crate::serve::shares::{Place, Places};

/// Runs the streams of one connection.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) chores: Chores,
    /// How long a reader may take for one frame.
    pub(super) idle: Duration,
    /// Those of all connections.
    pub(super) places: Arc<Places>,
    /// Where the peer is.
    pub(super) from: Option<IpAddr>,
}

/// How far the reader of one stream has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Since when the reader has been busy with a frame; `None` while it waits for one.
    reading: Mutex<Option<Instant>>,
}

impl Progress {
    /// That of the stream that is being served; there is none on HTTP/1.
    pub(super) fn of_this_stream() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Notes that a frame was handed out, or that none is there.
    pub(super) fn handed_out(&self, any: bool) {
        *self.reading() = any.then(Instant::now);
    }

    fn reading(&self) -> MutexGuard<'_, Option<Instant>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    /// Dropping a stream resets it: that is what becomes of one too many.
    fn execute(&self, stream: F) {
        let place = match self.places.take(self.from) {
            Ok(place) => place,
            Err(full) => return tracing::debug!("one stream too many: {full:?}"),
        };
        self.chores.execute(Watched {
            stream: Box::pin(stream),
            _place: place,
            progress: Arc::default(),
            idle: self.idle,
            timer: None,
        });
    }
}

/// A stream that ends when its reader takes too long. Dropping it resets the stream.
struct Watched<F> {
    stream: Pin<Box<F>>,
    _place: Place,
    progress: Arc<Progress>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let stream = this.stream.as_mut();
        if CURRENT.sync_scope(Arc::clone(&this.progress), || stream.poll(cx)).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *this.progress.reading() else { return Poll::Pending };
        let deadline = since + this.idle;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("the reader of a stream stopped");
        Poll::Ready(())
    }
}

tokio::task_local! {
    static CURRENT: Arc<Progress>;
}
