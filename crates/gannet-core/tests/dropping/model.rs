//! Everything that can happen when clients drop one content from repositories that Gannet serves,
//! each counting on the copy in another one.

use std::fmt;

use gannet_core::dropping::{self, Released, Retention, Settled};
use gannet_core::time::far_deadline;
use gannet_core::{Timestamp, WallTime};

use crate::search::Machine;
use crate::server::set_time_of_day;
use crate::state::{Client, OURS, OwnLock, Repo, Stage, State, Task};

/// The rules, as Gannet has them. A test that wants to see one broken overrides it.
pub(crate) trait Rules {
    fn retain_until(&self, now: WallTime) -> WallTime {
        dropping::retain_until(now)
    }
    fn is_retained(&self, until: Option<WallTime>, now: WallTime) -> bool {
        dropping::is_retained(until, now)
    }
    fn raise(&self, written: Option<WallTime>, until: WallTime) -> Retention {
        Retention::raise(written, until)
    }
    fn settle(&self, written: WallTime, released: &[Retention], now: WallTime) -> Settled {
        released.iter().copied().collect::<Released>().settle(written, now)
    }
    fn in_time(&self, now: Timestamp, deadline: Timestamp) -> bool {
        dropping::in_time(now, deadline)
    }
    fn has_lapsed(&self, keepers: usize, expires: Timestamp, now: Timestamp) -> bool {
        dropping::has_lapsed(keepers, expires, now)
    }
    fn far_deadline(&self, theirs: Timestamp, expires: Timestamp) -> Option<Timestamp> {
        far_deadline(theirs, OURS, expires)
    }
    /// Whether a retention is on the disk before the lock is given out.
    fn retention_survives_a_crash(&self) -> bool {
        true
    }
    /// Whether a removal needs the lock file for itself.
    fn removal_excludes_locks(&self) -> bool {
        true
    }
    /// Whether a lock stays when the connection that kept it is lost.
    fn lost_connection_unlocks(&self) -> bool {
        false
    }
    /// Whether content is vouched for, of which only its presence is asked.
    fn vouches_for(&self, present: bool, being_removed: bool) -> bool {
        present && !being_removed
    }
    /// Whether deadlines are judged by a clock that nobody can set.
    fn clock_only_goes_forward(&self) -> bool {
        true
    }
}

/// What a client does, again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) way: Way,
    /// Where the content shall go.
    pub(crate) target: usize,
    /// The copy that is counted on.
    pub(crate) proof: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Locks one remote copy and removes another with a deadline (`git annex drop --from`).
    FarFromFar,
    /// Locks a remote copy and removes its own, which no server is asked for (`git annex drop`).
    OwnFromFar,
    /// Locks its own copy and removes a remote one, without a deadline (`drop --from`).
    FarFromOwn,
    /// Locks a copy and lets it go, e.g. because it thought better of it.
    LockOnly,
}

/// What can happen in the world, and the rules by which it is met.
pub(crate) struct World<R> {
    pub(crate) rules: R,
    pub(crate) repos: usize,
    pub(crate) plans: Vec<Plan>,
    /// How far time goes on at once.
    pub(crate) tick_seconds: u32,
    /// How many times something is slow or wrong by one tick: a client's clock, a server's time of
    /// day, a lock on its way to a client that counts from then.
    pub(crate) slack: u8,
    /// How many times a server's time of day is set back by ten minutes.
    pub(crate) steps_back: u8,
    pub(crate) servers_crash: bool,
    /// A server's time of day may jump ahead, as far as one likes.
    pub(crate) time_of_day_jumps: bool,
    /// A request may arrive long after its connection was lost.
    pub(crate) requests_outlive_connections: bool,
    /// A client that does not know what became of a removal unlocks, as git-annex does. Otherwise it
    /// leaves the lock to its retention.
    pub(crate) unlocks_in_doubt: bool,
    /// A client counts from the beginning of `keeplocked`, as git-annex does. Otherwise from before
    /// it asked for the lock.
    pub(crate) counts_from_keeping: bool,
    /// A client that removes its own copy looks for retentions only before it locks the copy, as
    /// git-annex does. Otherwise it looks again, as Gannet does.
    pub(crate) looks_only_before: bool,
    /// A client that removes its own copy and is refused a lock is content with the presence of the
    /// other one, as git-annex is. Otherwise it gives up.
    pub(crate) falls_back_on_presence: bool,
    /// How many locks a server gives out at a time.
    pub(crate) locks_max: usize,
    /// Content that is gone comes back.
    pub(crate) puts: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Client(usize, &'static str),
    Server(usize, &'static str),
    All(&'static str),
}

impl<R: Rules> Machine for World<R> {
    type State = State;
    type Event = Event;

    fn start(&self) -> State {
        let repo = Repo {
            present: true,
            written: None,
            jobs: Vec::new(),
            held: Vec::new(),
            released: Vec::new(),
        };
        let client = Client { stage: Stage::Idle, expires: OURS, own_lock: OwnLock::None };
        State {
            repos: vec![repo; self.repos],
            clients: vec![client; self.plans.len()],
            slack: self.slack,
            steps_back: self.steps_back,
        }
    }

    fn is_bad(&self, state: &State) -> bool {
        state.copies() == 0
    }

    fn next(&self, state: &State, reach: &mut dyn FnMut(Event, State)) {
        let mut reach = |event, next: State| reach(event, next.normal());
        self.time_goes_on(state, &mut reach);
        for client in 0..self.plans.len() {
            self.client_acts(state, client, &mut reach);
            self.client_suffers(state, client, &mut reach);
        }
        for repo in 0..self.repos {
            self.server_suffers(state, repo, &mut reach);
            for job in 0..state.repos[repo].jobs.len() {
                self.server_acts(state, repo, job, &mut reach);
            }
        }
    }
}

pub(crate) type Reach<'a> = dyn FnMut(Event, State) + 'a;

impl<R: Rules> World<R> {
    fn time_goes_on(&self, state: &State, reach: &mut Reach<'_>) {
        // Who counts from when the lock came, not from when it was asked for, must get it soon.
        let granted = |client: &Client| client.stage == Stage::Granted;
        let granting = |repo: &Repo| repo.jobs.iter().any(|job| job.shares());
        let hurry = self.counts_from_keeping
            && (state.clients.iter().any(granted) || state.repos.iter().any(granting));
        if !hurry {
            reach(Event::All("time goes on"), self.later(state.clone(), None));
        }
        if state.slack == 0 {
            return;
        }
        let slack = state.slack - 1;
        if hurry {
            let next = State { slack, ..state.clone() };
            reach(Event::All("time goes on, unluckily"), self.later(next, None));
        } else {
            for slow in 0..self.plans.len() {
                let next = State { slack, ..state.clone() };
                let event = Event::Client(slow, "its clock stands still while time goes on");
                reach(event, self.later(next, Some(slow)));
            }
        }
        for repo in 0..self.repos {
            let mut next = State { slack, ..state.clone() };
            set_time_of_day(&mut next.repos[repo], i64::from(self.tick_seconds));
            reach(Event::Server(repo, "its time of day is set a little ahead"), next);
        }
    }

    /// The state one tick later, except for the clock of one client.
    fn later(&self, mut state: State, slow: Option<usize>) -> State {
        let tick = self.tick_seconds;
        let back = |time: &mut Timestamp| time.seconds -= u64::from(tick);
        for repo in &mut state.repos {
            set_time_of_day(repo, i64::from(tick));
            repo.held.iter_mut().for_each(|lock| back(&mut lock.expires));
            for job in &mut repo.jobs {
                if let Task::Remove { deadline: Some(deadline), .. } = &mut job.task {
                    back(deadline);
                }
            }
        }
        for (number, client) in state.clients.iter_mut().enumerate() {
            if let Stage::Told(theirs) = &mut client.stage {
                back(theirs);
            }
            if slow != Some(number) {
                back(&mut client.expires);
            }
        }
        state
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(client, what) => write!(f, "client {}: {what}", client + 1),
            Self::Server(repo, what) => {
                write!(f, "server {}: {what}", ["A", "B", "C"].get(*repo).unwrap_or(&"?"))
            }
            Self::All(what) => f.write_str(what),
        }
    }
}
