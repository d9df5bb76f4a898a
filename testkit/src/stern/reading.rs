//! Content on its way out.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use gannet_core::{Content, Piece, Result, Span, Verdict};

use super::Faults;
use crate::content::slice;

/// Content on its way out. Dropping it closes it.
pub(super) struct Reading {
    rest: Bytes,
    /// Bytes that may still be sent before the content breaks off.
    left: Option<u64>,
    ended: bool,
    faults: Faults,
    _open: Counted,
}

/// Something of which a place counts how many there are.
pub(super) struct Counted(#[expect(dead_code, reason = "the references are counted")] Arc<()>);

impl Counted {
    pub(super) fn new(all: &Arc<()>) -> Self {
        Self(Arc::clone(all))
    }
}

impl Reading {
    pub(super) fn content(whole: &Bytes, span: Span, faults: Faults, open: Counted) -> Content {
        let total = whole.len() as u64;
        let (from, len) = span.within(total);
        let rest = slice(whole, from, from + len);
        let left = faults.cut_gets_after;
        let reading = Self { rest, left, ended: false, faults, _open: open };
        let pieces = stream::unfold(reading, |mut reading| async {
            let piece = reading.next().await?;
            Some((Ok(piece) as Result<Piece>, reading))
        });
        Content { total, from, len, pieces: pieces.boxed() }
    }

    async fn next(&mut self) -> Option<Piece> {
        if self.ended {
            return None;
        }
        if let Some(gate) = &self.faults.gate {
            gate.pass().await;
        }
        if self.rest.is_empty() && self.left != Some(0) {
            self.ended = true;
            let doubtful = self.faults.doubtful_gets;
            return Some(Piece::End(if doubtful { Verdict::Doubtful } else { Verdict::Valid }));
        }
        let most = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let len = self.rest.len().min(self.faults.piece_bytes.max(1)).min(most);
        if len == 0 {
            self.ended = true;
            return None;
        }
        if let Some(left) = &mut self.left {
            *left -= len as u64;
        }
        Some(Piece::Bytes(self.rest.split_to(len)))
    }
}
