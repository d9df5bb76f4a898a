//! What is asked for, and what came of it: the same on both sides of a connection.

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, PutOffset, Removal, Stored, Timestamp};

use super::message::Service;
use super::text::Text;

/// What a client asks for (p2p-line §6).
///
/// A `PUT` is two requests, for it has two answers: [`PutOffset`](Self::PutOffset), and after an
/// [`Answer::Offset`] with an offset one of [`Put`](Self::Put) and
/// [`PutPresent`](Self::PutPresent), or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Answered by [`Answer::Present`].
    CheckPresent {
        /// Is this key present?
        key: Key,
    },
    /// Answered by [`Answer::Locked`].
    LockContent {
        /// The key whose content shall stay.
        key: Key,
    },
    /// Answered by [`Answer::Removed`].
    Remove {
        /// The key whose content shall go.
        key: Key,
    },
    /// Answered by [`Answer::Removed`].
    RemoveBefore {
        /// The key whose content shall go.
        key: Key,
        /// When permission ends, on the server's clock.
        deadline: Timestamp,
    },
    /// Answered by [`Answer::Time`].
    GetTimestamp,
    /// Answered by [`Answer::Offset`].
    PutOffset {
        /// The key that shall be put.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
    },
    /// Data follows. Answered, after all of it, by [`Answer::Stored`] or [`Answer::NotStored`].
    Put {
        /// The key that the content belongs to.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
        /// Where in the content the data begins: the offset that was answered.
        from: u64,
        /// Length of the data in bytes. `from + len` does not overflow.
        len: u64,
    },
    /// The content came another way. Answered by [`Answer::Stored`] or [`Answer::NotStored`].
    PutPresent {
        /// The key whose content came.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
    },
    /// Answered by [`Answer::Content`], whose data follows, or [`Answer::Missing`].
    Get {
        /// Content of this key.
        key: Key,
        /// Its name at the client.
        file: AssociatedFile,
        /// First byte wanted.
        from: u64,
    },
    /// Answered by [`Answer::Connected`]; then data goes both ways until the service ends.
    Connect(Service),
    /// Answered by [`Answer::Changed`], once something has changed.
    NotifyChange,
}

/// What came of a request. Any request can be answered by [`Refused`](Self::Refused).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whether the content is present.
    Present(bool),
    /// Whether the content is locked now.
    Locked(bool),
    /// What was removed.
    Removed(Removal),
    /// What the server's clock shows.
    Time(Timestamp),
    /// How much is held already.
    Offset(PutOffset),
    /// The content is stored.
    Stored(Stored),
    /// It is not.
    NotStored,
    /// The content follows, from the offset that was wanted.
    Content {
        /// How many bytes follow.
        len: u64,
    },
    /// The content is not present. Version 0 has no word for it, and says an error.
    Missing,
    /// The service runs.
    Connected,
    /// Objects that references show to now.
    Changed(Vec<Bytes>),
    /// `ERROR`: it is not permitted, or went wrong. The connection remains of use.
    Refused(Text),
}
