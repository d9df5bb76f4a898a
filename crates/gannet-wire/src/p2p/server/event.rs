//! What a driver of the server's side is told.

use bytes::Bytes;
use gannet_core::{Uuid, Verdict};

use super::super::request::Request;
use super::super::text::{Text, Token};

/// What the driver of a connection is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send these bytes.
    Say(Bytes),
    /// Check who the client is; then [`admit`](super::Server::admit) it, or
    /// [`turn_away`](super::Server::turn_away).
    Auth {
        /// Who it says it is.
        client: Uuid,
        /// What it says to prove that.
        token: Token,
    },
    /// Do what is asked for, and [`answer`](super::Server::answer). Nothing more is heard until then, except
    /// that after a [`Request::Put`] its data comes first, up to the [`End`](Self::End).
    Request(Request),
    /// The next bytes: of the content that is being put, or for the service that is connected.
    Data(Bytes),
    /// All the data of a put has come, with what the client says of it. Version 0 says nothing:
    /// whoever stores the content must make sure of it.
    End(Option<Verdict>),
    /// Release the lock that the last [`Answer::Locked`](crate::p2p::Answer::Locked) told of.
    Unlock,
    /// Let go of that lock and leave its retention: the client said something else instead of
    /// unlocking, so perhaps it still counts on the content.
    Forsake,
    /// The client wants no more of the service: end it, then [`connect_done`](super::Server::connect_done).
    ConnectDone(i32),
    /// Close the connection. A put that has not come to its end is broken off; a lock that is
    /// still held leaves its retention (p2p-line §6.2).
    Close(Close),
}

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// The client has closed it, between two requests.
    #[error("the client closed the connection")]
    Ended,
    /// The client has closed it, or it broke, while something was going on.
    #[error("the connection was lost")]
    Lost,
    /// The client said `ERROR`.
    #[error("the client gave up: {0}")]
    GivenUp(Text),
    /// A line was too long to be a message.
    #[error("the client said something too long to be a message")]
    LineTooLong,
    /// The client did not say who it is, or is not let in.
    #[error("the client is not let in")]
    TurnedAway,
    /// The client said something after which nothing can be understood.
    #[error("the client cannot be understood")]
    Garbled,
}

impl Close {
    /// Whether nothing went wrong: the exit code is 0 then, and 1 if not (p2p-line §7).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::Ended | Self::GivenUp(_))
    }
}
