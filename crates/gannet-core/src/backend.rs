//! Which hash a key names, checked while the bytes pass (repository §5.5).

use digest::consts::{U20, U28, U32, U48, U64};

use crate::key::Key;

mod hash;

use hash::Hash;

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
pub fn strength(key: &Key) -> Strength {
    Backend::of(key).map_or(Strength::SizeOnly, |backend| backend.strength)
}

/// Checks bytes against a key while they pass.
///
/// A chunk key is judged as if it named the whole content, as git-annex does: its size and its
/// hash are those of the whole, and nothing in it could vouch for the chunk alone.
pub struct Checker {
    size: Option<u64>,
    seen: u64,
    promise: Option<Promise>,
}

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
    pub fn new(key: &Key) -> Self {
        let promise = Backend::of(key).map(|backend| Promise {
            algorithm: backend.name,
            digest: (backend.digest)(key.name()).to_vec(),
            hash: (backend.hash)(),
        });
        Self { size: key.size(), seen: 0, promise }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if let Some(promise) = &mut self.promise {
            promise.hash.update(bytes);
        }
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Judges all that was taken: the size first, if the key tells one, then the hash.
    ///
    /// # Errors
    /// [`Mismatch`], and how.
    pub fn finish(self) -> Result<(), Mismatch> {
        let Self { size, seen, promise } = self;
        if let Some(promised) = size.filter(|&promised| promised != seen) {
            return Err(Mismatch::Size { promised, actual: seen });
        }
        promise.map_or(Ok(()), Promise::judge)
    }
}

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checker")
            .field("size", &self.size)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

/// The digest that a key names, and that of the bytes that passed so far.
struct Promise {
    algorithm: &'static str,
    digest: Vec<u8>,
    hash: Box<dyn Hash>,
}

impl Promise {
    fn judge(self) -> Result<(), Mismatch> {
        let actual = self.hash.hex();
        if self.digest == actual.as_bytes() {
            return Ok(());
        }
        Err(Mismatch::Hash { algorithm: self.algorithm.to_owned(), actual })
    }
}

/// A backend whose keys name a hash.
struct Backend {
    /// Without the `E` of the variant that carries an extension.
    name: &'static str,
    strength: Strength,
    hash: fn() -> Box<dyn Hash>,
    /// Finds the digest in a key's name.
    digest: fn(&[u8]) -> &[u8],
}

impl Backend {
    fn of(key: &Key) -> Option<&'static Self> {
        let name = key.backend();
        if name == GIT_BUNDLE.name.as_bytes() {
            return Some(&GIT_BUNDLE);
        }
        let plain = name.strip_suffix(b"E").unwrap_or(name);
        BACKENDS.iter().find(|backend| backend.name.as_bytes() == plain)
    }

    const fn secure(name: &'static str, hash: fn() -> Box<dyn Hash>) -> Self {
        Self { name, strength: Strength::Secure, hash, digest: before_extension }
    }

    const fn weak(name: &'static str, hash: fn() -> Box<dyn Hash>) -> Self {
        Self { name, strength: Strength::Weak, hash, digest: before_extension }
    }
}

/// Up to the first dot, also in backends without extension. One `\` in front is tolerated: old
/// versions of git-annex wrote it by mistake.
fn before_extension(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b"\\").unwrap_or(name);
    name.split(|&byte| byte == b'.').next().unwrap_or_default()
}

/// What follows the last dash: the name begins with the uuid of a special remote.
fn after_uuid(name: &[u8]) -> &[u8] {
    name.rsplit(|&byte| byte == b'-').next().unwrap_or_default()
}

static GIT_BUNDLE: Backend = Backend {
    name: "GITBUNDLE",
    strength: Strength::Secure,
    hash: hash::plain::<sha2::Sha256>,
    digest: after_uuid,
};

/// Those first that are used most.
static BACKENDS: [Backend; 25] = [
    Backend::secure("SHA256", hash::plain::<sha2::Sha256>),
    Backend::weak("XXH3", hash::xxh3),
    Backend::weak("MD5", hash::plain::<md5::Md5>),
    Backend::weak("SHA1", hash::plain::<sha1::Sha1>),
    Backend::secure("BLAKE3_256", hash::blake3),
    Backend::secure("SHA512", hash::plain::<sha2::Sha512>),
    Backend::secure("SHA384", hash::plain::<sha2::Sha384>),
    Backend::secure("SHA224", hash::plain::<sha2::Sha224>),
    Backend::secure("SHA3_256", hash::plain::<sha3::Sha3_256>),
    Backend::secure("SHA3_512", hash::plain::<sha3::Sha3_512>),
    Backend::secure("SHA3_384", hash::plain::<sha3::Sha3_384>),
    Backend::secure("SHA3_224", hash::plain::<sha3::Sha3_224>),
    Backend::secure("SKEIN256", hash::plain::<skein::Skein256<U32>>),
    Backend::secure("SKEIN512", hash::plain::<skein::Skein512<U64>>),
    Backend::secure("BLAKE2B160", hash::plain::<blake2::Blake2b<U20>>),
    Backend::secure("BLAKE2B224", hash::plain::<blake2::Blake2b<U28>>),
    Backend::secure("BLAKE2B256", hash::plain::<blake2::Blake2b<U32>>),
    Backend::secure("BLAKE2B384", hash::plain::<blake2::Blake2b<U48>>),
    Backend::secure("BLAKE2B512", hash::plain::<blake2::Blake2b<U64>>),
    Backend::secure("BLAKE2S160", hash::plain::<blake2::Blake2s<U20>>),
    Backend::secure("BLAKE2S224", hash::plain::<blake2::Blake2s<U28>>),
    Backend::secure("BLAKE2S256", hash::plain::<blake2::Blake2s<U32>>),
    Backend::secure("BLAKE2BP512", hash::blake2bp::<64>),
    Backend::secure("BLAKE2SP224", hash::blake2sp::<28>),
    Backend::secure("BLAKE2SP256", hash::blake2sp::<32>),
];

#[cfg(test)]
mod tests;
