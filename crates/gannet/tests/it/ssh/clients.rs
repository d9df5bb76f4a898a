//! The real git-annex on one side of a real sshd, Gannet on the other.

use std::fs;
use std::path::{Path, PathBuf};

use super::Which;
use super::sshd::Sshd;
use crate::client::testremote::compare_outputs;
use crate::harness::{Finished, Repo, SERVER, World};

#[test]
fn content_travels_to_a_bare_repository_and_back() {
    journey(true);
}

#[test]
fn content_travels_to_a_work_tree_and_back() {
    journey(false);
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes() {
    let theirs = test_remote(Which::Reference);
    let ours = test_remote(Which::Gannet);
    compare_outputs("ssh", &theirs, &ours);
}

fn journey(bare: bool) {
    let (world, repo) = served(bare);
    let sshd = Sshd::start(&world, Which::Gannet);
    let login = sshd.admit(&world, "");
    let client = login.clone(&world, repo.path());
    add(&world, &client, "small file", b"small");
    add(&world, &client, "large", &vec![7; 3_000_000]);
    let annex = |args: &[&str]| world.annex(&client, args);
    annex(&["copy", "--quiet", "--to", "origin", "."]);
    annex(&["drop", "--quiet", "."]); // which locks the content there
    // What came of an earlier attempt is not asked for again.
    let key = annex(&["lookupkey", "large"]).trim().to_owned();
    let tmp = client.join(".git/annex/tmp");
    fs::create_dir_all(&tmp).expect("make a directory");
    fs::write(tmp.join(&key), vec![7; 1_000_000]).expect("write the beginning of the content");
    let got = world.try_annex(&client, &["get", "--debug", "large"]);
    assert!(got.err().contains("P2P > GET 1000000 large "), "not resumed: {got}");
    annex(&["get", "--quiet", "."]);
    assert_eq!(fs::read(client.join("large")).expect("a file").len(), 3_000_000);
    annex(&["fsck", "--quiet", "--from", "origin", "."]);
    annex(&["drop", "--quiet", "--from", "origin", "."]);
    assert!(!repo.state(&key).present);
    annex(&["move", "--quiet", "--to", "origin", "."]);
    assert!(repo.state(&key).present && !client.join("large").exists());
    annex(&["move", "--quiet", "--from", "origin", "."]);
    assert!(!repo.state(&key).present && client.join("large").exists());
    annex(&["assist", "--quiet"]);
    assert!(repo.state(&key).present, "assist does not send content");
    let friend = login.clone(&world, repo.path());
    world.annex(&friend, &["sync", "--quiet", "--content", "origin"]);
    assert_eq!(fs::read(friend.join("small file")).expect("a file that came"), b"small");
    repo.fsck(&world);
    repo.assert_no_strays();
}

fn test_remote(which: Which) -> Finished {
    let (world, repo) = served(true);
    let sshd = Sshd::start(&world, which);
    let client = sshd.admit(&world, "").clone(&world, repo.path());
    world.try_annex(&client, &["testremote", "origin", "--fast"])
}

fn served(bare: bool) -> (World, Repo) {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, bare);
    if !bare {
        world.git(repo.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
    }
    (world, repo)
}

fn add(world: &World, client: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = client.join(name);
    fs::write(&path, content).expect("write a file");
    world.annex(client, &["add", "--quiet", name]);
    world.git(client, &["commit", "-q", "-m", name]);
    path
}
