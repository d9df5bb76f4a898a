//! The HTTP API, versions 0 to 4: how calls and replies are written (p2p-http).
//!
//! Nothing here does I/O. A door splits a request into its [`Head`], [`Routes`] turn that into a
//! [`Call`] or a [`Refusal`], and what came of the call goes back as a [`Reply`].

mod call;
mod login;
mod query;
mod range;
mod refusal;
mod reply;
mod request;
pub mod result;
mod unlock;

pub use call::{Action, Call, Head, Routes, Version};
pub use login::Login;
pub use range::{Preconditions, Selection, etag};
pub use refusal::{BadText, Refusal};
pub use reply::Reply;
pub use request::Request;
pub use unlock::{Garbage, UnlockScanner};

/// Name of the header that announces how many bytes of content a body is meant to have.
pub const DATA_LENGTH: &str = "x-git-annex-data-length";
/// The challenge that comes with a 401, exactly as the reference sends it (p2p-http §5).
pub const CHALLENGE: &str = "Basic realm=\"git-annex\", charset=\"UTF-8\"";
/// Content type of results; the reference client rejects any that is not JSON (p2p-http §7.2).
pub const JSON: &str = "application/json;charset=utf-8";
/// Content type of contents.
pub const OCTETS: &str = "application/octet-stream";
