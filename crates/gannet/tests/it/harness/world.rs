//! An isolated place to run programs in: its own home, its own git configuration, no network
//! prompts, the pinned git-annex first in the path, and a time limit on everything.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A temporary directory and an environment that know nothing of the machine's user.
pub(crate) struct World {
    dir: TempDir,
    made: AtomicU32,
    owner: Option<User>,
}

/// Somebody other than the user of this process; only root can be others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) umask: &'static str,
}

/// A program that ran to its end, or was killed because it took too long.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub(crate) stderr: Vec<u8>,
    /// The command line, for messages.
    pub(crate) line: String,
}

/// Returns the directory with the pinned git-annex.
pub(crate) fn oracle() -> PathBuf {
    let place = match std::env::var_os("GANNET_ORACLE") {
        Some(place) => PathBuf::from(place),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oracle/bin"),
    };
    assert!(
        place.join("git-annex").exists() && place.join("git-annex-shell").exists(),
        "no git-annex to compare with in `{}`; run: cargo xtask oracle",
        place.display(),
    );
    place
}

/// Returns the program that `git-annex` in `oracle` does no more than start, by way of an
/// interpreter that takes ten times as long as most of its commands, and that others than its
/// owner may not reach.
fn packaged_binary(oracle: &Path) -> Option<PathBuf> {
    let library = oracle.parent()?.join("lib");
    let versions = std::fs::read_dir(library).ok()?.flatten();
    let packages = versions.map(|version| version.path().join("site-packages/git_annex/git-annex"));
    packages.into_iter().find_map(|binary| binary.canonicalize().ok())
}

impl World {
    /// Makes an empty world.
    pub(crate) fn new() -> Self {
        let world = Self {
            dir: TempDir::with_prefix("gannet-it-").expect("make a temporary directory"),
            made: AtomicU32::new(0),
            owner: None,
        };
        std::fs::create_dir(world.join("home")).expect("make the home");
        std::fs::create_dir(world.join("bin")).expect("make a directory of programs");
        if let Some(binary) = packaged_binary(&oracle()) {
            for name in ["git-annex", "git-annex-shell"] {
                symlink(&binary, world.join("bin").join(name)).expect("link to a program");
            }
        }
        std::fs::write(world.join("gitconfig"), GIT_CONFIG).expect("write the git configuration");
        world
    }

    /// Makes an empty world in which `owner` runs all programs, and everybody trusts everybody's
    /// repositories.
    ///
    /// `None`: this process cannot be others, or they could not reach what it tests.
    pub(crate) fn of(owner: User) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let mut world = Self::new();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(world.path(), open).expect("open the world");
        let config = format!("{GIT_CONFIG}[safe]\n\tdirectory = *\n");
        std::fs::write(world.join("gitconfig"), config).expect("write the git configuration");
        world.owner = Some(owner);
        let reachable = ["git-annex", super::server::GANNET].iter().all(|program| {
            let said = finish(world.command("/", program).arg("--help"), PATIENCE);
            !matches!(said.code, Some(126 | 127)) // what a shell says of what it cannot start
        });
        if !reachable {
            return None;
        }
        world.hand_over(world.path());
        Some(world)
    }

    /// Tells whether another user runs its programs.
    pub(crate) fn has_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// Gives what is at `path` to the owner of this world.
    pub(crate) fn hand_over(&self, path: &Path) {
        let Some(owner) = self.owner else { return };
        std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid)).expect("give it away");
        if path.is_dir() && !path.is_symlink() {
            for entry in std::fs::read_dir(path).expect("list a directory") {
                self.hand_over(&entry.expect("list a directory").path());
            }
        }
    }

    /// Returns the directory that holds everything of this world.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the path of `name` in this world.
    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns a path in this world that nothing has yet, its name beginning with `prefix`.
    pub(crate) fn fresh(&self, prefix: &str) -> PathBuf {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        self.join(format!("{prefix}{number}"))
    }

    /// Prepares `program` to run in `dir` with nothing of the environment of this test but the
    /// path, which begins with the pinned git-annex.
    pub(crate) fn command(&self, dir: impl AsRef<Path>, program: impl AsRef<OsStr>) -> Command {
        self.command_of(self.owner, dir, program)
    }

    /// The same, to run as `user`.
    pub(crate) fn command_of(
        &self,
        user: Option<User>,
        dir: impl AsRef<Path>,
        program: impl AsRef<OsStr>,
    ) -> Command {
        let mut path = self.join("bin").into_os_string();
        path.push(":");
        path.push(oracle());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = match user {
            None => Command::new(program),
            Some(user) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "umask $0 && exec \"$@\"", user.umask]).arg(program);
                shell.uid(user.uid).gid(user.gid);
                shell
            }
        };
        command
            .current_dir(dir)
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.join("home"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.join("gitconfig"))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "false")
            .stdin(Stdio::null());
        command
    }

    /// Runs `argv` in `dir` to its end, however it ends.
    pub(crate) fn run(&self, dir: impl AsRef<Path>, argv: &[&str]) -> Finished {
        let (program, args) = argv.split_first().expect("a program to run");
        let mut command = self.command(dir, program);
        command.args(args);
        finish(&mut command, PATIENCE)
    }

    /// Runs `argv` in `dir`, which must succeed, and returns its standard output as text.
    pub(crate) fn ok(&self, dir: impl AsRef<Path>, argv: &[&str]) -> String {
        self.run(dir, argv).expect_ok()
    }

    /// Runs `git` in `dir`, which must succeed.
    pub(crate) fn git(&self, dir: impl AsRef<Path>, args: &[&str]) -> String {
        self.ok(dir, &[&["git"], args].concat())
    }

    /// Runs `git annex` in `dir`, which must succeed.
    pub(crate) fn annex(&self, dir: impl AsRef<Path>, args: &[&str]) -> String {
        self.ok(dir, &[&["git", "annex"], args].concat())
    }

    /// Runs `git annex` in `dir`, however it ends.
    pub(crate) fn try_annex(&self, dir: impl AsRef<Path>, args: &[&str]) -> Finished {
        self.run(dir, &[&["git", "annex"], args].concat())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Objects lie in directories that only root can empty as they are.
        if !rustix::process::geteuid().is_root() {
            thaw(self.path());
        }
    }
}

fn thaw(dir: &Path) {
    drop(std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            thaw(&entry.path());
        }
    }
}

impl Finished {
    /// Tells whether it exited with 0.
    pub(crate) fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns standard output as text, after failing unless it exited with 0.
    #[track_caller]
    pub(crate) fn expect_ok(self) -> String {
        assert!(self.success(), "{self}");
        self.out()
    }

    /// Returns standard output as text.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns standard error as text.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, line, .. } = self;
        write!(f, "{line}: exit {code:?}\n-- out:\n{}\n-- err:\n{}", self.out(), self.err())
    }
}

/// Runs a prepared command to its end and captures its output; kills it, with all that it
/// started, after `patience`.
pub(crate) fn finish(command: &mut Command, patience: Duration) -> Finished {
    let line = format!("{command:?}").rsplit("=\"C.UTF-8\"").next().unwrap_or_default().to_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    let stdout = collect(child.stdout.take().expect("a piped standard output"));
    let stderr = collect(child.stderr.take().expect("a piped standard error"));
    let start = Instant::now();
    let (status, overrun) = loop {
        if let Some(status) = child.try_wait().expect("wait for a child") {
            break (status, false);
        }
        if start.elapsed() > patience {
            let group = Pid::from_child(&child);
            kill_process_group(group, Signal::KILL).expect("kill what overran");
            break (child.wait().expect("wait for a killed child"), true);
        }
        thread::sleep(Duration::from_millis(2));
    };
    let finished = Finished {
        code: status.code(),
        stdout: stdout.join().expect("read standard output"),
        stderr: stderr.join().expect("read standard error"),
        line,
    };
    assert!(!overrun, "took longer than {patience:?} and was killed: {finished}");
    finished
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("read a pipe");
        all
    })
}

/// Longer than anything here takes, shorter than a runner's own limit.
const PATIENCE: Duration = Duration::from_secs(120);

/// `allowed-ip-addresses`: git-annex refuses loopback addresses otherwise (p2p-http §7.3).
const GIT_CONFIG: &str = "\
[user]
\tname = Gannet Test
\temail = test@gannet.invalid
[init]
\tdefaultBranch = main
[annex \"security\"]
\tallowed-ip-addresses = all
[protocol \"file\"]
\tallow = always
[gc]
\tauto = 0
[advice]
\tdetachedHead = false
";
