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

/// The service of git that a line asks for, and the directory; as git-shell reads it, for which any
/// white space after `git` is a dash, and the directory must be quoted.
pub(super) fn git_service(line: &OsStr) -> Option<(&'static str, OsString)> {
    let [b'g', b'i', b't', dash, rest @ ..] = line.as_bytes() else { return None };
    if *dash != b'-' && !dash.is_ascii_whitespace() {
        return None;
    }
    SERVICES.into_iter().find_map(|service| {
        let quoted = rest.strip_prefix(&service.as_bytes()[b"git-".len()..])?.strip_prefix(b" ")?;
        Some((service, unquoted(quoted)?))
    })
}

/// Reads back one word that git has quoted: `'…'`, in which `'\''` is a quote and `'\!'` what it
/// says. `None` if it is something else, or more.
fn unquoted(quoted: &[u8]) -> Option<OsString> {
    let mut word = Vec::new();
    let mut rest = quoted.strip_prefix(b"'")?;
    loop {
        rest = match rest {
            [b'\'', b'\\', byte @ (b'\'' | b'!'), b'\'', rest @ ..] => {
                word.push(*byte);
                rest
            }
            [b'\''] => return Some(OsString::from_vec(word)),
            [] | [b'\'', ..] => return None,
            [byte, rest @ ..] => {
                word.push(*byte);
                rest
            }
        };
    }
}

/// The service by which others push.
pub(super) const RECEIVE_PACK: &str = "git-receive-pack";
const SERVICES: [&str; 3] = [RECEIVE_PACK, "git-upload-pack", "git-upload-archive"];

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
    fn services_are_found_as_git_shell_finds_them() {
        let cases = [
            ("git-receive-pack '/x'", Some(("git-receive-pack", "/x"))),
            ("git receive-pack '/x'", Some(("git-receive-pack", "/x"))),
            ("git\treceive-pack '/x y'", Some(("git-receive-pack", "/x y"))),
            ("git\nupload-pack '~/x'", Some(("git-upload-pack", "~/x"))),
            (r"git-upload-archive '/it'\''s'\!''", Some(("git-upload-archive", "/it's!"))),
            ("git-upload-pack ''", Some(("git-upload-pack", ""))),
            ("git-upload-pack /x", None),
            ("git-upload-pack\t'/x'", None),
            ("git-upload-pack  '/x'", None),
            ("git-upload-pack '/x' '/y'", None),
            (r"git-upload-pack '/x'\'' /y'", Some(("git-upload-pack", "/x' /y"))),
            ("git-upload-pack '/x", None),
            ("git-upload-packs '/x'", None),
            ("gitupload-pack '/x'", None),
            ("git-shell '/x'", None),
            ("cvs server", None),
            ("git", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|(service, dir)| (service, dir.into()));
            assert_eq!(git_service(line.as_ref()), expected, "{line}");
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
