//! What to begin with: what git-annex was seen to send, and what its files hold.

use gannet_wire::http::{Action, Call, Version};
use gannet_wire::p2p::Message;

use gannet_core::{AssociatedFile, Key, Timestamp, Uuid};
use serde_json::Value;

/// Every text of the recordings that is not long.
pub(crate) fn words() -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = vec![b"[Zm9v]".to_vec(), b"Basic cnc6cHc=".to_vec()];
    words.extend([&b"{\"unlock\":false}\n{\"unlock\":true}\n"[..]].map(<[u8]>::to_vec));
    words.extend([&b"bytes=0-5"[..], b"W/\"x\", \"y\", *"].map(<[u8]>::to_vec));
    for recording in RECORDINGS {
        let recording: Value = serde_json::from_str(recording).expect("a recording is JSON");
        texts(&recording, &mut words);
    }
    words.sort_unstable();
    words.dedup();
    words
}

pub(crate) fn keys() -> Vec<Vec<u8>> {
    KEYS.iter().map(|key| key.as_bytes().to_vec()).collect()
}

/// Requests as `METHOD SP TARGET SP LENGTH`.
pub(crate) fn requests() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for key in KEYS {
        let key = || Key::parse(key.as_bytes()).expect("a key");
        let file = || AssociatedFile("a dir/file".into());
        let actions = [
            Action::Get { key: key(), file: file(), offset: 7 },
            Action::CheckPresent { key: key() },
            Action::LockContent { key: key() },
            Action::KeepLocked { lock_id: b"an id".to_vec() },
            Action::Remove { key: key() },
            Action::RemoveBefore { key: key(), deadline: Timestamp { seconds: 5 } },
            Action::GetTimestamp,
            Action::PutOffset { key: key() },
            Action::Put { key: key(), file: file(), offset: 1, len: 3 },
            Action::PutPresent { key: key(), file: file() },
        ];
        for (action, version) in actions.into_iter().zip(Version::ALL.into_iter().cycle()) {
            let call = Call {
                server: Uuid::parse(b"5e5e5e5e-0000-4000-8000-000000000001").expect("a uuid"),
                version: Some(version),
                client: Uuid::parse(b"[c]").ok(),
                bypass: vec![Uuid::parse(b"b").expect("a uuid")],
                head_only: false,
                action,
            };
            let request = call.write();
            let len = request.data_length.map(|len| len.to_string()).unwrap_or_default();
            requests.push(format!("{} {} {len}", request.method, request.target).into_bytes());
        }
    }
    requests
}

/// One message each.
pub(crate) fn lines() -> Vec<Vec<u8>> {
    let mut lines = words();
    lines.retain(|word| Message::parse(word).is_ok());
    for key in KEYS {
        for verb in
            ["CHECKPRESENT", "REMOVE", "LOCKCONTENT", "GET 0 f%20", "PUT a%b%%", "REMOVE-BEFORE 5"]
        {
            lines.push(format!("{verb} {key}").into_bytes());
        }
    }
    lines
}

/// What one side says, from the greeting on.
pub(crate) fn conversations() -> Vec<Vec<u8>> {
    let key = KEYS[0];
    [
        format!("VERSION 4\nBYPASS a b\nCHECKPRESENT {key}\nLOCKCONTENT {key}\nUNLOCKCONTENT\n"),
        format!("VERSION 1\nPUT f {key}\nDATA 3\nabcVALID\nGET 0 f {key}\nSUCCESS\n"),
        format!("PUT f {key}\nDATA 3\nabcREMOVE {key}\nGETTIMESTAMP\nREMOVE-BEFORE 9 {key}\n"),
        format!("VERSION 4\nPUT f {key}\nDATA-PRESENT\nGET 2 f {key}\nFAILURE\nERROR no\n"),
        "CONNECT git-upload-pack\nDATA 4\nwantCONNECTDONE 1\nNOTIFYCHANGE\n".to_owned(),
        "AUTH c-1 abc\nAUTH c-1 secret\nVERSION 3\n".to_owned(),
        "AUTH-SUCCESS s-1\nVERSION 4\nSUCCESS\nDATA 3\nabcVALID\nPUT-FROM 1\nSUCCESS-PLUS a b\n"
            .to_owned(),
        "AUTH-SUCCESS s-1\nVERSION 1\nDATA 0\nINVALID\nALREADY-HAVE\nTIMESTAMP 7\nCHANGED a b\n"
            .to_owned(),
        "AUTH-SUCCESS s-1\nERROR old\nFAILURE-PLUS a\nDATA 5\nhelloCONNECTDONE 0\n".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

pub(crate) fn logs() -> Vec<Vec<u8>> {
    let one = "5e5e5e5e-0000-4000-8000-000000000001";
    [
        format!(
            "1795352264.419247528s 1 {one}\n1795352264s 0 c1c1c1c1-0000-4000-8000-000000000002\n"
        ),
        format!("1s 1 {one}\n2s X {one}\n2s 0 {one}\nwhat is this\n\n"),
        format!("{one} a description timestamp=1795352264.4s\n{one} another\n"),
        "1s 1 SHA256--a\n2s 0 SHA256--a\n3s 1 MD5--b\n4s 1 VURL--c\n".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

pub(crate) fn pointers() -> Vec<Vec<u8>> {
    let mut pointers = keys();
    for key in KEYS {
        pointers.push(format!("/annex/objects/{}\n", key.replace('/', "%")).into_bytes());
        pointers.push(format!("../.git/annex/objects/x/y/{key}/{key}").into_bytes());
    }
    pointers
}

pub(crate) fn inode_caches() -> Vec<Vec<u8>> {
    ["1 2 3 ", "12 34 1795352264 419247528", "1 0 -1 5", "18446744073709551615 0 0 "]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

pub(crate) fn configs() -> Vec<Vec<u8>> {
    let identity = "[annex]\n\tuuid = 5e5e5e5e-0000-4000-8000-000000000001\n\tversion = 10\n";
    [
        format!("[core]\n\tbare = true\n{identity}"),
        format!("[core]\n\tbare = yes\n\tsharedRepository = 0660\n{identity}\tdiskreserve = 1 megabyte\n"),
        format!("{identity}[remote \"x\"]\n\turl = \"a\\nb\"\n\tannex-private = true\n; no\n# no\n"),
        format!("{identity}\tsecurehashesonly\n\tfreezecontent-command = chmod a-w %path\n[extensions]\n\tworktreeConfig"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

fn texts(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => {
            found.push(text.as_bytes().to_vec());
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(values) => values.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

pub(crate) const KEYS: &[&str] = &[
    "SHA256E-s3--ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.tar.gz",
    "WORM-s6-m1795352264--a b&c%d",
    "URL--http&c%%example.com%x",
    "GITBUNDLE-s7--x-y",
    "SHA1-s10-S4-C2--abc",
    "XEXTERNAL-s5--%\u{e9}",
];
const TEXT_BYTES_MAX: usize = 2000;
const RECORDINGS: &[&str] = &[
    include_str!("../../../crates/gannet/tests/fixtures/http-checkpresent-encoding.json"),
    include_str!("../../../crates/gannet/tests/fixtures/http-get.json"),
    include_str!("../../../crates/gannet/tests/fixtures/http-put.json"),
    include_str!("../../../crates/gannet/tests/fixtures/http-lock.json"),
    include_str!("../../../crates/gannet/tests/fixtures/line-server-p2pstdio.json"),
    include_str!("../../../crates/gannet/tests/fixtures/line-client.json"),
];
