//! Pointer files: what stands in the work tree for an unlocked file whose content is elsewhere
//! (repository §6.2).

use gannet_core::Key;

/// No pointer file is longer, in bytes.
pub(crate) const BYTES_MAX: u64 = 32_768;

/// Reads a pointer file: the key whose content belongs there. `None`: it is none.
pub(crate) fn parse(text: &[u8]) -> Option<Key> {
    if text.len() as u64 > BYTES_MAX {
        return None;
    }
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    let first = lines.next()?;
    let first = first.strip_suffix(b"\n").unwrap_or(first);
    let first = first.strip_suffix(b"\r").unwrap_or(first);
    if !contains(first, OBJECTS) {
        return None;
    }
    // Others may add lines to a pointer, if each of them says that it belongs to it.
    if !lines.all(|line| line.ends_with(b"\n") && contains(line, ANNEX)) {
        return None;
    }
    let name = first.rsplit(|&byte| byte == b'/').next()?;
    Key::from_file_name(name).ok()
}

/// Writes the pointer file of a key.
pub(crate) fn write(key: &Key) -> Vec<u8> {
    [OBJECTS, &key.file_name(), b"\n"].concat()
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

const OBJECTS: &[u8] = b"/annex/objects/";
const ANNEX: &[u8] = b"/annex/";

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const KEY: &str = "WORM-s3-m1--a&b";

    fn key() -> Key {
        Key::parse(KEY.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(write(&key()), b"/annex/objects/WORM-s3-m1--a&ab\n");
        assert_eq!(parse(&write(&key())), Some(key()));
    }

    #[test]
    fn other_spellings_of_a_pointer_are_read() {
        for text in [
            "/annex/objects/WORM-s3-m1--a&ab",
            "/annex/objects/WORM-s3-m1--a&ab\r\n",
            "../.git/annex/objects/01/xM/WORM-s3-m1--a&ab/WORM-s3-m1--a&ab",
            "/annex/objects/WORM-s3-m1--a&ab\n/annex/more\n/annex/still more\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(key()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_left_alone() {
        let long = [&write(&key())[..], &b"/annex/\n".repeat(5000)].concat();
        for text in [
            &b""[..],
            b"\n",
            b"annex/objects/WORM-s3-m1--a&ab\n",
            b"/annex/objects/\n",
            b"/annex/objects/not a key\n",
            b"/annex/objects/WORM-s3-m1--a&ab\nand more\n",
            b"/annex/objects/WORM-s3-m1--a&ab\n/annex/not ended",
            b"/annex/objects/WORM-s3-m1--a&ab\r\r\n",
            &long,
        ] {
            let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
            assert_ne!(parse(text), Some(key()), "{shown:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_a_pointer(tail in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = [OBJECTS, b"WORM--", &tail].concat();
            // What ends like a line of another system loses that, here and in git-annex.
            if let Some(key) = parse(&text).filter(|key| !key.as_bytes().ends_with(b"\r")) {
                prop_assert_eq!(parse(&write(&key)), Some(key));
            }
        }
    }
}
