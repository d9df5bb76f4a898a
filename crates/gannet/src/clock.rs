//! The real clock. No other room reads one.

use std::time::{SystemTime, UNIX_EPOCH};

use gannet_core::{Clock, Timestamp, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> WallTime {
        let now = SystemTime::now();
        let (since, negative) = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => (since, false),
            Err(before) => (before.duration(), true),
        };
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        match (negative, since.subsec_nanos()) {
            (false, nanos) => WallTime { seconds, nanos },
            (true, 0) => WallTime { seconds: -seconds, nanos: 0 },
            (true, nanos) => WallTime { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
        }
    }

    fn boot(&self) -> Timestamp {
        let seconds = clock_gettime(ClockId::Boottime).tv_sec;
        Timestamp { seconds: u64::try_from(seconds).unwrap_or(0) }
    }
}
