//! Bodies that are too short, too long, empty, wrong, misplaced or broken off: nothing becomes
//! visible, `putoffset` stays sane, the next put succeeds and no stray file is left.

use std::time::Duration;

use serde_json::Value;

use crate::harness::http::{api, chunk};
use crate::harness::{
    Body, CLIENT, Gannet, Piece, Reply, Repo, Request, SERVER, Seeded, Server, World, eventually,
};
use crate::raw::sha256_key;

/// A key and what it stands for.
struct Sample {
    key: String,
    content: Vec<u8>,
    /// Whether its hash can be verified, so that partial content may be kept.
    hashed: bool,
}

/// What may be left of an upload that failed.
enum Left {
    /// Nothing at all.
    Nothing,
    /// So many bytes, when the hash can be verified; nothing else.
    Partial(u64),
}

/// A body that must not be stored.
struct Wrong {
    what: &'static str,
    offset: u64,
    announced: u64,
    chunks: Vec<Vec<u8>>,
    left: Left,
}

#[test]
fn wrong_bodies_store_nothing() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let mut complaints = Vec::new();
    for (version, sample) in ["v0", "v1", "v2", "v3", "v4"].iter().zip(samples()) {
        for wrong in wrong_bodies(&sample) {
            let about = format!("{} ({version}, {})", wrong.what, sample.key);
            let body = wrong.chunks.into_iter().map(Piece::Bytes).collect();
            let request = put(version, &sample.key, wrong.offset, wrong.announced, body);
            let reply = server.send(&request);
            if stored(&reply) != Some(false) {
                complaints.push(format!("{about}: {} {}", reply.status, reply.text()));
            }
            complaints.extend(left_over(&repo, &server, &sample, &wrong.left, &about));
            complaints.extend(next_put(&repo, &server, &sample, &about));
            repo.drop_content(&world, &sample.key);
        }
    }
    assert!(complaints.is_empty(), "{} differ:\n{}", complaints.len(), complaints.join("\n"));
    for sample in samples() {
        repo.set_content(&world, &sample.key, &sample.content);
    }
    repo.fsck(&world);
}

/// An upload that breaks off keeps what may be resumed, wherever it breaks off, and is resumed.
#[test]
fn broken_uploads_resume() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let mut chance = Seeded::new(5);
    for round in 0..20 {
        let content = chance.bytes(200_000);
        let key = sha256_key(&content);
        let sample = Sample { key, content, hashed: true };
        let sent = usize::try_from(chance.below(200_000)).unwrap();
        let mut connection = server.connect();
        let head = put("v4", &sample.key, 0, 200_000, Vec::new()).head();
        connection.write(&head).expect("begin an upload");
        for part in sample.content[..sent].chunks(7919) {
            connection.write(&chunk(part)).expect("upload in part");
        }
        drop(connection);
        let offset = eventually(Duration::from_secs(10), || {
            match (repo.strays().len(), put_offset(&server, &sample.key)) {
                (0, Some(0)) if sent == 0 => Ok(0),
                (1, Some(offset)) if offset == sent as u64 => Ok(offset),
                (files, offset) => Err(format!("round {round}: {sent} sent, {offset:?} {files}")),
            }
        });
        assert!(!repo.state(&sample.key).present);
        let start = usize::try_from(offset).unwrap();
        let rest = vec![Piece::Bytes(sample.content[start..].to_vec())];
        let reply = server.send(&put("v4", &sample.key, offset, 200_000 - offset, rest));
        assert_eq!(stored(&reply), Some(true), "round {round}: {}", reply.text());
        repo.assert_no_strays();
    }
    repo.fsck(&world);
}

/// `data-present` stores what is there and nothing that is not, in v4 alone.
#[test]
fn data_present_is_believed_only_when_true() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let content = b"came by another way".to_vec();
    let key = sha256_key(&content);
    let ask = |version: &str| {
        let parameters = [("key", key.as_str()), ("clientuuid", CLIENT), ("data-present", "true")];
        let request = Request::post(api(SERVER, version, "put", &parameters));
        stored(&server.send(&request.header("X-git-annex-data-length", "19")))
    };
    assert_eq!(ask("v4"), Some(false));
    assert_eq!(ask("v3"), Some(false));
    repo.assert_no_strays();
    repo.set_content(&world, &key, &content);
    assert_eq!(ask("v4"), Some(true));
    repo.fsck(&world);
}

/// A second upload of a key is turned away while the first one runs, and does it no harm.
#[test]
fn second_upload_does_not_harm_the_first() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let content = Seeded::new(2).bytes(100_000);
    let key = sha256_key(&content);
    let mut first = server.connect();
    first.write(&put("v4", &key, 0, 100_000, Vec::new()).head()).unwrap();
    first.write(&chunk(&content[..60_000])).unwrap();
    // Ask until the first one is known to run: a put that comes too early would itself be first.
    eventually(Duration::from_secs(10), || match repo.strays().is_empty() {
        true => Err("the first upload has not begun".to_owned()),
        false => Ok(()),
    });
    assert_eq!(put_offset(&server, &key), Some(0));
    let whole = vec![Piece::Bytes(content.clone())];
    let reply = server.send(&put("v4", &key, 0, 100_000, whole));
    assert!(reply.status == 503 || stored(&reply) == Some(false), "{}", reply.text());
    first.write(&chunk(&content[60_000..])).unwrap();
    first.write(b"0\r\n\r\n").unwrap();
    let reply = first.reply_to("POST").expect("the first upload is answered");
    assert_eq!(stored(&reply), Some(true));
    repo.assert_no_strays();
    repo.fsck(&world);
}

/// An answer comes before a body that nobody needs, and `100 Continue` only before one that
/// somebody does.
#[test]
fn body_is_not_wanted_for_nothing() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--unauth-readonly"]);
    let content = vec![b'z'; 40_000_000];
    let key = sha256_key(&content);
    let refused = Request::put(target("v4", &key, 0), 40_000_000, &content);
    assert_eq!(server.send(&refused).status, 403);
    let mut connection = server.connect();
    let expecting = put("v4", &key, 0, 40_000_000, Vec::new()).header("Expect", "100-continue");
    connection.write(&expecting.head()).unwrap();
    let answer = String::from_utf8(connection.read_some().unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    repo.assert_no_strays();
}

fn samples() -> Vec<Sample> {
    let content = Seeded::new(1).bytes(3000);
    let hashed = Sample { key: sha256_key(&content), content, hashed: true };
    let sized =
        |key: &str| Sample { key: key.to_owned(), content: b"only a size".to_vec(), hashed: false };
    let md5 = Sample {
        key: "MD5-s6--b1946ac92492d2347c6235b4d2611184".to_owned(),
        content: b"hello\n".to_vec(),
        hashed: true,
    };
    vec![hashed, sized("WORM-s11-m1--sized"), sized("URL--http&c%%x"), md5, sized("FOO-s11--bar")]
}

fn wrong_bodies(sample: &Sample) -> Vec<Wrong> {
    let whole = &sample.content;
    let len = whole.len() as u64;
    let part = |end: usize| vec![whole[..end].to_vec()];
    let wrong =
        |what, offset, announced, chunks, left| Wrong { what, offset, announced, chunks, left };
    let mut all = vec![
        wrong("too short", 0, len, part(4), Left::Partial(4)),
        wrong("last byte withheld", 0, len, part(whole.len() - 1), Left::Partial(len - 1)),
        wrong("empty", 0, len, Vec::new(), Left::Nothing),
        wrong(
            "too long in one chunk",
            0,
            len,
            vec![[whole, &b"zz"[..]].concat()],
            Left::Partial(len),
        ),
        wrong(
            "too long by a chunk",
            0,
            len,
            vec![whole.clone(), b"zz".to_vec()],
            Left::Partial(len),
        ),
        wrong("offset beyond what is held", 2, len - 2, vec![whole[2..].to_vec()], Left::Nothing),
    ];
    if sample.hashed {
        let other = whole.iter().map(|byte| byte ^ 1).collect::<Vec<_>>();
        all.push(wrong("wrong hash", 0, len, vec![other], Left::Nothing));
    }
    if sample.key.contains("-s") {
        let cut = whole[..5].to_vec();
        all.push(wrong("wrong size, announced so", 0, 5, vec![cut], Left::Nothing));
        let grown = [whole, &b"zz"[..]].concat();
        all.push(wrong("too large, announced so", 0, len + 2, vec![grown], Left::Nothing));
    }
    all
}

fn left_over(
    repo: &Repo,
    server: &Server,
    sample: &Sample,
    left: &Left,
    about: &str,
) -> Vec<String> {
    let expected = match left {
        Left::Partial(bytes) if sample.hashed => Some(*bytes),
        _ => None,
    };
    let state = repo.state(&sample.key);
    let mut complaints = Vec::new();
    if state.present {
        complaints.push(format!("{about}: visible"));
    }
    if state.partial_bytes != expected {
        complaints.push(format!("{about}: left {:?}, not {expected:?}", state.partial_bytes));
    }
    let strays = repo.strays();
    if strays.len() != usize::from(expected.is_some()) {
        complaints.push(format!("{about}: left {strays:?}"));
    }
    let offset = put_offset(server, &sample.key);
    if offset != Some(expected.unwrap_or(0)) {
        complaints.push(format!("{about}: putoffset {offset:?}, not {expected:?}"));
    }
    complaints
}

fn next_put(repo: &Repo, server: &Server, sample: &Sample, about: &str) -> Vec<String> {
    let offset = put_offset(server, &sample.key).unwrap_or(0);
    let rest = sample.content[usize::try_from(offset).unwrap()..].to_vec();
    let len = rest.len() as u64;
    let reply = server.send(&put("v4", &sample.key, offset, len, vec![Piece::Bytes(rest)]));
    let mut complaints = Vec::new();
    if stored(&reply) != Some(true) || !repo.state(&sample.key).present {
        complaints.push(format!("{about}: next put: {} {}", reply.status, reply.text()));
    }
    let strays = repo.strays();
    if !strays.is_empty() {
        complaints.push(format!("{about}: after the next put: {strays:?}"));
    }
    complaints
}

fn put(version: &str, key: &str, offset: u64, announced: u64, body: Vec<Piece>) -> Request {
    Request::put(target(version, key, offset), announced, &[]).body(Body::Chunked(body))
}

fn target(version: &str, key: &str, offset: u64) -> String {
    let offset = offset.to_string();
    let parameters = [("key", key), ("clientuuid", CLIENT), ("offset", offset.as_str())];
    api(SERVER, version, "put", &parameters)
}

fn put_offset(server: &Server, key: &str) -> Option<u64> {
    let target = api(SERVER, "v4", "putoffset", &[("key", key), ("clientuuid", CLIENT)]);
    server.send(&Request::post(target)).json()["offset"].as_u64()
}

fn stored(reply: &Reply) -> Option<bool> {
    let json: Value = serde_json::from_slice(&reply.body).ok()?;
    (reply.status == 200).then(|| json["stored"].as_bool()).flatten()
}
