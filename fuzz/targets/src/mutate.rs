//! Changes bytes at random, always in the same way.

/// Makes changed copies of seeds.
pub struct Mutator(u64);

impl Mutator {
    /// The same number makes the same copies.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end as u64)).unwrap_or_default()
    }

    /// One of the seeds, changed in a few places.
    pub fn change(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.change_once(&mut bytes, seeds);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change_once(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(8)).min(bytes.len());
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            3 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
            5 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            _ => bytes.insert(at, u8::try_from(self.below(256)).unwrap_or_default()),
        }
    }
}

const BYTES_MAX: usize = 1 << 16;
/// What parsers look for.
const WORDS: &[&[u8]] = &[
    b"--",
    b"-s",
    b"%",
    b"%2F",
    b"%00",
    b"[",
    b"]",
    b"=",
    b"&",
    b"?",
    b"/",
    b"..",
    b"\n",
    b"\r\n",
    b" ",
    b"\0",
    b"18446744073709551616",
    b"18446744073709551615",
    b"-1",
    b"0",
    b"{",
    b"}",
    b"\"",
    b"\xff",
    b"\xc3\xa9",
    b"DATA ",
    b"DATA 3\n",
    b"VALID\n",
    b"v4",
    b"s 1 ",
    b"/annex/objects/",
];
