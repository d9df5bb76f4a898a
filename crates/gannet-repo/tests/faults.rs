//! Lets the disk refuse every step, and everything that is read, and looks at what comes of it.
//!
//! Each test does an operation once to learn what it attempts. Then, for every attempt, it does
//! the operation anew while just that fails; and once more while all fails from there on. Writing
//! fails in the middle as well. Whatever is answered: nothing is half visible, nothing that was
//! acknowledged is lost, the next one who asks succeeds, and nothing lies about.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says that it failed by panicking")]

mod crash {
    pub(crate) mod examine;
    pub(crate) mod operation;
    pub(crate) mod unlocked;
}

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crash::examine::{annex_fsck, examine, look_at_content, look_for_litter, settle, settle_open};
use crash::operation::{Operation, anybody, no_file, options, runtime, try_to_mend};
use crash::unlocked;
use gannet_core::{Annex, Error};
use gannet_repo::faults::{self, Fault};
use gannet_repo::{OpenError, Outcome, Repo, create};
use gannet_testkit::{Sample, ScratchDir, TestClock};

macro_rules! operations {
    ($($test:ident = $operation:ident)+) => {
        $(
            #[test]
            fn $test() {
                Operation::$operation.fail_everywhere();
            }
        )+
        const OPERATIONS: &[Operation] = &[$(Operation::$operation),+];
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
fn every_step_is_attempted_by_some_operation() {
    let _alone = alone();
    let mut attempted = BTreeSet::new();
    for operation in OPERATIONS {
        let template = ScratchDir::in_memory();
        operation.prepare(template.path());
        attempted.extend(operation.attempts(template.path()));
    }
    let all = gannet_repo::CRASH_POINTS.iter().map(|&step| step.to_owned());
    let unproven: Vec<_> = all.filter(|step| !attempted.contains(step)).collect();
    assert!(unproven.is_empty(), "nothing shows what happens when these fail: {unproven:?}");
}

impl Operation {
    fn fail_everywhere(self) {
        let _alone = alone();
        let template = ScratchDir::in_memory();
        self.prepare(template.path());
        let (mut counts, mut bad) = (HashMap::new(), Vec::new());
        let attempts = self.attempts(template.path());
        let first = unlocked::first_step(self, &attempts);
        for (nth, at) in attempts.into_iter().enumerate() {
            let count = counts.entry(at.clone()).or_insert(0);
            *count += 1;
            if nth < first {
                continue;
            }
            for lasting in [false, true] {
                // It takes longer, and is mostly as without the file.
                let longer = self.has_unlocked_file() || self == Self::Mend;
                if longer && lasting != nth.is_multiple_of(2) {
                    continue;
                }
                let errno = if nth % 2 == 0 { EIO } else { ENOSPC };
                let fault = Fault { at: at.clone(), nth: *count, errno, lasting };
                let failing = AssertUnwindSafe(|| self.fail(template.path(), &fault, nth));
                if catch_unwind(failing).is_err() {
                    bad.push(fault);
                }
                faults::set(None);
            }
        }
        assert!(bad.is_empty(), "{self:?} does not bear {bad:#?}");
    }

    /// What it attempts on a disk that is sound.
    fn attempts(self, template: &Path) -> Vec<String> {
        let dir = copy(template);
        faults::set(None);
        self.perform(dir.path());
        let attempted = faults::set(None);
        assert!(!attempted.is_empty());
        attempted
    }

    fn fail(self, template: &Path, fault: &Fault, nth: usize) {
        let dir = copy(template);
        let dir = dir.path();
        let context = &format!("{fault:?}");
        if self.creates() {
            faults::set(Some(fault.clone()));
            let created = create(&dir.join("repo"), &options(self), &*self.clock());
            faults::set(None);
            if let Err(OpenError::Failed(error)) = created {
                assert_clear(&error, context);
            }
        } else if self == Self::Mend {
            faults::set(Some(fault.clone()));
            let mended = try_to_mend(dir);
            faults::set(None);
            if let Err(OpenError::Failed(error)) = mended {
                assert_clear(&error, context);
            }
        } else if self.fail_open(dir, fault, context) {
            // What could not be removed is removed by whoever opens it next.
            drop(Repo::open(&dir.join("repo"), self.clock()).unwrap());
            // What others left is theirs: nobody comes back for it when it could not be removed.
            if self != Self::PutOverLeftovers {
                look_for_litter(self, dir, context);
            }
            return self.ask_git_annex(dir, nth, context);
        }
        examine(self, dir, context);
        settle(self, dir, context);
        self.ask_git_annex(dir, nth, context);
    }

    /// Lets the operation fail in a repository that is open, and asks again if it is a passing
    /// fault. `false`: nobody has asked again.
    fn fail_open(self, dir: &Path, fault: &Fault, context: &str) -> bool {
        runtime().block_on(async {
            let clock = self.clock();
            faults::set(Some(fault.clone()));
            let Ok(repo) = Repo::open(&dir.join("repo"), clock.clone()) else {
                faults::set(None);
                return false;
            };
            let done = self.act(dir, &repo).await;
            let flushed = repo.flush().await;
            faults::set(None);
            for error in [done.err(), flushed.err()].iter().flatten() {
                assert_clear(error, context);
            }
            if fault.lasting {
                return false;
            }
            look_at_content(self, dir, &repo, context).await;
            settle_open(self, dir, &repo, &clock, context).await;
            true
        })
    }

    /// The real git-annex takes its time, so it looks at some only.
    fn ask_git_annex(self, dir: &Path, nth: usize, context: &str) {
        if nth % ORACLE_SAMPLE == ORACLE_SAMPLE / 2 && !self.leaves_too_few_copies() {
            annex_fsck(dir, context);
        }
        if nth.is_multiple_of(4) && self.has_unlocked_file() {
            // Git may not have been told that the file is as good as before.
            let added = unlocked::command(dir, "git").args(["add", "--all"]).status();
            assert!(added.unwrap().success(), "{context}");
            unlocked::expect_clean(dir, context);
        }
    }
}

/// Whoever reads the error learns what failed.
fn assert_clear(error: &Error, context: &str) {
    let internal = matches!(error, Error::Internal(_));
    let text = error.chain();
    assert!(!internal && text.len() > 10, "{context}: {text}");
}

/// Where others share a repository, changing the mode of their files fails, and that is let pass.
#[test]
fn a_mode_that_cannot_be_changed_is_not_said_to_be_mended() {
    let _alone = alone();
    let dir = ScratchDir::in_memory();
    let path = dir.path().join("repo");
    create(&path, &options(Operation::CreateBare), &*TestClock::new()).unwrap();
    let config = std::fs::read_to_string(path.join("config")).unwrap();
    std::fs::write(path.join("config"), config + "[core]\n\tsharedRepository = group\n").unwrap();
    let sample = Sample::secure(1, 10);
    runtime().block_on(async {
        let repo = Repo::open(&path, TestClock::new()).unwrap();
        repo.put(&anybody(), &sample.key, &no_file(), sample.content(0)).await.unwrap();
        repo.flush().await.unwrap();
    });
    try_to_mend(dir.path()).unwrap(); // it is shared only now
    let object = look_for(&path.join("annex/objects")).unwrap();
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Fault { at: "ChangeMode".to_owned(), nth: 1, errno: EPERM, lasting: false };
    faults::set(Some(refused));
    let found = try_to_mend(dir.path()).unwrap();
    faults::set(None);
    let outcomes: Vec<_> = found.iter().map(|finding| &finding.outcome).collect();
    assert!(
        matches!(outcomes[..], [Outcome::Left(Some(why))] if why.contains("somebody else")),
        "{found:#?}"
    );
    assert_eq!(try_to_mend(dir.path()).unwrap()[0].outcome, Outcome::Mended);
}

/// The only file below a directory.
fn look_for(dir: &Path) -> Option<PathBuf> {
    let mut entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.find_map(|path| if path.is_dir() { look_for(&path) } else { Some(path) })
}

/// The disk is the same for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn copy(template: &Path) -> ScratchDir {
    let dir = ScratchDir::in_memory();
    let copied = Command::new("cp").arg("-a").arg(template.join(".")).arg(dir.path()).status();
    assert!(copied.unwrap().success());
    dir
}

const EPERM: i32 = 1;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// One in so many faults is shown to the real git-annex.
const ORACLE_SAMPLE: usize = 40;
