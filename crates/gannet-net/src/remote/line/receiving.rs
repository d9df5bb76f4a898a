//! Contents on their way here.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};

use super::connection::{Connection, Part, Trouble};
use super::pool::Pool;

/// The part of the content that `span` selects, of which `announced` bytes follow.
///
/// At its end the connection goes back to the pool. Dropping it before, or wanting less than
/// comes, closes it.
pub(super) fn content(
    pool: &Arc<Pool>,
    connection: Connection,
    key: &Key,
    span: Span,
    announced: u64,
) -> Content {
    let total = match announced {
        0 => key.size().unwrap_or(span.from),
        _ => span.from.saturating_add(announced),
    };
    let len = span.to.map_or(announced, |to| announced.min(to.saturating_sub(span.from)));
    let to_the_end = len == announced;
    let receiving = Receiving { pool: Arc::clone(pool), connection, left: len, to_the_end };
    let pieces = stream::unfold(Some(receiving), async |receiving: Option<Receiving>| {
        Some(receiving?.next().await)
    });
    Content { total, from: span.from.min(total), len, pieces: pieces.boxed() }
}

struct Receiving {
    pool: Arc<Pool>,
    connection: Connection,
    left: u64,
    to_the_end: bool,
}

impl Receiving {
    /// The next piece, and what those after it come from.
    async fn next(mut self) -> (Result<Piece>, Option<Self>) {
        if self.left == 0 && !self.to_the_end {
            return (Ok(Piece::End(Verdict::Valid)), None);
        }
        match self.connection.next_part().await {
            Ok(Part::Bytes(mut bytes)) => {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                bytes.truncate(left);
                self.left -= bytes.len() as u64;
                (Ok(Piece::Bytes(bytes)), Some(self))
            }
            Ok(Part::End(verdict)) => {
                if self.to_the_end {
                    self.pool.give_back(self.connection);
                }
                (Ok(Piece::End(verdict)), None)
            }
            Err(trouble) => {
                let error = match trouble {
                    Trouble::Hung(_) => Error::Stalled,
                    _ => Error::Interrupted,
                };
                // Who takes the content learns that it ended; why is for people.
                let why = self.connection.fault(trouble).await;
                tracing::warn!("receiving content: {}", why.chain());
                (Err(error), None)
            }
        }
    }
}
