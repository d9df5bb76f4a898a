//! Contents on their way from a server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};
use gannet_wire::http::DATA_LENGTH;
use reqwest::Response;
use tokio::time::timeout;

use super::caller::Caller;

/// The part of the content that `span` selects, from a reply that begins with its first byte.
///
/// The reply is valid only when it has as many bytes as it announced (p2p-http §3.1). Dropping
/// the content closes the connection, unless all of it has been read.
pub(super) fn content(
    reply: Response,
    key: &Key,
    span: Span,
    caller: &Arc<Caller>,
) -> Result<Content> {
    let announced = reply.headers().get(DATA_LENGTH);
    let announced = announced.and_then(|len| len.to_str().ok()?.parse::<u64>().ok());
    let Some(announced) = announced else {
        return Err(caller.fault(format_args!("no {DATA_LENGTH} in the reply")));
    };
    let total = match announced {
        0 => key.size().unwrap_or(span.from),
        _ => span.from.saturating_add(announced),
    };
    let len = span.to.map_or(announced, |to| announced.min(to.saturating_sub(span.from)));
    let receiving = Receiving {
        reply,
        left: len,
        // Of what was not asked for the end is not waited for.
        to_the_end: len == announced,
        idle: caller.patience.idle,
        done: false,
    };
    let pieces = stream::unfold(receiving, |mut receiving| async move {
        let piece = receiving.next().await?;
        Some((piece, receiving))
    });
    Ok(Content { total, from: span.from.min(total), len, pieces: pieces.boxed() })
}

struct Receiving {
    reply: Response,
    left: u64,
    to_the_end: bool,
    idle: Duration,
    done: bool,
}

impl Receiving {
    async fn next(&mut self) -> Option<Result<Piece>> {
        if self.done {
            return None;
        }
        let piece = self.piece().await;
        self.done = !matches!(piece, Ok(Piece::Bytes(_)));
        Some(piece)
    }

    async fn piece(&mut self) -> Result<Piece> {
        if self.left == 0 && !self.to_the_end {
            return Ok(Piece::End(Verdict::Valid));
        }
        match self.bytes().await? {
            Some(mut bytes) => {
                let len = bytes.len() as u64;
                if len > self.left {
                    if self.to_the_end {
                        return Err(Error::WrongLength);
                    }
                    bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                }
                self.left = self.left.saturating_sub(len);
                Ok(Piece::Bytes(bytes))
            }
            None if self.left == 0 => Ok(Piece::End(Verdict::Valid)),
            // Properly ended, but too short: that is how a server says that it has doubts.
            None => Err(Error::Doubtful),
        }
    }

    /// The next bytes, of which there are some; `None` at the proper end.
    async fn bytes(&mut self) -> Result<Option<Bytes>> {
        loop {
            match timeout(self.idle, self.reply.chunk()).await {
                Err(_) => return Err(Error::Stalled),
                Ok(Err(error)) => {
                    tracing::warn!("receiving content: {}", error.without_url());
                    return Err(Error::Interrupted);
                }
                Ok(Ok(Some(bytes))) if bytes.is_empty() => {}
                Ok(Ok(bytes)) => return Ok(bytes),
            }
        }
    }
}
