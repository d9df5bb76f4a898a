//! From bytes to messages and data.

use bytes::{Bytes, BytesMut};

use super::message::{Message, Unparsable};

/// Longest line in bytes, its LF included: the reference gives up when it has read so many
/// characters and none of them was an LF (p2p-line §1).
///
/// It bounds what a decoder keeps between two feedings. The longest lines of use are lists of
/// uuids and of changes; a key that a repository can keep has 240 bytes.
pub const LINE_BYTES_MAX: usize = 32_768;

/// A line is longer than [`LINE_BYTES_MAX`]. Nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {LINE_BYTES_MAX} bytes")]
pub struct LineTooLong;

/// What was found in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message. After [`Message::Data`] come as many bytes of data as it says.
    Message(Message),
    /// A line that is no message.
    Garbage {
        /// The line, its end taken off.
        line: Bytes,
        /// What is wrong with it.
        why: Unparsable,
    },
    /// The next bytes of data; never empty.
    Data(Bytes),
}

/// Finds messages and data in a stream of bytes.
///
/// Data passes through in the buffers it came in. Once [`pull`](Self::pull) has returned `None`,
/// less than [`LINE_BYTES_MAX`] bytes are kept.
#[derive(Debug, Default)]
pub struct Decoder {
    unread: BytesMut,
    /// So many bytes of `unread` are known to contain no LF.
    scanned: usize,
    data_left: u64,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Where the next bytes of the stream may be appended without copying them once more. What
    /// is in it already must stay.
    pub fn inbox(&mut self) -> &mut BytesMut {
        &mut self.unread
    }

    /// How many bytes are kept that no event has told of yet.
    #[must_use]
    pub fn unread_len(&self) -> usize {
        self.unread.len()
    }

    /// How many bytes of data are still to come before the next message.
    #[must_use]
    pub fn data_left(&self) -> u64 {
        self.data_left
    }

    /// Returns the next event, or `None` when it must be fed first.
    ///
    /// # Errors
    /// When a line is too long; then for ever.
    pub fn pull(&mut self) -> Result<Option<Found>, LineTooLong> {
        if self.data_left > 0 {
            let most = usize::try_from(self.data_left).unwrap_or(usize::MAX);
            let len = self.unread.len().min(most);
            self.data_left -= len as u64;
            return Ok((len > 0).then(|| Found::Data(self.unread.split_to(len).freeze())));
        }
        let end = self.unread.len().min(LINE_BYTES_MAX);
        let found = self.unread[self.scanned..end].iter().position(|&byte| byte == b'\n');
        let Some(found) = found else {
            self.scanned = end;
            return if end < LINE_BYTES_MAX { Ok(None) } else { Err(LineTooLong) };
        };
        let line = self.unread.split_to(self.scanned + found + 1);
        self.scanned = 0;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let message = match Message::parse(line) {
            Ok(message) => message,
            Err(why) => {
                return Ok(Some(Found::Garbage { line: Bytes::copy_from_slice(line), why }));
            }
        };
        if let Message::Data(len) = message {
            self.data_left = len;
        }
        Ok(Some(Found::Message(message)))
    }
}
