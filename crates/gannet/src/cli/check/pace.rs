//! Keeps reading below a rate.

use std::num::NonZeroU64;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;

/// So many bytes in a second, on average over any time that is longer than a moment.
pub(super) struct Pace {
    rate: NonZeroU64,
    done: u64,
    /// When all that is done may have been done.
    due: Instant,
}

impl Pace {
    /// No more than `rate` bytes per second.
    pub(super) fn new(rate: NonZeroU64) -> Self {
        Self { rate, done: 0, due: Instant::now() }
    }

    /// Returns when `done` bytes in all may have been done, or when a signal comes.
    pub(super) fn wait(&mut self, done: u64, interrupt: &Interrupt) {
        let pause = self.account(done, Instant::now());
        let end = Instant::now() + pause;
        while !interrupt.came() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            sleep(left.min(NAP_MAX));
        }
    }

    /// How long to wait now that `done` bytes are done.
    fn account(&mut self, done: u64, now: Instant) -> Duration {
        let new = done.saturating_sub(self.done);
        self.done = done;
        // What was not read while the disk was slow is not made up for.
        self.due = self.due.max(now) + self.time_for(new);
        self.due.saturating_duration_since(now)
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.get());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(PAUSE_MAX)
    }
}

/// Signals are noticed within this.
const NAP_MAX: Duration = Duration::from_millis(200);
/// Longer than any repository lasts, and short enough to count with.
const PAUSE_MAX: Duration = Duration::from_secs(10_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let mut pace = Pace::new(NonZeroU64::new(1000).unwrap());
        let start = Instant::now();
        pace.due = start;
        assert_eq!(pace.account(0, start), Duration::ZERO);
        assert_eq!(pace.account(500, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(pace.account(2500, later), Duration::from_secs(2));
    }

    #[test]
    fn time_that_a_slow_disk_took_is_not_made_up_for() {
        let mut pace = Pace::new(NonZeroU64::new(1000).unwrap());
        let start = Instant::now();
        pace.due = start;
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.account(1000, later), Duration::from_secs(1));
    }
}
