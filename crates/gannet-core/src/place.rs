//! Where a key sits in a tree of directories (repository §2.1, §7.1).

use digest::Digest;
use md5::Md5;

use crate::key::Key;

/// How the hash directories of a key are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Hexadecimal, `f87/4d5`: bare repositories and the git-annex branch.
    Lower,
    /// Four letters of both cases, `pX/ZJ`: repositories with a work tree.
    Mixed,
}

/// How many levels of hash directories there are (the tunings `objecthash1`, `branchhash1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// Only the first.
    One,
    /// Both, as usual.
    Two,
}

/// The hash directories of `key`, e.g. `f87/4d5`, without slashes at the ends.
#[must_use]
pub fn hash_dirs(scheme: Scheme, levels: Levels, key: &Key) -> String {
    let md5 = Md5::digest(key.without_chunk());
    let (first, second) = match scheme {
        Scheme::Lower => {
            let hex = format!("{:02x}{:02x}{:02x}", md5[0], md5[1], md5[2]);
            (hex[..3].to_owned(), hex[3..].to_owned())
        }
        Scheme::Mixed => {
            let word = u32::from_le_bytes([md5[0], md5[1], md5[2], md5[3]]);
            let letter = |place: u32| MIXED[((word >> (6 * place)) & 31) as usize] as char;
            let pair = |a, b| [letter(a), letter(b)].iter().collect::<String>();
            (pair(1, 0), pair(3, 2))
        }
    };
    match levels {
        Levels::One => first,
        Levels::Two => format!("{first}/{second}"),
    }
}

/// Path of a log of `key` in the git-annex branch, e.g. `f87/4d5/KEY.log` for `.log`.
#[must_use]
pub fn log_path(levels: Levels, key: &Key, suffix: &str) -> Vec<u8> {
    let mut path = hash_dirs(Scheme::Lower, levels, key).into_bytes();
    path.push(b'/');
    path.extend_from_slice(&key.file_name());
    path.extend_from_slice(suffix.as_bytes());
    path
}

const MIXED: &[u8; 32] = b"0123456789zqjxkmvwgpfZQJXKMVWGPF";
