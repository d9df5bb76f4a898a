//! The promise, and what it must leave on the disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gannet_core::{Mode, Piece, Verdict};
use gannet_testkit::{Parts, ScratchDir, TestClock, annex_keeps_its_promise};

use super::*;
use crate::blocking::LONG_MAX;
use crate::journal;
use crate::lockfile::tests::meanwhile;
use crate::lockfile::{Acquire, LockFile, Sharing};
use crate::logs::location::Status;
use crate::permissions::thaw_dir;
use crate::{InitOptions, create};

annex_keeps_its_promise!(bare, Scratch::bare().into_parts());
annex_keeps_its_promise!(with_a_work_tree, Scratch::new(false, "").into_parts());
annex_keeps_its_promise!(
    shared_with_a_group,
    Scratch::new(true, "[core]\n\tsharedRepository = group\n").into_parts()
);
annex_keeps_its_promise!(
    on_a_crippled_file_system,
    Scratch::new(false, "[annex]\n\tcrippledfilesystem = true\n").into_parts()
);

/// A repository that is gone with this.
struct Scratch {
    dir: ScratchDir,
    clock: Arc<TestClock>,
    repo: Repo,
    annex: PathBuf,
}

impl Scratch {
    fn bare() -> Self {
        Self::new(true, "")
    }

    fn new(bare: bool, config: &str) -> Self {
        let dir = ScratchDir::new();
        let clock = TestClock::new();
        let path = dir.path().join("repo");
        let options = InitOptions { description: "scratch".to_owned(), bare, uuid: None };
        create(&path, &options, &*clock).unwrap();
        let git_dir = if bare { path.clone() } else { path.join(".git") };
        let file = git_dir.join("config");
        let own = fs::read_to_string(&file).unwrap();
        fs::write(&file, own + config).unwrap();
        let repo = Repo::open(&path, Arc::clone(&clock) as _).unwrap();
        Self { dir, clock, repo, annex: git_dir.join("annex") }
    }

    fn into_parts(self) -> Parts {
        Parts::new(Arc::new(self.repo), Some(self.clock), self.dir)
    }

    /// The same repository in a process that starts after a crash.
    fn reopened(&self) -> Repo {
        Repo::open(self.repo.path(), Arc::clone(&self.clock) as _).unwrap()
    }

    /// Cuts the object of [`hello`] short, as a disk does that lost a part of it.
    fn cut_short(&self) -> PathBuf {
        let object = self.repo.inner.current.known().locate(&hello()).unwrap().path().to_owned();
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&object, b"hell").unwrap();
        fs::set_permissions(&object, fs::Permissions::from_mode(0o444)).unwrap();
        object
    }

    /// Whether this repository is recorded to have the content of `key`.
    fn recorded(&self, key: &Key) -> Option<Status> {
        let (inner, site) = (&self.repo.inner, self.repo.inner.current.known());
        let session = inner.scribe.session().unwrap();
        journal::recorded(site.settings(), &session, key, site.uuid()).unwrap()
    }

    async fn put(&self, key: &Key, content: Content) -> Result<Stored> {
        self.repo.put(&anybody(), key, &AssociatedFile::default(), content).await
    }

    /// Every file below the annex directory that is neither an object nor part of the
    /// repository's furniture, relative to it.
    fn stray_files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut dirs = vec![self.annex.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                    continue;
                }
                let name = path.strip_prefix(&self.annex).unwrap().display().to_string();
                let is_object = path.parent().unwrap().file_name() == path.file_name();
                let furniture = ["journal.lck", "othertmp.lck", "sentinal", "sentinal.cache"];
                if !is_object && !furniture.contains(&&*name) && !name.starts_with("journal/") {
                    found.push(name);
                }
            }
        }
        found.sort();
        found
    }
}

fn anybody() -> Asker {
    Asker::with_mode(Mode::FULL)
}

fn key(text: &str) -> Key {
    Key::parse(text.as_bytes()).unwrap()
}

fn hello() -> Key {
    key("SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.txt")
}

fn hello_content() -> Content {
    Content::whole(Bytes::from_static(b"hello\n"))
}

fn broken_after(bytes: &'static [u8], total: u64) -> Content {
    let pieces = vec![Ok(Piece::Bytes(Bytes::from_static(bytes))), Err(Error::Interrupted)];
    Content { total, from: 0, len: total, pieces: stream::iter(pieces).boxed() }
}

fn rest_from(from: u64, bytes: &'static [u8]) -> Content {
    let total = from + bytes.len() as u64;
    let pieces = vec![Ok(Piece::Bytes(Bytes::from_static(bytes))), Ok(Piece::End(Verdict::Valid))];
    Content { total, from, len: bytes.len() as u64, pieces: stream::iter(pieces).boxed() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn an_object_lies_where_git_annex_looks_and_cannot_be_written() {
    for (bare, dirs) in [(true, "9d5/b27"), (false, "")] {
        let scratch = Scratch::new(bare, "");
        scratch.put(&hello(), hello_content()).await.unwrap();
        let site = scratch.repo.inner.current.known();
        let object = site.locate(&hello()).unwrap();
        assert_eq!(fs::read(object.path()).unwrap(), b"hello\n");
        assert_eq!(mode(object.path()), 0o444);
        assert_eq!(mode(object.dir()), 0o555);
        let two_up = object.dir().parent().unwrap();
        let hash_dirs = two_up.strip_prefix(scratch.annex.join("objects")).unwrap();
        assert_eq!(hash_dirs.components().count(), 2);
        assert!(dirs.is_empty() || hash_dirs.to_str().unwrap().len() == dirs.len());
        assert_eq!(scratch.stray_files(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_broken_put_leaves_the_partial_file_that_git_annex_resumes() {
    let scratch = Scratch::bare();
    let broken = scratch.put(&hello(), broken_after(b"hel", 6)).await;
    assert!(matches!(broken, Err(Error::Interrupted)), "{broken:?}");
    let name = String::from_utf8(hello().file_name()).unwrap();
    assert_eq!(scratch.stray_files(), [format!("tmp/{name}")]);
    assert_eq!(fs::read(scratch.annex.join("tmp").join(&name)).unwrap(), b"hel");
    scratch.put(&hello(), rest_from(3, b"lo\n")).await.unwrap();
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_crash_interrupted_is_resumable_after_the_next_start() {
    let scratch = Scratch::bare();
    let private = scratch.annex.join("tmp/gannet");
    fs::create_dir_all(&private).unwrap();
    let name = String::from_utf8(hello().file_name()).unwrap();
    fs::write(private.join(&name), b"hell").unwrap();
    fs::write(private.join("WORM-s9-m1--x"), b"nobody can verify this").unwrap();
    let repo = scratch.reopened();
    let offset = repo.put_offset(&anybody(), &hello(), &AssociatedFile::default()).await.unwrap();
    assert_eq!(offset, PutOffset::From(4));
    assert_eq!(scratch.stray_files(), [format!("tmp/{name}")]);
}

#[tokio::test]
async fn a_partial_file_that_somebody_else_could_still_change_is_not_resumed() {
    let scratch = Scratch::bare();
    let name = String::from_utf8(hello().file_name()).unwrap();
    fs::create_dir_all(scratch.annex.join("tmp")).unwrap();
    let partial = scratch.annex.join("tmp").join(&name);
    fs::write(&partial, b"hell").unwrap();
    fs::hard_link(&partial, scratch.dir.path().join("other")).unwrap();
    let offset =
        scratch.repo.put_offset(&anybody(), &hello(), &AssociatedFile::default()).await.unwrap();
    assert_eq!(offset, PutOffset::From(0));
    scratch.put(&hello(), hello_content()).await.unwrap();
    assert_eq!(fs::read(scratch.dir.path().join("other")).unwrap(), b"hell");
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_transfer_by_another_process_is_not_disturbed() {
    let scratch = Scratch::bare();
    let dir = scratch.annex.join("transfer/download/lck");
    fs::create_dir_all(&dir).unwrap();
    let name = String::from_utf8(hello().file_name()).unwrap();
    let path = dir.join(format!("lck.{name}"));
    let site = scratch.repo.inner.current.known();
    let held = LockFile::open(&path, Sharing::Exclusive, Acquire::Try, site.settings()).unwrap();
    let refused = scratch.put(&hello(), hello_content()).await;
    assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    drop(held);
    scratch.put(&hello(), hello_content()).await.unwrap();
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn what_another_process_is_removing_is_not_vouched_for() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    let site = scratch.repo.inner.current.known();
    let object = site.locate(&hello()).unwrap();
    let lock = object.beside(".lck");
    thaw_dir(object.dir(), site.settings()).unwrap();
    let removing =
        LockFile::open(&lock, Sharing::Exclusive, Acquire::Try, site.settings()).unwrap().unwrap();
    let present = scratch.repo.check_present(&anybody(), &hello()).await;
    assert!(matches!(present, Err(Error::Busy { .. })), "{present:?}");
    // Whoever gives up removing leaves it; whoever locks it does not matter.
    drop(removing);
    assert!(scratch.repo.check_present(&anybody(), &hello()).await.unwrap());
    let locked =
        LockFile::open(&lock, Sharing::Shared, Acquire::Try, site.settings()).unwrap().unwrap();
    assert!(scratch.repo.check_present(&anybody(), &hello()).await.unwrap());
    drop(locked);
    fs::remove_file(&lock).unwrap();
}

#[tokio::test]
async fn locks_leave_nothing_behind_in_whatever_order_they_are_released() {
    for first in [0, 1] {
        let scratch = Scratch::bare();
        scratch.put(&hello(), hello_content()).await.unwrap();
        let mut locks = Vec::new();
        for _ in 0..2 {
            locks.push(scratch.repo.lock(&anybody(), &hello()).await.unwrap().unwrap());
            scratch.clock.advance(5);
        }
        locks.remove(first).release().await.unwrap();
        assert!(!scratch.stray_files().is_empty(), "the other one still stands");
        locks.remove(0).release().await.unwrap();
        assert_eq!(scratch.stray_files(), Vec::<String>::new());
        let removal = scratch.repo.remove(&anybody(), &hello()).await.unwrap();
        assert!(removal.removed);
    }
}

#[tokio::test]
async fn a_retention_outlives_the_process_that_wrote_it() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    drop(scratch.repo.lock(&anybody(), &hello()).await.unwrap().unwrap());
    let repo = scratch.reopened();
    assert_eq!(repo.remove(&anybody(), &hello()).await.unwrap(), Removal::refused());
    scratch.clock.advance(600);
    assert_eq!(repo.remove(&anybody(), &hello()).await.unwrap(), Removal::refused());
    scratch.clock.advance(61);
    assert_eq!(repo.remove(&anybody(), &hello()).await.unwrap(), Removal::done());
    assert!(!scratch.annex.join("objects").read_dir().unwrap().any(|_| true), "pruned");
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn version_9_locks_the_object_itself() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    let config = scratch.annex.parent().unwrap().join("config");
    let text = fs::read_to_string(&config).unwrap().replace("version = 10", "version = 9");
    assert!(text.contains("version = 9"));
    fs::write(&config, text).unwrap();
    let object = scratch.repo.inner.current.site().unwrap().locate(&hello()).unwrap();
    let lock = scratch.repo.lock(&anybody(), &hello()).await.unwrap().unwrap();
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
    assert!(
        LockFile::open_existing(object.path(), Sharing::Exclusive, Acquire::Try)
            .unwrap_or(None)
            .is_none(),
        "the object is locked"
    );
    assert_eq!(scratch.repo.remove(&anybody(), &hello()).await.unwrap(), Removal::refused());
    assert_eq!(mode(object.path()), 0o444, "the mode is restored");
    lock.release().await.unwrap();
    assert_eq!(scratch.repo.remove(&anybody(), &hello()).await.unwrap(), Removal::done());
    assert!(!object.path().exists());
}

/// Between opening the object and locking it, another process removes the content and stores it anew:
/// the lock would be on a file that is gone, and nobody would respect it.
#[tokio::test]
async fn version_9_never_counts_on_a_lock_of_an_object_that_was_replaced() {
    for times in [1, usize::MAX] {
        let scratch = Scratch::bare();
        scratch.put(&hello(), hello_content()).await.unwrap();
        let config = scratch.annex.parent().unwrap().join("config");
        let text = fs::read_to_string(&config).unwrap().replace("version = 10", "version = 9");
        fs::write(&config, text).unwrap();
        let inner = &scratch.repo.inner;
        let (site, now) = (inner.current.site().unwrap(), Now::of(&*inner.clock));
        let object = site.locate(&hello()).unwrap();
        thaw_dir(object.dir(), site.settings()).unwrap();
        replace_meanwhile(object.path(), times);
        let lock = SharedLock::acquire(&site, &hello(), &inner.vouched, now, None).unwrap();
        meanwhile(Path::new(""), |_| ());
        assert_eq!(lock.is_some(), times == 1);
        if lock.is_some() {
            assert_eq!(
                scratch.repo.remove(&anybody(), &hello()).await.unwrap(),
                Removal::refused()
            );
        }
    }
}

/// The upgrade ends between looking at the version and locking.
#[tokio::test]
async fn an_upgrade_in_between_is_heeded() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    let config = scratch.annex.parent().unwrap().join("config");
    let new = fs::read_to_string(&config).unwrap();
    fs::write(&config, new.replace("version = 10", "version = 9")).unwrap();
    let inner = &scratch.repo.inner;
    let (old, now) = (inner.current.site().unwrap(), Now::of(&*inner.clock));
    fs::write(&config, new).unwrap();
    let acquire = |site: &Site| SharedLock::acquire(site, &hello(), &inner.vouched, now, None);
    assert!(matches!(acquire(&old), Err(Error::Unsupported(_))));
    let lock = inner.despite_upgrades(&old, acquire).unwrap().unwrap();
    assert_eq!(scratch.repo.remove(&anybody(), &hello()).await.unwrap(), Removal::refused());
    lock.release(now).unwrap();
}

fn replace_meanwhile(object: &Path, times: usize) {
    meanwhile(object, move |object| {
        let new = object.with_extension("new");
        fs::write(&new, b"hello\n").unwrap();
        fs::rename(&new, object).unwrap();
        if times > 1 {
            replace_meanwhile(object, times - 1);
        }
    });
}

#[tokio::test]
async fn what_is_left_of_an_object_is_not_vouched_for_and_makes_room_for_the_whole() {
    for (bare, config) in [(true, ""), (false, ""), (false, "[annex]\n\tthin = true\n")] {
        let scratch = Scratch::new(bare, config);
        let (repo, file) = (&scratch.repo, AssociatedFile::default());
        scratch.put(&hello(), hello_content()).await.unwrap();
        let object = scratch.cut_short();
        let status = || scratch.recorded(&hello());

        assert!(!repo.check_present(&anybody(), &hello()).await.unwrap());
        assert!(repo.lock(&anybody(), &hello()).await.unwrap().is_none());
        let got = repo.get(&anybody(), &hello(), &file, Span::ALL).await;
        assert!(matches!(got, Err(Error::Missing { .. })), "{got:?}");
        let present = repo.put_present(&anybody(), &hello(), &file).await;
        assert!(matches!(present, Err(Error::Missing { .. })), "{present:?}");
        let offset = repo.put_offset(&anybody(), &hello(), &file).await.unwrap();
        assert_eq!(offset, PutOffset::From(0));
        assert_eq!(status(), Some(Status::Present), "nobody has had the time to look");
        repo.inner.scribe.record(&hello(), Claim::AsFound).await.unwrap();
        assert_eq!(status(), Some(Status::Missing));

        let rejected = scratch.put(&hello(), Content::whole(Bytes::from_static(b"HELLO\n"))).await;
        assert!(matches!(rejected, Err(Error::Rejected { .. })), "{rejected:?}");
        assert_eq!(fs::read(&object).unwrap(), b"hell", "nothing better came");
        scratch.put(&hello(), hello_content()).await.unwrap();
        assert_eq!(fs::read(&object).unwrap(), b"hello\n");
        assert_eq!(mode(&object), 0o444);
        let name = String::from_utf8(hello().file_name()).unwrap();
        assert_eq!(fs::read(scratch.annex.join("bad").join(&name)).unwrap(), b"hell");
        assert_eq!(scratch.stray_files(), [format!("bad/{name}")]);
        assert_eq!(status(), Some(Status::Present));
        assert!(repo.check_present(&anybody(), &hello()).await.unwrap());

        scratch.cut_short();
        assert_eq!(repo.remove(&anybody(), &hello()).await.unwrap(), Removal::done());
        assert!(!object.exists());
        assert_eq!(status(), Some(Status::Missing));
    }
}

/// Whoever asks for an object that must be read first waits for that one reading, and nobody else does.
#[tokio::test]
async fn long_readings_keep_no_other_request_waiting() {
    let scratch = Scratch::new(false, "");
    scratch.put(&hello(), hello_content()).await.unwrap();
    let big = key("WORM-s3000000-m1--big");
    scratch.put(&big, Content::whole(vec![b'x'; 3_000_000].into())).await.unwrap();
    let object = scratch.repo.inner.current.known().locate(&big).unwrap();
    fs::set_permissions(object.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let long: Vec<_> = (0..LONG_MAX)
        .map(|_| {
            let (blocking, wait) = (scratch.repo.inner.blocking.clone(), Arc::clone(&wait));
            let work = move || wait.lock().unwrap().recv().map_err(|_| Error::Interrupted);
            tokio::spawn(async move { blocking.run_long(work).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let askers: Vec<_> = (0..3 * BLOCKING_MAX)
        .map(|_| {
            let (repo, big) = (scratch.repo.clone(), big.clone());
            tokio::spawn(async move { repo.check_present(&anybody(), &big).await })
        })
        .collect();
    for _ in 0..20 {
        assert!(scratch.repo.check_present(&anybody(), &hello()).await.unwrap());
    }
    assert!(askers.iter().all(|asker| !asker.is_finished()), "it was not read yet");
    long.iter().for_each(|_| go.send(()).unwrap());
    for asker in askers {
        assert!(asker.await.unwrap().unwrap());
    }
    assert_eq!(scratch.repo.inner.vouched.readings.load(Ordering::SeqCst), 1);
}

/// Whoever locked the content before it was cut short gets it back as it was, or not at all.
#[tokio::test]
async fn what_is_left_of_an_object_stays_for_whoever_locked_it() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    let lock = scratch.repo.lock(&anybody(), &hello()).await.unwrap().unwrap();
    let object = scratch.cut_short();
    let busy = scratch.put(&hello(), hello_content()).await;
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    assert_eq!(fs::read(&object).unwrap(), b"hell");
    lock.release().await.unwrap();
    let file = AssociatedFile::default();
    let offset = scratch.repo.put_offset(&anybody(), &hello(), &file).await.unwrap();
    assert_eq!(offset, PutOffset::From(6), "what came is not lost");
    scratch.put(&hello(), rest_from(6, b"")).await.unwrap();
    assert_eq!(fs::read(&object).unwrap(), b"hello\n");
}

#[tokio::test]
async fn an_object_that_was_modified_in_place_is_not_vouched_for() {
    let scratch = Scratch::new(false, "[annex]\n\tthin = true\n");
    scratch.put(&hello(), hello_content()).await.unwrap();
    let object = scratch.repo.inner.current.known().locate(&hello()).unwrap();
    let work_file = scratch.dir.path().join("repo/file");
    fs::set_permissions(object.path(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::hard_link(object.path(), &work_file).unwrap();
    assert!(scratch.repo.check_present(&anybody(), &hello()).await.unwrap());
    fs::write(&work_file, b"HELLO\n").unwrap();
    assert!(!scratch.repo.check_present(&anybody(), &hello()).await.unwrap());
    let got = scratch.repo.get(&anybody(), &hello(), &AssociatedFile::default(), Span::ALL).await;
    assert!(matches!(got, Err(Error::Missing { .. })), "{got:?}");
    assert!(scratch.repo.lock(&anybody(), &hello()).await.unwrap().is_none());
    assert_eq!(scratch.repo.remove(&anybody(), &hello()).await.unwrap(), Removal::done());
    assert_eq!(fs::read(&work_file).unwrap(), b"HELLO\n", "the user's work stays");
}

#[tokio::test]
async fn content_that_changes_while_it_is_read_is_doubtful() {
    let scratch = Scratch::bare();
    let big = vec![b'x'; 300_000];
    let worm = key("WORM-s300000-m1--big");
    scratch.put(&worm, Content::whole(big.into())).await.unwrap();
    let content =
        scratch.repo.get(&anybody(), &worm, &AssociatedFile::default(), Span::ALL).await.unwrap();
    let path = scratch.repo.inner.current.known().locate(&worm).unwrap().path().to_owned();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut text = fs::read(&path).unwrap();
    text[299_999] = b'y';
    fs::write(&path, text).unwrap();
    assert_eq!(content.pour(|_| Ok(())).await.unwrap(), Verdict::Doubtful);
}

#[tokio::test]
async fn policies_and_states_that_forbid_a_change_are_named() {
    let scratch = Scratch::new(true, "[annex]\n\tsecurehashesonly = true\n");
    let refused = scratch.put(&key("WORM-s6-m1--x"), hello_content()).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    scratch.put(&hello(), hello_content()).await.unwrap();

    let scratch = Scratch::new(true, "[annex]\n\tpidlock = true\n");
    let refused = scratch.put(&hello(), hello_content()).await.unwrap_err();
    assert!(refused.to_string().contains("annex.pidlock"), "{refused}");

    let scratch = Scratch::new(true, "[annex]\n\ttrashbin = elsewhere\n");
    scratch.put(&hello(), hello_content()).await.unwrap();
    let refused = scratch.repo.remove(&anybody(), &hello()).await.unwrap_err();
    assert!(refused.to_string().contains("annex.trashbin"), "{refused}");
    assert!(scratch.repo.check_present(&anybody(), &hello()).await.unwrap());

    let scratch = Scratch::new(true, "[annex]\n\tdiskreserve = 100000 petabytes\n");
    let refused = scratch.put(&hello(), hello_content()).await.unwrap_err();
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    for odd in ["_A-s6--x".to_owned(), format!("WORM-s6-m1--{}", "x".repeat(300))] {
        let refused = scratch.put(&key(&odd), hello_content()).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{refused}");
        assert!(!scratch.repo.check_present(&anybody(), &key(&odd)).await.unwrap());
    }
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn hooks_around_objects_are_run() {
    let config = "[annex]\n\tfreezecontent-command = \"echo freeze %path >> $PWD/log\"\n\
                  \tthawcontent-command = \"echo thaw %path >> $PWD/log\"\n\
                  \tsecure-erase-command = \"echo erase %file >> $PWD/log\"\n";
    let scratch = Scratch::new(true, config);
    scratch.put(&hello(), hello_content()).await.unwrap();
    scratch.repo.remove(&anybody(), &hello()).await.unwrap();
    let mut log = String::new();
    for dir in [scratch.annex.clone(), scratch.annex.parent().unwrap().to_owned()] {
        log.push_str(&fs::read_to_string(dir.join("log")).unwrap_or_default());
    }
    let object = scratch.repo.inner.current.known().locate(&hello()).unwrap();
    for line in [
        format!("freeze {}", object.path().display()),
        format!("freeze {}", object.dir().display()),
        format!("thaw {}", object.dir().display()),
        format!("erase {}", object.path().display()),
    ] {
        assert!(log.lines().any(|logged| logged == line), "{line} is not in:\n{log}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_branch_after_a_flush() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    scratch.repo.flush().await.unwrap();
    assert_eq!(fs::read_dir(scratch.annex.join("journal")).unwrap().count(), 0);
    let show = |key: &Key| {
        let path = gannet_core::place::log_path(gannet_core::place::Levels::Two, key, ".log");
        let output = std::process::Command::new("git")
            .arg("-C")
            .arg(scratch.repo.path())
            .args(["show", &format!("git-annex:{}", String::from_utf8(path).unwrap())])
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(show(&hello()).ends_with(&format!("s 1 {}\n", scratch.repo.uuid())));
    scratch.repo.remove(&anybody(), &hello()).await.unwrap();
    scratch.repo.flush().await.unwrap();
    assert!(show(&hello()).ends_with(&format!("s 0 {}\n", scratch.repo.uuid())));
}

#[tokio::test]
async fn a_repository_that_became_another_is_not_served() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    let config = scratch.annex.parent().unwrap().join("config");
    let uuid = scratch.repo.uuid().to_string();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace(&uuid, "5e5e5e5e-0000-4000-8000-000000000001")).unwrap();
    let refused = scratch.repo.check_present(&anybody(), &hello()).await.unwrap_err();
    assert!(refused.to_string().contains("another repository"), "{refused}");
}

#[tokio::test]
async fn a_hook_that_fails_changes_nothing() {
    let scratch = Scratch::new(true, "[annex]\n\tfreezecontent-command = exit 1\n");
    scratch.put(&hello(), hello_content()).await.unwrap();
    scratch.repo.lock(&anybody(), &hello()).await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(scratch.repo.remove(&anybody(), &hello()).await.unwrap(), Removal::done());
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_whose_log_has_no_place_is_refused_before_anything_is_stored() {
    let scratch = Scratch::bare();
    let odd = key(&format!("WORM-s6-m1--{}", "_".repeat(150)));
    let refused = scratch.put(&odd, hello_content()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(!scratch.repo.check_present(&anybody(), &odd).await.unwrap());
}

#[tokio::test]
async fn content_that_a_crash_left_unrecorded_is_recorded_when_somebody_wants_to_put_it() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    fs::remove_dir_all(scratch.annex.join("journal")).unwrap();
    let offset =
        scratch.repo.put_offset(&anybody(), &hello(), &AssociatedFile::default()).await.unwrap();
    assert_eq!(offset, PutOffset::AlreadyHave { plus: Vec::new() });
    let noted: Vec<_> = fs::read_dir(scratch.annex.join("journal")).unwrap().collect();
    assert_eq!(noted.len(), 1);
}

#[tokio::test]
async fn notes_of_transfers_that_a_crash_ended_are_cleared() {
    let scratch = Scratch::bare();
    let name = String::from_utf8(hello().file_name()).unwrap();
    let dir = scratch.annex.join("transfer/download").join(scratch.repo.uuid().as_str());
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(&name), b"1s\n\n").unwrap();
    fs::write(dir.join(format!("lck.{name}")), b"").unwrap();
    scratch.reopened();
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_with_the_name_of_a_directory_can_put() {
    let scratch = Scratch::bare();
    let asker = Asker { client: Uuid::parse(b"lck").ok(), ..anybody() };
    let file = AssociatedFile::default();
    scratch.repo.put(&asker, &hello(), &file, hello_content()).await.unwrap();
    assert_eq!(scratch.stray_files(), Vec::<String>::new());
}

/// Whoever makes up a uuid for each put, and whoever sends several at once, leaves no directory;
/// one that another process made stays.
#[tokio::test]
async fn made_up_clients_leave_nothing() {
    let scratch = Scratch::bare();
    let file = AssociatedFile::default();
    let downloads = scratch.annex.join("transfer/download");
    fs::create_dir_all(downloads.join("known")).unwrap();
    for name in ["stranger-1", "stranger-2", "known"] {
        let asker = Asker { client: Uuid::parse(name.as_bytes()).ok(), ..anybody() };
        let keys: Vec<_> = (0..3).map(|n| key(&format!("WORM-s6-m{n}--{name}"))).collect();
        let puts = keys.iter().map(|key| scratch.repo.put(&asker, key, &file, hello_content()));
        for stored in futures_util::future::join_all(puts).await {
            stored.unwrap();
        }
        let broken = scratch.repo.put(&asker, &hello(), &file, broken_after(b"hel", 6)).await;
        assert!(matches!(broken, Err(Error::Interrupted)), "{broken:?}");
    }
    let entries = fs::read_dir(&downloads).unwrap();
    let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["known", "lck"]);
}

#[tokio::test]
async fn a_change_whose_request_is_dropped_does_not_take_others_with_it() {
    let scratch = Scratch::bare();
    let file = AssociatedFile::default();
    let keys: Vec<_> = (0..20).map(|n| key(&format!("WORM-s6-m{n}--x"))).collect();
    for key in &keys {
        scratch.put(key, hello_content()).await.unwrap();
    }
    fs::remove_dir_all(scratch.annex.join("journal")).unwrap();
    let mut kept = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let (repo, key, file) = (scratch.repo.clone(), key.clone(), file.clone());
        let task =
            tokio::spawn(async move { repo.put_present(&anybody(), &key, &file).await.map(drop) });
        if n % 2 == 0 {
            tokio::task::yield_now().await;
            task.abort();
        } else {
            kept.push(task);
        }
    }
    for task in kept {
        task.await.unwrap().unwrap();
    }
}

/// Its client may have let go of the other copy meanwhile.
#[tokio::test]
async fn a_removal_that_nobody_waits_for_is_not_begun() {
    let scratch = Scratch::bare();
    scratch.put(&hello(), hello_content()).await.unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Arc::new(std::sync::Mutex::new(wait));
    let busy: Vec<_> = (0..BLOCKING_MAX)
        .map(|_| {
            let (blocking, wait) = (scratch.repo.inner.blocking.clone(), Arc::clone(&wait));
            let work = move || wait.lock().unwrap().recv().map_err(|_| Error::Interrupted);
            tokio::spawn(async move { blocking.run(work).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let (repo, key) = (scratch.repo.clone(), hello());
    let removal = tokio::spawn(async move { repo.remove(&anybody(), &key).await });
    tokio::task::yield_now().await;
    removal.abort();
    assert!(removal.await.unwrap_err().is_cancelled());
    busy.iter().for_each(|_| go.send(()).unwrap());
    for task in busy {
        task.await.unwrap().unwrap();
    }
    scratch.repo.flush().await.unwrap();
    assert!(scratch.repo.check_present(&anybody(), &hello()).await.unwrap());
    assert!(scratch.repo.remove(&anybody(), &hello()).await.unwrap().removed);
}

#[tokio::test]
async fn content_that_proves_nothing_is_not_sent_where_that_is_forbidden() {
    let scratch = Scratch::bare();
    let worm = key("WORM-s6-m1--x");
    scratch.put(&worm, hello_content()).await.unwrap();
    let config = scratch.annex.parent().unwrap().join("config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "[annex]\n\tsecurehashesonly = true\n").unwrap();
    let file = AssociatedFile::default();
    let got = scratch.repo.get(&anybody(), &worm, &file, Span::ALL).await;
    assert!(matches!(got, Err(Error::Refused { .. })), "{got:?}");
}
