//! The repository as one operation sees it: its directories and settings, at one moment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use gannet_core::{Clock, Error, Key, Result, Uuid};

use crate::init::open_or_autoinit;
use crate::locks::Retentions;
use crate::objects::Object;
use crate::settings::{OpenError, Settings};
use crate::transfer::MadeDirs;

/// The repository at a path, whose configuration others may change at any time.
#[derive(Debug)]
pub(crate) struct Current {
    path: PathBuf,
    uuid: Uuid,
    known: RwLock<Site>,
}

impl Current {
    /// Reads the repository at `path`. Blocks.
    ///
    /// # Errors
    /// When there is no usable repository, and why.
    pub(crate) fn open(path: &Path, clock: &dyn Clock) -> Result<Self, OpenError> {
        let settings = open_or_autoinit(path, clock)?;
        let uuid = settings.uuid.clone();
        let known = RwLock::new(Site::new(settings, Arc::default(), Arc::default()));
        Ok(Self { path: path.to_owned(), uuid, known })
    }

    /// Reads the repository at `path` without initialising it: nothing there changes. Blocks.
    ///
    /// # Errors
    /// As [`Current::open`].
    pub(crate) fn look(path: &Path) -> Result<Self, OpenError> {
        let settings = Settings::read(path)?;
        let uuid = settings.uuid.clone();
        let known = RwLock::new(Site::new(settings, Arc::default(), Arc::default()));
        Ok(Self { path: path.to_owned(), uuid, known })
    }

    /// The path by which it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn uuid(&self) -> &Uuid {
        &self.uuid
    }

    /// The repository as it was when somebody last looked.
    pub(crate) fn known(&self) -> Site {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The repository as it is right now: its settings are read again if they changed. Blocks.
    ///
    /// # Errors
    /// When it cannot be used any more, or is another one.
    pub(crate) fn site(&self) -> Result<Site> {
        let known = self.known();
        if known.settings().is_current() {
            return Ok(known);
        }
        let settings = Settings::read(&self.path).map_err(|error| unusable(error.to_string()))?;
        if settings.uuid != self.uuid {
            return Err(unusable(format!(
                "`{}` is another repository now: its uuid is {}",
                self.path.display(),
                settings.uuid
            )));
        }
        let site = Site::new(settings, known.retentions, known.transfer_dirs);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = site.clone();
        Ok(site)
    }
}

/// Directories and settings of a repository. Cheap to clone; one operation keeps one, so that a
/// setting never changes in its middle.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    settings: Arc<Settings>,
    retentions: Arc<Retentions>,
    transfer_dirs: Arc<MadeDirs>,
}

impl Site {
    fn new(settings: Settings, retentions: Arc<Retentions>, transfer_dirs: Arc<MadeDirs>) -> Self {
        Self { settings: Arc::new(settings), retentions, transfer_dirs }
    }

    /// The annex directory, which has `objects/`, `journal/` and the rest.
    pub(crate) fn annex(&self) -> &Path {
        &self.settings.annex
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn uuid(&self) -> &Uuid {
        &self.settings.uuid
    }

    pub(crate) fn retentions(&self) -> &Retentions {
        &self.retentions
    }

    /// The directories that this process made for notes of transfers.
    pub(crate) fn transfer_dirs(&self) -> &Arc<MadeDirs> {
        &self.transfer_dirs
    }

    /// Finds the object of `key`.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub(crate) fn locate(&self, key: &Key) -> Result<Object> {
        Object::locate(&self.settings, key)
    }

    /// Refuses what would change the repository if its state forbids that.
    ///
    /// # Errors
    /// [`Error::Unsupported`], naming the setting.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.settings.pidlock {
            return Err(Error::Unsupported(
                "annex.pidlock is set: such a repository can be read, but not changed".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The repository changed in a way that leaves nothing to be served.
fn unusable(why: String) -> Error {
    Error::Git { doing: "use the repository", why }
}
