//! The `Authorization` header (p2p-http §5).

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_URL_SAFE as BASE64_URL};

/// A user name and a password, as the client sent them.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user: what stands before the first colon.
    pub user: Vec<u8>,
    /// The password: all the rest, colons included.
    pub password: Vec<u8>,
}

impl Login {
    /// Reads the value of an `Authorization` header.
    ///
    /// Only Basic is known, in either base64 alphabet, padded or not: the reference writes one,
    /// everybody else the other. Foreign schemes and what cannot be decoded are no login.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let header = header.trim_ascii();
        let scheme_end = header.iter().position(u8::is_ascii_whitespace)?;
        let (scheme, rest) = header.split_at(scheme_end);
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let text: Vec<u8> = rest
            .trim_ascii()
            .iter()
            .map(|&byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => other,
            })
            .collect();
        let mut user = EITHER.decode(text).ok()?;
        let colon = user.iter().position(|&byte| byte == b':')?;
        let password = user.split_off(colon + 1);
        user.truncate(colon);
        Some(Self { user, password })
    }

    /// Writes the value of an `Authorization` header, in the standard alphabet and, if that
    /// differs, in the one for URLs, which is all that the reference server reads (p2p-http §5).
    #[must_use]
    pub fn headers(&self) -> (String, Option<String>) {
        let text = [&self.user[..], b":", &self.password].concat();
        let standard = BASE64.encode(&text);
        let url = BASE64_URL.encode(&text);
        let other = (url != standard).then(|| format!("Basic {url}"));
        (format!("Basic {standard}"), other)
    }
}

/// The password stays out of logs.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user.escape_ascii())
    }
}

const EITHER: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_are_read_padded_or_not() {
        let login = |user: &str, password: &str| {
            Some(Login { user: user.into(), password: password.into() })
        };
        let cases: [(&str, Option<Login>); 16] = [
            ("Basic YjphOmI/Pn7DqQ==", login("b", "a:b?>~\u{e9}")),
            ("Basic YjphOmI_Pn7DqQ==", login("b", "a:b?>~\u{e9}")),
            ("Basic YjphOmI_Pn7DqQ", login("b", "a:b?>~\u{e9}")),
            ("Basic cnc6cHc=", login("rw", "pw")),
            ("Basic cnc6cHc", login("rw", "pw")),
            ("basic cnc6cHc=", login("rw", "pw")),
            ("BASIC   cnc6cHc= ", login("rw", "pw")),
            ("Basic\tcnc6cHc=", login("rw", "pw")),
            ("Basic ZTo=", login("e", "")),
            ("Basic Og==", login("", "")),
            ("Basic cnc=", None),
            ("Bearer cnc6cHc=", None),
            ("Basic !!!!", None),
            ("Basic", None),
            ("Basic ", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(Login::parse(header.as_bytes()), expected, "{header:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (password, alphabets) in [("pw", 1), ("b?>~", 2)] {
            let login = Login { user: b"a".to_vec(), password: password.into() };
            let (standard, url) = login.headers();
            assert_eq!(url.is_some(), alphabets == 2);
            for header in std::iter::once(standard).chain(url) {
                assert_eq!(Login::parse(header.as_bytes()).as_ref(), Some(&login), "{header}");
            }
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let login = Login::parse(b"Basic cnc6cHc=").unwrap();
        assert_eq!(format!("{login:?}"), "Login(rw)");
    }
}
