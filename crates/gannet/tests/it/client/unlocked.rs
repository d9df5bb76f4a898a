//! Unlocked files in the work tree of the served repository: they follow what comes and goes over
//! HTTP, and git-annex finds nothing to put right (repository §6.4).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use crate::harness::{SERVER, World};

use super::scene::text;
use super::tree::{Tree, modified, set_modified};

#[test]
fn they_show_content_that_comes_and_stand_for_content_that_goes() {
    comes_and_goes(&Tree::new("SHA256E", false));
}

/// Keys of this backend say nothing of the content but its size. The reference keeps what it knows
/// of a file in its memory for a while, and meanwhile git takes the file for another key.
#[test]
fn so_do_files_that_no_hash_vouches_for() {
    comes_and_goes(&Tree::new("WORM", false));
}

#[test]
fn so_do_files_that_share_the_space_of_the_object() {
    comes_and_goes(&Tree::new("SHA256E", true));
}

/// There the object itself is the lock file. The reference, when it removes it, leaves a thin file
/// that nobody may write to.
#[test]
fn so_do_files_of_a_repository_of_version_9() {
    for thin in [false, true] {
        let tree = Tree::new("SHA256E", thin);
        for setting in [["annex.version", "9"], ["annex.autoupgraderepository", "false"]] {
            tree.world.git(tree.repo.path(), &[&["config"], &setting[..]].concat());
        }
        comes_and_goes(&tree);
        assert_eq!(tree.world.git(tree.repo.path(), &["config", "annex.version"]), "9\n");
    }
}

#[test]
fn so_do_files_whose_database_is_elsewhere() {
    let world = World::new();
    let dir = world.join("databases");
    fs::create_dir(&dir).expect("make a directory");
    let tree = Tree::within(world, "SHA256E", &[("annex.dbdir", text(&dir))]);
    comes_and_goes(&tree);
    assert!(dir.join(SERVER).join("keysdb/db").exists(), "the database is not there");
    assert!(!tree.repo.annex_dir().join("keysdb").exists(), "the database is in two places");
}

#[test]
fn a_modified_file_is_left_alone() {
    let tree = Tree::new("SHA256E", false);
    let server = tree.serve();
    let [plain, tool, _] = tree.files();
    fs::write(&plain.path, "my own words").expect("modify a file");
    for file in tree.files() {
        tree.remove(&server, &file);
    }
    assert_eq!(fs::read(&plain.path).expect("read it"), b"my own words");
    tree.expect_pointer(&tool);
    tree.put(&server, &plain);
    tree.put(&server, &tool);
    assert_eq!(fs::read(&plain.path).expect("read it"), b"my own words");
    tree.expect_content(&tool);
    tree.restage();
    assert_eq!(tree.status(), " M plain\n");
    tree.repo.fsck(&tree.world);
}

/// With annex.thin, to modify a file is to modify the object. Of what is there then, nobody may
/// be told that it is the content (repository §6.5); of a WORM key the reference says it is.
#[test]
fn an_object_that_was_modified_through_its_file_is_no_content() {
    for backend in ["SHA256E", "WORM"] {
        let tree = Tree::new(backend, true);
        let server = tree.serve();
        let [plain, ..] = tree.files();
        tree.remove(&server, &plain);
        tree.put(&server, &plain);
        assert_eq!(tree.ask(&server, "checkpresent", &plain).member("present"), true, "{backend}");
        let other: Vec<u8> = plain.content.iter().map(|byte| byte ^ 1).collect();
        fs::write(&plain.path, &other).expect("modify a file");
        set_modified(&plain.path, SystemTime::UNIX_EPOCH); // the clock of a file system may be slow
        assert_eq!(tree.ask(&server, "checkpresent", &plain).member("present"), false, "{backend}");
        assert_eq!(tree.ask(&server, "lockcontent", &plain).member("locked"), false, "{backend}");
        tree.remove(&server, &plain);
        assert!(fs::read(&plain.path).expect("read it") == other, "{backend}: it is gone");
    }
}

/// What git-annex populates of another's is right for Gannet, and the other way round.
#[test]
fn git_annex_drops_what_gannet_stored() {
    for thin in [false, true] {
        let tree = Tree::new("SHA256E", thin);
        let server = tree.serve();
        for file in tree.files() {
            tree.remove(&server, &file);
            tree.put(&server, &file);
        }
        tree.world.annex(tree.repo.path(), &["drop", "--force", "--quiet", "."]);
        for file in tree.files() {
            tree.expect_pointer(&file);
        }
        assert_eq!(tree.status(), "");
        tree.repo.fsck(&tree.world);
    }
}

fn comes_and_goes(tree: &Tree) {
    let thin = ["config", "--default=false", "annex.thin"];
    let thin = tree.world.git(tree.repo.path(), &thin) == "true\n";
    let server = tree.serve();
    let [plain, tool, locked] = tree.files();
    let link = fs::read_link(&locked.path).ok();
    for round in 0..2 {
        let before = modified(&plain.path);
        for file in tree.files() {
            tree.remove(&server, &file);
            tree.expect_pointer(&file);
        }
        assert_eq!(modified(&plain.path), before, "round {round}: the time of the file changed");
        tree.restage();
        assert_eq!(tree.status(), "", "round {round}");
        tree.repo.fsck(&tree.world);

        for file in tree.files() {
            tree.put(&server, &file);
            tree.expect_content(&file);
        }
        let links = if thin { 2 } else { 1 };
        for file in [&plain, &tool] {
            assert_eq!(fs::metadata(&file.path).expect("look").nlink(), links, "round {round}");
        }
        tree.restage();
        assert_eq!(tree.status(), "", "round {round}");
        tree.repo.fsck(&tree.world);
        tree.repo.assert_no_strays();
    }
    assert_eq!(fs::read_link(&locked.path).ok(), link);
}
