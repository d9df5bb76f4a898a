//! Gannet as a gateway: proxied remotes and clusters, set up by the real git-annex and used by it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::client::clone;
use crate::harness::{Finished, Gannet, Reference, Repo, Server, World, eventually};
use crate::ssh::Which;
use crate::ssh::sshd::{Login, Sshd};

mod bounds;
mod chains;
mod changes;
mod clusters;
mod credentials;
mod nodes;
mod pairs;
mod proxies;
mod setup;
mod shell;
mod special;
mod triples;
mod trouble;

/// A gateway with work tree, and its nodes: bare repositories of which each is reached in its own
/// way.
struct Scene {
    gateway: Repo,
    nodes: Vec<Node>,
    street: Arc<Street>,
    world: Arc<World>,
}

/// A node of a gateway.
struct Node {
    /// What the gateway calls it.
    name: &'static str,
    repo: Repo,
    _server: Option<Server>,
}

impl Deref for Node {
    type Target = Repo;

    fn deref(&self) -> &Repo {
        &self.repo
    }
}

/// How a gateway reaches a node, and whose program answers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Path,
    Ssh(Which),
    Http(Which),
}

/// What a world with ssh has: a server of each kind, and a key that it lets in.
struct Street {
    logins: [Login; 2],
    sshds: [Sshd; 2],
}

impl Street {
    fn new(world: &World) -> Self {
        let sshds = [Which::Gannet, Which::Reference].map(|which| Sshd::start(world, which));
        let logins = [&sshds[0], &sshds[1]].map(|sshd| sshd.admit(world, ""));
        Self { logins, sshds }
    }

    /// What the servers logged.
    fn log(&self) -> String {
        self.sshds.iter().map(Sshd::log).collect()
    }

    fn login(&self, which: Which) -> &Login {
        let [gannet, reference] = &self.logins;
        match which {
            Which::Gannet => gannet,
            Which::Reference => reference,
        }
    }
}

impl Scene {
    /// A gateway that knows the usual nodes, and lets nobody reach them yet.
    fn new() -> Self {
        Self::of(&USUAL)
    }

    /// The same with these nodes.
    fn of(nodes: &[(&'static str, Way)]) -> Self {
        let world = Arc::new(World::new());
        let street = Arc::new(Street::new(&world));
        Self::within(&world, &street, ("gateway", GATEWAY), nodes)
    }

    /// The same, called like this, in a world where others are. Nodes have the uuids of [`NODES`],
    /// but for the first three digits, which are those of the gateway.
    fn within(
        world: &Arc<World>,
        street: &Arc<Street>,
        (name, uuid): (&str, &str),
        nodes: &[(&'static str, Way)],
    ) -> Self {
        let gateway = Repo::create(world, name, uuid, false);
        world.git(gateway.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
        let mut scene = Self {
            gateway,
            nodes: Vec::new(),
            street: Arc::clone(street),
            world: Arc::clone(world),
        };
        for (number, (node, way)) in (1..).zip(nodes) {
            let prefix = if uuid == GATEWAY { "0de" } else { &uuid[..3] };
            let uuid = format!("{prefix}0000{number}-0000-4000-8000-00000000000{number}");
            let repo = Repo::create(world, &format!("{name}-{node}"), &uuid, true);
            let _server = scene.know(node, &repo, *way);
            scene.nodes.push(Node { name: node, repo, _server });
        }
        world.annex(scene.gateway.path(), &["merge", "--quiet"]);
        scene
    }

    /// Makes a repository a remote of the gateway, which a server may serve from now on.
    fn know(&self, name: &str, repo: &Repo, way: Way) -> Option<Server> {
        let config = |setting: &str, value: &str| {
            self.config(&format!("remote.{name}.{setting}"), value);
        };
        config("annex-uuid", repo.uuid());
        config("fetch", &format!("+refs/heads/*:refs/remotes/{name}/*"));
        self.fetch(name, repo);
        let server = match way {
            Way::Path => {
                config("url", repo.arg());
                return None;
            }
            Way::Ssh(which) => {
                let login = self.street.login(which);
                config("url", &login.url(repo.path()));
                config("annex-ssh-options", &format!("-F {}", login.config.display()));
                return None;
            }
            Way::Http(Which::Gannet) => Gannet::serve(&self.world, &["--wideopen", repo.arg()]),
            Way::Http(Which::Reference) => {
                Reference::serve(&self.world, repo.path(), &["--wideopen"])
            }
        };
        // Nobody goes there but by the other url.
        config("url", "ssh://nowhere.invalid/node");
        config("annexUrl", &server.annex_url());
        Some(server)
    }

    /// Has the gateway fetch what another repository knows, at the least what that is called.
    fn fetch(&self, name: &str, repo: &Repo) {
        let branch = format!("+git-annex:refs/remotes/{name}/git-annex");
        self.world.git(self.gateway.path(), &["fetch", "-q", repo.arg(), &branch]);
    }

    /// Has all nodes proxied.
    fn with_proxies() -> Self {
        Self::new().proxied()
    }

    fn proxied(self) -> Self {
        for Node { name, .. } in &self.nodes {
            self.config(&format!("remote.{name}.annex-proxy"), "true");
        }
        self.world.annex(self.gateway.path(), &["updateproxy", "--quiet"]);
        self
    }

    /// Has all nodes in a cluster called `mycluster`.
    fn with_cluster() -> Self {
        Self::new().clustered()
    }

    fn clustered(self) -> Self {
        self.world.annex(self.gateway.path(), &["initcluster", "--quiet", "mycluster"]);
        self.join_cluster();
        self
    }

    /// Has all nodes join the cluster, of which the gateway is one already.
    fn join_cluster(&self) {
        for Node { name, .. } in &self.nodes {
            self.config(&format!("remote.{name}.annex-cluster-node"), "mycluster");
        }
        self.world.annex(self.gateway.path(), &["updatecluster", "--quiet"]);
    }

    fn config(&self, name: &str, value: &str) {
        self.world.git(self.gateway.path(), &["config", name, value]);
    }

    fn serve(&self) -> Server {
        self.serve_by(Which::Gannet)
    }

    fn serve_by(&self, which: Which) -> Server {
        match which {
            Which::Gannet => Gannet::serve(&self.world, &["--wideopen", self.gateway.arg()]),
            Which::Reference => Reference::serve(&self.world, self.gateway.path(), &["--wideopen"]),
        }
    }

    /// A client that reaches content over HTTP only.
    fn http_client(&self, server: &Server) -> PathBuf {
        clone(&self.world, self.gateway.path(), &server.annex_url(), self.gateway.uuid())
    }

    /// A client that reaches content over ssh only.
    fn ssh_client(&self) -> PathBuf {
        self.ssh_client_of(Which::Gannet)
    }

    fn ssh_client_of(&self, which: Which) -> PathBuf {
        self.street.login(which).clone(&self.world, self.gateway.path())
    }

    /// Runs `git annex testremote --fast` on what is behind a server of the gateway.
    fn test_remote(&self, server: &Server, remote: &str) -> Finished {
        self.test_remote_of(&self.http_client(server), remote)
    }

    fn test_remote_of(&self, client: &Path, remote: &str) -> Finished {
        self.world.try_annex(client, &["testremote", "--fast", remote])
    }

    fn add(&self, client: &Path, name: &str, content: &[u8]) -> String {
        add(&self.world, client, name, content)
    }

    /// Who has the content, by what nodes have and by what the gateway recorded.
    #[track_caller]
    fn expect_at(&self, key: &str, expected: &[&str]) {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        let there = self.nodes.iter().filter(|node| node.state(key).present);
        let there: BTreeSet<_> = there.map(|node| node.name).collect();
        assert_eq!(there, expected, "at nodes");
        eventually(PATIENCE, || {
            let log = self.gateway.location_log(&self.world, key);
            let known = self.names(|node| log.get(node.uuid()) == Some(&true));
            match known == expected && !log.contains_key(self.gateway.uuid()) {
                true => Ok(()),
                false => Err(format!("recorded {log:?}")),
            }
        });
        for Node { name, repo, .. } in &self.nodes {
            eventually(PATIENCE, || {
                let own = repo.location_log_now(&self.world, key).get(repo.uuid()) == Some(&true);
                match own == expected.contains(name) {
                    true => Ok(()),
                    false => Err(format!("{name} recorded {own} of itself")),
                }
            });
        }
    }

    /// Where everybody now believes the content to be: whoever clones the gateway, and, once they
    /// have fetched from it, these clients and the nodes.
    #[track_caller]
    fn expect_whereis(&self, clients: &[&Path], key: &str, expected: &[&str]) {
        let friend = self.world.fresh("friend");
        let to = friend.to_str().expect("a path of ASCII");
        self.world.git(self.world.path(), &["clone", "-q", self.gateway.arg(), to]);
        self.world.annex(&friend, &["init", "--quiet", "friend"]);
        let nodes = self.nodes.iter().map(|node| node.path());
        let fetching = nodes.chain(clients.iter().copied());
        for repo in fetching.clone() {
            let branch = "+git-annex:refs/remotes/gateway/git-annex";
            self.world.git(repo, &["fetch", "-q", self.gateway.arg(), branch]);
            self.world.annex(repo, &["merge", "--quiet"]);
        }
        let expected: BTreeSet<_> = expected.iter().copied().collect();
        for repo in fetching.chain([self.gateway.path(), &friend]) {
            let said =
                self.world.try_annex(repo, &["whereis", "--key", key, "--format=${uuid}\\n"]);
            let known = self.names(|node| said.out().contains(node.uuid()));
            assert_eq!(known, expected, "{}: {said}", repo.display());
        }
    }

    fn names(&self, are: impl Fn(&Node) -> bool) -> BTreeSet<&str> {
        self.nodes.iter().filter(|node| are(node)).map(|node| node.name).collect()
    }

    /// Fails unless git-annex finds nothing wrong anywhere, but that some contents are nowhere any
    /// more, and nothing was left behind.
    #[track_caller]
    fn expect_clean(&self) {
        for repo in self.nodes.iter().map(|node| &node.repo).chain([&self.gateway]) {
            let checked = self.world.try_annex(repo.path(), &["fsck", "--all"]);
            let is_fault = |line: &str| line.contains("**") && !line.contains("No known copies");
            let wrong = checked.out().contains("fixing location log");
            assert!(!wrong && !checked.err().lines().any(is_fault), "{checked}");
            self.world.git(repo.path(), &["fsck", "--strict", "--no-dangling"]);
            repo.assert_no_strays();
        }
    }
}

/// Adds a file there, and returns its key.
fn add(world: &World, client: &Path, name: &str, content: &[u8]) -> String {
    fs::write(client.join(name), content).expect("write a file");
    world.annex(client, &["add", "--quiet", name]);
    world.git(client, &["commit", "-q", "-m", name]);
    world.annex(client, &["lookupkey", name]).trim().to_owned()
}

const GATEWAY: &str = "6a7e3a1e-0000-4000-8000-000000000001";
/// The names by which the gateway knows its usual nodes, and their uuids.
const NODES: [(&str, &str); 3] = [
    ("near", "0de00001-0000-4000-8000-000000000001"),
    ("http", "0de00002-0000-4000-8000-000000000002"),
    ("ssh", "0de00003-0000-4000-8000-000000000003"),
];
/// How the gateway reaches them.
const USUAL: [(&str, Way); 3] =
    [("near", Way::Path), ("http", Way::Http(Which::Gannet)), ("ssh", Way::Ssh(Which::Gannet))];
/// Nodes of each kind.
const ALL: [(&str, Way); 5] = [
    ("near", Way::Path),
    ("ssh", Way::Ssh(Which::Gannet)),
    ("shell", Way::Ssh(Which::Reference)),
    ("http", Way::Http(Which::Gannet)),
    ("p2phttp", Way::Http(Which::Reference)),
];
const PATIENCE: Duration = Duration::from_secs(60);
