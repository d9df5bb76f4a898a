//! A served repository with files in its work tree, and what is asked of it over HTTP.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::harness::http::api;
use crate::harness::repo::key_file;
use crate::harness::{CLIENT, Reply, Repo, Request, SERVER, Server, World};

use super::scene::serve;
use crate::raw::sha256_key;

/// A served repository with a plain file, an executable one, and one that is always locked.
pub(super) struct Tree {
    pub(super) repo: Repo,
    files: [File; 3],
    pub(super) world: World,
}

/// A file of it.
#[derive(Clone)]
pub(super) struct File {
    /// Where it is; in a bare repository, where its object is.
    pub(super) path: PathBuf,
    pub(super) key: String,
    pub(super) content: Vec<u8>,
    /// Its permissions, if it is unlocked.
    pub(super) mode: Option<u32>,
}

/// What the files of a tree are like.
pub(super) struct Seed<'a> {
    pub(super) backend: &'a str,
    pub(super) settings: &'a [(&'a str, &'a str)],
    /// Whether the first two are unlocked.
    pub(super) unlocked: bool,
    /// The size of the first one.
    pub(super) lines: usize,
}

impl Tree {
    pub(super) fn new(backend: &str, thin: bool) -> Self {
        Self::within(World::new(), backend, &[("annex.thin", &thin.to_string())])
    }

    pub(super) fn within(world: World, backend: &str, settings: &[(&str, &str)]) -> Self {
        let repo = Repo::create(&world, "served", SERVER, false);
        Self::sow(world, repo, &Seed { backend, settings, ..Seed::default() })
    }

    /// Lets git-annex add the files to a repository that has none.
    pub(super) fn sow(world: World, repo: Repo, seed: &Seed<'_>) -> Self {
        for (name, value) in seed.settings {
            world.git(repo.path(), &["config", name, value]);
        }
        let contents = contents(seed.lines);
        world.ok(repo.path(), &["mkdir", "dir of tools"]);
        for (name, content) in NAMES.into_iter().zip(&contents) {
            fs::write(repo.path().join(name), content).expect("write a file");
        }
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(repo.path().join(NAMES[1]), executable).expect("make it a tool");
        world.hand_over(repo.path());
        let backend = format!("--backend={}", seed.backend);
        world.annex(repo.path(), &["add", "--quiet", &backend, "."]);
        if seed.unlocked {
            world.annex(repo.path(), &["unlock", "--quiet", NAMES[0], NAMES[1]]);
        }
        world.git(repo.path(), &["commit", "-q", "-m", "files"]);
        let mut contents = contents.into_iter();
        let files = NAMES.map(|name| {
            let key = world.annex(repo.path(), &["lookupkey", name]).trim().to_owned();
            world.annex(repo.path(), &["setpresentkey", &key, CLIENT, "1"]);
            let content = contents.next().unwrap_or_default();
            File { path: repo.path().join(name), key, content, mode: None }
        });
        let mut tree = Self { repo, files, world };
        tree.look_again();
        tree
    }

    /// Stores the same contents in a bare repository.
    pub(super) fn bare(world: World, repo: Repo, lines: usize) -> Self {
        let files = contents(lines).map(|content| {
            let key = sha256_key(&content);
            repo.set_content(&world, &key, &content);
            let path = repo.object(&key).expect("an object");
            world.annex(repo.path(), &["setpresentkey", &key, CLIENT, "1"]);
            File { path, key, content, mode: None }
        });
        Self { repo, files, world }
    }

    /// Finds the files again after another branch was checked out.
    pub(super) fn look_again(&mut self) {
        let format = "--format=${key}\\t${file}\\n";
        let found = self.world.annex(self.repo.path(), &["find", "--anything", format]);
        for file in &mut self.files {
            let mut lines = found.lines().filter_map(|line| line.split_once('\t'));
            let (_, path) = lines.find(|(key, _)| *key == file.key).expect("a file of the key");
            file.path = self.repo.path().join(path);
            let metadata = fs::symlink_metadata(&file.path).expect("look at a file");
            file.mode = metadata.is_file().then(|| metadata.permissions().mode() & 0o777);
        }
    }

    pub(super) fn serve(&self) -> Server {
        serve(&self.world, self.repo.path(), &["--wideopen"], &[])
    }

    pub(super) fn files(&self) -> [File; 3] {
        self.files.clone()
    }

    #[track_caller]
    pub(super) fn put(&self, server: &Server, file: &File) {
        let target = target("put", &file.key);
        let reply = server.send(&Request::put(target, file.content.len() as u64, &file.content));
        assert_eq!(reply.member("stored"), true, "{}: {}", file.path.display(), reply.text());
    }

    #[track_caller]
    pub(super) fn remove(&self, server: &Server, file: &File) {
        let reply = self.ask(server, "remove", file);
        assert_eq!(reply.member("removed"), Value::Bool(true), "{}", file.path.display());
    }

    pub(super) fn ask(&self, server: &Server, endpoint: &str, file: &File) -> Reply {
        server.send(&Request::post(target(endpoint, &file.key)))
    }

    /// The content is there; of an unlocked file it is so in a writable file of its own.
    #[track_caller]
    pub(super) fn expect_content(&self, file: &File) {
        let found = fs::read(&file.path).expect("read a file with content");
        assert!(found == file.content, "{} has other content", file.path.display());
        if let Some(expected) = file.mode {
            assert_eq!(format!("{:o}", mode(file)), format!("{expected:o}"));
        }
    }

    /// The content is not there, but what stands for it.
    #[track_caller]
    pub(super) fn expect_pointer(&self, file: &File) {
        assert!(self.repo.object(&file.key).is_none(), "the object of {} is there", file.key);
        let Some(expected) = file.mode else {
            assert!(!file.path.exists(), "{} leads somewhere", file.path.display());
            return;
        };
        let found = fs::read_to_string(&file.path).expect("read a pointer file");
        let pointer = format!("/annex/objects/{}\n", key_file(&file.key));
        let head = &found[..found.len().min(200)];
        assert!(found == pointer, "{} has other content: {head}", file.path.display());
        assert_eq!(format!("{:o}", mode(file)), format!("{expected:o}"));
    }

    pub(super) fn restage(&self) {
        self.world.annex(self.repo.path(), &["restage", "--quiet"]);
    }

    pub(super) fn status(&self) -> String {
        self.world.git(self.repo.path(), &["status", "--porcelain"])
    }
}

impl Default for Seed<'_> {
    fn default() -> Self {
        Self { backend: "SHA256E", settings: &[], unlocked: true, lines: 1000 }
    }
}

pub(super) fn modified(path: &Path) -> SystemTime {
    fs::symlink_metadata(path).and_then(|found| found.modified()).expect("look at the time")
}

pub(super) fn set_modified(path: &Path, time: SystemTime) {
    let opened = fs::File::options().append(true).open(path);
    opened.and_then(|file| file.set_modified(time)).expect("set the time");
}

/// The first one has so many lines.
fn contents(lines: usize) -> [Vec<u8>; 3] {
    let mut number = 0..;
    [lines, 1001, 1002].map(|lines| {
        let number = number.next().unwrap_or_default();
        format!("content {number}\n").repeat(lines).into_bytes()
    })
}

fn target(endpoint: &str, key: &str) -> String {
    api(SERVER, "v4", endpoint, &[("key", key), ("clientuuid", CLIENT)])
}

fn mode(file: &File) -> u32 {
    fs::metadata(&file.path).expect("look at the mode").permissions().mode() & 0o777
}

const NAMES: [&str; 3] = ["plain", "dir of tools/a tool", "locked"];
