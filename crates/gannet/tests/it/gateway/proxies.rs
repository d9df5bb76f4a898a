//! The real git-annex client uses remotes through a gateway, each under its own uuid.

use std::fs;
use std::path::Path;

use super::{NODES, Scene, compare_test_remote};
use crate::harness::Seeded;

#[test]
fn proxied_remotes_are_used_over_http() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    journey(&scene, &client, &[0, 1, 2]);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn proxied_remotes_are_used_over_ssh() {
    let scene = Scene::with_proxies();
    let client = scene.ssh_client();
    journey(&scene, &client, &[1]);
    scene.expect_clean();
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes_through_a_proxy() {
    compare_test_remote(&Scene::with_proxies(), "proxy", "origin-near");
}

#[test]
fn read_only_remotes_are_only_read() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let key = scene.add(&client, "file", b"to be kept");
    scene.world.annex(&client, &["copy", "--quiet", "--to", "origin-near", "file"]);
    scene.config("remote.near.annex-readonly", "true");
    let dropped = scene.world.try_annex(&client, &["drop", "--from", "origin-near", "file"]);
    assert!(!dropped.success(), "{dropped}");
    scene.add(&client, "more", b"not to come");
    let copied = scene.world.try_annex(&client, &["copy", "--to", "origin-near", "more"]);
    assert!(!copied.success(), "{copied}");
    scene.world.annex(&client, &["drop", "--quiet", "file"]);
    scene.world.annex(&client, &["get", "--quiet", "--from", "origin-near", "file"]);
    scene.expect_at(&key, &["near"]);
}

/// With each of the nodes, and with two at once.
fn journey(scene: &Scene, client: &Path, nodes: &[usize]) {
    let annex = |args: &[&str]| scene.world.annex(client, args);
    for &number in nodes {
        let (name, node) = (NODES[number].0, &scene.nodes[number]);
        let (remote, file) = (format!("origin-{name}"), format!("file of {name}"));
        let content = Seeded::new(number as u64 + 1).bytes(600_000);
        let key = scene.add(client, &file, &content);
        annex(&["copy", "--quiet", "--to", &remote, &file]);
        scene.expect_at(&key, &[name]);
        annex(&["fsck", "--quiet", "--from", &remote, &file]);
        annex(&["drop", "--quiet", &file]); // which locks the content at the node
        // What came of an earlier attempt is not asked for again.
        let tmp = client.join(".git/annex/tmp");
        fs::create_dir_all(&tmp).expect("make a directory");
        fs::write(tmp.join(&key), &content[..500_000]).expect("write the beginning");
        annex(&["get", "--quiet", "--from", &remote, &file]);
        assert!(fs::read(client.join(&file)).expect("what came") == content);
        annex(&["drop", "--quiet", "--from", &remote, &file]);
        scene.expect_at(&key, &[]);
        // What came of an earlier put is not sent again.
        let tmp = node.annex_dir().join("tmp");
        fs::create_dir_all(&tmp).expect("make a directory");
        fs::write(tmp.join(&key), &content[..500_000]).expect("write the beginning");
        annex(&["move", "--quiet", "--to", &remote, &file]);
        scene.expect_at(&key, &[name]);
        assert!(!client.join(&file).exists());
    }
    // A drop from one node counts on a lock at another.
    let key = scene.add(client, "twice", b"twice there");
    for name in ["origin-near", "origin-ssh"] {
        annex(&["copy", "--quiet", "--to", name, "twice"]);
    }
    annex(&["drop", "--quiet", "twice"]);
    annex(&["drop", "--quiet", "--from", "origin-near", "twice"]);
    let last = scene.world.try_annex(client, &["drop", "--from", "origin-ssh", "twice"]);
    assert!(!last.success(), "{last}");
    scene.expect_at(&key, &["ssh"]);
    scene.expect_whereis(&key, &["ssh"]);
    assert!(!scene.nodes[2].is_locked(&key), "it was not unlocked");
}
