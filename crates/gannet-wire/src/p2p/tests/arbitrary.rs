//! Messages of all kinds.

use bytes::Bytes;
use gannet_core::{AssociatedFile, Key, Timestamp, Uuid};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::*;

pub(super) fn key() -> impl Strategy<Value = Key> {
    let plain = "(SHA256E|WORM|URL|XFOO)(-s[0-9]{1,6})?(-m[0-9]{1,6})?--[a-z0-9/%&: .-]{0,30}";
    let raw = vec(any::<u8>(), 0..20).prop_map(|name| [b"WORM-s1-m1--", &name[..]].concat());
    prop_oneof![plain.prop_map(String::into_bytes), raw]
        .prop_filter_map("a key on a line", |text| Key::parse(&text).ok().filter(speakable))
}

fn speakable(key: &Key) -> bool {
    !key.as_bytes().contains(&b'\n') && !key.as_bytes().ends_with(b"\r")
}

pub(super) fn uuid() -> impl Strategy<Value = Uuid> {
    "[!-.0-~]{1,40}".prop_filter_map("a uuid", |text| Uuid::parse(text.as_bytes()).ok())
}

pub(super) fn uuids() -> impl Strategy<Value = Vec<Uuid>> {
    vec(uuid(), 0..4)
}

/// Names that survive being written: writing is lossy (§5).
pub(super) fn file() -> impl Strategy<Value = AssociatedFile> {
    prop_oneof![
        Just(AssociatedFile::default()),
        "[a-z]( ?[a-z/.\u{e9}]){0,12}".prop_map(|name| AssociatedFile(name.into())),
        "[a-z][a-z/%.]{0,20}".prop_map(|name| AssociatedFile(name.into())),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    "[ -~\u{e9}]{0,40}".prop_map(Text::new)
}

fn service() -> impl Strategy<Value = Service> {
    prop_oneof![Just(Service::UploadPack), Just(Service::ReceivePack)]
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(|seconds| Timestamp { seconds })
}

pub(super) fn message() -> impl Strategy<Value = Message> {
    let ids = vec("[0-9a-f]{1,40}".prop_map(Bytes::from), 0..5);
    let token = "[a-z0-9]{1,128}".prop_filter_map("a token", |it| Token::parse(it.as_bytes()));
    let plain = proptest::sample::select(vec![
        Message::AuthFailure,
        Message::UnlockContent,
        Message::GetTimestamp,
        Message::AlreadyHave,
        Message::DataPresent,
        Message::Valid,
        Message::Invalid,
        Message::Success,
        Message::Failure,
        Message::NotifyChange,
    ]);
    prop_oneof![
        3 => plain,
        1 => (uuid(), token).prop_map(|(client, token)| Message::Auth { client, token }),
        1 => uuid().prop_map(Message::AuthSuccess),
        1 => any::<u64>().prop_map(Message::Version),
        1 => uuids().prop_map(Message::Bypass),
        3 => prop_oneof![
            key().prop_map(Message::CheckPresent),
            key().prop_map(Message::LockContent),
            key().prop_map(Message::Remove),
            (time(), key()).prop_map(|(deadline, key)| Message::RemoveBefore { deadline, key }),
            (file(), key()).prop_map(|(file, key)| Message::Put { file, key }),
            (any::<u64>(), file(), key())
                .prop_map(|(from, file, key)| Message::Get { from, file, key }),
        ],
        1 => time().prop_map(Message::Timestamp),
        1 => any::<u64>().prop_map(Message::PutFrom),
        1 => uuids().prop_map(Message::AlreadyHavePlus),
        2 => (0..40u64).prop_map(Message::Data),
        1 => uuids().prop_map(Message::SuccessPlus),
        1 => uuids().prop_map(Message::FailurePlus),
        1 => service().prop_map(Message::Connect),
        1 => any::<i32>().prop_map(Message::ConnectDone),
        1 => ids.prop_map(Message::Changed),
        1 => text().prop_map(Message::Error),
    ]
}

/// A stretch of a stream: messages with their data, now and then something else.
pub(super) fn stretch() -> impl Strategy<Value = Vec<u8>> {
    let spoken = message().prop_map(|message| {
        let mut bytes = message.line().unwrap().to_vec();
        if let Message::Data(len) = message {
            bytes.extend((0..len).map(|at| b"x\nDATA 3\r "[usize::try_from(at % 10).unwrap()]));
        }
        bytes
    });
    prop_oneof![
        8 => spoken,
        1 => vec(any::<u8>(), 0..30),
        1 => "[A-Z-]{1,12} [0-9a-z ]{0,12}\r?\n".prop_map(String::into_bytes),
    ]
}
