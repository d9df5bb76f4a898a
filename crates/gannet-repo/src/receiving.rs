//! Pours content into a file, and sees that it is put away in order however the pouring ends.

use std::mem;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use gannet_core::{Content, Error, Piece, Result, Verdict};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::arriving::{Arriving, Verified};
use crate::blocking::Blocking;
use crate::keyring::Turn;

/// Content that is arriving, and the turn to change its key.
///
/// Dropped, what came is put away by a thread that may block, and only then is it the turn of the
/// next one.
pub(crate) struct Receiving {
    file: Stage,
    gathered: BytesMut,
    blocking: Blocking,
}

/// What is needed to go on with a file.
type Open = (Arriving, Turn);

/// Where the file is.
enum Stage {
    /// Nobody writes to it.
    Resting(Box<Open>),
    /// Bytes are being written and hashed, while the next ones come.
    Writing(JoinHandle<Result<Box<Open>>>),
    /// It is gone, after an error or at the end.
    Gone,
}

impl Receiving {
    pub(crate) fn new(arriving: Arriving, turn: Turn, blocking: Blocking) -> Self {
        let file = Stage::Resting(Box::new((arriving, turn)));
        Self { file, gathered: BytesMut::new(), blocking }
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

    /// Begins to write, once what was written before is done.
    async fn append(&mut self, bytes: Bytes) -> Result<()> {
        let mut open = self.rest().await?;
        let blocking = self.blocking.clone();
        let write = async move {
            blocking
                .run(move || {
                    open.0.append(&bytes)?;
                    Ok(open)
                })
                .await
        };
        self.file = Stage::Writing(tokio::spawn(write));
        Ok(())
    }

    /// Waits until nobody writes to the file, and takes it.
    async fn rest(&mut self) -> Result<Box<Open>> {
        match &mut self.file {
            Stage::Writing(writing) => {
                // If this future is dropped here, the file stays where it is.
                let written = writing.await;
                self.file = Stage::Gone;
                written.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
            }
            Stage::Resting(_) | Stage::Gone => match mem::replace(&mut self.file, Stage::Gone) {
                Stage::Resting(open) => Ok(open),
                _ => Err(Error::Interrupted),
            },
        }
    }

    async fn finish(mut self, verdict: Verdict) -> Result<(Verified, Turn)> {
        let open = self.rest().await?;
        let last = self.gathered.split();
        self.blocking
            .run(move || {
                let (mut arriving, turn) = *open;
                arriving.append(&last)?;
                Ok((arriving.finish(verdict)?, turn))
            })
            .await
    }

    /// Writes what was gathered, and lets go of the file and the turn.
    async fn put_away(mut self) -> Result<()> {
        let Ok(open) = self.rest().await else { return Ok(()) };
        let last = self.gathered.split();
        self.blocking.run(move || put_away(open, &last)).await
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let last = self.gathered.split();
        let Ok(runtime) = Handle::try_current() else { return };
        match mem::replace(&mut self.file, Stage::Gone) {
            Stage::Gone => {}
            Stage::Resting(open) => drop(runtime.spawn_blocking(move || put_away(open, &last))),
            Stage::Writing(writing) => drop(runtime.spawn(async move {
                if let Ok(Ok(open)) = writing.await {
                    drop(tokio::task::spawn_blocking(move || put_away(open, &last)));
                }
            })),
        }
    }
}

fn put_away(open: Box<Open>, last: &[u8]) -> Result<()> {
    let (mut arriving, turn) = *open;
    let appended = arriving.append(last);
    drop(arriving);
    drop(turn);
    appended
}

/// Bytes that are gathered before they are handed to a thread that writes and hashes them.
const GATHER_BYTES: usize = 128 * 1024;
