//! Repositories to serve, made by the real git-annex, and what is in them: objects, partial
//! content, lock files, location logs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, fcntl_lock};

use super::world::World;

/// The uuid of the repository that the recordings were made with.
pub(crate) const SERVER: &str = "5e5e5e5e-0000-4000-8000-000000000001";
/// The uuid of the client that the recordings were made with.
pub(crate) const CLIENT: &str = "c1c1c1c1-0000-4000-8000-000000000002";
/// The key of `hello\n` (key A of the recordings).
pub(crate) const HELLO: &str =
    "SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.txt";
/// The key of no bytes (key E of the recordings).
pub(crate) const EMPTY: &str =
    "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// The key of 300000 times `x`.
pub(crate) const BIG: &str =
    "SHA256E-s300000--29927e273accc68286005017f7fa6e4f27bddb4db3083ff8b8d4c3667905b7fa.txt";
/// The key of `absent`, which no repository has.
pub(crate) const ABSENT: &str =
    "SHA256E-s6--5ad38304b535c2987dbd24657c1a11b884984ff600d9f389deb0d4e634fee792";

/// A git-annex repository on this disk.
pub(crate) struct Repo {
    path: PathBuf,
    git_dir: PathBuf,
    uuid: String,
}

/// What is on disk about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether its object is there.
    pub(crate) present: bool,
    /// How many bytes of an unfinished upload are kept; `None` without a file.
    pub(crate) partial_bytes: Option<u64>,
}

/// Which lock files lie beside the object of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Locks {
    /// `KEY.lck`, the content lock.
    pub(crate) lck: bool,
    /// `KEY.rtm`, the time until which the lock is retained.
    pub(crate) rtm: bool,
    /// `KEY.rtl`, the lock of that.
    pub(crate) rtl: bool,
}

impl Repo {
    /// Makes the repository of the recordings, with a work tree: [`SERVER`] as uuid, holding
    /// [`HELLO`] as `a.txt`, [`EMPTY`] as `empty` and [`BIG`] as `big.txt`.
    pub(crate) fn fixture(world: &World) -> Self {
        let repo = Self::create(world, "served", SERVER, false);
        for (name, content) in recorded_files() {
            fs::write(repo.path.join(name), content).expect("write a file");
        }
        world.annex(&repo.path, &["add", "--quiet", "."]);
        world.git(&repo.path, &["commit", "-q", "-m", "three files"]);
        repo
    }

    /// Makes the same repository bare.
    pub(crate) fn fixture_bare(world: &World) -> Self {
        let repo = Self::create(world, "served.git", SERVER, true);
        for (key, (_, content)) in [HELLO, EMPTY, BIG].into_iter().zip(recorded_files()) {
            repo.set_content(world, key, &content);
        }
        repo
    }

    /// Makes an empty repository `name` in `world`, with real git-annex.
    pub(crate) fn create(world: &World, name: &str, uuid: &str, bare: bool) -> Self {
        Self::create_with(world, name, uuid, if bare { &["--bare"] } else { &[] })
    }

    /// Makes one that a group shares.
    pub(crate) fn create_shared(world: &World, name: &str, uuid: &str, bare: bool) -> Self {
        let shared = ["--shared=group", "--bare"];
        Self::create_with(world, name, uuid, if bare { &shared } else { &shared[..1] })
    }

    fn create_with(world: &World, name: &str, uuid: &str, options: &[&str]) -> Self {
        let path = world.join(name);
        fs::create_dir_all(&path).expect("make the directory of a repository");
        if options.contains(&"--shared=group") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o2775)).expect("share it");
        }
        world.hand_over(&path);
        let git_dir = if options.contains(&"--bare") { path.clone() } else { path.join(".git") };
        world.git(&path, &[&["init", "-q"], options].concat());
        world.git(&path, &["config", "annex.uuid", uuid]);
        world.annex(&path, &["init", "--quiet", name]);
        let repo = Self { path, git_dir, uuid: uuid.to_owned() };
        assert_eq!(world.git(&repo.path, &["config", "annex.uuid"]).trim(), uuid);
        repo
    }

    /// Looks at a repository that is already there.
    pub(crate) fn open(world: &World, path: &Path) -> Self {
        // Of a linked work tree it is elsewhere.
        let args = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let git_dir = PathBuf::from(world.git(path, &args).trim());
        let uuid = world.git(path, &["config", "annex.uuid"]).trim().to_owned();
        Self { path: path.to_owned(), git_dir, uuid }
    }

    /// Returns the directory of the repository.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the same as an argument.
    pub(crate) fn arg(&self) -> &str {
        self.path.to_str().expect("a path of ASCII")
    }

    /// Returns its git directory.
    pub(crate) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Returns its `annex` directory.
    pub(crate) fn annex_dir(&self) -> PathBuf {
        self.git_dir.join("annex")
    }

    /// Returns its uuid.
    pub(crate) fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Puts content in by the real git-annex, as if it had been added here.
    pub(crate) fn set_content(&self, world: &World, key: &str, content: &[u8]) {
        let file = world.fresh("content");
        fs::write(&file, content).expect("write content");
        world.hand_over(&file);
        world.annex(&self.path, &["setkey", key, file.to_str().expect("a path of ASCII")]);
    }

    /// Removes content by the real git-annex, whoever else has it.
    pub(crate) fn drop_content(&self, world: &World, key: &str) {
        world.annex(&self.path, &["dropkey", "--force", "--quiet", key]);
    }

    /// Tells what is on disk about `key`.
    pub(crate) fn state(&self, key: &str) -> State {
        let partial = fs::metadata(self.annex_dir().join("tmp").join(key_file(key)));
        State {
            present: self.object(key).is_some(),
            partial_bytes: partial.ok().map(|metadata| metadata.len()),
        }
    }

    /// Returns the path of the object of `key`, if it is there.
    pub(crate) fn object(&self, key: &str) -> Option<PathBuf> {
        self.beside_object(key, "")
    }

    /// Tells which lock files lie beside the object of `key`.
    pub(crate) fn locks(&self, key: &str) -> Locks {
        let has = |suffix| self.beside_object(key, suffix).is_some();
        Locks { lck: has(".lck"), rtm: has(".rtm"), rtl: has(".rtl") }
    }

    /// Tells whether `key` may not be removed: a process holds its content lock, or a retention
    /// has not run out (repository §4.3, §4.5).
    pub(crate) fn is_locked(&self, key: &str) -> bool {
        let held = self.beside_object(key, ".lck").is_some_and(|lock| {
            let file = fs::OpenOptions::new().read(true).write(true).open(lock);
            let exclusive = FlockOperation::NonBlockingLockExclusive;
            file.is_ok_and(|file| fcntl_lock(&file, exclusive).is_err())
        });
        held || self.retention(key).is_some_and(|until| until > SystemTime::now())
    }

    /// Returns until when a lock on `key` is retained, if any is.
    pub(crate) fn retention(&self, key: &str) -> Option<SystemTime> {
        let text = fs::read_to_string(self.beside_object(key, ".rtm")?).ok()?;
        let seconds = text.strip_suffix('s').unwrap_or(&text).parse().ok()?;
        Some(UNIX_EPOCH + Duration::from_secs_f64(seconds))
    }

    /// Makes the retention of a lock on `key` end in the past, as if its ten minutes were over.
    pub(crate) fn expire_retention(&self, key: &str) {
        let retention = self.beside_object(key, ".rtm").expect("a retention to let expire");
        fs::write(retention, "1").expect("rewrite the retention");
    }

    /// Returns the newest line about each repository in the location log of `key`, as committed:
    /// uuid to whether it has the content.
    pub(crate) fn location_log(&self, world: &World, key: &str) -> BTreeMap<String, bool> {
        let suffix = format!("/{}.log", key_file(key));
        let names = world.git(&self.path, &["ls-tree", "-r", "-z", "--name-only", "git-annex"]);
        let Some(name) = names.split('\0').find(|name| name.ends_with(&suffix)) else {
            return BTreeMap::new();
        };
        newest(&world.git(&self.path, &["cat-file", "blob", &format!("git-annex:{name}")]))
    }

    /// The same, whether it is committed yet or not: git-annex-shell commits when it ends.
    pub(crate) fn location_log_now(&self, world: &World, key: &str) -> BTreeMap<String, bool> {
        let suffix = format!("_{}.log", key_file(key).replace('_', "__"));
        let journal = fs::read_dir(self.annex_dir().join("journal")).into_iter().flatten();
        let is_log = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(&suffix);
        let log = journal.flatten().find(is_log);
        match log.and_then(|log| fs::read_to_string(log.path()).ok()) {
            Some(log) => newest(&log),
            None => self.location_log(world, key),
        }
    }

    /// Lets the real git-annex check every object and log of the repository.
    #[track_caller]
    pub(crate) fn fsck(&self, world: &World) {
        let checked = world.try_annex(&self.path, &["fsck", "--all"]);
        assert!(checked.success(), "fsck is not content: {checked}");
        world.git(&self.path, &["fsck", "--strict", "--no-dangling"]);
    }

    /// Lists files in the directories where nothing is when nothing is going on: partial content,
    /// transfer information, transfer locks, temporary files.
    pub(crate) fn strays(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for place in ["tmp", "transfer", "othertmp", "misctmp", "gitaddtmp"] {
            walk(&self.annex_dir().join(place), &mut found);
        }
        found
    }

    /// Fails if there is any such file.
    #[track_caller]
    pub(crate) fn assert_no_strays(&self) {
        let strays = self.strays();
        assert!(strays.is_empty(), "left behind: {strays:?}");
    }

    /// Takes down every file of the repository with its length and modification time, to see
    /// later that nothing changed.
    pub(crate) fn inventory(&self) -> BTreeMap<PathBuf, (u64, SystemTime)> {
        let mut files = Vec::new();
        walk(&self.git_dir, &mut files);
        let about = |file: PathBuf| {
            let metadata = fs::symlink_metadata(&file).ok()?;
            Some((file, (metadata.len(), metadata.modified().ok()?)))
        };
        files.into_iter().filter_map(about).collect()
    }

    fn beside_object(&self, key: &str, suffix: &str) -> Option<PathBuf> {
        let name = key_file(key);
        let objects = self.annex_dir().join("objects");
        let below = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
        below(objects)
            .flat_map(|first| below(first.path()))
            .map(|second| second.path().join(&name).join(format!("{name}{suffix}")))
            .find(|path| path.symlink_metadata().is_ok())
    }
}

/// Escapes a key as a file name (repository §1.4).
pub(crate) fn key_file(key: &str) -> String {
    key.replace('&', "&a").replace('%', "&s").replace(':', "&c").replace('/', "%")
}

/// The files of the recordings with their content.
pub(crate) fn recorded_files() -> [(&'static str, Vec<u8>); 3] {
    [("a.txt", b"hello\n".to_vec()), ("empty", Vec::new()), ("big.txt", vec![b'x'; 300_000])]
}

/// What the newest line about each repository says.
fn newest(log: &str) -> BTreeMap<String, bool> {
    let mut lines: Vec<_> = log.lines().filter_map(log_line).collect();
    lines.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    lines.into_iter().map(|(_, uuid, there)| (uuid, there)).collect()
}

fn log_line(line: &str) -> Option<(f64, String, bool)> {
    let mut words = line.split(' ');
    let seconds = words.next()?.strip_suffix('s')?.parse().ok()?;
    let there = words.next()? == "1";
    Some((seconds, words.next()?.to_owned(), there))
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), found),
            _ => found.push(entry.path()),
        }
    }
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
}
