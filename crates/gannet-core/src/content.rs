//! Bytes on their way, and how their journey ended.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::error::{Error, Result};

/// A part of the content of a key, on its way from one place to another.
///
/// It announces its length and closes with a [`Verdict`]; whoever pours it must look at both.
/// Silence is not success: a stream that ends without a verdict was cut off.
pub struct Content {
    /// Size in bytes of the whole content that this is a part of, as far as the sender knows.
    pub total: u64,
    /// Offset in bytes at which this part begins.
    pub from: u64,
    /// How many bytes are to come.
    pub len: u64,
    /// The bytes, then one [`Piece::End`]. An error ends the stream too.
    pub pieces: BoxStream<'static, Result<Piece>>,
}

/// One step of a content's journey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes; never empty.
    Bytes(Bytes),
    /// All bytes have been seen.
    End(Verdict),
}

/// What the sender says of the bytes after it has sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are what they were when the sending began.
    Valid,
    /// They changed meanwhile, or the sender cannot tell. They must not be stored.
    Doubtful,
}

impl Content {
    /// A content that is in memory already, complete and valid.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        let len = bytes.len() as u64;
        let mut pieces = Vec::new();
        if !bytes.is_empty() {
            pieces.push(Ok(Piece::Bytes(bytes)));
        }
        pieces.push(Ok(Piece::End(Verdict::Valid)));
        Self { total: len, from: 0, len, pieces: stream::iter(pieces).boxed() }
    }

    /// Hands each run of bytes to `take`, and returns the verdict.
    ///
    /// # Errors
    /// What the stream or `take` reports; [`Error::Interrupted`] if it ended early or without a
    /// verdict, [`Error::WrongLength`] if more came than was announced (`take` is never given the
    /// surplus).
    pub async fn pour(mut self, mut take: impl FnMut(Bytes) -> Result<()>) -> Result<Verdict> {
        let mut left = self.len;
        while let Some(piece) = self.pieces.next().await {
            match piece? {
                Piece::Bytes(mut bytes) => {
                    let surplus = bytes.len() as u64 > left;
                    if surplus {
                        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    left -= bytes.len() as u64;
                    take(bytes)?;
                    if surplus {
                        return Err(Error::WrongLength);
                    }
                }
                Piece::End(verdict) if left == 0 => return Ok(verdict),
                Piece::End(_) => break,
            }
        }
        Err(Error::Interrupted)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("total", &self.total)
            .field("from", &self.from)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
