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

    /// Notes that nobody can read the content of `key` on `remote` any more, while the rest of
    /// what it was cut into is still being removed: a removal that is cut there leaves no claim
    /// that the content is there.
    ///
    /// # Errors
    /// When it cannot be noted.
    async fn note_gone(&self, remote: &Uuid, key: &Key) -> Result<()>;

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

    /// Notes that the content of `key` is to be had at `url`, or is no more; with that comes
    /// whether the web has it, unless it is no url.
    ///
    /// # Errors
    /// When it cannot be noted.
    async fn note_url(&self, key: &Key, url: &[u8], present: bool) -> Result<()>;

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

    /// What `remote` needs to sign in somewhere, as the repository keeps it: under `name`, if it has
    /// more than one of that kind (`annex/creds/UUID-NAME`, else `annex/creds/UUID`).
    ///
    /// # Errors
    /// When it cannot be read.
    async fn credentials(&self, remote: &Uuid, name: Option<&[u8]>) -> Result<Option<Credentials>>;

    /// Keeps that, readable by nobody else.
    ///
    /// # Errors
    /// When it cannot be kept.
    async fn note_credentials(
        &self,
        remote: &Uuid,
        name: Option<&[u8]>,
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

impl Credentials {
    /// Reads two lines, as they are kept in files and in settings. `None`: these are none.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.strip_suffix(b"\n").unwrap_or(text).split(|&byte| byte == b'\n');
        let (user, password) = (lines.next()?.to_vec(), lines.next()?.to_vec());
        lines.next().is_none().then_some(Self { user, password })
    }

    /// Writes them as two lines; `None` if one of them has more than one line.
    #[must_use]
    pub fn to_lines(&self) -> Option<Vec<u8>> {
        let lines = [&*self.user, b"\n", &self.password, b"\n"].concat();
        (lines.iter().filter(|&&byte| byte == b'\n').count() == 2).then_some(lines)
    }
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
    fn credentials_are_two_lines() {
        let read = |text: &str| {
            let read = Credentials::parse(text.as_bytes())?;
            let shown = |bytes| String::from_utf8(bytes).unwrap();
            Some((shown(read.user), shown(read.password)))
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("me\npass word\n"), pair("me", "pass word"));
        assert_eq!(read("me\npass"), pair("me", "pass"));
        assert_eq!(read("me\n\n"), pair("me", ""));
        for text in ["", "me", "me\n", "a\nb\nc", "a\nb\n\n"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        let credentials = |user: &str, password: &str| Credentials {
            user: user.into(),
            password: password.into(),
        };
        for (user, password) in [("me", ""), ("", "x"), ("a b", "c d")] {
            let written = credentials(user, password).to_lines().unwrap();
            assert_eq!(Credentials::parse(&written), Some(credentials(user, password)));
        }
        assert_eq!(credentials("a\n", "b").to_lines(), None);
    }

    #[test]
    fn even_nothing_is_a_chunk() {
        let bytes = NonZeroU64::new(4).unwrap();
        for (total, count) in [(0, 1), (1, 1), (4, 1), (5, 2), (10, 3), (u64::MAX, 1 << 62)] {
            assert_eq!(Chunks::of(total, bytes), Chunks { bytes, count });
        }
    }
}
