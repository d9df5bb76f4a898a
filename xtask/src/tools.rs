//! Programs that the tests need, installed when they are missing.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use crate::run::{Result, announce, cargo, is_there, output, root, run};

/// Installs the Debian packages of programs that are missing.
///
/// # Errors
/// When apt-get fails, is not there, or may not be used.
pub(crate) fn install_packages() -> Result {
    let mut missing: Vec<&str> = Vec::new();
    for (program, package) in PACKAGES {
        if !on_path(program) {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    announce(&format!("installing {}", missing.join(", ")));
    let hint = format!("please install {} yourself", missing.join(", "));
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    let done = run(apt_get().args(install).args(&missing))
        .or_else(|_| run(apt_get().args(["update", "-q"])))
        .and_then(|()| run(apt_get().args(install).args(&missing)));
    done.map_err(|error| format!("{error}\n{hint}").into())
}

/// Installs cargo-deny if it is not there, and returns its path.
///
/// It lives in `target/tools`, built without optimisation: that takes a minute, once. Any number
/// of chores may ask for it at once.
///
/// # Errors
/// When it cannot be fetched or built.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let tools = root()?.join("target/tools");
    fs::create_dir_all(&tools)?;
    let lock = File::create(tools.join("lock"))?;
    lock.lock()?;
    let program = tools.join("bin/cargo-deny");
    let version = output(Command::new(&program).arg("--version")).unwrap_or_default();
    if version != format!("cargo-deny {CARGO_DENY}") {
        announce(&format!("building cargo-deny {CARGO_DENY}"));
        let build = tools.join("build");
        let mut install = cargo()?;
        install.args(["install", "--quiet", "--force", "--debug", "--locked"]);
        install.args(["--no-default-features", "--version", CARGO_DENY, "cargo-deny"]);
        install.arg("--root").arg(&tools).env("CARGO_TARGET_DIR", &build);
        run(install.env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
        fs::remove_dir_all(&build)?;
    }
    Ok(program)
}

/// Tells whether `cargo nextest` can be used.
pub(crate) fn has_nextest() -> bool {
    is_there("cargo-nextest", "--version")
}

/// Tells whether these programs run as root.
pub(crate) fn is_root_user() -> bool {
    fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0)
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian keeps servers where only root looks.
    places.push("/usr/sbin".into());
    places.iter().any(|place| place.join(program).is_file())
}

fn apt_get() -> Command {
    let mut apt_get = if is_root_user() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    };
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    apt_get
}

const CARGO_DENY: &str = "0.20.2";

/// Programs, and the Debian packages they come in.
const PACKAGES: [(&str, &str); 6] = [
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("rsync", "rsync"),
];
