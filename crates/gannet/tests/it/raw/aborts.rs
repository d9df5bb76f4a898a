//! Clients that go away, and clients that do not read: all they held comes back.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::http::api;
use crate::harness::{
    CLIENT, Connection, Gannet, HELLO, Repo, Request, SERVER, Seeded, Server, World, eventually,
};
use crate::raw::sha256_key;

/// What a server holds at a moment.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    resident_mebibytes: u64,
}

#[test]
fn aborted_gets_leave_nothing() {
    let world = World::new();
    let (repo, key) = repo_with_large_object(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    abort_gets(&server, &key, 1, 200);
    let before = settled(&server);
    abort_gets(&server, &key, 2, 2000);
    assert_returns(&server, before);
    assert_answers_at_once(&server);
    assert_eq!(server.children(), 0);
}

#[test]
fn slow_readers_do_not_hold_up_others() {
    let world = World::new();
    let (repo, key) = repo_with_large_object(&world);
    let jobs = 4;
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen", "--jobs", &jobs.to_string()]);
    abort_gets(&server, &key, 1, 200);
    let before = settled(&server);
    let slow: Vec<_> = (0..2 * jobs).map(|_| reader_that_stopped(&server, &key)).collect();
    assert_answers_at_once(&server);
    abort_gets(&server, &key, 3, 2000);
    assert_answers_at_once(&server);
    // The slow ones are still served what they ask for.
    for mut connection in slow {
        let head = connection.head_of_reply("GET").expect("a reply to a slow reader");
        let mut bytes = 0;
        assert!(connection.body_of_reply(&head, |piece| bytes += piece.len()));
        assert_eq!(bytes, LARGE);
    }
    assert_returns(&server, before);
}

/// Uploads that go away free what they held as well: nothing but what may be resumed stays.
#[test]
fn aborted_puts_leave_nothing() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    abort_puts(&server, 1, 300);
    let before = settled(&server);
    abort_puts(&server, 2, 300);
    assert_returns(&server, before);
    assert_answers_at_once(&server);
    eventually(PATIENCE, || match repo.strays() {
        strays if strays.is_empty() => Ok(()),
        strays => Err(format!("{} left, as {:?}", strays.len(), strays.first())),
    });
}

fn abort_gets(server: &Server, key: &str, seed: u64, count: usize) {
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let mut chance = Seeded::new(seed * 1000 + worker);
            scope.spawn(move || {
                for _ in 0..count / usize::try_from(WORKERS).unwrap() {
                    abort_one_get(server, key, &mut chance);
                }
            });
        }
    });
}

/// Goes away at a random point: before the request is whole, before the answer, or within it.
fn abort_one_get(server: &Server, key: &str, chance: &mut Seeded) {
    let mut connection = server.connect();
    let head = get(key).head();
    let sent = match chance.below(4) {
        0 => usize::try_from(chance.below(head.len() as u64)).unwrap(),
        _ => head.len(),
    };
    connection.write(&head[..sent]).expect("send a request, or a part of it");
    if sent < head.len() || chance.below(4) == 0 {
        return;
    }
    let enough = usize::try_from(chance.below(LARGE as u64 / 4)).unwrap();
    let mut seen = 0;
    while seen <= enough {
        match connection.read_some() {
            Ok(bytes) if !bytes.is_empty() => seen += bytes.len(),
            other => panic!("the server ended a reply after {seen} bytes: {other:?}"),
        }
    }
}

/// Goes away in the middle of uploads, a few at a time: what many at once need is for an allocator
/// to keep, and would hide what is never given back.
fn abort_puts(server: &Server, seed: u64, count: usize) {
    let mut chance = Seeded::new(seed);
    let before = settled(server).descriptors;
    for number in 0..count {
        if number % AT_A_TIME == 0 {
            eventually(PATIENCE, || match server.descriptors() {
                now if now <= before => Ok(()),
                now => Err(format!("{now} descriptors, {before} before")),
            });
        }
        // Keys without a hash: nothing of them may be kept.
        let key = format!("URL--upload-{seed}-{number}");
        let parameters = [("key", key.as_str()), ("clientuuid", CLIENT)];
        let target = api(SERVER, "v4", "put", &parameters);
        let content = vec![b'u'; usize::try_from(chance.below(300_000)).unwrap()];
        let request = Request::put(target, 1_000_000, &content);
        let mut connection = server.connect();
        let mut bytes = request.head();
        bytes.extend(crate::harness::http::chunk(&content));
        let sent = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
        connection.write(&bytes[..sent]).expect("send a part of an upload");
    }
}

fn reader_that_stopped(server: &Server, key: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(&get(key)).expect("ask for content");
    connection
}

fn get(key: &str) -> Request {
    Request::get(api(SERVER, "v4", &format!("key/{key}"), &[("clientuuid", CLIENT)]))
}

fn held(server: &Server) -> Held {
    Held {
        descriptors: server.descriptors(),
        threads: server.threads(),
        resident_mebibytes: server.resident_bytes() >> 20,
    }
}

/// Waits until all connections of before are gone, and tells what is held then.
fn settled(server: &Server) -> Held {
    let mut last = held(server);
    let mut same_since = Instant::now();
    eventually(PATIENCE, || {
        let now = held(server);
        if now.descriptors != last.descriptors {
            (last, same_since) = (now, Instant::now());
        }
        let settled = same_since.elapsed() >= Duration::from_millis(300);
        settled.then_some(now).ok_or_else(|| format!("still changing: {now:?}"))
    })
}

#[track_caller]
fn assert_returns(server: &Server, before: Held) {
    eventually(PATIENCE, || {
        let now = held(server);
        let back = now.descriptors <= before.descriptors
            && now.threads <= before.threads
            && now.resident_mebibytes <= before.resident_mebibytes + ALLOCATOR_MEBIBYTES;
        if back { Ok(()) } else { Err(format!("{now:?}, before {before:?}")) }
    });
}

#[track_caller]
fn assert_answers_at_once(server: &Server) {
    let mut connection = server.connect();
    connection.set_patience(Duration::from_secs(5));
    let reply = connection.exchange(&get(HELLO));
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
}

fn repo_with_large_object(world: &World) -> (Repo, String) {
    let repo = Repo::fixture(world);
    let content = vec![b'l'; LARGE];
    let key = sha256_key(&content);
    repo.set_content(world, &key, &content);
    (repo, key)
}

/// More than the buffers of both ends of a connection take.
const LARGE: usize = 24 << 20;
const WORKERS: u64 = 8;
const AT_A_TIME: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);
/// What an allocator may keep of memory that was given back to it.
const ALLOCATOR_MEBIBYTES: u64 = 8;
