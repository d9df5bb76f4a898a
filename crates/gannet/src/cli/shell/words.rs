//! Command lines as clients send them: one string, quoted (p2p-line §11).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Splits a command line at single spaces. `'…'` and `"…"` quote, with no escapes inside, and join
/// with what stands beside them; a quote that does not end runs to the end.
pub(super) fn split(line: &OsStr) -> Vec<OsString> {
    let mut words = vec![Vec::new()];
    let mut quote = None;
    for &byte in line.as_bytes() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b' ') => words.push(Vec::new()),
            (_, byte) => {
                if let Some(word) = words.last_mut() {
                    word.push(byte);
                }
            }
        }
    }
    words.into_iter().map(OsString::from_vec).collect()
}

/// Quotes a word so that [`split`], git-shell and a shell read it back.
pub(super) fn quote(word: &OsStr) -> OsString {
    let mut quoted = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            // git-shell knows this form of the two that there are.
            b'\'' => quoted.extend_from_slice(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_git_annex_splits_them() {
        let cases: [(&str, &[&str]); 9] = [
            ("a b", &["a", "b"]),
            ("a  b", &["a", "", "b"]),
            ("'a b' c", &["a b", "c"]),
            ("\"it's\" x", &["it's", "x"]),
            (r#"'r'"'"'q'"#, &["r'q"]),
            (r"sp\ ace", &["sp\\", "ace"]),
            ("a'b c", &["ab c"]),
            ("''", &[""]),
            ("", &[""]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line.as_ref()), words, "{line}");
        }
    }

    #[test]
    fn a_quoted_word_is_one_word_for_a_shell() {
        for word in ["plain", "two words", "it's", "$(x) `y` \\", ""] {
            let mut line = OsString::from("printf %s ");
            line.push(quote(word.as_ref()));
            let said = std::process::Command::new("sh").arg("-c").arg(line).output().unwrap();
            assert_eq!(said.stdout, word.as_bytes());
        }
    }
}
