//! What a client makes of servers that are old, odd, or lost.

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, PutOffset, Uuid, Verdict};
use proptest::prelude::*;

use super::super::client::{Broken, Client, Event, Unasked};
use super::super::*;
use super::arbitrary;
use super::pair::uuid;

const GREETING: &str = "AUTH-SUCCESS 5e5e5e5e-0000-4000-8000-000000000001\n";

fn hear(client: &mut Client, said: &str) -> Vec<Event> {
    client.feed(said.as_bytes());
    std::iter::from_fn(|| client.pull()).collect()
}

/// A client that has agreed on a version.
fn client(version: Version) -> Client {
    let mut client = Client::new(Version::V4, Some(uuid()));
    hear(&mut client, GREETING);
    let ready = hear(&mut client, &format!("VERSION {}\n", version.number()));
    assert_eq!(ready, [Event::Ready { server: uuid() }]);
    assert!(client.is_idle());
    client
}

fn key() -> Key {
    Key::parse(b"WORM-s5--x").unwrap()
}

fn file() -> AssociatedFile {
    AssociatedFile::default()
}

/// Each request that begins a conversation, and what the reference says it expects.
fn requests() -> Vec<(Request, &'static str)> {
    let plus = "SUCCESS or SUCCESS-PLUS or FAILURE or FAILURE-PLUS";
    vec![
        (Request::CheckPresent { key: key() }, "SUCCESS or FAILURE"),
        (Request::LockContent { key: key() }, "SUCCESS or FAILURE"),
        (Request::Remove { key: key() }, plus),
        (Request::GetTimestamp, "TIMESTAMP"),
        (Request::PutOffset { key: key(), file: file() }, "PUT_FROM or ALREADY_HAVE"),
        (Request::Get { key: key(), file: file(), from: 0 }, "DATA"),
        (Request::NotifyChange, "CHANGED"),
    ]
}

#[test]
fn a_greeting_comes_first_and_from_the_right_server() {
    let says = |newest, said: &str| {
        let mut client = Client::new(newest, Some(uuid()));
        let events = hear(&mut client, said);
        (client.version(), client.is_idle(), events)
    };
    let version = |number| Event::Say(format!("VERSION {number}\n").into());
    let ready = Event::Ready { server: uuid() };
    let agreed = |said: &str| says(Version::V3, &format!("{GREETING}{said}"));
    assert_eq!(agreed("VERSION 3\n"), (Version::V3, true, vec![version(3), ready.clone()]));
    assert_eq!(agreed("VERSION 1\r\n"), (Version::V1, true, vec![version(3), ready.clone()]));
    assert_eq!(agreed("ERROR what?\n"), (Version::V0, true, vec![version(3), ready.clone()]));
    assert_eq!(says(Version::V0, GREETING), (Version::V0, true, vec![ready]));
    let found = Uuid::parse(b"other").unwrap();
    let wrong = Broken::WrongServer { wanted: uuid(), found };
    assert_eq!(says(Version::V4, "AUTH-SUCCESS other\n").2, [Event::Broken(wrong)]);
    let turned_away = [Event::Broken(Broken::TurnedAway)];
    assert_eq!(says(Version::V4, "AUTH-FAILURE\n").2, turned_away);
    let failed = Event::Say("ERROR auth failed\n".into());
    for banner in ["Welcome!", "SUCCESS", "VERSION 4", "AUTH-SUCCESS a b"] {
        let events = says(Version::V4, &format!("{banner}\n{GREETING}")).2;
        let broken = Event::Broken(Broken::NoGreeting(Text::new(banner)));
        assert_eq!(events, [failed.clone(), broken], "{banner}");
    }
    for odd in ["VERSION 4", "VERSION x", "FOO", "SUCCESS"] {
        let broken = Broken::Unexpected { wanted: "VERSION", found: Text::new(odd) };
        let error = Event::Say("ERROR expected VERSION\n".into());
        let events = agreed(&format!("{odd}\n")).2;
        assert_eq!(events, [version(3), error, Event::Broken(broken)], "{odd}");
    }
}

#[test]
fn an_error_ends_a_request_and_leaves_the_connection_of_use() {
    for version in [Version::V3, Version::V4] {
        for (request, _) in requests() {
            let mut client = client(version);
            client.ask(&request).unwrap();
            assert!(!client.is_idle());
            assert_eq!(client.ask(&request), Err(Unasked::Busy));
            let events = hear(&mut client, "ERROR no\n");
            assert_eq!(events, [Event::Answer(Answer::Refused(Text::new("no")))]);
            assert!(client.is_idle(), "{request:?}");
        }
    }
}

#[test]
fn what_does_not_fit_makes_the_connection_useless() {
    for (request, wanted) in requests() {
        for odd in ["MAYBE", "UNLOCKCONTENT", "AUTH-FAILURE", "DATA x", "VALID", ""] {
            let mut client = client(Version::V4);
            client.ask(&request).unwrap();
            let error = Event::Say(format!("ERROR expected {wanted}\n").into());
            let broken = Broken::Unexpected { wanted, found: Text::new(odd) };
            let events = hear(&mut client, &format!("{odd}\nSUCCESS\n"));
            assert_eq!(events, [error, Event::Broken(broken)], "{request:?}");
            assert!(!client.is_idle());
            assert_eq!(client.ask(&request), Err(Unasked::Busy));
        }
        let mut lost = client(Version::V4);
        lost.ask(&request).unwrap();
        lost.feed(b"SUCC");
        lost.finish();
        assert_eq!(lost.pull(), Some(Event::Broken(Broken::Lost)));
        assert_eq!(lost.pull(), None);
    }
}

#[test]
fn lists_are_a_fault_where_the_version_has_none() {
    for (version, goes_on) in [(Version::V1, false), (Version::V2, true)] {
        for plus in ["SUCCESS-PLUS a\n", "FAILURE-PLUS\n"] {
            let mut client = client(version);
            client.ask(&Request::Remove { key: key() }).unwrap();
            hear(&mut client, plus);
            assert_eq!(client.is_idle(), goes_on, "{version:?} {plus}");
        }
        let mut client = client(version);
        client.ask(&Request::PutOffset { key: key(), file: file() }).unwrap();
        hear(&mut client, "ALREADY-HAVE-PLUS a\n");
        assert_eq!(client.is_idle(), goes_on, "{version:?}");
    }
    let mut client = client(Version::V4);
    client.ask(&Request::CheckPresent { key: key() }).unwrap();
    assert!(matches!(hear(&mut client, "SUCCESS-PLUS a\n")[..], [_, Event::Broken(_)]));
}

#[test]
fn what_nobody_asked_for_is_noticed_before_the_connection_is_used_again() {
    let mut client = client(Version::V4);
    client.feed(b"SUCC");
    assert!(!client.is_idle());
    let events = hear(&mut client, "ESS\n");
    let broken = Broken::Unexpected { wanted: "nothing", found: Text::new("SUCCESS") };
    assert_eq!(events, [Event::Broken(broken)]);
    let mut ended = self::client(Version::V4);
    ended.finish();
    assert!(!ended.is_idle());
    assert_eq!(ended.pull(), Some(Event::Broken(Broken::Lost)));
}

/// In the middle of data nothing can be said that would not be taken for data.
#[test]
fn a_server_that_speaks_while_a_content_is_sent_is_not_answered() {
    for said in ["ERROR disk full\n", "SUCCESS\n", "FOO\n"] {
        let mut client = client(Version::V4);
        client.ask(&Request::PutOffset { key: key(), file: file() }).unwrap();
        let offset = Event::Answer(Answer::Offset(PutOffset::From(0)));
        assert_eq!(hear(&mut client, "PUT-FROM 0\n"), [offset]);
        let wrong = Request::Put { key: key(), file: file(), from: 1, len: 4 };
        assert_eq!(client.ask(&wrong), Err(Unasked::Busy));
        client.ask(&Request::Put { key: key(), file: file(), from: 0, len: 5 }).unwrap();
        client.pass("ab".into()).unwrap();
        assert!(matches!(hear(&mut client, said)[..], [Event::Broken(_)]), "{said}");
        assert_eq!(client.pass("c".into()), Err(MustClose::OutOfTurn));
    }
}

#[test]
fn a_content_that_breaks_off_has_no_end() {
    for (version, said) in
        [(Version::V4, "DATA 5\nabcd"), (Version::V4, "DATA 5\nabcde"), (Version::V0, "DATA 5\na")]
    {
        let mut client = client(version);
        client.ask(&Request::Get { key: key(), file: file(), from: 0 }).unwrap();
        hear(&mut client, said);
        client.finish();
        assert_eq!(client.pull(), Some(Event::Broken(Broken::Lost)));
    }
    let mut doubtful = client(Version::V1);
    doubtful.ask(&Request::Get { key: key(), file: file(), from: 0 }).unwrap();
    let events = hear(&mut doubtful, "DATA 2\nabINVALID\n");
    assert_eq!(events.last(), Some(&Event::End(Some(Verdict::Doubtful))));
    assert_eq!(doubtful.taken(false).unwrap(), "FAILURE\n");
    assert!(doubtful.is_idle());
}

/// Version 0 says `DATA 0` of an absent content too.
#[test]
fn in_version_0_no_data_is_a_content_only_if_the_key_says_so() {
    for (name, from, is_content) in [
        ("WORM-s0--x", 0, true),
        ("WORM-s5--x", 5, true),
        ("WORM-s5--x", 0, false),
        ("URL--x", 0, false),
    ] {
        let mut client = client(Version::V0);
        let key = Key::parse(name.as_bytes()).unwrap();
        client.ask(&Request::Get { key, file: file(), from }).unwrap();
        let expected = match is_content {
            true => [Event::Answer(Answer::Content { len: 0 }), Event::End(None)],
            false => [Event::Say("FAILURE\n".into()), Event::Answer(Answer::Missing)],
        };
        assert_eq!(hear(&mut client, "DATA 0\n"), expected, "{name}");
    }
}

#[test]
fn what_cannot_be_asked_leaves_the_connection_as_it_was() {
    let mut client = client(Version::V2);
    let evil = Key::parse(b"WORM--x\nREMOVE WORM--y").unwrap();
    let unspeakable = Err(Unasked::Unspeakable(Unspeakable::Newline));
    assert_eq!(client.ask(&Request::CheckPresent { key: evil }), unspeakable);
    let old = Err(Unasked::NotInVersion(Version::V2));
    assert_eq!(client.ask(&Request::GetTimestamp), old);
    assert!(client.is_idle());
    let file = AssociatedFile(Bytes::from(vec![b'f'; LINE_BYTES_MAX]));
    let get = Request::Get { key: key(), file, from: 7 };
    assert_eq!(client.ask(&get).unwrap(), "GET 7  WORM-s5--x\n");
}

#[test]
fn a_service_is_spoken_to_until_it_is_done() {
    let token = Token::parse(b"secret").unwrap();
    let me = Uuid::parse(b"me").unwrap();
    let (mut client, auth) = Client::with_token(Version::V0, None, me, token);
    assert_eq!(auth, "AUTH me secret\n");
    hear(&mut client, GREETING);
    let connect = Request::Connect(Service::UploadPack);
    assert_eq!(client.ask(&connect).unwrap(), "CONNECT git-upload-pack\n");
    let data = |text: &'static str| Event::Data(text.into());
    assert_eq!(hear(&mut client, "DATA 3\nabcDATA 1\nd"), [data("abc"), data("d")]);
    assert_eq!(client.relay("0000".into()).unwrap().concat(), b"DATA 4\n0000");
    // The reference says it twice.
    let done = hear(&mut client, "CONNECTDONE 3\nCONNECTDONE 3\n");
    assert_eq!(done, [Event::ConnectDone(3)]);
    assert!(!client.is_idle());
}

/// Asks for one thing after the other, whatever comes; returns what was said and what happened.
fn converse<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<Event>) {
    let mut client = client(Version::V2);
    let (mut said, mut seen) = (Vec::new(), Vec::new());
    let mut requests = requests().into_iter().map(|(request, _)| request).cycle();
    for part in parts {
        client.feed(part);
        loop {
            let bytes = match client.pull() {
                Some(Event::Say(bytes)) => bytes,
                Some(Event::Answer(Answer::Locked(true))) => client.unlock().unwrap(),
                Some(Event::Answer(Answer::Offset(PutOffset::From(_)))) => {
                    client.decline().unwrap()
                }
                Some(Event::End(_)) => client.taken(true).unwrap(),
                Some(event) => {
                    match (seen.last_mut(), event) {
                        (Some(Event::Data(before)), Event::Data(data)) => {
                            *before = [&before[..], &data[..]].concat().into();
                        }
                        (_, event) => seen.push(event),
                    }
                    continue;
                }
                None => break,
            };
            said.extend(bytes);
        }
        let broken = matches!(seen.last(), Some(Event::Broken(_)));
        assert!(broken || client.inbox().len() < LINE_BYTES_MAX, "too much is kept");
        if client.is_idle() {
            said.extend(client.ask(&requests.next().unwrap()).into_iter().flatten());
        }
    }
    (said, seen)
}

proptest! {
    #[test]
    fn however_split_a_client_hears_the_same(
        stretches in prop::collection::vec(arbitrary::stretch(), 0..6),
        at in 0..7_usize,
        stride in 1..40_usize,
    ) {
        let stream = stretches.concat();
        let hear = |stride: usize| {
            let mut client = client(Version::V4);
            client.ask(&requests()[at].0).unwrap();
            let mut seen: Vec<Event> = Vec::new();
            for part in stream.chunks(stride) {
                client.feed(part);
                while let Some(event) = client.pull() {
                    match (seen.last_mut(), event) {
                        (Some(Event::Data(before)), Event::Data(data)) => {
                            *before = [&before[..], &data[..]].concat().into();
                        }
                        (_, event) => seen.push(event),
                    }
                }
            }
            seen
        };
        let whole = hear(usize::MAX);
        prop_assert_eq!(hear(1), whole.clone());
        prop_assert_eq!(hear(stride), whole);
    }

    #[test]
    fn no_server_makes_a_client_panic(
        stretches in prop::collection::vec(
            prop_oneof![
                4 => arbitrary::stretch(),
                4 => prop::sample::select(vec![
                    &b"SUCCESS\n"[..], b"FAILURE\n", b"TIMESTAMP 5\n", b"PUT-FROM 3\n",
                    b"DATA 3\nabcVALID\n", b"DATA 0\nINVALID\n", b"CHANGED a\n", b"ERROR x\n",
                ]).prop_map(<[u8]>::to_vec),
                1 => prop::collection::vec(any::<u8>(), 0..2000),
            ],
            0..30,
        ),
    ) {
        let (_, seen) = converse(stretches.iter().map(Vec::as_slice));
        let broken = seen.iter().position(|event| matches!(event, Event::Broken(_)));
        prop_assert!(broken.is_none_or(|at| at + 1 == seen.len()));
    }
}
