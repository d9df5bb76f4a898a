//! Bytes on their way, and how their journey ended.

use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use crate::backend::{Checker, Strength, strength};
use crate::error::{Error, Result};
use crate::key::Key;

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

    /// The same content, of a sender who has no way of saying whether it changed while it was
    /// sent: it is valid only if its hash is that of `key`.
    ///
    /// Where no hash can tell, for `key` names none or this is not the whole content, all is left
    /// as it was.
    #[must_use]
    pub fn judged_by(self, key: &Key) -> Self {
        if self.from > 0 || self.len < self.total || strength(key) == Strength::SizeOnly {
            return self;
        }
        let mut checker = Some(Checker::new(key));
        let pieces = self.pieces.map(move |piece| match piece {
            Ok(Piece::Bytes(bytes)) => {
                if let Some(checker) = &mut checker {
                    checker.update(&bytes);
                }
                Ok(Piece::Bytes(bytes))
            }
            Ok(Piece::End(Verdict::Valid)) => {
                let is_right = checker.take().is_some_and(|checker| checker.finish().is_ok());
                Ok(Piece::End(if is_right { Verdict::Valid } else { Verdict::Doubtful }))
            }
            other => other,
        });
        Self { pieces: pieces.boxed(), ..self }
    }

    /// The same content without its bytes before offset `from`.
    #[must_use]
    pub fn starting_at(self, from: u64) -> Self {
        let mut skip = from.saturating_sub(self.from).min(self.len);
        if skip == 0 {
            return self;
        }
        let Self { total, from, len, pieces } = self;
        let (from, len) = (from + skip, len - skip);
        let pieces = pieces.filter_map(move |piece| {
            let piece = match piece {
                Ok(Piece::Bytes(mut bytes)) => {
                    let skipped = bytes.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                    skip -= skipped as u64;
                    let rest = bytes.split_off(skipped);
                    (!rest.is_empty()).then_some(Ok(Piece::Bytes(rest)))
                }
                other => Some(other),
            };
            std::future::ready(piece)
        });
        Self { total, from, len, pieces: pieces.boxed() }
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const HELLO: &str =
        "SHA256-s5--2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn key(text: &str) -> Key {
        Key::parse(text.as_bytes()).expect("a key")
    }

    fn content(pieces: &[&'static str], verdict: Verdict) -> Content {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum();
        let pieces = pieces.iter().map(|&piece| Ok(Piece::Bytes(piece.into())));
        let pieces = pieces.chain([Ok(Piece::End(verdict))]).collect::<Vec<_>>();
        Content { total: len, from: 0, len, pieces: stream::iter(pieces).boxed() }
    }

    fn read(content: Content) -> (u64, String, Verdict) {
        let (from, mut got) = (content.from, Vec::new());
        let pouring = content.pour(|bytes| {
            got.extend_from_slice(&bytes);
            Ok(())
        });
        let verdict = pouring.now_or_never().expect("all is there").expect("a verdict");
        (from, String::from_utf8(got).expect("text"), verdict)
    }

    #[test]
    fn a_hash_vouches_for_what_its_sender_cannot() {
        use Verdict::{Doubtful, Valid};
        let judged = |pieces: &[&'static str], verdict, name| {
            read(content(pieces, verdict).judged_by(&key(name))).2
        };
        let sizes = "WORM-s5--hello";
        assert_eq!(judged(&["hel", "lo"], Valid, HELLO), Valid);
        assert_eq!(judged(&["hel", "lo"], Doubtful, HELLO), Doubtful);
        assert_eq!(judged(&["hel", "LO"], Valid, HELLO), Doubtful);
        assert_eq!(judged(&["hell"], Valid, HELLO), Doubtful);
        assert_eq!(judged(&["HEL", "LO"], Valid, sizes), Valid, "nobody can tell");
        let part = Content { total: 10, ..content(&["hello"], Valid) };
        assert_eq!(read(part.judged_by(&key(HELLO))).2, Valid, "nobody can tell");
    }

    #[test]
    fn what_is_known_already_is_skipped() {
        for from in 0..7 {
            let rest = content(&["he", "l", "lo"], Verdict::Valid).starting_at(from);
            let at = usize::try_from(from.min(5)).expect("small");
            assert_eq!(rest.len, 5 - from.min(5));
            assert_eq!(read(rest), (from.min(5), "hello"[at..].to_owned(), Verdict::Valid));
        }
        // The bytes that are skipped are judged, too.
        let wrong = content(&["HE", "llo"], Verdict::Valid).judged_by(&key(HELLO)).starting_at(2);
        assert_eq!(read(wrong), (2, "llo".to_owned(), Verdict::Doubtful));
    }
}
