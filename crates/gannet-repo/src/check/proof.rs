//! Whether content is what its key promises, and what else is recorded of it.

use std::fs::{File, Metadata};
use std::io::{self, Read};

use gannet_core::backend::{Checker, Strength, strength};
use gannet_core::{Error, Key, Result};

use super::Ground;
use crate::objects::{Inode, Object};

/// What reading an object showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is what its key promises.
    Right,
    /// It is not, as long as it looks like this.
    Wrong(Inode),
    /// It is not there any more, was changed while it was read, or reading was given up.
    Nothing,
}

/// Reads an object, and judges it. The listener is told after each piece, and may stop it.
///
/// # Errors
/// When it cannot be read, or not be found out what it should be.
pub(super) fn judge(ground: &Ground<'_>, key: &Key, object: &Object) -> Result<Shown> {
    let Some(mut file) = object.open()? else { return Ok(Shown::Nothing) };
    let unread = |error| Error::disk("read", object.path(), error);
    let before = file.metadata().map_err(unread)?;
    let mut proof = Proof::of(ground, key)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer).map_err(unread)? {
            0 => break,
            len => {
                proof.update(&buffer[..len]);
                if !ground.read(len) {
                    return Ok(Shown::Nothing);
                }
            }
        }
    }
    if was_changed(&file, &before, object).map_err(unread)? {
        return Ok(Shown::Nothing);
    }
    Ok(if proof.holds() { Shown::Right } else { Shown::Wrong(Inode::of(&before)) })
}

/// Whether reading the content of `key` shows more than a look at its size.
///
/// # Errors
/// When it cannot be found out.
pub(super) fn can_be_proven(ground: &Ground<'_>, key: &Key) -> Result<bool> {
    Ok(strength(key) != Strength::SizeOnly || !equivalents(ground, key)?.is_empty())
}

/// All that content must be.
struct Proof {
    own: Checker,
    /// One of these must match as well, for a key that proves nothing by itself.
    equivalents: Vec<Checker>,
}

impl Proof {
    fn of(ground: &Ground<'_>, key: &Key) -> Result<Self> {
        let equivalents = equivalents(ground, key)?;
        let equivalents = equivalents.iter().map(Checker::new).collect();
        Ok(Self { own: Checker::new(key), equivalents })
    }

    fn update(&mut self, bytes: &[u8]) {
        for checker in self.equivalents.iter_mut().chain([&mut self.own]) {
            checker.update(bytes);
        }
    }

    fn holds(self) -> bool {
        let alone = self.equivalents.is_empty();
        let mut matching = self.equivalents.into_iter().map(|checker| checker.finish().is_ok());
        self.own.finish().is_ok() && (alone || matching.any(|matches| matches))
    }
}

/// The keys that are recorded to have the same content as a key that proves nothing by itself.
fn equivalents(ground: &Ground<'_>, key: &Key) -> Result<Vec<Key>> {
    if key.backend() != b"VURL" {
        return Ok(Vec::new());
    }
    crate::logs::equivalent::read(ground.site.settings(), &ground.git, key)
}

/// Whether somebody wrote to the file since it was opened, or has put another in its place.
fn was_changed(file: &File, before: &Metadata, object: &Object) -> io::Result<bool> {
    let (before, after) = (Inode::of(before), Inode::of(&file.metadata()?));
    let there = std::fs::symlink_metadata(object.path());
    let replaced = !there.is_ok_and(|there| !after.content_changed(&Inode::of(&there)));
    Ok(replaced || before.content_changed(&after))
}

const BUFFER_BYTES: usize = 256 * 1024;
/// Why nothing is done with content that was not judged.
pub(super) const NOT_READ: &str = "it was not read to its end: look again later";
