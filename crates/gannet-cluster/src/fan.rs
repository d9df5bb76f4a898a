//! One stream to many places.
//!
//! All of them read from one [`Window`] onto the stream, each at its own pace, and from its own
//! offset. Whoever is slow holds the window back, and with it the stream: nothing is kept for him
//! beyond it. Whoever takes nothing for too long is dropped, and so is nobody else.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use gannet_core::{Content, Error, Piece, Result, Verdict};
use tokio::time::{Instant, sleep, sleep_until};

use self::window::{Progress, Window};

mod window;

/// A stream on its way to many places.
pub(crate) struct Fan {
    window: Arc<Window>,
    pieces: BoxStream<'static, Result<Piece>>,
    total: u64,
    from: u64,
    len: u64,
}

/// How patient a fan is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long somebody may take nothing, though there is something to be taken.
    pub(crate) stall: Duration,
    /// How long somebody may take to say what came of it, once he has all he wants.
    pub(crate) settle: Duration,
}

/// One of those who take the stream. Dropped, it holds nobody back any more, even if something
/// that belonged to it still has its content.
pub(crate) struct Branch {
    window: Arc<Window>,
    place: usize,
}

/// How the stream ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// As it should.
    Complete(Verdict),
    /// As it should not. This is also what all who take it are told, in other words.
    Broken(Error),
    /// Nobody wanted more of it.
    Unread,
}

impl Fan {
    /// A fan of this content, which lets nobody get further ahead of the slowest than
    /// `window_bytes` and a piece.
    pub(crate) fn new(content: Content, window_bytes: u64) -> Self {
        let Content { total, from, len, pieces } = content;
        Self { window: Arc::new(Window::new(from, window_bytes)), pieces, total, from, len }
    }

    /// What comes from offset `from` on, for one more who takes it.
    pub(crate) fn branch(&self, from: u64) -> (Branch, Content) {
        let end = self.from.saturating_add(self.len);
        let from = from.clamp(self.from, end);
        let reader = Window::reader(&self.window, from);
        let branch = Branch { window: Arc::clone(&self.window), place: reader.place() };
        let pieces = futures_util::stream::unfold(reader, |mut reader| async {
            let piece = reader.next().await?;
            Some((piece, reader))
        });
        let content = Content { total: self.total, from, len: end - from, pieces: pieces.boxed() };
        (branch, content)
    }

    /// Pours until nobody takes any more, and returns how the stream ended.
    ///
    /// `takers` are to read what [`branch`](Self::branch) gave; what each came to is handed to
    /// `done`. Dropping the future drops them all.
    pub(crate) async fn pour<T>(
        self,
        takers: impl IntoIterator<Item = impl Future<Output = T>>,
        mut done: impl FnMut(T),
    ) -> Ending {
        let mut takers: FuturesUnordered<_> = takers.into_iter().collect();
        let mut pumping = pin!(pump(self.pieces, &self.window, self.len).fuse());
        let mut ending = Ending::Unread;
        loop {
            tokio::select! {
                biased;
                ended = &mut pumping => ending = ended,
                taker = takers.next() => match taker {
                    Some(taker) => done(taker),
                    None => return ending,
                },
            }
        }
    }
}

impl Branch {
    /// Waits for what becomes of the put that takes this branch, unless it stalls.
    ///
    /// # Errors
    /// [`Error::Stalled`], and what the put says.
    pub(crate) async fn watch<T>(
        &self,
        patience: Patience,
        put: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            biased;
            outcome = put => outcome,
            () = self.stalls(patience) => Err(Error::Stalled),
        }
    }

    /// Whether all of it was taken, up to the verdict that it is valid.
    pub(crate) fn is_taken(&self) -> bool {
        self.window.is_taken(self.place)
    }

    async fn stalls(&self, patience: Patience) {
        loop {
            let deadline = match self.window.progress(self.place) {
                // Nobody can be late before that.
                Progress::UpToDate => {
                    sleep(patience.stall.min(patience.settle)).await;
                    continue;
                }
                Progress::BehindSince(since) => since + patience.stall,
                Progress::OverSince(since) => since + patience.settle,
            };
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

impl Drop for Branch {
    fn drop(&mut self) {
        self.window.leave(self.place);
    }
}

/// Moves the stream into the window, as long as anybody reads there.
async fn pump(mut pieces: BoxStream<'static, Result<Piece>>, window: &Window, len: u64) -> Ending {
    let mut left = len;
    while window.room().await {
        match pieces.next().await {
            Some(Ok(Piece::Bytes(bytes))) => {
                let surplus = bytes.len() as u64 > left;
                left = left.saturating_sub(bytes.len() as u64);
                window.push(bytes);
                if surplus {
                    window.end(None);
                    return Ending::Broken(Error::WrongLength);
                }
            }
            Some(Ok(Piece::End(verdict))) => {
                window.end(Some(verdict));
                return match left {
                    0 => Ending::Complete(verdict),
                    _ => Ending::Broken(Error::Interrupted),
                };
            }
            Some(Err(error)) => {
                window.end(None);
                return Ending::Broken(error);
            }
            None => {
                window.end(None);
                return Ending::Broken(Error::Interrupted);
            }
        }
    }
    Ending::Unread
}

#[cfg(test)]
mod tests;
