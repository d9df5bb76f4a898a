//! A served repository, a client with a clone of it, and a third clone that only looks.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::branch::{keys_at, locations};
use super::relay::Relay;
use crate::harness::world::finish;
use crate::harness::{Finished, Gannet, Reference, Repo, SERVER, Server, World};

/// All that a scenario with one client needs. The client reaches the content only through a
/// relay, and git by something like ssh.
pub(super) struct Scene {
    pub(super) relay: Relay,
    /// Serves until it is dropped.
    _server: Server,
    pub(super) served: PathBuf,
    pub(super) uuid: String,
    pub(super) client: PathBuf,
    third: PathBuf,
    late: Cell<u32>,
    pub(super) world: World,
}

impl Scene {
    /// Serves a new repository, with or without a work tree, to everybody.
    pub(super) fn new(bare: bool) -> Self {
        let world = World::new();
        let repo = Repo::create(&world, "served", SERVER, bare);
        let path = repo.path().to_owned();
        if !bare {
            world.git(&path, &["commit", "-q", "--allow-empty", "-m", "begin"]);
        }
        Self::of(world, path)
    }

    /// Serves the repository at `served` to everybody.
    pub(super) fn of(world: World, served: PathBuf) -> Self {
        Self::with(world, served, &["--wideopen"], &[])
    }

    /// Serves the repository at `served` with options and environment variables.
    pub(super) fn with(world: World, served: PathBuf, args: &[&str], env: &[(&str, &str)]) -> Self {
        let server = serve(&world, &served, args, env);
        let relay = Relay::start(server.address());
        let uuid = world.git(&served, &["config", "annex.uuid"]).trim().to_owned();
        let third = world.fresh("third");
        world.git(world.path(), &["init", "-q", "--bare", text(&third)]);
        let client = clone(&world, &served, &relay.annex_url(), &uuid);
        let late = Cell::new(0);
        Self { relay, _server: server, served, uuid, client, third, late, world }
    }

    /// Makes another clone that uses the same server.
    pub(super) fn another_client(&self) -> PathBuf {
        clone(&self.world, &self.served, &self.relay.annex_url(), &self.uuid)
    }

    /// Returns the served repository.
    pub(super) fn repo(&self) -> Repo {
        Repo::open(&self.world, &self.served)
    }

    /// Runs `git annex` in the client's clone, which must succeed, and tells when it returned.
    #[track_caller]
    pub(super) fn annex(&self, args: &[&str]) -> Instant {
        self.world.annex(&self.client, args);
        Instant::now()
    }

    /// Runs `git annex` in the client's clone, however it ends.
    pub(super) fn try_annex(&self, args: &[&str]) -> Finished {
        self.world.try_annex(&self.client, args)
    }

    /// Runs `argv`, which need not be text, in `dir`, however it ends.
    pub(super) fn run_os(&self, dir: &Path, argv: &[&OsStr]) -> Finished {
        let (program, args) = argv.split_first().expect("a program to run");
        finish(self.world.command(dir, program).args(args), PATIENCE)
    }

    /// Fails unless the third clone learns in time that the server has exactly the `expected`
    /// keys, and all other repositories agree.
    ///
    /// `since` is when the client's command returned. The promise is two seconds; one lateness in
    /// a scenario is put down to a busy machine.
    #[track_caller]
    pub(super) fn expect_at_server(&self, since: Instant, expected: &BTreeSet<Vec<u8>>) {
        loop {
            self.fetch(&self.third);
            let known = keys_at(&locations(&self.world, &self.third), &self.uuid);
            let passed = since.elapsed();
            if known == *expected {
                self.judge_lateness(passed);
                break;
            }
            let shown = |keys: &BTreeSet<Vec<u8>>| -> Vec<String> {
                keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
            };
            assert!(
                passed < GIVE_UP,
                "after {passed:?} the branch says of the server {:#?}, not {:#?}",
                shown(&known),
                shown(expected),
            );
        }
        self.expect_agreement(expected);
    }

    /// Fails unless the served repository is in order, by the judgement of git-annex, which is
    /// told first what the client has.
    #[track_caller]
    pub(super) fn expect_clean(&self) {
        let branch = "+refs/heads/git-annex:refs/heads/synced/git-annex";
        self.world.git(&self.client, &["push", "-q", "origin", branch]);
        expect_clean(&self.world, &self.served);
    }

    fn judge_lateness(&self, passed: Duration) {
        eprintln!("the third clone learned of it after {passed:?}");
        if passed > PROMISE {
            self.late.set(self.late.get() + 1);
            assert!(self.late.get() < 2, "late again: {passed:?} instead of {PROMISE:?}");
        }
    }

    /// `whereis` at the client and at the server, and the objects there, say the same.
    #[track_caller]
    fn expect_agreement(&self, expected: &BTreeSet<Vec<u8>>) {
        self.world.git(&self.client, &["fetch", "-q", "origin"]);
        self.world.annex(&self.client, &["merge", "--quiet"]);
        for dir in [&self.client, &self.served] {
            let said = self.world.try_annex(dir, &["whereis", "--all", WHEREIS]).stdout;
            let lines = said.split(|&byte| byte == b'\n');
            let suffix = format!("\0{}", self.uuid);
            let keys = lines.filter_map(|line| line.strip_suffix(suffix.as_bytes()));
            let keys: BTreeSet<_> = keys.map(escape_as_file).collect();
            assert!(keys == *expected, "whereis in {} differs:\n{}", dir.display(), lossy(&said));
        }
        let objects = objects_in(&self.annex_dir().join("objects"));
        assert!(objects == *expected, "other objects are there: {objects:?}");
    }

    /// Returns the annex directory of the served repository, wherever its git directory is.
    pub(super) fn annex_dir(&self) -> PathBuf {
        self.repo().annex_dir()
    }

    fn fetch(&self, into: &Path) {
        let branch = "+refs/heads/git-annex:refs/heads/git-annex";
        self.world.git(into, &["fetch", "-q", text(&self.served), branch]);
    }
}

/// Serves `repo`, by Gannet unless the scenario itself is to be judged.
pub(super) fn serve(world: &World, repo: &Path, args: &[&str], env: &[(&str, &str)]) -> Server {
    if std::env::var_os("GANNET_IT_SERVER").is_some_and(|server| server == "reference") {
        return Reference::serve_with(world, repo, args, env);
    }
    Gannet::serve_with(world, &[&[text(repo)], args].concat(), env)
}

/// Clones `served` as a client that finds its content at `annex_url`.
///
/// The url of the remote is one of ssh, and in the place of ssh stands a program that runs git's
/// own commands here and refuses all others: with a plain path the client would take some content
/// from the disk, behind the back of the server.
pub(crate) fn clone(world: &World, served: &Path, annex_url: &str, uuid: &str) -> PathBuf {
    let client = world.fresh("client");
    let ssh = world.join("ssh");
    if !ssh.exists() {
        fs::write(&ssh, SSH).expect("write the program in the place of ssh");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("make it a program");
    }
    let (ssh, url) = (text(&ssh), format!("ssh://served.invalid{}", text(served)));
    let core_ssh = format!("core.sshCommand={ssh}");
    world.git(world.path(), &["-c", &core_ssh, "clone", "-q", &url, text(&client)]);
    let settings = [
        ("core.sshCommand", ssh),
        ("annex.sshcaching", "false"),
        ("remote.origin.annexUrl", annex_url),
        ("remote.origin.annex-uuid", uuid),
        ("remote.origin.annex-ignore", "false"),
    ];
    for (name, value) in settings {
        world.git(&client, &["config", name, value]);
    }
    world.annex(&client, &["init", "--quiet", "client"]);
    client
}

/// Fails unless the repository at `dir` is in order, by the judgement of git-annex and of git.
#[track_caller]
pub(super) fn expect_clean(world: &World, dir: &Path) {
    let checked = world.try_annex(dir, &["fsck", "--all"]);
    assert!(checked.success(), "fsck is not content: {checked}");
    let fixed = checked.out().contains("fixing location log");
    assert!(!fixed, "fsck had to put the location log right: {checked}");
    world.git(dir, &["fsck", "--strict", "--no-dangling"]);
}

/// Returns a path of a world as text.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

/// Returns the names of the objects at `dir`, two levels of directories further down.
pub(crate) fn objects_in(dir: &Path) -> BTreeSet<Vec<u8>> {
    let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    let keys = below(dir.to_owned()).flat_map(|one| below(one.path()));
    let keys = keys.flat_map(|two| below(two.path()));
    let whole = keys.filter(|key| key.path().join(key.file_name()).exists());
    whole.map(|key| key.file_name().into_encoded_bytes()).collect()
}

/// Escapes a key as a file name (repository §1.4), whatever its bytes are.
fn escape_as_file(key: &[u8]) -> Vec<u8> {
    let mut name = Vec::new();
    for byte in key {
        match byte {
            b'&' => name.extend_from_slice(b"&a"),
            b'%' => name.extend_from_slice(b"&s"),
            b':' => name.extend_from_slice(b"&c"),
            b'/' => name.push(b'%'),
            other => name.push(*other),
        }
    }
    name
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const SSH: &str = "\
#!/bin/sh
for command; do :; done # the last argument
case $command in
git-upload-pack*|git-receive-pack*) exec sh -c \"$command\" ;;
esac
echo \"not by ssh: $command\" >&2
exit 1
";
const WHEREIS: &str = "--format=${key}\\000${uuid}\\n";
const PATIENCE: Duration = Duration::from_secs(60);
const PROMISE: Duration = Duration::from_secs(2);
const GIVE_UP: Duration = Duration::from_secs(10);
