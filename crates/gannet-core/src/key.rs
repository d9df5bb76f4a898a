//! What contents are called.

use std::fmt;

use bytes::Bytes;

/// The name of a content, e.g. `SHA256E-s1048576--9f86d0.ogg` (repository §1).
///
/// A `Key` in your hand is a legal key in its canonical form: keys are equal exactly if their
/// bytes are. They are bytes, not text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    text: Bytes,
    backend_len: usize,
    name_start: usize,
    size: Option<u64>,
    mtime: Option<u64>,
    /// Where the chunk fields (`-S`, `-C`) stand in `text`; empty when there are none.
    chunk: (usize, usize),
}

/// Text that is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// No `--` that separates fields and name.
    #[error("a key needs `--` between its fields and its name")]
    NoName,
    /// Nothing before the first `-`.
    #[error("a key begins with the name of its backend")]
    NoBackend,
    /// Fields that are unknown, repeated, out of order, or not digits.
    #[error("a key's fields are -s, -m, -S, -C, in this order, each a number")]
    BadField,
    /// A size or time of 2^63 or more.
    #[error("a key's size or time is too large")]
    TooLarge,
    /// An extension longer than 64 bytes (repository §1.2).
    #[error("a key's extension has at most {} bytes", Key::EXTENSION_BYTES_MAX)]
    LongExtension,
}

/// Why a legal key cannot be kept in a repository (repository §1.1, §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unstorable {
    /// NUL or newline.
    #[error("it contains a NUL or a newline")]
    ControlBytes,
    /// Its file name would be too long.
    #[error("its file name has more than {} bytes", Key::FILE_NAME_BYTES_MAX)]
    LongFileName,
    /// Its file name begins with `_`, which the journal cannot express.
    #[error("its name begins with `_`")]
    Underscore,
}

impl Key {
    /// Longest extension in bytes, dot included, of backends whose names end in `E`.
    pub const EXTENSION_BYTES_MAX: usize = 64;
    /// Longest file name in bytes that can be stored: derived names are up to 13 longer.
    pub const FILE_NAME_BYTES_MAX: usize = 240;

    /// Reads a key as git-annex writes it, and brings it into canonical form: numbers lose their
    /// leading zeros.
    ///
    /// # Errors
    /// When `text` is not a key.
    pub fn parse(text: &[u8]) -> Result<Self, BadKey> {
        let backend_len = text.iter().position(|&byte| byte == b'-').ok_or(BadKey::NoName)?;
        if backend_len == 0 {
            return Err(BadKey::NoBackend);
        }
        let mut canonical = text[..backend_len].to_vec();
        let mut rest = &text[backend_len..];
        let (mut size, mut mtime) = (None, None);
        let mut chunk = (0, 0);
        let mut fields = b"smSC".iter();
        loop {
            rest = rest.strip_prefix(b"-").ok_or(BadKey::NoName)?;
            if let Some(name) = rest.strip_prefix(b"-") {
                rest = name;
                break;
            }
            let (&letter, after) = rest.split_first().ok_or(BadKey::NoName)?;
            if !fields.any(|&field| field == letter) {
                return Err(BadKey::BadField);
            }
            let len = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if len == 0 {
                return Err(BadKey::BadField);
            }
            let digits = without_leading_zeros(&after[..len]);
            let field_start = canonical.len();
            canonical.extend_from_slice(&[b'-', letter]);
            canonical.extend_from_slice(digits);
            match letter {
                b's' => size = Some(number(digits)?),
                b'm' => mtime = Some(number(digits)?),
                _ if chunk == (0, 0) => chunk = (field_start, canonical.len()),
                _ => chunk.1 = canonical.len(),
            }
            rest = &after[len..];
        }
        canonical.extend_from_slice(b"--");
        let name_start = canonical.len();
        canonical.extend_from_slice(rest);
        if has_extension(&text[..backend_len]) && extension(rest).len() > Self::EXTENSION_BYTES_MAX
        {
            return Err(BadKey::LongExtension);
        }
        Ok(Self { text: canonical.into(), backend_len, name_start, size, mtime, chunk })
    }

    /// The key as git-annex writes it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Name of the backend, e.g. `SHA256E`. It may be one that nobody knows.
    #[must_use]
    pub fn backend(&self) -> &[u8] {
        &self.text[..self.backend_len]
    }

    /// What follows the first `--` after the fields; may be empty.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.text[self.name_start..]
    }

    /// Size of the content in bytes, if the key tells.
    ///
    /// For a chunk this is the size of the whole that it is a chunk of.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Modification time in seconds since 1970, if the key tells.
    #[must_use]
    pub fn mtime(&self) -> Option<u64> {
        self.mtime
    }

    /// Whether this names a chunk of a content.
    #[must_use]
    pub fn is_chunk(&self) -> bool {
        self.chunk != (0, 0)
    }

    /// The key without its chunk fields: that from which hash directories are computed.
    #[must_use]
    pub fn without_chunk(&self) -> Vec<u8> {
        let (start, end) = self.chunk;
        [&self.text[..start], &self.text[end..]].concat()
    }

    /// The key as a file name: `&`, `%`, `:` and `/` escaped (repository §1.4).
    ///
    /// Never contains `/`, and is never `.` or `..`.
    #[must_use]
    pub fn file_name(&self) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.text.len());
        for &byte in &self.text {
            match byte {
                b'&' => name.extend_from_slice(b"&a"),
                b'%' => name.extend_from_slice(b"&s"),
                b':' => name.extend_from_slice(b"&c"),
                b'/' => name.push(b'%'),
                _ => name.push(byte),
            }
        }
        name
    }

    /// Reads a key back from a file name. Several names can mean one key: compare keys, not names.
    ///
    /// # Errors
    /// When the name is not that of a key.
    pub fn from_file_name(name: &[u8]) -> Result<Self, BadKey> {
        let mut text = Vec::with_capacity(name.len());
        let mut bytes = name.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'%' => text.push(b'/'),
                b'&' => match bytes.next() {
                    Some(b'a') => text.push(b'&'),
                    Some(b's') => text.push(b'%'),
                    Some(b'c') => text.push(b':'),
                    Some(&other) => text.push(other),
                    None => {}
                },
                _ => text.push(byte),
            }
        }
        Self::parse(&text)
    }

    /// Checks that a repository can keep this key.
    ///
    /// # Errors
    /// When it cannot, and why.
    pub fn check_storable(&self) -> Result<(), Unstorable> {
        if self.text.iter().any(|byte| matches!(byte, 0 | b'\n')) {
            return Err(Unstorable::ControlBytes);
        }
        if self.text[0] == b'_' {
            return Err(Unstorable::Underscore);
        }
        if self.file_name().len() > Self::FILE_NAME_BYTES_MAX {
            return Err(Unstorable::LongFileName);
        }
        Ok(())
    }
}

impl fmt::Display for Key {
    /// Writes the key for people: control characters and bytes that are not UTF-8 are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.text.utf8_chunks() {
            for char in chunk.valid().chars() {
                if char.is_control() {
                    write!(f, "{}", char.escape_default())?;
                } else {
                    write!(f, "{char}")?;
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Whether keys of this backend carry an extension, whose length is limited (repository §1.2).
fn has_extension(backend: &[u8]) -> bool {
    backend.ends_with(b"E") && !matches!(backend, b"GITBUNDLE" | b"GITMANIFEST")
}

/// The name from its first dot on, the dot included; empty without a dot.
fn extension(name: &[u8]) -> &[u8] {
    name.iter().position(|&byte| byte == b'.').map_or(&[], |dot| &name[dot..])
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros.min(digits.len() - 1)..]
}

fn number(digits: &[u8]) -> Result<u64, BadKey> {
    let text = std::str::from_utf8(digits).map_err(|_| BadKey::BadField)?;
    let number: i64 = text.parse().map_err(|_| BadKey::TooLarge)?;
    u64::try_from(number).map_err(|_| BadKey::TooLarge)
}
