//! What servers do, and what can happen to them.

use gannet_core::Timestamp;
use gannet_core::dropping::RETENTION_SECONDS;

use crate::model::{Event, Reach, Rules, Way, World};
use crate::state::{
    BOOT, HeldLock, Job, Locking, OwnLock, Removing, Repo, Stage, State, Task, WALL,
};

impl<R: Rules> World<R> {
    pub(crate) fn server_suffers(&self, state: &State, repo: usize, reach: &mut Reach<'_>) {
        let now = &state.repos[repo];
        let mut go = |what, change: &dyn Fn(&mut Repo)| {
            let mut next = state.clone();
            change(&mut next.repos[repo]);
            reach(Event::Server(repo, what), next);
        };
        let has_something =
            !(now.jobs.is_empty() && now.held.is_empty() && now.released.is_empty());
        if self.servers_crash && (has_something || now.written.is_some()) {
            go("crashes, and starts again", &|repo| {
                repo.jobs.retain(|job| job.is_asked());
                repo.held.clear();
                repo.released.clear();
                if !self.rules.retention_survives_a_crash() {
                    repo.written = None;
                }
            });
        }
        for (at, job) in now.jobs.iter().enumerate() {
            if job.asker.is_none() && job.is_asked() {
                go("never hears of a request", &|repo| {
                    repo.jobs.remove(at);
                });
            }
        }
        let elsewhere = state.repos.iter().enumerate().any(|(at, it)| at != repo && it.present);
        let locked = self.is_locked(state, repo);
        if self.puts && !now.present && elsewhere && locked != OwnLock::Exclusive {
            go("gets the content back", &|repo| repo.present = true);
        }
        if self.time_of_day_jumps && (now.written.is_some() || !now.released.is_empty()) {
            go("its time of day jumps ahead", &|repo| set_time_of_day(repo, 1000));
        }
        for (at, lock) in now.held.iter().enumerate() {
            if self.rules.has_lapsed(usize::from(lock.kept), lock.expires, BOOT) {
                let mut next = state.clone();
                let lock = next.repos[repo].held.remove(at);
                self.let_go(&mut next, repo, lock.retention);
                reach(Event::Server(repo, "ends a lock whose time is over"), next);
            }
        }
        if let Some(left) = state.steps_back.checked_sub(1) {
            let mut next = State { steps_back: left, ..state.clone() };
            self.set_back(&mut next, repo);
            reach(Event::Server(repo, "its time of day is set back"), next);
        }
    }

    pub(crate) fn set_back(&self, state: &mut State, repo: usize) {
        set_time_of_day(&mut state.repos[repo], -STEP_BACK_SECONDS);
        if self.rules.clock_only_goes_forward() {
            return;
        }
        let ahead = |time: &mut Timestamp| *time = time.plus(STEP_BACK_SECONDS.unsigned_abs());
        for job in &mut state.repos[repo].jobs {
            if let Task::Remove { deadline: Some(deadline), .. } = &mut job.task {
                ahead(deadline);
            }
        }
        for (client, plan) in state.clients.iter_mut().zip(&self.plans) {
            if let (Stage::Told(theirs), true) = (&mut client.stage, plan.target == repo) {
                ahead(theirs);
            }
        }
    }

    /// How the content is locked, by servers or by clients in their own repository.
    pub(crate) fn is_locked(&self, state: &State, repo: usize) -> OwnLock {
        let jobs = &state.repos[repo].jobs;
        let by_client = |how| {
            let mut both = state.clients.iter().zip(&self.plans);
            both.any(|(client, plan)| {
                let own = if how == OwnLock::Shared { plan.proof } else { plan.target };
                client.own_lock == how && own == repo
            })
        };
        if jobs.iter().any(|job| job.excludes()) || by_client(OwnLock::Exclusive) {
            return OwnLock::Exclusive;
        }
        let shared = !state.repos[repo].held.is_empty() || jobs.iter().any(|job| job.shares());
        if shared || by_client(OwnLock::Shared) { OwnLock::Shared } else { OwnLock::None }
    }

    /// The next step of a job.
    pub(crate) fn server_acts(&self, state: &State, at: usize, job: usize, reach: &mut Reach<'_>) {
        let repo = &state.repos[at];
        let Job { asker, task } = repo.jobs[job];
        let locked = self.is_locked(state, at);
        let goes_on = |task| {
            let mut next = state.clone();
            next.repos[at].jobs[job].task = task;
            next
        };
        let ends = |stage: Stage| {
            let mut next = state.clone();
            next.repos[at].jobs.remove(job);
            if let Some(asker) = asker {
                match stage {
                    Stage::Idle => next.forget(asker),
                    stage => next.clients[asker].stage = stage,
                }
            }
            next
        };
        let mut reach = |what, next| reach(Event::Server(at, what), next);
        match task {
            Task::Lock(Locking::Asked) => {
                if !repo.present || locked == OwnLock::Exclusive || repo.locks() >= self.locks_max {
                    let falls_back = self.falls_back_on_presence
                        && asker.is_some_and(|asker| self.plans[asker].way == Way::OwnFromFar);
                    let stage = if falls_back { Stage::Refused } else { Stage::Idle };
                    reach("refuses to lock", ends(stage));
                } else {
                    reach("locks the lock file", goes_on(Task::Lock(Locking::Shared)));
                }
            }
            Task::Lock(Locking::Shared) => {
                let retention = self.rules.raise(repo.written, self.rules.retain_until(WALL));
                let mut next = goes_on(Task::Lock(Locking::Retained(retention)));
                next.repos[at].written = Some(retention.until);
                reach("writes the retention", next);
            }
            Task::Lock(Locking::Retained(retention)) => {
                if !repo.present {
                    let mut next = ends(Stage::Idle);
                    self.let_go(&mut next, at, retention);
                    reach("sees that the content is gone", next);
                    return;
                }
                let expires = BOOT.plus(RETENTION_SECONDS.into());
                let lock = HeldLock { owner: asker, kept: false, expires, retention };
                let mut next = ends(Stage::Granted);
                next.repos[at].held.push(lock);
                reach("gives out the lock", next);
                if asker.is_none() {
                    reach("leaves the lock to its retention", ends(Stage::Idle));
                }
            }
            Task::Remove { deadline, step } => {
                self.removes(state, at, deadline, step, &ends, &goes_on, &mut reach);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one arm of a long match")]
    pub(crate) fn removes(
        &self,
        state: &State,
        at: usize,
        deadline: Option<Timestamp>,
        step: Removing,
        ends: &dyn Fn(Stage) -> State,
        goes_on: &dyn Fn(Task) -> State,
        reach: &mut dyn FnMut(&'static str, State),
    ) {
        let repo = &state.repos[at];
        let locked = self.is_locked(state, at);
        let then = |step| goes_on(Task::Remove { deadline, step });
        let late = deadline.is_some_and(|deadline| !self.rules.in_time(BOOT, deadline));
        let retained = self.rules.is_retained(repo.written, WALL);
        match step {
            Removing::Asked if repo.jobs.iter().any(|job| job.excludes()) => {} // not its turn
            Removing::Asked if !repo.present => {
                reach("has nothing to remove", ends(Stage::Unlocking))
            }
            Removing::Asked => match locked {
                _ if retained => reach("will not remove: it is retained", ends(Stage::Unlocking)),
                OwnLock::Exclusive => reach("will not remove: busy", ends(Stage::Unlocking)),
                OwnLock::Shared if self.rules.removal_excludes_locks() => {
                    reach("will not remove: it is locked", ends(Stage::Unlocking));
                }
                _ => reach("locks for removal", then(Removing::Exclusive)),
            },
            Removing::Exclusive if retained => {
                reach("will not remove: it is retained by now", ends(Stage::Unlocking));
            }
            Removing::Exclusive if late => {
                let mut next = ends(Stage::Unlocking);
                next.repos[at].written = None;
                reach("will not remove: too late", next);
            }
            Removing::Exclusive => {
                let mut next = then(Removing::Permitted);
                next.repos[at].written = None;
                reach("permits the removal", next);
            }
            Removing::Permitted => {
                let mut next = ends(Stage::Unlocking);
                next.repos[at].present = false;
                reach("removes the content", next);
            }
        }
    }
}

impl Job {
    /// Whether nothing was done yet.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self.task, Task::Lock(Locking::Asked) | Task::Remove { step: Removing::Asked, .. })
    }

    pub(crate) fn shares(&self) -> bool {
        matches!(self.task, Task::Lock(Locking::Shared | Locking::Retained(_)))
    }

    pub(crate) fn excludes(&self) -> bool {
        matches!(self.task, Task::Remove { .. }) && !self.is_asked()
    }
}

/// Sets a server's time of day ahead, or back.
pub(crate) fn set_time_of_day(repo: &mut Repo, seconds: i64) {
    // The clock stands still here, so what it is compared with moves the other way.
    repo.times().for_each(|time| *time = time.plus(-seconds));
}

const STEP_BACK_SECONDS: i64 = 600;
