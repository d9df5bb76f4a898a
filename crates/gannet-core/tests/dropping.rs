//! Explores everything that can happen while clients drop one content from repositories that count
//! on each other, and shows that the last copy stays.
//!
//! The rules are those by which Gannet decides ([`gannet_core::dropping`]), not copies of them. The
//! search visits every state that can be reached: every order of the steps of servers and clients,
//! crashes of either after each step, connections lost at any point, requests that arrive late, any
//! length of time between any two steps. What it takes for granted: locking a lock file, renaming and
//! unlinking happen at once, and a lock that two processes may not share is never shared.
//!
//! `GANNET_LONG=1` explores a world with a finer clock, too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says that it failed by panicking")]

#[path = "dropping/client.rs"]
mod client;
#[path = "dropping/model.rs"]
mod model;
#[path = "dropping/search.rs"]
mod search;
#[path = "dropping/server.rs"]
mod server;
#[path = "dropping/state.rs"]
mod state;

use gannet_core::dropping::{LOCK_SECONDS, Retention, Settled};
use gannet_core::{Timestamp, WallTime};
use model::{Plan, Rules, Way, World};
use search::search;

struct AsTheyAre;

impl Rules for AsTheyAre {}

#[test]
fn two_clients_never_remove_the_last_copy() {
    stays(world(AsTheyAre, &EACH_OTHER));
}

#[test]
fn two_clones_that_drop_their_own_copies_never_remove_the_last_one() {
    let own = EACH_OTHER.map(|plan| Plan { way: Way::OwnFromFar, ..plan });
    stays(as_git_annex(world(AsTheyAre, &own)));
    stays(as_git_annex(world(AsTheyAre, &[own[0], EACH_OTHER[1]])));
}

#[test]
fn a_client_that_counts_on_its_own_copy_never_removes_the_last_one() {
    let far = EACH_OTHER.map(|plan| Plan { way: Way::FarFromOwn, ..plan });
    stays(as_git_annex(world(AsTheyAre, &far)));
}

#[test]
fn the_time_of_day_may_jump_while_servers_run() {
    let jumps = World { time_of_day_jumps: true, servers_crash: false, ..far(AsTheyAre) };
    stays(World { steps_back: 1, ..jumps });
}

#[test]
fn slow_clocks_and_finer_ones_change_nothing() {
    let own = EACH_OTHER.map(|plan| Plan { way: Way::OwnFromFar, ..plan });
    stays(as_git_annex(World { tick_seconds: 60, slack: 1, ..world(AsTheyAre, &own) }));
    if std::env::var_os("GANNET_LONG").is_none() {
        return;
    }
    stays(World { tick_seconds: 300, ..world(AsTheyAre, &EACH_OTHER) });
}

/// Two clones that drop their own copies at once refuse each other a lock. Then each asks whether the
/// other's content is there: git-annex's own server says so, and both copies go.
#[test]
fn caught_when_presence_is_told_of_what_is_being_removed() {
    struct Blind;
    impl Rules for Blind {
        fn vouches_for(&self, present: bool, _being_removed: bool) -> bool {
            present
        }
    }
    let own = EACH_OTHER.map(|plan| Plan { way: Way::OwnFromFar, ..plan });
    breaks(as_git_annex(world(Blind, &own)));
}

/// A third party locks and lets go, while one of the two counts on the same copy.
#[test]
fn caught_when_letting_go_forgets_those_who_vanished() {
    struct Selfish;
    impl Rules for Selfish {
        fn settle(&self, _: WallTime, _: &[Retention], _: WallTime) -> Settled {
            Settled::Over
        }
    }
    let visitor = Plan { way: Way::LockOnly, target: 0, proof: 1 };
    breaks(World { puts: false, ..world(Selfish, &[EACH_OTHER[0], EACH_OTHER[1], visitor]) });
}

/// What git-annex's own way of doing it cannot stand; no server can mend that.
#[test]
fn the_search_finds_what_the_protocol_itself_leaves_open() {
    // A client does not know what became of its removal, and unlocks nevertheless.
    breaks(World { unlocks_in_doubt: true, ..far(AsTheyAre) });
    // A removal without a deadline arrives when its client is long gone.
    let own = EACH_OTHER.map(|plan| Plan { way: Way::FarFromOwn, ..plan });
    breaks(world(AsTheyAre, &own));
    // A server crashes, and then its time of day jumps ahead of what was retained.
    breaks(World { time_of_day_jumps: true, ..far(AsTheyAre) });
    // A client looks for retentions only before it locks its own copy, and a server crashes then.
    let own = Plan { way: Way::OwnFromFar, ..EACH_OTHER[0] };
    breaks(World { looks_only_before: true, ..world(AsTheyAre, &[own, EACH_OTHER[1]]) });
}

macro_rules! broken {
    ($($test:ident: $name:ident, $world:expr => { $($rule:item)+ })+) => { $(
        #[test]
        fn $test() {
            struct $name;
            impl Rules for $name { $($rule)+ }
            let worlds: fn(World<$name>) -> World<$name> = $world;
            breaks(worlds(far($name)));
        }
    )+ };
}

broken! {
    caught_when_a_crash_forgets_the_retention: Forgetful, |world| world => {
        fn retention_survives_a_crash(&self) -> bool { false }
    }
    caught_when_the_retention_is_shorter_than_the_lock: Short, |world| World { tick_seconds: 300, ..world } => {
        fn retain_until(&self, now: WallTime) -> WallTime { now.plus(299) }
    }
    caught_when_retentions_are_ignored: Deaf, |world| world => {
        fn is_retained(&self, _until: Option<WallTime>, _now: WallTime) -> bool { false }
    }
    caught_when_removal_ignores_locks: Reckless, |world| world => {
        fn removal_excludes_locks(&self) -> bool { false }
    }
    caught_when_the_deadline_is_ignored: Late, |world| world => {
        fn in_time(&self, _now: Timestamp, _deadline: Timestamp) -> bool { true }
    }
    caught_when_the_clock_can_be_set_back: Swinging, |world| World { steps_back: 1, ..world } => {
        fn clock_only_goes_forward(&self) -> bool { false }
    }
    caught_when_a_lost_connection_unlocks: Fickle, |world| world => {
        fn lost_connection_unlocks(&self) -> bool { true }
    }
    caught_when_kept_locks_lapse: Lapsing, |world| world => {
        fn has_lapsed(&self, _keepers: usize, _expires: Timestamp, _now: Timestamp) -> bool { true }
    }
    caught_when_the_client_forgets_what_time_has_passed: Timeless, |world| world => {
        fn far_deadline(&self, theirs: Timestamp, _expires: Timestamp) -> Option<Timestamp> {
            Some(theirs.plus(LOCK_SECONDS))
        }
    }
}

/// Clients lose connections as TCP does: what arrives after the loss is not begun. They behave as
/// git-annex does.
fn as_git_annex<R>(world: World<R>) -> World<R> {
    World {
        requests_outlive_connections: false,
        unlocks_in_doubt: true,
        counts_from_keeping: true,
        falls_back_on_presence: true,
        ..world
    }
}

fn far<R>(rules: R) -> World<R> {
    World { puts: false, ..world(rules, &EACH_OTHER) }
}

fn world<R>(rules: R, plans: &[Plan]) -> World<R> {
    World {
        rules,
        repos: plans.iter().map(|plan| plan.target.max(plan.proof) + 1).max().unwrap_or(0),
        plans: plans.to_vec(),
        tick_seconds: 600,
        slack: 0,
        steps_back: 0,
        servers_crash: true,
        time_of_day_jumps: false,
        requests_outlive_connections: true,
        unlocks_in_doubt: false,
        counts_from_keeping: false,
        looks_only_before: false,
        falls_back_on_presence: false,
        locks_max: 1,
        puts: true,
    }
}

#[track_caller]
fn stays<R: Rules>(world: World<R>) {
    let found = search(&world);
    eprintln!("{found}");
    assert!(found.bad.is_none(), "the last copy was removed: {found}");
    assert!(found.states > 20, "hardly anything can happen: {found}");
}

#[track_caller]
fn breaks<R: Rules>(world: World<R>) {
    let found = search(&world);
    eprintln!("{found}");
    assert!(found.bad.is_some(), "nothing was found: {found}");
}

const EACH_OTHER: [Plan; 2] = [
    Plan { way: Way::FarFromFar, target: 0, proof: 1 },
    Plan { way: Way::FarFromFar, target: 1, proof: 0 },
];
