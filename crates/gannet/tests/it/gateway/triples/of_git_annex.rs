//! The real git-annex as the client, and real nodes of git-annex, limited to each version; Gannet
//! between them is reached through both of its doors.

use std::fs;
use std::path::{Path, PathBuf};

use gannet_net::serve::p2p::Version;

use crate::client::clone;
use crate::gateway::GATEWAY;
use crate::harness::server::GANNET;
use crate::harness::{Gannet, Repo, Seeded, World, usual_or_long};
use crate::places::text;
use crate::versions::Limited;

#[test]
fn the_real_client_reaches_nodes_of_all_versions_through_http() {
    let scene = Scene::new();
    let server = Gannet::serve(&scene.world, &["--wideopen", scene.gateway.arg()]);
    let client = clone(&scene.world, scene.gateway.path(), &server.annex_url(), GATEWAY);
    for version in Version::ALL {
        scene.journey(&client, version);
    }
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn the_real_client_reaches_nodes_of_all_versions_through_a_line() {
    let scene = Scene::new();
    let client = scene.world.join("client");
    let url = format!("ssh://host.invalid{}", scene.gateway.arg());
    scene.world.git(scene.world.path(), &["clone", "-q", scene.gateway.arg(), text(&client)]);
    let config = |name: &str, value: &str| scene.world.git(&client, &["config", name, value]);
    config("remote.origin.url", &url);
    config("remote.origin.annex-uuid", GATEWAY);
    config("annex.sshcaching", "false");
    let shell = scene.world.join("gateway-shell");
    scene.program(&shell, &format!("#!/bin/sh\nexec '{GANNET}' shell \"$@\"\n"));
    config("remote.origin.annex-shell", text(&shell));
    scene.world.annex(&client, &["init", "--quiet", "client"]);
    for &version in usual_or_long(&[Version::V0, Version::V3][..], &Version::ALL) {
        scene.journey(&client, version);
    }
}

/// A gateway, and two nodes to which something like ssh leads.
struct Scene {
    world: World,
    gateway: Repo,
    nodes: [Repo; 2],
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let gateway = Repo::create(&world, "gateway", GATEWAY, false);
        world.git(gateway.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
        let nodes = NODES.map(|(name, uuid)| Repo::create(&world, name, uuid, true));
        let scene = Self { world, gateway, nodes };
        scene.program(&scene.world.join("bin/ssh"), SSH);
        for ((name, uuid), node) in NODES.iter().zip(&scene.nodes) {
            let config = |key: &str, value: &str| {
                let key = format!("remote.{name}.{key}");
                scene.world.git(scene.gateway.path(), &["config", &key, value])
            };
            config("url", &format!("ssh://host.invalid{}", node.arg()));
            config("annex-uuid", uuid);
            config("annex-proxy", "true");
            // The gateway learns what it is called.
            let branch = format!("+git-annex:refs/remotes/{name}/git-annex");
            scene.world.git(scene.gateway.path(), &["fetch", "-q", node.arg(), &branch]);
        }
        scene.world.annex(scene.gateway.path(), &["merge", "--quiet"]);
        scene.world.annex(scene.gateway.path(), &["updateproxy", "--quiet"]);
        scene
    }

    fn program(&self, path: &Path, script: &str) -> PathBuf {
        fs::write(path, script).expect("write a program");
        self.world.ok(self.world.path(), &["chmod", "+x", text(path)]);
        path.to_owned()
    }

    /// Everything that clients do, with nodes of this version.
    fn journey(&self, client: &Path, version: Version) {
        let [one, two] = NODES.map(|(name, _)| {
            let shell = Limited::with(&self.world, "git-annex-shell", version);
            let setting = format!("remote.{name}.annex-shell");
            let value = text(&shell.program);
            self.world.git(self.gateway.path(), &["config", &setting, value]);
            shell
        });
        let annex = |args: &[&str]| self.world.annex(client, args);
        let file = format!("file {}", version.number());
        let bytes = Seeded::new(version.number()).bytes(300_000);
        fs::write(client.join(&file), &bytes).expect("write a file");
        annex(&["add", "--quiet", &file]);
        let key = annex(&["lookupkey", &file]).trim().to_owned();
        let has = || self.nodes.each_ref().map(|node| node.object(&key).is_some());

        annex(&["copy", "--quiet", "--to", "origin-one", &file]);
        assert_eq!(has(), [true, false], "{version:?}");
        assert_eq!(one.heard("VALID"), version.tells_validity(), "{version:?}");
        assert_eq!(one.heard("BYPASS "), version.lists_others(), "{version:?}");
        annex(&["drop", "--quiet", &file]);
        assert!(one.heard(&format!("LOCKCONTENT {key}")) && one.heard("UNLOCKCONTENT"));
        let partial = client.join(".git/annex/tmp").join(&key);
        fs::create_dir_all(partial.parent().expect("a directory")).expect("make a directory");
        fs::write(partial, &bytes[..123_456]).expect("write partial content");
        annex(&["get", "--quiet", "--from", "origin-one", &file]);
        assert!(fs::read(client.join(&file)).expect("the content") == bytes);
        // In version 0 nobody vouches for it, so all of it is looked at.
        let resumed = one.heard("GET 123456 ");
        assert_eq!(resumed, version.tells_validity(), "{version:?}");
        // The other node alone has a copy then, and keeps it.
        annex(&["copy", "--quiet", "--to", "origin-two", &file]);
        annex(&["drop", "--quiet", &file]);
        annex(&["drop", "--quiet", "--from", "origin-one", &file]);
        assert!(two.heard(&format!("LOCKCONTENT {key}")), "{version:?}");
        assert_eq!(has(), [false, true], "{version:?}");
        let removed = (one.heard("REMOVE-BEFORE "), one.heard(&format!("REMOVE {key}")));
        let expected = (version.has_deadlines(), !version.has_deadlines());
        assert_eq!(removed, expected, "{version:?}");
        let kept = self.world.try_annex(client, &["drop", "--from", "origin-two", &file]);
        assert!(!kept.success() && has() == [false, true], "{kept}");
        println!(
            "git-annex, Gannet, git-annex-shell {}: REMOVE-BEFORE {}",
            version.number(),
            removed.0
        );
    }
}

const NODES: [(&str, &str); 2] = [
    ("one", "0de00001-0000-4000-8000-000000000001"),
    ("two", "0de00002-0000-4000-8000-000000000002"),
];
const SSH: &str = "\
#!/bin/sh
for command; do :; done # the last argument
exec sh -c \"$command\"
";
