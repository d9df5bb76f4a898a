//! Content on its way out.

use std::fs::File;
use std::io::IoSliceMut;
use std::mem;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use gannet_core::backend::{Strength, strength};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};

use rustix::io::{ReadWriteFlags, preadv2};
use tokio::task::JoinHandle;

use crate::blocking::Blocking;
use crate::objects::{Inode, Vouched};
use crate::site::Site;
use crate::step::{Look, look};

/// An object that is open for reading. Dropping it closes it.
#[derive(Debug)]
struct Source {
    file: File,
    path: PathBuf,
    inode: Inode,
}

/// A part of an object, and its first bytes, which opening has read already.
#[derive(Debug)]
pub(crate) struct Opened {
    source: Arc<Source>,
    total: u64,
    from: u64,
    len: u64,
    first: Step,
}

/// What one visit to the disk brought.
#[derive(Debug)]
struct Step {
    bytes: Bytes,
    /// Set once there is nothing more to read.
    verdict: Option<Verdict>,
}

/// Opens the part of the content of `key` that `span` selects, and reads the first of it.
///
/// `None`: it is absent, or was modified.
///
/// # Errors
/// What the disk reports.
pub(crate) fn open(
    site: &Site,
    key: &Key,
    vouched: &Vouched,
    span: Span,
) -> Result<Option<Opened>> {
    let provable = strength(key) == Strength::Secure || key.backend() == b"VURL";
    if site.settings().secure_hashes_only && !provable {
        let why = "annex.securehashesonly is set".to_owned();
        return Err(Error::Refused { key: key.clone(), why });
    }
    let object = site.locate(key)?;
    let Some(file) = object.open()? else { return Ok(None) };
    let metadata = file.metadata().map_err(|error| Error::disk("look at", object.path(), error))?;
    if !metadata.is_file() || !vouched.vouch(key, &object, &metadata, site.settings())? {
        return Ok(None);
    }
    let total = metadata.len();
    let (from, len) = span.within(total);
    let source = Source { file, path: object.path().to_owned(), inode: Inode::of(&metadata) };
    let first = source.step(from, len, FIRST_BYTES)?;
    Ok(Some(Opened { source: Arc::new(source), total, from, len, first }))
}

impl Opened {
    /// Turns it into a stream. What the system has in memory is read when it is asked for; else
    /// the next piece is read while one is on its way.
    pub(crate) fn into_content(self, blocking: Blocking) -> Content {
        let Self { source, total, from, len, first } = self;
        let at = from + first.bytes.len() as u64;
        let left = len - first.bytes.len() as u64;
        let reading = Reading { stage: Stage::Ready(first), source, at, left, blocking };
        let pieces = stream::unfold(reading, |mut reading| async {
            reading.next().await.map(|piece| (piece, reading))
        });
        Content { total, from, len, pieces: pieces.boxed() }
    }
}

impl Source {
    /// Reads the next bytes: at most `most`, of the `left` that are wanted.
    fn step(&self, at: u64, left: u64, most: usize) -> Result<Step> {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let mut buffer = vec![0; wanted];
        let mut filled = 0;
        while filled < wanted {
            let rest = &mut buffer[filled..];
            let at = at + filled as u64;
            match look(Look::ReadObject).and_then(|()| self.file.read_at(rest, at)) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::disk("read", &self.path, error)),
            }
        }
        buffer.truncate(filled);
        let verdict = if filled < wanted {
            Some(Verdict::Doubtful) // it shrank
        } else if left == wanted as u64 {
            Some(self.verdict()?)
        } else {
            None
        };
        Ok(Step { bytes: buffer.into(), verdict })
    }

    /// Reads the next bytes, unless they are the last, or not known to be in memory.
    fn cached_step(&self, at: u64, left: u64) -> Option<Step> {
        if left <= STEP_BYTES as u64 || look(Look::ReadObject).is_err() {
            return None;
        }
        let mut buffer = vec![0; STEP_BYTES];
        let into = &mut [IoSliceMut::new(&mut buffer)];
        match preadv2(&self.file, into, at, ReadWriteFlags::NOWAIT) {
            Ok(STEP_BYTES) => Some(Step { bytes: buffer.into(), verdict: None }),
            _ => None,
        }
    }

    /// Looks whether the content changed since it was opened.
    fn verdict(&self) -> Result<Verdict> {
        let metadata =
            self.file.metadata().map_err(|error| Error::disk("look at", &self.path, error))?;
        Ok(if self.inode.content_changed(&Inode::of(&metadata)) {
            Verdict::Doubtful
        } else {
            Verdict::Valid
        })
    }
}

/// A content that is being read.
struct Reading {
    stage: Stage,
    source: Arc<Source>,
    /// Offset of what comes after the bytes in hand.
    at: u64,
    /// How much that is.
    left: u64,
    blocking: Blocking,
}

/// Where the stream stands.
enum Stage {
    /// Bytes are in hand.
    Ready(Step),
    /// The next bytes are in memory, as far as is known.
    Cached,
    /// Bytes are being read from the disk.
    Reading(JoinHandle<Result<Step>>),
    /// Only the verdict is left to say.
    Ending(Verdict),
    Over,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Piece>> {
        loop {
            let mut from_disk = false;
            let step = match mem::replace(&mut self.stage, Stage::Over) {
                Stage::Over => return None,
                Stage::Ending(verdict) => return Some(Ok(Piece::End(verdict))),
                Stage::Ready(step) => step,
                Stage::Cached => {
                    self.stage = self.ahead();
                    continue;
                }
                Stage::Reading(reading) => {
                    from_disk = true;
                    let read = reading.await;
                    match read.unwrap_or_else(|error| Err(Error::Internal(error.to_string()))) {
                        Ok(step) => {
                            self.pass(&step);
                            step
                        }
                        Err(error) => return Some(Err(error)),
                    }
                }
            };
            self.stage = match step.verdict {
                Some(verdict) => Stage::Ending(verdict),
                // Other contents may need the memory; a disk needs the time.
                None if from_disk => self.ahead(),
                None => Stage::Cached,
            };
            if !step.bytes.is_empty() {
                return Some(Ok(Piece::Bytes(step.bytes)));
            }
        }
    }

    /// Reads on at once: from memory if that is possible, else a thread begins to do it.
    fn ahead(&mut self) -> Stage {
        match self.source.cached_step(self.at, self.left) {
            Some(step) => {
                self.pass(&step);
                Stage::Ready(step)
            }
            None => Stage::Reading(read_ahead(&self.source, self.at, self.left, &self.blocking)),
        }
    }

    fn pass(&mut self, step: &Step) {
        self.at += step.bytes.len() as u64;
        self.left -= step.bytes.len() as u64;
    }
}

/// Begins to read the next bytes at once. A read that nobody waits for any more ends by itself.
fn read_ahead(
    source: &Arc<Source>,
    at: u64,
    left: u64,
    blocking: &Blocking,
) -> JoinHandle<Result<Step>> {
    let source = Arc::clone(source);
    let blocking = blocking.clone();
    tokio::spawn(async move { blocking.run(move || source.step(at, left, STEP_BYTES)).await })
}

/// Bytes read together with opening: most small contents are whole then.
const FIRST_BYTES: usize = 64 * 1024;
/// Bytes read at a time. Two such pieces are in memory for each content on its way.
const STEP_BYTES: usize = 128 * 1024;
