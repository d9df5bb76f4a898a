//! The real git-annex client uses many nodes as one.

use std::fs;
use std::path::Path;

use super::{ALL, Scene};
use crate::client::testremote::compare_outputs;
use crate::ssh::Which;

#[test]
fn a_cluster_of_each_kind_is_used_over_http() {
    let scene = Scene::of(&ALL).clustered();
    let server = scene.serve();
    let client = scene.http_client(&server);
    journey(&scene, &client);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn a_cluster_of_each_kind_is_used_over_ssh() {
    let scene = Scene::of(&ALL).clustered();
    let client = scene.ssh_client();
    journey(&scene, &client);
    scene.expect_clean();
}

#[test]
fn contents_go_to_the_nodes_that_want_them() {
    let scene = Scene::with_cluster();
    for (name, wish) in [("near", "include=*.txt"), ("http", "include=*.mp3"), ("ssh", "anything")]
    {
        scene.world.annex(scene.gateway.path(), &["wanted", name, wish]);
    }
    let server = scene.serve();
    let client = scene.http_client(&server);
    let key = scene.add(&client, "song.mp3", b"la la");
    scene.world.annex(&client, &["copy", "--quiet", "--to", "origin-mycluster", "song.mp3"]);
    scene.expect_at(&key, &["http", "ssh"]);
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes_on_a_cluster_of_each_kind() {
    let scene = Scene::of(&ALL).clustered();
    let ours = scene.test_remote(&scene.serve(), "origin-mycluster");
    let over_ssh = scene.test_remote_of(&scene.ssh_client(), "origin-mycluster");
    // Which the reference cannot reach.
    for name in ["http", "p2phttp"] {
        scene.config(&format!("remote.{name}.annex-cluster-node"), "");
    }
    scene.world.annex(scene.gateway.path(), &["updatecluster", "--quiet"]);
    let reference = scene.test_remote(&scene.serve_by(Which::Reference), "origin-mycluster");
    compare_outputs("cluster", &reference, &ours);
    compare_outputs("cluster-ssh", &reference, &over_ssh);
    scene.expect_clean();
}

/// With a cluster of all nodes.
pub(super) fn journey(scene: &Scene, client: &Path) {
    let annex = |args: &[&str]| scene.world.annex(client, args);
    let all: &[&str] = &scene.nodes.iter().map(|node| node.name).collect::<Vec<_>>();
    let content = vec![7; 1_500_000];
    let key = scene.add(client, "file", &content);
    annex(&["copy", "--quiet", "--to", "origin-mycluster", "file"]);
    scene.expect_at(&key, all);
    // The client was told by the cluster who has it, and so are all others.
    let known = annex(&["whereis", "file"]);
    assert!(known.contains(&format!("{} copies", all.len() + 1)), "{known}");
    scene.expect_whereis(&[client], &key, all);
    annex(&["drop", "--quiet", "file"]);
    annex(&["get", "--quiet", "--from", "origin-mycluster", "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    annex(&["fsck", "--quiet", "--from", "origin-mycluster", "file"]);
    let (first, others) = all.split_first().expect("nodes");
    annex(&["drop", "--quiet", "--from", &format!("origin-{first}"), "file"]);
    scene.expect_at(&key, others);
    // It goes where it is not.
    annex(&["copy", "--quiet", "--to", "origin-mycluster", "file"]);
    annex(&["drop", "--quiet", "--from", "origin-mycluster", "file"]);
    scene.expect_at(&key, &[]);
    annex(&["move", "--quiet", "--to", "origin-mycluster", "file"]);
    assert!(!client.join("file").exists());
    scene.expect_at(&key, all);
    annex(&["move", "--quiet", "--from", "origin-mycluster", "file"]);
    scene.expect_at(&key, &[]);
}
