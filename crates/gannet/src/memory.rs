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
    let mut kept = 0;
    loop {
        ticks.tick().await;
        let Some(resident) = resident_pages() else { return pending().await };
        if resident > kept + WORTH_PAGES {
            // It takes the allocator's locks one after the other, milliseconds in all.
            if let Err(error) = tokio::task::spawn_blocking(trim).await {
                tracing::debug!("cannot give memory back: {error}");
            }
            kept = resident_pages().unwrap_or(resident);
        } else {
            kept = kept.min(resident);
        }
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
