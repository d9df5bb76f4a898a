//! How keys, uuids, lock ids and file names are written into a URL (p2p-http §2, "Bracket form").
//!
//! What is said here comes before percent-encoding when writing, and after percent-decoding when
//! reading.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gannet_core::Uuid;
use gannet_core::uuid::BadUuid;

/// Text in brackets that is not base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what stands between `[` and `]` is not base64url")]
pub struct BadSpelling;

/// Writes a value plainly if that can be read back, and as `[base64url]` with padding if not:
/// when it is not UTF-8, or when it looks like the bracket form itself.
#[must_use]
pub fn spell(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(plain) if in_brackets(value).is_none() => Cow::Borrowed(plain),
        _ => Cow::Owned(format!("[{}]", BASE64URL.encode(value))),
    }
}

/// Reads a value that is written plainly or as `[base64url]`, padded or not, or padded more than
/// it needs, as the reference server does.
///
/// Only one bracket, or brackets elsewhere, are part of a plain value.
///
/// # Errors
/// When there is anything but base64url between the brackets; the standard alphabet (`+`, `/`)
/// counts as such.
pub fn read(text: &[u8]) -> Result<Cow<'_, [u8]>, BadSpelling> {
    match in_brackets(text) {
        None => Ok(Cow::Borrowed(text)),
        Some(b"") => Ok(Cow::Borrowed(b"")),
        Some(inner) => match without_padding(inner) {
            b"" => Err(BadSpelling),
            digits => BASE64URL.decode(digits).map(Cow::Owned).map_err(|_| BadSpelling),
        },
    }
}

/// Reads what a client calls itself. That may be any text, but it ends up in file names: what
/// could not be a uuid is replaced by something that can.
///
/// # Errors
/// When it is empty.
pub fn client_uuid(text: &[u8]) -> Result<Uuid, BadUuid> {
    Uuid::parse(text).or_else(|_| Uuid::parse(&harmless(text)))
}

/// A word like `text` that can be a uuid.
fn harmless(text: &[u8]) -> Vec<u8> {
    let mut word: Vec<u8> = text
        .iter()
        .take(Uuid::BYTES_MAX)
        .map(|&byte| if byte.is_ascii_graphic() && byte != b'/' { byte } else { b'_' })
        .collect();
    if matches!(word.as_slice(), b"." | b"..") {
        word.push(b'_');
    }
    word
}

/// What stands between a `[` at the start and a `]` at the end.
fn in_brackets(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"[")?.strip_suffix(b"]")
}

fn without_padding(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b'='] = text {
        text = rest;
    }
    text
}

/// Writes padding, and does not insist on reading it.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_written_plainly_if_it_can_be() {
        let cases: [(&[u8], &str); 11] = [
            (b"SHA256E-s6--abc.txt", "SHA256E-s6--abc.txt"),
            (b"", ""),
            (b"a b/c%&", "a b/c%&"),
            ("\u{e9}".as_bytes(), "\u{e9}"),
            (b"[", "["),
            (b"]", "]"),
            (b"[abc", "[abc"),
            (b"a[b]", "a[b]"),
            (b"[]", "[W10=]"),
            (b"[abc]", "[W2FiY10=]"),
            (b"\xff\xfe\xfb", "[__77]"),
        ];
        for (value, text) in cases {
            assert_eq!(spell(value), text);
            assert_eq!(read(text.as_bytes()).as_deref(), Ok(value));
        }
    }

    #[test]
    fn any_value_may_be_written_in_brackets() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"[]", b""),
            (b"[Zm9v=]", b"foo"),
            (b"[Zm8==]", b"fo"),
            (b"[Zm9v]", b"foo"),
            (b"[Zm8=]", b"fo"),
            (b"[Zm8]", b"fo"),
            (b"[Zg==]", b"f"),
            (b"[Zg]", b"f"),
            (b"[-_8=]", b"\xfb\xff"),
        ];
        for (text, value) in cases {
            assert_eq!(read(text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn what_is_not_base64url_is_refused() {
        for text in
            ["[+/8=]", "[Zm9v!]", "[Zm 9v]", "[Zm9v\n]", "[Z]", "[=]", "[[]]", "[Zm9=]", "[Z=g=]"]
        {
            assert_eq!(read(text.as_bytes()), Err(BadSpelling), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_back(value in prop::collection::vec(any::<u8>(), 0..50)) {
            let bracketed = [b"[", &value[..], b"]"].concat();
            let padded = format!("[{}]", BASE64URL.encode(&value));
            let bare = padded.replace('=', "");
            prop_assert_eq!(owned(spell(&value).as_bytes()), Ok(value.clone()));
            prop_assert_eq!(owned(spell(&bracketed).as_bytes()), Ok(bracketed));
            prop_assert_eq!(owned(padded.as_bytes()), Ok(value.clone()));
            prop_assert_eq!(owned(bare.as_bytes()), Ok(value));
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..50)) {
            if in_brackets(&text).is_none() {
                prop_assert_eq!(owned(&text), Ok(text.clone()));
            }
            if let Ok(value) = owned(&[b"[", &text[..], b"]"].concat()) {
                prop_assert_eq!(owned(spell(&value).as_bytes()), Ok(value));
            }
        }
    }

    fn owned(text: &[u8]) -> Result<Vec<u8>, BadSpelling> {
        read(text).map(Cow::into_owned)
    }
}
