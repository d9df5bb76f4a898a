//! Programs that the owner of a repository wants run: hooks, and commands from the configuration.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

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

/// Both outputs are read at once, for a program that fills one pipe would wait for ever. A program
/// may leave children behind that keep the pipes open: they are not waited for.
fn run(mut command: Command) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = command.spawn()?;
    let output = child.stdout.take().map(read_aside);
    let complaint = child.stderr.take().map(read_aside);
    let status = child.wait()?;
    let read = |aside: Option<Receiver<Vec<u8>>>| -> Vec<u8> {
        let Some(aside) = aside else { return Vec::new() };
        let mut start = Vec::new();
        while let Ok(piece) = aside.recv_timeout(LAST_WORDS_MAX) {
            start.extend_from_slice(&piece);
        }
        start
    };
    Ok((status, read(output), read(complaint)))
}

/// Reads a pipe to its end on a thread of its own, and passes on the first bytes.
fn read_aside(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (pieces, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut left = OUTPUT_BYTES_MAX;
        let mut buffer = vec![0; 8192];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(len) => {
                    let kept = len.min(left);
                    left -= kept;
                    // Whoever has heard enough is gone; the pipe is emptied all the same.
                    if kept > 0 && pieces.send(buffer[..kept].to_vec()).is_err() {
                        left = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
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
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long to wait for more output once the program has ended.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

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
    fn what_a_program_leaves_running_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let begun = "echo begun; sleep 5 & echo $! > pid";
        assert_eq!(shell(begun).run(dir.path(), None).unwrap(), b"begun\n");
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        let status = Command::new("kill").arg(pid.trim()).status().unwrap();
        assert!(status.success(), "it is still running");
    }

    #[test]
    fn a_talkative_program_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let both = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2";
        assert_eq!(shell(both).run(dir.path(), None).unwrap().len(), 64 * 1024);
    }
}
