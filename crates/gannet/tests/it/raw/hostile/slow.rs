//! Clients that begin something and do not go on, and some that never stop.

use std::time::Instant;

use super::{SOON, Scene, ask, assert_closes, get};
use crate::harness::http::{api, chunk};
use crate::harness::{ABSENT, CLIENT, Connection, HELLO, Request, SERVER, Seeded, eventually};
use crate::raw::sha256_key;

const HASTY: &[&str] =
    &["--header-timeout", "1", "--idle-timeout", "2", "--keep-alive-timeout", "30"];

/// A byte now and then, behind another request or not: the head must end in time.
#[test]
fn heads_that_do_not_end_are_not_waited_for() {
    let scene = Scene::new(HASTY);
    let whole = ask("checkpresent", ABSENT, CLIENT).head();
    let mut slow: Vec<_> = (0..60).map(|_| scene.server.connect()).collect();
    for (n, connection) in slow.iter_mut().enumerate() {
        let begin = if n % 2 == 0 { &b""[..] } else { &whole };
        connection.write(&[begin, b"GET / HT"].concat()).expect("begin a head");
    }
    scene.assert_serves();
    eventually(SOON, || {
        slow.retain_mut(|connection| connection.write(b"x").is_ok());
        scene.assert_serves();
        if slow.is_empty() { Ok(()) } else { Err(format!("{} are still open", slow.len())) }
    });
    // Nor is what came with a request, and is followed by nothing.
    let mut silent: Vec<_> = (0..20).map(|_| scene.server.connect()).collect();
    for connection in &mut silent {
        connection.write(&[&whole[..], b"POST /git-annex/ HTTP/1.1\r\nHost:"].concat()).unwrap();
    }
    silent.iter_mut().for_each(assert_closes);
    drop(silent);
    scene.assert_well();
}

/// Readers that stop, and bodies that stop, take the room of requests for as long as a transfer
/// may stand still, and not longer.
#[test]
fn transfers_that_stand_still_are_given_up() {
    let scene = Scene::new(&[HASTY, &["--max-requests", "4"]].concat());
    let content = Seeded::new(7).bytes(24 << 20);
    let key = sha256_key(&content);
    scene.repo.set_content(&scene.world, &key, &content);
    let reader = |_| {
        let mut reader = Connection::narrow(scene.server.address());
        reader.send(&get(&key)).expect("ask for content");
        reader.head_of_reply("GET").expect("a head");
        reader
    };
    let writer = |n: u8| {
        let content = [n; 1000];
        let parameters = [("key", &*sha256_key(&content)), ("clientuuid", CLIENT)];
        let put = Request::put(api(SERVER, "v4", "put", &parameters), 1000, &content);
        let mut writer = scene.server.connect();
        writer.write(&[put.head(), chunk(&content[..500])].concat()).expect("begin a put");
        writer
    };
    let has_room = || {
        eventually(SOON, || match scene.ask("checkpresent", HELLO).status {
            200 => Ok(()),
            other => Err(format!("{other}: there is no room")),
        })
    };
    // Had each round cost one of the four places for ever, there would be none left.
    for begin in [&reader as &dyn Fn(u8) -> Connection, &writer, &reader, &writer] {
        let mut stalled: Vec<_> = (0..4).map(begin).collect();
        let mut more = 4..;
        eventually(SOON, || match scene.ask("checkpresent", HELLO).status {
            503 => Ok(()),
            other => {
                // Another request may still have had one of the four places.
                stalled.extend(more.next().map(begin));
                Err(format!("{other}: there is room"))
            }
        });
        has_room();
        drop(stalled);
    }
    scene.assert_well();
    scene.repo.fsck(&scene.world);
}

/// Bodies that go on and on cost the connection, and nothing is stored of them.
#[test]
fn bodies_that_do_not_end_are_not_read_to_their_end() {
    let scene = Scene::new(HASTY);
    let before = scene.server.resident_bytes();
    let absent = api(SERVER, "v4", "put", &[("key", ABSENT), ("clientuuid", CLIENT)]);
    let piece = chunk(&[b'x'; 1 << 16]);
    for target in [&absent, &"/nowhere".to_owned(), &absent.replace("put", "checkpresent")] {
        let mut connection = scene.server.connect();
        connection.write(&Request::put(target, 6, b"x").head()).expect("begin a put");
        let begun = Instant::now();
        while connection.write(&piece).is_ok() {
            assert!(begun.elapsed() < SOON, "it is read for ever");
        }
        assert_eq!(scene.ask("checkpresent", ABSENT).member("present"), false);
    }
    let grown = scene.server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    // What was announced is kept to be resumed, and found to be wrong by the next attempt.
    assert!(scene.repo.state(ABSENT).partial_bytes.is_none_or(|bytes| bytes <= 6));
    for stored in [false, true] {
        let reply = scene.server.send(&Request::put(&absent, 6, b"absent"));
        assert_eq!(reply.member("stored"), stored);
    }
    scene.repo.assert_no_strays();
    scene.assert_well();
    scene.repo.fsck(&scene.world);
}

/// Lengths that nothing can have are refused, and no room is made for them.
#[test]
fn absurd_lengths_are_refused() {
    let scene = Scene::new(HASTY);
    let before = scene.inventory();
    let worm = "WORM--no-size";
    let lengths = [
        ("18446744073709551615", &[507][..]),
        ("9223372036854775808", &[507]),
        ("1000000000000000000", &[507]),
        ("18446744073709551616", &[400]),
        ("999999999999999999999999999999", &[400]),
        ("-1", &[400]),
        ("+6", &[400]),
        ("0x6", &[400]),
        ("6 6", &[400]),
        ("", &[400]),
        ("6,6", &[400]),
    ];
    for (length, statuses) in lengths {
        for offset in ["0", "1", "18446744073709551615"] {
            let parameters = [("key", worm), ("clientuuid", CLIENT), ("offset", offset)];
            let target = api(SERVER, "v4", "put", &parameters);
            let put = Request::put(target, 6, b"absent");
            let mut put = put.clone();
            put.headers.retain(|(name, _)| name != "X-git-annex-data-length");
            let reply = scene.server.send(&put.header("X-git-annex-data-length", length));
            // An offset that nobody asked for is an answer of its own.
            let told = (offset != "0" && reply.status == 200).then(|| reply.member("stored"));
            assert!(
                statuses.contains(&reply.status) || told == Some(false.into()),
                "{length} from {offset}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    assert_eq!(scene.inventory(), before);
    scene.repo.assert_no_strays();
    scene.assert_well();
}
