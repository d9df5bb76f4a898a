//! The real git-annex client uses special remotes through a gateway.

use std::fs;
use std::path::Path;

use super::*;
use crate::client::testremote::{compare_outputs, failed};
use crate::harness::Reference;

#[test]
fn special_remotes_are_used_over_http() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    for (name, _) in NODES {
        journey(&scene, &client, name);
    }
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn special_remotes_are_used_over_ssh() {
    let scene = Scene::with_proxies();
    let (sshd, client) = scene.ssh_client();
    for name in ["chunked", "program"] {
        journey(&scene, &client, name);
    }
    drop(sshd);
    scene.expect_clean();
}

#[test]
fn special_remotes_are_nodes_of_a_cluster() {
    let scene = Scene::with_cluster();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.annex(&client, args);
    let all = NODES.map(|(name, _)| name);
    let content = Seeded::new(9).bytes(100_000);
    let key = scene.add(&client, "file", &content);
    annex(&["copy", "--quiet", "--to", "origin-mycluster", "file"]);
    scene.expect_at(&key, &all);
    scene.expect_whereis(&key, &all);
    let known = annex(&["whereis", "file"]);
    assert!(known.contains("5 copies"), "{known}");
    for name in all {
        scene.expect_read(&key, name, &content);
    }
    annex(&["drop", "--quiet", "file"]);
    annex(&["get", "--quiet", "--from", "origin-mycluster", "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    annex(&["fsck", "--quiet", "--from", "origin-mycluster", "file"]);
    annex(&["drop", "--quiet", "--from", "origin-program", "file"]);
    scene.expect_at(&key, &["whole", "chunked", "slices"]);
    annex(&["copy", "--quiet", "--to", "origin-mycluster", "file"]);
    annex(&["drop", "--quiet", "--from", "origin-mycluster", "file"]);
    scene.expect_at(&key, &[]);
    annex(&["move", "--quiet", "--to", "origin-mycluster", "file"]);
    assert!(!client.join("file").exists());
    scene.expect_at(&key, &all);
    // The cheapest ones have it no more, and nobody said so.
    for name in ["whole", "chunked"] {
        fs::remove_dir_all(scene.objects(name)).expect("lose the objects");
        fs::create_dir(scene.objects(name)).expect("keep the directory");
    }
    annex(&["get", "--quiet", "--from", "origin-mycluster", "file"]);
    assert!(fs::read(client.join("file")).expect("what came") == content);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes_on_special_remotes() {
    let scene = Scene::with_proxies();
    for (name, _) in &NODES[1..3] {
        let remote = format!("origin-{name}");
        let reference = Reference::serve(&scene.world, scene.gateway.path(), &["--wideopen"]);
        let ours = scene.serve();
        let [theirs, ours] = [&reference, &ours].map(|server| {
            let client = scene.http_client(server);
            scene.world.try_annex(&client, &["testremote", "--fast", &remote])
        });
        compare_outputs(&format!("special-{name}"), &theirs, &ours);
        assert_eq!(failed(&ours), Vec::<String>::new(), "{ours}");
    }
    scene.expect_clean();
}

#[test]
fn testremote_passes_on_a_cluster_of_special_remotes() {
    let scene = Scene::with_cluster();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let tested = scene.world.try_annex(&client, &["testremote", "--fast", "origin-mycluster"]);
    assert_eq!(failed(&tested), Vec::<String>::new(), "{tested}");
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

/// With one of them.
pub(super) fn journey(scene: &Scene, client: &Path, name: &str) {
    let annex = |args: &[&str]| scene.world.annex(client, args);
    let remote = format!("origin-{name}");
    let file = format!("file of {name}");
    let seed = name.bytes().map(u64::from).sum();
    let content = Seeded::new(seed).bytes(100_000);
    let key = scene.add(client, &file, &content);
    annex(&["copy", "--quiet", "--to", &remote, &file]);
    scene.expect_at(&key, &[name]);
    scene.expect_read(&key, name, &content);
    annex(&["fsck", "--quiet", "--from", &remote, &file]);
    annex(&["drop", "--quiet", &file]);
    // What came of an earlier attempt is not asked for again.
    let tmp = client.join(".git/annex/tmp");
    fs::create_dir_all(&tmp).expect("make a directory");
    fs::write(tmp.join(&key), &content[..50_000]).expect("write the beginning");
    annex(&["get", "--quiet", "--from", &remote, &file]);
    assert!(fs::read(client.join(&file)).expect("what came") == content);
    annex(&["drop", "--quiet", "--from", &remote, &file]);
    scene.expect_at(&key, &[]);
    annex(&["move", "--quiet", "--to", &remote, &file]);
    scene.expect_at(&key, &[name]);
    assert!(!client.join(&file).exists());
    scene.expect_whereis(&key, &[name]);

    // What git-annex stored there itself is read, checked and removed.
    annex(&["move", "--quiet", "--from", &remote, &file]);
    scene.expect_at(&key, &[]);
    scene.gateway.set_content(&scene.world, &key, &content);
    scene.annex(&["copy", "--quiet", "--to", name, "--key", &key]);
    scene.annex(&["drop", "--quiet", "--force", "--key", &key]);
    annex(&["fsck", "--quiet", "--from", &remote, &file]);
    annex(&["drop", "--quiet", &file]);
    annex(&["get", "--quiet", "--from", &remote, &file]);
    assert!(fs::read(client.join(&file)).expect("what came") == content);
    annex(&["drop", "--quiet", "--from", &remote, &file]);
    let absent = ["checkpresentkey", &key, name];
    assert_eq!(scene.world.try_annex(scene.gateway.path(), &absent).code, Some(1));
}
