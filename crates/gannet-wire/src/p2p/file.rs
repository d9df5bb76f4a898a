//! How associated files are written: never as the last word of a line, so without whitespace
//! (p2p-line §5).

use gannet_core::AssociatedFile;

/// Writes `%` as `%%`, and each whitespace character as a lone `%`. No file is an empty word.
///
/// It is lossy, and was meant to be. Besides ASCII this knows the whitespace that git-annex takes
/// for such, lest a peer's reader ends the word there.
pub(super) fn encode(file: &AssociatedFile, line: &mut Vec<u8>) {
    for chunk in file.0.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '%' => line.extend_from_slice(b"%%"),
                ' ' | '\t'..='\r' => line.push(b'%'),
                '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' => line.push(b'%'),
                '\u{202f}' | '\u{205f}' | '\u{3000}' => line.push(b'%'),
                _ => line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        line.extend_from_slice(chunk.invalid());
    }
}

/// Reads it back: a lone `%` becomes a space, for that is what it most likely was; control
/// characters become `_`. `None` for an absolute path.
pub(super) fn decode(word: &[u8]) -> Option<AssociatedFile> {
    let mut name = Vec::with_capacity(word.len());
    let mut bytes = word.iter().peekable();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'%' if bytes.next_if_eq(&&b'%').is_some() => name.push(b'%'),
            b'%' => name.push(b' '),
            _ if byte.is_ascii_control() => name.push(b'_'),
            _ => name.push(byte),
        }
    }
    (!name.starts_with(b"/")).then(|| AssociatedFile(name.into()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn file(name: &'static [u8]) -> AssociatedFile {
        AssociatedFile(Bytes::from_static(name))
    }

    #[test]
    fn whitespace_and_percent_signs_are_written_as_percent_signs() {
        let cases: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"s p%c.txt", b"s%p%%c.txt"),
            (b"sub/dir/f", b"sub/dir/f"),
            (b"../x", b"../x"),
            (b"a% b", b"a%%%b"),
            (b"\xff\xfe %", b"\xff\xfe%%%"),
            ("caf\u{e9}\u{a0}x".as_bytes(), "caf\u{e9}%x".as_bytes()),
            (b"a\nb\tc", b"a%b%c"),
        ];
        for (name, word) in cases {
            let mut written = Vec::new();
            encode(&file(name), &mut written);
            assert_eq!(written, word, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_lone_percent_sign_is_read_as_a_space() {
        let cases: [(&[u8], &'static [u8]); 7] = [
            (b"", b""),
            (b"s%p%%c.txt", b"s p%c.txt"),
            (b"%%%d", b"% d"),
            (b"a%b%%c%%%d", b"a b%c% d"),
            (b"%", b" "),
            (b"a\x01\x7fb", b"a__b"),
            (b"./a", b"./a"),
        ];
        for (word, name) in cases {
            assert_eq!(decode(word), Some(file(name)), "{}", word.escape_ascii());
        }
        assert_eq!(decode(b"/abs"), None);
        assert_eq!(decode(b"/"), None);
    }
}
