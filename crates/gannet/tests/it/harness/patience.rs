//! Waiting for something to become true, and chance that can be repeated.

use std::thread;
use std::time::{Duration, Instant};

/// Asks again and again until `ask` says `Ok`, at most for `patience`, and fails with its last
/// complaint after that.
pub(crate) fn eventually<T>(patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(value) => return value,
            Err(complaint) if start.elapsed() >= patience => {
                panic!("not within {patience:?}: {complaint}")
            }
            Err(_) => thread::sleep(BETWEEN_QUESTIONS),
        }
    }
}

/// Chooses how much a test does: `usual`, or `long` when the environment says `GANNET_LONG=1`.
pub(crate) fn usual_or_long<T>(usual: T, long: T) -> T {
    match std::env::var_os("GANNET_LONG") {
        Some(value) if value == "1" => long,
        _ => usual,
    }
}

/// A source of chance that gives the same numbers for the same seed.
pub(crate) struct Seeded(u64);

impl Seeded {
    /// Starts from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Gives a number below `bound` (splitmix64).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Gives `len` bytes that no compressor and no hash has seen before.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}

const BETWEEN_QUESTIONS: Duration = Duration::from_millis(10);
