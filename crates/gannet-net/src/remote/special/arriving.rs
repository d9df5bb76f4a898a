//! Contents on their way to a special remote: received, hashed, and kept when the way breaks.

use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use gannet_core::backend::{Checker, Strength, strength};
use gannet_core::{Content, Error, Key, Piece, Result, Uuid, Verdict};

use super::claim::Claim;
use super::file::{self, Blocking, write_error};
use super::spool::{Reserved, Spool};
use super::store::{Guard, Source};

/// A content that is being received into the spool. Dropped, it stays there for resuming, unless
/// no hash could tell whether it is right.
pub(super) struct Arriving {
    claim: Claim,
    key: Key,
    at: u64,
    checker: Checker,
    /// Not, once it is stored or rejected.
    keep: AtomicBool,
    _reserved: Reserved,
}

impl Arriving {
    /// Takes up what an earlier attempt left, up to `from`, and makes ready for `len` bytes more.
    /// It blocks.
    ///
    /// # Errors
    /// [`Error::WrongOffset`], [`Error::NoSpace`], [`Error::Busy`].
    pub(super) fn open(
        spool: &Spool,
        remote: &Uuid,
        key: &Key,
        from: u64,
        len: u64,
    ) -> Result<Self> {
        let claim = Claim::take(spool.partial(remote, key), key)?;
        let held = usable(key, claim.bytes()?);
        if from > held {
            return Err(Error::WrongOffset { from, held });
        }
        let reserved = spool.reserve(len)?;
        let mut arriving = Self {
            claim,
            key: key.clone(),
            at: 0,
            checker: Checker::new(key),
            keep: AtomicBool::new(is_resumable(key)),
            _reserved: reserved,
        };
        arriving.take_up(from)?;
        Ok(arriving)
    }

    fn take_up(&mut self, from: u64) -> Result<()> {
        let failed = |error| Error::disk("read", self.claim.path(), error);
        let mut buffer = vec![0; file::PIECE_BYTES];
        while self.at < from {
            let most =
                usize::try_from(from - self.at).map_or(buffer.len(), |n| n.min(buffer.len()));
            let read = self.claim.file().read_at(&mut buffer[..most], self.at).map_err(failed)?;
            if read == 0 {
                return Err(Error::WrongOffset { from, held: self.at });
            }
            self.checker.update(&buffer[..read]);
            self.at += read as u64;
        }
        let shortened = self.claim.file().set_len(from);
        shortened.map_err(|error| Error::disk("shorten", self.claim.path(), error))
    }

    /// Receives all of `content`, hands itself back, and says what the sender's verdict was.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::WrongLength`], and what the sender or the disk reports.
    pub(super) async fn receive(
        mut self,
        content: Content,
        blocking: &Blocking,
    ) -> Result<(Self, Verdict)> {
        let (mut left, mut pieces) = (content.len, content.pieces);
        loop {
            let (mut batch, mut bytes_ready, mut last) = (Vec::new(), 0, None);
            let mut next = Some(pieces.next().await);
            // What is there already is written at once, and nothing waits in memory for more.
            while let Some(piece) = next.take() {
                match piece {
                    Some(Ok(Piece::Bytes(bytes))) => {
                        bytes_ready += bytes.len();
                        batch.push(bytes);
                    }
                    other => last = Some(other),
                }
                if last.is_none() && bytes_ready < BATCH_BYTES {
                    next = pieces.next().now_or_never();
                }
            }
            let surplus = trim(&mut batch, &mut left);
            if !batch.is_empty() {
                self = blocking.run(move || self.take(&batch)).await?;
            }
            if surplus {
                return Err(Error::WrongLength);
            }
            match last {
                None => {}
                Some(Some(Ok(Piece::End(verdict)))) if left == 0 => return Ok((self, verdict)),
                Some(Some(Err(error))) => return Err(error),
                Some(_) => return Err(Error::Interrupted),
            }
        }
    }

    fn take(mut self, batch: &[Bytes]) -> Result<Self> {
        for bytes in batch {
            let written = self.claim.file().write_all_at(bytes, self.at);
            written.map_err(|error| write_error(self.claim.path(), error))?;
            self.checker.update(bytes);
            self.at += bytes.len() as u64;
        }
        Ok(self)
    }

    /// Judges what came. It blocks.
    ///
    /// # Errors
    /// [`Error::Rejected`] or [`Error::Doubtful`]; nothing is kept then.
    pub(super) fn finish(mut self, verdict: Verdict) -> Result<Ready> {
        let checker = std::mem::replace(&mut self.checker, Checker::new(&self.key));
        let judged = match (verdict, checker.finish()) {
            (_, Err(why)) => Err(Error::Rejected { key: self.key.clone(), why: why.to_string() }),
            (Verdict::Doubtful, Ok(())) => Err(Error::Doubtful),
            (Verdict::Valid, Ok(())) => Ok(()),
        };
        match judged {
            Ok(()) => Ok(Ready(Arc::new(self))),
            Err(error) => {
                self.keep.store(false, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !*self.keep.get_mut()
            && let Err(error) = self.claim.discard()
        {
            tracing::warn!("{}", error.chain());
        }
    }
}

/// A content that is complete and verified. Dropped, it stays in the spool for another attempt.
pub(super) struct Ready(Arc<Arriving>);

impl Ready {
    /// Its bytes. As long as somebody has them nobody else is at work with this content.
    pub(super) fn source(&self) -> Source {
        let Arriving { claim, at, .. } = &*self.0;
        let (file, path) = (Arc::clone(claim.file()), claim.path().to_owned());
        Source::whole(file, path, *at, Arc::clone(&self.0) as Guard)
    }

    /// It is stored: the spool need not keep it.
    pub(super) fn stored(self) {
        self.0.keep.store(false, Ordering::Relaxed);
    }
}

/// How many bytes of `key` an earlier attempt left. It blocks.
///
/// # Errors
/// When the disk refuses to tell.
pub(super) fn held(spool: &Spool, remote: &Uuid, key: &Key) -> Result<u64> {
    let path = spool.partial(remote, key);
    match fs::symlink_metadata(&path) {
        Ok(metadata) => Ok(usable(key, metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::disk("look at", path, error)),
    }
}

/// Of how many bytes that came of `key` use can be made.
fn usable(key: &Key, bytes: u64) -> u64 {
    if is_resumable(key) { key.size().unwrap_or(u64::MAX).min(bytes) } else { 0 }
}

/// Only what a hash will prove may be put together from several attempts.
fn is_resumable(key: &Key) -> bool {
    strength(key) != Strength::SizeOnly
}

/// Cuts off what is more than `left`, and tells whether there was any.
fn trim(batch: &mut Vec<Bytes>, left: &mut u64) -> bool {
    let mut surplus = false;
    for bytes in batch.iter_mut() {
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        surplus |= bytes.len() > most;
        bytes.truncate(most);
        *left -= bytes.len() as u64;
    }
    batch.retain(|bytes| !bytes.is_empty());
    surplus
}

const BATCH_BYTES: usize = 1024 * 1024;
