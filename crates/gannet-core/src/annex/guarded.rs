//! An [`Annex`] that says no to whatever the asker's mode does not allow.

use std::fmt;

use async_trait::async_trait;

use super::{Annex, Asker, AssociatedFile, PutOffset, Removal, Span, Stored};
use crate::content::Content;
use crate::error::Result;
use crate::key::Key;
use crate::lock::Lock;
use crate::time::Timestamp;
use crate::uuid::Uuid;

/// Refuses each verb that [`Asker::mode`] does not allow, before anything is read or changed.
#[derive(Debug)]
pub struct Guarded<A>(A);

impl<A: Annex> Guarded<A> {
    /// Guards `inner`.
    pub fn new(inner: A) -> Self {
        Self(inner)
    }
}

impl<A: Annex> fmt::Display for Guarded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)] // a new verb must be judged here before it compiles
impl<A: Annex> Annex for Guarded<A> {
    fn uuid(&self) -> &Uuid {
        self.0.uuid()
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        asker.mode.allow_read()?;
        self.0.check_present(asker, key).await
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        asker.mode.allow_read()?;
        self.0.get(asker, key, file, span).await
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        asker.mode.allow_write()?;
        self.0.put_offset(asker, key, file).await
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        asker.mode.allow_write()?;
        self.0.put(asker, key, file, content).await
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        asker.mode.allow_write()?;
        self.0.put_present(asker, key, file).await
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        asker.mode.allow_remove()?;
        self.0.remove(asker, key).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        asker.mode.allow_remove()?;
        self.0.remove_before(asker, key, deadline).await
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        asker.mode.allow_read()?;
        self.0.timestamp(asker).await
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        asker.mode.allow_lock()?;
        self.0.lock(asker, key).await
    }
}
