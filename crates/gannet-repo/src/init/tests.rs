use std::fs;

use super::scratch::{At, Scratch, git, options, uuid};
use super::*;
use crate::keys_db::Trust;
use crate::settings::peek;

#[test]
fn a_bare_repository_is_as_git_and_git_annex_make_it() {
    let scratch = Scratch::new(true);
    let settings = scratch.settings();
    assert_eq!(scratch.run(&["config", "core.bare"]), "true");
    assert_eq!(scratch.run(&["config", "annex.uuid"]), settings.uuid.as_str());
    assert_eq!(scratch.run(&["config", "annex.version"]), "10");
    assert_eq!(scratch.run(&["log", "--format=%s|%an", "git-annex"]).lines().count(), 2);
    let messages = scratch.run(&["log", "--format=%s", "git-annex"]);
    assert_eq!(messages, "update\nbranch created");
    let line = format!("{} scratch timestamp=1s", settings.uuid);
    assert_eq!(scratch.run(&["show", "git-annex:uuid.log"]), line);
    assert_eq!(scratch.run(&["ls-tree", "git-annex"]).split(' ').next(), Some("100644"));
    scratch.run(&["fsck", "--strict"]);
    let sentinal = fs::metadata(settings.annex.join("sentinal")).unwrap();
    let cache = fs::read_to_string(settings.annex.join("sentinal.cache")).unwrap();
    assert_eq!(cache, InodeCache::of(&sentinal).to_string());
    assert_eq!(Trust::in_inodes_of(&settings), Trust::Inodes);
    assert_eq!(peek(&scratch.path).unwrap().unwrap().uuid, settings.uuid);
}

#[test]
fn creating_again_changes_nothing() {
    for bare in [true, false] {
        let scratch = Scratch::new(bare);
        let before = (scratch.run(&["rev-parse", "git-annex"]), config(&scratch));
        let again = create(&scratch.path, &options(bare), &At(9)).unwrap();
        assert_eq!(again, scratch.settings().uuid);
        assert_eq!((scratch.run(&["rev-parse", "git-annex"]), config(&scratch)), before);
        let other = InitOptions { uuid: Some(uuid(9)), ..options(bare) };
        let refused = create(&scratch.path, &other, &At(9));
        assert!(matches!(refused, Err(OpenError::OtherUuid { .. })), "{refused:?}");
    }
}

#[test]
fn an_interrupted_creation_is_completed() {
    let scratch = Scratch::new(true);
    let uuid = scratch.settings().uuid;
    scratch.run(&["update-ref", "-d", "refs/heads/git-annex"]);
    fs::remove_dir_all(scratch.annex()).unwrap();
    assert_eq!(create(&scratch.path, &options(true), &At(9)).unwrap(), uuid);
    assert!(scratch.run(&["show", "git-annex:uuid.log"]).starts_with(uuid.as_str()));

    fs::remove_file(scratch.path.join("HEAD")).unwrap();
    fs::write(scratch.path.join("HEAD.new"), "ref").unwrap();
    create(&scratch.path, &options(true), &At(9)).unwrap();
    scratch.run(&["fsck", "--strict"]);
    assert!(!scratch.path.join("HEAD.new").exists());
}

#[test]
fn a_git_repository_keeps_its_configuration_when_it_becomes_an_annex() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q"]);
    let path = dir.path().join(".git/config");
    let before = fs::read_to_string(&path).unwrap() + "# mine\n[some \"thing\"]\n\tkey = a;b\n";
    fs::write(&path, &before).unwrap();
    fs::create_dir_all(dir.path().join(".git/info")).unwrap();
    fs::write(dir.path().join(".git/info/attributes"), "*.c text").unwrap();
    let made = create(dir.path(), &options(true), &At(5)).unwrap();
    let after = fs::read_to_string(&path).unwrap();
    assert!(after.starts_with(&before), "{after}");
    assert_eq!(git(dir.path(), &["config", "annex.uuid"]), made.as_str());
    let clean = git(dir.path(), &["config", "filter.annex.clean"]);
    assert_eq!(clean, "git-annex smudge --clean -- %f");
    let attributes = fs::read_to_string(dir.path().join(".git/info/attributes")).unwrap();
    assert_eq!(attributes, "*.c text\n* filter=annex\n");
    assert!(!Settings::read(dir.path()).unwrap().bare);
}

#[test]
fn nothing_is_created_over_something_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let refused = create(dir.path(), &options(true), &At(5));
    assert!(matches!(refused, Err(OpenError::InTheWay { .. })), "{refused:?}");
    let file = create(&dir.path().join("letter.txt"), &options(true), &At(5));
    assert!(file.is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    create(dir.path(), &options(false), &At(5)).unwrap();
    assert_eq!(git(dir.path(), &["status", "--porcelain"]), "?? letter.txt");
}

#[test]
fn a_fresh_clone_is_initialised_when_it_is_opened() {
    let scratch = Scratch::new(true);
    let dir = tempfile::tempdir().unwrap();
    let clone = dir.path().join("clone");
    let path = scratch.path.display().to_string();
    git(dir.path(), &["clone", "-q", &path, "clone"]);
    let closed = Settings::read(&clone);
    assert!(matches!(closed, Err(OpenError::Uninitialised { .. })), "{closed:?}");

    fs::write(clone.join(".noannex"), "").unwrap();
    let forbidden = open_or_autoinit(&clone, &At(7));
    assert!(matches!(forbidden, Err(OpenError::InitForbidden { .. })), "{forbidden:?}");
    fs::remove_file(clone.join(".noannex")).unwrap();

    let settings = open_or_autoinit(&clone, &At(7)).unwrap();
    assert_ne!(settings.uuid, scratch.settings().uuid);
    let log = git(&clone, &["show", "git-annex:uuid.log"]);
    assert!(log.contains(settings.uuid.as_str()), "{log}");
    assert!(log.contains(scratch.settings().uuid.as_str()), "{log}");
    git(&clone, &["merge-base", "--is-ancestor", "origin/git-annex", "git-annex"]);
}

fn config(scratch: &Scratch) -> Vec<u8> {
    fs::read(scratch.settings().place.common_dir.join("config")).unwrap()
}
