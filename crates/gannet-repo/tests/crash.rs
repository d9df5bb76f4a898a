//! Stops a process after every step on the disk, and looks at what it left.
//!
//! Each test runs an operation once to learn which steps it passes. Then, for every passage, it
//! runs the operation anew in a process that is killed right there; opens the repository again as
//! a server that starts after the crash, checks that nothing is half visible, lost, locked or
//! counted on wrongly, does the operation to its end, and checks that nothing lies about.
//!
//! A killed process loses nothing that the system was told to write. That syncing comes before
//! renaming is not shown here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says that it failed by panicking")]

mod crash {
    pub(crate) mod examine;
    pub(crate) mod operation;
    pub(crate) mod unlocked;
}

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crash::examine::{annex_fsck, examine, settle};
use crash::operation::Operation;
use crash::unlocked;
use gannet_testkit::ScratchDir;

macro_rules! operations {
    ($($test:ident = $operation:ident)+) => {
        $(
            #[test]
            fn $test() {
                Operation::$operation.stop_everywhere(stringify!($test));
            }
        )+
        const OPERATIONS: &[(&str, Operation)] = &[$((stringify!($test), Operation::$operation)),+];
    };
}

operations! {
    create_bare = CreateBare
    create_with_a_work_tree = CreateWithWorkTree
    put = Put
    put_in_a_work_tree = PutInWorkTree
    put_the_rest = PutTheRest
    put_that_breaks = PutThatBreaks
    put_unverifiable_that_breaks = PutUnverifiableThatBreaks
    put_over_leftovers = PutOverLeftovers
    remove = Remove
    remove_in_a_work_tree = RemoveInWorkTree
    remove_what_was_retained = RemoveRetained
    remove_what_is_its_own_lock = RemoveVersion9
    put_what_a_file_shows = PutUnlocked
    put_what_a_file_shares = PutThin
    remove_what_a_file_shows = RemoveUnlocked
    remove_what_a_file_shares = RemoveThin
    lock_and_vanish = LockAndVanish
    lock_and_release = LockAndRelease
    release_after_somebody_vanished = ReleaseAfterVanished
    open_after_a_crash = OpenAfterCrash
    mend_what_is_wrong = Mend
    note_what_special_remotes_need = Note
}

#[test]
fn every_step_is_passed_by_some_operation() {
    let mut passed = BTreeSet::new();
    for (test, operation) in OPERATIONS {
        let template = ScratchDir::in_memory();
        child(test, template.path(), &[(ROLE, PREPARE)]);
        passed.extend(operation.steps(test, template.path()));
    }
    let all: BTreeSet<String> =
        gannet_repo::CRASH_POINTS.iter().map(|&step| step.to_owned()).collect();
    let unproven: Vec<_> = all.difference(&passed).collect();
    assert!(unproven.is_empty(), "no operation is stopped after {unproven:?}");
}

impl Operation {
    fn stop_everywhere(self, test: &str) {
        if let Ok(dir) = std::env::var(CHILD) {
            let dir = Path::new(&dir);
            return match std::env::var(ROLE) {
                Ok(role) if role == PREPARE => self.prepare(dir),
                Ok(stop) => self.look(dir, &stop),
                Err(_) => self.perform(dir),
            };
        }
        let template = ScratchDir::in_memory();
        child(test, template.path(), &[(ROLE, PREPARE)]);
        let steps = self.steps(test, template.path());
        assert!(!steps.is_empty());
        let first = unlocked::first_step(self, &steps);
        let mut counts = HashMap::new();
        let stops = steps.into_iter().map(|step| {
            let count = counts.entry(step.clone()).or_insert(0);
            *count += 1;
            format!("{step}:{count}")
        });
        let stops: Vec<_> = stops.enumerate().skip(first).collect();
        let (next, bad) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            // Mostly they wait for other processes.
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((nth, stop)) = stops.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let stopped = || self.stop_at(test, template.path(), stop, *nth);
                        if std::panic::catch_unwind(stopped).is_err() {
                            bad.lock().unwrap().push(stop);
                        }
                    }
                });
            }
        });
        let bad = bad.into_inner().unwrap();
        assert!(bad.is_empty(), "{test} must not be stopped after {bad:?}");
    }

    fn stop_at(self, test: &str, template: &Path, stop: &str, nth: usize) {
        let dir = copy(template);
        let list = dir.path().join("steps");
        let variables = [("GANNET_CRASH_AT", stop), ("GANNET_CRASH_LIST", list.to_str().unwrap())];
        if child(test, dir.path(), &variables).success() {
            // On a slow disk, what is gathered into one commit is not always the same.
            let (step, count) = stop.split_once(':').unwrap();
            let steps = std::fs::read_to_string(list).unwrap();
            let passed = steps.lines().filter(|passed| *passed == step).count();
            assert!(passed < count.parse().unwrap(), "{test} ran past {stop}");
            return;
        }
        let status = child(test, dir.path(), &[(ROLE, stop)]);
        assert!(status.success(), "{test}, stopped after {stop}");
        // The real git-annex takes its time, so it looks at some only. Content without a copy is
        // wrong for it.
        if nth % ORACLE_SAMPLE == ORACLE_SAMPLE / 2 && !self.leaves_too_few_copies() {
            annex_fsck(dir.path(), stop);
        }
        if self.has_unlocked_file() {
            unlocked::expect_clean(dir.path(), stop);
            let shared = self == Self::PutThin;
            assert_eq!(unlocked::is_shared(dir.path()), shared, "{stop}: it takes space");
        }
    }

    fn look(self, dir: &Path, stop: &str) {
        examine(self, dir, stop);
        settle(self, dir, stop);
    }

    /// The steps that are passed when nobody interferes.
    fn steps(self, test: &str, template: &Path) -> Vec<String> {
        let dir = copy(template);
        let list = dir.path().join("steps");
        let status = child(test, dir.path(), &[("GANNET_CRASH_LIST", list.to_str().unwrap())]);
        assert!(status.success(), "{test} fails by itself");
        let text = std::fs::read_to_string(list).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// Does a part of a test in a process of its own. None is done in the one that starts them: while
/// a process starts, it has the locks of the one that starts it for a moment.
fn child(test: &str, dir: &Path, variables: &[(&str, &str)]) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    child.env(CHILD, dir).envs(variables.iter().copied());
    let output = child.output().unwrap();
    if output.status.code().is_some_and(|code| code != 0) {
        panic!("{test} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status
}

fn copy(template: &Path) -> ScratchDir {
    let dir = ScratchDir::in_memory();
    let copied = Command::new("cp").arg("-a").arg(template.join(".")).arg(dir.path()).status();
    assert!(copied.unwrap().success());
    dir
}

/// Tells a process that it does a part, and where the repository is.
const CHILD: &str = "GANNET_CRASH_CHILD";
/// Tells it that it is to prepare, or to look after which crash, and not to do the operation.
const ROLE: &str = "GANNET_CRASH_ROLE";
const PREPARE: &str = "prepare";
const WORKERS: usize = 4;
/// One in so many crashes is shown to the real git-annex.
const ORACLE_SAMPLE: usize = 16;
