//! What can go wrong, and whose turn it is.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::key::Key;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb of an [`Annex`](crate::Annex) could not be done.
///
/// Variants are situations, not layers. The messages may hold paths: they are for the log of the
/// place; a door tells strangers only what concerns them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The content is not here.
    #[error("content of {key} is not present")]
    Missing {
        /// Of this key.
        key: Key,
    },
    /// Verification of received content failed; nothing of it was kept.
    #[error("content does not match {key}: {why}")]
    Rejected {
        /// The key that was promised.
        key: Key,
        /// Size or hash, and how they differ.
        why: String,
    },
    /// The place does not accept such a key at all (unrepresentable, or not secure enough).
    #[error("{key} is not accepted here: {why}")]
    Refused {
        /// The key.
        key: Key,
        /// Which rule says so.
        why: String,
    },
    /// More bytes came than were announced.
    #[error("more content came than was announced")]
    WrongLength,
    /// Fewer bytes came than were announced: the connection broke, or the sender gave up.
    #[error("content ended before its announced length")]
    Interrupted,
    /// The sender says that the content changed while it was being sent.
    #[error("the sender does not vouch for the content")]
    Doubtful,
    /// A put began beyond the bytes that are held.
    #[error("offset {from} is beyond the {held} bytes that are held")]
    WrongOffset {
        /// Where the put wanted to begin.
        from: u64,
        /// How many bytes are held.
        held: u64,
    },
    /// Somebody else is transferring or removing the same content.
    #[error("{key} is busy: {why}")]
    Busy {
        /// The key.
        key: Key,
        /// With what.
        why: &'static str,
    },
    /// Too much is going on; later it will work.
    #[error("too many {what} at once")]
    Overloaded {
        /// What there are too many of.
        what: &'static str,
    },
    /// No space for the content.
    #[error("not enough space: {needed} bytes are needed, {free} are free")]
    NoSpace {
        /// Bytes needed, the reserve included.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The asker may not do this.
    #[error("permission denied: {denied}")]
    Forbidden {
        /// What was asked for.
        denied: Denied,
    },
    /// The place is in a state, or of a kind, that this verb must not touch.
    #[error("{0}")]
    Unsupported(String),
    /// The peer did not move for too long.
    #[error("the peer was idle for too long")]
    Stalled,
    /// Reading or writing failed on a disk.
    #[error("cannot {doing} `{}`", path.display())]
    Disk {
        /// Infinitive, e.g. `open`.
        doing: &'static str,
        /// On this path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something about the git repository is broken.
    #[error("cannot {doing}: {why}")]
    Git {
        /// Infinitive, e.g. `read refs/heads/git-annex`.
        doing: &'static str,
        /// What git, or the library that speaks for it, said.
        why: String,
    },
    /// A hook or configured command failed.
    #[error("{program} failed: {why}")]
    Command {
        /// Which one.
        program: String,
        /// Exit status, or why it could not be started.
        why: String,
    },
    /// A far place, or the way to it, failed: it could not be reached, the connection broke, or it
    /// said what makes no sense.
    #[error("{place}: {why}")]
    Remote {
        /// What people call the place.
        place: String,
        /// What happened, as far as that can be told from here.
        why: String,
    },
    /// Gannet itself is at fault, or is just stopping.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What somebody was not allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Read.
    Read,
    /// Add content.
    Write,
    /// Remove content.
    Remove,
    /// Lock content.
    Lock,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::Write => "adding content",
            Self::Remove => "removing content",
            Self::Lock => "locking content",
        })
    }
}

impl Error {
    /// An [`Error::Disk`].
    pub fn disk(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Disk { doing, path: path.into(), source }
    }

    /// The message together with those of its sources, for a log line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}
