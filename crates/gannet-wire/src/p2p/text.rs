//! Texts of errors, and tokens.

use std::fmt;

use bytes::Bytes;

/// What an `ERROR` says: any bytes of one line, for people to read.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Bytes);

impl Text {
    /// Longest text in bytes that is said. What peers say may be as long as a line.
    pub const BYTES_MAX: usize = 1024;

    /// Makes a text of one line out of `text`: control characters become spaces, and what is too
    /// long is cut off.
    #[must_use]
    pub fn new(text: impl fmt::Display) -> Self {
        let text = text.to_string();
        let text = &text[..text.floor_char_boundary(Self::BYTES_MAX)];
        Self(text.replace(char::is_control, " ").into())
    }

    /// A text that came over the line.
    pub(super) fn heard(text: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(text))
    }

    /// The text as it came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Text {
    /// Writes the text for people: without control characters, and not without end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(Self::BYTES_MAX)];
        let text = String::from_utf8_lossy(shown);
        f.write_str(&text.replace(char::is_control, ""))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// The secret that `AUTH` tells (p2p-line §2). Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Bytes);

impl Token {
    /// Reads a token that can be sent: letters and digits of ASCII, at least one.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let legal = !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric);
        (legal && text.len() <= Text::BYTES_MAX).then(|| Self::heard(text))
    }

    /// A token that came over the line, which may be anything.
    pub(super) fn heard(text: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(text))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `secret`, upper or lower case, compared in a time that tells nothing of
    /// where they differ. An empty token, or an empty secret, is nobody's.
    #[must_use]
    pub fn is(&self, secret: &Self) -> bool {
        let mut difference = u8::from(self.0.len() != secret.0.len());
        for (ours, theirs) in secret.0.iter().zip(&self.0) {
            let differ = ours.to_ascii_lowercase() ^ theirs.to_ascii_lowercase();
            difference = std::hint::black_box(difference | differ);
        }
        difference == 0 && !secret.0.is_empty()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<AUTHTOKEN>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line() {
        assert_eq!(Text::new("a\nb\r").as_bytes(), b"a b ");
        assert_eq!(Text::heard(b"\x1b[2J\xff x\r").to_string(), "[2J\u{fffd} x");
        let long = "\u{e9}".repeat(Text::BYTES_MAX);
        assert_eq!(Text::new(long).as_bytes().len(), Text::BYTES_MAX);
    }

    #[test]
    fn a_token_is_compared_in_either_case() {
        let secret = Token::parse(b"abc1").unwrap();
        assert!(Token::heard(b"ABC1").is(&secret));
        for wrong in [&b"abc"[..], b"abc12", b"", b"abd1", b"abc1 "] {
            assert!(!Token::heard(wrong).is(&secret), "{}", wrong.escape_ascii());
        }
        assert!(!Token::heard(b"").is(&Token::heard(b"")));
        assert_eq!(format!("{secret:?}"), "<AUTHTOKEN>");
        for bad in [&b""[..], b"a b", b"a\n", b"zz-!"] {
            assert_eq!(Token::parse(bad), None);
        }
    }
}
