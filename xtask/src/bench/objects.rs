//! Contents to send, and the keys they have.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::load::Sizes;
use crate::run::{Result, output};

/// Contents on disk: one big, some small, and many tiny ones.
pub(super) struct Objects {
    pub(super) big: Object,
    pub(super) small: Vec<Object>,
    pub(super) tiny: Vec<Object>,
}

/// A content.
pub(super) struct Object {
    pub(super) key: String,
    pub(super) file: PathBuf,
    pub(super) len: u64,
}

impl Objects {
    /// Makes them of random bytes, in a new directory.
    ///
    /// # Errors
    /// When the disk is full, or `sha256sum` is missing.
    pub(super) fn make(dir: &Path, sizes: &Sizes) -> Result<Self> {
        fs::create_dir(dir)?;
        let group = |name, count, len| Self::group(&dir.join(name), count, len);
        let big = group("big", 1, sizes.big_bytes)?.pop().ok_or("no big object")?;
        let small = group("small", sizes.small_count, 16 << 10)?;
        let tiny = group("tiny", sizes.tiny_count, 4 << 10)?;
        Ok(Self { big, small, tiny })
    }

    /// Makes so many of one length, in a new directory.
    ///
    /// # Errors
    /// As above.
    pub(super) fn group(dir: &Path, count: usize, len: u64) -> Result<Vec<Object>> {
        fs::create_dir(dir)?;
        let mut random = File::open("/dev/urandom")?;
        for number in 0..count {
            let mut file = File::create(dir.join(number.to_string()))?;
            io::copy(&mut Read::by_ref(&mut random).take(len), &mut file)?;
        }
        hashed(dir, len)
    }
}

/// The files in `dir`, with their keys. xtask is not built to hash fast; coreutils is.
fn hashed(dir: &Path, len: u64) -> Result<Vec<Object>> {
    let mut sum = Command::new("sh");
    let lines = output(sum.args(["-c", "sha256sum *"]).current_dir(dir))?;
    let mut objects = Vec::new();
    for line in lines.lines() {
        let (hash, name) = line.split_once("  ").ok_or("sha256sum printed something else")?;
        objects.push(Object { key: format!("SHA256E-s{len}--{hash}"), file: dir.join(name), len });
    }
    Ok(objects)
}
