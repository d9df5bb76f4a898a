//! Content travels to the server and back, by every command that moves it.

use std::collections::BTreeSet;
use std::fs;

use super::files::{self, Annexed, bytes_of, keys_of};
use super::scene::{Scene, text};
use crate::harness::ABSENT;

#[test]
fn keys_of_every_kind_travel_to_a_bare_repository_and_back() {
    journey(true, files::of_every_kind);
}

#[test]
fn keys_of_every_kind_travel_to_a_work_tree_and_back() {
    journey(false, files::of_every_kind);
}

#[test]
fn files_of_every_size_travel_to_a_bare_repository_and_back() {
    journey(true, files::of_every_size);
}

#[test]
fn files_of_every_size_travel_to_a_work_tree_and_back() {
    journey(false, files::of_every_size);
}

#[test]
fn a_large_file_travels_to_a_bare_repository_and_back() {
    large(true);
}

#[test]
fn a_large_file_travels_to_a_work_tree_and_back() {
    large(false);
}

#[test]
fn clones_of_a_bare_repository_sync_their_content() {
    sync(true);
}

#[test]
fn clones_of_a_work_tree_sync_their_content() {
    sync(false);
}

#[test]
fn drop_refuses_when_the_server_lost_the_content() {
    let scene = Scene::new(true);
    let file = files::of_size(&scene, "precious", 1000);
    scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    scene.repo().drop_content(&scene.world, &file.key());
    scene.relay.take();
    let dropped = scene.try_annex(&["drop", "."]);
    assert!(!dropped.success(), "the only copy was dropped: {dropped}");
    assert!(scene.relay.take().count("/lockcontent?") > 0, "the server was not asked");
    file.expect_whole();
}

fn journey(bare: bool, add: impl Fn(&Scene) -> Vec<Annexed>) {
    let scene = Scene::new(bare);
    let files = add(&scene);
    let (all, none) = (keys_of(&files), BTreeSet::new());
    let all_bytes = bytes_of(&files);

    scene.relay.take();
    let since = scene.annex(&["copy", "--to", "origin", "."]);
    let travelled = scene.relay.take();
    assert!(travelled.up > all_bytes, "not all content went over HTTP: {travelled:?}");
    scene.expect_at_server(since, &all);
    scene.expect_clean();

    scene.annex(&["drop", "."]);
    let travelled = scene.relay.take();
    let locked = [travelled.count("/lockcontent?"), travelled.count("/keeplocked?")];
    assert_eq!(locked, [files.len(); 2], "dropped without locks: {travelled:?}");
    assert!(files.iter().all(|file| !file.is_here()), "not everything was dropped");
    scene.annex(&["get", "."]);
    assert!(scene.relay.take().down > all_bytes, "not all content came over HTTP");
    files.iter().for_each(Annexed::expect_whole);

    scene.annex(&["fsck", "--fast", "--from", "origin"]);
    assert_eq!(scene.relay.take().count("/checkpresent?"), files.len());
    scene.annex(&["fsck", "--from", "origin"]);
    assert!(scene.relay.take().down > all_bytes, "fsck did not look at the content");
    check_present(&scene, &files);
    let again = scene.annex(&["copy", "--to", "origin", "."]);
    assert_eq!(scene.relay.take().count("/put?"), 0, "sent again what was there");
    scene.expect_at_server(again, &all);
    scene.expect_clean();

    let since = scene.annex(&["drop", "--from", "origin", "."]);
    scene.expect_at_server(since, &none);
    scene.expect_clean();
    let since = scene.annex(&["move", "--to", "origin", "."]);
    assert!(files.iter().all(|file| !file.is_here()), "not everything was moved away");
    scene.expect_at_server(since, &all);
    scene.expect_clean();
    let since = scene.annex(&["move", "--from", "origin", "."]);
    files.iter().for_each(Annexed::expect_whole);
    scene.expect_at_server(since, &none);
    scene.expect_clean();
    assert_eq!(scene.repo().strays(), Vec::<std::path::PathBuf>::new());
}

/// `checkpresentkey` says 0 when a key is there, 1 when it is not, and something else when it
/// cannot tell.
fn check_present(scene: &Scene, files: &[Annexed]) {
    let plain = files.iter().find(|file| file.key_file().starts_with(b"SHA256E-"));
    let present = plain.expect("a plain key").key();
    for (key, code) in [(present.as_str(), 0), (ABSENT, 1)] {
        let said = scene.try_annex(&["checkpresentkey", key, "origin"]);
        assert_eq!(said.code, Some(code), "{said}");
    }
    assert_eq!(scene.relay.take().count("/checkpresent?"), 2);
}

fn large(bare: bool) {
    let scene = Scene::new(bare);
    let file = files::of_size(&scene, "large.bin", 300 << 20);
    let all = BTreeSet::from([file.key_file()]);
    scene.relay.take();
    let since = scene.annex(&["move", "--quiet", "--to", "origin", "."]);
    assert!(scene.relay.take().up > file.len(), "the content did not go over HTTP");
    assert!(!file.is_here(), "it was not moved away");
    scene.expect_at_server(since, &all);
    scene.expect_clean();
    scene.annex(&["get", "--quiet", "."]);
    assert!(scene.relay.take().down > file.len(), "the content did not come over HTTP");
    file.expect_whole();
    let since = scene.annex(&["drop", "--quiet", "--from", "origin", "."]);
    scene.expect_at_server(since, &BTreeSet::new());
}

/// What one clone adds comes to the other by `sync --content` alone, both ways.
fn sync(bare: bool) {
    let scene = Scene::new(bare);
    let ours = files::of_size(&scene, "ours 1", 70_000);
    scene.relay.take();
    let since = scene.annex(&["sync", "--content", "origin"]);
    assert_eq!(scene.relay.take().count("/put?"), 1);
    scene.expect_at_server(since, &keys_of(std::slice::from_ref(&ours)));

    let friend = scene.another_client();
    let sync = || scene.world.annex(&friend, &["sync", "--content", "origin"]);
    sync();
    assert_eq!(scene.relay.take().count("/key/"), 1);
    let came = fs::read(friend.join("ours 1")).expect("a file that came by sync");
    assert_eq!(came.len() as u64, ours.len());
    fs::write(friend.join("theirs"), "from a friend").expect("write a file");
    scene.world.annex(&friend, &["add", "--quiet", "theirs"]);
    sync();
    assert_eq!(scene.relay.take().count("/put?"), 1);

    let since = scene.annex(&["sync", "--content", "origin"]);
    let theirs = scene.client.join("theirs");
    assert_eq!(fs::read(&theirs).expect("a file that came by sync"), b"from a friend");
    let key = scene.world.annex(&scene.client, &["lookupkey", text("theirs".as_ref())]);
    let both = [ours.key_file(), key.trim().as_bytes().to_vec()];
    scene.expect_at_server(since, &both.into());
    scene.expect_clean();
}
