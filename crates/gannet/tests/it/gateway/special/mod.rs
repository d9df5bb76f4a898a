//! A gateway in front of special remotes, which git-annex set up, and uses itself beside it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gannet_testkit::EXTERNAL_PROGRAM;

use super::{GATEWAY, PATIENCE, add};
use crate::client::clone;
use crate::harness::world::finish;
use crate::harness::{Gannet, Repo, Seeded, Server, World, eventually};
use crate::ssh::sshd::Sshd;
use crate::ssh::{Which, programs};

mod faults;
mod journeys;
mod s3;
mod unusable;
mod web;

/// A gateway with special remotes. All are called after how they keep objects.
struct Scene {
    gateway: Repo,
    nodes: Vec<&'static str>,
    world: World,
}

impl Scene {
    /// A gateway that lets nobody reach its special remotes yet.
    fn new() -> Self {
        let mut scene = Self::begin();
        let program = scene.world.join("bin/git-annex-remote-sham");
        fs::write(&program, EXTERNAL_PROGRAM).expect("write a program");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, executable).expect("make it one");
        for (name, settings) in NODES {
            let dir = scene.objects(name);
            fs::create_dir(&dir).expect("make a directory");
            scene.init(name, &format!("{settings} directory={}", dir.display()), &[]);
        }
        scene
    }

    /// A gateway without special remotes.
    fn begin() -> Self {
        let world = World::new();
        let gateway = Repo::create(&world, "gateway", GATEWAY, false);
        world.git(gateway.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
        Self { gateway, nodes: Vec::new(), world }
    }

    /// Makes a special remote with these settings, in this environment.
    fn init(&mut self, name: &'static str, settings: &str, environment: &[(&str, &str)]) {
        let mut command = self.world.command(self.gateway.path(), "git-annex");
        command.args(["initremote", "--quiet", name, "encryption=none"]);
        command.args(settings.split(' ')).envs(environment.iter().copied());
        finish(&mut command, PATIENCE).expect_ok();
        self.nodes.push(name);
    }

    /// Has all of them proxied.
    fn with_proxies() -> Self {
        Self::new().proxied()
    }

    fn proxied(self) -> Self {
        for name in &self.nodes {
            self.config(&format!("remote.{name}.annex-proxy"), "true");
        }
        self.annex(&["updateproxy", "--quiet"]);
        self
    }

    /// Has all of them in a cluster called `mycluster`.
    fn with_cluster() -> Self {
        Self::new().clustered()
    }

    fn clustered(self) -> Self {
        self.annex(&["initcluster", "--quiet", "mycluster"]);
        for name in &self.nodes {
            self.config(&format!("remote.{name}.annex-cluster-node"), "mycluster");
        }
        self.annex(&["updatecluster", "--quiet"]);
        self
    }

    /// Runs `git annex` at the gateway.
    fn annex(&self, args: &[&str]) -> String {
        self.world.annex(self.gateway.path(), args)
    }

    fn config(&self, name: &str, value: &str) {
        self.world.git(self.gateway.path(), &["config", name, value]);
    }

    fn uuid(&self, name: &str) -> String {
        let name = format!("remote.{name}.annex-uuid");
        self.world.git(self.gateway.path(), &["config", &name]).trim().to_owned()
    }

    /// Where a node keeps its objects.
    fn objects(&self, name: &str) -> PathBuf {
        self.world.join(format!("objects-{name}"))
    }

    fn serve(&self) -> Server {
        Gannet::serve(&self.world, &["--wideopen", self.gateway.arg()])
    }

    /// A client that reaches content over HTTP only.
    fn http_client(&self, server: &Server) -> PathBuf {
        clone(&self.world, self.gateway.path(), &server.annex_url(), GATEWAY)
    }

    /// An ssh server, which lets in a client that reaches content over ssh only.
    fn ssh_client(&self) -> (Sshd, PathBuf) {
        let sshd = Sshd::start(&self.world, Which::Gannet);
        let program = programs(&self.world, Which::Gannet).join("git-annex-remote-sham");
        let real = self.world.join("bin/git-annex-remote-sham");
        fs::write(&program, format!("#!/bin/sh\nexec {}\n", real.display())).expect("write it");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, executable).expect("make it a program");
        let client = sshd.admit(&self.world, "").clone(&self.world, self.gateway.path());
        (sshd, client)
    }

    fn add(&self, client: &Path, name: &str, content: &[u8]) -> String {
        add(&self.world, client, name, content)
    }

    /// Who has the content, by what git-annex finds there and by what the gateway recorded.
    #[track_caller]
    fn expect_at(&self, key: &str, expected: &[&str]) {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        let gateway = self.gateway.path();
        let has =
            |name: &str| self.world.try_annex(gateway, &["checkpresentkey", key, name]).success();
        let there = self.nodes.iter().copied().filter(|name| has(name));
        assert_eq!(there.collect::<BTreeSet<_>>(), expected, "at nodes");
        eventually(PATIENCE, || {
            let log = self.gateway.location_log(&self.world, key);
            let is_known = |name: &&str| log.get(&self.uuid(name)) == Some(&true);
            let known: BTreeSet<_> = self.nodes.iter().copied().filter(is_known).collect();
            match known == expected && log.get(GATEWAY) != Some(&true) {
                true => Ok(()),
                false => Err(format!("recorded {log:?}")),
            }
        });
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
        let is_known = |name: &&str| said.contains(&self.uuid(name));
        let known: BTreeSet<_> = self.nodes.iter().copied().filter(is_known).collect();
        assert_eq!(known, expected.iter().copied().collect(), "{said}");
    }

    /// Lets git-annex read at a node what is there, and compares.
    #[track_caller]
    fn expect_read(&self, key: &str, name: &str, content: &[u8]) {
        self.annex(&["fsck", "--quiet", "--from", name, "--key", key]);
        self.annex(&["get", "--quiet", "--from", name, "--key", key]);
        let object = self.gateway.object(key).expect("what was got");
        assert!(fs::read(object).expect("read it") == content, "something else is at {name}");
        self.annex(&["drop", "--quiet", "--force", "--key", key]);
        // What is done for the sake of the test is not what it is about.
        self.annex(&["setpresentkey", key, GATEWAY, "0"]);
    }

    /// Files on their way to and from special remotes.
    fn spooled(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files_in(&self.gateway.annex_dir().join("gannet.spool"), &mut found);
        found.retain(|path| path.file_name().is_none_or(|name| name != "lock"));
        found
    }

    /// Fails unless git-annex finds nothing wrong, nothing was left behind, and no program runs.
    #[track_caller]
    fn expect_clean(&self) {
        let checked = self.world.try_annex(self.gateway.path(), &["fsck", "--all"]);
        let is_fault = |line: &str| line.contains("**") && !line.contains("No known copies");
        let wrong = checked.out().contains("fixing location log");
        assert!(!wrong && !checked.err().lines().any(is_fault), "{checked}");
        self.world.git(self.gateway.path(), &["fsck", "--strict", "--no-dangling"]);
        self.gateway.assert_no_strays();
        assert_eq!(self.spooled(), Vec::<PathBuf>::new(), "left in the spool");
        self.expect_ended();
    }

    /// Fails unless all programs of external special remotes end.
    #[track_caller]
    fn expect_ended(&self) {
        let started = fs::read_to_string(self.world.join("bin/started")).unwrap_or_default();
        eventually(PATIENCE, || {
            let is_alive = |pid: &&str| {
                let stat = fs::read_to_string(format!("/proc/{pid}/cmdline"));
                stat.is_ok_and(|line| line.contains("git-annex-remote-sham"))
            };
            match started.lines().find(is_alive) {
                None => Ok(()),
                Some(pid) => Err(format!("{pid} still runs")),
            }
        });
    }
}

fn files_in(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => files_in(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

/// The special remotes, and with which settings they are made.
const NODES: [(&str, &str); 4] = [
    ("whole", "type=directory"),
    ("chunked", "type=directory chunk=30kB"),
    ("program", "type=external externaltype=sham"),
    ("slices", "type=external externaltype=sham chunk=40kB"),
];
