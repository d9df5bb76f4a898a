//! The real git-annex client uses remotes through a gateway, each under its own uuid.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ALL, Node, Scene};
use crate::client::testremote::compare_outputs;
use crate::harness::{Seeded, usual_or_long};
use crate::ssh::Which;

#[test]
fn proxied_remotes_of_each_kind_are_used_over_http() {
    let scene = Scene::of(&ALL).proxied();
    let server = scene.serve();
    let client = scene.http_client(&server);
    journey(&scene, &client, &scene.nodes);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn proxied_remotes_of_each_kind_are_used_over_ssh() {
    let scene = Scene::of(&ALL).proxied();
    let client = scene.ssh_client();
    journey(&scene, &client, usual_or_long(&scene.nodes[1..3], &scene.nodes));
    scene.expect_clean();
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes_through_a_proxy_of_each_kind() {
    let scene = Scene::of(&ALL).proxied();
    // Which the reference reaches, too.
    let reference = scene.test_remote(&scene.serve_by(Which::Reference), "origin-shell");
    let server = scene.serve();
    for node in &scene.nodes {
        let ours = scene.test_remote(&server, &format!("origin-{}", node.name));
        compare_outputs(&format!("proxy-{}", node.name), &reference, &ours);
    }
    for node in usual_or_long(&scene.nodes[2..3], &scene.nodes) {
        let ours = scene.test_remote_of(&scene.ssh_client(), &format!("origin-{}", node.name));
        compare_outputs(&format!("proxy-ssh-{}", node.name), &reference, &ours);
    }
    scene.expect_clean();
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

/// With each of these nodes, and with all at once.
pub(super) fn journey(scene: &Scene, client: &Path, alone: &[Node]) {
    let annex = |args: &[&str]| scene.world.annex(client, args);
    let remote = |node: &Node| format!("origin-{}", node.name);
    let begin = |repo: PathBuf, key: &str, content: &[u8]| {
        let tmp = repo.join("annex/tmp");
        fs::create_dir_all(&tmp).expect("make a directory");
        fs::write(tmp.join(key), content).expect("write the beginning");
    };
    for (number, node) in (1..).zip(alone) {
        let (remote, file) = (remote(node), format!("file of {}", node.name));
        let content = Seeded::new(number).bytes(600_000);
        let key = scene.add(client, &file, &content);
        // What came of an earlier put is not sent again.
        begin(node.path().to_owned(), &key, &content[..500_000]);
        annex(&["copy", "--quiet", "--to", &remote, &file]);
        scene.expect_at(&key, &[node.name]);
        annex(&["fsck", "--quiet", "--from", &remote, &file]);
        annex(&["drop", "--quiet", &file]); // which locks the content at the node
        // What came of an earlier get is not asked for again.
        begin(client.join(".git"), &key, &content[..500_000]);
        annex(&["move", "--quiet", "--from", &remote, &file]);
        assert!(fs::read(client.join(&file)).expect("what came") == content);
        scene.expect_at(&key, &[]);
        annex(&["move", "--quiet", "--to", &remote, &file]);
        scene.expect_at(&key, &[node.name]);
        assert!(!client.join(&file).exists());
    }
    let key = scene.add(client, "everywhere", b"everywhere");
    for node in &scene.nodes {
        annex(&["copy", "--quiet", "--to", &remote(node), "everywhere"]);
    }
    annex(&["drop", "--quiet", "everywhere"]);
    // A drop from one node counts on a lock at another, of whatever kind.
    let (last, others) = scene.nodes.split_last().expect("nodes");
    for node in others {
        annex(&["drop", "--quiet", "--from", &remote(node), "everywhere"]);
    }
    let refused = scene.world.try_annex(client, &["drop", "--from", &remote(last), "everywhere"]);
    assert!(!refused.success(), "{refused}");
    scene.expect_at(&key, &[last.name]);
    scene.expect_whereis(&[client], &key, &[last.name]);
    for node in &scene.nodes {
        assert!(!node.is_locked(&key), "it was not unlocked at {}", node.name);
    }
    for (node, expected) in [(&scene.nodes[0], 1), (last, 0)] {
        let asked = scene.world.try_annex(client, &["checkpresentkey", &key, &remote(node)]);
        assert_eq!(asked.code, Some(expected), "{asked}");
    }
    annex(&["get", "--quiet", "--from", &remote(last), "everywhere"]);
}
