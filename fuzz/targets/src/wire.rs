//! What comes over wires.

use bytes::Bytes;
use gannet_core::place::{Levels, Scheme, hash_dirs as dirs, log_path};
use gannet_core::{Key, PutOffset, Removal, Stored, Timestamp, Uuid, Verdict};
use gannet_wire::external;
use gannet_wire::http::{self, Head, Login, Preconditions, Routes, UnlockScanner};
use gannet_wire::p2p::client::Event as ClientEvent;
use gannet_wire::p2p::server::Event;
use gannet_wire::p2p::{
    Answer, Client, LINE_BYTES_MAX, Message, Request, Server, Service, Text, Version,
};
use gannet_wire::spell;

pub(crate) fn key(text: &[u8]) {
    let Ok(key) = Key::parse(text) else { return };
    assert_eq!(Key::parse(key.as_bytes()), Ok(key.clone()), "a key is read back");
    let name = key.file_name();
    assert_eq!(Key::from_file_name(&name), Ok(key.clone()), "its file name leads back to it");
    if key.check_storable().is_ok() {
        assert!(!name.contains(&b'/') && !name.contains(&0), "and is one");
    }
    let mut checker = gannet_core::backend::Checker::new(&key);
    checker.update(text);
    drop(checker.finish());
}

pub(crate) fn uuid(text: &[u8]) {
    if let Ok(uuid) = Uuid::parse(text) {
        assert_eq!(uuid.as_str().as_bytes(), text);
        assert!(!text.contains(&b'/') && text != b"." && text != b"..", "it is safe in a path");
    }
    if let Ok(uuid) = spell::client_uuid(text) {
        assert_eq!(Uuid::parse(uuid.as_str().as_bytes()), Ok(uuid));
    }
}

pub(crate) fn spelling(text: &[u8]) {
    let spelled = spell::spell(text);
    assert_eq!(spell::read(spelled.as_bytes()).as_deref(), Ok(text));
    if let Ok(value) = spell::read(text) {
        let again = spell::spell(&value);
        assert_eq!(spell::read(again.as_bytes()).as_deref(), Ok(&*value));
    }
}

pub(crate) fn external_lines(text: &[u8]) {
    let Ok(key) = Key::parse(b"SHA256-s10--84d8") else { return };
    let requests = [
        external::Request::Begin,
        external::Request::Extensions,
        external::Request::Prepare,
        external::Request::GetCost,
        external::Request::Store(key.clone(), Vec::new()),
        external::Request::Retrieve(key.clone(), Vec::new()),
        external::Request::CheckPresent(key.clone()),
        external::Request::Remove(key),
    ];
    let mut unread = text.to_vec();
    while let Ok(Some(line)) = external::take_line(&mut unread) {
        assert!(!line.contains(&b'\n'), "a line is a line");
        for request in &requests {
            drop(request.hear(&line));
        }
        let answer = external::value(&line);
        assert!(answer.is_ok_and(|answer| answer.iter().filter(|&&it| it == b'\n').count() == 1));
    }
}

pub(crate) fn hash_dirs(text: &[u8]) {
    let Ok(key) = Key::parse(text) else { return };
    for levels in [Levels::One, Levels::Two] {
        for scheme in [Scheme::Mixed, Scheme::Lower] {
            let dirs = dirs(scheme, levels, &key);
            assert!(
                dirs.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/'),
                "{dirs}"
            );
        }
        let path = log_path(levels, &key, ".log");
        assert!(!path.starts_with(b"/") && path.ends_with(b".log"));
    }
}

pub(crate) fn http_request(text: &[u8]) {
    let mut words = text.splitn(3, |&byte| byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Ok(method) = std::str::from_utf8(method) else { return };
    let (path, query) = match target.iter().position(|&byte| byte == b'?') {
        Some(mark) => (&target[..mark], &target[mark + 1..]),
        None => (target, &b""[..]),
    };
    let data_length = words.next();
    let read = |routes: Routes| routes.read(Head { method, path, query, data_length });
    drop(read(Routes::below("/sub/dir")));
    match read(Routes::default()) {
        Ok(call) => {
            let written = call.write();
            let (path, query) = written.target.split_once('?').unwrap_or((&written.target, ""));
            let len = written.data_length.map(|len| len.to_string());
            let again = Routes::default().read(Head {
                method: if call.head_only { "HEAD" } else { written.method },
                path: path.as_bytes(),
                query: query.as_bytes(),
                data_length: len.as_ref().map(|len| len.as_bytes()),
            });
            assert_eq!(again, Ok(call), "a call is read back");
        }
        Err(refusal) => {
            assert!((400..500).contains(&refusal.status()), "a refusal is the client's fault");
            assert!(!refusal.to_string().contains('\n'), "it is one line");
        }
    }
}

pub(crate) fn http_headers(text: &[u8]) {
    if let Some(login) = Login::parse(text) {
        let (standard, url) = login.headers();
        for header in std::iter::once(standard).chain(url) {
            assert_eq!(Login::parse(header.as_bytes()), Some(login.clone()));
        }
    }
    let (one, other) = text.split_at(text.len() / 2);
    let preconditions =
        Preconditions { range: Some(text), if_none_match: Some(one), if_range: Some(other) };
    drop(preconditions.select(Some("\"etag\""), 10));
}

pub(crate) fn http_results(text: &[u8]) {
    drop((http::result::present(text), http::result::lock(text), http::result::removal(text)));
    drop((http::result::stored(text), http::result::put_offset(text)));
    drop(http::result::timestamp(text));
}

pub(crate) fn unlock(text: &[u8]) {
    let whole = UnlockScanner::default().feed(text);
    let mut scanner = UnlockScanner::default();
    let mut bytewise = Ok(false);
    for byte in text {
        bytewise = scanner.feed(&[*byte]);
        if bytewise != Ok(false) {
            break;
        }
    }
    assert_eq!(whole, bytewise, "however it is split");
}

pub(crate) fn line_message(text: &[u8]) {
    let Ok(message) = Message::parse(text) else { return };
    if let Ok(line) = message.line() {
        assert!(line.len() <= LINE_BYTES_MAX && line.ends_with(b"\n"));
        assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let read = Message::parse(&line[..line.len() - 1]).expect("what is written is read");
        assert_eq!(read.line(), message.line(), "and written in the same way");
    }
}

/// The first byte says how the driver answers; the rest is what the client says.
pub(crate) fn line_server(bytes: &[u8]) {
    let Some((&mood, said)) = bytes.split_first() else { return };
    let uuid = Uuid::parse(b"s-1").expect("a uuid");
    let mut server = match mood & 1 {
        0 => Server::greeting(&uuid, Version::NEWEST).0,
        _ => Server::unauthenticated(Version::NEWEST),
    };
    let piece = usize::from(mood >> 4) + 1;
    let mut pieces = said.chunks(piece);
    loop {
        while let Some(event) = server.pull() {
            match event {
                Event::Auth { .. } if mood & 2 == 0 => drop(server.admit(&uuid).expect("asked")),
                Event::Auth { .. } => drop(server.turn_away().expect("asked")),
                Event::Request(request) => {
                    if !matches!(request, Request::Put { .. }) {
                        answer(&mut server, &request, mood);
                    }
                }
                Event::End(_) => {
                    let stored = Answer::Stored(Stored::default());
                    server.answer(stored).expect("a put is answered after its end");
                }
                Event::ConnectDone(code) => drop(server.connect_done(code)),
                Event::Close(_) => {
                    assert_eq!(server.pull(), None, "nothing comes after the end");
                    return;
                }
                Event::Say(_) | Event::Data(_) | Event::Unlock | Event::Forsake => {}
            }
        }
        match pieces.next() {
            Some(piece) => server.feed(piece),
            None => break,
        }
        assert!(server.inbox().len() <= LINE_BYTES_MAX + said.len().min(1 << 16));
    }
    server.finish();
    while let Some(event) = server.pull() {
        if matches!(event, Event::Close(_)) {
            return;
        }
        if let Event::Request(request) = event {
            answer(&mut server, &request, mood);
        }
    }
}

fn answer(server: &mut Server, request: &Request, mood: u8) {
    let yes = mood & 4 == 0;
    let plus = vec![Uuid::parse(b"p-1").expect("a uuid")];
    let answer = match request {
        _ if mood & 8 != 0 => Answer::Refused(Text::new("no\nno")),
        Request::CheckPresent { .. } => Answer::Present(yes),
        Request::LockContent { .. } => Answer::Locked(yes),
        Request::Remove { .. } | Request::RemoveBefore { .. } => {
            Answer::Removed(Removal { removed: yes, plus })
        }
        Request::GetTimestamp => Answer::Time(Timestamp { seconds: 7 }),
        Request::PutOffset { .. } if yes => Answer::Offset(PutOffset::From(1)),
        Request::PutOffset { .. } => Answer::Offset(PutOffset::AlreadyHave { plus }),
        Request::Put { .. } | Request::PutPresent { .. } if yes => Answer::Stored(Stored { plus }),
        Request::Put { .. } | Request::PutPresent { .. } => Answer::NotStored,
        Request::Get { .. } if yes => {
            drop(server.answer(Answer::Content { len: 3 }).expect("asked"));
            drop(server.pass(Bytes::from_static(b"abc")).expect("three bytes"));
            drop(server.end(Verdict::Valid).expect("three bytes"));
            return;
        }
        Request::Get { .. } => Answer::Missing,
        Request::Connect(Service::UploadPack | Service::ReceivePack) => Answer::Connected,
        Request::NotifyChange => Answer::Changed(vec![Bytes::from_static(b"0123")]),
    };
    drop(server.answer(answer).expect("each request has its answer"));
}

/// The first byte says what the client asks; the rest is what the server says.
pub(crate) fn line_client(bytes: &[u8]) {
    let Some((&mood, said)) = bytes.split_first() else { return };
    let newest = Version::ALL[usize::from(mood % 5)];
    let mut client = Client::new(newest, None);
    let key = || Key::parse(b"WORM-s3--k").expect("a key");
    let mut asked = usize::from(mood >> 4);
    let mut pieces = said.chunks(usize::from(mood >> 3) % 7 + 1);
    loop {
        while let Some(event) = client.pull() {
            match event {
                ClientEvent::Ready { .. } | ClientEvent::Answer(_) => {
                    asked += 1;
                    let request = match asked % 7 {
                        0 => Request::CheckPresent { key: key() },
                        1 => Request::Get { key: key(), file: Default::default(), from: 0 },
                        2 => Request::PutOffset { key: key(), file: Default::default() },
                        3 => Request::LockContent { key: key() },
                        4 => Request::Remove { key: key() },
                        5 => Request::GetTimestamp,
                        _ => Request::NotifyChange,
                    };
                    // Whatever is not possible now is refused, and nothing has happened.
                    drop((client.ask(&request), client.is_idle(), client.version()));
                }
                ClientEvent::End(_) => drop(client.taken(true).expect("all of it came")),
                ClientEvent::Broken(why) => {
                    assert!(!why.to_string().contains('\n'), "an error is one line");
                    assert_eq!(client.pull(), None, "nothing comes after the end");
                    assert!(!client.is_idle());
                    return;
                }
                ClientEvent::Say(_) | ClientEvent::Data(_) | ClientEvent::ConnectDone(_) => {}
            }
        }
        match pieces.next() {
            Some(piece) => client.feed(piece),
            None => break,
        }
    }
    client.finish();
    while client.pull().is_some() {}
    assert!(!client.is_idle(), "what has ended is of no more use");
}
