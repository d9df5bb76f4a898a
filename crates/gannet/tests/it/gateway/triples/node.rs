//! The node: where its contents are, and what it was told.

use std::any::Any;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use gannet_core::{Annex, Asker, AssociatedFile, Clock, Key, Mode, Removal, Uuid};
use gannet_testkit::{Sample, Stern, TestClock};

use super::Way;
use super::ends::Heard;
use super::front::Front;
use crate::harness::Repo;

/// A node, and the way to it.
pub(super) struct Node {
    /// How Gannet and it talk.
    pub(super) far: Way,
    /// As Gannet reaches it.
    pub(super) annex: Arc<dyn Annex>,
    pub(super) body: Body,
    pub(super) ears: Ears,
    /// What it needs.
    pub(super) _kept: Box<dyn Any>,
}

/// Where its contents are.
pub(super) enum Body {
    Memory(Stern),
    /// A repository of the harness, and the same as our library opens it.
    Disk(Arc<(Repo, gannet_repo::Repo)>),
}

/// What writes down what it is told.
pub(super) enum Ears {
    Pipe(Heard),
    File { path: PathBuf, read: AtomicUsize },
    Front(Front),
}

/// What it was told, as it was written down.
pub(super) struct Told(Vec<u8>);

impl Node {
    pub(super) fn uuid(&self) -> &Uuid {
        self.annex.uuid()
    }

    /// The clock that a test may set, if there is one.
    pub(super) fn clock(&self) -> Option<&Arc<TestClock>> {
        match &self.body {
            Body::Memory(stern) => Some(stern.test_clock()),
            Body::Disk(_) => None,
        }
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        match &self.body {
            Body::Memory(stern) => stern.content_of(key).is_some(),
            Body::Disk(repo) => repo.0.object(&key.to_string()).is_some(),
        }
    }

    /// How much git-annex keeps of a put that was broken off.
    pub(super) fn kept(&self, key: &Key) -> Option<u64> {
        match &self.body {
            Body::Memory(_) => None,
            Body::Disk(repo) => repo.0.state(&key.to_string()).partial_bytes,
        }
    }

    /// Puts a content there behind everybody's back.
    pub(super) async fn place(&self, sample: &Sample) {
        match &self.body {
            Body::Memory(stern) => stern.place(&sample.key, sample.bytes.clone()),
            Body::Disk(repo) => {
                let file = AssociatedFile::default();
                let content = sample.content(0);
                repo.1.put(&nobody(), &sample.key, &file, content).await.expect("a put");
            }
        }
    }

    /// Takes it away again.
    pub(super) async fn clear(&self, key: &Key) {
        match &self.body {
            Body::Memory(stern) => {
                stern.remove(&nobody(), key).await.expect("a removal");
            }
            Body::Disk(repo) => {
                let removal = repo.1.remove(&nobody(), key).await.expect("a removal");
                assert_eq!(removal, Removal::done());
            }
        }
    }

    /// Prepares that a content changes while it is sent. A node in memory sends the other one from
    /// the beginning, and says so if there is a way of saying it.
    pub(super) fn will_change(&self, sample: &Sample) {
        match &self.body {
            Body::Memory(stern) => {
                stern.place(&sample.key, spoiled(sample));
                let says = self.far.newest().tells_validity();
                stern.set_faults(|faults| faults.doubtful_gets = says);
            }
            Body::Disk(_) => {
                if let Ears::Front(front) = &self.ears {
                    front.hold(true);
                }
            }
        }
    }

    /// Changes it, now that the first bytes have come.
    pub(super) fn changes(&self, sample: &Sample) {
        match &self.body {
            Body::Memory(stern) => stern.heal(),
            Body::Disk(repo) => {
                let object = repo.0.object(&sample.key.to_string()).expect("an object");
                // It never has another size.
                make_writable(&object);
                let mut file = OpenOptions::new().write(true).open(&object).expect("open it");
                file.write_all(&spoiled(sample)).expect("change it");
                drop(file);
                if let Ears::Front(front) = &self.ears {
                    front.hold(false);
                }
            }
        }
    }

    /// What it was told since this was asked last.
    pub(super) fn told(&self) -> Told {
        Told(match &self.ears {
            Ears::Pipe(heard) => {
                std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner))
            }
            Ears::File { path, read } => {
                let all = std::fs::read(path).unwrap_or_default();
                let before = read.swap(all.len(), Ordering::SeqCst);
                all[before..].to_vec()
            }
            Ears::Front(front) => front.take_heard().join("\n").into_bytes(),
        })
    }
}

impl Told {
    pub(super) fn remove(&self, key: &Key) -> bool {
        self.has(&format!("REMOVE {key}\n")) || self.has("/remove?")
    }

    pub(super) fn remove_before(&self) -> bool {
        self.has("REMOVE-BEFORE ") || self.has("/remove-before?")
    }

    pub(super) fn timestamp(&self) -> bool {
        self.has("GETTIMESTAMP\n") || self.has("/gettimestamp?")
    }

    pub(super) fn data_present(&self) -> bool {
        self.has("DATA-PRESENT\n") || self.has("data-present=true")
    }

    pub(super) fn bypass(&self, gateway: &Uuid) -> bool {
        let lines = self.0.split(|&byte| byte == b'\n');
        let says =
            |line: &[u8], what: &str| line.windows(what.len()).any(|at| at == what.as_bytes());
        lines.into_iter().any(|line| {
            (says(line, "BYPASS ") || says(line, "bypass=")) && says(line, gateway.as_str())
        })
    }

    /// By `DATA 0` and `INVALID` it is only asked how much it has.
    pub(super) fn invalid(&self) -> bool {
        self.count("INVALID\n") > self.count("DATA 0\nINVALID\n")
    }

    pub(super) fn valid(&self) -> bool {
        self.count("VALID\n") > self.count("INVALID\n")
    }

    fn has(&self, what: &str) -> bool {
        self.count(what) > 0
    }

    fn count(&self, what: &str) -> usize {
        self.0.windows(what.len()).filter(|at| *at == what.as_bytes()).count()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// As many other bytes.
pub(super) fn spoiled(sample: &Sample) -> bytes::Bytes {
    sample.bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into()
}

fn make_writable(object: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(object, open).expect("make it writable");
}

fn nobody() -> Asker {
    Asker::with_mode(Mode::FULL)
}

/// Whether these show different times, as on machines that were not started together.
pub(super) fn are_skewed(a: &dyn Clock, b: &dyn Clock) -> bool {
    a.boot().seconds.abs_diff(b.boot().seconds) > 5000
}
