//! The line protocol, versions 0 to 4: both sides of a conversation over any byte stream (p2p-line).
//!
//! Nothing here does I/O, and nothing waits. A [`Decoder`] is fed bytes and asked for messages and
//! data; however the bytes are split, what comes out is the same.

mod decoder;
mod file;
mod message;
mod text;
mod version;
mod words;

pub use decoder::{Decoder, Event, LINE_BYTES_MAX, LineTooLong};
pub use message::{Message, Service, Unparsable, Unspeakable};
pub use text::{Text, Token};
pub use version::Version;

#[cfg(test)]
mod tests;
