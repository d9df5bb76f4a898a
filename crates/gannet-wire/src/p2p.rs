//! The line protocol, versions 0 to 4: both sides of a conversation over any byte stream (p2p-line).
//!
//! Nothing here does I/O, and nothing waits. [`server::Server`] and [`client::Client`] are fed what
//! the peer sends and asked what to do next; what is to be sent they return. However the bytes are
//! split, what comes out is the same; whatever they are, nothing panics, and no more is kept than
//! one line.

pub mod client;
mod decoder;
mod file;
mod message;
mod outflow;
mod request;
pub mod server;
mod text;
mod version;
mod words;

pub use client::Client;
pub use decoder::{Decoder, Found, LINE_BYTES_MAX, LineTooLong};
pub use message::{Message, Service, Unparsable, Unspeakable};
pub use outflow::MustClose;
pub use request::{Answer, Request};
pub use server::Server;
pub use text::{Text, Token};
pub use version::Version;

/// What a repository says to whoever may only read, and wants to write (p2p-line §8).
pub const READ_ONLY: &str = "this repository is read-only; write access denied";
/// What a repository says to whoever may not remove, and wants to (p2p-line §8).
pub const APPEND_ONLY: &str = "this repository is append-only; removal denied";

#[cfg(test)]
mod tests;
