//! What must be true after a crash at any moment, and after the next operation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::StreamExt;
use gannet_core::{Annex, Key, Notes, Piece, PutOffset, Span};
use gannet_repo::{Repo, create};
use gannet_testkit::{Sample, TestClock};

use super::operation::{
    ACK, Operation, anybody, chunks, credentials, git_dir, mend, no_file, options, runtime,
};
use super::unlocked;

/// Looks at the repository as the crash left it, and opens it again.
pub(crate) fn examine(operation: Operation, dir: &Path, context: &str) {
    let path = dir.join("repo");
    let acknowledged = dir.join(ACK).exists();
    if operation.creates() {
        let uuid = create(&path, &options(operation), &*operation.clock());
        let uuid = uuid.unwrap_or_else(|error| panic!("{context}: {error}"));
        if acknowledged {
            assert_eq!(fs::read_to_string(dir.join(ACK)).unwrap(), uuid.as_str(), "{context}");
        }
        return;
    }
    let sample = operation.sample();
    for object in objects(operation, dir) {
        let found = object.metadata().unwrap();
        assert_eq!(found.len(), whole_len(&object, &sample), "{context}: not whole");
        // Of old, the object was its own lock, which cannot be taken without that; nor can an
        // object be erased.
        let removed = [Operation::RemoveVersion9, Operation::RemoveUnlocked].contains(&operation);
        let mode = found.permissions().mode();
        let may_be_writable = removed || operation.is_thin();
        assert!(mode & 0o222 == 0 || may_be_writable, "{context}: {}", object.display());
    }
    if operation.has_unlocked_file() {
        unlocked::examine(operation, dir, context);
    }
    let left = partial_bytes(operation, dir, &sample);
    runtime().block_on(async {
        let repo = Repo::open(&path, operation.clock()).unwrap();
        let by = anybody();
        let present = look_at_content(operation, dir, &repo, context).await;
        if operation == Operation::Note {
            look_at_notes(&repo, &sample.key, acknowledged, context).await;
        }
        repo.flush().await.unwrap();
        let logged = logged(dir, &repo, &sample);
        assert!(present || !logged, "{context}: the log counts on a lost copy");
        assert!(logged || !present, "{context}: not recorded");
        if !present && !operation.removes() {
            let offset = repo.put_offset(&by, &sample.key, &no_file()).await.unwrap();
            let resumable = sample.key.backend() != b"WORM";
            let expected = if resumable { left } else { 0 };
            assert_eq!(offset, PutOffset::From(expected), "{context}: bytes are lost");
        }
    });
}

/// What is noted is whole, or not there.
async fn look_at_notes(repo: &Repo, key: &Key, acknowledged: bool, context: &str) {
    let noted = repo.chunks(repo.uuid(), key).await.unwrap();
    let kept = repo.credentials(repo.uuid(), Some(b"it")).await.unwrap();
    assert!(noted == [chunks()] || noted.is_empty() && !acknowledged, "{context}: {noted:?}");
    assert!(kept == Some(credentials()) || kept.is_none() && !acknowledged, "{context}: {kept:?}");
}

/// Whether the content is there, after a look whether that may be so.
pub(crate) async fn look_at_content(
    operation: Operation,
    dir: &Path,
    repo: &Repo,
    context: &str,
) -> bool {
    let sample = operation.sample();
    let acknowledged = dir.join(ACK).exists();
    let present = repo.check_present(&anybody(), &sample.key).await.unwrap();
    if present {
        assert!(read(repo, &sample).await == sample.bytes, "{context}: content is wrong");
    }
    if operation.puts() && acknowledged {
        assert!(present, "{context}: lost");
    }
    if operation.removes() && acknowledged {
        assert!(!present, "{context}: came back");
    }
    if operation.locks() {
        assert!(present, "{context}: removed under a lock");
    }
    present
}

/// Does the operation to its end in the process that started after the crash, and looks whether
/// all is as if there had been none.
pub(crate) fn settle(operation: Operation, dir: &Path, context: &str) {
    if operation == Operation::Mend {
        mend(dir);
    }
    runtime().block_on(async {
        let clock = operation.clock();
        let repo = Repo::open(&dir.join("repo"), clock.clone()).unwrap();
        settle_open(operation, dir, &repo, &clock, context).await;
    });
    look_for_litter(operation, dir, context);
}

/// The same in a repository that is open.
pub(crate) async fn settle_open(
    operation: Operation,
    dir: &Path,
    repo: &Repo,
    clock: &TestClock,
    context: &str,
) {
    let sample = operation.sample();
    let (by, key) = (&anybody(), &sample.key);
    if operation.locks() {
        check_locks(operation, dir, repo, clock, context).await;
    }
    if operation.removes() || operation.locks() {
        let removal = repo.remove(by, key).await.unwrap();
        assert!(removal.removed, "{context}: cannot be removed");
    } else {
        let from = match repo.put_offset(by, key, &no_file()).await.unwrap() {
            PutOffset::From(from) => from,
            PutOffset::AlreadyHave { .. } => 0,
        };
        let stored = repo.put(by, key, &no_file(), sample.content(from)).await;
        stored.unwrap_or_else(|error| panic!("{context}: {}", error.chain()));
        assert!(read(repo, &sample).await == sample.bytes, "{context}: content is wrong");
    }
    let flushed = repo.flush().await;
    flushed.unwrap_or_else(|error| panic!("{context}: {}", error.chain()));
    let present = repo.check_present(by, key).await.unwrap();
    assert_eq!(present, logged(dir, repo, &sample), "{context}: log is wrong");
    for object in objects(operation, dir) {
        let key_dir = object.parent().unwrap().metadata().unwrap().permissions().mode();
        let mode = object.metadata().unwrap().permissions().mode();
        let shared = operation.has_unlocked_file() && unlocked::is_shared(dir);
        let writable = if shared { 0o200 } else { 0 };
        assert_eq!((key_dir & 0o222, mode & 0o222), (0, writable), "{context}: not protected");
    }
    if operation.has_unlocked_file() {
        unlocked::settled(operation, dir, context);
    }
    let described = git(dir, &["cat-file", "blob", "git-annex:uuid.log"]);
    assert_eq!(described.matches(repo.uuid().as_str()).count(), 1, "{context}: {described}");
    assert_eq!(present, !(operation.removes() || operation.locks()), "{context}");
}

/// Looks for what nobody needs any more.
pub(crate) fn look_for_litter(operation: Operation, dir: &Path, context: &str) {
    assert_eq!(strays(operation, dir), Vec::<String>::new(), "{context}");
    let said = git(dir, &["fsck", "--strict", "--no-dangling"]);
    assert!(!said.contains("error"), "{context}: {said}");
}

/// Lets the real git-annex look for anything that is wrong.
pub(crate) fn annex_fsck(dir: &Path, context: &str) {
    let fsck = ["annex", "fsck", "--all", "--quiet"];
    let output = unlocked::command(dir, "git").args(fsck).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{context}: {said}");
}

/// Whatever happened, nobody who was told of a lock loses the content before the time.
async fn check_locks(
    operation: Operation,
    dir: &Path,
    repo: &Repo,
    clock: &TestClock,
    context: &str,
) {
    let (sample, by) = (operation.sample(), &anybody());
    let refused = async |seconds: u32| {
        clock.advance(seconds);
        assert!(!repo.remove(by, &sample.key).await.unwrap().removed, "{context}: not retained");
    };
    if operation == Operation::ReleaseAfterVanished {
        refused(0).await; // 100 seconds after somebody vanished
        refused(559).await;
    } else if dir.join(ACK).exists() {
        refused(0).await;
        refused(659).await;
    }
    let lock = repo.lock(by, &sample.key).await.unwrap();
    let lock = lock.unwrap_or_else(|| panic!("{context}: cannot be locked"));
    refused(0).await;
    lock.release().await.unwrap();
    clock.advance(1000);
}

async fn read(repo: &Repo, sample: &Sample) -> Vec<u8> {
    let content = repo.get(&anybody(), &sample.key, &no_file(), Span::ALL).await.unwrap();
    let mut pieces = content.pieces;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        if let Piece::Bytes(piece) = piece.unwrap() {
            bytes.extend_from_slice(&piece);
        }
    }
    bytes
}

/// Bytes that the crash left of the content, wherever they are.
fn partial_bytes(operation: Operation, dir: &Path, sample: &Sample) -> u64 {
    let name = String::from_utf8(sample.key.file_name()).unwrap();
    let tmp = operation.annex(dir).join("tmp");
    let len = |path: PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
    len(tmp.join("gannet").join(&name)).max(len(tmp.join(&name)))
}

fn whole_len(object: &Path, sample: &Sample) -> u64 {
    let name = object.file_name().unwrap().to_str().unwrap();
    if name.as_bytes() == sample.key.file_name() { sample.len() } else { 10 }
}

/// Whether the git-annex branch says that the repository has the content.
fn logged(dir: &Path, repo: &Repo, sample: &Sample) -> bool {
    let name = format!("{}.log", String::from_utf8(sample.key.file_name()).unwrap());
    let paths = git(dir, &["ls-tree", "-r", "--name-only", "git-annex"]);
    let Some(path) = paths.lines().find(|path| path.ends_with(&name)) else { return false };
    let log = git(dir, &["cat-file", "blob", &format!("git-annex:{path}")]);
    let line = log.lines().find(|line| line.ends_with(repo.uuid().as_str()));
    line.is_some_and(|line| line.split(' ').nth(1) == Some("1"))
}

/// Every object there is.
pub(crate) fn objects(operation: Operation, dir: &Path) -> Vec<PathBuf> {
    let mut found = files(&operation.annex(dir).join("objects"));
    found.retain(|file| file.file_name() == file.parent().unwrap().file_name());
    found
}

/// Files that nobody will need.
fn strays(operation: Operation, dir: &Path) -> Vec<String> {
    let git_dir = git_dir(operation, dir);
    let mut strays = Vec::new();
    for path in files(&git_dir) {
        let name = path.strip_prefix(&git_dir).unwrap().to_str().unwrap().to_owned();
        let file = path.file_name().unwrap().to_str().unwrap();
        let is_stray = match name.strip_prefix("annex/") {
            Some(name) if name.starts_with("objects/") => {
                path.parent().unwrap().file_name() != path.file_name()
            }
            Some(name) if operation.has_unlocked_file() => {
                LITTERED.iter().any(|dir| name.starts_with(dir))
            }
            // Wrong content is kept for people to look at.
            Some(name) => {
                let kept = ["bad/", "creds/"].iter().any(|dir| name.starts_with(dir));
                !FURNITURE.contains(&name) && !kept
            }
            None => {
                let suffix = path.extension().unwrap_or_default();
                suffix == "lock"
                    || suffix == "new"
                    || file.contains("gannet")
                    || file.starts_with("tmp")
            }
        };
        if is_stray {
            strays.push(name);
        }
    }
    strays.sort();
    strays
}

/// Where git-annex and we have files for a while. Elsewhere git-annex keeps what it likes.
const LITTERED: [&str; 5] = ["tmp/", "transfer/", "othertmp/", "journal/", "gannet"];
const FURNITURE: [&str; 4] = ["journal.lck", "othertmp.lck", "sentinal", "sentinal.cache"];

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir.join("repo"))
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "git {args:?}: {out}{err}");
    format!("{out}{err}")
}
