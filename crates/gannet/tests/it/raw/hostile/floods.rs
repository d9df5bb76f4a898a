//! Requests by the thousand: names that nobody has, locks of everything, streams that stand still.

use std::net::IpAddr;
use std::thread;

use gannet_testkit::frames::{END_HEADERS, HEADERS, PREFACE, SETTINGS, field, frame, request};

use super::{SOON, Scene, ask, get};
use crate::harness::http::api;
use crate::harness::{
    ABSENT, CLIENT, Connection, HELLO, Request, SERVER, eventually, usual_or_long,
};
use crate::raw::sha256_key;

/// Whoever makes up names, of servers, of clients, of keys, leaves nothing of them: not in memory,
/// and not on the disk.
#[test]
fn names_that_nobody_has_leave_nothing() {
    let scene = Scene::new(&[]);
    let asked = usual_or_long(20_000, 1_000_000);
    let before = scene.inventory();
    let flood = |from: usize, to: usize| {
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let scene = &scene;
                scope.spawn(move || {
                    let mut connection = scene.server.connect();
                    for n in (from..to).skip(worker).step_by(WORKERS) {
                        ask_under_a_made_up_name(&mut connection, n);
                    }
                });
            }
        });
    };
    flood(0, asked / 4);
    let warm = scene.server.resident_bytes();
    flood(asked / 4, asked);
    let grown = scene.server.resident_bytes().saturating_sub(warm);
    println!("{asked} names: {grown} bytes more after the first quarter, {warm} before");
    assert!(grown < GROWTH_MAX, "{grown} bytes more after {asked} names");
    assert_eq!(scene.inventory(), before);
    scene.repo.assert_no_strays();
    scene.assert_well();
}

fn ask_under_a_made_up_name(connection: &mut Connection, n: usize) {
    let made_up = format!("5e5e5e5e-ffff-4000-8000-{n:012}");
    let (request, status) = match n % 8 {
        0 => (ask("checkpresent", HELLO, &made_up), 200),
        1 => (ask("lockcontent", ABSENT, &made_up), 200),
        2 => (ask("lockcontent", &format!("WORM--{made_up}"), &made_up), 200),
        3 => (ask("putoffset", HELLO, &made_up), 200),
        // A put that is broken off at its end: the content is another.
        4 => {
            let parameters = [("key", ABSENT), ("clientuuid", made_up.as_str())];
            (Request::put(api(SERVER, "v4", "put", &parameters), 6, b"tnesba"), 200)
        }
        5 => (
            Request::get(api(SERVER, "v4", &format!("key/{HELLO}"), &[("clientuuid", &made_up)])),
            200,
        ),
        _ => {
            let parameters = [("key", HELLO), ("clientuuid", made_up.as_str())];
            (Request::post(api(&made_up, "v4", "checkpresent", &parameters)), 404)
        }
    };
    let reply = connection.exchange(&request);
    assert_eq!(reply.status, status, "{n}: {}", reply.text());
}

/// Locks are given out by address too, whatever uuids are made up, and all of them come back.
#[test]
fn a_flood_of_locks_leaves_some_to_others() {
    let scene = Scene::new(&[]);
    let from = |last: u8| {
        let source = IpAddr::from([127, 0, 2, last]);
        Connection::from(source, scene.server.address()).expect("connect")
    };
    let content = b"another content to be locked";
    let other = sha256_key(content);
    scene.repo.set_content(&scene.world, &other, content);
    for round in 0..2 {
        // Absent ones cost nothing, before, between and after.
        let mut stranger = from(1);
        let mut ids = Vec::new();
        for n in 0..400 {
            let made_up = format!("stranger-{round}-{n}");
            let key = [HELLO, ABSENT, &other][n % 3];
            let reply = stranger.exchange(&ask("lockcontent", key, &made_up));
            assert_eq!(reply.status, 200);
            ids.extend(reply.json().get("lockid").cloned());
        }
        assert_eq!(ids.len(), 75, "what one address may have");
        let mut neighbour = from(2);
        for n in 0..100 {
            let reply = neighbour.exchange(&ask("lockcontent", HELLO, &format!("neighbour-{n}")));
            ids.extend(reply.json().get("lockid").cloned());
        }
        assert_eq!(ids.len(), 100, "what there is in all");
        assert_eq!(scene.ask("lockcontent", HELLO).member("locked"), false);
        scene.assert_serves();
        for id in ids {
            let id = id.as_str().expect("text").to_owned();
            let unlock = Request::post(api(SERVER, "v4", "keeplocked", &[("lockid", &id)]))
                .body(crate::harness::Body::Length(b"{\"unlock\":true}".to_vec()));
            assert_eq!(stranger.exchange(&unlock).member("locked"), false);
        }
        drop((stranger, neighbour));
        scene.assert_well();
    }
    // One client is one wherever it comes from.
    let mut given = 0;
    for n in 0..60 {
        let reply = from(10 + n).exchange(&ask("lockcontent", HELLO, CLIENT));
        given += usize::from(reply.member("locked") == true);
    }
    assert_eq!(given, 50, "what one client may have");
    assert!(!scene.repo.is_locked(ABSENT));
    assert_eq!(scene.ask("remove", HELLO).member("removed"), false);
}

/// Streams of HTTP/2 whose windows never open: contents, answers and bodies wait in memory for as
/// long as a transfer may stand still. What one address can make of that has a bound.
#[test]
fn streams_that_stand_still_need_little_memory() {
    let scene = Scene::new(&["--idle-timeout", "20"]);
    let big = vec![b'x'; 1 << 20];
    let key = sha256_key(&big);
    scene.repo.set_content(&scene.world, &key, &big);
    let before = scene.server.resident_bytes();
    let closed = [PREFACE[..24].to_vec(), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    let of_content = |stream| {
        request(stream, 2, &api(SERVER, "v4", &format!("key/{key}"), &[("clientuuid", CLIENT)]))
    };
    let of_nothing = |stream| request(stream, 2, "/nowhere");
    let locked = scene.ask("lockcontent", HELLO).member("lockid");
    let keeping = |stream| {
        let target = api(SERVER, "v4", "keeplocked", &[("lockid", locked.as_str().expect("text"))]);
        let block = [&[0x83, 0x86][..], &field(":path", &target)].concat();
        frame(HEADERS, END_HEADERS, stream, &block)
    };
    let kinds: [&dyn Fn(u32) -> Vec<u8>; 3] = [&of_content, &of_nothing, &keeping];
    for kind in kinds {
        let mut crowd: Vec<_> = (0..CONNECTIONS).map(|_| scene.server.connect()).collect();
        for connection in &mut crowd {
            let streams: Vec<_> = (0..STREAMS).flat_map(|n| kind(2 * n + 1)).collect();
            connection.write(&[&closed[..], &streams].concat()).expect("ask for much");
        }
        // Whatever is read of the answers shows that the requests were read.
        for connection in &mut crowd {
            connection.set_patience(SOON);
            assert!(!connection.read_some().expect("some frames").is_empty());
        }
        eventually(SOON, || match scene.server.send(&get(HELLO)).status {
            200 | 503 => Ok(()),
            other => Err(other.to_string()),
        });
        let each =
            scene.server.resident_bytes().saturating_sub(before) / u64::from(CONNECTIONS * STREAMS);
        println!("a stream that stands still needs {each} bytes");
        assert!(each < STREAM_BYTES_MAX, "a stream needs {each} bytes");
        drop(crowd);
        scene.assert_serves();
    }
}

const WORKERS: usize = 4;
/// Allocators round up, and repositories are looked for meanwhile.
const GROWTH_MAX: u64 = 8 << 20;
const CONNECTIONS: u32 = 20;
const STREAMS: u32 = 100;
const STREAM_BYTES_MAX: u64 = 128 * 1024;
