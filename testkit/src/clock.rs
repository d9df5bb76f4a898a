//! A clock that is set by hand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gannet_core::{Clock, Timestamp, WallTime};

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct TestClock {
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    wall: WallTime,
    boot: Timestamp,
}

impl TestClock {
    /// A clock that shows some time of the year 2027.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let wall = WallTime { seconds: 1_800_000_000, nanos: 123_456_789 };
        let boot = Timestamp { seconds: 10_000 };
        Arc::new(Self { now: Mutex::new(Now { wall, boot }) })
    }

    /// Lets `seconds` pass.
    pub fn advance(&self, seconds: u32) {
        let mut now = self.now();
        now.wall = now.wall.plus(seconds.into());
        now.boot = now.boot.plus(seconds.into());
    }

    /// Sets the time of day alone, as an administrator or NTP may.
    pub fn set_wall(&self, wall: WallTime) {
        self.now().wall = wall;
    }

    /// Sets the forward-only clock alone, which a reboot may do.
    pub fn set_boot(&self, boot: Timestamp) {
        self.now().boot = boot;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for TestClock {
    fn wall(&self) -> WallTime {
        self.now().wall
    }
    fn boot(&self) -> Timestamp {
        self.now().boot
    }
}
