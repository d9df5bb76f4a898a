//! Contents on their way into a body of HTTP, whose reader must notice when they go wrong.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gannet_core::{Content, Piece, Result, Verdict};

/// A content whose last piece is held back until the source has vouched for all of it
/// (p2p-http §3.1).
pub(crate) struct Watched {
    len: u64,
    left: u64,
    pieces: BoxStream<'static, Result<Piece>>,
    last: Option<Bytes>,
    doubt: Doubt,
    ended: bool,
    cut_off: bool,
}

impl Watched {
    pub(crate) fn new(content: Content, doubt: Doubt) -> Self {
        let Content { len, pieces, .. } = content;
        Self { len, left: len, pieces, last: None, doubt, ended: false, cut_off: false }
    }

    /// How many bytes it has, if it does not turn out doubtful.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the next bytes to send. `None`: no more, which may be too few.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CutOff>> {
        while !self.ended {
            let mut bytes = match ready!(self.pieces.poll_next_unpin(cx)) {
                Some(Ok(Piece::Bytes(bytes))) => bytes,
                Some(Ok(Piece::End(Verdict::Valid))) if self.left == 0 => {
                    self.ended = true;
                    return Poll::Ready(Ok(self.last.take()));
                }
                Some(Ok(Piece::End(_))) | None => return Poll::Ready(self.end_in_doubt()),
                Some(Err(error)) => {
                    tracing::warn!("sending content: {}", error.chain());
                    return Poll::Ready(self.end_in_doubt());
                }
            };
            match self.left.checked_sub(bytes.len() as u64) {
                _ if bytes.is_empty() => {}
                Some(0) => {
                    self.left = 0;
                    self.last = Some(bytes);
                }
                Some(left) => {
                    self.left = left;
                    return Poll::Ready(Ok(Some(bytes)));
                }
                None => {
                    if self.left > 0 {
                        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                        self.last = Some(bytes);
                    }
                    return Poll::Ready(self.end_in_doubt());
                }
            }
        }
        Poll::Ready(if self.cut_off { Err(CutOff) } else { Ok(None) })
    }

    /// Sees to it that the reader gets at least one byte too few.
    fn end_in_doubt(&mut self) -> Result<Option<Bytes>, CutOff> {
        self.ended = true;
        let last = self.last.take();
        // Of nothing, nothing can be withheld.
        self.cut_off = self.doubt == Doubt::Abort || self.len == 0;
        match self.cut_off {
            true => Err(CutOff),
            false => Ok(last.map(|last| last.slice(..last.len() - 1))),
        }
    }
}

/// The body was cut off because the content cannot be vouched for.
#[derive(Debug, thiserror::Error)]
#[error("content changed while it was sent, or could not be read")]
pub(crate) struct CutOff;

/// How a reader is told that content is doubtful.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The body ends early, properly framed: git-annex compares it with the announced length.
    Shorten,
    /// The connection breaks: all others notice only that.
    Abort,
}
