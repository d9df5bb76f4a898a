//! Users with passwords, by way of git's credential helpers (p2p-http §7.4).

use std::fs;
use std::path::Path;

use super::files::{self, keys_of};
use super::scene::{Scene, text};
use crate::harness::{Repo, SERVER, World};

#[test]
fn the_right_password_lets_in_and_is_kept() {
    let scene = scene();
    let file = files::of_size(&scene, "file", 5000);
    let store = remember(&scene, "alice", "right:pass/word");
    let since = scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    scene.expect_at_server(since, &keys_of(std::slice::from_ref(&file)));
    scene.annex(&["drop", "--quiet", "."]);
    scene.annex(&["get", "--quiet", "."]);
    file.expect_whole();
    scene.annex(&["drop", "--quiet", "--from", "origin", "."]);
    let kept = fs::read_to_string(&store).expect("the store");
    assert!(kept.contains("alice"), "the right password was forgotten");
    scene.expect_clean();
}

#[test]
fn a_wrong_password_is_refused_and_forgotten() {
    let scene = scene();
    let file = files::of_size(&scene, "file", 5000);
    let store = remember(&scene, "alice", "wrong");
    let said = scene.try_annex(&["copy", "--to", "origin", "."]);
    assert!(!said.success(), "let in with a wrong password: {said}");
    assert_eq!(fs::read_to_string(&store).expect("the store"), "", "git kept the wrong password");
    assert!(!scene.repo().state(&file.key()).present, "stored all the same");
    file.expect_whole();
    scene.expect_clean();
}

#[test]
fn without_a_password_nothing_is_to_be_had() {
    let scene = scene();
    let file = files::of_size(&scene, "file", 5000);
    scene.repo().set_content(
        &scene.world,
        &file.key(),
        &fs::read(scene.client.join("file")).unwrap(),
    );
    scene.annex(&["drop", "--force", "--quiet", "."]);
    scene.annex(&["setpresentkey", &file.key(), &scene.uuid, "1"]);
    let said = scene.try_annex(&["get", "."]);
    assert!(!said.success() && !file.is_here(), "served to a stranger: {said}");
}

#[test]
fn a_readonly_user_gets_and_changes_nothing() {
    let scene = scene();
    let file = files::of_size(&scene, "file", 5000);
    let store = remember(&scene, "alice", "right:pass/word");
    scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    fs::remove_file(store).expect("forget alice");
    let store = remember(&scene, "robert", "look");
    scene.annex(&["drop", "--force", "--quiet", "."]);
    scene.annex(&["get", "--quiet", "."]);
    file.expect_whole();

    let said = scene.try_annex(&["drop", "--force", "--from", "origin", "."]);
    assert!(!said.success(), "a reader removed content: {said}");
    let new = files::of_size(&scene, "new", 6000);
    let said = scene.try_annex(&["copy", "--to", "origin", "new"]);
    assert!(!said.success(), "a reader stored content: {said}");
    let states = [&file, &new].map(|file| scene.repo().state(&file.key()).present);
    assert_eq!(states, [true, false]);
    let kept = fs::read_to_string(store).expect("the store");
    assert!(kept.contains("robert"), "a right password was forgotten");
    scene.expect_clean();
}

fn scene() -> Scene {
    let world = World::new();
    let path = Repo::create(&world, "served", SERVER, true).path().to_owned();
    let users = [
        ("GIT_ANNEX_P2PHTTP_PASSWORD_alice", "right:pass/word"),
        ("GIT_ANNEX_P2PHTTP_PASSWORD_robert", "look"),
        ("GIT_ANNEX_P2PHTTP_PERMISSIONS_robert", "readonly"),
    ];
    Scene::with(world, path, &["--authenv-http"], &users)
}

/// Lets git know a password, and returns the file where it keeps it. The path is part of what git
/// looks for unless the protocol is plain http.
fn remember(scene: &Scene, user: &str, password: &str) -> std::path::PathBuf {
    let store = scene.world.join("passwords");
    let password = password.replace(':', "%3a").replace('/', "%2f");
    let address = scene.relay.address();
    fs::write(&store, format!("annex+http://{user}:{password}@{address}/git-annex\n"))
        .expect("write");
    let helper = format!("store --file={}", text(Path::new(&store)));
    scene.world.git(&scene.client, &["config", "credential.helper", &helper]);
    store
}
