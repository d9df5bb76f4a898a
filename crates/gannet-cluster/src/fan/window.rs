//! The part of a stream that is in memory, because somebody has still to take it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use gannet_core::{Piece, Result, Verdict};
use tokio::time::Instant;

/// What has come of a stream and has not been taken by all readers yet.
pub(super) struct Window {
    state: Mutex<State>,
    bytes_max: u64,
}

struct State {
    pieces: VecDeque<Bytes>,
    /// The number of the first piece.
    first: u64,
    /// Bytes in all pieces.
    bytes: u64,
    /// Offset after the last byte.
    head: u64,
    end: Option<End>,
    readers: Vec<Reading>,
    /// Waits for room.
    pump: Option<Waker>,
}

/// How the stream ended: with a verdict, or without.
type End = Option<Verdict>;

struct Reading {
    /// The number of the piece that it takes next.
    next: u64,
    /// How many more bytes it does not want.
    skip: u64,
    progress: Progress,
    /// It was told how the stream ended.
    over: bool,
    gone: bool,
    waker: Option<Waker>,
}

/// How somebody gets on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Progress {
    /// There is nothing more to be taken.
    UpToDate,
    /// There has been since.
    BehindSince(Instant),
    /// Everything was taken, or whoever took it has turned away.
    OverSince(Instant),
}

/// Somebody who takes what comes. Dropped, he holds nothing back.
pub(super) struct Reader {
    window: Arc<Window>,
    place: usize,
}

impl Window {
    /// A window onto a stream that begins at offset `from`.
    pub(super) fn new(from: u64, bytes_max: u64) -> Self {
        let state = State {
            pieces: VecDeque::new(),
            first: 0,
            bytes: 0,
            head: from,
            end: None,
            readers: Vec::new(),
            pump: None,
        };
        Self { state: Mutex::new(state), bytes_max: bytes_max.max(1) }
    }

    /// One more reader, who wants what comes from offset `from` on. To be called before anything
    /// is pushed.
    pub(super) fn reader(window: &Arc<Self>, from: u64) -> Reader {
        let mut state = window.lock();
        let reading = Reading {
            next: state.first,
            skip: from.saturating_sub(state.head),
            progress: Progress::UpToDate,
            over: false,
            gone: false,
            waker: None,
        };
        state.readers.push(reading);
        Reader { window: Arc::clone(window), place: state.readers.len() - 1 }
    }

    /// Waits until there is room for more; `false` when nobody reads any more.
    pub(super) async fn room(&self) -> bool {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.readers.iter().all(|reader| reader.gone) {
                return Poll::Ready(false);
            }
            if state.bytes < self.bytes_max {
                return Poll::Ready(true);
            }
            state.pump = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The next bytes of the stream.
    pub(super) fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.bytes += bytes.len() as u64;
        state.head = state.head.saturating_add(bytes.len() as u64);
        state.pieces.push_back(bytes);
        state.offer();
    }

    /// The end of the stream.
    pub(super) fn end(&self, verdict: Option<Verdict>) {
        let mut state = self.lock();
        state.end = Some(verdict);
        state.offer();
    }

    pub(super) fn progress(&self, place: usize) -> Progress {
        self.lock().readers[place].progress
    }

    /// Whether this reader has taken everything, and the verdict that it is valid.
    pub(super) fn is_taken(&self, place: usize) -> bool {
        let state = self.lock();
        state.readers[place].over && state.end == Some(Some(Verdict::Valid))
    }

    /// This reader wants nothing more: he holds nobody back, and is told that there is no more.
    pub(super) fn leave(&self, place: usize) {
        let mut state = self.lock();
        let reader = &mut state.readers[place];
        if reader.gone {
            return;
        }
        reader.gone = true;
        if let Some(waker) = reader.waker.take() {
            waker.wake();
        }
        if !matches!(reader.progress, Progress::OverSince(_)) {
            reader.progress = Progress::OverSince(Instant::now());
        }
        state.forget();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells all readers that there is something new.
    fn offer(&mut self) {
        for reader in &mut self.readers {
            if matches!(reader.progress, Progress::UpToDate) {
                reader.progress = Progress::BehindSince(Instant::now());
            }
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    /// What the reader at `place` takes next; `None` when he must wait.
    fn take(&mut self, place: usize) -> Option<Option<Piece>> {
        let reader = &mut self.readers[place];
        let mut taken = None;
        while let Ok(at) = usize::try_from(reader.next - self.first)
            && let Some(piece) = self.pieces.get(at)
        {
            reader.next += 1;
            let len = piece.len() as u64;
            let skipped = reader.skip.min(len);
            reader.skip -= skipped;
            if skipped < len {
                // It fits: it is less than the length of a piece.
                let bytes = piece.slice(usize::try_from(skipped).unwrap_or(usize::MAX)..);
                taken = Some(Some(Piece::Bytes(bytes)));
                break;
            }
        }
        let all = reader.next == self.first + self.pieces.len() as u64;
        if taken.is_none()
            && let Some(end) = self.end
        {
            reader.over = true;
            reader.progress = Progress::OverSince(Instant::now());
            taken = Some(end.map(Piece::End));
        } else if all && self.end.is_none() {
            reader.progress = Progress::UpToDate;
        } else {
            reader.progress = Progress::BehindSince(Instant::now());
        }
        self.forget();
        taken
    }

    /// Forgets what nobody has still to take.
    fn forget(&mut self) {
        let reading = self.readers.iter().filter(|reader| !reader.gone);
        let Some(next) = reading.map(|reader| reader.next).min() else {
            self.pieces.clear();
            self.bytes = 0;
            self.wake_pump();
            return;
        };
        let mut forgotten = false;
        while self.first < next
            && let Some(piece) = self.pieces.pop_front()
        {
            self.first += 1;
            self.bytes -= piece.len() as u64;
            forgotten = true;
        }
        if forgotten {
            self.wake_pump();
        }
    }

    fn wake_pump(&mut self) {
        if let Some(waker) = self.pump.take() {
            waker.wake();
        }
    }
}

impl Reader {
    /// Which of the readers this is.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// The next piece, once it is there; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Option<Result<Piece>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await.map(Ok)
    }

    fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Piece>> {
        let mut state = self.window.lock();
        let reader = &state.readers[self.place];
        if reader.over || reader.gone {
            return Poll::Ready(None);
        }
        match state.take(self.place) {
            Some(piece) => Poll::Ready(piece),
            None => {
                state.readers[self.place].waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.window.leave(self.place);
    }
}
