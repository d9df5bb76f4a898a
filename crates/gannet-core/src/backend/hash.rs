//! Hashes of many makers behind one small face.

use digest::Digest;
use xxhash_rust::xxh3::Xxh3Default;

/// A hash that takes bytes as they come.
pub(super) trait Hash: Send + Sync {
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);
    /// The digest as git-annex writes it: lower-case hexadecimal.
    fn hex(self: Box<Self>) -> String;
}

/// A hash of the RustCrypto family. SHA-1 and SHA-2 use the processor's instructions for them
/// where it has any, which is found out while running.
pub(super) fn plain<D: Digest + Send + Sync + 'static>() -> Box<dyn Hash> {
    Box::new(Plain(D::new()))
}

/// BLAKE2bp, its digest `LEN` bytes long by parameter.
pub(super) fn blake2bp<const LEN: usize>() -> Box<dyn Hash> {
    Box::new(blake2b_simd::blake2bp::Params::new().hash_length(LEN).to_state())
}

/// BLAKE2sp, its digest `LEN` bytes long by parameter.
pub(super) fn blake2sp<const LEN: usize>() -> Box<dyn Hash> {
    Box::new(blake2s_simd::blake2sp::Params::new().hash_length(LEN).to_state())
}

/// BLAKE3 with 32 bytes.
pub(super) fn blake3() -> Box<dyn Hash> {
    Box::new(blake3::Hasher::new())
}

/// XXH3 with 64 bits and seed 0.
pub(super) fn xxh3() -> Box<dyn Hash> {
    Box::new(Xxh3Default::new())
}

struct Plain<D>(D);

impl<D: Digest + Send + Sync> Hash for Plain<D> {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn hex(self: Box<Self>) -> String {
        hex(&self.0.finalize())
    }
}

impl Hash for blake2b_simd::blake2bp::State {
    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn hex(self: Box<Self>) -> String {
        hex(self.finalize().as_bytes())
    }
}

impl Hash for blake2s_simd::blake2sp::State {
    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn hex(self: Box<Self>) -> String {
        hex(self.finalize().as_bytes())
    }
}

impl Hash for blake3::Hasher {
    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn hex(self: Box<Self>) -> String {
        hex(self.finalize().as_bytes())
    }
}

impl Hash for Xxh3Default {
    fn update(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }

    fn hex(self: Box<Self>) -> String {
        hex(&self.digest().to_be_bytes())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}
