//! Content that is held in its place.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

/// Content that nobody can remove while this is kept.
///
/// Released, the lock is gone at once. Dropped, as when a connection breaks, the content stays
/// retained until ten minutes after the lock was taken: the holder may have been counting on it.
#[must_use = "content stays locked only as long as this is kept"]
pub struct Lock {
    held: Box<dyn Held>,
}

/// What a place keeps for a lock it gave out.
///
/// Dropping it must free descriptors and connections, and must leave the retention standing.
#[async_trait]
pub trait Held: Send + Sync {
    /// Unlocks now.
    ///
    /// # Errors
    /// When the place could not be told; the retention then runs out by itself.
    async fn release(self: Box<Self>) -> Result<()>;
}

impl Lock {
    /// A lock that consists of `held`.
    pub fn new(held: impl Held + 'static) -> Self {
        Self { held: Box::new(held) }
    }

    /// Unlocks now. Dropping instead leaves the content retained until its time runs out.
    ///
    /// # Errors
    /// When the place could not be told; the retention then runs out by itself.
    pub async fn release(self) -> Result<()> {
        self.held.release().await
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock")
    }
}
