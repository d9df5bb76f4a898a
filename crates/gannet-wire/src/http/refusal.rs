//! Requests that cannot be understood.

use std::fmt;

use gannet_core::key::BadKey;

use super::call::Version;

/// Why a request cannot be understood. `Display` is one line that says what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such path.
    NoRoute,
    /// A known endpoint, in a version that Gannet does not speak.
    NoVersion,
    /// An endpoint that this version does not have.
    NotInVersion(Version),
    /// Another method is needed.
    Method {
        /// Those that would do, as `Allow` wants them.
        allow: &'static str,
    },
    /// Text that cannot be the uuid of any repository.
    NoRepository,
    /// The last part of the path is not a key.
    PathKey(BadText),
    /// A required parameter is missing.
    Missing(&'static str),
    /// A parameter has a value that makes no sense.
    Parameter(&'static str, BadText),
    /// The header `X-git-annex-data-length` is missing.
    NoDataLength,
    /// The header `X-git-annex-data-length` is not a number.
    DataLength,
}

/// What is wrong with a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Something in brackets that is not base64url.
    #[error("what stands in brackets is not base64url")]
    Spelling,
    /// Not a key.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// Empty.
    #[error("it is empty")]
    Empty,
    /// Not a number.
    #[error("it is not a decimal number")]
    Number,
    /// Not a truth value.
    #[error("it is neither `true` nor `false`")]
    Truth,
}

impl Refusal {
    /// The status code that says this (p2p-http §1, §2).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoRoute | Self::NoVersion | Self::NotInVersion(_) | Self::NoRepository => 404,
            Self::Method { .. } => 405,
            Self::PathKey(_)
            | Self::Missing(_)
            | Self::Parameter(..)
            | Self::NoDataLength
            | Self::DataLength => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("there is nothing at this path"),
            Self::NoVersion => f.write_str("this version of the API is not supported"),
            Self::NotInVersion(version) => {
                write!(f, "version {} of the API does not have this endpoint", version.name())
            }
            Self::Method { allow } => write!(f, "the method must be one of: {allow}"),
            Self::NoRepository => f.write_str("no such repository here"),
            Self::PathKey(why) => write!(f, "bad key in the path: {why}"),
            Self::Missing(name) => write!(f, "parameter {name} is required"),
            Self::Parameter(name, why) => write!(f, "bad parameter {name}: {why}"),
            Self::NoDataLength => f.write_str("header X-git-annex-data-length is required"),
            Self::DataLength => {
                f.write_str("header X-git-annex-data-length is not a decimal number")
            }
        }
    }
}

impl std::error::Error for Refusal {}
