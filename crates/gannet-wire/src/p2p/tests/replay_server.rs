//! Our server says to the real client what the real server said, byte for byte.
//!
//! What came of each request is taken from the recording; how it is said, and all that no driver
//! is asked about, is the server's own.

use bytes::Bytes;
use gannet_core::{PutOffset, Removal, Stored, Verdict};

use super::super::server::{Close, Event, Server};
use super::super::*;
use super::recorded::{self, Recording, Step, TOKEN};

/// Where we do better on purpose: the recording, what of it the real server said, what we say.
/// Each is marked G in p2p-line, in the section named.
const DEVIATIONS: [(&str, &str, &str); 17] = [
    // §3: nothing but digits is a number.
    ("VERSION -1", "VERSION -1\n", "ERROR unknown command\n"),
    ("VERSION 1 2", "VERSION 1\n", "ERROR unknown command\n"),
    ("GET negative offset", "DATA 7\n", "ERROR unknown command\n"),
    // §6.4, §6.5: a client that gives up in the middle has given up; so the request after that is
    // not answered.
    ("GET answered by ERROR", "VALID\nSUCCESS\n", "VALID\n"),
    ("PUT then ERROR", "FAILURE\n", ""),
    // §6.4: never two replies to one request; never dead without a word.
    ("PUT garbage instead of VALID", "INVALID\nSUCCESS\n", "INVALID\n"),
    ("PUT negative DATA", "PUT-FROM 0\n", "PUT-FROM 0\nERROR expected DATA\n"),
    // §6.2: with a key it means the same.
    ("UNLOCKCONTENT with a key argument", "ERROR expected UNLOCKCONTENT\n", ""),
    // §2: one token for each connection.
    ("AUTH bad token", "AUTH-FAILURE\n*", "AUTH-FAILURE\n"),
    ("AUTH malformed token", "ERROR unknown command\n", "AUTH-FAILURE\n"),
    ("AUTH empty token", "AUTH-FAILURE\n*", "AUTH-FAILURE\n"),
    ("VERSION before AUTH", "ERROR unexpected command\n*", "ERROR unexpected command\n"),
    // §6.6: once is enough.
    ("CONNECT git-upload-pack", "CONNECTDONE 0\n*", "CONNECTDONE 0\n"),
    ("CONNECT then client CONNECTDONE", "CONNECTDONE 1\n*", "CONNECTDONE 1\n"),
    ("CONNECT then unexpected message", "CONNECTDONE 1\n*", "CONNECTDONE 1\n"),
    // §6.2, §9: a proxy answers what is out of place once it hears the next message.
    (
        "cluster over p2pstdio v4",
        "ERROR protocol error\n",
        "ERROR unexpected command\nERROR protocol error\n",
    ),
    (
        "cluster over p2pstdio v1",
        "ERROR protocol error\n",
        "ERROR unexpected command\nERROR protocol error\n",
    ),
];

#[test]
fn the_server_says_what_the_real_one_said() {
    let all = recorded::of_servers();
    assert_eq!(all.len(), 89 + 13 + 4 + 12);
    for recording in &all {
        let name = &recording.name;
        let deviation = DEVIATIONS.iter().find(|(of, ..)| of == name);
        let mut expected = Recording::by_server(&recording.steps);
        if let Some((_, theirs, ours)) = deviation {
            expected = instead(&expected, theirs, ours);
        }
        for stride in [1, 7, usize::MAX] {
            let mut replay = Replay::new(recording);
            replay.run(&recording.steps, stride);
            let said = replay.said.escape_ascii().to_string();
            assert_eq!(said, expected.escape_ascii().to_string(), "{name}, {stride} at once");
            // The reference's proxy dies of what it does not pass on; ours need not.
            let exit = recording.exit.filter(|_| !name.starts_with("proxied"));
            if let (Some(why), Some(exit), None) = (replay.closed, exit, deviation) {
                assert_eq!(why.is_clean(), exit == 0, "{name}: {why}");
            }
        }
    }
}

/// `said` with `ours` instead of `theirs`; after a `*` also instead of all that follows.
pub(super) fn instead(said: &[u8], theirs: &str, ours: &str) -> Vec<u8> {
    let text = String::from_utf8(said.to_vec()).unwrap();
    let replaced = match theirs.strip_suffix('*') {
        Some(theirs) => text.split_once(theirs).map(|(before, _)| format!("{before}{ours}")),
        None => Some(text.replace(theirs, ours)),
    };
    let replaced = replaced.unwrap_or_default();
    assert_ne!(replaced, text, "{theirs} is not in the recording");
    replaced.into()
}

struct Replay {
    server: Server,
    said: Vec<u8>,
    /// What the real server said to what the client said last.
    recorded: Vec<u8>,
    /// So much had been said before.
    said_before: usize,
    put: Option<Request>,
    relaying: bool,
    closed: Option<Close>,
    hung_up: bool,
}

impl Replay {
    fn new(recording: &Recording) -> Self {
        let starts_with_auth = matches!(&recording.steps[0], Step::Client(it) if it[0] != b'\n');
        let (server, said) = match recorded::greeter(&recording.steps) {
            Some(uuid) if !starts_with_auth => Server::greeting(&uuid, Version::NEWEST),
            _ => (Server::unauthenticated(Version::NEWEST), Bytes::new()),
        };
        Self {
            server,
            said: said.to_vec(),
            recorded: Vec::new(),
            said_before: 0,
            put: None,
            relaying: false,
            closed: None,
            hung_up: false,
        }
    }

    fn run(&mut self, steps: &[Step], stride: usize) {
        for (at, step) in steps.iter().enumerate() {
            let end = steps[at + 1..].iter().position(|it| !matches!(it, Step::Server(_)));
            let end = end.map_or(steps.len(), |end| at + 1 + end);
            self.recorded = Recording::by_server(&steps[at + 1..end]);
            self.said_before = self.said.len();
            match step {
                Step::Client(bytes) => {
                    for part in bytes.chunks(stride) {
                        self.server.feed(part);
                        self.serve();
                    }
                }
                Step::ClientEnd => {
                    self.server.finish();
                    self.serve();
                }
                Step::Start | Step::Server(_) | Step::ServerEnd => {}
            }
        }
    }

    /// What the real server said next.
    fn rest(&self) -> &[u8] {
        self.recorded.get(self.said.len() - self.said_before..).unwrap_or_default()
    }

    fn serve(&mut self) {
        while self.closed.is_none() && !self.hung_up {
            let Some(event) = self.server.pull() else { return };
            match event {
                Event::Say(bytes) => self.said.extend(bytes),
                Event::Auth { token, .. } => {
                    let right = token.is(&Token::parse(TOKEN.as_bytes()).unwrap());
                    let server = recorded::greeter(&[Step::Server(self.rest().to_vec())]);
                    self.hung_up = !right;
                    self.said.extend(match right {
                        true => self.server.admit(&server.unwrap()).unwrap(),
                        false => self.server.turn_away().unwrap(),
                    });
                }
                Event::Request(request @ Request::Put { .. }) => self.put = Some(request),
                Event::Request(request) => self.answer(&request),
                Event::End(_) => {
                    let put = self.put.take().unwrap();
                    self.answer(&put);
                }
                Event::Data(_) if self.relaying => self.relay(),
                Event::Data(_) | Event::Unlock | Event::Forsake => {}
                Event::ConnectDone(code) => {
                    self.said.extend(self.server.connect_done(code).unwrap());
                    self.hung_up = true;
                }
                Event::Close(why) => self.closed = Some(why),
            }
        }
    }

    /// Answers as the real server did; where it died without a word, hangs up.
    fn answer(&mut self, request: &Request) {
        let mut decoder = Decoder::default();
        decoder.feed(self.rest());
        let Ok(Some(Found::Message(message))) = decoder.pull() else {
            self.hung_up = true;
            return;
        };
        let answer = match (request, message) {
            (_, Message::Error(text)) => Answer::Refused(text),
            (Request::CheckPresent { .. }, message) => Answer::Present(message == Message::Success),
            (Request::LockContent { .. }, message) => Answer::Locked(message == Message::Success),
            (Request::Remove { .. } | Request::RemoveBefore { .. }, message) => {
                let removed = message == Message::Success;
                Answer::Removed(Removal { removed, plus: vec![] })
            }
            (Request::GetTimestamp, Message::Timestamp(time)) => Answer::Time(time),
            (Request::PutOffset { .. }, Message::PutFrom(n)) => Answer::Offset(PutOffset::From(n)),
            (Request::PutOffset { .. }, Message::AlreadyHave) => {
                Answer::Offset(PutOffset::AlreadyHave { plus: vec![] })
            }
            (Request::PutOffset { .. }, Message::AlreadyHavePlus(plus)) => {
                Answer::Offset(PutOffset::AlreadyHave { plus })
            }
            (_, Message::SuccessPlus(plus)) => Answer::Stored(Stored { plus }),
            (Request::Put { .. } | Request::PutPresent { .. }, message) => match message {
                Message::Success => Answer::Stored(Stored::default()),
                _ => Answer::NotStored,
            },
            (Request::NotifyChange, Message::Changed(ids)) => Answer::Changed(ids),
            (Request::Connect(_), Message::Data(_)) => Answer::Connected,
            (Request::Get { .. }, Message::Data(len)) => return self.send(len, decoder),
            (request, message) => panic!("{message:?} to {request:?}"),
        };
        self.relaying = answer == Answer::Connected;
        self.said.extend(self.server.answer(answer).unwrap());
        if self.relaying {
            self.relay();
        }
    }

    fn send(&mut self, len: u64, mut decoder: Decoder) {
        let data = match decoder.pull() {
            Ok(Some(Found::Data(data))) => data,
            Ok(Some(Found::Message(Message::Invalid))) if len == 0 => {
                self.said.extend(self.server.answer(Answer::Missing).unwrap());
                return;
            }
            _ => Bytes::new(),
        };
        self.said.extend(self.server.answer(Answer::Content { len }).unwrap());
        self.said.extend(self.server.pass(data).unwrap());
        self.said.extend(self.server.end(Verdict::Valid).unwrap());
    }

    /// Says all that the service said until the client spoke again.
    fn relay(&mut self) {
        let mut decoder = Decoder::default();
        decoder.feed(self.rest());
        while let Ok(Some(found)) = decoder.pull() {
            match found {
                Found::Data(data) => {
                    let relayed = self.server.relay(data).unwrap();
                    self.said.extend(relayed.concat());
                }
                Found::Message(Message::ConnectDone(code)) => {
                    self.said.extend(self.server.connect_done(code).unwrap());
                    self.hung_up = true;
                    return;
                }
                _ => {}
            }
        }
    }
}
