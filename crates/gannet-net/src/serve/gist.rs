//! What strangers are told of a failure, whichever door they came through.

use std::io;

use gannet_core::Error;

/// What happened, and what may help: it names no path, no place behind this server, and none of
/// the words that those said. The whole story is for the log.
pub(super) fn gist(error: &Error) -> String {
    let text = match error {
        Error::Forbidden { denied } => return format!("{denied} is not permitted"),
        Error::Overloaded { what } => return format!("too many {what} at once; try again later"),
        Error::Busy { .. } => "the content is in use; try again later",
        Error::Missing { .. } => "the content is not present",
        Error::Refused { .. } => "such a key is not accepted here",
        Error::Rejected { .. }
        | Error::WrongLength
        | Error::Interrupted
        | Error::Doubtful
        | Error::WrongOffset { .. } => "the content was not accepted",
        Error::Stalled => "the body did not arrive in time",
        Error::NoSpace { .. } => "not enough space for the content",
        Error::Disk { source, .. } if is_full(source) => "not enough space in the repository",
        Error::Disk { source, .. } if out_of_files(source) => {
            "too many files are open; try again later"
        }
        Error::Unsupported(_) => "this repository cannot do that",
        Error::Remote { .. } => {
            "a place behind this server did not answer as it should; the server's log says why"
        }
        Error::Disk { .. } | Error::Git { .. } | Error::Command { .. } | Error::Internal(_) => {
            "something went wrong in the server; its log says what"
        }
    };
    text.to_owned()
}

/// Whether the disk has no space or no inodes left for us.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether the process, or the system, can open no more files just now (`EMFILE`, `ENFILE`).
pub(super) fn out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}
