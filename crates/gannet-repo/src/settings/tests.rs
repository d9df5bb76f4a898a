use std::fs;

use super::*;
use crate::init::scratch::{At, Scratch, git, options, try_git};

#[test]
fn each_unusable_state_has_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let read = || Settings::read(path).map(|_| ());
    assert!(matches!(read(), Err(OpenError::NotGit { .. })));
    git(path, &["init", "-q", "--bare"]);
    assert!(matches!(read(), Err(OpenError::NotAnnex { .. })));
    git(path, &["config", "annex.uuid", "u"]);
    assert!(matches!(read(), Err(OpenError::HalfConfigured { absent: "annex.version", .. })));
    git(path, &["config", "annex.version", "10"]);
    assert!(read().is_ok());
    for version in ["8", "9"] {
        git(path, &["config", "annex.version", version]);
        assert!(Settings::read(path).unwrap().version.locks_the_object());
    }
    for version in ["7", "11", "ten", "010"] {
        git(path, &["config", "annex.version", version]);
        assert!(matches!(read(), Err(OpenError::Version { .. })), "{version}");
    }
    git(path, &["config", "annex.uuid", "two words"]);
    assert!(matches!(read(), Err(OpenError::BadUuid { .. })));
    git(path, &["config", "--unset", "annex.uuid"]);
    assert!(matches!(read(), Err(OpenError::HalfConfigured { absent: "annex.uuid", .. })));
    git(path, &["config", "--unset", "annex.version"]);
    let tree = git(path, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let commit = git(path, &["commit-tree", "-m", "x", &tree]);
    git(path, &["update-ref", "refs/heads/synced/git-annex", &commit]);
    assert!(matches!(read(), Err(OpenError::Uninitialised { .. })));
    fs::create_dir_all(path.join("annex/objects")).unwrap();
    assert!(matches!(read(), Err(OpenError::ConfigLost { .. })));
}

#[test]
fn objects_named_by_sha_256_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--object-format=sha256"]);
    let error = Settings::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("extensions.objectformat sha256"), "{error}");
}

#[test]
fn the_last_value_wins_and_files_are_included() {
    let scratch = Scratch::new(true);
    let path = &scratch.path;
    assert_eq!(scratch.settings().disk_reserve, 100_000_000);
    fs::write(path.join("more"), "[annex]\n\tdiskreserve = 1ki\n\tpidlock\n").unwrap();
    for (key, value) in [
        ("annex.diskreserve", "7 gb"),
        ("include.path", "more"),
        ("annex.alwayscommit", "off"),
        ("annex.tune.objecthash1", "1"),
        ("core.sharedRepository", "0640"),
        ("annex.freezecontent-command", "freeze %path"),
        ("remote.a.b.annex-uuid", "u-1"),
        ("remote.a.b.annex-private", "yes"),
        ("remote.c.annex-uuid", "u-2"),
    ] {
        scratch.run(&["config", key, value]);
    }
    let settings = scratch.settings();
    assert_eq!(settings.disk_reserve, 1024);
    assert!(settings.pidlock);
    assert!(!settings.always_commit);
    assert_eq!(settings.object_levels, Levels::One);
    assert_eq!(settings.branch_levels, Levels::Two);
    assert_eq!(settings.shared, Shared::Octal(0o640));
    assert!(settings.is_private(&Uuid::parse(b"u-1").unwrap()));
    assert!(!settings.is_private(&Uuid::parse(b"u-2").unwrap()));
    assert!(!settings.is_private(&settings.uuid));
    let shell = Program::Shell { command: "freeze %path".into(), placeholder: "%path" };
    assert_eq!(settings.program(Hook::FreezeContent), Some(shell));
    assert_eq!(settings.program(Hook::ThawContent), None);
    let hook = path.join("hooks/freezecontent-annex");
    fs::write(&hook, "#!/bin/sh\n").unwrap();
    let still = settings.program(Hook::FreezeContent);
    assert!(matches!(still, Some(Program::Shell { .. })), "a file that is not executable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&hook, mode).unwrap();
    let hook = settings.place.common_dir.join("hooks/freezecontent-annex");
    assert_eq!(settings.program(Hook::FreezeContent), Some(Program::Hook(hook)));
}

#[test]
fn a_change_of_the_configuration_is_noticed() {
    let scratch = Scratch::new(true);
    let settings = scratch.settings();
    assert!(settings.is_current());
    scratch.run(&["config", "annex.version", "9"]);
    assert!(!settings.is_current());
    let settings = scratch.settings();
    assert!(settings.is_current());
    fs::write(scratch.path.join("config.worktree"), "").unwrap();
    assert!(!settings.is_current());
}

#[test]
fn linked_worktrees_and_separate_git_directories_share_one_annex() {
    let scratch = Scratch::new(false);
    scratch.run(&["commit", "-q", "--allow-empty", "-m", "x"]);
    let dir = tempfile::tempdir().unwrap();
    let linked = dir.path().join("linked");
    scratch.run(&["worktree", "add", "-q", &linked.display().to_string()]);
    let annex = scratch.annex();
    for _ in 0..2 {
        let settings = Settings::read(&linked).unwrap();
        assert_eq!(settings.annex, annex);
        assert!(!settings.bare);
        assert_eq!(peek(&linked).unwrap().unwrap().uuid, settings.uuid);
        // git-annex replaces the file by a symlink.
        let own = settings.place.git_dir;
        assert!(own.ends_with("worktrees/linked"));
        fs::remove_file(linked.join(".git")).unwrap();
        std::os::unix::fs::symlink(own, linked.join(".git")).unwrap();
    }

    git(dir.path(), &["init", "-q", "--separate-git-dir", "elsewhere", "tree"]);
    crate::init::create(&dir.path().join("tree"), &options(false), &At(1)).unwrap();
    let settings = Settings::read(&dir.path().join("tree")).unwrap();
    assert!(settings.annex.ends_with("elsewhere/annex"), "{}", settings.annex.display());
    assert!(settings.work_tree.is_some_and(|top| top.ends_with("tree")));
}

#[test]
fn bareness_is_what_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("misleading/.git");
    crate::init::create(&path, &options(true), &At(1)).unwrap();
    assert!(Settings::read(&path).unwrap().bare);
    assert!(Settings::read(&dir.path().join("misleading")).unwrap().bare);
}

#[test]
fn a_glance_tells_the_uuid_or_that_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(peek(dir.path()).unwrap(), None);
    assert_eq!(peek(&dir.path().join("missing")).unwrap(), None);
    git(dir.path(), &["init", "-q"]);
    assert_eq!(peek(dir.path()).unwrap(), None);
    fs::write(dir.path().join(".git/config"), "[annex").unwrap();
    assert!(peek(dir.path()).is_err());
    assert!(!try_git(dir.path(), &["status"]).status.success());
}
