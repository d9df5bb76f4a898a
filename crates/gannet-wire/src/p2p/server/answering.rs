//! What the server says, once its driver knows.

use std::mem;

use bytes::Bytes;
use gannet_core::{PutOffset, Removal, Stored, Uuid, Verdict};

use super::super::message::Message;
use super::super::outflow::{MustClose, Outflow};
use super::super::request::Answer;
use super::super::text::Text;
use super::{Awaited, Offer, Server, State, say};

/// Each returns bytes to be sent. After an error the connection must be closed.
impl Server {
    /// Lets the client in, who asked for the repository `server`.
    ///
    /// # Errors
    /// When that was not the question.
    pub fn admit(&mut self, server: &Uuid) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Authenticating => {
                self.state = State::Ready;
                Ok(say(Message::AuthSuccess(server.clone())))
            }
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Does not let the client in: the connection is to be closed once the bytes are sent, lest
    /// it tries all tokens (p2p-line §2).
    ///
    /// # Errors
    /// When that was not the question.
    pub fn turn_away(&mut self) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Authenticating => Ok(say(Message::AuthFailure)),
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Answers the last request.
    ///
    /// # Errors
    /// When the answer is none to that request, or it is not the time for it: a put is answered
    /// after the end of its data.
    pub fn answer(&mut self, answer: Answer) -> Result<Bytes, MustClose> {
        let State::Asked(awaited) = self.take() else { return Err(MustClose::OutOfTurn) };
        let others = self.version.lists_others();
        let (state, message) = match (awaited, answer) {
            (Awaited::Offset { .. }, Answer::Refused(text)) => {
                (State::PutRefused, Message::Error(text))
            }
            (_, Answer::Refused(text)) => (State::Ready, Message::Error(text)),
            (Awaited::Presence, Answer::Present(true)) => (State::Ready, Message::Success),
            (Awaited::Presence, Answer::Present(false)) => (State::Ready, Message::Failure),
            (Awaited::Lock, Answer::Locked(true)) => (State::Locked, Message::Success),
            (Awaited::Lock, Answer::Locked(false)) => (State::Ready, Message::Failure),
            (Awaited::Removal, Answer::Removed(Removal { removed, plus })) => {
                let plus = Some(plus).filter(|plus| others && !plus.is_empty());
                let message = match (removed, plus) {
                    (true, None) => Message::Success,
                    (true, Some(plus)) => Message::SuccessPlus(plus),
                    (false, None) => Message::Failure,
                    (false, Some(plus)) => Message::FailurePlus(plus),
                };
                (State::Ready, message)
            }
            (Awaited::Time, Answer::Time(now)) => (State::Ready, Message::Timestamp(now)),
            (Awaited::Offset { key, file }, Answer::Offset(PutOffset::From(from))) => {
                (State::Offered(Offer { key, file, from }), Message::PutFrom(from))
            }
            (Awaited::Offset { .. }, Answer::Offset(PutOffset::AlreadyHave { plus })) => {
                let message = match others && !plus.is_empty() {
                    true => Message::AlreadyHavePlus(plus),
                    false => Message::AlreadyHave,
                };
                (State::Ready, message)
            }
            (Awaited::Stored, Answer::Stored(Stored { plus })) => {
                let message = match others && !plus.is_empty() {
                    true => Message::SuccessPlus(plus),
                    false => Message::Success,
                };
                (State::Ready, message)
            }
            (Awaited::Stored, Answer::NotStored) => (State::Ready, Message::Failure),
            (Awaited::Content, Answer::Content { len }) => {
                let (outflow, said) = Outflow::begin(self.version, len);
                self.state = State::Sending(outflow);
                return Ok(said);
            }
            (Awaited::Content, Answer::Missing) if self.version.tells_validity() => {
                self.state = State::Delivered;
                return Ok(Bytes::from_static(b"DATA 0\nINVALID\n"));
            }
            // The reference says `DATA 0`, as for an empty content (p2p-line §6.5, §13, 9).
            (Awaited::Content, Answer::Missing) => {
                (State::Ready, Message::Error(Text::new("the content is not present")))
            }
            (Awaited::Connection, Answer::Connected) => {
                self.state = State::Relaying;
                return Ok(Bytes::new());
            }
            (Awaited::Change, Answer::Changed(ids)) => (State::Ready, Message::Changed(ids)),
            _ => return Err(MustClose::OutOfTurn),
        };
        self.state = state;
        Ok(say(message))
    }

    /// Counts the next bytes of the content that was answered, and returns those to be sent now.
    ///
    /// # Errors
    /// When it is more than was announced.
    pub fn pass(&mut self, piece: Bytes) -> Result<Bytes, MustClose> {
        match &mut self.state {
            State::Sending(outflow) => outflow.pass(piece),
            _ => Err(MustClose::OutOfTurn),
        }
        .inspect_err(|_| self.state = State::Closed)
    }

    /// Ends the content.
    ///
    /// # Errors
    /// When it is less than was announced, or in doubt in a version that cannot say so. What was
    /// sent then ends too early, and the client will find that out.
    pub fn end(&mut self, verdict: Verdict) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Sending(outflow) => {
                let said = outflow.end(verdict)?;
                self.state = State::Delivered;
                Ok(said)
            }
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Passes on what the service said: two buffers, to be sent one after the other.
    ///
    /// # Errors
    /// When no service is connected.
    pub fn relay(&mut self, piece: Bytes) -> Result<[Bytes; 2], MustClose> {
        match self.state {
            State::Relaying | State::Hushing => Ok([say(Message::Data(piece.len() as u64)), piece]),
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// Tells that the service ended; the connection is to be closed once the bytes are sent.
    ///
    /// # Errors
    /// When no service was connected.
    pub fn connect_done(&mut self, code: i32) -> Result<Bytes, MustClose> {
        match self.take() {
            State::Relaying | State::Hushing => Ok(say(Message::ConnectDone(code))),
            _ => Err(MustClose::OutOfTurn),
        }
    }

    /// The state, which without anything further is the last.
    fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::Closed)
    }
}
