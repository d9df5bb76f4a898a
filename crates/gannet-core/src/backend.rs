//! Which hash a key names, checked while the bytes pass (repository §5.5).

use crate::key::Key;

/// How much a key's name proves about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// A hash that nobody can forge.
    Secure,
    /// A hash that somebody can forge (SHA1, MD5, XXH3).
    Weak,
    /// At most a size: WORM, URL, GITMANIFEST, external and unknown backends, VURL.
    SizeOnly,
}

/// How much the name of `key` proves.
#[must_use]
pub fn strength(_key: &Key) -> Strength {
    Strength::SizeOnly
}

/// Checks bytes against a key while they pass.
pub struct Checker {}

/// Content is not what its key promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Wrong size.
    #[error("size is {actual} bytes instead of {promised}")]
    Size {
        /// Bytes that the key promises.
        promised: u64,
        /// Bytes that came.
        actual: u64,
    },
    /// Wrong hash.
    #[error("{algorithm} is {actual}")]
    Hash {
        /// Name of the backend.
        algorithm: String,
        /// The digest of what came, in hexadecimal.
        actual: String,
    },
}

impl Checker {
    /// Begins to check content of `key`.
    #[must_use]
    pub fn new(_key: &Key) -> Self {
        Self {}
    }

    /// Takes the next bytes.
    pub fn update(&mut self, _bytes: &[u8]) {}

    /// Judges all that was taken: the size first, if the key tells one, then the hash.
    ///
    /// # Errors
    /// [`Mismatch`], and how.
    pub fn finish(self) -> Result<(), Mismatch> {
        Ok(())
    }
}
