//! What somebody who logged in may do (p2p-line §11).

use std::ffi::{OsStr, OsString};

use gannet_core::Mode;

use super::order::Verb;
use super::words::RECEIVE_PACK;
use super::{Refusal, paths, words};

/// The limits, each with the name of what imposes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    read_only: Option<&'static str>,
    append_only: Option<&'static str>,
    limited: Option<&'static str>,
    /// Each of them is the only one.
    directories: Vec<OsString>,
    pushes: Pushes,
}

/// What may be pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pushes {
    #[default]
    All,
    /// What neither deletes nor rewinds a branch.
    Additions,
    None,
}

impl Rules {
    /// Reads them from the environment, where what is set and not empty counts. As with
    /// git-annex-shell, these say nothing about pushes.
    pub(super) fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let value = |name| variable(name).filter(|value| !value.is_empty());
        let set = |name| value(name).map(|_| name);
        Self {
            read_only: set("GIT_ANNEX_SHELL_READONLY"),
            append_only: set("GIT_ANNEX_SHELL_APPENDONLY"),
            limited: set("GIT_ANNEX_SHELL_LIMITED"),
            directories: value("GIT_ANNEX_SHELL_DIRECTORY").into_iter().collect(),
            pushes: Pushes::All,
        }
    }

    /// Adds those of the command line, which hold for pushes too. None is ever taken away.
    pub(super) fn tighten(
        &mut self,
        read_only: bool,
        append_only: bool,
        limited: bool,
        directory: Option<OsString>,
    ) {
        if append_only {
            self.append_only = Some("--appendonly");
            self.pushes = Pushes::Additions;
        }
        if read_only {
            self.read_only = Some("--readonly");
            self.pushes = Pushes::None;
        }
        if limited {
            self.limited = Some("--limited");
        }
        self.directories.extend(directory);
    }

    /// The rights at the repository.
    pub(super) fn mode(&self) -> Mode {
        match (self.read_only, self.append_only) {
            (Some(_), _) => Mode::READ_ONLY,
            (None, Some(_)) => Mode::APPEND_ONLY,
            (None, None) => Mode::FULL,
        }
    }

    /// # Errors
    /// When the command may not be used.
    pub(super) fn permit(&self, command: Verb) -> Result<(), Refusal> {
        let by = match command {
            Verb::ConfigList
            | Verb::NotifyChanges
            | Verb::P2pStdio
            | Verb::InAnnex
            | Verb::LockContent
            | Verb::SendKey => None,
            Verb::RecvKey => self.read_only,
            Verb::DropKey | Verb::GcryptSetup => self.read_only.or(self.append_only),
        };
        by.map_or(Ok(()), |by| Err(blocked(by)))
    }

    /// # Errors
    /// When a repository may not be initialised.
    pub(super) fn permit_init(&self) -> Result<(), Refusal> {
        self.read_only.map_or(Ok(()), |by| Err(blocked(by)))
    }

    /// What to open for a directory that the client named.
    ///
    /// # Errors
    /// When another one is the only one allowed.
    pub(super) fn permit_directory(&self, dir: &OsStr) -> Result<OsString, Refusal> {
        let mut path = paths::expand(dir);
        for only in &self.directories {
            let allowed = paths::normalised(&paths::expand(only));
            if paths::normalised(&path) != allowed {
                let (only, dir) = (only.to_string_lossy(), dir.to_string_lossy());
                return Err(Refusal::new(format!("Only allowed to access {only} not {dir}")));
            }
            // What the client wrote may lead elsewhere, through a symlink and back.
            path = allowed;
        }
        Ok(path.into())
    }

    /// # Errors
    /// When git may not be used.
    pub(super) fn permit_any_git(&self) -> Result<(), Refusal> {
        self.limited.map_or(Ok(()), |by| Err(blocked(by)))
    }

    /// The words that git-shell is given for those that came.
    ///
    /// Where not everything may be done, these are written anew: git-shell reads lines in its own
    /// way, and shall find in this one what was judged here. What is no service of git's, as the
    /// commands that an account may have besides, is not to be had then.
    ///
    /// # Errors
    /// When git may not be used, or not so.
    pub(super) fn permit_git(&self, came: &[OsString]) -> Result<Vec<OsString>, Refusal> {
        self.permit_any_git()?;
        if self.pushes == Pushes::All && self.directories.is_empty() {
            return Ok(came.to_vec());
        }
        let asked = if let [line] = came { words::git_service(line) } else { None };
        let Some((service, dir)) = asked else {
            return Err(Refusal::new("only fetching and pushing is allowed here"));
        };
        if self.pushes == Pushes::None && service == RECEIVE_PACK {
            return Err(blocked("--readonly"));
        }
        // Only where there is a limit: elsewhere git finds homes by itself.
        let dir = if self.directories.is_empty() { dir } else { self.permit_directory(&dir)? };
        let mut line = OsString::from(service);
        line.push(" ");
        line.push(words::quote(&dir));
        Ok(vec![line])
    }

    /// What git is told through its environment.
    pub(super) fn git_environment(&self) -> &'static [(&'static str, &'static str)] {
        if self.pushes == Pushes::Additions { &ADDITIONS_ONLY } else { &[] }
    }
}

fn blocked(by: &str) -> Refusal {
    Refusal::new(format!("Action blocked by {by}"))
}

const ADDITIONS_ONLY: [(&str, &str); 5] = [
    ("GIT_CONFIG_COUNT", "2"),
    ("GIT_CONFIG_KEY_0", "receive.denyDeletes"),
    ("GIT_CONFIG_VALUE_0", "true"),
    ("GIT_CONFIG_KEY_1", "receive.denyNonFastForwards"),
    ("GIT_CONFIG_VALUE_1", "true"),
];
