//! Requests of our own making, byte for byte.

use std::fmt::Write;

use sha2::{Digest, Sha256};

mod aborts;
mod fixtures;
mod harness_works;
mod hostile;
mod life;
pub(crate) mod locks;
mod memory;
mod proxied;
mod puts;
mod table;
mod tls;

/// Writes bytes as lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("write to a string");
        text
    })
}

/// Names content by its size and SHA-256.
pub(crate) fn sha256_key(content: &[u8]) -> String {
    format!("SHA256-s{}--{}", content.len(), hex(&Sha256::digest(content)))
}
