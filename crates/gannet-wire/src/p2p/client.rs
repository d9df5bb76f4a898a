//! The client's side of a connection.

use std::mem;

use bytes::{Bytes, BytesMut};
use gannet_core::{Key, PutOffset, Removal, Stored, Uuid, Verdict};

use super::decoder::{Decoder, Found};
use super::message::{Message, Unspeakable};
use super::outflow::Outflow;
use super::request::Answer;
use super::text::{Text, Token};
use super::version::Version;

mod asking;

/// What the driver of a connection is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send these bytes.
    Say(Bytes),
    /// Ask: the server is known, and the version is agreed on.
    Ready {
        /// The server.
        server: Uuid,
    },
    /// What came of the last request. After [`Answer::Content`] comes data up to the
    /// [`End`](Self::End); after [`Answer::Locked`] the lock holds until [`Client::unlock`].
    Answer(Answer),
    /// The next bytes: of the content that was asked for, or from the service.
    Data(Bytes),
    /// All the data of a content has come, with what the server says of it; then
    /// [`Client::taken`]. Version 0 says nothing: whoever stores the content must make sure of it.
    End(Option<Verdict>),
    /// The service ended with this exit code. The connection is of no more use.
    ConnectDone(i32),
    /// Close the connection: the request that was going on has failed.
    Broken(Broken),
}

/// Why a connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It was closed, or broke.
    #[error("the connection was lost")]
    Lost,
    /// A line was too long to be a message.
    #[error("the server said something too long to be a message")]
    LineTooLong,
    /// The server does not let us in.
    #[error("the server does not let us in")]
    TurnedAway,
    /// The server does not speak the protocol, or says something else first, as a login message.
    #[error("the server does not speak the protocol; it said: {0}")]
    NoGreeting(Text),
    /// The server is not the one that was wanted.
    #[error("the server is the repository {found}, not {wanted}")]
    WrongServer {
        /// The one that was wanted.
        wanted: Uuid,
        /// The one that answered.
        found: Uuid,
    },
    /// The server gave up in the middle of something.
    #[error("the server gave up: {0}")]
    GivenUp(Text),
    /// The server said something that does not fit.
    #[error("expected {wanted} from the server; it said: {found}")]
    Unexpected {
        /// What would have fitted.
        wanted: &'static str,
        /// What it was.
        found: Text,
    },
}

/// Why something cannot be asked for. Nothing has happened to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    /// Something else is going on. Whoever drives the connection made a mistake.
    #[error("something else is going on on this connection")]
    Busy,
    /// The server is too old for it.
    #[error("the server speaks version {} of the protocol only", .0.number())]
    NotInVersion(Version),
    /// The key cannot be written on a line.
    #[error(transparent)]
    Unspeakable(#[from] Unspeakable),
}

/// The client's side of a connection, without the connection.
///
/// The driver [feeds](Self::feed) it what the server sends, [pulls](Self::pull) events and does
/// what they say. Bytes that a method returns are to be sent before it pulls again.
#[derive(Debug)]
pub struct Client {
    decoder: Decoder,
    input_ended: bool,
    newest: Version,
    version: Version,
    state: State,
    /// What follows the event that was pulled last.
    next: Option<Event>,
}

#[derive(Debug)]
enum State {
    /// Waiting to be greeted, by this server if one is wanted.
    Ungreeted(Option<Uuid>),
    /// `VERSION` was said.
    Negotiating(Uuid),
    Idle,
    Asked(Awaited),
    /// `PUT-FROM` was heard.
    Offered {
        key: Key,
        from: u64,
    },
    Sending(Outflow),
    Receiving,
    /// All data has come; `VALID` or `INVALID` has not.
    Unvouched,
    /// The server waits to hear whether we liked the content.
    Delivered,
    Locked,
    Relaying,
    Closed,
}

/// The answer that is awaited from the server.
#[derive(Debug)]
enum Awaited {
    Presence,
    Lock,
    Removal,
    Time,
    Offset(Key),
    Stored,
    Content {
        /// Whether the key tells that nothing is to come.
        is_empty: bool,
    },
    /// `DATA 0` was heard. If `INVALID` follows, there is no content.
    EmptyContent,
    Change,
}

impl Client {
    /// Talks to a server that lets us in by itself, as over ssh, in versions up to `newest`. If
    /// `wanted` is given, no other server will do.
    #[must_use]
    pub fn new(newest: Version, wanted: Option<Uuid>) -> Self {
        Self {
            decoder: Decoder::default(),
            input_ended: false,
            newest,
            version: Version::default(),
            state: State::Ungreeted(wanted),
            next: None,
        }
    }

    /// Talks to a server that lets us in for a token. The bytes are to be sent first.
    #[must_use]
    pub fn with_token(
        newest: Version,
        wanted: Option<Uuid>,
        client: Uuid,
        token: Token,
    ) -> (Self, Bytes) {
        (Self::new(newest, wanted), say(Message::Auth { client, token }))
    }

    /// Takes the next bytes that the server sent.
    ///
    /// Of what was fed before the last [`pull`](Self::pull) returned `None` less than
    /// [`LINE_BYTES_MAX`](super::LINE_BYTES_MAX) bytes are kept.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// Where the next bytes that the server sent may be appended without copying them once more.
    pub fn inbox(&mut self) -> &mut BytesMut {
        self.decoder.inbox()
    }

    /// Takes notice that nothing more will come from the server.
    pub fn finish(&mut self) {
        self.input_ended = true;
    }

    /// The version that is spoken.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the connection can be used for another request: nothing is going on, and nothing
    /// was said that nobody asked for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
            && self.next.is_none()
            && !self.input_ended
            && self.decoder.unread_len() == 0
            && self.decoder.data_left() == 0
    }

    /// Returns the next event, or `None` when there is none before it is fed; after
    /// [`Event::Broken`] and [`Event::ConnectDone`] for ever.
    pub fn pull(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next.take() {
                return Some(event);
            }
            if matches!(self.state, State::Closed) {
                return None;
            }
            let state = mem::replace(&mut self.state, State::Closed);
            let event = match self.decoder.pull() {
                Ok(Some(Found::Message(message))) => self.on_message(state, message),
                Ok(Some(Found::Garbage { line, .. })) => self.on_misfit(state, &line),
                Ok(Some(Found::Data(bytes))) => self.on_data(state, bytes),
                Ok(None) if self.input_ended => self.broken(Broken::Lost),
                Ok(None) => {
                    self.state = state;
                    return None;
                }
                Err(_) => self.broken(Broken::LineTooLong),
            };
            if event.is_some() {
                return event;
            }
        }
    }

    /// The conversation: what a message means depends on what was said before.
    fn on_message(&mut self, state: State, message: Message) -> Option<Event> {
        match (state, message) {
            (State::Ungreeted(wanted), Message::AuthSuccess(found)) => match wanted {
                Some(wanted) if wanted != found => {
                    self.broken(Broken::WrongServer { wanted, found })
                }
                _ if self.newest == Version::V0 => self.ready(found, Version::V0),
                _ => {
                    let version = say(Message::Version(self.newest.number()));
                    self.now(State::Negotiating(found), Event::Say(version))
                }
            },
            (State::Ungreeted(_), Message::AuthFailure) => self.broken(Broken::TurnedAway),
            (State::Negotiating(server), Message::Version(theirs))
                if theirs <= self.newest.number() =>
            {
                self.ready(server, Version::up_to(theirs))
            }
            // It is older than versions.
            (State::Negotiating(server), Message::Error(_)) => self.ready(server, Version::V0),

            (State::Asked(awaited), message) => self.on_answer(awaited, message),
            (State::Unvouched, Message::Valid) => {
                self.now(State::Delivered, Event::End(Some(Verdict::Valid)))
            }
            (State::Unvouched, Message::Invalid) => {
                self.now(State::Delivered, Event::End(Some(Verdict::Doubtful)))
            }
            (State::Relaying, Message::Data(_)) => self.quietly(State::Relaying),
            (State::Relaying, Message::ConnectDone(code)) => {
                self.now(State::Closed, Event::ConnectDone(code))
            }
            (state @ State::Ungreeted(_), message) => {
                let line = say(message);
                self.on_misfit(state, line.trim_ascii_end())
            }
            (_, Message::Error(text)) => self.broken(Broken::GivenUp(text)),
            (state, message) => {
                let line = say(message);
                self.on_misfit(state, line.trim_ascii_end())
            }
        }
    }

    /// What came of a request.
    fn on_answer(&mut self, awaited: Awaited, message: Message) -> Option<Event> {
        let others = self.version.lists_others();
        let answer = match (awaited, message) {
            (Awaited::EmptyContent, Message::Valid) => {
                self.next = Some(Event::End(Some(Verdict::Valid)));
                return self.now(State::Delivered, Event::Answer(Answer::Content { len: 0 }));
            }
            (Awaited::EmptyContent, Message::Invalid) => return self.missing(),
            (Awaited::EmptyContent, Message::Error(text)) => {
                return self.broken(Broken::GivenUp(text));
            }
            (_, Message::Error(text)) => Answer::Refused(text),
            (Awaited::Presence, Message::Success) => Answer::Present(true),
            (Awaited::Presence, Message::Failure) => Answer::Present(false),
            (Awaited::Lock, Message::Success) => {
                return self.now(State::Locked, Event::Answer(Answer::Locked(true)));
            }
            (Awaited::Lock, Message::Failure) => Answer::Locked(false),
            (Awaited::Removal, Message::Success) => Answer::Removed(Removal::done()),
            (Awaited::Removal, Message::Failure) => Answer::Removed(Removal::refused()),
            (Awaited::Removal, Message::SuccessPlus(plus)) if others => {
                Answer::Removed(Removal { removed: true, plus })
            }
            (Awaited::Removal, Message::FailurePlus(plus)) if others => {
                Answer::Removed(Removal { removed: false, plus })
            }
            (Awaited::Time, Message::Timestamp(now)) => Answer::Time(now),
            (Awaited::Offset(key), Message::PutFrom(from)) => {
                let answer = Answer::Offset(PutOffset::From(from));
                return self.now(State::Offered { key, from }, Event::Answer(answer));
            }
            (Awaited::Offset(_), Message::AlreadyHave) => {
                Answer::Offset(PutOffset::AlreadyHave { plus: Vec::new() })
            }
            (Awaited::Offset(_), Message::AlreadyHavePlus(plus)) if others => {
                Answer::Offset(PutOffset::AlreadyHave { plus })
            }
            (Awaited::Stored, Message::Success) => Answer::Stored(Stored::default()),
            (Awaited::Stored, Message::SuccessPlus(plus)) if others => {
                Answer::Stored(Stored { plus })
            }
            (Awaited::Stored, Message::Failure) => Answer::NotStored,
            (Awaited::Stored, Message::FailurePlus(_)) if others => Answer::NotStored,
            (Awaited::Content { is_empty }, Message::Data(len)) => {
                return self.on_announcement(is_empty, len);
            }
            (Awaited::Change, Message::Changed(ids)) => Answer::Changed(ids),
            (awaited, message) => {
                let line = say(message);
                return self.on_misfit(State::Asked(awaited), line.trim_ascii_end());
            }
        };
        self.now(State::Idle, Event::Answer(answer))
    }

    /// `DATA` in its place.
    fn on_announcement(&mut self, is_empty: bool, len: u64) -> Option<Event> {
        let answer = Event::Answer(Answer::Content { len });
        match (len, self.version.tells_validity()) {
            (0, true) => self.quietly(State::Asked(Awaited::EmptyContent)),
            // An absent content looks the same. Unless the key tells that nothing is to come, it
            // must count as such (p2p-line §6.5, §13, 9).
            (0, false) if !is_empty => self.missing(),
            (0, false) => {
                self.next = Some(Event::End(None));
                self.now(State::Delivered, answer)
            }
            _ => self.now(State::Receiving, answer),
        }
    }

    /// Bytes after a `DATA`.
    fn on_data(&mut self, state: State, bytes: Bytes) -> Option<Event> {
        let all_came = self.decoder.data_left() == 0;
        let state = match state {
            State::Receiving if !all_came => State::Receiving,
            State::Receiving if self.version.tells_validity() => State::Unvouched,
            State::Receiving => {
                self.next = Some(Event::End(None));
                State::Delivered
            }
            State::Relaying => State::Relaying,
            state => return self.on_misfit(state, &bytes),
        };
        self.now(state, Event::Data(bytes))
    }

    /// Something that does not fit. Where the server waits for nothing it is told so.
    fn on_misfit(&mut self, state: State, line: &[u8]) -> Option<Event> {
        let found = Text::heard(&line[..line.len().min(Text::BYTES_MAX)]);
        let Some(wanted) = wanted(&state, self.version) else {
            return self.broken(Broken::Unexpected { wanted: "nothing", found });
        };
        let (error, broken) = match state {
            State::Ungreeted(_) => ("ERROR auth failed\n".into(), Broken::NoGreeting(found)),
            _ => (format!("ERROR expected {wanted}\n"), Broken::Unexpected { wanted, found }),
        };
        self.next = Some(Event::Broken(broken));
        self.now(State::Closed, Event::Say(error.into()))
    }

    fn ready(&mut self, server: Uuid, version: Version) -> Option<Event> {
        self.version = version;
        self.now(State::Idle, Event::Ready { server })
    }

    fn missing(&mut self) -> Option<Event> {
        self.next = Some(Event::Answer(Answer::Missing));
        self.now(State::Idle, Event::Say(say(Message::Failure)))
    }

    fn broken(&mut self, why: Broken) -> Option<Event> {
        self.now(State::Closed, Event::Broken(why))
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

/// What is awaited from the server, if anything is, in the words of the reference.
fn wanted(state: &State, version: Version) -> Option<&'static str> {
    Some(match state {
        State::Ungreeted(_) => "AUTH-SUCCESS",
        State::Negotiating(_) => "VERSION",
        State::Asked(Awaited::Presence | Awaited::Lock) => RESULT,
        State::Asked(Awaited::Removal | Awaited::Stored) if version.lists_others() => RESULT_PLUS,
        State::Asked(Awaited::Removal | Awaited::Stored) => RESULT,
        State::Asked(Awaited::Time) => "TIMESTAMP",
        State::Asked(Awaited::Offset(_)) => "PUT_FROM or ALREADY_HAVE",
        State::Asked(Awaited::Content { .. }) => "DATA",
        State::Asked(Awaited::EmptyContent) | State::Unvouched => "VALID or INVALID",
        State::Asked(Awaited::Change) => "CHANGED",
        State::Relaying => "DATA or CONNECTDONE",
        State::Idle
        | State::Offered { .. }
        | State::Sending(_)
        | State::Receiving
        | State::Delivered
        | State::Locked
        | State::Closed => return None,
    })
}

/// What is said here is always a message without a key, which fits on a line; what is shown of a
/// message that has one may be nothing.
fn say(message: Message) -> Bytes {
    message.line().unwrap_or_default()
}

const RESULT: &str = "SUCCESS or FAILURE";
const RESULT_PLUS: &str = "SUCCESS or SUCCESS-PLUS or FAILURE or FAILURE-PLUS";
