//! Reading from whichever node has the content, and from another when that one fails.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use gannet_core::backend::{Strength, strength};
use gannet_core::{Content, Error, Piece, Result, Span, Verdict};
use tokio::time::timeout;

use super::Request;
use super::asking::{Asked, first};
use crate::node::{Busy, Member};

/// A content on its way from one node, which may become another.
struct Relay {
    request: Request,
    /// Nodes that were not asked yet, the best first.
    rest: Vec<Member>,
    source: Option<Source>,
    /// What the first node said of the content: all others must say the same.
    total: u64,
    /// Offset of the first byte.
    begin: u64,
    /// Offset of the byte that comes next.
    at: u64,
    /// Offset after the last byte.
    end: u64,
    over: bool,
}

/// The node that sends.
struct Source {
    member: Member,
    content: Content,
    _busy: Busy,
}

impl Request {
    /// Opens the content at the node that serves best.
    ///
    /// Nobody hears of a node that fails, as long as another one can go on where it stopped. Once
    /// bytes have passed, that takes a key which proves its content: without that, whoever reads
    /// could not find out that he was given parts of different contents.
    pub(super) async fn get(self, span: Span) -> Result<Content> {
        let rest = self.in_order(&self.facts().await?);
        let (source, rest) = self.open(rest, span, None).await?;
        let Content { total, from, len, .. } = source.content;
        let relay = Relay {
            request: self,
            rest,
            source: Some(source),
            total,
            begin: from,
            at: from,
            end: from.saturating_add(len),
            over: false,
        };
        let pieces = stream::unfold(relay, |mut relay| async {
            let piece = relay.next().await?;
            Some((piece, relay))
        });
        Ok(Content { total, from, len, pieces: pieces.boxed() })
    }

    /// Opens the content at the first of these that has it, and says who has not answered. If `total`
    /// is known, it must be as large as that.
    async fn open(
        &self,
        members: Vec<Member>,
        span: Span,
        total: Option<u64>,
    ) -> Result<(Source, Vec<Member>)> {
        let limits = self.limits();
        let ask = |member: Member| async move {
            let asker = self.asker_at(&member);
            let answer = member.node.annex.get(&asker, &self.key, &self.file, span);
            let content = match member.ask(limits.answer, answer).await {
                Err(Error::Missing { .. }) => return Ok(None),
                content => content?,
            };
            let wrong = total.or(self.key.size()).is_some_and(|total| total != content.total)
                || content.len != span.within(content.total).1;
            if wrong {
                member.failed();
                return Err(member.node.fault("its content has another size"));
            }
            let busy = member.busy();
            begun(Source { member, content, _busy: busy }, limits.stall).await
        };
        match first(members, limits, ask).await {
            Asked::Got(source, rest) => Ok((source, rest)),
            Asked::Nobody => Err(Error::Missing { key: self.key.clone() }),
            Asked::Unclear(error) => Err(error),
        }
    }
}

/// If nothing will come, looks at the verdict right away: old nodes that have lost the content
/// send nothing, and do not vouch for it (proxy-cluster §8).
async fn begun(mut source: Source, stall: Duration) -> Result<Option<Source>> {
    if source.content.len > 0 || source.content.total > 0 {
        return Ok(Some(source));
    }
    match timeout(stall, source.content.pieces.next()).await {
        Ok(Some(Ok(Piece::End(Verdict::Valid)))) => {
            source.content = Content::whole(Bytes::new());
            Ok(Some(source))
        }
        Ok(Some(Ok(Piece::End(Verdict::Doubtful)))) => Ok(None),
        Ok(Some(Err(error))) => Err(error),
        Ok(Some(Ok(Piece::Bytes(_))) | None) | Err(_) => {
            source.member.failed();
            Err(source.member.node.fault("its content makes no sense"))
        }
    }
}

impl Relay {
    async fn next(&mut self) -> Option<Result<Piece>> {
        if self.over {
            return None;
        }
        let piece = loop {
            let mut source = match self.source.take() {
                Some(source) => source,
                None => break Err(Error::Interrupted),
            };
            let stall = self.request.limits().stall;
            let why = match timeout(stall, source.content.pieces.next()).await {
                Ok(Some(Ok(Piece::Bytes(bytes)))) => {
                    let left = self.end - self.at;
                    if bytes.len() as u64 > left {
                        break Err(Error::WrongLength);
                    }
                    self.at += bytes.len() as u64;
                    self.source = Some(source);
                    break Ok(Piece::Bytes(bytes));
                }
                Ok(Some(Ok(Piece::End(verdict)))) if self.at == self.end => {
                    break Ok(Piece::End(verdict));
                }
                Ok(Some(Ok(Piece::End(_))) | None) => Error::Interrupted,
                Ok(Some(Err(error))) => error,
                Err(_) => source.member.node.fault("it sends nothing more"),
            };
            source.member.failed();
            drop(source);
            if let Err(error) = self.go_on().await {
                break Err(error.unwrap_or(why));
            }
        };
        self.over = !matches!(piece, Ok(Piece::Bytes(_)));
        Some(piece)
    }

    /// Opens the rest of the content at another node.
    ///
    /// # Errors
    /// When it must not go on, or cannot; `None` when there is nothing new to say about that.
    async fn go_on(&mut self) -> Result<(), Option<Error>> {
        if self.at > self.begin && strength(&self.request.key) == Strength::SizeOnly {
            return Err(None);
        }
        let rest = std::mem::take(&mut self.rest);
        let span = Span { from: self.at, to: Some(self.end) };
        match self.request.open(rest, span, Some(self.total)).await {
            Ok((source, rest)) => {
                (self.source, self.rest) = (Some(source), rest);
                Ok(())
            }
            Err(Error::Missing { .. }) => Err(None),
            Err(error) => Err(Some(error)),
        }
    }
}
