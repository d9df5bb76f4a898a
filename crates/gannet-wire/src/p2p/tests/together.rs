//! Both sides, in every pair of versions: what one asks the other hears, and what came of it too.

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, PutOffset, Removal, Stored, Timestamp, Uuid, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::client::{Event, Unasked};
use super::super::*;
use super::arbitrary;
use super::pair::{Pair, Reply, Seen};

/// One request, and what becomes of it.
#[derive(Clone, Debug)]
enum Talk {
    Plain(Request, Answer),
    Get(Key, AssociatedFile, u64, Option<(Vec<u8>, Verdict)>),
    Put(Key, AssociatedFile, u64, Put),
    Lock(Key, bool),
    Bypass(Vec<Uuid>),
}

/// What a client does about an offset.
#[derive(Clone, Debug)]
enum Put {
    Data(Vec<u8>, Verdict, Answer),
    Present(Answer),
    Decline,
}

fn talk() -> impl Strategy<Value = Talk> {
    use arbitrary::{file, key, uuids};
    let refused = || "[ -~]{0,20}".prop_map(|text| Answer::Refused(Text::new(text)));
    let verdict = || prop_oneof![3 => Just(Verdict::Valid), 1 => Just(Verdict::Doubtful)];
    let removed = || {
        let removal = (any::<bool>(), uuids())
            .prop_map(|(removed, plus)| Answer::Removed(Removal { removed, plus }));
        prop_oneof![3 => removal, 1 => refused()]
    };
    let stored = || {
        prop_oneof![
            uuids().prop_map(|plus| Answer::Stored(Stored { plus })),
            Just(Answer::NotStored),
            refused(),
        ]
    };
    let time = || any::<u64>().prop_map(|seconds| Timestamp { seconds });
    let have = uuids().prop_map(|plus| Answer::Offset(PutOffset::AlreadyHave { plus }));
    let plain = prop_oneof![
        (key(), prop_oneof![any::<bool>().prop_map(Answer::Present), refused()])
            .prop_map(|(key, answer)| (Request::CheckPresent { key }, answer)),
        (key(), removed()).prop_map(|(key, answer)| (Request::Remove { key }, answer)),
        (key(), time(), removed())
            .prop_map(|(key, deadline, it)| (Request::RemoveBefore { key, deadline }, it)),
        time().prop_map(|time| (Request::GetTimestamp, Answer::Time(time))),
        (key(), file(), prop_oneof![have, refused()])
            .prop_map(|(key, file, answer)| (Request::PutOffset { key, file }, answer)),
        vec("[0-9a-f]{40}".prop_map(Bytes::from), 0..4)
            .prop_map(|ids| (Request::NotifyChange, Answer::Changed(ids))),
    ];
    let data = || vec(any::<u8>(), 0..40);
    let put = prop_oneof![
        3 => (data(), verdict(), stored()).prop_map(|(data, verdict, answer)| {
            Put::Data(data, verdict, answer)
        }),
        1 => stored().prop_map(Put::Present),
        1 => Just(Put::Decline),
    ];
    prop_oneof![
        6 => plain.prop_map(|(request, answer)| Talk::Plain(request, answer)),
        3 => (key(), file(), 0..9_u64, proptest::option::of((data(), verdict())))
            .prop_map(|(key, file, from, content)| Talk::Get(key, file, from, content)),
        3 => (key(), file(), 0..9_u64, put)
            .prop_map(|(key, file, from, put)| Talk::Put(key, file, from, put)),
        1 => (key(), any::<bool>()).prop_map(|(key, locked)| Talk::Lock(key, locked)),
        1 => uuids().prop_map(Talk::Bypass),
    ]
}

/// What is left of an answer in a version that has no lists.
fn narrowed(answer: Answer, version: Version) -> Answer {
    match answer {
        _ if version.lists_others() => answer,
        Answer::Removed(it) => Answer::Removed(Removal { plus: vec![], ..it }),
        Answer::Stored(_) => Answer::Stored(Stored::default()),
        Answer::Offset(PutOffset::AlreadyHave { .. }) => {
            Answer::Offset(PutOffset::AlreadyHave { plus: vec![] })
        }
        answer => answer,
    }
}

impl Pair {
    fn say(&mut self, bytes: Bytes) {
        self.to_server.extend(bytes);
    }

    fn ask(&mut self, request: &Request, replies: Vec<Reply>) -> Vec<Event> {
        self.replies = replies;
        let bytes = self.client.ask(request).unwrap();
        self.say(bytes);
        self.run()
    }

    /// Talks; returns whether the connection can go on.
    fn talk(&mut self, talk: Talk) -> bool {
        let version = self.client.version();
        assert!(self.client.is_idle());
        self.seen.clear();
        match talk {
            Talk::Plain(request, answer) => self.plain(&request, answer, version),
            Talk::Get(key, file, from, content) => {
                return self.get(key, file, from, content, version);
            }
            Talk::Put(key, file, from, put) => return self.put(key, file, from, put, version),
            Talk::Lock(key, locked) => {
                let request = Request::LockContent { key };
                let reply = Reply::Answer(Answer::Locked(locked));
                let events = self.ask(&request, vec![reply]);
                assert_eq!(events, [Event::Answer(Answer::Locked(locked))]);
                if locked {
                    assert!(!self.client.is_idle());
                    let bytes = self.client.unlock().unwrap();
                    self.say(bytes);
                    assert_eq!(self.run(), []);
                    assert_eq!(self.seen, [Seen::Request(request), Seen::Unlock]);
                }
            }
            Talk::Bypass(uuids) => match self.client.bypass(&uuids) {
                Ok(bytes) => {
                    self.say(bytes);
                    assert_eq!(self.run(), []);
                    assert!(uuids.iter().all(|uuid| self.server.bypass().contains(uuid)));
                }
                Err(why) => {
                    assert_eq!(why, Unasked::NotInVersion(version));
                    assert!(version < Version::V2);
                }
            },
        }
        true
    }

    fn plain(&mut self, request: &Request, answer: Answer, version: Version) {
        let deadlines = matches!(request, Request::RemoveBefore { .. } | Request::GetTimestamp);
        if deadlines && version < Version::V3 {
            assert_eq!(self.client.ask(request), Err(Unasked::NotInVersion(version)));
            return;
        }
        let events = self.ask(request, vec![Reply::Answer(answer.clone())]);
        assert_eq!(events, [Event::Answer(narrowed(answer, version))]);
        assert_eq!(self.seen, [Seen::Request(request.clone())]);
    }

    fn get(
        &mut self,
        key: Key,
        file: AssociatedFile,
        from: u64,
        content: Option<(Vec<u8>, Verdict)>,
        version: Version,
    ) -> bool {
        let ends = key.size().is_some_and(|size| size <= from);
        let request = Request::Get { key, file, from };
        let reply = match &content {
            Some((data, verdict)) => Reply::Content(data.clone().into(), *verdict),
            None => Reply::Answer(Answer::Missing),
        };
        let events = self.ask(&request, vec![reply]);
        assert_eq!(self.seen, [Seen::Request(request)]);
        let Some((data, verdict)) = content else {
            match version.tells_validity() {
                true => assert_eq!(events, [Event::Answer(Answer::Missing)]),
                false => assert!(matches!(events[..], [Event::Answer(Answer::Refused(_))])),
            }
            return true;
        };
        let answer = Event::Answer(Answer::Content { len: data.len() as u64 });
        if verdict == Verdict::Doubtful && !version.tells_validity() {
            let events: Vec<_> = events.into_iter().chain(self.cut()).collect();
            assert!(matches!(events.last(), Some(Event::Broken(client::Broken::Lost))));
            assert!(!events.iter().any(|event| matches!(event, Event::End(_))));
            return false;
        }
        let looks_missing = match version.tells_validity() {
            true => verdict == Verdict::Doubtful,
            false => !ends,
        };
        if data.is_empty() && looks_missing {
            assert_eq!(events, [Event::Answer(Answer::Missing)]);
            return true;
        }
        let verdict = version.tells_validity().then_some(verdict);
        let mut expected = vec![answer];
        if !data.is_empty() {
            expected.push(Event::Data(data.into()));
        }
        expected.push(Event::End(verdict));
        assert_eq!(events, expected);
        assert!(!self.client.is_idle());
        let bytes = self.client.taken(verdict == Some(Verdict::Valid)).unwrap();
        self.say(bytes);
        assert_eq!(self.run(), []);
        true
    }

    fn put(
        &mut self,
        key: Key,
        file: AssociatedFile,
        from: u64,
        put: Put,
        version: Version,
    ) -> bool {
        let ask = Request::PutOffset { key: key.clone(), file: file.clone() };
        let offset = Answer::Offset(PutOffset::From(from));
        let events = self.ask(&ask, vec![Reply::Answer(offset.clone())]);
        assert_eq!(events, [Event::Answer(offset)]);
        assert!(!self.client.is_idle());
        let answer = match put {
            Put::Data(data, verdict, answer) => {
                self.replies = vec![Reply::Answer(answer.clone())];
                let len = data.len() as u64;
                let request = Request::Put { key, file, from, len };
                let bytes = self.client.ask(&request).unwrap();
                self.say(bytes);
                for piece in data.chunks(7) {
                    let bytes = self.client.pass(Bytes::copy_from_slice(piece)).unwrap();
                    self.say(bytes);
                }
                match self.client.end(verdict) {
                    Ok(bytes) => self.say(bytes),
                    Err(why) => {
                        assert_eq!(why, MustClose::Doubtful);
                        assert_eq!((version, verdict), (Version::V0, Verdict::Doubtful));
                        self.run();
                        self.server.finish();
                        self.run();
                        assert!(!self.seen.iter().any(|seen| matches!(seen, Seen::Data(..))));
                        return false;
                    }
                }
                let events = self.run();
                if data.is_empty() && verdict == Verdict::Doubtful {
                    assert_eq!(events, [Event::Answer(Answer::NotStored)]);
                    assert_eq!(self.seen, [Seen::Request(ask)]);
                    return true;
                }
                assert_eq!(events, [Event::Answer(narrowed(answer, version))]);
                let verdict = version.tells_validity().then_some(verdict);
                let put = [Seen::Request(ask), Seen::Request(request), Seen::Data(data, verdict)];
                assert_eq!(self.seen, put);
                return true;
            }
            Put::Present(answer) if version.has_data_present() => {
                let request = Request::PutPresent { key, file };
                let events = self.ask(&request, vec![Reply::Answer(answer.clone())]);
                assert_eq!(events, [Event::Answer(answer)]);
                assert_eq!(self.seen, [Seen::Request(ask), Seen::Request(request)]);
                return true;
            }
            Put::Present(_) => {
                let request = Request::PutPresent { key, file };
                assert_eq!(self.client.ask(&request), Err(Unasked::NotInVersion(version)));
                self.client.decline()
            }
            Put::Decline => self.client.decline(),
        };
        match answer {
            Ok(bytes) => {
                self.say(bytes);
                assert_eq!(self.run(), [Event::Answer(Answer::NotStored)]);
                assert_eq!(self.seen, [Seen::Request(ask)]);
                true
            }
            Err(why) => {
                assert_eq!((why, version), (MustClose::Offered, Version::V0));
                false
            }
        }
    }
}

proptest! {
    #[test]
    fn every_pair_of_versions_understands_each_other(
        talks in vec(talk(), 0..12),
        stride in 1..100_usize,
    ) {
        for ours in Version::ALL {
            for theirs in Version::ALL {
                let mut pair = Pair::new(ours, theirs, stride);
                prop_assert_eq!(pair.client.version(), ours.min(theirs));
                prop_assert_eq!(pair.server.version(), ours.min(theirs));
                for talk in talks.clone() {
                    if !pair.talk(talk) {
                        pair = Pair::new(ours, theirs, stride);
                    }
                }
                prop_assert!(pair.client.is_idle());
            }
        }
    }
}
