//! Where the directories of a repository are (repository §3.1).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::OpenError;
use crate::durable::{path_of, read_if_exists};
use crate::process::Program;

/// The directories of a repository, all absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What was opened, without symlinks.
    pub(crate) top: PathBuf,
    /// The git directory; for a linked worktree its own.
    pub(crate) git_dir: PathBuf,
    /// The git directory that all worktrees share. It has `objects/`, `refs/`, `config`, `annex/`.
    pub(crate) common_dir: PathBuf,
}

impl Place {
    /// Finds the directories of the repository at `path`: a work tree, whose `.git` may be a
    /// directory, a symlink, or a file that names it; a bare repository; or a git directory.
    ///
    /// # Errors
    /// [`OpenError::NotGit`], or a disk that does not answer.
    pub(crate) fn locate(path: &Path) -> Result<Self, OpenError> {
        let not_git = || OpenError::NotGit { path: path.to_owned() };
        let top = match std::fs::canonicalize(path) {
            Ok(top) => top,
            Err(error) if is_absence(&error) => return Err(not_git()),
            Err(error) => return Err(OpenError::disk("find", path, error)),
        };
        let git_dir = match named_git_dir(&top.join(".git"))? {
            Some(named) if looks_like_git(&named) => named,
            _ if looks_like_git(&top) => top.clone(),
            _ => return Err(not_git()),
        };
        let common_dir = match read_if_exists(&git_dir.join("commondir"))? {
            Some(text) => absolute(&git_dir, text.trim_ascii_end())?,
            None => git_dir.clone(),
        };
        Ok(Self { top, git_dir, common_dir })
    }

    /// The repository's own configuration files, whether they exist or not.
    pub(crate) fn config_files(&self) -> [PathBuf; 2] {
        [self.common_dir.join("config"), self.git_dir.join("config.worktree")]
    }

    /// An executable hook file of git-annex's, else a command of the configuration, else `None`.
    pub(crate) fn program(
        &self,
        name: &str,
        command: Option<&OsString>,
        placeholder: &'static str,
    ) -> Option<Program> {
        let hook = self.common_dir.join("hooks").join(format!("{name}-annex"));
        let executable = std::fs::metadata(&hook)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        if executable {
            return Some(Program::Hook(hook));
        }
        command.map(|command| Program::Shell { command: command.clone(), placeholder })
    }
}

/// What a `.git` directory, symlink or file leads to.
fn named_git_dir(dot_git: &Path) -> Result<Option<PathBuf>, OpenError> {
    match std::fs::metadata(dot_git) {
        Ok(found) if found.is_dir() => {}
        Ok(found) if found.is_file() && found.len() < GITFILE_BYTES_MAX => {
            let text = read_if_exists(dot_git)?.unwrap_or_default();
            let named = text.strip_prefix(b"gitdir: ").map(<[u8]>::trim_ascii_end);
            return match (named, dot_git.parent()) {
                (Some(named), Some(parent)) => absolute(parent, named).map(Some),
                _ => Ok(None),
            };
        }
        Ok(_) => return Ok(None),
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(OpenError::disk("examine", dot_git, error)),
    }
    match std::fs::canonicalize(dot_git) {
        Ok(path) => Ok(Some(path)),
        Err(error) => Err(OpenError::disk("find", dot_git, error)),
    }
}

/// A directory that a file names, relative to `base` unless it is absolute.
fn absolute(base: &Path, named: &[u8]) -> Result<PathBuf, OpenError> {
    let path = base.join(path_of(named));
    match std::fs::canonicalize(&path) {
        Ok(path) => Ok(path),
        Err(error) if is_absence(&error) => Err(OpenError::NotGit { path }),
        Err(error) => Err(OpenError::disk("find", path, error)),
    }
}

/// What git itself looks for in a git directory. A linked worktree has its objects elsewhere.
fn looks_like_git(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).exists();
    std::fs::symlink_metadata(dir.join("HEAD")).is_ok()
        && (has("commondir") || (has("objects") && has("refs")))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A git directory's name is a path; longer files are something else.
const GITFILE_BYTES_MAX: u64 = 16 * 1024;

/// Whether a path is that of a directory called `.git`.
pub(super) fn is_dot_git(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes() == b".git")
}
