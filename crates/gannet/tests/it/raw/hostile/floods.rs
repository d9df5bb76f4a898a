//! Requests by the thousand: names that nobody has, locks of everything, streams that stand still.

use std::net::IpAddr;
use std::thread;

use gannet_testkit::frames::{
    END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, field, frame, reason,
};

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

/// Streams of HTTP/2 whose windows never open: contents, answers and heads wait in memory for as
/// long as a transfer may stand still, those of held locks for longer. One address gets so many of
/// them, on however many connections.
#[test]
fn streams_that_stand_still_need_little_memory() {
    let scene = Scene::new(&[]);
    let content = vec![b'x'; 1 << 20];
    let key = sha256_key(&content);
    scene.repo.set_content(&scene.world, &key, &content);
    let lock = scene.ask("lockcontent", HELLO).member("lockid");
    let lock = [("lockid", lock.as_str().expect("text"))];
    let targets = [
        (2, "/nowhere".to_owned(), STREAMS_BYTES_MAX),
        (3, api(SERVER, "v4", "keeplocked", &lock), STREAMS_BYTES_MAX),
        (2, api(SERVER, "v4", &format!("key/{key}"), &[("clientuuid", CLIENT)]), PIECES_BYTES_MAX),
    ];
    let before = scene.server.resident_bytes();
    let closed = [PREFACE[..24].to_vec(), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])].concat();
    for (method, target, max) in &targets {
        let mut head = [&[0x80 | method, 0x86][..], &field(":path", target)].concat();
        head.extend((0..15).flat_map(|n| field(&format!("x-{n}"), &"v".repeat(1000))));
        // Nobody says yet that a lock shall be released.
        let flags = if *method == 3 { END_HEADERS } else { END_HEADERS | END_STREAM };
        let mut crowd: Vec<_> = (0..CONNECTIONS).map(|_| scene.server.connect()).collect();
        for connection in &mut crowd {
            connection.write(&closed).expect("ask for much");
            for n in 0..STREAMS {
                let frame = frame(HEADERS, flags, 2 * n + 1, &head);
                connection.write(&frame).expect("ask for much");
            }
            // What comes last is answered last.
            connection.write(&frame(PING, 0, 0, b"are read")).expect("ask for an answer");
        }
        for connection in &mut crowd {
            connection.set_patience(SOON);
            let mut heard = Vec::new();
            while !heard.windows(8).any(|bytes| bytes == b"are read") {
                let some = connection.read_some().expect("some frames");
                assert!(!some.is_empty(), "closed: {:?}", reason(&heard));
                heard.extend(some);
            }
        }
        // What a burst needed for a moment is given back within seconds.
        let grown =
            eventually(SOON, || match scene.server.resident_bytes().saturating_sub(before) {
                grown if grown < *max => Ok(grown),
                grown => Err(format!("{grown} bytes for {target}")),
            });
        println!("{} streams of {target:.60}: {grown} bytes", CONNECTIONS * STREAMS);
        drop(crowd);
        eventually(SOON, || match scene.server.send(&get(HELLO)).status {
            200 => Ok(()),
            other => Err(format!("{other}: no room")),
        });
    }
    scene.assert_serves();
}

const WORKERS: usize = 4;
/// Allocators round up, and repositories are looked for meanwhile.
const GROWTH_MAX: u64 = 8 << 20;
/// Four times as many streams as one address may have.
const CONNECTIONS: u32 = 40;
const STREAMS: u32 = 100;
/// 1024 streams with heads of 16 KB; all that were asked for would need twice as much.
const STREAMS_BYTES_MAX: u64 = 36 << 20;
/// As many requests as one address may have at work, each with one piece of content, and these.
const PIECES_BYTES_MAX: u64 = (36 << 20) + 768 * 80 * 1024;
