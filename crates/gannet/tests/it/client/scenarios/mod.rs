//! What went wrong with servers before, replayed: many clients at once, clients that are
//! interrupted, transfers that take for ever, a server that is told to stop.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::files::pattern;
use super::scene::{clone, serve, text};
use crate::harness::world::finish;
use crate::harness::{Finished, Repo, SERVER, Server, World, eventually, usual_or_long};

mod dropping;
mod getters;
mod slow;
mod stopping;
mod uploads;

/// A served repository with a work tree, in which some files are already.
pub(super) struct Stock {
    pub(super) server: Server,
    pub(super) repo: Repo,
    files: Vec<(String, Vec<u8>)>,
    pub(super) world: World,
}

impl Stock {
    /// Serves a repository with `count` files of `len` bytes each.
    pub(super) fn with_files(count: usize, len: usize) -> Self {
        let world = World::new();
        let repo = Repo::create(&world, "served", SERVER, false);
        let file = |number| (format!("file{number:04}"), pattern(number as u64, len));
        let files: Vec<_> = (0..count).map(file).collect();
        for (name, content) in &files {
            fs::write(repo.path().join(name), content).expect("write a file");
        }
        world.annex(repo.path(), &["add", "--quiet", "."]);
        world.git(repo.path(), &["commit", "-q", "--allow-empty", "-m", "files"]);
        let server = serve(&world, repo.path(), &["--wideopen"], &[]);
        Self { server, repo, files, world }
    }

    /// Makes a clone whose content comes straight from the server.
    pub(super) fn clone(&self) -> PathBuf {
        clone(&self.world, self.repo.path(), &self.server.annex_url(), SERVER)
    }

    /// Runs `git annex` in a clone, for as long as it may take.
    pub(super) fn annex(&self, clone: &Path, args: &[&str]) -> Finished {
        let mut command = self.world.command(clone, "git-annex");
        finish(command.args(args), usual_or_long(1, 8) * PATIENCE)
    }

    /// Begins `git annex` in a clone.
    pub(super) fn begin(&self, clone: &Path, args: &[&str]) -> Begun {
        Begun::start(&self.world, clone, args)
    }

    /// Fails unless `clone` has every file with its own content.
    #[track_caller]
    pub(super) fn expect_whole(&self, clone: &Path) {
        for (name, content) in &self.files {
            let found = fs::read(clone.join(name)).unwrap_or_default();
            assert!(found == *content, "{name} in {} is not whole", clone.display());
        }
    }

    /// Returns the key of a file.
    fn key(&self, name: &str) -> String {
        let object = fs::read_link(self.repo.path().join(name)).expect("an annexed file");
        text(Path::new(object.file_name().expect("a key"))).to_owned()
    }

    /// Fails unless nobody holds anything any more, and the repository is in order.
    #[track_caller]
    fn expect_at_rest(&self) {
        for (name, _) in &self.files {
            let locks = self.repo.locks(&self.key(name));
            assert!(!locks.rtm && !locks.lck, "{name} is still locked: {locks:?}");
        }
        eventually(PATIENCE, || match self.repo.strays() {
            strays if strays.is_empty() => Ok(()),
            strays => Err(format!("left behind: {strays:?}")),
        });
        assert_eq!(self.server.children(), 0, "the server has processes of its own");
        self.repo.fsck(&self.world);
    }
}

/// A running git-annex; dropping it kills it with all that it started.
pub(super) struct Begun(Child, PathBuf);

impl Begun {
    fn start(world: &World, clone: &Path, args: &[&str]) -> Self {
        let mut command = world.command(clone, "git-annex");
        let command = command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.process_group(0).spawn().expect("start git-annex"), clone.to_owned())
    }

    /// Waits for its end; tells whether it succeeded.
    fn wait(mut self) -> bool {
        eventually(PATIENCE, || {
            let status = self.0.try_wait().expect("ask for git-annex");
            status.map(|status| status.success()).ok_or_else(|| "git-annex goes on".to_owned())
        })
    }

    /// Sends `signal` to it and all that it started, unless it ends by itself within `after`;
    /// tells whether it succeeded.
    pub(super) fn interrupt(mut self, after: Duration, signal: Signal) -> bool {
        let start = Instant::now();
        while start.elapsed() < after {
            if let Some(status) = self.0.try_wait().expect("ask for git-annex") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process_group(Pid::from_child(&self.0), signal).expect("interrupt git-annex");
        let status = eventually(PATIENCE, || {
            let status = self.0.try_wait().expect("ask for git-annex");
            status.ok_or_else(|| format!("git-annex goes on after {signal:?}"))
        });
        // As git tells its users to do when one of its processes has crashed.
        for lock in GIT_LOCKS {
            fs::remove_file(self.1.join(".git").join(lock)).ok();
        }
        status.success()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
            self.0.wait().ok();
        }
    }
}

/// A stall is what lasts longer than this, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

/// Locks that a killed git leaves, and that make every other git fail.
const GIT_LOCKS: [&str; 5] = [
    "index.lock",
    "annex/index.lock",
    "refs/heads/git-annex.lock",
    "packed-refs.lock",
    "config.lock",
];
