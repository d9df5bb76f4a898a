//! Each message on its line, and lines that are none.

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, Timestamp, Uuid};
use proptest::prelude::*;

use super::super::*;
use super::arbitrary;

const KEY: &str = "SHA256E-s6--5891b5b522d5df08.txt";

fn key() -> Key {
    Key::parse(KEY.as_bytes()).unwrap()
}

fn uuid(text: &str) -> Uuid {
    Uuid::parse(text.as_bytes()).unwrap()
}

fn file(name: &'static str) -> AssociatedFile {
    AssociatedFile(name.into())
}

#[test]
fn messages_are_written_as_git_annex_writes_them() {
    let at = |seconds| Timestamp { seconds };
    let cases = [
        (Message::AuthSuccess(uuid("a-1")), "AUTH-SUCCESS a-1"),
        (Message::AuthFailure, "AUTH-FAILURE"),
        (Message::Version(4), "VERSION 4"),
        (Message::Bypass(vec![uuid("a"), uuid("b")]), "BYPASS a b"),
        (Message::Bypass(vec![]), "BYPASS"),
        (Message::CheckPresent(key()), "CHECKPRESENT KEY"),
        (Message::LockContent(key()), "LOCKCONTENT KEY"),
        (Message::UnlockContent, "UNLOCKCONTENT"),
        (Message::Remove(key()), "REMOVE KEY"),
        (Message::RemoveBefore { deadline: at(5528), key: key() }, "REMOVE-BEFORE 5528 KEY"),
        (Message::GetTimestamp, "GETTIMESTAMP"),
        (Message::Timestamp(at(4929)), "TIMESTAMP 4929"),
        (Message::Put { file: file(""), key: key() }, "PUT  KEY"),
        (Message::Put { file: file("s p%c.txt"), key: key() }, "PUT s%p%%c.txt KEY"),
        (Message::PutFrom(5), "PUT-FROM 5"),
        (Message::AlreadyHave, "ALREADY-HAVE"),
        (Message::AlreadyHavePlus(vec![uuid("a")]), "ALREADY-HAVE-PLUS a"),
        (Message::Data(9), "DATA 9"),
        (Message::DataPresent, "DATA-PRESENT"),
        (Message::Valid, "VALID"),
        (Message::Invalid, "INVALID"),
        (Message::Get { from: 0, file: file(""), key: key() }, "GET 0  KEY"),
        (Message::Get { from: 3, file: file("a b"), key: key() }, "GET 3 a%b KEY"),
        (Message::Success, "SUCCESS"),
        (Message::Failure, "FAILURE"),
        (Message::SuccessPlus(vec![uuid("a"), uuid("b")]), "SUCCESS-PLUS a b"),
        (Message::FailurePlus(vec![]), "FAILURE-PLUS"),
        (Message::Connect(Service::UploadPack), "CONNECT git-upload-pack"),
        (Message::Connect(Service::ReceivePack), "CONNECT git-receive-pack"),
        (Message::ConnectDone(0), "CONNECTDONE 0"),
        (Message::ConnectDone(-15), "CONNECTDONE -15"),
        (Message::NotifyChange, "NOTIFYCHANGE"),
        (Message::Changed(vec!["28cb".into(), "b6a4".into()]), "CHANGED 28cb b6a4"),
        (Message::Error(Text::new("no way")), "ERROR no way"),
        (Message::Error(Text::new("")), "ERROR"),
    ];
    for (message, line) in cases {
        let line = line.replace("KEY", KEY);
        assert_eq!(message.line().unwrap(), format!("{line}\n"));
        assert_eq!(Message::parse(line.as_bytes()), Ok(message), "{line}");
    }
}

#[test]
fn peers_may_write_otherwise() {
    let longest = u64::MAX;
    let spaced = Key::parse(b" SHA256E-s6--a  ").unwrap();
    let raw = Key::parse(b"WORM-s3-m1--\xff\xfe").unwrap();
    let cases: [(&[u8], Message); 14] = [
        (b"VERSION 4 ", Message::Version(4)),
        (b"VERSION  007", Message::Version(7)),
        (b"VERSION 99999999999999999999999", Message::Version(longest)),
        (b"SUCCESS ", Message::Success),
        (b"SUCCESS\t", Message::Success),
        (b"VERSION\t4", Message::Version(4)),
        (b"UNLOCKCONTENT WORM--x", Message::UnlockContent),
        (b"CHECKPRESENT  SHA256E-s6--a  ", Message::CheckPresent(spaced)),
        (b"CHECKPRESENT WORM-s3-m1--\xff\xfe", Message::CheckPresent(raw.clone())),
        (b"BYPASS  a\t\tb ", Message::Bypass(vec![uuid("a"), uuid("b")])),
        (b"SUCCESS-PLUS a b/c d", Message::SuccessPlus(vec![uuid("a"), uuid("d")])),
        (
            b"GET 18446744073709551616  WORM-s3-m1--\xff\xfe",
            Message::Get { from: longest, file: file(""), key: raw.clone() },
        ),
        (
            b"REMOVE-BEFORE 18446744073709551616 WORM-s3-m1--\xff\xfe",
            Message::RemoveBefore { deadline: Timestamp { seconds: longest }, key: raw },
        ),
        (b"CHANGED", Message::Changed(vec![])),
    ];
    for (line, message) in cases {
        assert_eq!(Message::parse(line), Ok(message), "{}", line.escape_ascii());
    }
    for (line, name) in [("AUTH a/b t", "a_b"), ("AUTH a", "a"), ("AUTH .. ", ".._")] {
        match Message::parse(line.as_bytes()) {
            Ok(Message::Auth { client, .. }) => assert_eq!(client, uuid(name)),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn other_lines_are_no_messages() {
    for line in ["", " ", "FOO", "checkpresent WORM--x", " SUCCESS", "SUCCESS\u{a0}", "MAYBE"] {
        assert_eq!(Message::parse(line.as_bytes()), Err(Unparsable::Name), "{line:?}");
    }
    for line in [
        "VERSION",
        "VERSION ",
        "VERSION abc",
        "VERSION 4.0",
        "VERSION -1",
        "VERSION +1",
        "VERSION 1 2",
        "VERSION 0x1",
        "CHECKPRESENT",
        "CHECKPRESENT notakey",
        "SUCCESS  ",
        "SUCCESS x",
        "GETTIMESTAMP x",
        "UNLOCKCONTENT x",
        "GET",
        "GET 0 WORM--x",
        "GET x  WORM--x",
        "GET -1  WORM--x",
        "GET 0 /abs WORM--x",
        "PUT WORM--x",
        "PUT /a WORM--x",
        "REMOVE-BEFORE x WORM--x",
        "REMOVE-BEFORE WORM--x",
        "CONNECT git-frob",
        "CONNECT",
        "CONNECT git-upload-pack ",
        "CONNECTDONE",
        "CONNECTDONE x",
        "CONNECTDONE +1",
        "CONNECTDONE 99999999999",
        "AUTH",
        "AUTH  t",
        "AUTH-SUCCESS",
        "AUTH-SUCCESS a b",
        "PUT-FROM -1",
        "PUT-FROM 18446744073709551616",
        "TIMESTAMP x",
    ] {
        assert_eq!(Message::parse(line.as_bytes()), Err(Unparsable::Parameter), "{line:?}");
    }
    for line in ["DATA", "DATA -4", "DATA x", "DATA 18446744073709551616", "DATA 1 2"] {
        assert_eq!(Message::parse(line.as_bytes()), Err(Unparsable::DataLength), "{line:?}");
    }
}

/// Otherwise a key could say something else to the peer than what it names.
#[test]
fn what_would_end_the_line_is_not_written() {
    let remove = |name: &[u8]| Message::Remove(Key::parse(name).unwrap()).line();
    assert_eq!(remove(b"WORM--x\nREMOVE WORM--y"), Err(Unspeakable::Newline));
    assert_eq!(remove(b"WORM--x\r"), Err(Unspeakable::Newline));
    assert!(remove(b"WORM--x\ry").is_ok());
    let sized = |len: usize| remove(&[b"WORM--", &vec![b'x'; len - 13][..]].concat());
    assert_eq!(sized(LINE_BYTES_MAX), Err(Unspeakable::TooLong));
    assert_eq!(sized(LINE_BYTES_MAX - 1).unwrap().len(), LINE_BYTES_MAX);
    let put = Message::Put { file: file("a\nREMOVE b"), key: key() };
    assert_eq!(put.line().unwrap(), format!("PUT a%REMOVE%b {KEY}\n"));
    let error = Message::parse(b"ERROR x\r\r").unwrap();
    assert_eq!(error.line().unwrap(), "ERROR x\n");
}

#[test]
fn lists_are_cut_short_where_a_line_ends() {
    let many = vec![uuid("5e5e5e5e-0000-4000-8000-000000000001"); 1000];
    let line = Message::SuccessPlus(many).line().unwrap();
    assert!((LINE_BYTES_MAX - 37..=LINE_BYTES_MAX).contains(&line.len()), "{}", line.len());
    let Ok(Message::SuccessPlus(read)) = Message::parse(line.trim_ascii_end()) else { panic!() };
    assert_eq!(read.len(), 885);
    let odd = vec![Bytes::from("a b"), Bytes::from("\n"), Bytes::new(), Bytes::from("c")];
    assert_eq!(Message::Changed(odd).line().unwrap(), "CHANGED c\n");
    let long = [b"ERROR ", &vec![b'x'; LINE_BYTES_MAX][..]].concat();
    let Ok(long) = Message::parse(&long) else { panic!() };
    assert_eq!(long.line().unwrap().len(), LINE_BYTES_MAX);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(message in arbitrary::message()) {
        let line = message.line().unwrap();
        let (end, text) = line.split_last().unwrap();
        prop_assert_eq!(*end, b'\n');
        prop_assert!(!text.contains(&b'\n'));
        prop_assert_eq!(Message::parse(text), Ok(message));
    }

    /// What was understood of a peer's line can be said again, and means the same.
    #[test]
    fn no_line_panics(
        name in "(AUTH|VERSION|GET|PUT|DATA|REMOVE-BEFORE|CONNECTDONE|BYPASS|CHANGED|ERROR|)",
        rest in prop::collection::vec(any::<u8>().prop_filter("LF", |&it| it != b'\n'), 0..60),
    ) {
        let line = [name.as_bytes(), &rest[..]].concat();
        if let Ok(message) = Message::parse(&line)
            && let Ok(line) = message.line()
        {
            prop_assert_eq!(Message::parse(&line[..line.len() - 1]).unwrap().line(), Ok(line));
        }
    }
}
