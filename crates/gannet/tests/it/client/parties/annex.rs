//! A party that lets the real git-annex work in a clone.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::files::pattern;
use super::super::scene::text;
use super::Fate;
use crate::harness::{Finished, Repo, SERVER, Seeded, Server, World};
use crate::harness::{Request, http::api};

/// A party with a clone, and files that nobody else has.
pub(in super::super) struct AnnexParty<'a> {
    world: &'a World,
    clone: PathBuf,
    files: Vec<File>,
    chance: Seeded,
}

struct File {
    name: String,
    key: String,
    content: Vec<u8>,
    fate: Fate,
    /// Whether some change was in doubt once: a client that finds the content where it wants it
    /// tells its own branch, and not the server.
    lags: bool,
    /// Whether the clone's own branch knows what is certain.
    told: bool,
}

impl<'a> AnnexParty<'a> {
    /// A party that adds `count` files to `clone`; `seed` makes them and their names unlike others'.
    pub(in super::super) fn new(world: &'a World, clone: PathBuf, seed: u64, count: u64) -> Self {
        let mut chance = Seeded::new(seed);
        let named = (0..count).map(|number| {
            let len = usize::try_from(1000 + chance.below(400_000)).expect("a length");
            (format!("file {seed}-{number}"), pattern(seed * 1000 + number, len))
        });
        let named: Vec<_> = named.collect();
        for (name, content) in &named {
            fs::write(clone.join(name), content).expect("write a file");
        }
        world.annex(&clone, &["add", "--quiet", "."]);
        world.git(&clone, &["commit", "-q", "-m", "files"]);
        let files = named.into_iter().map(|(name, content)| {
            let object = fs::read_link(clone.join(&name)).expect("an annexed file");
            let key = text(Path::new(object.file_name().expect("a key"))).to_owned();
            File { name, key, content, fate: Fate::Absent, lags: false, told: true }
        });
        Self { world, files: files.collect(), clone, chance }
    }

    /// Returns its keys, and what is certain of each.
    pub(in super::super) fn certain(&self) -> impl Iterator<Item = (&str, Fate)> {
        self.files.iter().map(|file| (file.key.as_str(), file.fate))
    }

    /// Returns the keys whose location log need not say yet what is on the disk.
    pub(in super::super) fn lagging(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|file| file.lags).map(|file| file.key.as_str())
    }

    /// Runs one command about one file, and returns how it ended. What it acknowledged is true.
    pub(in super::super) fn step(&mut self) -> Finished {
        let at = usize::try_from(self.chance.below(self.files.len() as u64)).expect("an index");
        let here = self.is_here(at);
        match self.chance.below(2) {
            _ if !here => self.get(at),
            0 => self.change(at, &["copy", "--to", "origin"], Fate::Present),
            _ if self.files[at].fate == Fate::Absent || !self.files[at].told => {
                self.change(at, &["copy", "--to", "origin"], Fate::Present)
            }
            _ if self.chance.below(2) == 0 => self.drop_here(at),
            _ => self.change(at, &["drop", "--from", "origin"], Fate::Absent),
        }
    }

    /// Looks at every file after the server was started again, and fails if anything that was
    /// acknowledged before is not so, or a file is nowhere any more.
    pub(in super::super) fn recover(&mut self, server: &Server, repo: &Repo) {
        for at in 0..self.files.len() {
            let here = self.is_here(at);
            let file = &mut self.files[at];
            let key = &file.key;
            let target = api(SERVER, "v4", "checkpresent", &[("key", key), ("clientuuid", OTHER)]);
            let there = server.send(&Request::post(target)).member("present") == true;
            assert!(file.fate.allows(there), "{key} was {:?}: {there}", file.fate);
            assert!(here || there, "{key} is nowhere any more");
            file.lags |= file.fate == Fate::Unknown;
            file.told &= file.fate != Fate::Unknown;
            file.fate = Fate::of(there);
            if repo.locks(key).rtm {
                repo.expire_retention(key);
            }
        }
    }

    /// Stores everything at the server, and tells its branch.
    pub(in super::super) fn settle(&mut self, repo: &Repo) {
        self.world.annex(&self.clone, &["copy", "--quiet", "--to", "origin", "."]);
        for file in &mut self.files {
            file.fate = Fate::Present;
            file.lags = false;
        }
        let branch = "+refs/heads/git-annex:refs/heads/synced/git-annex";
        self.world.git(&self.clone, &["push", "-q", "origin", branch]);
        self.world.annex(repo.path(), &["merge", "--quiet"]);
    }

    fn get(&mut self, at: usize) -> Finished {
        let got = self.annex(at, &["get"]);
        if got.success() {
            let found = fs::read(self.path(at)).unwrap_or_default();
            assert!(found == self.files[at].content, "{} came otherwise", self.files[at].key);
        }
        got
    }

    fn drop_here(&mut self, at: usize) -> Finished {
        let dropped = self.annex(at, &["drop"]);
        assert!(!dropped.success() || !self.is_here(at), "not dropped: {dropped}");
        dropped
    }

    fn change(&mut self, at: usize, command: &[&str], to: Fate) -> Finished {
        self.files[at].fate = if self.files[at].fate == to { to } else { Fate::Unknown };
        let done = self.annex(at, command);
        if done.success() {
            self.files[at].fate = to;
            self.files[at].told = true;
        }
        done
    }

    fn annex(&self, at: usize, command: &[&str]) -> Finished {
        self.world.try_annex(&self.clone, &[command, &[&self.files[at].name]].concat())
    }

    fn is_here(&self, at: usize) -> bool {
        self.path(at).exists()
    }

    fn path(&self, at: usize) -> PathBuf {
        self.clone.join(&self.files[at].name)
    }
}

const OTHER: &str = "c1c1c1c1-0000-4000-8000-000000000003";
