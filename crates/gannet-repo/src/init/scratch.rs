//! Repositories for tests, and git to look at them with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gannet_core::{Clock, Key, Timestamp, Uuid, WallTime};
use gannet_testkit::ScratchDir;

use super::{InitOptions, create};
use crate::git::Git;
use crate::settings::Settings;

/// A clock that stands still.
pub(crate) struct At(pub(crate) i64);

impl Clock for At {
    fn wall(&self) -> WallTime {
        WallTime { seconds: self.0, nanos: 0 }
    }
    fn boot(&self) -> Timestamp {
        Timestamp { seconds: 0 }
    }
}

/// A repository in a directory that vanishes with it.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    pub(crate) git: Git,
    _dir: ScratchDir,
}

impl Scratch {
    pub(crate) fn new(bare: bool) -> Self {
        let dir = ScratchDir::new();
        let path = dir.path().join("repo");
        create(&path, &options(bare), &At(1)).unwrap();
        let git = Git::new(Settings::read(&path).unwrap().place);
        Self { path, git, _dir: dir }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::read(&self.path).unwrap()
    }

    /// Runs git there, and returns what it says.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }

    pub(crate) fn annex(&self) -> PathBuf {
        self.settings().annex
    }
}

pub(crate) fn options(bare: bool) -> InitOptions {
    InitOptions { description: "scratch".to_owned(), bare, uuid: None }
}

pub(crate) fn key(name: &str) -> Key {
    Key::parse(format!("SHA256E-s6--{name}").as_bytes()).unwrap()
}

pub(crate) fn uuid(byte: u8) -> Uuid {
    Uuid::from_random([byte; 16])
}

/// Runs git in `dir`, without anybody's configuration, and returns what it says.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = try_git(dir, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn try_git(dir: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .output()
        .unwrap()
}
