//! A place in memory that does as it is told, and counts what is going on.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Held, Key, Lock, Piece, PutOffset, Removal,
    Result, Span, Stored, Timestamp, Uuid, Verdict,
};

use super::U;

pub(super) struct Fake {
    uuid: Uuid,
    contents: Mutex<HashMap<Key, Bytes>>,
    /// What the next verb answers instead of doing its work.
    error: Mutex<Option<Error>>,
    /// What `get` sends instead of the content.
    script: Mutex<Option<Vec<Result<Piece>>>>,
    pub(super) plus: Vec<Uuid>,
    pub(super) held: Arc<AtomicUsize>,
    pub(super) released: Arc<AtomicUsize>,
    /// Contents being sent, and puts under way.
    pub(super) moving: Arc<AtomicUsize>,
    pub(super) last_asker: Mutex<Option<Asker>>,
    pub(super) last_file: Mutex<Bytes>,
    /// How the pieces of the last put ended: bytes handed out, and what followed them.
    pub(super) last_pieces: Arc<Mutex<(usize, String)>>,
}

struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counter))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct FakeHeld {
    _held: Count,
    released: Arc<AtomicUsize>,
}

#[async_trait]
impl Held for FakeHeld {
    async fn release(self: Box<Self>) -> Result<()> {
        self.released.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            uuid: Uuid::parse(U.as_bytes()).unwrap(),
            contents: Mutex::default(),
            error: Mutex::default(),
            script: Mutex::default(),
            plus: vec![Uuid::parse(b"node").unwrap()],
            held: Arc::default(),
            released: Arc::default(),
            moving: Arc::default(),
            last_asker: Mutex::default(),
            last_file: Mutex::default(),
            last_pieces: Arc::default(),
        }
    }

    pub(super) fn have(&self, key: &str, content: &[u8]) {
        let content = Bytes::copy_from_slice(content);
        self.contents.lock().unwrap().insert(Key::parse(key.as_bytes()).unwrap(), content);
    }

    pub(super) fn has(&self, key: &str) -> Option<Bytes> {
        self.contents.lock().unwrap().get(&Key::parse(key.as_bytes()).unwrap()).cloned()
    }

    pub(super) fn fail_with(&self, error: Error) {
        *self.error.lock().unwrap() = Some(error);
    }

    pub(super) fn send_instead(&self, pieces: Vec<Result<Piece>>) {
        *self.script.lock().unwrap() = Some(pieces);
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(super) fn released(&self) -> usize {
        self.released.load(Ordering::SeqCst)
    }

    pub(super) fn moving(&self) -> usize {
        self.moving.load(Ordering::SeqCst)
    }

    fn begin(&self, asker: &Asker) -> Result<()> {
        *self.last_asker.lock().unwrap() = Some(asker.clone());
        self.error.lock().unwrap().take().map_or(Ok(()), Err)
    }
}

impl fmt::Display for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}

#[async_trait]
impl Annex for Fake {
    fn uuid(&self) -> &Uuid {
        &self.uuid
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        self.begin(asker)?;
        Ok(self.contents.lock().unwrap().contains_key(key))
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        self.begin(asker)?;
        self.last_file.lock().unwrap().clone_from(&file.0);
        let content = self.contents.lock().unwrap().get(key).cloned();
        let content = content.ok_or_else(|| Error::Missing { key: key.clone() })?;
        let (from, len) = span.within(content.len() as u64);
        let start = usize::try_from(from).unwrap();
        let part = content.slice(start..start + usize::try_from(len).unwrap());
        let pieces = self.script.lock().unwrap().take().unwrap_or_else(|| {
            let mut pieces = Vec::new();
            for piece in part.chunks(1 << 16) {
                pieces.push(Ok(Piece::Bytes(Bytes::copy_from_slice(piece))));
            }
            pieces.push(Ok(Piece::End(Verdict::Valid)));
            pieces
        });
        let count = Count::new(&self.moving);
        let pieces = stream::iter(pieces).map(move |piece| {
            let _count = &count;
            piece
        });
        Ok(Content { total: content.len() as u64, from, len, pieces: pieces.boxed() })
    }

    async fn put_offset(&self, asker: &Asker, key: &Key, _: &AssociatedFile) -> Result<PutOffset> {
        self.begin(asker)?;
        Ok(match self.contents.lock().unwrap().contains_key(key) {
            true => PutOffset::AlreadyHave { plus: self.plus.clone() },
            false => PutOffset::From(0),
        })
    }

    /// An early answer if the content is here, or an error is due; else all is read.
    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        mut content: Content,
    ) -> Result<Stored> {
        let _count = Count::new(&self.moving);
        self.begin(asker)?;
        self.last_file.lock().unwrap().clone_from(&file.0);
        if !self.contents.lock().unwrap().contains_key(key) {
            // All is read, whatever it is, so that each piece can be judged.
            let pieces: Vec<_> = content.pieces.collect().await;
            *self.last_pieces.lock().unwrap() = ended(&pieces);
            content.pieces = stream::iter(pieces).boxed();
            let mut bytes = Vec::new();
            let verdict = content
                .pour(|piece| {
                    bytes.extend_from_slice(&piece);
                    Ok(())
                })
                .await?;
            if verdict == Verdict::Doubtful {
                return Err(Error::Doubtful);
            }
            self.contents.lock().unwrap().insert(key.clone(), bytes.into());
        }
        Ok(Stored { plus: self.plus.clone() })
    }

    async fn put_present(&self, asker: &Asker, key: &Key, _: &AssociatedFile) -> Result<Stored> {
        self.begin(asker)?;
        match self.contents.lock().unwrap().contains_key(key) {
            true => Ok(Stored { plus: Vec::new() }),
            false => Err(Error::Missing { key: key.clone() }),
        }
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.begin(asker)?;
        if self.held() > 0 {
            return Ok(Removal::refused());
        }
        self.contents.lock().unwrap().remove(key);
        Ok(Removal { removed: true, plus: self.plus.clone() })
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        match self.timestamp(asker).await? < deadline {
            true => self.remove(asker, key).await,
            false => Ok(Removal::refused()),
        }
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        self.begin(asker)?;
        Ok(Timestamp { seconds: 1000 })
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        self.begin(asker)?;
        if !self.contents.lock().unwrap().contains_key(key) {
            return Ok(None);
        }
        let released = Arc::clone(&self.released);
        Ok(Some(Lock::new(FakeHeld { _held: Count::new(&self.held), released })))
    }
}

fn ended(pieces: &[Result<Piece>]) -> (usize, String) {
    let mut seen = (0, String::new());
    for piece in pieces {
        match piece {
            Ok(Piece::Bytes(bytes)) => seen.0 += bytes.len(),
            Ok(Piece::End(verdict)) => seen.1 += &format!("{verdict:?}"),
            Err(error) => seen.1 += &format!("{error:?}"),
        }
    }
    seen
}
