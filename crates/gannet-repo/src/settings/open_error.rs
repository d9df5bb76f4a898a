//! Why a repository cannot be opened.

use std::io;
use std::path::PathBuf;

use gannet_core::Error;

/// Why a repository cannot be opened (repository §3.2).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Neither a git directory nor the top of a work tree.
    #[error("`{}` is not a git repository", path.display())]
    NotGit {
        /// The path as given.
        path: PathBuf,
    },
    /// A git repository without a uuid and without a git-annex branch.
    #[error("`{}` is not a git-annex repository", path.display())]
    NotAnnex {
        /// The git directory.
        path: PathBuf,
    },
    /// A clone that has a git-annex branch, but has not been initialised yet.
    #[error("`{}` has not been initialised for git-annex yet", path.display())]
    Uninitialised {
        /// The git directory.
        path: PathBuf,
    },
    /// A `.noannex` file, or the owner's pre-init program, forbids to initialise.
    #[error("`{}` must not be initialised for git-annex: {why}", path.display())]
    InitForbidden {
        /// The git directory.
        path: PathBuf,
        /// By what.
        why: String,
    },
    /// It has content and a git-annex branch, but neither a uuid nor a version.
    #[error(
        "`{}` has content, but annex.uuid and annex.version are not set; its configuration seems \
         to be lost",
        path.display()
    )]
    ConfigLost {
        /// The git directory.
        path: PathBuf,
    },
    /// Only one of `annex.uuid` and `annex.version` is set.
    #[error("`{}` has {present}, but {absent} is not set", path.display())]
    HalfConfigured {
        /// The git directory.
        path: PathBuf,
        /// The key that is set.
        present: &'static str,
        /// The key that is not set.
        absent: &'static str,
    },
    /// `annex.version` is not one that Gannet works with.
    #[error("`{}` has annex.version {version}; versions 8, 9 and 10 can be used", path.display())]
    Version {
        /// The git directory.
        path: PathBuf,
        /// As it stands in the configuration.
        version: String,
    },
    /// `annex.uuid` is not usable as one.
    #[error("`{}` has an unusable annex.uuid", path.display())]
    BadUuid {
        /// The git directory.
        path: PathBuf,
    },
    /// It exists already, under another uuid than the one that was asked for.
    #[error("`{}` has the uuid {uuid} already", path.display())]
    OtherUuid {
        /// The git directory.
        path: PathBuf,
        /// The one that it has.
        uuid: gannet_core::Uuid,
    },
    /// There is something at the place where a repository should be created.
    #[error("`{}` is neither empty nor a git repository", path.display())]
    InTheWay {
        /// The path as given.
        path: PathBuf,
    },
    /// It belongs to another user, and git's `safe.directory` does not name it.
    #[error("`{}` belongs to another user; see safe.directory in git-config(1)", path.display())]
    Untrusted {
        /// The git directory.
        path: PathBuf,
    },
    /// Its git directory is of a kind that Gannet does not read.
    #[error("`{}` uses {what}, which is not supported", path.display())]
    Unsupported {
        /// The git directory.
        path: PathBuf,
        /// Extension and value.
        what: String,
    },
    /// The configuration, or another file of git's, is broken.
    #[error("cannot open `{}`: {why}", path.display())]
    Git {
        /// The git directory.
        path: PathBuf,
        /// What the library that reads it said.
        why: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl OpenError {
    /// A disk that refused.
    pub(crate) fn disk(doing: &'static str, path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::Failed(Error::disk(doing, path, error))
    }
}
