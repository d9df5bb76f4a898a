use std::fs;
use std::path::Path;

use gannet_core::{Clock, Key, Uuid};

use super::*;
use crate::init::scratch::{At, Scratch, git, key, try_git, uuid};
use crate::journal::{Change, Claim, record};
use crate::logs::location::Status;

fn note(scratch: &Scratch, clock: &dyn Clock, key: &Key, uuid: &Uuid) {
    let claim = Claim::Is(Status::Present);
    let change = Change { key: key.clone(), uuid: uuid.clone(), claim };
    for result in record(&scratch.settings(), &scratch.git, clock, &[change]).unwrap() {
        assert!(result.unwrap());
    }
}

fn commit(scratch: &Scratch) -> usize {
    commit_journal(&scratch.settings(), &scratch.git, &At(100)).unwrap()
}

fn log_path(key: &Key) -> String {
    let path = gannet_core::place::log_path(gannet_core::place::Levels::Two, key, ".log");
    String::from_utf8(path).unwrap()
}

fn show(scratch: &Scratch, path: &str) -> String {
    scratch.run(&["show", &format!("git-annex:{path}")])
}

fn journal_is_empty(scratch: &Scratch) -> bool {
    fs::read_dir(scratch.annex().join("journal")).unwrap().next().is_none()
}

#[test]
fn a_commit_shows_what_was_recorded() {
    for bare in [true, false] {
        let scratch = Scratch::new(bare);
        let before = scratch.run(&["rev-parse", "git-annex"]);
        note(&scratch, &At(100), &key("a_b"), &uuid(1));
        assert_eq!(commit(&scratch), 1);
        assert_eq!(commit(&scratch), 0);
        assert_eq!(show(&scratch, &log_path(&key("a_b"))), format!("100s 1 {}", uuid(1)));
        assert_eq!(scratch.run(&["rev-parse", "git-annex^"]), before);
        assert_eq!(scratch.run(&["log", "-1", "--format=%s %at", "git-annex"]), "update 100");
        scratch.run(&["fsck", "--strict"]);
        assert!(journal_is_empty(&scratch));
        let moves = try_git(&scratch.path, &["reflog", "show", "git-annex", "--format=%gs"]).stdout;
        let expected = if bare { "" } else { "update\nupdate\nbranch created\n" };
        assert_eq!(String::from_utf8(moves).unwrap(), expected);
    }
}

#[test]
fn a_commit_costs_the_same_however_large_the_branch_is() {
    let scratch = Scratch::new(true);
    for number in 0..300 {
        note(&scratch, &At(100), &key(&number.to_string()), &uuid(1));
    }
    assert_eq!(commit(&scratch), 300);
    let objects = || -> u32 {
        let count = scratch.run(&["count-objects"]);
        count.split(' ').next().unwrap().parse().unwrap()
    };
    let before = objects();
    note(&scratch, &At(100), &key("150"), &uuid(2));
    assert_eq!(commit(&scratch), 1);
    assert_eq!(objects() - before, 5, "a blob, three trees and a commit");
    assert_eq!(scratch.run(&["ls-tree", "-r", "git-annex"]).lines().count(), 301);
}

#[test]
fn others_may_pack_references_and_objects() {
    let scratch = Scratch::new(true);
    for round in 1..4 {
        note(&scratch, &At(100), &key("a"), &uuid(round));
        commit(&scratch);
        scratch.run(&["pack-refs", "--all", "--prune"]);
        scratch.run(&["gc", "-q", "--prune=now"]);
        assert!(!scratch.path.join("refs/heads/git-annex").exists());
    }
    scratch.git.forget();
    note(&scratch, &At(100), &key("a"), &uuid(9));
    commit(&scratch);
    assert_eq!(show(&scratch, &log_path(&key("a"))).lines().count(), 4);
}

#[test]
fn a_crash_after_the_move_commits_nothing_twice() {
    let scratch = Scratch::new(true);
    note(&scratch, &At(100), &key("a"), &uuid(1));
    let journal = scratch.annex().join("journal");
    let file = fs::read_dir(&journal).unwrap().next().unwrap().unwrap().path();
    let text = fs::read(&file).unwrap();
    commit(&scratch);
    let tip = scratch.run(&["rev-parse", "git-annex"]);
    fs::write(&file, text).unwrap();
    assert_eq!(commit(&scratch), 1);
    assert_eq!(scratch.run(&["rev-parse", "git-annex"]), tip);
    assert!(journal_is_empty(&scratch));
}

#[test]
fn what_was_pushed_meanwhile_is_united() {
    let scratch = Scratch::new(true);
    note(&scratch, &At(100), &key("a"), &uuid(1));
    let path = log_path(&key("a"));
    push(&scratch.path, &path, &format!("90s 1 {}\n90s 0 {}\n", uuid(2), uuid(1)));
    fs::write(scratch.annex().join("journal/trust.log"), "b 1 timestamp=2s\n").unwrap();
    push(&scratch.path, "trust.log", "c 0 timestamp=1s\na 0 timestamp=1s\n");
    assert_eq!(commit(&scratch), 2);
    let expected = format!("100s 1 {}\n90s 1 {}", uuid(1), uuid(2));
    assert_eq!(show(&scratch, &path), expected);
    let expected = "a 0 timestamp=1s\nb 1 timestamp=2s\nc 0 timestamp=1s";
    assert_eq!(show(&scratch, "trust.log"), expected);
}

#[test]
fn two_threads_and_git_lose_nothing_to_each_other() {
    const ROUNDS: u8 = 15;
    let scratch = Scratch::new(true);
    std::thread::scope(|scope| {
        for who in [1, 2] {
            let scratch = &scratch;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    note(scratch, &At(100), &key(&round.to_string()), &uuid(who));
                    commit(scratch);
                }
            });
        }
        for round in 0..ROUNDS {
            push(&scratch.path, &format!("pushed/{round}.log"), &format!("{round}\n"));
        }
    });
    commit(&scratch);
    for round in 0..ROUNDS {
        let log = show(&scratch, &log_path(&key(&round.to_string())));
        assert_eq!(log, format!("100s 1 {}\n100s 1 {}", uuid(1), uuid(2)), "{round}");
        assert_eq!(show(&scratch, &format!("pushed/{round}.log")), round.to_string());
    }
    scratch.run(&["fsck", "--strict"]);
}

#[test]
fn what_is_no_journal_file_is_left_alone() {
    let scratch = Scratch::new(true);
    note(&scratch, &At(100), &key("a"), &uuid(1));
    commit(&scratch);
    let journal = scratch.annex().join("journal");
    let taken = log_path(&key("a"));
    let (first, _) = taken.split_once('/').unwrap();
    fs::create_dir(journal.join("directory")).unwrap();
    for junk in ["_", "a_.._b", first] {
        fs::write(journal.join(junk), "junk\n").unwrap();
    }
    note(&scratch, &At(100), &key("b"), &uuid(1));
    assert_eq!(commit(&scratch), 1);
    assert_eq!(fs::read_dir(&journal).unwrap().count(), 4);
    assert_eq!(show(&scratch, &taken), format!("100s 1 {}", uuid(1)));
    scratch.run(&["fsck", "--strict"]);
}

#[test]
fn the_owner_decides_whether_and_how_to_commit() {
    let scratch = Scratch::new(true);
    note(&scratch, &At(100), &key("a"), &uuid(1));
    scratch.run(&["config", "annex.alwayscommit", "false"]);
    assert_eq!(commit(&scratch), 0);
    assert!(!journal_is_empty(&scratch));
    scratch.run(&["config", "annex.alwayscommit", "true"]);
    scratch.run(&["config", "annex.commitmessage", "as configured"]);
    scratch.run(&["config", "annex.post-update-command", "touch updated"]);
    assert_eq!(commit(&scratch), 1);
    assert!(scratch.path.join("updated").exists());
    assert_eq!(scratch.run(&["log", "-1", "--format=%s", "git-annex"]), "as configured");
    scratch.run(&["config", "annex.commitmessage-command", "echo said"]);
    scratch.run(&["config", "annex.post-update-command", "false"]);
    note(&scratch, &At(100), &key("b"), &uuid(1));
    assert_eq!(commit(&scratch), 1);
    assert_eq!(scratch.run(&["log", "-1", "--format=%s", "git-annex"]), "said");
}

#[test]
fn a_reference_that_git_has_locked_is_left_and_the_journal_kept() {
    let scratch = Scratch::new(true);
    note(&scratch, &At(100), &key("a"), &uuid(1));
    let lock = scratch.path.join("refs/heads/git-annex.lock");
    fs::write(&lock, "").unwrap();
    let error = commit_journal(&scratch.settings(), &scratch.git, &At(100)).unwrap_err();
    assert!(error.to_string().contains("git-annex.lock"), "{error}");
    assert!(lock.exists() && !journal_is_empty(&scratch));
    fs::remove_file(&lock).unwrap();
    assert_eq!(commit(&scratch), 1);
    assert!(!lock.exists());
}

/// Replaces a file of the branch with git alone, as a push would: without any lock of the annex.
fn push(dir: &Path, path: &str, content: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("content");
    fs::write(&file, content).unwrap();
    let blob = git(dir, &["hash-object", "-w", &file.display().to_string()]);
    let entry = format!("100644,{blob},{path}");
    for attempt in 0.. {
        let tip = git(dir, &["rev-parse", "git-annex"]);
        let index_file = scratch.path().join(format!("index{attempt}"));
        let with_index = |args: &[&str]| {
            let output = std::process::Command::new("git")
                .args(args)
                .current_dir(dir)
                .env("GIT_INDEX_FILE", &index_file)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .unwrap();
            assert!(output.status.success(), "{args:?} {output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        with_index(&["read-tree", &tip]);
        with_index(&["update-index", "--add", "--cacheinfo", &entry]);
        let tree = with_index(&["write-tree"]);
        let commit = git(dir, &["commit-tree", "-p", &tip, "-m", "pushed", &tree]);
        let moved = try_git(dir, &["update-ref", "refs/heads/git-annex", &commit, &tip]);
        if moved.status.success() {
            return;
        }
    }
}
