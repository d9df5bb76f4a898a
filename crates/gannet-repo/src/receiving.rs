//! Pours content into a file, and sees that it is put away in order however the pouring ends.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use gannet_core::{Content, Error, Piece, Result, Verdict};

use crate::arriving::{Arriving, Verified};
use crate::blocking::Blocking;
use crate::keyring::Turn;

/// Content that is arriving, and the turn to change its key.
///
/// Dropped, what came is put away by a thread that may block, and only then is it the turn of the
/// next one.
pub(crate) struct Receiving {
    open: Option<(Arriving, Turn)>,
    gathered: BytesMut,
    blocking: Blocking,
}

impl Receiving {
    pub(crate) fn new(arriving: Arriving, turn: Turn, blocking: Blocking) -> Self {
        Self { open: Some((arriving, turn)), gathered: BytesMut::new(), blocking }
    }

    /// Receives all of `content` and judges it.
    ///
    /// # Errors
    /// [`Error::Interrupted`], [`Error::WrongLength`], and what the content, the key or the disk
    /// reports. When it returns, what came has been put away.
    pub(crate) async fn receive(mut self, content: Content) -> Result<(Verified, Turn)> {
        match self.pour(content).await {
            Ok(verdict) => self.finish(verdict).await,
            Err(error) => {
                self.put_away().await?;
                Err(error)
            }
        }
    }

    async fn pour(&mut self, mut content: Content) -> Result<Verdict> {
        let mut left = content.len;
        while let Some(piece) = content.pieces.next().await {
            match piece? {
                Piece::Bytes(mut bytes) => {
                    let surplus = bytes.len() as u64 > left;
                    bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= bytes.len() as u64;
                    self.take(bytes).await?;
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

    /// Gathers small pieces, so that each visit to the disk is worth its while.
    async fn take(&mut self, bytes: Bytes) -> Result<()> {
        if self.gathered.is_empty() && bytes.len() >= GATHER_BYTES {
            return self.append(bytes).await;
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= GATHER_BYTES {
            let bytes = self.gathered.split().freeze();
            return self.append(bytes).await;
        }
        Ok(())
    }

    async fn append(&mut self, bytes: Bytes) -> Result<()> {
        let (mut arriving, turn) = self.open.take().ok_or(Error::Interrupted)?;
        let appended = self.blocking.run(move || {
            arriving.append(&bytes)?;
            Ok((arriving, turn))
        });
        self.open = Some(appended.await?);
        Ok(())
    }

    async fn finish(mut self, verdict: Verdict) -> Result<(Verified, Turn)> {
        let (mut arriving, turn) = self.open.take().ok_or(Error::Interrupted)?;
        let last = self.gathered.split().freeze();
        self.blocking
            .run(move || {
                arriving.append(&last)?;
                Ok((arriving.finish(verdict)?, turn))
            })
            .await
    }

    /// Writes what was gathered, and lets go of the file and the turn.
    async fn put_away(mut self) -> Result<()> {
        let Some((mut arriving, turn)) = self.open.take() else { return Ok(()) };
        let last = self.gathered.split().freeze();
        self.blocking
            .run(move || {
                let appended = arriving.append(&last);
                drop(arriving);
                drop(turn);
                appended
            })
            .await
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let Some((mut arriving, turn)) = self.open.take() else { return };
        let last = self.gathered.split().freeze();
        let put_away = move || {
            if let Err(error) = arriving.append(&last) {
                tracing::debug!("{}", error.chain());
            }
            drop(arriving);
            drop(turn);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(put_away)),
            Err(_) => put_away(),
        }
    }
}

/// Bytes that are gathered before they are handed to a thread that writes and hashes them.
const GATHER_BYTES: usize = 128 * 1024;
