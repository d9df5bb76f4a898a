//! The real git-annex client uses many nodes as one.

use std::fs;
use std::path::Path;

use super::{Scene, compare_test_remote};

#[test]
fn a_cluster_is_used_over_http() {
    let scene = Scene::with_cluster();
    let server = scene.serve();
    let client = scene.http_client(&server);
    journey(&scene, &client);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn a_cluster_is_used_over_ssh() {
    let scene = Scene::with_cluster();
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
fn what_passes_of_testremote_with_the_reference_passes_on_a_cluster() {
    let scene = Scene::with_cluster();
    // Which the reference cannot reach.
    scene.config("remote.http.annex-cluster-node", "");
    scene.world.annex(scene.gateway.path(), &["updatecluster", "--quiet"]);
    compare_test_remote(&scene, "cluster", "origin-mycluster");
}

fn journey(scene: &Scene, client: &Path) {
    let annex = |args: &[&str]| scene.world.annex(client, args);
    let all = &["near", "http", "ssh"];
    let content = vec![7; 1_500_000];
    let key = scene.add(client, "file", &content);
    annex(&["copy", "--quiet", "--to", "origin-mycluster", "file"]);
    scene.expect_at(&key, all);
    scene.expect_whereis(&key, all);
    // The client was told by the cluster who has it.
    let known = annex(&["whereis", "file"]);
    assert!(known.contains("4 copies"), "{known}");
    annex(&["drop", "--quiet", "file"]);
    annex(&["get", "--quiet", "--from", "origin-mycluster", "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    annex(&["fsck", "--quiet", "--from", "origin-mycluster", "file"]);
    annex(&["drop", "--quiet", "--from", "origin-http", "file"]);
    scene.expect_at(&key, &["near", "ssh"]);
    // It goes where it is not.
    annex(&["copy", "--quiet", "--to", "origin-mycluster", "file"]);
    annex(&["drop", "--quiet", "--from", "origin-mycluster", "file"]);
    scene.expect_at(&key, &[]);
    annex(&["move", "--quiet", "--to", "origin-mycluster", "file"]);
    assert!(!client.join("file").exists());
    scene.expect_at(&key, all);
}
