//! How a line falls into words (p2p-line §1).

use gannet_core::Uuid;

/// What of a line is not read yet.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a [u8]);

impl<'a> Words<'a> {
    /// Takes what stands before the next whitespace character, and that character: two in a row
    /// have an empty word between them.
    pub(super) fn next(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|&byte| is_space(byte));
        let (word, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        word
    }

    /// All that is left, as words between runs of whitespace.
    pub(super) fn list(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|&byte| is_space(byte)).filter(|word| !word.is_empty())
    }

    /// All that is left, as uuids. What could not be one is left out.
    pub(super) fn uuids(self) -> Vec<Uuid> {
        self.list().filter_map(|word| Uuid::parse(word).ok()).collect()
    }
}

/// Whether words end here: a space, or one of the controls from tab to carriage return.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Reads `[0-9]+` with spaces around it. The outer `None` is other text, the inner one a number
/// that does not fit.
pub(super) fn number(text: &[u8]) -> Option<Option<u64>> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(std::str::from_utf8(text).ok()?.parse().ok())
}
