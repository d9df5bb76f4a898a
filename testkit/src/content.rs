//! Contents that tests send, the bad ones too.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use gannet_core::backend::{Checker, Mismatch};
use gannet_core::{Content, Error, Key, Piece, Result, Verdict};
use tokio::sync::Semaphore;

/// A key, and the bytes that are its content.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The key.
    pub key: Key,
    /// Its content.
    pub bytes: Bytes,
}

impl Sample {
    /// `len` bytes that nobody else has, under a key that proves them.
    #[must_use]
    pub fn secure(seed: u8, len: usize) -> Self {
        Self::hashed("SHA256E", ".dat", noise(seed, len))
    }

    /// `len` bytes that nobody else has, under a key that proves nothing but the size.
    #[must_use]
    pub fn unverifiable(seed: u8, len: usize) -> Self {
        Self::named(&format!("WORM-s{len}-m1700000000--{seed}.dat"), noise(seed, len))
    }

    /// These bytes, under a key of this backend.
    ///
    /// # Panics
    /// When it is not the name of a backend that hashes.
    #[must_use]
    pub fn hashed(backend: &str, extension: &str, bytes: Bytes) -> Self {
        let name = |digest: &str| format!("{backend}-s{}--{digest}{extension}", bytes.len());
        let mut checker = Checker::new(&parse(&name("")));
        checker.update(&bytes);
        let Err(Mismatch::Hash { actual, .. }) = checker.finish() else {
            panic!("{backend} does not hash");
        };
        Self { key: parse(&name(&actual)), bytes }
    }

    /// These bytes, under that key.
    ///
    /// # Panics
    /// When it is no key.
    #[must_use]
    pub fn named(key: &str, bytes: Bytes) -> Self {
        Self { key: parse(key), bytes }
    }

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The content from `from` on, all of it and valid.
    #[must_use]
    pub fn content(&self, from: u64) -> Content {
        Journey::of(&self.bytes, from).content()
    }
}

/// What a content announces, what it sends, and how it ends.
#[derive(Clone, Debug)]
pub struct Journey {
    /// [`Content::total`].
    pub total: u64,
    /// [`Content::from`].
    pub from: u64,
    /// [`Content::len`].
    pub len: u64,
    /// The bytes that are sent, whatever was announced.
    pub sends: Bytes,
    /// Bytes in each piece; the last may have fewer.
    pub piece_bytes: usize,
    /// What comes after the bytes.
    pub ending: Ending,
}

/// What comes after the bytes of a content.
#[derive(Clone, Debug)]
pub enum Ending {
    /// A verdict, as it should be.
    Verdict(Verdict),
    /// Nothing: the stream just ends.
    Silence,
    /// An error.
    Broken,
    /// Nothing for ever. The gate is told when this is reached.
    Stuck(Arc<Gate>),
}

impl Journey {
    /// An honest one, which sends all of `bytes` from `from` on. Change what shall be bad.
    #[must_use]
    pub fn of(bytes: &Bytes, from: u64) -> Self {
        let sends = slice(bytes, from, bytes.len() as u64);
        Self {
            total: bytes.len() as u64,
            from,
            len: sends.len() as u64,
            sends,
            piece_bytes: 7001,
            ending: Ending::Verdict(Verdict::Valid),
        }
    }

    /// The same, but only the first `sent` bytes are sent, and then this.
    #[must_use]
    pub fn cut(self, sent: u64, ending: Ending) -> Self {
        Self { sends: slice(&self.sends, 0, sent), ending, ..self }
    }

    /// The same with another ending.
    #[must_use]
    pub fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    /// Sets off.
    #[must_use]
    pub fn content(self) -> Content {
        let mut rest = self.sends;
        let mut pieces: VecDeque<Result<Piece>> = VecDeque::new();
        while !rest.is_empty() {
            let piece = rest.split_to(self.piece_bytes.clamp(1, rest.len()));
            pieces.push_back(Ok(Piece::Bytes(piece)));
        }
        let mut stuck = None;
        match self.ending {
            Ending::Verdict(verdict) => pieces.push_back(Ok(Piece::End(verdict))),
            Ending::Silence => {}
            Ending::Broken => pieces.push_back(Err(Error::Interrupted)),
            Ending::Stuck(gate) => stuck = Some(gate),
        }
        let end = stream::once(async move {
            if let Some(gate) = stuck {
                gate.let_through(1);
                std::future::pending::<()>().await;
            }
        });
        let pieces = stream::iter(pieces).chain(end.filter_map(|()| async { None })).boxed();
        Content { total: self.total, from: self.from, len: self.len, pieces }
    }
}

/// Lets somebody through as often as it was told to, and makes him wait otherwise.
#[derive(Debug)]
pub struct Gate(Semaphore);

impl Gate {
    /// A gate that lets nobody through yet.
    #[must_use]
    pub fn closed() -> Arc<Self> {
        Arc::new(Self(Semaphore::new(0)))
    }

    /// Lets through so many more.
    pub fn let_through(&self, more: usize) {
        self.0.add_permits(more);
    }

    /// Lets through everybody from now on.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits to be let through.
    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// The bytes from `from` up to `to`, as far as there are any.
pub(crate) fn slice(bytes: &Bytes, from: u64, to: u64) -> Bytes {
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(place(from)..place(to).max(place(from)))
}

fn parse(key: &str) -> Key {
    Key::parse(key.as_bytes()).expect("a key")
}

/// Bytes without a pattern (xorshift).
fn noise(seed: u8, len: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (u64::from(seed) << 8);
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(byte).take(len).collect()
}
