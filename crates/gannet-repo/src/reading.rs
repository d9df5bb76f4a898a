//! Content on its way out.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use gannet_core::backend::{Strength, strength};
use gannet_core::{Content, Error, Key, Piece, Result, Span, Verdict};

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
    /// Turns it into a stream. While one piece is on its way, the next is being read.
    pub(crate) fn into_content(self, blocking: Blocking) -> Content {
        let Self { source, total, from, len, first } = self;
        let at = from + first.bytes.len() as u64;
        let left = len - first.bytes.len() as u64;
        let pieces = stream_from(Stage::Ready(first), source, at, left, blocking);
        Content { total, from, len, pieces }
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

/// Where the stream stands.
enum Stage {
    /// Bytes are in hand.
    Ready(Step),
    /// Bytes are being read.
    Reading(JoinHandle<Result<Step>>),
    /// Only the verdict is left to say.
    Ending(Verdict),
    Over,
}

fn stream_from(
    stage: Stage,
    source: Arc<Source>,
    at: u64,
    left: u64,
    blocking: Blocking,
) -> BoxStream<'static, Result<Piece>> {
    let state = (stage, source, at, left, blocking);
    stream::unfold(state, |(mut stage, source, mut at, mut left, blocking)| async move {
        loop {
            let step = match stage {
                Stage::Over => return None,
                Stage::Ending(verdict) => {
                    let piece = Ok(Piece::End(verdict));
                    return Some((piece, (Stage::Over, source, at, left, blocking)));
                }
                Stage::Ready(step) => step,
                Stage::Reading(reading) => {
                    let read = reading.await;
                    match read.unwrap_or_else(|error| Err(Error::Internal(error.to_string()))) {
                        Ok(step) => {
                            at += step.bytes.len() as u64;
                            left -= step.bytes.len() as u64;
                            step
                        }
                        Err(error) => {
                            return Some((Err(error), (Stage::Over, source, at, left, blocking)));
                        }
                    }
                }
            };
            stage = match step.verdict {
                Some(verdict) => Stage::Ending(verdict),
                None => Stage::Reading(read_ahead(&source, at, left, &blocking)),
            };
            if !step.bytes.is_empty() {
                let piece = Ok(Piece::Bytes(step.bytes));
                return Some((piece, (stage, source, at, left, blocking)));
            }
        }
    })
    .boxed()
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
