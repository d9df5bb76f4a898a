//! What is said out of turn, in every state of the server, has its defined answer.

use gannet_core::{AssociatedFile, Key, PutOffset, Stored, Verdict};
use proptest::prelude::*;

use super::super::server::{Close, Event, Server};
use super::super::*;
use super::arbitrary;
use super::pair::uuid;

/// A state of the server, and how it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Door,
    Ready,
    RefusedPut,
    Offered,
    Emptied,
    Unvouched,
    Delivered,
    Locked,
    Relaying,
}

const ALL: [At; 9] = [
    At::Door,
    At::Ready,
    At::RefusedPut,
    At::Offered,
    At::Emptied,
    At::Unvouched,
    At::Delivered,
    At::Locked,
    At::Relaying,
];

fn hear(server: &mut Server, line: &str) -> Vec<Event> {
    server.feed(line.as_bytes());
    std::iter::from_fn(|| server.pull()).collect()
}

fn ask(server: &mut Server, line: &str, answer: Answer) {
    hear(server, line);
    server.answer(answer).unwrap();
}

fn server(at: At, version: Version) -> Server {
    let mut server = match at {
        At::Door => return Server::unauthenticated(version),
        _ => Server::greeting(&uuid(), version).0,
    };
    hear(&mut server, "VERSION 4\n");
    let put = |server: &mut Server| {
        ask(server, "PUT a WORM--x\n", Answer::Offset(PutOffset::From(5)));
    };
    match at {
        At::Door | At::Ready => {}
        At::RefusedPut => {
            ask(&mut server, "PUT a WORM--x\n", Answer::Refused(Text::new(READ_ONLY)));
        }
        At::Offered => put(&mut server),
        At::Emptied => {
            put(&mut server);
            hear(&mut server, "DATA 0\n");
        }
        At::Unvouched => {
            put(&mut server);
            hear(&mut server, "DATA 2\nab");
        }
        At::Delivered => {
            ask(&mut server, "GET 0  WORM--x\n", Answer::Content { len: 0 });
            server.end(Verdict::Valid).unwrap();
        }
        At::Locked => ask(&mut server, "LOCKCONTENT WORM--x\n", Answer::Locked(true)),
        At::Relaying => ask(&mut server, "CONNECT git-upload-pack\n", Answer::Connected),
    }
    server
}

/// What the server says to `line`, and how that ends: `close`, or nothing if it goes on.
fn reaction(at: At, version: Version, line: &str) -> String {
    let mut told = String::new();
    for event in hear(&mut server(at, version), line) {
        told += match event {
            Event::Say(said) => {
                told += &String::from_utf8_lossy(&said).replace('\n', "; ");
                continue;
            }
            Event::Auth { .. } => "auth",
            Event::Request(_) => "request",
            Event::Data(_) => "data",
            Event::End(_) => "end",
            Event::Unlock => "unlock",
            Event::Forsake => "forsake; ",
            Event::ConnectDone(_) => "done",
            Event::Close(_) => "close",
        };
    }
    told
}

#[test]
fn every_state_has_an_answer_to_what_does_not_fit() {
    let others = |at: At, version: Version| match at {
        At::Door => "ERROR unexpected command; close",
        At::Ready | At::RefusedPut => "ERROR unexpected command; ",
        At::Offered => "ERROR expected DATA; ",
        At::Emptied | At::Unvouched => "ERROR expected VALID or INVALID; close",
        At::Delivered if version.lists_others() => {
            "ERROR expected SUCCESS or SUCCESS-PLUS or FAILURE or FAILURE-PLUS; "
        }
        At::Delivered => "ERROR expected SUCCESS or FAILURE; ",
        At::Locked => "forsake; ERROR expected UNLOCKCONTENT; ",
        At::Relaying => "ERROR expected DATA or CONNECTDONE; CONNECTDONE 1; close",
    };
    for version in Version::ALL {
        for at in ALL {
            if version == Version::V0 && matches!(at, At::Emptied | At::Unvouched) {
                continue; // version 0 has no such states
            }
            let odd = others(at, version);
            for line in ["AUTH-FAILURE\n", "ALREADY-HAVE\n", "TIMESTAMP 1\n", "CHANGED\n"] {
                assert_eq!(reaction(at, version, line), odd, "{at:?} {version:?} {line}");
            }
            let garbled = odd.replace("unexpected", "unknown");
            for line in ["FOO\n", "\n", "GET 0\n"] {
                assert_eq!(reaction(at, version, line), garbled, "{at:?} {version:?} {line}");
            }
            let error = if at == At::RefusedPut { "" } else { "close" };
            assert_eq!(reaction(at, version, "ERROR x\n"), error, "{at:?} {version:?}");
            let lost = garbled.trim_end_matches("close").trim_start_matches("forsake; ");
            let lost = format!("{lost}close");
            assert_eq!(reaction(at, version, "DATA -1\n"), lost, "{at:?} {version:?}");
            let asks = matches!(at, At::Ready | At::RefusedPut);
            for line in ["CHECKPRESENT WORM--x\n", "PUT  WORM--x\n", "NOTIFYCHANGE\n"] {
                let told = reaction(at, version, line);
                assert_eq!(told, if asks { "request" } else { odd }, "{at:?} {version:?} {line}");
            }
        }
    }
}

#[test]
fn what_fits_goes_on() {
    let cases = [
        (At::Door, "AUTH a b\n", "auth"),
        (At::Ready, "VERSION 9\n", "VERSION 4; "),
        (At::Ready, "BYPASS a\n", ""),
        (At::Offered, "DATA 3\nab", "requestdata"),
        (At::Offered, "DATA 3\nabcVALID\n", "requestdataend"),
        (At::Offered, "DATA-PRESENT\n", "request"),
        (At::Offered, "DATA 0\nINVALID\n", "FAILURE; "),
        (At::Offered, "DATA 18446744073709551614\n", "ERROR expected DATA; close"),
        (At::Emptied, "VALID\n", "requestend"),
        (At::Unvouched, "INVALID\n", "end"),
        (At::Delivered, "FAILURE\n", ""),
        (At::Delivered, "SUCCESS-PLUS a\n", ""),
        (At::Locked, "UNLOCKCONTENT\n", "unlock"),
        (At::Locked, "UNLOCKCONTENT WORM--x\n", "unlock"),
        (At::Relaying, "DATA 2\nabDATA 1\nc", "datadata"),
        (At::Relaying, "CONNECTDONE 1\n", "done"),
    ];
    for (at, line, told) in cases {
        assert_eq!(reaction(at, Version::V4, line), told, "{at:?} {line}");
    }
    assert_eq!(reaction(At::Offered, Version::V3, "DATA-PRESENT\n"), "ERROR expected DATA; ");
    assert_eq!(reaction(At::Offered, Version::V0, "DATA 0\n"), "requestend");
    assert_eq!(reaction(At::Offered, Version::V0, "DATA 1\nx"), "requestdataend");
    let plus = reaction(At::Delivered, Version::V1, "SUCCESS-PLUS a\n");
    assert_eq!(plus, "ERROR expected SUCCESS or FAILURE; ");
}

/// The bytes of a content may say anything, but not on behalf of the client.
#[test]
fn data_that_nobody_asked_for_is_not_taken_for_messages() {
    for at in [At::Ready, At::RefusedPut, At::Delivered, At::Locked] {
        let mut server = server(at, Version::V4);
        let events = hear(&mut server, "DATA 14\nREMOVE WORM--xCHECKPRESENT WORM--y\n");
        let key = Key::parse(b"WORM--y").unwrap();
        assert_eq!(events.last(), Some(&Event::Request(Request::CheckPresent { key })));
        let said = |event: &&Event| !matches!(event, Event::Say(_) | Event::Forsake);
        assert_eq!(events.iter().filter(said).count(), 1, "{at:?}");
    }
}

#[test]
fn the_end_of_the_connection_says_what_became_of_it() {
    for at in ALL {
        let (lost, told) = match at {
            At::Emptied | At::Unvouched => (true, "FAILURE; close"),
            At::Offered | At::Relaying => (true, "close"),
            _ => (false, "close"),
        };
        for rest in ["", "CHECKPRES"] {
            let mut server = server(at, Version::V4);
            server.feed(rest.as_bytes());
            server.finish();
            let events: Vec<_> = std::iter::from_fn(|| server.pull()).collect();
            let why = if lost { Close::Lost } else { Close::Ended };
            assert_eq!(events.last(), Some(&Event::Close(why.clone())), "{at:?}");
            assert_eq!(events.len(), told.split(' ').count(), "{at:?}");
            assert_eq!(why.is_clean(), !lost);
        }
    }
    let mut server = server(At::Ready, Version::V4);
    server.feed(&vec![b'x'; LINE_BYTES_MAX]);
    assert_eq!(server.pull(), Some(Event::Close(Close::LineTooLong)));
    assert_eq!(server.pull(), None);
}

#[test]
fn what_was_sent_ahead_is_answered_in_order_though_the_client_is_gone() {
    let mut server = server(At::Ready, Version::V4);
    server.feed(b"GETTIMESTAMP\nCHECKPRESENT WORM--x\n");
    server.finish();
    assert_eq!(server.pull(), Some(Event::Request(Request::GetTimestamp)));
    assert_eq!(server.pull(), None);
    server.answer(Answer::Refused(Text::new("no"))).unwrap();
    assert!(matches!(server.pull(), Some(Event::Request(Request::CheckPresent { .. }))));
    assert_eq!(server.answer(Answer::Present(true)).unwrap(), "SUCCESS\n");
    assert_eq!(server.pull(), Some(Event::Close(Close::Ended)));
}

#[test]
fn an_answer_that_does_not_fit_ends_the_connection() {
    let key = Key::parse(b"WORM--x").unwrap();
    let mut early = server(At::Offered, Version::V4);
    assert_eq!(
        hear(&mut early, "DATA 3\na").first(),
        Some(&Event::Request(Request::Put {
            key,
            file: AssociatedFile("a".into()),
            from: 5,
            len: 3,
        }))
    );
    assert_eq!(early.answer(Answer::Stored(Stored::default())), Err(MustClose::OutOfTurn));
    assert_eq!(hear(&mut early, "bcVALID\n"), []);
    let mut wrong = server(At::Ready, Version::V4);
    hear(&mut wrong, "GETTIMESTAMP\n");
    assert_eq!(wrong.answer(Answer::Present(true)), Err(MustClose::OutOfTurn));
    assert_eq!(wrong.answer(Answer::Present(true)), Err(MustClose::OutOfTurn));
    let mut more = server(At::Ready, Version::V4);
    ask(&mut more, "GET 0  WORM--x\n", Answer::Content { len: 1 });
    assert_eq!(more.pass("ab".into()), Err(MustClose::TooMuch));
    assert_eq!(more.end(Verdict::Valid), Err(MustClose::OutOfTurn));
}

/// Everything a driver did and said, with adjacent data joined.
#[derive(Debug, Default, PartialEq)]
struct Minutes {
    said: Vec<u8>,
    events: Vec<Event>,
}

/// Serves whatever comes, with answers that depend on the request alone.
fn serve<'a>(parts: impl Iterator<Item = &'a [u8]>, version: Version) -> Minutes {
    let (mut server, greeting) = Server::greeting(&uuid(), version);
    let mut minutes = Minutes { said: greeting.to_vec(), events: Vec::new() };
    let mut put = None;
    for part in parts {
        server.feed(part);
        while attend(&mut server, &mut minutes, &mut put) {}
        let kept = server.inbox().len();
        let closed = matches!(minutes.events.last(), Some(Event::Close(_)));
        assert!(closed || kept < LINE_BYTES_MAX, "{kept} bytes are kept");
    }
    server.finish();
    while attend(&mut server, &mut minutes, &mut put) {}
    assert!(matches!(minutes.events.last(), Some(Event::Close(_))));
    assert_eq!(server.pull(), None);
    minutes
}

fn attend(server: &mut Server, minutes: &mut Minutes, put: &mut Option<Request>) -> bool {
    let Some(event) = server.pull() else { return false };
    match (minutes.events.last_mut(), &event) {
        (_, Event::Say(said)) => {
            minutes.said.extend(said);
            return true;
        }
        (Some(Event::Data(before)), Event::Data(data)) => {
            *before = [&before[..], &data[..]].concat().into();
        }
        _ => minutes.events.push(event.clone()),
    }
    let answer = match event {
        Event::Request(request @ Request::Put { .. }) => {
            *put = Some(request);
            return true;
        }
        Event::Request(request) => answer(&request),
        Event::End(_) => answer(&put.take().expect("an end without a put")),
        Event::ConnectDone(code) => {
            minutes.said.extend(server.connect_done(code).unwrap());
            minutes.events.push(Event::Close(Close::Ended));
            return false;
        }
        _ => return true,
    };
    minutes.said.extend(server.answer(answer.clone()).unwrap());
    if let Answer::Content { len } = answer {
        let content = vec![b'c'; usize::try_from(len).unwrap()];
        minutes.said.extend(server.pass(content.into()).unwrap());
        minutes.said.extend(server.end(Verdict::Valid).unwrap());
    }
    true
}

fn answer(request: &Request) -> Answer {
    match request {
        Request::CheckPresent { key } => Answer::Present(key.as_bytes().len() % 2 == 0),
        Request::LockContent { .. } => Answer::Locked(true),
        Request::PutOffset { key, .. } if key.backend() == b"URL" => {
            Answer::Refused(Text::new(READ_ONLY))
        }
        Request::PutOffset { .. } => Answer::Offset(PutOffset::From(3)),
        Request::Put { .. } | Request::PutPresent { .. } => Answer::Stored(Stored::default()),
        Request::Get { from, .. } if *from % 3 == 0 => Answer::Missing,
        Request::Get { from, .. } => Answer::Content { len: *from % 100 },
        Request::Connect(Service::UploadPack) => Answer::Connected,
        _ => Answer::Refused(Text::new("no")),
    }
}

proptest! {
    #[test]
    fn however_split_a_server_does_the_same(
        stretches in prop::collection::vec(arbitrary::stretch(), 0..20),
        version in prop::sample::select(Version::ALL.to_vec()),
        stride in 1..50_usize,
    ) {
        let stream = [&b"VERSION 4\n"[..], &stretches.concat()].concat();
        let whole = serve(std::iter::once(&stream[..]), version);
        prop_assert_eq!(serve(stream.chunks(1), version), whole);
        let whole = serve(std::iter::once(&stream[..]), version);
        prop_assert_eq!(serve(stream.chunks(stride), version), whole);
    }

    #[test]
    fn no_client_makes_a_server_panic(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20),
    ) {
        serve(parts.iter().map(Vec::as_slice), Version::V4);
    }
}
