//! The oracle: the one git-annex that Gannet is compared with.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, announce, output, root, run};

/// Version of the PyPI package `git-annex`. Nothing else names it: tests ask the installed one.
const PIN: &str = "10.20261026";

/// Installs the oracle if it is not there, and returns the directory of its programs.
///
/// It lives in `target/oracle`. Any number of chores may ask for it at once; one installs it
/// while the others wait. An aborted installation is begun anew: the file `installed` is written
/// last, and what it says is checked by asking the program itself.
///
/// # Errors
/// When Python or the package index fail.
pub(crate) fn install() -> Result<PathBuf> {
    let target = root()?.join("target");
    fs::create_dir_all(&target)?;
    let lock = File::create(target.join("oracle.lock"))?;
    lock.lock()?;
    let oracle = target.join("oracle");
    if !is_installed(&oracle) {
        announce(&format!("installing git-annex {PIN}"));
        if oracle.exists() {
            fs::remove_dir_all(&oracle)?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&oracle)).map_err(|error| {
            format!("{error}\nPython 3.11 or later with its `venv` module is needed")
        })?;
        let mut pip = Command::new(oracle.join("bin/python3"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.arg(format!("git-annex=={PIN}")))?;
        fs::write(oracle.join("installed"), PIN)?;
        if !is_installed(&oracle) {
            return Err(format!("the package git-annex {PIN} does not hold that version").into());
        }
    }
    Ok(oracle.join("bin"))
}

fn is_installed(oracle: &Path) -> bool {
    let complete = fs::read_to_string(oracle.join("installed")).is_ok_and(|text| text == PIN);
    // A checkout that was moved has an oracle that does not start any more.
    let says = || output(Command::new(oracle.join("bin/git-annex")).args(["version", "--raw"]));
    complete && says().is_ok_and(|version| version.starts_with(PIN))
}
