//! Keys whose names are meant to lead elsewhere, to be too long, or to be none.

use std::fs;

use super::Scene;
use crate::harness::http::escape;
use crate::harness::{
    CLIENT, Gannet, HELLO, Reference, Reply, Repo, Request, SERVER, Server, World,
};

/// A name, and what git-annex and a disk make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Git-annex says that this is no key: 400.
    Illegal,
    /// A key, which no repository can hold: absent for all who ask, and refused.
    Unstorable,
    /// A key like others, however it looks.
    Ordinary,
}

use Fate::{Illegal, Ordinary, Unstorable};

fn names() -> Vec<(Vec<u8>, Fate)> {
    let long = |byte: u8, count: usize| [b"WORM--".to_vec(), vec![byte; count]].concat();
    let mut names: Vec<(Vec<u8>, Fate)> = [
        (&b".."[..], Illegal),
        (b".", Illegal),
        (b"../../etc/passwd", Illegal),
        (b"/etc/passwd", Illegal),
        (b"WORM", Illegal),
        (b"WORM-", Illegal),
        (b"-----", Illegal),
        (b"--x", Illegal),
        (b"WORM-s--x", Illegal),
        (b"WORM-s-1--x", Illegal),
        (b"WORM-s1-s1--x", Illegal),
        (ENDLESS, Illegal),
        (b"\0", Illegal),
        (b"\n", Illegal),
        (b"%", Illegal),
        (b"WORM--..\0", Unstorable),
        (b"WORM--\0", Unstorable),
        (b"WORM--a\nb", Unstorable),
        (b"_A--b", Unstorable),
        (b"WORM--", Ordinary),
        (b"WORM--..", Ordinary),
        (b"WORM--.", Ordinary),
        (b"WORM--../../../../../tmp/x", Ordinary),
        (b"WORM--/etc/passwd", Ordinary),
        (b"WORM--%2e%2e%2f", Ordinary),
        (b"WORM--%", Ordinary),
        (b"WORM--&%:/\\", Ordinary),
        (b"WORM--[Li4=]", Ordinary),
        (b"WORM-- \t\r", Ordinary),
        (b"WORM--\xff\xfe", Ordinary),
        (b"WORM--\x1b[2J", Ordinary),
        (b"../..--x", Ordinary),
        (b".--", Ordinary),
    ]
    .map(|(name, fate)| (name.to_vec(), fate))
    .into();
    names.extend([
        ([b"SHA256E--x.".to_vec(), vec![b'e'; 100]].concat(), Illegal),
        ([vec![b'B'; 300], b"--x".to_vec()].concat(), Unstorable),
        (long(b'k', 234), Ordinary),
        (long(b'k', 235), Unstorable),
        (long(b'k', 250), Unstorable),
        (long(b'%', 117), Ordinary), // each becomes two bytes
        (long(b'%', 118), Unstorable),
        (long(b'_', 120), Unstorable), // in the journal each becomes two
        (long(b'k', 5_000), Unstorable),
        (long(b'/', 10_000), Unstorable),
        (long(b'k', 60_000), Unstorable),
    ]);
    names
}

/// Git-annex counts without end, and takes this for a key. No content is so large.
const ENDLESS: &[u8] = b"WORM-s99999999999999999999999--x";

const ENDPOINTS: [&str; 6] = ["checkpresent", "lockcontent", "putoffset", "put", "key", "remove"];

/// Sends one request about a key whose name is `name`, spelt as a URL needs it.
fn ask(server: &Server, endpoint: &str, name: &[u8]) -> Reply {
    let name = escape(name);
    let at = format!("/git-annex/{SERVER}/v4/{endpoint}");
    server.send(&match endpoint {
        "key" => Request::get(format!("{at}/{name}?clientuuid={CLIENT}")),
        "put" => Request::put(format!("{at}?key={name}&clientuuid={CLIENT}"), 5, b"hello"),
        _ => Request::post(format!("{at}?key={name}&clientuuid={CLIENT}")),
    })
}

/// What is no key is refused, what cannot be held is absent; neither leaves anything. What can be
/// held is, and git-annex agrees.
#[test]
fn keys_with_odd_names_have_their_answers() {
    let scene = Scene::new(&[]);
    let before = scene.inventory();
    for (name, fate) in names().into_iter().filter(|(_, fate)| *fate != Ordinary) {
        for endpoint in ENDPOINTS {
            let reply = ask(&scene.server, endpoint, &name);
            let text = reply.text();
            let expected = match (fate, endpoint) {
                (Illegal, _) => (400, ""),
                (_, "checkpresent") => (200, "{\"present\":false}"),
                (_, "lockcontent") => (200, "{\"locked\":false}"),
                (_, "put") => (200, "{\"plusuuids\":[],\"stored\":false}"),
                (_, "remove") => (200, "{\"plusuuids\":[],\"removed\":true}"),
                _ => (404, ""),
            };
            let what = format!("{endpoint} {:.60}", name.escape_ascii().to_string());
            assert_eq!(reply.status, expected.0, "{what}: {text:.200}");
            assert!(expected.1.is_empty() || text == expected.1, "{what}: {text:.200}");
            assert!(text.len() < 500, "{what}: the name is echoed");
        }
    }
    assert_eq!(scene.inventory(), before, "something changed on disk");
    for (name, _) in names().into_iter().filter(|(_, fate)| *fate == Ordinary) {
        let what = format!("{:.60}", name.escape_ascii().to_string());
        let put = ask(&scene.server, "put", &name);
        assert_eq!(put.member("stored"), true, "{what}");
        assert_eq!(ask(&scene.server, "key", &name).text(), "hello", "{what}");
    }
    scene.assert_well();
    scene.repo.assert_no_strays();
    assert_inside(&scene);
    scene.repo.fsck(&scene.world);
    for (name, _) in names().into_iter().filter(|(_, fate)| *fate == Ordinary) {
        assert_eq!(ask(&scene.server, "remove", &name).member("removed"), true);
        assert_eq!(ask(&scene.server, "checkpresent", &name).member("present"), false);
    }
    assert_eq!(ask(&scene.server, "checkpresent", HELLO.as_bytes()).member("present"), true);
    scene.assert_well();
}

/// Nothing of a put is anywhere but in the repository.
fn assert_inside(scene: &Scene) {
    let mut there: Vec<_> = fs::read_dir(scene.world.path())
        .expect("list the world")
        .map(|entry| entry.expect("list the world").file_name().into_string().expect("text"))
        .filter(|name| !name.starts_with("gannet-log"))
        .collect();
    there.sort();
    let repo = scene.repo.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let mut expected = vec!["bin", "gitconfig", "home", repo];
    expected.sort_unstable();
    assert_eq!(there, expected);
}

/// Git-annex is the judge of what is a key: its own server refuses the same names, but for sizes
/// that no number here can hold.
#[test]
fn git_annex_refuses_the_same_names() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let reference = Reference::serve(&world, repo.path(), &["--wideopen"]);
    // Its server refuses longer heads, whatever they say.
    for (name, fate) in names().into_iter().filter(|(name, _)| name.len() < 40_000) {
        let reply = ask(&reference, "checkpresent", &name);
        let what = name.escape_ascii().to_string();
        assert_eq!(
            reply.status == 400,
            fate == Illegal && name != ENDLESS,
            "{what:.60}: {}",
            reply.status
        );
    }
}

/// Escapes that are none, uuids that are paths, and requests without an end.
#[test]
fn spellings_that_are_none_are_refused() {
    let world = World::new();
    let repo = Repo::fixture_bare(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let before = repo.inventory();
    for name in ["%", "%zz", "%2", "%25%32%65", "[====]", "[Li4=", "%00", "%0a", "%ff"] {
        let target = format!("/git-annex/{SERVER}/v4/remove?key={name}&clientuuid={CLIENT}");
        assert_eq!(server.send(&Request::post(target)).status, 400, "{name}");
    }
    let uuids = ["..", "%2e%2e", "..%2f..", ".", "%00", "%", "a%0ab", "[Li4=]", &"u".repeat(5000)];
    for uuid in uuids {
        let target = format!("/git-annex/{uuid}/key/{HELLO}");
        assert_eq!(server.send(&Request::get(target)).status, 404, "{uuid:.40}");
        // Whoever calls itself so may do what others may, and is no file.
        let target =
            format!("/git-annex/{SERVER}/v4/put?key=WORM--{}&clientuuid={uuid}", uuid.len());
        let reply = server.send(&Request::put(target, 4, b"text"));
        assert_eq!(reply.member("stored"), true, "{uuid:.40}");
    }
    let huge = "k".repeat(100_000);
    let target = format!("/git-annex/{SERVER}/v4/remove?key=WORM--{huge}&clientuuid={CLIENT}");
    assert_eq!(server.send(&Request::post(target)).status, 414);
    assert!(before.keys().all(|path| path.exists()));
    repo.assert_no_strays();
    repo.fsck(&world);
}
