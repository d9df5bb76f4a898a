//! What git lists, one file after the other.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use gannet_core::{Error, Result};

use super::Ended;

/// A git that lists files. Dropping this ends it.
pub(super) struct Listing {
    git: Child,
    files: BufReader<ChildStdout>,
    complaint: Option<JoinHandle<Vec<u8>>>,
}

/// A file that git listed.
pub(super) struct Entry<'a> {
    pub(super) path: &'a [u8],
    /// The object, in hexadecimal.
    pub(super) id: &'a [u8],
    pub(super) is_symlink: bool,
    pub(super) is_file: bool,
}

impl Listing {
    /// Starts git in `dir`. No path is a pattern.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start<'a>(dir: &Path, args: impl Iterator<Item = &'a OsStr>) -> Result<Self> {
        let mut command = Command::new("git");
        command.arg("--literal-pathspecs").args(args).current_dir(dir).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut git = command.spawn().map_err(|error| failed(error.to_string()))?;
        let (Some(files), Some(mut said)) = (git.stdout.take(), git.stderr.take()) else {
            return Err(failed("it has no output".to_owned()));
        };
        // Read on the side, for a program that fills one pipe would wait for ever.
        let complaint = std::thread::spawn(move || {
            let mut text = Vec::new();
            // What could be read is all that can be told.
            drop(said.read_to_end(&mut text));
            text
        });
        Ok(Self { git, files: BufReader::new(files), complaint: Some(complaint) })
    }

    /// The next line, without its end; `None` after the last one.
    ///
    /// # Errors
    /// When git cannot be heard.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        match self.files.read_until(0, &mut line).map_err(|error| failed(error.to_string()))? {
            0 => Ok(None),
            _ => {
                line.pop_if(|last| *last == 0);
                Ok(Some(line))
            }
        }
    }

    /// What git has to say at the end.
    ///
    /// # Errors
    /// When nobody knows how it ended.
    pub(super) fn end(mut self) -> Result<Ended> {
        let status = self.git.wait().map_err(|error| failed(error.to_string()))?;
        let complaint = self.complaint.take().and_then(|it| it.join().ok()).unwrap_or_default();
        let complaint = String::from_utf8_lossy(&complaint).trim_end().to_owned();
        Ok(match status.success() {
            true => Ended::Complete,
            false if complaint.is_empty() => Ended::Lacking(status.to_string()),
            false => Ended::Lacking(complaint),
        })
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // Once it has ended, neither does anything.
        drop(self.git.kill());
        drop(self.git.wait());
    }
}

impl<'a> Entry<'a> {
    /// Reads `MODE ID STAGE\tPATH`. Of a conflict that is not resolved only what is ours counts.
    pub(super) fn staged(line: &'a [u8]) -> Option<Self> {
        let (words, path) = at_tab(line)?;
        let mut words = words.split(|&byte| byte == b' ');
        let (mode, id, stage) = (words.next()?, words.next()?, words.next()?);
        matches!(stage, b"0" | b"2").then(|| Self::new(mode, id, path))
    }

    /// Reads `MODE TYPE ID\tPATH`.
    pub(super) fn committed(line: &'a [u8]) -> Option<Self> {
        let (words, path) = at_tab(line)?;
        let mut words = words.split(|&byte| byte == b' ');
        let (mode, _, id) = (words.next()?, words.next()?, words.next()?);
        Some(Self::new(mode, id, path))
    }

    fn new(mode: &[u8], id: &'a [u8], path: &'a [u8]) -> Self {
        Self { path, id, is_symlink: mode == b"120000", is_file: mode.starts_with(b"100") }
    }
}

fn at_tab(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = line.iter().position(|&byte| byte == b'\t')?;
    Some((&line[..tab], &line[tab + 1..]))
}

fn failed(why: String) -> Error {
    Error::Command { program: "git".to_owned(), why }
}
