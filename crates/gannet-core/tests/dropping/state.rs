//! What can be told of servers, clients and messages at one moment.
//!
//! Times are those that the rules take, but every clock stands at its own [`WALL`], [`BOOT`] or
//! [`OURS`], and what lies ahead or behind moves towards it. So time goes on for ever, and there are
//! only so many states.

use gannet_core::dropping::{Retention, is_retained};
use gannet_core::{Timestamp, WallTime};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) repos: Vec<Repo>,
    pub(crate) clients: Vec<Client>,
    /// How many more times something may be slow or wrong by one tick.
    pub(crate) slack: u8,
    /// How many more times the time of day may be set back.
    pub(crate) steps_back: u8,
}

/// A repository, and the server before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Repo {
    pub(crate) present: bool,
    /// The retention on the disk.
    pub(crate) written: Option<WallTime>,
    /// What the server was asked, and what it is doing.
    pub(crate) jobs: Vec<Job>,
    pub(crate) held: Vec<HeldLock>,
    /// Retentions that are counted on no more, as the server remembers.
    pub(crate) released: Vec<Retention>,
}

/// A request, whether it is still on its way or is being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Job {
    /// Who waits for the answer, if anybody does.
    pub(crate) asker: Option<usize>,
    pub(crate) task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Task {
    Lock(Locking),
    Remove { deadline: Option<Timestamp>, step: Removing },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Locking {
    Asked,
    /// The lock file is locked.
    Shared,
    Retained(Retention),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Removing {
    Asked,
    /// The lock file is locked.
    Exclusive,
    /// Nobody counts on the content, and the deadline is ahead: that it goes is being noted.
    Permitted,
}

/// A lock that was given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HeldLock {
    pub(crate) owner: Option<usize>,
    /// Whether a connection keeps it.
    pub(crate) kept: bool,
    pub(crate) expires: Timestamp,
    pub(crate) retention: Retention,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) stage: Stage,
    /// Until when it counts on its lock, on its own clock.
    pub(crate) expires: Timestamp,
    /// Whether it has itself locked the content in its own repository, and how.
    pub(crate) own_lock: OwnLock,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    Idle,
    /// Saw in its own repository that nobody counts on the content.
    Looked,
    AskedForLock,
    /// Was refused a lock, and wants to know whether the content is there at least.
    Refused,
    /// Was told that it is.
    Saw,
    Granted,
    Kept,
    /// Was told the time at the place that shall forget the content.
    Told(Timestamp),
    AskedToRemove,
    Unlocking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum OwnLock {
    None,
    Shared,
    Exclusive,
}

impl State {
    pub(crate) fn copies(&self) -> usize {
        self.repos.iter().filter(|repo| repo.present).count()
    }

    /// Gives states that differ in nothing that matters one form.
    pub(crate) fn normal(mut self) -> Self {
        for repo in &mut self.repos {
            repo.written = repo.written.filter(|&until| is_retained(Some(until), WALL));
            repo.released.retain(|retention| is_retained(Some(retention.until), WALL));
            repo.times().for_each(forget_past);
            repo.each_retention(|retention| {
                retention.replaced = retention.replaced.filter(|&until| until != PAST);
            });
            repo.rank_nanoseconds();
            for job in &mut repo.jobs {
                if let Task::Remove { deadline: Some(deadline), .. } = &mut job.task {
                    *deadline = (*deadline).max(BOOT);
                }
            }
            for lock in &mut repo.held {
                lock.expires = lock.expires.max(BOOT);
            }
            repo.jobs.sort_unstable();
            repo.held.sort_unstable();
            repo.released.sort_unstable();
        }
        for client in &mut self.clients {
            client.expires = client.expires.max(OURS);
            if client.expires == OURS && matches!(client.stage, Stage::Told(_)) {
                client.stage = Stage::Told(BOOT);
            }
        }
        self
    }
}

impl Repo {
    pub(crate) fn each_retention(&mut self, mut change: impl FnMut(&mut Retention)) {
        self.released.iter_mut().for_each(&mut change);
        self.held.iter_mut().map(|lock| &mut lock.retention).for_each(&mut change);
        for job in &mut self.jobs {
            if let Task::Lock(Locking::Retained(retention)) = &mut job.task {
                change(retention);
            }
        }
    }

    /// All times of day that somebody remembers.
    pub(crate) fn times(&mut self) -> impl Iterator<Item = &mut WallTime> {
        let in_jobs = self.jobs.iter_mut().filter_map(|job| match &mut job.task {
            Task::Lock(Locking::Retained(retention)) => Some(retention),
            _ => None,
        });
        let held = self.held.iter_mut().map(|lock| &mut lock.retention);
        let retentions = self.released.iter_mut().chain(held).chain(in_jobs);
        self.written.iter_mut().chain(retentions.flat_map(both_times))
    }

    /// Of nanoseconds only the order matters.
    fn rank_nanoseconds(&mut self) {
        let mut all: Vec<WallTime> = self.times().map(|time| *time).collect();
        all.sort_unstable();
        all.dedup();
        for time in self.times() {
            let earlier =
                all.iter().filter(|it| it.seconds == time.seconds && it.nanos < time.nanos);
            time.nanos = u32::try_from(earlier.count()).unwrap();
        }
    }
}

fn both_times(retention: &mut Retention) -> impl Iterator<Item = &mut WallTime> {
    std::iter::once(&mut retention.until).chain(&mut retention.replaced)
}

fn forget_past(time: &mut WallTime) {
    if !is_retained(Some(*time), WALL) {
        *time = PAST;
    }
}

/// Where all servers' times of day stand: each server has an epoch of its own.
pub(crate) const WALL: WallTime = WallTime { seconds: 1_000_000, nanos: 0 };
pub(crate) const PAST: WallTime = WallTime { seconds: 0, nanos: 0 };
/// Where all servers' forward-only clocks stand.
pub(crate) const BOOT: Timestamp = Timestamp { seconds: 30_000 };
/// Where all clients' clocks stand.
pub(crate) const OURS: Timestamp = Timestamp { seconds: 7_000 };
