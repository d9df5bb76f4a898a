//! Where a key sits in a tree of directories (repository §2.1, §7.1).

use digest::Digest;
use md5::Md5;

use crate::key::Key;

/// How the hash directories of a key are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Hexadecimal, `f87/4d5`: bare repositories and the git-annex branch.
    Lower,
    /// Four letters of both cases, `pX/ZJ`: repositories with a work tree.
    Mixed,
}

/// How many levels of hash directories there are (the tunings `objecthash1`, `branchhash1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// Only the first.
    One,
    /// Both, as usual.
    Two,
}

/// The hash directories of `key`, e.g. `f87/4d5`, without slashes at the ends.
#[must_use]
pub fn hash_dirs(scheme: Scheme, levels: Levels, key: &Key) -> String {
    let md5 = Md5::digest(key.without_chunk());
    let (first, second) = match scheme {
        Scheme::Lower => {
            let hex = format!("{:02x}{:02x}{:02x}", md5[0], md5[1], md5[2]);
            (hex[..3].to_owned(), hex[3..].to_owned())
        }
        Scheme::Mixed => {
            let word = u32::from_le_bytes([md5[0], md5[1], md5[2], md5[3]]);
            let letter = |place: u32| MIXED[((word >> (6 * place)) & 31) as usize] as char;
            let pair = |a, b| [letter(a), letter(b)].iter().collect::<String>();
            (pair(1, 0), pair(3, 2))
        }
    };
    match levels {
        Levels::One => first,
        Levels::Two => format!("{first}/{second}"),
    }
}

/// Path of a log of `key` in the git-annex branch, e.g. `f87/4d5/KEY.log` for `.log`.
#[must_use]
pub fn log_path(levels: Levels, key: &Key, suffix: &str) -> Vec<u8> {
    let mut path = hash_dirs(Scheme::Lower, levels, key).into_bytes();
    path.push(b'/');
    path.extend_from_slice(&key.file_name());
    path.extend_from_slice(suffix.as_bytes());
    path
}

const MIXED: &[u8; 32] = b"0123456789zqjxkmvwgpfZQJXKMVWGPF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn examples_of_the_specification() {
        let sha = "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hello = "SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let song =
            "SHA256E-s31390--f50d7ac4c6b9031379986bc362fcefb65f1e52621ce1708d537e740fefc59cc0.mp3";
        let cases: [(&[u8], &str, &str); 10] = [
            (sha.as_bytes(), "f87/4d5", "pX/ZJ"),
            (hello.as_bytes(), "992/280", "zK/02"),
            (song.as_bytes(), "fe0/9b4", "7P/x0"),
            (b"WORM-s3-m1289672605--file", "e82/c96", "p8/52"),
            (b"URL--http://www.foo.com/index.html", "5f7/f9b", "GF/6J"),
            (b"VURL--http://example.com/foo?bar=1&x=2", "ba4/c38", "gM/k4"),
            (b"WORM-s1-m1--a&b%c:d/e", "466/c6f", "w6/VQ"),
            (b"WORM-s1-m1--\xff\xfe\x80", "bae/14e", "6M/pk"),
            (b"SHA256E-s30-S10-C1--abc", "36b/eaa", "XQ/zq"),
            (b"SHA256E-s30--abc", "36b/eaa", "XQ/zq"),
        ];
        for (text, lower, mixed) in cases {
            let key = Key::parse(text).unwrap();
            for (scheme, dirs) in [(Scheme::Lower, lower), (Scheme::Mixed, mixed)] {
                let (first, _) = dirs.split_once('/').unwrap();
                assert_eq!(hash_dirs(scheme, Levels::Two, &key), dirs, "{key}");
                assert_eq!(hash_dirs(scheme, Levels::One, &key), first, "{key}");
            }
        }
    }

    #[test]
    fn a_chunk_sits_where_the_whole_would() {
        let dirs = |text: &[u8]| {
            let key = Key::parse(text).unwrap();
            [Scheme::Lower, Scheme::Mixed].map(|scheme| hash_dirs(scheme, Levels::Two, &key))
        };
        let whole = dirs(b"SHA256E-s30--abc");
        for chunk in ["-s30-S10-C1", "-s30-C1", "-s30-S10", "-s030-S010-C0001"] {
            assert_eq!(dirs(format!("SHA256E{chunk}--abc").as_bytes()), whole, "{chunk}");
        }
        assert_ne!(dirs(b"SHA256E-s30--abc-S10-C1"), whole, "a name is not made of fields");
    }

    #[test]
    fn a_log_has_the_escaped_name_of_its_key() {
        let path = |levels, text: &[u8], suffix| {
            String::from_utf8(log_path(levels, &Key::parse(text).unwrap(), suffix)).unwrap()
        };
        assert_eq!(
            path(Levels::Two, b"URL--http://www.foo.com/index.html", ".log.web"),
            "5f7/f9b/URL--http&c%%www.foo.com%index.html.log.web"
        );
        assert_eq!(
            path(Levels::One, b"SHA256E-s30-S10-C1--abc", ".log"),
            "36b/SHA256E-s30-S10-C1--abc.log"
        );
    }

    proptest! {
        #[test]
        fn hash_directories_are_plain_words(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let key = Key::parse(&[b"WORM--", name.as_slice()].concat()).unwrap();
            for (scheme, letters, len) in
                [(Scheme::Lower, &b"0123456789abcdef"[..], 3), (Scheme::Mixed, &MIXED[..], 2)]
            {
                let dirs = hash_dirs(scheme, Levels::Two, &key);
                let (first, second) = dirs.split_once('/').unwrap();
                for dir in [first, second] {
                    prop_assert_eq!(dir.len(), len);
                    prop_assert!(dir.bytes().all(|byte| letters.contains(&byte)));
                }
            }
        }
    }
}
