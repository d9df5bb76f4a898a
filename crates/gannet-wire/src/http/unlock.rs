//! The body of `keeplocked`: JSON objects, one after the other (p2p-http §4.2).

use serde::Deserialize;

/// Waits for `{"unlock":true}` in a body that comes in pieces.
///
/// However the body is split, the answer is the same. An object counts as soon as its last brace
/// is there; white space between objects is skipped.
#[derive(Debug, Default)]
pub struct UnlockScanner {
    /// The object that has begun; at most [`OBJECT_BYTES_MAX`] bytes.
    object: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    unlocked: bool,
}

/// The body is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body must consist of objects like {{\"unlock\":false}}")]
pub struct Garbage;

impl UnlockScanner {
    /// Takes the next bytes of the body. `true`: unlocking was asked for; what follows that is
    /// not looked at.
    ///
    /// # Errors
    /// [`Garbage`], after which the scanner is of no more use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<bool, Garbage> {
        for &byte in bytes {
            if self.unlocked {
                break;
            }
            self.take(byte)?;
        }
        Ok(self.unlocked)
    }

    /// Takes notice that the body has ended.
    ///
    /// # Errors
    /// [`Garbage`] if it ended within an object.
    pub fn finish(self) -> Result<(), Garbage> {
        if self.depth == 0 || self.unlocked { Ok(()) } else { Err(Garbage) }
    }

    fn take(&mut self, byte: u8) -> Result<(), Garbage> {
        if self.depth == 0 && byte.is_ascii_whitespace() {
            return Ok(());
        }
        if self.object.len() >= OBJECT_BYTES_MAX {
            return Err(Garbage);
        }
        self.object.push(byte);
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Ok(());
        }
        match byte {
            b'{' => self.depth += 1,
            _ if self.depth == 0 => return Err(Garbage),
            b'}' => self.depth -= 1,
            b'"' => self.in_string = true,
            _ => {}
        }
        if self.depth == 0 {
            let object: Object = serde_json::from_slice(&self.object).map_err(|_| Garbage)?;
            self.object.clear();
            self.unlocked = object.unlock;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Object {
    unlock: bool,
}

/// Real objects have 16 bytes.
const OBJECT_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Pieces<'a> = &'a [&'a [u8]];

    fn scan(pieces: Pieces<'_>) -> Result<bool, Garbage> {
        let mut scanner = UnlockScanner::default();
        for piece in pieces {
            if scanner.feed(piece)? {
                return Ok(true);
            }
        }
        scanner.finish()?;
        Ok(false)
    }

    #[test]
    fn an_object_counts_as_soon_as_it_is_complete() {
        let cases: [(Pieces, Result<bool, Garbage>); 16] = [
            (&[b"{\"unlock\":true}"], Ok(true)),
            (&[b"{\"unlock\":false}", b"\n", b"{\"unlock\":true}", b"\n"], Ok(true)),
            (&[b"{\"unlock\":false}\n{\"unlock\":true}\n"], Ok(true)),
            (&[b"{\"unlock\":false}{\"unlock\":true}"], Ok(true)),
            (&[b"{\"unl", b"ock\":tr", b"ue", b"}"], Ok(true)),
            (&[b" \r\n\t{ \"unlock\" : true , \"x\":{\"}\":\"\\\"}\"} }"], Ok(true)),
            (&[b"{\"unlock\":true}garbage"], Ok(true)),
            (&[b"{\"unlock\":false}\n"], Ok(false)),
            (&[], Ok(false)),
            (&[b"\n\n"], Ok(false)),
            (&[b"garbage\n"], Err(Garbage)),
            (&[b"true"], Err(Garbage)),
            (&[b"{\"unlock\":\"yes\"}"], Err(Garbage)),
            (&[b"{}"], Err(Garbage)),
            (&[b"}"], Err(Garbage)),
            (&[b"{\"unlock\":tr"], Err(Garbage)),
        ];
        for (pieces, expected) in cases {
            assert_eq!(scan(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn the_buffer_is_bounded() {
        let mut scanner = UnlockScanner::default();
        assert_eq!(scanner.feed(b"{\"a\":\""), Ok(false));
        assert_eq!(scanner.feed(&vec![b'x'; 2 * OBJECT_BYTES_MAX]), Err(Garbage));
        assert!(scanner.object.len() <= OBJECT_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "{\"unlock\":false}", "{\"unlock\":true}", "\n", " ", "{", "}", "\"", "x",
                ]),
                0..8,
            ),
            cuts in prop::collection::vec(0..100_usize, 0..6),
        ) {
            let whole = words.concat().into_bytes();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &whole[cut[0]..cut[1]]).collect();
            prop_assert_eq!(scan(&pieces), scan(&[&whole]));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(scan(&[&bytes]) == Ok(false) || scan(&[&bytes]).is_err());
        }
    }
}
