//! Looks for every repository that is to be served.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::{Error, Uuid};
use gannet_repo::Glimpse;

use super::Grounds;
use super::scouts::Scouts;
use super::walk::{Sight, Visited, walk};
use crate::yard::{Signature, Yard};

/// Where to look, and what was complained about when this was last done.
pub(super) struct Survey {
    grounds: Grounds,
    complaints: HashSet<String>,
    scouts: Scouts,
}

/// A repository that was found.
pub(super) struct Found {
    pub(super) uuid: Uuid,
    pub(super) path: Arc<Path>,
    pub(super) signature: Option<Signature>,
}

/// What there is.
#[derive(Default)]
pub(super) struct Seen {
    by_uuid: HashMap<Uuid, Arc<Path>>,
    /// Those that may be gateways, in the order in which they come first.
    pub(super) gateways: Vec<Uuid>,
    /// Repositories and directories that could not be read this time.
    unread: HashSet<PathBuf>,
}

impl Seen {
    /// Whether the repository that was known is still there. What could not be read gets the
    /// benefit of the doubt: whoever asks for it is told what is wrong with it.
    pub(super) fn keeps(&self, uuid: &Uuid, path: &Path) -> bool {
        match self.by_uuid.get(uuid) {
            Some(seen) => **seen == *path,
            None => path.ancestors().any(|above| self.unread.contains(above)),
        }
    }
}

impl Survey {
    /// Nothing has been looked at yet.
    pub(super) fn new(mut grounds: Grounds) -> Self {
        // So that of two repositories with one uuid the first by path is found first.
        grounds.directories.sort();
        Self { grounds, complaints: HashSet::new(), scouts: Scouts::default() }
    }

    /// Looks everywhere. Tells each repository as soon as it is found, and all at the end.
    ///
    /// Where two have one uuid, those that were named come first, then the first by path. What
    /// is wrong goes to the log, once as long as it stays wrong. A disk that does not answer
    /// delays this for a moment.
    pub(super) fn look(&mut self, yard: &Arc<dyn Yard>, mut tell: impl FnMut(Found)) -> Seen {
        let mut seen = Seen::default();
        let mut complaints = HashSet::new();
        let mut glance = |path: &Path,
                          scouts: &mut Scouts,
                          seen: &mut Seen,
                          complaints: &mut HashSet<String>| {
            let (there, yard) = (path.to_owned(), Arc::clone(yard));
            // The signature comes first, so that a change after the glance is noticed.
            let peek = move || {
                let signature = yard.signature(&there)?;
                Ok((yard.peek(&there)?, signature))
            };
            let peeked = scouts.send(path, peek).unwrap_or_else(|| Err(silent(path)));
            match peeked {
                Ok((None, _)) => {
                    tracing::debug!(path = %path.display(), "not a git-annex repository")
                }
                Ok((Some(Glimpse { uuid, may_be_gateway }), signature)) => {
                    match seen.by_uuid.entry(uuid.clone()) {
                        Entry::Vacant(vacant) => {
                            let path: Arc<Path> = path.into();
                            vacant.insert(Arc::clone(&path));
                            if may_be_gateway {
                                seen.gateways.push(uuid.clone());
                            }
                            tell(Found { uuid, path, signature });
                        }
                        Entry::Occupied(first) if **first.get() == *path => {}
                        Entry::Occupied(first) => {
                            let (path, first) = (path.display(), first.get().display());
                            complaints.insert(format!(
                            "`{path}` has the uuid of `{first}`, {uuid}: serving only the latter"
                        ));
                        }
                    }
                }
                Err(error) => {
                    seen.unread.insert(path.to_owned());
                    complaints.insert(format!(
                        "not serving `{}`: {}",
                        path.display(),
                        error.chain()
                    ));
                }
            }
        };
        for path in &self.grounds.named {
            glance(path, &mut self.scouts, &mut seen, &mut complaints);
        }
        let mut visited = Visited::new();
        for directory in &self.grounds.directories {
            walk(directory, &mut visited, &mut self.scouts, |scouts, sight| match sight {
                Sight::Repository(path) => glance(path, scouts, &mut seen, &mut complaints),
                Sight::Unreadable(path, error) => {
                    seen.unread.insert(path.to_owned());
                    complaints.insert(format!("cannot look into `{}`: {error}", path.display()));
                }
            });
        }
        for complaint in complaints.difference(&self.complaints) {
            tracing::warn!("{complaint}");
        }
        self.complaints = complaints;
        self.scouts.rest();
        seen
    }
}

fn silent(path: &Path) -> Error {
    Error::disk("look at", path, io::ErrorKind::TimedOut.into())
}
