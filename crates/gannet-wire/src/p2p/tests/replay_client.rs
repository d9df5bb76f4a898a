//! Our client says to a server what the real client said, byte for byte, when it is asked for the
//! same.

use std::mem;

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, PutOffset, Verdict};

use super::super::client::{Client, Event};
use super::super::*;
use super::pair::uuid;
use super::recorded::{self, Recording, Step};
use super::replay_server::instead;

/// Where we do better on purpose: the recording, what of it the real client said, what we say.
/// Each is marked G in p2p-line, in the section named.
const DEVIATIONS: [(&str, &str, &str); 6] = [
    // §2: nothing more is said to a stranger.
    ("AUTH-SUCCESS with another uuid", "VERSION 4\n", ""),
    // §3, §6.4: who cannot be understood is not spoken to any longer.
    ("VERSION answered by something else", "VERSION\n*", "VERSION\n"),
    ("PUT: SUCCESS-PLUS on version 1", "or FAILURE\n*", "or FAILURE\n"),
    // §6.4, "Refused PUT": an error is not answered by an error.
    ("PUT: ERROR (write refused)", "ERROR expected PUT_FROM or ALREADY_HAVE\n", ""),
    // §6.5: what may be absent is not taken for empty.
    ("GET: absent on version 0", "SUCCESS\n", "FAILURE\n"),
    (
        "copy --to of three files, server read-only (GIT_ANNEX_SHELL_READONLY): second file fails \
         because the client ERROR closed the connection",
        "ERROR expected PUT_FROM or ALREADY_HAVE\n",
        "",
    ),
];

#[test]
fn the_client_says_what_the_real_one_said() {
    let all = recorded::of_clients();
    let mut connections = 0;
    for recording in &all {
        let name = &recording.name;
        let starts = recording.steps.split(|step| *step == Step::Start).skip(1);
        let deviation = DEVIATIONS.iter().find(|(of, ..)| name.starts_with(of));
        for steps in starts {
            connections += 1;
            let mut expected = Recording::by_client(steps);
            if let Some((_, theirs, ours)) = deviation {
                expected = instead(&expected, theirs, ours);
            }
            for stride in [1, 7, usize::MAX] {
                // Replies that were recorded as one stream must not come before they are due.
                let due = if recording.exit.is_none() && name.ends_with(')') { 1 } else { stride };
                let mut replay = Replay::new(steps, expected.clone());
                replay.run(steps, due);
                let said = replay.said.escape_ascii().to_string();
                assert_eq!(said, expected.escape_ascii().to_string(), "{name}, {due} at once");
            }
        }
    }
    assert_eq!((all.len(), connections), (55 + 12, 49 + 12));
}

struct Replay {
    client: Client,
    said: Vec<u8>,
    /// What is to be said: tells what to ask for.
    expected: Vec<u8>,
    asked: Option<(Key, AssociatedFile)>,
}

impl Replay {
    fn new(steps: &[Step], expected: Vec<u8>) -> Self {
        // Only one recording has a server that is not the one that was wanted.
        let wanted = match recorded::greeter(steps) {
            Some(found) if !found.as_str().starts_with("c1c1") => found,
            _ => uuid(),
        };
        let client = Client::new(Version::NEWEST, Some(wanted));
        Self { client, said: Vec::new(), expected, asked: None }
    }

    fn run(&mut self, steps: &[Step], stride: usize) {
        for step in steps {
            match step {
                Step::Server(bytes) => {
                    for part in bytes.chunks(stride) {
                        self.client.feed(part);
                        self.listen();
                    }
                }
                Step::ServerEnd => {
                    self.client.finish();
                    self.listen();
                }
                Step::Start | Step::Client(_) | Step::ClientEnd => {}
            }
        }
    }

    /// What is to be said next.
    fn next(&self) -> Option<Message> {
        let mut decoder = Decoder::default();
        decoder.feed(self.expected.get(self.said.len()..)?);
        match decoder.pull() {
            Ok(Some(Found::Message(message))) => Some(message),
            _ => None,
        }
    }

    fn say(&mut self, bytes: Bytes) {
        self.said.extend(bytes);
    }

    fn listen(&mut self) {
        while let Some(event) = self.client.pull() {
            match event {
                Event::Say(bytes) => self.say(bytes),
                Event::Answer(Answer::Offset(PutOffset::From(from))) => self.put(from),
                Event::Answer(Answer::Locked(true)) => {
                    assert_eq!(self.next(), Some(Message::UnlockContent));
                    let bytes = self.client.unlock().unwrap();
                    self.say(bytes);
                }
                Event::End(_) => {
                    let taken = self.next() == Some(Message::Success);
                    let bytes = self.client.taken(taken).unwrap();
                    self.say(bytes);
                }
                _ => {}
            }
        }
        if self.client.is_idle() {
            self.ask();
        }
    }

    fn ask(&mut self) {
        let request = match self.next() {
            Some(Message::CheckPresent(key)) => Request::CheckPresent { key },
            Some(Message::LockContent(key)) => Request::LockContent { key },
            Some(Message::Remove(key)) => Request::Remove { key },
            Some(Message::RemoveBefore { deadline, key }) => {
                Request::RemoveBefore { key, deadline }
            }
            Some(Message::GetTimestamp) => Request::GetTimestamp,
            Some(Message::Get { from, file, key }) => Request::Get { key, file, from },
            Some(Message::Put { file, key }) => {
                self.asked = Some((key.clone(), file.clone()));
                Request::PutOffset { key, file }
            }
            _ => return,
        };
        let bytes = self.client.ask(&request).unwrap();
        self.say(bytes);
    }

    fn put(&mut self, from: u64) {
        let mut decoder = Decoder::default();
        decoder.feed(&self.expected[self.said.len()..]);
        let Ok(Some(Found::Message(Message::Data(len)))) = decoder.pull() else { panic!() };
        let (key, file) = mem::take(&mut self.asked).unwrap();
        let put = Request::Put { key, file, from, len };
        let bytes = self.client.ask(&put).unwrap();
        self.say(bytes);
        if len > 0 {
            let Ok(Some(Found::Data(data))) = decoder.pull() else { panic!() };
            let bytes = self.client.pass(data).unwrap();
            self.say(bytes);
        }
        let bytes = self.client.end(Verdict::Valid).unwrap();
        self.say(bytes);
    }
}
