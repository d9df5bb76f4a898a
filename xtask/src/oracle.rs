//! The oracle: the one git-annex that Gannet is compared with.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python::Environment;
use crate::run::{Result, output};

/// Version of the PyPI package `git-annex`. Nothing else names it: tests ask the installed one.
const PIN: &str = "10.20261026";

/// Installs the oracle if it is not there, in `target/oracle`, and returns the directory of its
/// programs.
///
/// # Errors
/// When Python or the package index fail.
pub(crate) fn install() -> Result<PathBuf> {
    ORACLE.install()
}

fn works(oracle: &Path) -> bool {
    // A checkout that was moved has an oracle that does not start any more.
    let says = output(Command::new(oracle.join("bin/git-annex")).args(["version", "--raw"]));
    says.is_ok_and(|version| version.starts_with(PIN))
}

const ORACLE: Environment =
    Environment { name: "oracle", packages: &["git-annex==10.20261026"], mark: PIN, works };
