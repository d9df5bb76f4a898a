//! What a repository notes of its special remotes, lent to those who speak for them.

use std::num::NonZeroU64;

use async_trait::async_trait;

use crate::error::Result;
use crate::key::Key;
use crate::uuid::Uuid;

/// What the repository in front of special remotes notes of them: how contents are cut into
/// chunks, and what external special remotes want to remember.
///
/// Each note is durable when its verb returns, and reaches the git-annex branch soon after, but
/// for credentials, which never leave the repository.
#[async_trait]
pub trait Notes: Send + Sync + 'static {
    /// How the content of `key` was cut into chunks on `remote`, as far as such chunks are there
    /// (`KEY.log.cnk`, remotes §6).
    ///
    /// # Errors
    /// When it cannot be read.
    async fn chunks(&self, remote: &Uuid, key: &Key) -> Result<Vec<Chunks>>;

    /// Notes that `remote` has so many chunks of `key`; none, once they are removed.
    ///
    /// # Errors
    /// When it cannot be noted.
    async fn note_chunks(&self, remote: &Uuid, key: &Key, chunks: Chunks) -> Result<()>;

    /// What an external special remote wants to know of a key (`KEY.log.rmt`, remotes §10). Empty
    /// if it never said anything.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn state(&self, remote: &Uuid, key: &Key) -> Result<Vec<u8>>;

    /// Notes that.
    ///
    /// # Errors
    /// When it cannot be noted.
    async fn note_state(&self, remote: &Uuid, key: &Key, state: &[u8]) -> Result<()>;

    /// Where the content of a key is on the web (`KEY.log.web`). What is no url has a `:` in
    /// front.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn urls(&self, key: &Key) -> Result<Vec<Vec<u8>>>;

    /// Notes that the content of `key` is to be had at `url`, or is no more, and with it that
    /// `remote` has it or not.
    ///
    /// # Errors
    /// When it cannot be noted.
    async fn note_url(&self, remote: &Uuid, key: &Key, url: &[u8], present: bool) -> Result<()>;

    /// What content a remote wants (`preferred-content.log`). Empty if nothing was said.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn wanted(&self, remote: &Uuid) -> Result<Vec<u8>>;

    /// Notes that.
    ///
    /// # Errors
    /// When it cannot be noted.
    async fn note_wanted(&self, remote: &Uuid, expression: &[u8]) -> Result<()>;

    /// What `remote` needs to sign in somewhere (`annex/creds/UUID-NAME`).
    ///
    /// # Errors
    /// When it cannot be read.
    async fn credentials(&self, remote: &Uuid, name: &[u8]) -> Result<Option<Credentials>>;

    /// Keeps that, readable by nobody else.
    ///
    /// # Errors
    /// When it cannot be kept.
    async fn note_credentials(
        &self,
        remote: &Uuid,
        name: &[u8],
        credentials: &Credentials,
    ) -> Result<()>;
}

/// How a content is cut: into chunks of equal size, the last of which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Bytes in each chunk.
    pub bytes: NonZeroU64,
    /// How many there are. Empty content is one empty chunk.
    pub count: u64,
}

impl Chunks {
    /// How a content of `total` bytes is cut into chunks of `bytes` bytes.
    #[must_use]
    pub fn of(total: u64, bytes: NonZeroU64) -> Self {
        Self { bytes, count: total.div_ceil(bytes.get()).max(1) }
    }
}

/// Who somebody is, and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name, or the id of an access key.
    pub user: Vec<u8>,
    /// The password, or the secret of the key.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_nothing_is_a_chunk() {
        let bytes = NonZeroU64::new(4).unwrap();
        for (total, count) in [(0, 1), (1, 1), (4, 1), (5, 2), (10, 3), (u64::MAX, 1 << 62)] {
            assert_eq!(Chunks::of(total, bytes), Chunks { bytes, count });
        }
    }
}
