//! Files, read and written where blocking harms nobody.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gannet_core::{Error, Piece, Result, Verdict};
use tokio::sync::Semaphore;

/// Threads that may block, a bounded number at a time, so that one disk that hangs cannot take
/// them all.
#[derive(Clone, Debug)]
pub(crate) struct Blocking(Arc<Semaphore>);

impl Blocking {
    /// At most `at_once` pieces of work run at the same time.
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Runs `work`. If the future is dropped, work that has begun runs to its end and its result
    /// is dropped.
    ///
    /// # Errors
    /// What `work` reports, or that it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = Arc::clone(&self.0).acquire_owned().await;
        let slot = slot.map_err(|error| Error::Internal(error.to_string()))?;
        let running = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(slot);
            outcome
        });
        running.await.map_err(|error| Error::Internal(error.to_string()))?
    }
}

/// The `len` bytes of a file from `from` on, and the verdict that they are all of them. `guard`
/// is kept until the stream is dropped.
pub(crate) fn pieces(
    file: Arc<File>,
    path: PathBuf,
    from: u64,
    len: u64,
    guard: impl Send + 'static,
) -> BoxStream<'static, Result<Piece>> {
    let reading = Reading { file, path, at: from, left: len, ended: false, _guard: guard };
    stream::try_unfold(reading, Reading::next).boxed()
}

struct Reading<G> {
    file: Arc<File>,
    path: PathBuf,
    at: u64,
    left: u64,
    ended: bool,
    _guard: G,
}

impl<G> Reading<G> {
    async fn next(mut self) -> Result<Option<(Piece, Self)>> {
        if self.ended {
            return Ok(None);
        }
        if self.left == 0 {
            self.ended = true;
            return Ok(Some((Piece::End(Verdict::Valid), self)));
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let most = usize::try_from(self.left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let read = tokio::task::spawn_blocking(move || read_at(&file, at, most));
        let read = read.await.map_err(|error| Error::Internal(error.to_string()))?;
        let bytes = read.map_err(|error| Error::disk("read", &self.path, error))?;
        if bytes.is_empty() {
            return Err(Error::Interrupted);
        }
        self.at += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Ok(Some((Piece::Bytes(bytes), self)))
    }
}

fn read_at(file: &File, at: u64, most: usize) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(most);
    loop {
        match file.read_at(&mut bytes, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(read) => {
                bytes.truncate(read);
                return Ok(bytes.freeze());
            }
        }
    }
}

/// What it means that a file cannot be written.
pub(crate) fn write_error(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::NoSpace { needed: 1, free: 0 }
        }
        _ => Error::disk("write", path, error),
    }
}

/// Deletes a file, if it exists.
///
/// # Errors
/// When it exists but cannot be deleted.
pub(crate) fn remove_if_exists(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::disk("delete", path, error))
        }
        _ => Ok(()),
    }
}

/// How much is read at once.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;
