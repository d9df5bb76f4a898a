//! What is done to a repository, from its preparation to the moment when it is acknowledged.

use std::fs::{self, Permissions};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gannet_core::{
    Annex, Asker, AssociatedFile, Chunks, Credentials, Mode, Notes, Result, Verdict,
};
use gannet_repo::{
    CheckOptions, Event, Finding, InitOptions, OpenError, Outcome, Repo, check, create,
};
use gannet_testkit::{Ending, Journey, Sample, TestClock};
use tokio::runtime::Runtime;

use super::unlocked;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CreateBare,
    CreateWithWorkTree,
    Put,
    PutInWorkTree,
    PutTheRest,
    PutThatBreaks,
    PutUnverifiableThatBreaks,
    PutOverLeftovers,
    Remove,
    RemoveInWorkTree,
    RemoveRetained,
    RemoveVersion9,
    PutUnlocked,
    PutThin,
    RemoveUnlocked,
    RemoveThin,
    LockAndVanish,
    LockAndRelease,
    ReleaseAfterVanished,
    OpenAfterCrash,
    Mend,
    Note,
}

use Operation::*;

impl Operation {
    pub(crate) fn is_bare(self) -> bool {
        !matches!(self, CreateWithWorkTree | PutInWorkTree | RemoveInWorkTree)
            && !self.has_unlocked_file()
    }

    /// Whether an unlocked file in the work tree shows the content.
    pub(crate) fn has_unlocked_file(self) -> bool {
        matches!(self, PutUnlocked | RemoveUnlocked) || self.is_thin()
    }

    /// Whether that file is the object itself.
    pub(crate) fn is_thin(self) -> bool {
        matches!(self, PutThin | RemoveThin)
    }

    pub(crate) fn creates(self) -> bool {
        matches!(self, CreateBare | CreateWithWorkTree)
    }

    pub(crate) fn puts(self) -> bool {
        matches!(self, Put | PutInWorkTree | PutTheRest | PutOverLeftovers | PutUnlocked | PutThin)
    }

    pub(crate) fn removes(self) -> bool {
        matches!(
            self,
            Remove
                | RemoveInWorkTree
                | RemoveRetained
                | RemoveVersion9
                | RemoveUnlocked
                | RemoveThin
        )
    }

    pub(crate) fn locks(self) -> bool {
        matches!(self, LockAndVanish | LockAndRelease | ReleaseAfterVanished)
    }

    /// Whether git-annex would rightly complain in the end.
    pub(crate) fn leaves_too_few_copies(self) -> bool {
        self.removes() || self.locks() || self == Mend
    }

    /// The content that it is about.
    pub(crate) fn sample(self) -> Sample {
        match self {
            PutUnverifiableThatBreaks | PutOverLeftovers => Sample::unverifiable(1, LEN),
            _ => Sample::secure(1, LEN),
        }
    }

    pub(crate) fn annex(self, dir: &Path) -> PathBuf {
        git_dir(self, dir).join("annex")
    }

    /// The state before it.
    pub(crate) fn prepare(self, dir: &Path) {
        if self.creates() {
            return;
        }
        let clock = TestClock::new();
        create(&dir.join("repo"), &options(self), &*clock).unwrap();
        if self == RemoveVersion9 {
            let config = git_dir(self, dir).join("config");
            let text = fs::read_to_string(&config).unwrap();
            let old = text.replace("version = 10", "version = 9");
            assert_ne!(old, text);
            fs::write(config, old).unwrap();
        }
        let sample = self.sample();
        let partial = sample.key.file_name();
        let partial = String::from_utf8(partial).unwrap();
        let tmp = self.annex(dir).join("tmp");
        match self {
            _ if self.has_unlocked_file() => unlocked::prepare(self, dir, &sample),
            PutTheRest => {
                fs::create_dir_all(&tmp).unwrap();
                fs::write(tmp.join(partial), &sample.bytes[..PART]).unwrap();
            }
            PutOverLeftovers => {
                let failed = self.annex(dir).join("transfer/failed/download");
                let repo = Repo::open(&dir.join("repo"), clock).unwrap();
                let failed = failed.join(repo.uuid().as_str());
                fs::create_dir_all(&failed).unwrap();
                fs::write(failed.join(&partial), "1800000000s\n\n").unwrap();
                fs::create_dir_all(tmp.join(format!("work.{partial}/more"))).unwrap();
                fs::write(tmp.join(partial), &sample.bytes[..PART]).unwrap();
            }
            OpenAfterCrash => {
                let runtime = runtime();
                runtime.block_on(async {
                    let repo = open(dir);
                    let other = Sample::secure(9, 10);
                    repo.put(&anybody(), &other.key, &no_file(), other.content(0)).await.unwrap();
                });
                // The journal is not committed any more.
                runtime.shutdown_background();
                fs::create_dir_all(tmp.join("gannet")).unwrap();
                fs::write(tmp.join("gannet").join(partial), &sample.bytes[..PART]).unwrap();
                let lost = Sample::unverifiable(7, 20);
                let lost = String::from_utf8(lost.key.file_name()).unwrap();
                fs::write(tmp.join("gannet").join(lost), "nobody").unwrap();
                let git_dir = git_dir(self, dir);
                fs::write(git_dir.join("annex/othertmp/gannet1.2.3"), "nobody").unwrap();
                for (prepared, lock) in [
                    ("annex/gannet.ref", "refs/heads/git-annex.lock"),
                    ("gannet.config", "config.lock"),
                ] {
                    fs::write(git_dir.join(prepared), "nobody").unwrap();
                    fs::hard_link(git_dir.join(prepared), git_dir.join(lock)).unwrap();
                }
            }
            Mend => runtime().block_on(async {
                let repo = open(dir);
                // Of the wrong size, and damaged.
                let bad = [Sample::secure(9, 11), Sample::secure(9, 10)];
                for sample in bad.iter().chain([&sample]) {
                    let content = sample.content(0);
                    repo.put(&anybody(), &sample.key, &no_file(), content).await.unwrap();
                }
                repo.flush().await.unwrap();
                for object in super::examine::objects(self, dir) {
                    let name = object.file_name().unwrap().as_bytes();
                    if bad.iter().any(|bad| bad.key.file_name() == name) {
                        let mode = object.metadata().unwrap().permissions();
                        fs::set_permissions(&object, Permissions::from_mode(0o644)).unwrap();
                        fs::write(&object, "ten bytes.").unwrap();
                        fs::set_permissions(&object, mode).unwrap();
                    }
                }
            }),
            _ if self.removes() || self.locks() => runtime().block_on(async {
                let repo = open(dir);
                repo.put(&anybody(), &sample.key, &no_file(), sample.content(0)).await.unwrap();
                if matches!(self, RemoveRetained | ReleaseAfterVanished) {
                    drop(repo.lock(&anybody(), &sample.key).await.unwrap().unwrap());
                }
                repo.flush().await.unwrap();
            }),
            _ => {}
        }
    }

    /// Does it, and acknowledges it.
    pub(crate) fn perform(self, dir: &Path) {
        let clock = self.clock();
        let path = dir.join("repo");
        if self.creates() {
            let uuid = create(&path, &options(self), &*clock).unwrap();
            return fs::write(dir.join(ACK), uuid.as_str()).unwrap();
        }
        if self == Mend {
            return mend(dir);
        }
        runtime().block_on(async {
            let repo = Repo::open(&path, clock).unwrap();
            self.act(dir, &repo).await.unwrap();
            repo.flush().await.unwrap();
        });
    }

    /// What is asked of a repository that is open. Notes when it was acknowledged.
    pub(crate) async fn act(self, dir: &Path, repo: &Repo) -> Result<()> {
        let acknowledge = || fs::write(dir.join(ACK), "").unwrap();
        let sample = self.sample();
        let (key, by) = (&sample.key, &anybody());
        match self {
            PutThatBreaks | PutUnverifiableThatBreaks => {
                let journey = Journey::of(&sample.bytes, 0).cut(PART as u64, Ending::Broken);
                repo.put(by, key, &no_file(), journey.content()).await.unwrap_err();
                acknowledge();
                // What is doubtful is dropped, whatever its key.
                let journey = Journey::of(&sample.bytes, 0);
                let doubtful = journey.ending(Ending::Verdict(Verdict::Doubtful));
                repo.put(by, key, &no_file(), doubtful.content()).await.unwrap_err();
            }
            _ if self.puts() => {
                let from = if self == PutTheRest { PART as u64 } else { 0 };
                repo.put(by, key, &no_file(), sample.content(from)).await?;
                acknowledge();
            }
            _ if self.removes() => {
                assert!(repo.remove(by, key).await?.removed);
                acknowledge();
            }
            _ if self.locks() => {
                let lock = repo.lock(by, key).await?.unwrap();
                acknowledge();
                if self == LockAndVanish {
                    drop(lock);
                } else {
                    fs::remove_file(dir.join(ACK)).unwrap(); // nobody counts on it any more
                    lock.release().await?;
                }
            }
            Note => {
                let (remote, credentials) = (repo.uuid(), credentials());
                repo.note_chunks(remote, key, chunks()).await?;
                repo.note_credentials(remote, Some(b"it"), &credentials).await?;
                acknowledge();
            }
            _ => {}
        }
        Ok(())
    }

    /// The time at which it happens.
    pub(crate) fn clock(self) -> Arc<TestClock> {
        let clock = TestClock::new();
        match self {
            ReleaseAfterVanished => clock.advance(100),
            RemoveRetained => clock.advance(1000),
            _ => {}
        }
        clock
    }
}

pub(crate) fn git_dir(operation: Operation, dir: &Path) -> PathBuf {
    if operation.is_bare() { dir.join("repo") } else { dir.join("repo/.git") }
}

pub(crate) fn options(operation: Operation) -> InitOptions {
    InitOptions { description: "scratch".to_owned(), bare: operation.is_bare(), uuid: None }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub(crate) fn anybody() -> Asker {
    Asker::with_mode(Mode::FULL)
}

pub(crate) fn no_file() -> AssociatedFile {
    AssociatedFile::default()
}

/// Mends what is wrong with the repository, all of it.
pub(crate) fn mend(dir: &Path) {
    for finding in try_to_mend(dir).unwrap() {
        assert_eq!(finding.outcome, Outcome::Mended, "{finding:?}");
    }
}

/// The same, as far as it can be mended.
pub(crate) fn try_to_mend(dir: &Path) -> Result<Vec<Finding>, OpenError> {
    let options = CheckOptions { repair: true, scrub: true, grace: Duration::ZERO };
    let mut found = Vec::new();
    check(&dir.join("repo"), TestClock::new(), options, &mut |event| {
        if let Event::Found(finding) = event {
            found.push(finding.clone());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// What is noted.
pub(crate) fn chunks() -> Chunks {
    Chunks { bytes: NonZeroU64::MIN, count: 3 }
}

/// What is kept.
pub(crate) fn credentials() -> Credentials {
    Credentials { user: b"me".to_vec(), password: b"pass word".to_vec() }
}

fn open(dir: &Path) -> Repo {
    Repo::open(&dir.join("repo"), TestClock::new()).unwrap()
}

/// The file that says that the operation was acknowledged.
pub(crate) const ACK: &str = "acknowledged";
/// Two visits to the disk and a bit.
const LEN: usize = 300_000;
/// What an earlier attempt left.
pub(crate) const PART: usize = 200_000;
