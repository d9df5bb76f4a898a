//! Gannet as a gateway: proxied remotes and clusters, set up by the real git-annex and used by it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::clone;
use crate::client::testremote::compare_outputs;
use crate::harness::{Gannet, Reference, Repo, Server, World, eventually};
use crate::ssh::Which;
use crate::ssh::sshd::{Login, Sshd};

mod changes;
mod clusters;
mod proxies;
mod shell;

/// A gateway with work tree, and its nodes: bare repositories of which each is reached in its own
/// way.
struct Scene {
    gateway: Repo,
    nodes: Vec<Repo>,
    login: Login,
    _http: Server,
    _sshd: Sshd,
    world: World,
}

impl Scene {
    /// A gateway that knows its nodes, and lets nobody reach them yet.
    fn new() -> Self {
        let world = World::new();
        let gateway = Repo::create(&world, "gateway", GATEWAY, false);
        world.git(gateway.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
        let nodes: Vec<_> = NODES
            .iter()
            .map(|(name, uuid)| Repo::create(&world, &format!("node-{name}"), uuid, true))
            .collect();
        let [near, http, ssh] = &nodes[..] else { panic!("three nodes") };
        let http = Gannet::serve(&world, &["--wideopen", http.arg()]);
        let sshd = Sshd::start(&world, Which::Gannet);
        let login = sshd.admit(&world, "");
        let options = format!("-F {}", login.config.display());
        let config = |name: &str, value: &str| world.git(gateway.path(), &["config", name, value]);
        config("remote.near.url", near.arg());
        // Nobody goes there but by the other url.
        config("remote.http.url", "ssh://nowhere.invalid/node");
        config("remote.http.annexUrl", &http.annex_url());
        config("remote.ssh.url", &login.url(ssh.path()));
        config("remote.ssh.annex-ssh-options", &options);
        for (name, uuid) in NODES {
            config(&format!("remote.{name}.annex-uuid"), uuid);
            let fetch = format!("+refs/heads/*:refs/remotes/{name}/*");
            config(&format!("remote.{name}.fetch"), &fetch);
        }
        // The gateway knows what its nodes are called.
        for ((name, _), node) in NODES.iter().zip(&nodes) {
            let branch = format!("+git-annex:refs/remotes/{name}/git-annex");
            world.git(gateway.path(), &["fetch", "-q", node.arg(), &branch]);
        }
        world.annex(gateway.path(), &["merge", "--quiet"]);
        Self { gateway, nodes, login, _http: http, _sshd: sshd, world }
    }

    /// Has all nodes proxied.
    fn with_proxies() -> Self {
        let scene = Self::new();
        for (name, _) in NODES {
            scene.config(&format!("remote.{name}.annex-proxy"), "true");
        }
        scene.world.annex(scene.gateway.path(), &["updateproxy", "--quiet"]);
        scene
    }

    /// Has all nodes in a cluster called `mycluster`.
    fn with_cluster() -> Self {
        let scene = Self::new();
        scene.world.annex(scene.gateway.path(), &["initcluster", "--quiet", "mycluster"]);
        for (name, _) in NODES {
            scene.config(&format!("remote.{name}.annex-cluster-node"), "mycluster");
        }
        scene.world.annex(scene.gateway.path(), &["updatecluster", "--quiet"]);
        scene
    }

    fn config(&self, name: &str, value: &str) {
        self.world.git(self.gateway.path(), &["config", name, value]);
    }

    fn serve(&self) -> Server {
        Gannet::serve(&self.world, &["--wideopen", self.gateway.arg()])
    }

    /// A client that reaches content over HTTP only.
    fn http_client(&self, server: &Server) -> PathBuf {
        clone(&self.world, self.gateway.path(), &server.annex_url(), GATEWAY)
    }

    /// A client that reaches content over ssh only.
    fn ssh_client(&self) -> PathBuf {
        self.login.clone(&self.world, self.gateway.path())
    }

    fn add(&self, client: &Path, name: &str, content: &[u8]) -> String {
        fs::write(client.join(name), content).expect("write a file");
        self.world.annex(client, &["add", "--quiet", name]);
        self.world.git(client, &["commit", "-q", "-m", name]);
        self.world.annex(client, &["lookupkey", name]).trim().to_owned()
    }

    /// Who has the content, by what nodes have and by what the gateway recorded.
    #[track_caller]
    fn expect_at(&self, key: &str, expected: &[&str]) {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        let nodes = NODES.iter().zip(&self.nodes);
        let there = nodes.filter(|(_, node)| node.state(key).present).map(|((name, _), _)| *name);
        assert_eq!(there.collect::<BTreeSet<_>>(), expected, "at nodes");
        eventually(PATIENCE, || {
            let log = self.gateway.location_log(&self.world, key);
            let known = NODES.iter().filter(|(_, uuid)| log.get(*uuid) == Some(&true));
            let known: BTreeSet<_> = known.map(|(name, _)| *name).collect();
            match known == expected && !log.contains_key(GATEWAY) {
                true => Ok(()),
                false => Err(format!("recorded {log:?}")),
            }
        });
        for ((name, _), node) in NODES.iter().zip(&self.nodes) {
            eventually(PATIENCE, || {
                let own = node.location_log(&self.world, key).get(node.uuid()) == Some(&true);
                match own == expected.contains(name) {
                    true => Ok(()),
                    false => Err(format!("{name} recorded {own} of itself")),
                }
            });
        }
    }

    /// Where somebody who clones the gateway now believes the content to be.
    #[track_caller]
    fn expect_whereis(&self, key: &str, expected: &[&str]) {
        let clone = self.world.fresh("friend");
        let to = clone.to_str().expect("a path of ASCII");
        self.world.git(self.world.path(), &["clone", "-q", self.gateway.arg(), to]);
        self.world.annex(&clone, &["init", "--quiet", "friend"]);
        let said = self.world.try_annex(&clone, &["whereis", "--key", key, "--format=${uuid}\\n"]);
        let said = said.out();
        let known = NODES.iter().filter(|(_, uuid)| said.contains(uuid));
        let known: BTreeSet<_> = known.map(|(name, _)| *name).collect();
        assert_eq!(known, expected.iter().copied().collect(), "{said}");
    }

    /// Fails unless git-annex finds nothing wrong anywhere, but that some contents are nowhere any
    /// more, and nothing was left behind.
    #[track_caller]
    fn expect_clean(&self) {
        for repo in self.nodes.iter().chain([&self.gateway]) {
            let checked = self.world.try_annex(repo.path(), &["fsck", "--all"]);
            let is_fault = |line: &str| line.contains("**") && !line.contains("No known copies");
            let wrong = checked.out().contains("fixing location log");
            assert!(!wrong && !checked.err().lines().any(is_fault), "{checked}");
            self.world.git(repo.path(), &["fsck", "--strict", "--no-dangling"]);
            repo.assert_no_strays();
        }
    }
}

/// Runs `git annex testremote` at what both servers reach, and compares.
fn compare_test_remote(scene: &Scene, name: &str, remote: &str) {
    let reference = Reference::serve(&scene.world, scene.gateway.path(), &["--wideopen"]);
    let ours = scene.serve();
    let [theirs, ours] = [&reference, &ours].map(|server| {
        let client = scene.http_client(server);
        scene.world.try_annex(&client, &["testremote", "--fast", remote])
    });
    compare_outputs(name, &theirs, &ours);
}

const GATEWAY: &str = "6a7e3a1e-0000-4000-8000-000000000001";
/// The names by which the gateway knows its nodes, and their uuids.
const NODES: [(&str, &str); 3] = [
    ("near", "0de00001-0000-4000-8000-000000000001"),
    ("http", "0de00002-0000-4000-8000-000000000002"),
    ("ssh", "0de00003-0000-4000-8000-000000000003"),
];
const PATIENCE: Duration = Duration::from_secs(60);
