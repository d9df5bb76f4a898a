//! A repository as it is, for whoever only wants to know.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::{AssociatedFile, Book, Error, Facts, Key, Result, Uuid};

use crate::git::Git;
use crate::ledger::{Attributes, Pages};
use crate::pointer;
use crate::seeking::{Ended, Visitor, Wanted, seek};
use crate::settings::OpenError;
use crate::site::{Current, Site};

/// A repository that is looked at: nothing there is changed, not even what a crash left. All of
/// this blocks.
#[derive(Debug)]
pub struct Look {
    site: Site,
    git: Git,
    pages: Pages,
}

impl Look {
    /// Looks at the repository at `path`.
    ///
    /// # Errors
    /// When there is no usable repository, and why.
    pub fn at(path: &Path) -> Result<Self, OpenError> {
        let site = Current::look(path)?.known();
        let git = Git::new(site.settings().place.clone());
        Ok(Self { site, git, pages: Pages::default() })
    }

    /// Its uuid.
    #[must_use]
    pub fn uuid(&self) -> &Uuid {
        self.site.uuid()
    }

    /// As [`Ledger::book`](gannet_core::Ledger::book).
    ///
    /// # Errors
    /// When the branch cannot be read.
    pub fn book(&self) -> Result<Arc<Book>> {
        self.pages.book(self.site.settings(), &self.git.session()?)
    }

    /// As [`Ledger::facts`](gannet_core::Ledger::facts).
    ///
    /// # Errors
    /// When the branch cannot be read.
    pub fn facts(&self, key: &Key, file: &AssociatedFile) -> Result<Facts> {
        let session = self.git.session()?;
        self.pages.facts(self.site.settings(), &session, key, file, Attributes::Wanted)
    }

    /// As [`Ledger::sizes`](gannet_core::Ledger::sizes).
    ///
    /// # Errors
    /// When the branch cannot be read.
    pub fn sizes(&self) -> Result<BTreeMap<Uuid, u64>> {
        self.pages.sizes(self.site.settings(), &self.git.session()?)
    }

    /// Finds what a command shall be about, and shows it to `visit`, one after the other. Relative
    /// paths begin at `dir`. Files that are not annexed are passed over, and so are those that the
    /// work tree has not got any more. What links and pointers say is read from git's index.
    ///
    /// # Errors
    /// When git or the disk does not answer, and what `visit` reports.
    pub fn seek(&self, dir: &Path, wanted: &Wanted, visit: &mut Visitor<'_>) -> Result<Ended> {
        seek(self.site.settings(), &self.git.session()?, dir, wanted, visit)
    }

    /// The key of a file in the work tree, and what the file is called there: a path from where this
    /// process is, or else from the top of the work tree. `None`: there is no such file, it is not in
    /// the work tree, or it does not tell its key, as an unlocked file with content does not.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub fn key_of_file(&self, file: &Path) -> Result<Option<(Key, AssociatedFile)>> {
        let Some(top) = &self.site.settings().work_tree else { return Ok(None) };
        let top = canonical(top)?;
        let file = if file.symlink_metadata().is_ok() { file.to_owned() } else { top.join(file) };
        let (Some(dir), Some(name)) = (file.parent(), file.file_name()) else { return Ok(None) };
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        if !dir.is_dir() {
            return Ok(None);
        }
        let file = canonical(dir)?.join(name);
        let Ok(inside) = file.strip_prefix(&top) else { return Ok(None) };
        let key = self.key_at(&file)?;
        let called = AssociatedFile(inside.as_os_str().as_bytes().to_vec().into());
        Ok(key.map(|key| (key, called)))
    }

    fn key_at(&self, file: &Path) -> Result<Option<Key>> {
        let failed = |error| Error::disk("look at", file, error);
        let text = match file.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                file.read_link().map_err(failed)?.into_os_string().as_bytes().to_vec()
            }
            Ok(found) if found.is_file() && found.len() <= pointer::BYTES_MAX => {
                std::fs::read(file).map_err(failed)?
            }
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        Ok(pointer::parse(&text))
    }
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| Error::disk("look at", path, error))
}
