//! Programs that the owner of a repository wants run: hooks, and commands from the configuration.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use gannet_core::{Error, Result};

use crate::settings::Settings;

/// An occasion on which the owner of a repository may want a program run (repository §2.3, §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// After an object or its directory was protected against writing.
    FreezeContent,
    /// After that protection was taken away.
    ThawContent,
    /// Before an object is deleted, to overwrite it.
    SecureErase,
    /// To say with which message the branch is committed.
    CommitMessage,
    /// After the branch has moved.
    PostUpdate,
}

/// Runs the program for `hook` on `path`, if the owner wants one run.
///
/// # Errors
/// [`Error::Command`] when it cannot be started or fails.
pub(crate) fn run_on_path(settings: &Settings, hook: Hook, path: &Path) -> Result<()> {
    match settings.program(hook) {
        Some(program) => program.run(&settings.place.top, Some(path)).map(|_| ()),
        None => Ok(()),
    }
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// An executable file of the repository. It gets the path as its argument.
    Hook(PathBuf),
    /// A command for the shell.
    Shell {
        /// As configured.
        command: OsString,
        /// What in it stands for the path: `%path` or `%file`.
        placeholder: &'static str,
    },
}

impl Program {
    /// Runs it on `path` (or on nothing) in the directory `dir`, waits, and returns its output.
    ///
    /// What it writes to its standard error goes into the error message, cut to a few lines.
    ///
    /// # Errors
    /// [`Error::Command`] when it cannot be started or fails.
    pub(crate) fn run(&self, dir: &Path, path: Option<&Path>) -> Result<Vec<u8>> {
        let mut command = match self {
            Self::Hook(hook) => {
                let mut command = Command::new(hook);
                command.args(path);
                command
            }
            Self::Shell { command: text, placeholder } => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(match path {
                    Some(path) => substitute(text, placeholder, path),
                    None => text.clone(),
                });
                command
            }
        };
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |why| Error::Command { program: self.to_string(), why };
        let (status, output, complaint) =
            run(command).map_err(|error| failed(error.to_string()))?;
        if status.success() {
            return Ok(output);
        }
        let complaint = String::from_utf8_lossy(&complaint);
        Err(failed(match complaint.trim() {
            "" => status.to_string(),
            complaint => format!("{status}: {complaint}"),
        }))
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hook(path) => path.display().fmt(f),
            Self::Shell { command, .. } => command.display().fmt(f),
        }
    }
}

/// Both outputs are read at once, for a program that fills one pipe would wait for ever.
fn run(mut command: Command) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = command.spawn()?;
    let stderr = child.stderr.take();
    let complaint = std::thread::spawn(move || stderr.map(keep_start).transpose());
    let output = child.stdout.take().map(keep_start).transpose();
    let status = child.wait()?;
    let complaint = complaint.join().unwrap_or(Ok(None))?;
    Ok((status, output?.unwrap_or_default(), complaint.unwrap_or_default()))
}

/// Reads to the end, and keeps the first bytes only.
fn keep_start(mut pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut start)?;
    io::copy(&mut pipe, &mut io::sink())?;
    Ok(start)
}

/// Puts the path, quoted for the shell, where the placeholder stands.
fn substitute(text: &OsStr, placeholder: &str, path: &Path) -> OsString {
    if placeholder.is_empty() {
        return text.to_owned();
    }
    let mut rest = text.as_bytes();
    let mut result = Vec::new();
    while let Some(&byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(placeholder.as_bytes()) {
            quote(path.as_os_str().as_bytes(), &mut result);
            rest = after;
        } else {
            result.push(byte);
            rest = &rest[1..];
        }
    }
    OsString::from_vec(result)
}

fn quote(word: &[u8], into: &mut Vec<u8>) {
    into.push(b'\'');
    for &byte in word {
        match byte {
            b'\'' => into.extend_from_slice(br"'\''"),
            byte => into.push(byte),
        }
    }
    into.push(b'\'');
}

/// Enough for a commit message, and for the reason of a failure.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(command: &str) -> Program {
        Program::Shell { command: command.into(), placeholder: "%path" }
    }

    #[test]
    fn a_path_reaches_the_command_whatever_it_contains() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["plain", "two words", "it's", "$(touch x)`touch y`", "new\nline", "%path"] {
            let path = dir.path().join(name);
            let output = shell("printf %s %path").run(dir.path(), Some(&path)).unwrap();
            assert_eq!(output, path.as_os_str().as_bytes());
        }
        assert!(!dir.path().join("x").exists() && !dir.path().join("y").exists());
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = shell("echo no such luck >&2; exit 3").run(dir.path(), None).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no such luck") && text.contains('3'), "{text}");
        assert!(Program::Hook(dir.path().join("missing")).run(dir.path(), None).is_err());
    }

    #[test]
    fn a_talkative_program_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let both = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        assert_eq!(shell(both).run(dir.path(), None).unwrap().len(), 64 * 1024);
    }
}
