//! Gives memory back to the system after a burst.
//!
//! The allocator of glibc keeps what was freed on many threads, for ever if nothing else is asked
//! of it: a minute of a thousand uploads would be paid for until the next start.

use std::fs;
use std::future::pending;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Looks now and then whether there is memory to be given back. Never returns.
pub(crate) async fn give_back() {
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut habit = Habit::default();
    loop {
        ticks.tick().await;
        let Some(resident) = resident_pages() else { return pending().await };
        if habit.is_worth_it(resident) {
            // It takes the allocator's locks one after the other, milliseconds in all.
            if let Err(error) = tokio::task::spawn_blocking(trim).await {
                tracing::debug!("cannot give memory back: {error}");
            }
            habit.note(resident_pages().unwrap_or(resident));
        }
    }
}

/// When to try it.
#[derive(Debug, Default)]
struct Habit {
    /// What was left the last time, in pages, and the least that ever was.
    left: usize,
    least: Option<usize>,
    /// For how many looks nothing was done.
    looks: u32,
}

impl Habit {
    /// Whether much has come since the last time, or much may have become free: what was in use
    /// then looks no different when it is not any more.
    fn is_worth_it(&mut self, resident: usize) -> bool {
        self.left = self.left.min(resident);
        self.looks += 1;
        let least = self.least.unwrap_or(0);
        resident > self.left + WORTH_PAGES
            || self.looks >= LOOKS_MAX && resident > least + WORTH_PAGES
    }

    fn note(&mut self, left: usize) {
        self.left = left;
        self.least = Some(self.least.map_or(left, |least| least.min(left)));
        self.looks = 0;
    }
}

/// Pages of this process that are in memory; `None` where the system does not tell.
fn resident_pages() -> Option<usize> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the only way to tell the allocator")]
fn trim() {
    // SAFETY: it may be called at any time from any thread, and touches only memory that is free.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(target_env = "gnu"))]
fn trim() {}

const PAUSE: Duration = Duration::from_secs(5);
/// Growth that is worth the effort, in pages of 4 KiB.
const WORTH_PAGES: usize = 1024;
/// After so many looks it is tried again, unless there is hardly more than there ever was.
const LOOKS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_use_at_first_is_given_back_later() {
        let mut habit = Habit::default();
        assert!(habit.is_worth_it(5_000));
        habit.note(5_000);
        assert!((0..100).all(|_| !habit.is_worth_it(5_500)), "it is not worth it");
        assert!(habit.is_worth_it(90_000), "a burst");
        habit.note(80_000); // most is in use
        assert!((1..LOOKS_MAX).all(|_| !habit.is_worth_it(80_000)), "so soon");
        assert!(habit.is_worth_it(80_000), "it may be free now");
        habit.note(5_100);
        assert!((0..100).all(|_| !habit.is_worth_it(5_600)), "it is not worth it");
    }
}
