//! What the settings of special remotes say that matters whatever their kind (remotes §1, §6, §7,
//! §9).

use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// Settings under which contents can be stored and read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Into chunks of how many bytes contents are cut.
    pub chunk: Option<NonZeroU64>,
}

/// Why a special remote cannot be used with the settings that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Contents and names are encrypted.
    #[error("the special remote is encrypted (encryption={0}), which is not supported here")]
    Encrypted(String),
    /// Contents lie where a tree of files says.
    #[error("the special remote keeps a tree of files ({0}=yes), which is not supported here")]
    Tree(&'static str),
    /// Chunks as they once were.
    #[error("the special remote has chunks of an obsolete kind (chunksize=)")]
    OldChunks,
    /// No size.
    #[error("the special remote has no size of chunks that makes sense (chunk={0})")]
    Chunk(String),
    /// Another setting.
    #[error("the special remote has {name}={value}: {why}")]
    Setting {
        /// Which one.
        name: String,
        /// What it says.
        value: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// Nobody to be there.
    #[error("the special remote has no credentials that can be used: {0}")]
    Credentials(&'static str),
}

impl Plain {
    /// Reads the settings as they stand in `remote.log`, together with those of the remote that
    /// this one is the same as.
    ///
    /// # Errors
    /// When nothing may be stored or read under them: it would be taken for something else.
    pub fn read(settings: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Self, Unusable> {
        let setting = |name: &str| settings.get(name.as_bytes()).map(Vec::as_slice);
        let shown = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        match setting("encryption") {
            Some(b"none") => {}
            Some(other) => return Err(Unusable::Encrypted(shown(other))),
            // Nobody says so, but there is something to encrypt with.
            None if setting("cipher").is_some() => {
                return Err(Unusable::Encrypted("unknown".to_owned()));
            }
            None => {}
        }
        for tree in ["exporttree", "importtree"] {
            if setting(tree).is_some_and(|value| value != b"no") {
                return Err(Unusable::Tree(tree));
            }
        }
        let Some(chunk) = setting("chunk") else {
            return match setting("chunksize") {
                None | Some(b"0") => Ok(Self { chunk: None }),
                Some(_) => Err(Unusable::OldChunks),
            };
        };
        let bytes = std::str::from_utf8(chunk).ok().and_then(size);
        let bytes = bytes.ok_or_else(|| Unusable::Chunk(shown(chunk)))?;
        Ok(Self { chunk: NonZeroU64::new(bytes) })
    }
}

/// A number and a unit, e.g. `40kb`; without one, bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim().to_ascii_lowercase();
    let bytes = (number * unit_bytes(&unit)?).round_ties_even();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and saturates far above any size"
    )]
    Some(bytes as u64)
}

fn unit_bytes(unit: &str) -> Option<f64> {
    if matches!(unit, "" | "b" | "byte" | "bytes") {
        return Some(1.0);
    }
    let power = |place: usize, base: f64| (0..=place).fold(1.0, |bytes, _| bytes * base);
    PREFIXES.iter().enumerate().find_map(|(place, (letter, decimal, binary))| {
        let named = |prefix: &str, rest: &[&str]| {
            unit.strip_prefix(prefix).is_some_and(|end| rest.contains(&end))
        };
        if named(letter, &["b"]) || named(decimal, &["byte", "bytes"]) {
            return Some(power(place, 1000.0));
        }
        let is_binary = named(letter, &["ib"]) || named(binary, &["byte", "bytes"]);
        is_binary.then(|| power(place, 1024.0))
    })
}

const PREFIXES: [(&str, &str, &str); 5] = [
    ("k", "kilo", "kibi"),
    ("m", "mega", "mebi"),
    ("g", "giga", "gibi"),
    ("t", "tera", "tebi"),
    ("p", "peta", "pebi"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Option<u64>, Unusable> {
        let settings = settings
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Plain::read(&settings.collect()).map(|plain| plain.chunk.map(NonZeroU64::get))
    }

    #[test]
    fn sizes_of_chunks_are_read() {
        for (text, bytes) in [
            ("0", None),
            ("4", Some(4)),
            ("4B", Some(4)),
            ("40kb", Some(40_000)),
            ("1.5 MB", Some(1_500_000)),
            ("1MiB", Some(1 << 20)),
            ("2 gigabytes", Some(2_000_000_000)),
            ("1kibibyte", Some(1024)),
        ] {
            assert_eq!(read(&[("encryption", "none"), ("chunk", text)]), Ok(bytes), "{text}");
        }
        for bad in ["", "many", "4 chunks", "-1", "1.2.3"] {
            let expected = Err(Unusable::Chunk(bad.to_owned()));
            assert_eq!(read(&[("encryption", "none"), ("chunk", bad)]), expected);
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn what_would_be_taken_for_something_else_is_refused() {
        for scheme in ["shared", "hybrid", "pubkey", "sharedpubkey", "None"] {
            let error = read(&[("encryption", scheme)]).unwrap_err();
            assert_eq!(error, Unusable::Encrypted(scheme.to_owned()));
            assert!(error.to_string().contains(scheme));
        }
        assert!(read(&[("cipher", "x")]).is_err());
        assert_eq!(read(&[("exporttree", "yes")]), Err(Unusable::Tree("exporttree")));
        assert_eq!(read(&[("importtree", "yes")]), Err(Unusable::Tree("importtree")));
        assert_eq!(read(&[("exporttree", "no")]), Ok(None));
        assert_eq!(read(&[("chunksize", "1kb")]), Err(Unusable::OldChunks));
        assert_eq!(read(&[("chunksize", "1kb"), ("chunk", "1kb")]), Ok(Some(1000)));
    }
}
