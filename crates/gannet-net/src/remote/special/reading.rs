//! Contents on their way from a special remote: objects one after the other, and a verdict.

use std::ops::Range;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gannet_core::backend::Checker;
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};

use super::lists::List;
use super::store::Store;

/// The part of a content of `total` bytes that `span` selects, read from the objects of `list`.
///
/// Nothing is asked of the store before the pieces are. If all of the content is read, its hash
/// is checked, and what does not match is `Doubtful`; of a part nobody can tell.
pub(super) fn content(
    store: &Arc<dyn Store>,
    key: &Key,
    list: List,
    total: u64,
    span: Span,
) -> Content {
    let (from, len) = span.within(total);
    let bytes = list.chunks().map_or(total, |chunks| chunks.bytes.get());
    let objects = match len {
        0 => 0..0,
        _ => from / bytes..(from + len - 1) / bytes + 1,
    };
    let reading = Reading {
        store: Arc::clone(store),
        list,
        total,
        objects,
        bytes,
        part: (from, from + len),
        pieces: stream::empty().boxed(),
        left: 0,
        checker: (len == total).then(|| Checker::new(key)),
        key: key.clone(),
        verdict: Some(Verdict::Valid),
    };
    Content { total, from, len, pieces: stream::try_unfold(reading, Reading::next).boxed() }
}

struct Reading {
    store: Arc<dyn Store>,
    key: Key,
    list: List,
    total: u64,
    /// Objects that are still to be read, counted from 0.
    objects: Range<u64>,
    /// How many bytes each has, but for the last.
    bytes: u64,
    /// Where what is read begins in the content, and where it ends.
    part: (u64, u64),
    /// Of the object that is being read, and how many bytes are to come of it.
    pieces: BoxStream<'static, Result<Piece>>,
    left: u64,
    checker: Option<Checker>,
    /// `None` once it was said.
    verdict: Option<Verdict>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Piece, Self)>> {
        loop {
            match self.pieces.next().await.transpose()? {
                Some(Piece::Bytes(bytes)) => {
                    self.left =
                        self.left.checked_sub(bytes.len() as u64).ok_or(Error::WrongLength)?;
                    if let Some(checker) = &mut self.checker {
                        checker.update(&bytes);
                    }
                    return Ok(Some((Piece::Bytes(bytes), self)));
                }
                Some(Piece::End(verdict)) if self.left == 0 => {
                    self.pieces = stream::empty().boxed();
                    if verdict == Verdict::Doubtful {
                        self.verdict = Some(Verdict::Doubtful);
                    }
                }
                None if self.left == 0 => match self.objects.next() {
                    Some(object) => self.open(object).await?,
                    None => return Ok(self.judge()),
                },
                _ => return Err(Error::Interrupted),
            }
        }
    }

    async fn open(&mut self, object: u64) -> Result<()> {
        let ((from, to), start) = (self.part, object * self.bytes);
        let span =
            Span { from: from.saturating_sub(start), to: Some((to - start).min(self.bytes)) };
        let (name, bytes) = self.list.object(&self.key, object + 1);
        let bytes = bytes.or(self.list.chunks().is_none().then_some(self.total));
        let content = self.store.get(&name, bytes, span).await?;
        let (_, expected) = span.within(bytes.unwrap_or(u64::MAX));
        if content.len != expected {
            return Err(Error::Interrupted);
        }
        (self.pieces, self.left) = (content.pieces, content.len);
        Ok(())
    }

    fn judge(mut self) -> Option<(Piece, Self)> {
        let verdict = self.verdict.take()?;
        let checked = self.checker.take().map(Checker::finish);
        if let Some(Err(why)) = checked {
            tracing::warn!("{}: content does not match {}: {why}", self.store, self.key);
            return Some((Piece::End(Verdict::Doubtful), self));
        }
        Some((Piece::End(verdict), self))
    }
}
