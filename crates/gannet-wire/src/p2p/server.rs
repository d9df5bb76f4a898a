//! The server's side of a connection.

use std::mem;

use bytes::{Bytes, BytesMut};
use gannet_core::{AssociatedFile, Key, Uuid, Verdict};

use super::decoder::{Decoder, Found};
use super::message::{Message, Unparsable};
use super::outflow::Outflow;
use super::request::Request;
use super::version::Version;

mod answering;
mod event;

pub use event::{Close, Event};

/// The server's side of a connection, without the connection.
///
/// The driver [feeds](Self::feed) it what the client sends, [pulls](Self::pull) events and does
/// what they say. Bytes that a method returns are to be sent before it pulls again.
#[derive(Debug)]
pub struct Server {
    decoder: Decoder,
    input_ended: bool,
    newest: Version,
    version: Version,
    bypass: Vec<Uuid>,
    state: State,
    /// What follows the event that was pulled last.
    next: Option<Event>,
}

#[derive(Debug)]
enum State {
    Unauthenticated,
    Authenticating,
    Ready,
    /// A put was refused. The reference client answers that with an `ERROR` of its own, which
    /// means nothing (p2p-line §6.4, "Refused PUT").
    PutRefused,
    Asked(Awaited),
    /// `PUT-FROM` was said.
    Offered(Offer),
    /// `DATA 0` was heard. If `INVALID` follows, the client only wanted to know the offset.
    Emptied(Offer),
    Receiving,
    /// All data has come; `VALID` or `INVALID` has not.
    Unvouched,
    Sending(Outflow),
    /// All data was sent; the client is to say whether it liked it.
    Delivered,
    Locked,
    Relaying,
    /// The client wants no more of the service.
    Hushing,
    Closed,
}

/// The answer that is awaited from the driver.
#[derive(Debug)]
enum Awaited {
    Presence,
    Lock,
    Removal,
    Time,
    Offset { key: Key, file: AssociatedFile },
    Stored,
    Content,
    Connection,
    Change,
}

#[derive(Debug)]
struct Offer {
    key: Key,
    file: AssociatedFile,
    from: u64,
}

impl Server {
    /// Serves a client that was let in already, as over ssh, in versions up to `newest`. The
    /// bytes are the greeting, which names the repository `server` (p2p-line §2).
    #[must_use]
    pub fn greeting(server: &Uuid, newest: Version) -> (Self, Bytes) {
        (Self::new(newest, State::Ready), say(Message::AuthSuccess(server.clone())))
    }

    /// Serves a client that has yet to say who it is.
    #[must_use]
    pub fn unauthenticated(newest: Version) -> Self {
        Self::new(newest, State::Unauthenticated)
    }

    fn new(newest: Version, state: State) -> Self {
        Self {
            decoder: Decoder::default(),
            input_ended: false,
            newest,
            version: Version::default(),
            bypass: Vec::new(),
            state,
            next: None,
        }
    }

    /// Takes the next bytes that the client sent.
    ///
    /// Of what was fed before the last [`pull`](Self::pull) returned `None` less than
    /// [`LINE_BYTES_MAX`](super::LINE_BYTES_MAX) bytes are kept, if no answer is awaited.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// Where the next bytes that the client sent may be appended without copying them once more.
    pub fn inbox(&mut self) -> &mut BytesMut {
        self.decoder.inbox()
    }

    /// Takes notice that nothing more will come from the client.
    pub fn finish(&mut self) {
        self.input_ended = true;
    }

    /// The version that is spoken.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The gateways that this client's requests passed already.
    #[must_use]
    pub fn bypass(&self) -> &[Uuid] {
        &self.bypass
    }

    /// Returns the next event. `None` when there is none before it is fed, or before the driver
    /// has answered or sent what it is about to send; after [`Event::Close`] for ever.
    pub fn pull(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next.take() {
                return Some(event);
            }
            if !self.listens() {
                return None;
            }
            let state = mem::replace(&mut self.state, State::Closed);
            let event = match self.decoder.pull() {
                Ok(Some(Found::Message(message))) => self.on_message(state, message),
                Ok(Some(Found::Garbage { why, .. })) => self.on_garbage(state, why),
                Ok(Some(Found::Data(bytes))) => self.on_data(state, bytes),
                Ok(None) if self.input_ended => self.on_end(state),
                Ok(None) => {
                    self.state = state;
                    return None;
                }
                Err(_) => self.close(Close::LineTooLong),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// Whether it is the client's turn to speak.
    fn listens(&self) -> bool {
        match self.state {
            State::Unauthenticated
            | State::Ready
            | State::PutRefused
            | State::Offered(_)
            | State::Emptied(_)
            | State::Receiving
            | State::Unvouched
            | State::Delivered
            | State::Locked
            | State::Relaying => true,
            State::Authenticating
            | State::Asked(_)
            | State::Sending(_)
            | State::Hushing
            | State::Closed => false,
        }
    }

    /// The conversation: what a message means depends on what was said before.
    fn on_message(&mut self, state: State, message: Message) -> Option<Event> {
        match (state, message) {
            (State::Unauthenticated, Message::Auth { client, token }) => {
                self.now(State::Authenticating, Event::Auth { client, token })
            }
            (State::PutRefused, Message::Error(_)) => self.quietly(State::Ready),
            (_, Message::Error(text)) => self.close(Close::GivenUp(text)),
            (State::Ready | State::PutRefused, message) => self.on_request(message),

            (State::Offered(offer), Message::Data(len)) => self.on_announcement(offer, len),
            (State::Offered(offer), Message::DataPresent) if self.version.has_data_present() => {
                let Offer { key, file, from: _ } = offer;
                self.ask(Awaited::Stored, Request::PutPresent { key, file })
            }
            (State::Emptied(offer), Message::Valid) => {
                let Offer { key, file, from } = offer;
                self.next = Some(Event::End(Some(Verdict::Valid)));
                self.ask(Awaited::Stored, Request::Put { key, file, from, len: 0 })
            }
            (State::Emptied(_), Message::Invalid) => {
                self.now(State::Ready, Event::Say(say(Message::Failure)))
            }
            (State::Unvouched, Message::Valid) => {
                self.now(State::Asked(Awaited::Stored), Event::End(Some(Verdict::Valid)))
            }
            (State::Unvouched, Message::Invalid) => {
                self.now(State::Asked(Awaited::Stored), Event::End(Some(Verdict::Doubtful)))
            }

            (State::Delivered, Message::Success | Message::Failure) => self.quietly(State::Ready),
            (State::Delivered, Message::SuccessPlus(_) | Message::FailurePlus(_))
                if self.version.lists_others() =>
            {
                self.quietly(State::Ready)
            }
            (State::Locked, Message::UnlockContent) => self.now(State::Ready, Event::Unlock),
            (State::Relaying, Message::Data(_)) => self.quietly(State::Relaying),
            (State::Relaying, Message::ConnectDone(code)) => {
                self.now(State::Hushing, Event::ConnectDone(code))
            }

            (state, _) => self.on_misfit(state, UNEXPECTED),
        }
    }

    /// What does not fit: where something else was expected, that is said instead of `otherwise`.
    fn on_misfit(&mut self, state: State, otherwise: &'static str) -> Option<Event> {
        let error = expected(&state, self.version).unwrap_or(otherwise);
        match state {
            State::Unauthenticated => self.say_and_close(error, Close::TurnedAway),
            // To `MAYBE` after the data the reference says this, then stores the content and says
            // that too (p2p-line §13, 8): whoever goes on reading takes the second reply for that
            // to its next request.
            State::Emptied(_) | State::Unvouched | State::Relaying => {
                self.say_and_close(error, Close::Garbled)
            }
            State::Locked => {
                self.next = Some(Event::Say(line(error)));
                self.now(State::Ready, Event::Forsake)
            }
            _ => self.now(State::Ready, Event::Say(line(error))),
        }
    }

    /// What may begin a conversation.
    fn on_request(&mut self, message: Message) -> Option<Event> {
        match message {
            Message::Version(theirs) => {
                self.version = Version::up_to(theirs).min(self.newest);
                let ours = Message::Version(self.version.number());
                self.now(State::Ready, Event::Say(say(ours)))
            }
            Message::Bypass(uuids) => {
                for uuid in uuids {
                    if self.bypass.len() < BYPASS_MAX && !self.bypass.contains(&uuid) {
                        self.bypass.push(uuid);
                    }
                }
                self.quietly(State::Ready)
            }
            Message::CheckPresent(key) => {
                self.ask(Awaited::Presence, Request::CheckPresent { key })
            }
            Message::LockContent(key) => self.ask(Awaited::Lock, Request::LockContent { key }),
            Message::Remove(key) => self.ask(Awaited::Removal, Request::Remove { key }),
            Message::RemoveBefore { deadline, key } => {
                self.ask(Awaited::Removal, Request::RemoveBefore { key, deadline })
            }
            Message::GetTimestamp => self.ask(Awaited::Time, Request::GetTimestamp),
            Message::Put { file, key } => {
                let awaited = Awaited::Offset { key: key.clone(), file: file.clone() };
                self.ask(awaited, Request::PutOffset { key, file })
            }
            Message::Get { from, file, key } => {
                self.ask(Awaited::Content, Request::Get { key, file, from })
            }
            Message::Connect(service) => self.ask(Awaited::Connection, Request::Connect(service)),
            Message::NotifyChange => self.ask(Awaited::Change, Request::NotifyChange),
            _ => self.on_misfit(State::Ready, UNEXPECTED),
        }
    }

    /// `DATA` in its place.
    fn on_announcement(&mut self, offer: Offer, len: u64) -> Option<Event> {
        if offer.from.checked_add(len).is_none() {
            return self.say_and_close(EXPECTED_DATA, Close::Garbled);
        }
        match (len, self.version.tells_validity()) {
            (0, true) => self.quietly(State::Emptied(offer)),
            (0, false) => {
                let Offer { key, file, from } = offer;
                self.next = Some(Event::End(None));
                self.ask(Awaited::Stored, Request::Put { key, file, from, len })
            }
            (len, _) => {
                let Offer { key, file, from } = offer;
                let put = Request::Put { key, file, from, len };
                self.now(State::Receiving, Event::Request(put))
            }
        }
    }

    /// A line that is no message. What follows a `DATA` that is none cannot be understood.
    fn on_garbage(&mut self, state: State, why: Unparsable) -> Option<Event> {
        match (state, why) {
            (state @ State::Unauthenticated, _) => self.on_misfit(state, UNKNOWN),
            (state, Unparsable::DataLength) => {
                let error = expected(&state, self.version).unwrap_or(UNKNOWN);
                self.say_and_close(error, Close::Garbled)
            }
            (state, _) => self.on_misfit(state, UNKNOWN),
        }
    }

    /// Bytes after a `DATA`. Where none was expected they are passed over: taken for messages,
    /// the content of a file could say something on behalf of the client.
    fn on_data(&mut self, state: State, bytes: Bytes) -> Option<Event> {
        let all_came = self.decoder.data_left() == 0;
        let state = match state {
            State::Receiving if !all_came => State::Receiving,
            State::Receiving if self.version.tells_validity() => State::Unvouched,
            State::Receiving => {
                self.next = Some(Event::End(None));
                State::Asked(Awaited::Stored)
            }
            State::Relaying => State::Relaying,
            state => return self.quietly(state),
        };
        self.now(state, Event::Data(bytes))
    }

    /// The end of what the client sends.
    fn on_end(&mut self, state: State) -> Option<Event> {
        match state {
            State::Emptied(_) | State::Receiving | State::Unvouched => {
                self.say_and_close("FAILURE\n", Close::Lost)
            }
            State::Offered(_) | State::Relaying => self.close(Close::Lost),
            _ => self.close(Close::Ended),
        }
    }

    fn now(&mut self, state: State, event: Event) -> Option<Event> {
        self.state = state;
        Some(event)
    }

    fn quietly(&mut self, state: State) -> Option<Event> {
        self.state = state;
        None
    }
}

impl Server {
    fn ask(&mut self, awaited: Awaited, request: Request) -> Option<Event> {
        self.now(State::Asked(awaited), Event::Request(request))
    }

    fn close(&mut self, why: Close) -> Option<Event> {
        self.now(State::Closed, Event::Close(why))
    }

    fn say_and_close(&mut self, error: &'static str, why: Close) -> Option<Event> {
        self.next = Some(Event::Close(why));
        self.now(State::Closed, Event::Say(line(error)))
    }
}

/// What is said is always a message without a key, which fits on a line.
fn say(message: Message) -> Bytes {
    message.line().unwrap_or_default()
}

fn line(line: &'static str) -> Bytes {
    Bytes::from_static(line.as_bytes())
}

/// What is said where only something certain was expected, in the words of the reference.
fn expected(state: &State, version: Version) -> Option<&'static str> {
    match state {
        State::Offered(_) => Some(EXPECTED_DATA),
        State::Emptied(_) | State::Unvouched => Some(EXPECTED_VALIDITY),
        State::Delivered if version.lists_others() => Some(EXPECTED_RESULT_PLUS),
        State::Delivered => Some(EXPECTED_RESULT),
        State::Locked => Some(EXPECTED_UNLOCK),
        State::Relaying => Some(EXPECTED_RELAY),
        _ => None,
    }
}

/// So many gateways are remembered: more than there are between any two repositories, and little
/// enough to keep.
const BYPASS_MAX: usize = 1000;

// What the reference says (p2p-line §6, §7).
const UNKNOWN: &str = "ERROR unknown command\n";
const UNEXPECTED: &str = "ERROR unexpected command\n";
const EXPECTED_DATA: &str = "ERROR expected DATA\n";
const EXPECTED_VALIDITY: &str = "ERROR expected VALID or INVALID\n";
const EXPECTED_RESULT: &str = "ERROR expected SUCCESS or FAILURE\n";
const EXPECTED_RESULT_PLUS: &str =
    "ERROR expected SUCCESS or SUCCESS-PLUS or FAILURE or FAILURE-PLUS\n";
const EXPECTED_UNLOCK: &str = "ERROR expected UNLOCKCONTENT\n";
const EXPECTED_RELAY: &str = "ERROR expected DATA or CONNECTDONE\nCONNECTDONE 1\n";
