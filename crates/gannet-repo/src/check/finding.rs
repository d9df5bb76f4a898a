//! What can be wrong with a repository.

use std::fmt;
use std::path::PathBuf;

use gannet_core::{Error, Key};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Of which kind.
    pub problem: Problem,
    /// The file or directory that it is about.
    pub path: PathBuf,
    /// The key that it is about, if it is about one.
    pub key: Option<Key>,
    /// What exactly, for people.
    pub detail: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it was; and why, if it was to be mended.
    Left(Option<String>),
    /// It was put right.
    Mended,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A kind of thing that can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Problem { $($(#[$doc])* $variant),+ }

        impl Problem {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name, which does not change from version to version.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

problems! {
    /// Content is here, but the location log does not say so.
    Unrecorded = "unrecorded",
    /// The location log says that content is here, but it is not.
    Missing = "missing",
    /// Content does not have the size that its key tells.
    WrongSize = "wrong-size",
    /// Content is not what its key promises.
    Damaged = "damaged",
    /// An object is in a directory where nobody looks for it.
    Misplaced = "misplaced",
    /// Something in the directories of objects is neither an object nor guards one.
    Foreign = "foreign",
    /// The mode of a file or directory is not what the repository's sharing asks for.
    Mode = "mode",
    /// A lock that nobody holds.
    StaleLock = "stale-lock",
    /// A retention that is over, or that is none.
    StaleRetention = "stale-retention",
    /// The note or lock of a transfer that is not running.
    StaleTransfer = "stale-transfer",
    /// Received content that nobody is receiving any more, or whose object is here.
    StalePartial = "stale-partial",
    /// A temporary file that nobody uses.
    StrayTemporary = "stray-temporary",
    /// One of git's lock files that seems to be forgotten.
    StaleGitLock = "stale-git-lock",
    /// A file in the journal that cannot be committed.
    Journal = "journal",
    /// Something that cannot be read.
    Unreadable = "unreadable",
}

impl Finding {
    pub(super) fn new(
        problem: Problem,
        path: impl Into<PathBuf>,
        key: Option<&Key>,
        detail: impl Into<String>,
    ) -> Self {
        let outcome = Outcome::Left(None);
        Self { problem, path: path.into(), key: key.cloned(), detail: detail.into(), outcome }
    }

    pub(super) fn unreadable(error: &Error) -> Self {
        let path = match error {
            Error::Disk { path, .. } => path.clone(),
            _ => PathBuf::new(),
        };
        Self::new(Problem::Unreadable, path, None, error.chain())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
