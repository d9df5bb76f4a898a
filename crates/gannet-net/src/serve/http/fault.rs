//! Replies that are not results: a status and one line of text.

use std::fmt::Display;

use gannet_core::Error;
use gannet_wire::http::{CHALLENGE, Refusal};
use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use super::{Rights, Standing};
use crate::serve::gist::{gist, is_full, out_of_files};

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
        let text = gist(error);
        let status = match error {
            Error::Forbidden { .. } => return Self::denied(rights, text),
            Error::Overloaded { .. } | Error::Busy { .. } => return Self::overloaded(text),
            Error::Missing { .. } | Error::Refused { .. } => StatusCode::NOT_FOUND,
            Error::Rejected { .. }
            | Error::WrongLength
            | Error::Interrupted
            | Error::Doubtful
            | Error::WrongOffset { .. } => StatusCode::BAD_REQUEST,
            Error::Stalled => StatusCode::REQUEST_TIMEOUT,
            Error::NoSpace { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Error::Disk { source, .. } if is_full(source) => StatusCode::INSUFFICIENT_STORAGE,
            Error::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Error::Disk { source, .. } if out_of_files(source) => return Self::overloaded(text),
            Error::Remote { .. } => StatusCode::BAD_GATEWAY,
            Error::Disk { .. } | Error::Git { .. } | Error::Command { .. } | Error::Internal(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::new(status, text)
    }
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
