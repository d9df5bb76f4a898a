//! Running other programs, and seeing to it that they end.

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a chore comes to.
pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Why a chore could not be done.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// The root of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let here = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(xtask) => PathBuf::from(xtask).parent().map(Path::to_path_buf),
        None => Some(std::env::current_dir()?),
    };
    here.filter(|dir| is_root(dir)).ok_or_else(|| "run this as `cargo xtask`".into())
}

/// Cargo, as if called from a shell in the root of the workspace.
///
/// `cargo run` tells its child about the package it runs. Some build scripts watch those
/// variables, and would run again each time a chore and a shell take turns.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let about_package = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name.to_str().is_some_and(|name| about_package.iter().any(|it| name.starts_with(it))) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root()?);
    Ok(cargo)
}

/// Says what is about to happen.
pub(crate) fn announce(what: &str) {
    eprintln!("==> {what}");
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started, or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed: {status}", line(command)).into())
}

/// Runs a program to its end and returns what it printed, without the last line end.
///
/// # Errors
/// When it cannot be started, or does not succeed; then with what it wrote to stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`{}` failed: {}\n{said}", line(command), output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// Tells whether a program can be found, and works well enough to be started.
pub(crate) fn is_there(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Keeps a child process out of the user's git settings and home.
pub(crate) fn shield<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Gannet")
        .env("GIT_AUTHOR_EMAIL", "gannet@localhost")
        .env("GIT_COMMITTER_NAME", "Gannet")
        .env("GIT_COMMITTER_EMAIL", "gannet@localhost")
}

/// A running child process. Dropping it kills it and waits for its end, on a panic too.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        Ok(Self(command.spawn().map_err(|error| cannot_start(command, &error))?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Asks the child to end (SIGTERM) and waits until it has, for ten seconds at most.
    pub(crate) fn stop(mut self) -> Result {
        run(Command::new("kill").arg(self.id().to_string()))?;
        for _ in 0..500 {
            if self.0.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err("a server did not end within ten seconds of SIGTERM".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the child has ended and was waited for already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn is_root(dir: &Path) -> bool {
    dir.join("xtask/Cargo.toml").is_file() && dir.join("Cargo.lock").is_file()
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}", line(command))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
