//! What the client says.

use std::mem;

use bytes::Bytes;
use gannet_core::{AssociatedFile, Uuid, Verdict};

use super::super::message::{Message, Unspeakable};
use super::super::outflow::{MustClose, Outflow};
use super::super::request::Request;
use super::super::version::Version;
use super::{Awaited, Client, State, Unasked, say};

/// Each returns bytes to be sent.
impl Client {
    /// Asks for something. A put's data is then [passed](Self::pass) and [ended](Self::end);
    /// everything else has an answer, except [`Request::Connect`]: there data goes both ways at
    /// once, until [`Event::ConnectDone`](super::Event) or
    /// [`Event::Broken`](super::Event), and the connection is of no use for anything else.
    ///
    /// An associated file that makes the line too long is left out.
    ///
    /// # Errors
    /// When it cannot be asked for, now or of this server. Then nothing has happened.
    pub fn ask(&mut self, request: &Request) -> Result<Bytes, Unasked> {
        let (state, line) = match (&self.state, request) {
            (State::Offered { key: offered, from: at }, Request::Put { key, from, len, .. })
                if offered == key && at == from =>
            {
                let (outflow, said) = Outflow::begin(self.version, *len);
                (State::Sending(outflow), said)
            }
            (State::Offered { key: offered, .. }, Request::PutPresent { key, .. })
                if offered == key =>
            {
                self.need(Version::has_data_present)?;
                (State::Asked(Awaited::Stored), Message::DataPresent.line()?)
            }
            (State::Idle, request) => {
                let (state, message) = self.begin(request)?;
                (state, line(message)?)
            }
            _ => return Err(Unasked::Busy),
        };
        self.state = state;
        Ok(line)
    }

    /// What begins a conversation, and the state after it.
    fn begin(&self, request: &Request) -> Result<(State, Message), Unasked> {
        let (awaited, message) = match request.clone() {
            Request::CheckPresent { key } => (Awaited::Presence, Message::CheckPresent(key)),
            Request::LockContent { key } => (Awaited::Lock, Message::LockContent(key)),
            Request::Remove { key } => (Awaited::Removal, Message::Remove(key)),
            Request::RemoveBefore { key, deadline } => {
                self.need(Version::has_deadlines)?;
                (Awaited::Removal, Message::RemoveBefore { deadline, key })
            }
            Request::GetTimestamp => {
                self.need(Version::has_deadlines)?;
                (Awaited::Time, Message::GetTimestamp)
            }
            Request::PutOffset { key, file } => {
                (Awaited::Offset(key.clone()), Message::Put { file, key })
            }
            Request::Get { key, file, from } => {
                let is_empty = key.size().is_some_and(|size| size <= from);
                (Awaited::Content { is_empty }, Message::Get { from, file, key })
            }
            Request::Connect(service) => return Ok((State::Relaying, Message::Connect(service))),
            Request::NotifyChange => (Awaited::Change, Message::NotifyChange),
            Request::Put { .. } | Request::PutPresent { .. } => return Err(Unasked::Busy),
        };
        Ok((State::Asked(awaited), message))
    }

    /// Names gateways that shall not be asked again while this connection lasts. No answer.
    ///
    /// # Errors
    /// When it cannot be said, now or to this server. Then nothing has happened.
    pub fn bypass(&mut self, gateways: &[Uuid]) -> Result<Bytes, Unasked> {
        match self.state {
            State::Idle => {
                self.need(Version::lists_others)?;
                Ok(say(Message::Bypass(gateways.to_vec())))
            }
            _ => Err(Unasked::Busy),
        }
    }

    /// Counts the next bytes of the content that is being put, and returns those to be sent now.
    ///
    /// # Errors
    /// When it is more than was announced. The connection must be closed then.
    pub fn pass(&mut self, piece: Bytes) -> Result<Bytes, MustClose> {
        match &mut self.state {
            State::Sending(outflow) => outflow.pass(piece),
            _ => Err(MustClose::OutOfTurn),
        }
        .inspect_err(|_| self.state = State::Closed)
    }

    /// Ends the content that is being put; the answer follows.
    ///
    /// # Errors
    /// When it is less than was announced, or in doubt in a version that cannot say so. The
    /// connection must be closed then; the server keeps what came.
    pub fn end(&mut self, verdict: Verdict) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Sending(outflow) => {
                let said = outflow.end(verdict)?;
                self.state = State::Asked(Awaited::Stored);
                Ok(said)
            }
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Puts nothing, after an offset was answered: that was all that was wanted (p2p-line §6.4).
    /// The server answers with [`Answer::NotStored`](super::Answer), and keeps what it has.
    ///
    /// # Errors
    /// When the version has no way of saying so. The connection must be closed then.
    pub fn decline(&mut self) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Offered { .. } if self.version.tells_validity() => {
                self.state = State::Asked(Awaited::Stored);
                Ok(Bytes::from_static(b"DATA 0\nINVALID\n"))
            }
            State::Offered { .. } => Err(MustClose::Offered),
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Tells the server, which waits for it, whether the content that came is of use.
    ///
    /// # Errors
    /// When no content has come to its end.
    pub fn taken(&mut self, taken: bool) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Delivered => {
                self.state = State::Idle;
                Ok(say(if taken { Message::Success } else { Message::Failure }))
            }
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Unlocks the content that was locked. No answer.
    ///
    /// # Errors
    /// When nothing is locked.
    pub fn unlock(&mut self) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Locked => {
                self.state = State::Idle;
                Ok(say(Message::UnlockContent))
            }
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Passes on something to the service: two buffers, to be sent one after the other.
    ///
    /// # Errors
    /// When no service is connected.
    pub fn relay(&self, piece: Bytes) -> Result<[Bytes; 2], MustClose> {
        match self.state {
            State::Relaying => Ok([say(Message::Data(piece.len() as u64)), piece]),
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Asks for the end of the service, which then tells its exit code.
    ///
    /// # Errors
    /// When no service is connected.
    pub fn connect_done(&self, code: i32) -> Result<Bytes, MustClose> {
        match self.state {
            State::Relaying => Ok(say(Message::ConnectDone(code))),
            _ => Err(MustClose::OutOfTurn),
        }
    }

    fn need(&self, has: impl Fn(Version) -> bool) -> Result<(), Unasked> {
        if has(self.version) { Ok(()) } else { Err(Unasked::NotInVersion(self.version)) }
    }

    /// The state, which without anything further is the last.
    fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::Closed)
    }
}

/// The message on a line; without its associated file if there is no room for that.
fn line(message: Message) -> Result<Bytes, Unspeakable> {
    let no_file = AssociatedFile::default;
    match (message.line(), message) {
        (Err(Unspeakable::TooLong), Message::Put { key, .. }) => {
            Message::Put { file: no_file(), key }.line()
        }
        (Err(Unspeakable::TooLong), Message::Get { from, key, .. }) => {
            Message::Get { from, file: no_file(), key }.line()
        }
        (line, _) => line,
    }
}
