//! What clients do, and what can happen to them.

use gannet_core::Timestamp;
use gannet_core::dropping::{LOCK_SECONDS, Released, Retention, Settled};

use crate::model::{Event, Plan, Reach, Rules, Way, World};
use crate::state::{
    BOOT, Client, HeldLock, Job, Locking, OURS, OwnLock, Removing, Repo, Stage, State, Task, WALL,
};

impl<R: Rules> World<R> {
    pub(crate) fn client_acts(&self, state: &State, client: usize, reach: &mut Reach<'_>) {
        let Plan { way, target, proof } = self.plans[client];
        let Client { stage, expires, own_lock } = state.clients[client];
        let mut go = |what, stage: Stage, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            next.clients[client].stage = stage;
            change(&mut next);
            reach(Event::Client(client, what), next);
        };
        let ask_for_lock = |next: &mut State| {
            next.clients[client].expires = OURS.plus(LOCK_SECONDS);
            next.repos[proof].ask(client, Task::Lock(Locking::Asked));
        };
        let may_lock_own =
            state.repos[proof].present && self.is_locked(state, proof) != OwnLock::Exclusive;
        match stage {
            Stage::Idle => match way {
                Way::FarFromFar | Way::LockOnly => {
                    go("asks for a lock", Stage::AskedForLock, &ask_for_lock);
                }
                Way::OwnFromFar => {
                    let here = &state.repos[target];
                    if here.present && !self.rules.is_retained(here.written, WALL) {
                        go("sees that nobody counts on its copy", Stage::Looked, &|_| {});
                    }
                }
                Way::FarFromOwn if may_lock_own && state.repos[target].may_ask() => {
                    go("locks its copy, asks to remove the other", Stage::AskedToRemove, &|next| {
                        next.clients[client].own_lock = OwnLock::Shared;
                        next.repos[target].ask(client, removal(None));
                    });
                }
                _ => {}
            },
            Stage::Looked => {
                let retained = self.rules.is_retained(state.repos[target].written, WALL);
                let free = self.is_locked(state, target) == OwnLock::None;
                if retained && !self.looks_only_before {
                    go("sees that somebody counts on its copy", Stage::Idle, &|_| {});
                } else if free {
                    go(
                        "locks its copy for removal, asks for a lock",
                        Stage::AskedForLock,
                        &|next| {
                            next.clients[client].own_lock = OwnLock::Exclusive;
                            next.repos[target].written = None;
                            ask_for_lock(next);
                        },
                    );
                }
            }
            Stage::AskedForLock | Stage::AskedToRemove => {}
            Stage::Refused => {
                let removing = self.is_locked(state, proof) == OwnLock::Exclusive;
                match self.rules.vouches_for(state.repos[proof].present, removing) {
                    true => go("is told that the other copy is there", Stage::Saw, &|_| {}),
                    false => go("is not told that there is another copy", Stage::Idle, &|next| {
                        next.forget(client);
                    }),
                }
            }
            Stage::Saw => go("removes its copy", Stage::Idle, &|next| {
                next.repos[target].present = false;
                next.forget(client);
            }),
            Stage::Granted => go("keeps the lock", Stage::Kept, &|next| {
                if let Some(lock) = next.repos[proof].lock_of(client) {
                    lock.kept = true;
                }
                if self.counts_from_keeping {
                    next.clients[client].expires = OURS.plus(LOCK_SECONDS);
                }
            }),
            Stage::Kept => {
                go("thinks better of it", Stage::Unlocking, &|_| {});
                if way == Way::FarFromFar {
                    go("asks what time it is", Stage::Told(BOOT), &|_| {});
                }
                if own_lock == OwnLock::Exclusive && OURS < expires {
                    go("removes its copy", Stage::Unlocking, &|next| {
                        next.repos[target].present = false;
                        next.clients[client].own_lock = OwnLock::None;
                    });
                }
            }
            Stage::Told(theirs) => {
                let deadline = self.rules.far_deadline(theirs, expires);
                if deadline.is_none() {
                    go("is too late", Stage::Unlocking, &|_| {});
                } else if state.repos[target].may_ask() {
                    go("asks to remove the other copy", Stage::AskedToRemove, &|next| {
                        next.repos[target].ask(client, removal(deadline));
                    });
                }
            }
            Stage::Unlocking => go("unlocks", Stage::Idle, &|next| {
                let kept = next.repos[proof].lock_of(client).is_some_and(|lock| lock.kept);
                if kept {
                    self.release_lock_of(next, proof, client);
                }
                next.forget(client);
            }),
        }
    }

    /// Crashes and lost connections.
    pub(crate) fn client_suffers(&self, state: &State, client: usize, reach: &mut Reach<'_>) {
        let Plan { target, proof, .. } = self.plans[client];
        let stage = state.clients[client].stage;
        if stage == Stage::Idle {
            return;
        }
        let mut next = state.clone();
        self.lose_keeper(&mut next, proof, client);
        self.abandon(&mut next.repos[target], client);
        next.forget(client);
        reach(Event::Client(client, "crashes"), next);

        let kept = state.repos[proof].held.iter().any(|it| it.owner == Some(client) && it.kept);
        if kept {
            let mut next = state.clone();
            self.lose_keeper(&mut next, proof, client);
            reach(Event::Client(client, "loses the connection that keeps the lock"), next);
        }
        if stage == Stage::AskedForLock {
            let mut next = state.clone();
            self.abandon(&mut next.repos[proof], client);
            next.forget(client);
            reach(Event::Client(client, "loses the connection, and will not know of a lock"), next);
        }
        if stage == Stage::AskedToRemove {
            let mut next = state.clone();
            self.abandon(&mut next.repos[target], client);
            if self.unlocks_in_doubt {
                next.clients[client].stage = Stage::Unlocking;
            } else {
                self.lose_keeper(&mut next, proof, client);
                next.forget(client);
            }
            reach(Event::Client(client, "loses the connection, and cannot know what became"), next);
        }
    }

    pub(crate) fn lose_keeper(&self, state: &mut State, proof: usize, client: usize) {
        let Some(lock) = state.repos[proof].lock_of(client) else { return };
        if lock.kept && self.rules.lost_connection_unlocks() {
            self.release_lock_of(state, proof, client);
        } else {
            lock.kept = false;
        }
    }

    pub(crate) fn release_lock_of(&self, state: &mut State, at: usize, client: usize) {
        let held = &mut state.repos[at].held;
        if let Some(lock) = held.iter().position(|lock| lock.owner == Some(client)) {
            let lock = held.remove(lock);
            self.let_go(state, at, lock.retention);
        }
    }

    /// Whoever lets go as the last one takes back what was retained.
    pub(crate) fn let_go(&self, state: &mut State, at: usize, retention: Retention) {
        let last = self.is_locked(state, at) == OwnLock::None;
        let repo = &mut state.repos[at];
        let mut released: Released = repo.released.iter().copied().collect();
        released.add(retention);
        repo.released = released.iter().collect();
        if !last {
            return;
        }
        let released = std::mem::take(&mut repo.released);
        if let Some(written) = repo.written {
            match self.rules.settle(written, &released, WALL) {
                Settled::Stays => {}
                Settled::Until(until) => repo.written = Some(until),
                Settled::Over => repo.written = None,
            }
        }
    }

    /// A client whose connection is gone waits no more. A server that notices does not begin.
    pub(crate) fn abandon(&self, repo: &mut Repo, client: usize) {
        if !self.requests_outlive_connections {
            repo.jobs.retain(|job| job.asker != Some(client) || !job.is_asked());
        }
    }
}

impl State {
    /// A client goes back to the beginning; whoever works for it does so for nobody.
    pub(crate) fn forget(&mut self, client: usize) {
        self.clients[client] =
            Client { stage: Stage::Idle, expires: OURS, own_lock: OwnLock::None };
        for repo in &mut self.repos {
            // A request for a lock that nobody waits for is no request; one to remove may still arrive.
            let lock = Job { asker: Some(client), task: Task::Lock(Locking::Asked) };
            repo.jobs.retain(|job| *job != lock);
            for job in repo.jobs.iter_mut().filter(|job| job.asker == Some(client)) {
                job.asker = None;
            }
            for lock in repo.held.iter_mut().filter(|lock| lock.owner == Some(client)) {
                lock.owner = None;
            }
        }
    }
}

impl Repo {
    /// Whether there is room for one more request to remove, besides those that nobody waits for.
    pub(crate) fn may_ask(&self) -> bool {
        let removals = |job: &&Job| matches!(job.task, Task::Remove { .. });
        self.jobs.iter().filter(removals).count() < REMOVALS_MAX
    }

    pub(crate) fn locks(&self) -> usize {
        self.held.len() + self.jobs.iter().filter(|job| job.shares()).count()
    }

    pub(crate) fn ask(&mut self, client: usize, task: Task) {
        self.jobs.push(Job { asker: Some(client), task });
    }

    pub(crate) fn lock_of(&mut self, client: usize) -> Option<&mut HeldLock> {
        self.held.iter_mut().find(|lock| lock.owner == Some(client))
    }
}

fn removal(deadline: Option<Timestamp>) -> Task {
    Task::Remove { deadline, step: Removing::Asked }
}

/// Requests to remove at one server.
const REMOVALS_MAX: usize = 1;
