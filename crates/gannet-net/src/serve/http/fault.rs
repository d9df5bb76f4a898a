//! Replies that are not results: a status and one line of text.

use std::fmt::Display;
use std::io;

use gannet_core::Error;
use gannet_wire::http::{CHALLENGE, Refusal};
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::{Rights, Standing};

/// Why there is no result. Strangers see the text: it names no path.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) status: StatusCode,
    pub(super) text: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, text: impl Display) -> Self {
        Self { status, text: text.to_string(), header: None }
    }

    /// 503, come again.
    pub(super) fn overloaded(text: impl Display) -> Self {
        let header = (RETRY_AFTER, HeaderValue::from_static("1"));
        Self { header: Some(header), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, text) }
    }

    /// 401 if logging in, or logging in better, could help; else 403 (p2p-http §5).
    pub(super) fn denied(rights: &Rights, text: impl Display) -> Self {
        let may_help = match rights.standing {
            Standing::Anonymous | Standing::Wrong => rights.can_login,
            Standing::Accepted => false,
        };
        if !may_help {
            return Self::new(StatusCode::FORBIDDEN, text);
        }
        let header = (WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        Self { header: Some(header), ..Self::new(StatusCode::UNAUTHORIZED, text) }
    }

    /// What a verb's failure looks like from outside. The whole story goes to the log.
    pub(super) fn from_error(error: &Error, rights: &Rights) -> Self {
        let (status, text) = match error {
            Error::Forbidden { denied } => {
                return Self::denied(rights, format_args!("{denied} is not permitted"));
            }
            Error::Overloaded { what } => {
                return Self::overloaded(format_args!("too many {what} at once"));
            }
            Error::Busy { .. } => return Self::overloaded("the content is in use"),
            Error::Missing { .. } => (StatusCode::NOT_FOUND, "the content is not present"),
            Error::Refused { .. } => (StatusCode::NOT_FOUND, "such a key is not accepted here"),
            Error::Rejected { .. }
            | Error::WrongLength
            | Error::Interrupted
            | Error::Doubtful
            | Error::WrongOffset { .. } => {
                (StatusCode::BAD_REQUEST, "the content was not accepted")
            }
            Error::Stalled => (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
            Error::NoSpace { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "not enough space for the content")
            }
            Error::Disk { source, .. } if is_full(source) => {
                (StatusCode::INSUFFICIENT_STORAGE, "not enough space in the repository")
            }
            Error::Unsupported(_) => {
                (StatusCode::NOT_IMPLEMENTED, "this repository cannot do that")
            }
            Error::Disk { source, .. } if out_of_files(source) => {
                return Self::overloaded("too many files are open");
            }
            Error::Remote { .. } => {
                (StatusCode::BAD_GATEWAY, "a place behind this server did not answer as it should")
            }
            Error::Disk { .. } | Error::Git { .. } | Error::Command { .. } | Error::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong in the server")
            }
        };
        Self::new(status, text)
    }
}

/// Whether the disk has no space or no inodes left for us.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether the process, or the system, can open no more files just now (`EMFILE`, `ENFILE`).
fn out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let header = match refusal {
            Refusal::Method { allow } => Some((ALLOW, HeaderValue::from_static(allow))),
            _ => None,
        };
        Self { header, ..Self::new(status, refusal) }
    }
}
