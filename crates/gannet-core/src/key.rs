//! What contents are called.

use std::fmt;
use std::num::NonZeroU64;

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
    /// Where the chunk fields (`-S`, `-C`) begin in `text`. They end at the `--`; when there are
    /// none they begin there too.
    chunk_start: usize,
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
    #[error("its file name, or that of its log, is too long for a disk")]
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
    /// What a log's name in the journal has beside the key: `fff_fff_` and `.log`. Each `_`
    /// of the key stands there twice (repository §7.3).
    const JOURNAL_BYTES_ADDED: usize = 12;

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
        let (mut size, mut chunk_start) = (None, None);
        let mut fields = b"smSC".iter();
        loop {
            let no_dash = if rest.is_empty() { BadKey::NoName } else { BadKey::BadField };
            rest = rest.strip_prefix(b"-").ok_or(no_dash)?;
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
                b'm' => _ = number(digits)?,
                _ => chunk_start = chunk_start.or(Some(field_start)),
            }
            rest = &after[len..];
        }
        let chunk_start = chunk_start.unwrap_or(canonical.len());
        canonical.extend_from_slice(b"--");
        let name_start = canonical.len();
        canonical.extend_from_slice(rest);
        if has_extension(&text[..backend_len]) && extension(rest).len() > Self::EXTENSION_BYTES_MAX
        {
            return Err(BadKey::LongExtension);
        }
        Ok(Self { text: canonical.into(), backend_len, name_start, size, chunk_start })
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
        let fields = &self.text[self.backend_len..self.chunk_start];
        let start = fields.iter().position(|&byte| byte == b'm')? + 1;
        number(&fields[start..]).ok()
    }

    /// Whether this names a chunk of a content.
    #[must_use]
    pub fn is_chunk(&self) -> bool {
        self.chunk_start != self.fields_end()
    }

    /// The key without its chunk fields: that from which hash directories are computed.
    #[must_use]
    pub fn without_chunk(&self) -> Vec<u8> {
        [&self.text[..self.chunk_start], &self.text[self.fields_end()..]].concat()
    }

    /// The key of one chunk of this content, counted from 1, in chunks of `bytes` bytes (remotes
    /// §6). Chunk fields that the key has already are replaced.
    #[must_use]
    pub fn chunk(&self, bytes: NonZeroU64, number: u64) -> Self {
        let head = &self.text[..self.chunk_start];
        let fields = format!("-S{bytes}-C{number}");
        let text = [head, fields.as_bytes(), &self.text[self.fields_end()..]].concat();
        let name_start = head.len() + fields.len() + 2;
        Self { text: text.into(), name_start, ..*self }
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
        let name = self.file_name();
        let underscores = name.iter().filter(|&&byte| byte == b'_').count();
        let journal_name = name.len() + underscores + Self::JOURNAL_BYTES_ADDED;
        if name.len() > Self::FILE_NAME_BYTES_MAX || journal_name > 255 {
            return Err(Unstorable::LongFileName);
        }
        Ok(())
    }

    /// Where the `--` stands that the name follows.
    fn fields_end(&self) -> usize {
        self.name_start - 2
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chunk_has_a_key_of_its_own() {
        let bytes = NonZeroU64::new(4).unwrap();
        for (whole, chunk) in [
            ("SHA256-s10--84d8", "SHA256-s10-S4-C3--84d8"),
            ("SHA256-s10-S9-C1--84d8", "SHA256-s10-S4-C3--84d8"),
            ("WORM-s10-m5--a-S1-C1--b", "WORM-s10-m5-S4-C3--a-S1-C1--b"),
            ("VURL--x", "VURL-S4-C3--x"),
        ] {
            let key = parse(whole).unwrap().chunk(bytes, 3);
            assert_eq!(key, parse(chunk).unwrap());
            assert!(key.is_chunk());
            let parsed = Key::parse(key.as_bytes()).unwrap();
            assert_eq!((parsed.name(), parsed.size()), (key.name(), key.size()));
        }
    }

    #[test]
    fn fields_stand_in_their_order() {
        let key = parse("SHA256E-s30-m5-S10-C2--abc").unwrap();
        assert_eq!((key.backend(), key.name()), (&b"SHA256E"[..], &b"abc"[..]));
        assert_eq!((key.size(), key.mtime(), key.is_chunk()), (Some(30), Some(5), true));
        assert_eq!(key.without_chunk(), b"SHA256E-s30-m5--abc");
        for text in [
            "SHA256E-s30-m5--abc",
            "SHA256E-S10-C1--abc",
            "SHA256E-s30-C1--abc",
            "SHA256E-s30-S10--abc",
            "SHA256E--",
            "SHA256E-s1--",
            "sha256e-s1--abc",
            "foo--bar",
            "SHA/256--abc",
            "WORM-s1-m1--a b",
            "WORM-s1-m1--a\tb\r",
            "URL--",
        ] {
            assert_eq!(parse(text).unwrap().as_bytes(), text.as_bytes());
        }
        let key = Key::parse(b"WORM-s1-m1--\xff\xfe\x80").unwrap();
        assert_eq!(key.name(), b"\xff\xfe\x80");
    }

    #[test]
    fn a_name_begins_after_the_first_two_dashes() {
        for (text, name) in [
            ("SHA256E--abc--def", "abc--def"),
            ("SHA256E---abc", "-abc"),
            ("SHA256E----", "--"),
            ("SHA256E--", ""),
            ("SHA256E-s1--", ""),
            ("SHA256E-s1---s2--x", "-s2--x"),
        ] {
            assert_eq!(parse(text).unwrap().name(), name.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_why() {
        for (text, why) in [
            ("", BadKey::NoName),
            ("SHA256E", BadKey::NoName),
            ("SHA256E-", BadKey::NoName),
            ("SHA256E-s30", BadKey::NoName),
            ("SHA256E-s30-", BadKey::NoName),
            ("--abc", BadKey::NoBackend),
            ("-s1--abc", BadKey::NoBackend),
            ("SHA256E-abc", BadKey::BadField),
            ("SHA256E-s30-abc", BadKey::BadField),
            ("SHA256E-m5-s30--abc", BadKey::BadField),
            ("SHA256E-C1-S10--abc", BadKey::BadField),
            ("SHA256E-S10-s30--abc", BadKey::BadField),
            ("SHA256E-s30-s31--abc", BadKey::BadField),
            ("SHA256E-C1-C1--abc", BadKey::BadField),
            ("SHA256E-s30-x5--abc", BadKey::BadField),
            ("SHA256E-s--abc", BadKey::BadField),
            ("SHA256E-s-5--abc", BadKey::BadField),
            ("SHA256E-s+5--abc", BadKey::BadField),
            ("SHA256E-s5x--abc", BadKey::BadField),
            ("WORM-s1-m-1--x", BadKey::BadField),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn numbers_lose_their_leading_zeros() {
        for (text, canonical) in [
            ("SHA256E-s030--abc", "SHA256E-s30--abc"),
            ("SHA256E-s000--abc", "SHA256E-s0--abc"),
            ("WORM-s01-m0002-S03-C04--05", "WORM-s1-m2-S3-C4--05"),
        ] {
            assert_eq!(parse(text).unwrap().as_bytes(), canonical.as_bytes());
            assert_eq!(parse(text), parse(canonical));
        }
    }

    #[test]
    fn sizes_and_times_end_below_two_to_the_63() {
        let most = i64::MAX.unsigned_abs();
        assert_eq!(parse(&format!("A-s{most}--x")).unwrap().size(), Some(most));
        assert_eq!(parse(&format!("A-m{most}--x")).unwrap().mtime(), Some(most));
        let over = most + 1;
        for text in [
            format!("A-s{over}--x"),
            format!("A-m{over}--x"),
            "SHA256E-s99999999999999999999999--abc".to_owned(),
            "WORM-s1-m18446744073709551615--x".to_owned(),
        ] {
            assert_eq!(parse(&text), Err(BadKey::TooLarge), "{text}");
        }
        let chunk = "SHA256E-S99999999999999999999999-C99999999999999999999999--abc";
        assert_eq!(parse(chunk).unwrap().as_bytes(), chunk.as_bytes());
    }

    #[test]
    fn an_extension_is_short() {
        let dotted = |backend: &str, letters| format!("{backend}--a.{}", "x".repeat(letters));
        for backend in ["SHA1E", "SHA256E", "XXH3E", "XFOOE", "FOOE", "E", "SHA999E"] {
            assert!(parse(&dotted(backend, 63)).is_ok(), "{backend}");
            assert_eq!(parse(&dotted(backend, 64)), Err(BadKey::LongExtension), "{backend}");
        }
        for backend in
            ["WORM", "URL", "VURL", "GITBUNDLE", "GITMANIFEST", "SHA1", "XFOO", "SHA256e"]
        {
            assert!(parse(&dotted(backend, 64)).is_ok(), "{backend}");
        }
        assert!(parse(&format!("SHA1E--.{}", "x".repeat(63))).is_ok());
        assert_eq!(
            parse(&format!("SHA1E--.{}.y", "x".repeat(62))),
            Err(BadKey::LongExtension),
            "an extension begins at the first dot"
        );
        assert!(parse(&format!("SHA1E--{}", "x".repeat(300))).is_ok(), "no dot, no extension");
    }

    #[test]
    fn file_names_are_escaped() {
        for (text, name) in [
            ("SHA256E-s30-S10-C1--abc", "SHA256E-s30-S10-C1--abc"),
            ("URL--http://www.foo.com/index.html", "URL--http&c%%www.foo.com%index.html"),
            ("VURL--http://example.com/foo?bar=1&x=2", "VURL--http&c%%example.com%foo?bar=1&ax=2"),
            ("WORM-s1-m1--a&b%c:d/e", "WORM-s1-m1--a&ab&sc&cd%e"),
            ("WORM-s1-m1--../../etc/passwd", "WORM-s1-m1--..%..%etc%passwd"),
        ] {
            let key = parse(text).unwrap();
            assert_eq!(key.file_name(), name.as_bytes());
            assert_eq!(Key::from_file_name(name.as_bytes()), Ok(key));
        }
        let bytes = Key::parse(b"WORM-s1-m1--\xff\xfe\x80").unwrap();
        assert_eq!(bytes.file_name(), b"WORM-s1-m1--\xff\xfe\x80");
    }

    #[test]
    fn several_file_names_can_mean_one_key() {
        for (name, text) in [
            ("A--x&z", "A--xz"),
            ("A--x&", "A--x"),
            ("A--x:y", "A--x:y"),
            ("A--x&cy", "A--x:y"),
            ("A--&&", "A--&"),
            ("A--&%", "A--%"),
        ] {
            assert_eq!(Key::from_file_name(name.as_bytes()), parse(text), "{name}");
        }
    }

    #[test]
    fn some_keys_cannot_be_stored() {
        assert_eq!(parse("A--x").unwrap().check_storable(), Ok(()));
        for text in ["A--\0", "A--x\ny", "A\n--x"] {
            let key = parse(text).unwrap();
            assert_eq!(key.check_storable(), Err(Unstorable::ControlBytes), "{text:?}");
        }
        assert_eq!(parse("_A--x").unwrap().check_storable(), Err(Unstorable::Underscore));
        let named = |name: String| parse(&format!("A--{name}")).unwrap().check_storable();
        assert_eq!(named("x".repeat(237)), Ok(()));
        assert_eq!(named("x".repeat(238)), Err(Unstorable::LongFileName));
        assert_eq!(named(":".repeat(119)), Err(Unstorable::LongFileName), "as escaped");
    }

    #[test]
    fn people_see_no_control_characters() {
        let key = Key::parse("A--\u{1b}[31m\u{e9}\u{85}\n".as_bytes()).unwrap();
        assert_eq!(key.to_string(), "A--\\u{1b}[31m\u{e9}\\u{85}\\n");
        let key = Key::parse(b"A--\xff\xfeb").unwrap();
        assert_eq!(key.to_string(), r"A--\xff\xfeb");
        assert_eq!(format!("{key:?}"), r"Key(A--\xff\xfeb)");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(key) = Key::parse(&text) {
                check_a_key(&key)?;
            }
            if let Ok(key) = Key::from_file_name(&text) {
                check_a_key(&key)?;
            }
        }

        #[test]
        fn nearly_keys_do_not_panic(text in "[A-Z]{0,3}(-?[smSCx]?[0-9]{0,20}){0,5}-{0,3}.{0,9}") {
            if let Ok(key) = Key::parse(text.as_bytes()) {
                check_a_key(&key)?;
            }
        }

        #[test]
        fn what_is_put_together_comes_apart(
            backend in "[A-Za-z0-9_/&:%]{1,9}",
            size in prop::option::of(0..=i64::MAX.unsigned_abs()),
            mtime in prop::option::of(0..=i64::MAX.unsigned_abs()),
            chunk_size in prop::option::of(any::<u128>()),
            chunk in prop::option::of(any::<u128>()),
            name in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let field = |letter: char, number: Option<u128>| {
                number.map(|number| format!("-{letter}{number}")).unwrap_or_default()
            };
            let whole = field('s', size.map(u128::from)) + &field('m', mtime.map(u128::from));
            let part = field('S', chunk_size) + &field('C', chunk);
            let put = |fields: &str| {
                [backend.as_bytes(), fields.as_bytes(), b"--", &name].concat()
            };
            let text = put(&(whole.clone() + &part));
            let key = Key::parse(&text).unwrap();
            prop_assert_eq!(key.as_bytes(), &text);
            prop_assert_eq!(key.backend(), backend.as_bytes());
            prop_assert_eq!(key.name(), &name);
            prop_assert_eq!(key.size(), size);
            prop_assert_eq!(key.mtime(), mtime);
            prop_assert_eq!(key.is_chunk(), chunk_size.or(chunk).is_some());
            prop_assert_eq!(key.without_chunk(), put(&whole));
            check_a_key(&key)?;
        }
    }

    /// What is true of every key.
    fn check_a_key(key: &Key) -> Result<(), TestCaseError> {
        prop_assert_eq!(&Key::parse(key.as_bytes()), &Ok(key.clone()));
        let name = key.file_name();
        prop_assert!(!name.contains(&b'/'));
        prop_assert!(name != b"." && name != b".." && !name.is_empty());
        prop_assert_eq!(&Key::from_file_name(&name), &Ok(key.clone()));
        let shown = key.to_string();
        prop_assert!(!shown.contains(char::is_control));
        Ok(())
    }

    fn parse(text: &str) -> Result<Key, BadKey> {
        Key::parse(text.as_bytes())
    }
}
