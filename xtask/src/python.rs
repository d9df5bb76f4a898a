//! Programs that come as Python packages, each in an environment of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, announce, root, run};

/// An environment below `target`.
pub(crate) struct Environment {
    /// Its directory, and what people call it.
    pub(crate) name: &'static str,
    /// What is installed, with versions.
    pub(crate) packages: &'static [&'static str],
    /// What is written down when all is there; another text means another environment.
    pub(crate) mark: &'static str,
    /// Looks whether it works, given its directory.
    pub(crate) works: fn(&Path) -> bool,
}

impl Environment {
    /// Makes it if it is not there, and returns the directory of its programs.
    ///
    /// Any number of chores may ask for it at once; one makes it while the others wait. An aborted
    /// installation is begun anew: the file `installed` is written last.
    ///
    /// # Errors
    /// When Python or the package index fail.
    pub(crate) fn install(&self) -> Result<PathBuf> {
        let target = root()?.join("target");
        fs::create_dir_all(&target)?;
        let lock = File::create(target.join(format!("{}.lock", self.name)))?;
        lock.lock()?;
        let place = target.join(self.name);
        if !self.is_installed(&place) {
            announce(&format!("installing {}", self.packages.join(", ")));
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
            run(Command::new("python3").args(["-m", "venv"]).arg(&place)).map_err(|error| {
                format!("{error}\nPython 3.11 or later with its `venv` module is needed")
            })?;
            let mut pip = Command::new(place.join("bin/python3"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            run(pip.args(self.packages))?;
            fs::write(place.join("installed"), self.mark)?;
            if !self.is_installed(&place) {
                return Err(format!("{} does not work", self.packages.join(", ")).into());
            }
        }
        Ok(place.join("bin"))
    }

    fn is_installed(&self, place: &Path) -> bool {
        let complete = fs::read_to_string(place.join("installed"));
        complete.is_ok_and(|text| text == self.mark) && (self.works)(place)
    }
}
