//! Bodies of replies.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use gannet_core::Content;
use hyper::body::{Body, Frame, SizeHint};

use super::streams::Progress;
use crate::watched::{CutOff, Doubt, Watched};

/// The body of a reply: pieces are passed through as they come.
///
/// Dropping it, as when the connection breaks, frees all that it holds.
pub(super) struct Outgoing<Keep> {
    segments: VecDeque<Segment>,
    /// Bytes to come, if the length is to be announced.
    left: Option<u64>,
    cut_off: bool,
    /// On HTTP/2: who reads this.
    progress: Option<Arc<Progress>>,
    /// What lives as long as the reply is under way.
    _keep: Keep,
}

/// A part of a body.
pub(super) enum Segment {
    /// Text that is here already.
    Text(Bytes),
    /// Content on its way.
    Content(Watched),
}

impl<Keep> Outgoing<Keep> {
    /// A body whose length is announced.
    pub(super) fn sized(segments: impl Into<VecDeque<Segment>>, keep: Keep) -> Self {
        let segments: VecDeque<_> = segments.into();
        let left = segments.iter().map(Segment::len).sum();
        Self { left: Some(left), ..Self::chunked(segments, keep) }
    }

    /// A body that is sent in chunks.
    pub(super) fn chunked(segments: impl Into<VecDeque<Segment>>, keep: Keep) -> Self {
        Self {
            segments: segments.into(),
            left: None,
            cut_off: false,
            progress: Progress::of_this_stream(),
            _keep: keep,
        }
    }

    /// In chunked framing an empty frame would look like the end.
    fn frame(&mut self, mut bytes: Bytes) -> Option<Frame<Bytes>> {
        if let Some(progress) = &self.progress {
            // Small frames show even slow readers' progress.
            if bytes.len() > STREAM_FRAME_BYTES_MAX {
                let rest = bytes.split_off(STREAM_FRAME_BYTES_MAX);
                self.segments.push_front(Segment::Text(rest));
            }
            progress.handed_out(true);
        }
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        (!bytes.is_empty()).then(|| Frame::data(bytes))
    }
}

impl Segment {
    /// A content, of which no reader gets all before it has proved valid.
    pub(super) fn content(content: Content, doubt: Doubt) -> Self {
        Self::Content(Watched::new(content, doubt))
    }

    /// How many bytes it has, if it does not turn out doubtful.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Content(content) => content.len(),
        }
    }
}

impl<Keep: Unpin> Body for Outgoing<Keep> {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = &mut *self;
        while let Some(segment) = this.segments.front_mut() {
            let bytes = match segment {
                Segment::Text(text) => std::mem::take(text),
                Segment::Content(content) => match content.poll(cx) {
                    Poll::Pending => {
                        if let Some(progress) = &this.progress {
                            progress.handed_out(false);
                        }
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(Some(bytes))) => {
                        if let Some(frame) = this.frame(bytes) {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        continue;
                    }
                    Poll::Ready(Ok(None)) => Bytes::new(),
                    Poll::Ready(Err(CutOff)) if !this.cut_off => {
                        // What was handed over already shall reach the peer: a connection that
                        // breaks before any reply looks as if it had been closed while idle.
                        this.cut_off = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(CutOff)) => {
                        this.segments.clear();
                        return Poll::Ready(Some(Err(CutOff)));
                    }
                },
            };
            this.segments.pop_front();
            if let Some(frame) = this.frame(bytes) {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.segments.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

const STREAM_FRAME_BYTES_MAX: usize = 64 * 1024;
