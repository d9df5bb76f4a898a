//! Which files of a work tree follow the content of a key, and which are left alone.

use std::fs::Permissions;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gannet_core::{Annex, Asker, AssociatedFile, Content, Mode as Rights};
use gannet_testkit::{ScratchDir, TestClock};

use super::*;
use crate::keys_db::tests::make;
use crate::{InitOptions, Repo, create};

const HELLO: &[u8] = b"hello\n";

/// A repository with a work tree, whose database has a row for each file.
struct Scratch {
    _dir: ScratchDir,
    top: PathBuf,
    outside: PathBuf,
    key: Key,
    repo: Repo,
}

impl Scratch {
    fn new(key: &str, config: &str, rows: &[&str]) -> Self {
        let dir = ScratchDir::new();
        let clock = TestClock::new();
        let (top, outside) = (dir.path().join("repo"), dir.path().join("outside"));
        let options = InitOptions { description: "scratch".to_owned(), bare: false, uuid: None };
        create(&top, &options, &*clock).unwrap();
        let file = top.join(".git/config");
        fs::write(&file, fs::read_to_string(&file).unwrap() + config).unwrap();
        fs::create_dir(&outside).unwrap();
        let key = Key::parse(key.as_bytes()).unwrap();
        let rows: Vec<_> = rows.iter().map(|row| row.as_bytes()).collect();
        make(&top.join(".git/annex"), &key, &rows);
        let repo = Repo::open(&top, Arc::clone(&clock) as _).unwrap();
        Self { _dir: dir, top, outside, key, repo }
    }

    fn hello(rows: &[&str]) -> Self {
        Self::new(HELLO_KEY, "", rows)
    }

    /// Makes a file in the work tree, and returns where it is.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn pointer(&self, name: &str) -> PathBuf {
        self.file(name, &pointer::write(&self.key))
    }

    async fn put(&self) {
        let content = Content::whole(Bytes::from_static(HELLO));
        let file = AssociatedFile::default();
        self.repo.put(&asker(), &self.key, &file, content).await.unwrap();
    }

    async fn remove(&self) {
        assert!(self.repo.remove(&asker(), &self.key).await.unwrap().removed);
    }

    fn restaged(&self) -> String {
        fs::read_to_string(self.top.join(".git/annex/restage.log")).unwrap_or_default()
    }
}

fn asker() -> Asker {
    Asker::with_mode(Rights::FULL)
}

fn line(path: &Path, name: &str) -> String {
    format!("{}:{name}\n", InodeCache::of(&fs::metadata(path).unwrap()))
}

fn is_pointer(path: &Path) -> bool {
    pointer::parse(&fs::read(path).unwrap()).is_some()
}

#[tokio::test]
async fn a_pointer_becomes_the_content_and_the_content_a_pointer() {
    let scratch = Scratch::hello(&["a", "b/c"]);
    let (a, c) = (scratch.pointer("a"), scratch.pointer("b/c"));
    fs::set_permissions(&c, Permissions::from_mode(0o755)).unwrap();
    scratch.put().await;
    for (path, mode) in [(&a, 0o644), (&c, 0o755)] {
        assert_eq!(fs::read(path).unwrap(), HELLO);
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode);
    }
    let restaged = [line(&a, "a"), line(&c, "b/c")].concat();
    assert_eq!(scratch.restaged(), restaged);
    let old = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_500);
    File::options().append(true).open(&a).unwrap().set_modified(old).unwrap();
    scratch.remove().await;
    for (path, mode) in [(&a, 0o644), (&c, 0o755)] {
        assert_eq!(fs::read(path).unwrap(), pointer::write(&scratch.key));
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, mode);
    }
    assert_eq!(fs::metadata(&a).unwrap().modified().unwrap(), old);
    assert_eq!(scratch.restaged(), [restaged, line(&a, "a"), line(&c, "b/c")].concat());
}

#[tokio::test]
async fn rows_that_the_disk_does_not_bear_out_change_nothing() {
    let rows = ["absent", "other", "mine", "dir", "absent/below", "link", "pipe"];
    let scratch = Scratch::hello(&rows);
    let other = Key::parse(b"WORM-s6-m1--other").unwrap();
    let other = scratch.file("other", &pointer::write(&other));
    let mine = scratch.file("mine", b"my own words");
    fs::create_dir(scratch.top.join("dir")).unwrap();
    symlink(".git/annex/objects/somewhere", scratch.top.join("link")).unwrap();
    rustix::fs::mknodat(
        CWD,
        scratch.top.join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    let states = || [&other, &mine].map(|path| Inode::of(&fs::metadata(path).unwrap()));
    let before = states();
    scratch.put().await;
    scratch.remove().await;
    assert_eq!(states(), before);
    assert!(fs::symlink_metadata(scratch.top.join("link")).unwrap().is_symlink());
    assert_eq!(scratch.restaged(), "");
}

#[tokio::test]
async fn no_row_leads_out_of_the_work_tree() {
    let rows = ["../outside/a", "way/a", ".git/a", "sub/.GIT/a", "./b", "", "/", "in//b", "link"];
    let scratch = Scratch::hello(&rows);
    let pointer = pointer::write(&scratch.key);
    symlink(&scratch.outside, scratch.top.join("way")).unwrap();
    symlink(scratch.outside.join("a"), scratch.top.join("link")).unwrap();
    let places = [".git/a", "sub/.GIT/a", "b", "in/b"].map(|name| scratch.file(name, &pointer));
    fs::write(scratch.outside.join("a"), &pointer).unwrap();
    let absolute = scratch.outside.join("absolute");
    fs::write(&absolute, &pointer).unwrap();
    let db = rusqlite::Connection::open(scratch.top.join(".git/annex/keysdb/db")).unwrap();
    let row = (scratch.key.as_bytes(), absolute.to_str().unwrap().as_bytes());
    db.execute("INSERT INTO associated (key, file) VALUES (?, ?)", row).unwrap();
    scratch.put().await;
    for path in places.iter().chain([&scratch.outside.join("a"), &absolute]) {
        assert!(is_pointer(path), "{} was written", path.display());
    }
    assert!(fs::symlink_metadata(scratch.top.join("link")).unwrap().is_symlink());
}

#[tokio::test]
async fn what_somebody_modified_stays() {
    let scratch = Scratch::hello(&["a", "b"]);
    let (a, b) = (scratch.pointer("a"), scratch.pointer("b"));
    scratch.put().await;
    fs::write(&a, "hullo\n").unwrap();
    scratch.remove().await;
    assert_eq!(fs::read(&a).unwrap(), b"hullo\n");
    assert!(is_pointer(&b));
}

#[test]
fn what_somebody_modifies_meanwhile_stays() {
    let scratch = Scratch::hello(&["a"]);
    let settings = Settings::read(&scratch.top).unwrap();
    let a = scratch.pointer("a");
    let found = Found::open(&scratch.top, b"a").unwrap().unwrap();
    fs::write(&a, "my own words").unwrap();
    assert!(!found.replace(Temporary::write(HELLO, &settings).unwrap()).unwrap());
    assert_eq!(fs::read(&a).unwrap(), b"my own words");
    let found = Found::open(&scratch.top, b"a").unwrap().unwrap();
    assert!(found.replace(Temporary::write(HELLO, &settings).unwrap()).unwrap());
    assert_eq!(fs::read(&a).unwrap(), HELLO);
    assert_eq!(fs::read_dir(settings.annex.join("othertmp")).unwrap().count(), 0);
}

/// The database knows nothing of the file, but its hash tells.
#[tokio::test]
async fn a_file_of_unknown_inode_is_judged_by_its_hash() {
    let scratch = Scratch::hello(&["a", "b"]);
    scratch.put().await;
    let (a, b) = (scratch.file("a", HELLO), scratch.file("b", b"hullo\n"));
    scratch.remove().await;
    assert!(is_pointer(&a));
    assert_eq!(fs::read(&b).unwrap(), b"hullo\n");
}

#[tokio::test]
async fn without_a_hash_only_known_inodes_are_unmodified() {
    let scratch = Scratch::new("WORM-s6-m1--a", "", &["a", "b"]);
    let a = scratch.pointer("a");
    scratch.put().await;
    assert_eq!(fs::read(&a).unwrap(), HELLO);
    let b = scratch.file("b", HELLO);
    scratch.remove().await;
    assert!(is_pointer(&a));
    assert_eq!(fs::read(&b).unwrap(), HELLO);
}

#[tokio::test]
async fn thin_files_are_the_object_itself() {
    for key in [HELLO_KEY, "WORM-s6-m1--a"] {
        let scratch = Scratch::new(key, "[annex]\n\tthin = true\n", &["a", "b"]);
        let (a, b) = (scratch.pointer("a"), scratch.pointer("b"));
        scratch.put().await;
        let [a_links, b_links] = [&a, &b].map(|path| fs::metadata(path).unwrap().nlink());
        assert_eq!((a_links, b_links), (2, 1));
        assert_eq!(fs::metadata(&a).unwrap().mode() & 0o777, 0o644);
        assert!(scratch.repo.check_present(&asker(), &scratch.key).await.unwrap());
        fs::write(&a, "hullo\n").unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        File::options().append(true).open(&a).unwrap().set_modified(old).unwrap();
        assert!(!scratch.repo.check_present(&asker(), &scratch.key).await.unwrap(), "{key}");
        assert!(scratch.repo.lock(&asker(), &scratch.key).await.unwrap().is_none(), "{key}");
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_keeps_nobody_from_putting_and_removing() {
    let scratch = Scratch::hello(&["a"]);
    let a = scratch.pointer("a");
    fs::write(scratch.top.join(".git/annex/keysdb/db"), "this is no database").unwrap();
    scratch.put().await;
    assert!(scratch.repo.check_present(&asker(), &scratch.key).await.unwrap());
    scratch.remove().await;
    assert!(is_pointer(&a));
}

/// Whoever has the lock may have stopped. All files of a content wait for it together, and not long.
#[tokio::test]
async fn a_restage_log_that_somebody_keeps_locked_keeps_nobody_from_putting_and_removing() {
    let names = ["a", "b", "c"];
    let scratch = Scratch::hello(&names);
    let paths = names.map(|name| scratch.pointer(name));
    let settings = Settings::read(&scratch.top).unwrap();
    let lock = settings.annex.join("restage.lck");
    let held = LockFile::wait(&lock, Sharing::Exclusive, &settings).unwrap();
    scratch.put().await;
    assert!(paths.iter().all(|path| fs::read(path).unwrap() == HELLO));
    scratch.remove().await;
    assert!(paths.iter().all(|path| is_pointer(path)));
    assert_eq!(scratch.restaged(), "");
    drop(held);
    scratch.put().await;
    assert_eq!(scratch.restaged().lines().count(), names.len());
}

/// A crash came between storing and showing.
#[tokio::test]
async fn content_that_is_here_is_shown_when_it_is_put_again() {
    let scratch = Scratch::hello(&["a"]);
    scratch.put().await;
    let a = scratch.pointer("a");
    scratch.put().await;
    assert_eq!(fs::read(&a).unwrap(), HELLO);
}

#[tokio::test]
async fn what_must_be_erased_is_erased_in_the_work_tree_too() {
    let config = "[annex]\n\tsecure-erase-command = \"cat %file >> erased\"\n";
    let scratch = Scratch::new(HELLO_KEY, config, &["a"]);
    let a = scratch.pointer("a");
    scratch.put().await;
    scratch.remove().await;
    assert!(is_pointer(&a));
    let erased = fs::read(scratch.top.join(".git/annex/erased")).unwrap();
    assert_eq!(erased, HELLO.repeat(2), "the object, and the file");
    assert_eq!(fs::read_dir(scratch.top.join(".git/annex/othertmp")).unwrap().count(), 0);
}

const HELLO_KEY: &str =
    "SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.txt";
