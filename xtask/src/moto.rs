//! Moto: a server of S3 that tests store to, which is no work of ours.

use std::path::PathBuf;

use crate::python::Environment;
use crate::run::Result;

/// Installs it if it is not there, in `target/moto`, and returns the directory of its programs.
///
/// # Errors
/// When Python or the package index fail.
pub(crate) fn install() -> Result<PathBuf> {
    MOTO.install()
}

/// Of what moto can be asked for, S3 needs the least: no more than these, a quarter of a minute.
const MOTO: Environment = Environment {
    name: "moto",
    packages: &[
        "moto==5.2.5",
        "flask==3.1.3",
        "flask-cors==6.0.5",
        "py-partiql-parser==0.6.3",
        "PyYAML==6.0.4",
    ],
    mark: "5.2.5",
    works: |place| place.join("bin/moto_server").is_file(),
};
