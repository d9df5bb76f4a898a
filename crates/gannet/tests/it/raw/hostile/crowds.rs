//! More connections than anybody needs.

use std::net::IpAddr;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use super::super::tls::Certificate;
use super::{SOON, Scene, ask, assert_closes, get};
use crate::harness::http::api;
use crate::harness::{
    ABSENT, CLIENT, Connection, Gannet, HELLO, Repo, Request, SERVER, World, eventually,
};

/// They cost little, and nobody waits for them.
#[test]
fn two_thousand_idle_connections_keep_nobody_waiting() {
    let crowd = CROWD.min(files_allowed() / 3 - 200);
    let scene = Scene::new(&["--max-connections-per-address", "4000"]);
    let before = scene.server.resident_bytes();
    let mut idle: Vec<_> = (0..crowd).map(|_| scene.server.connect()).collect();
    // Half of them have said something, a quarter has begun to say something more.
    for (n, connection) in idle.iter_mut().enumerate().filter(|(n, _)| n % 2 == 0) {
        assert_eq!(connection.exchange(&ask("checkpresent", ABSENT, CLIENT)).status, 200);
        if n % 4 == 0 {
            connection.write(b"GET /git-annex/").expect("begin another request");
        }
    }
    eventually(SOON, || match scene.server.descriptors() {
        now if now > crowd => Ok(()),
        now => Err(format!("{now} descriptors")),
    });
    for _ in 0..20 {
        scene.assert_serves();
        assert_eq!(scene.ask("checkpresent", HELLO).member("present"), true);
    }
    let each = scene.server.resident_bytes().saturating_sub(before) / crowd as u64;
    println!("{crowd} idle connections: {each} bytes each");
    assert!(each < IDLE_BYTES_MAX, "an idle connection needs {each} bytes");
    drop(idle);
    scene.assert_well();
}

/// An address that has what it may have is told to come back; others come in.
#[test]
fn one_address_does_not_take_all_connections() {
    let options = ["--max-connections", "12", "--max-connections-per-address", "4"];
    let scene = Scene::new(&options);
    let from = |last: u8| {
        let source = IpAddr::from([127, 0, 1, last]);
        Connection::from(source, scene.server.address()).expect("connect")
    };
    for _ in 0..3 {
        let mut inside: Vec<_> = (0..4).map(|_| from(1)).collect();
        for connection in &mut inside {
            assert_eq!(connection.exchange(&get(HELLO)).status, 200);
        }
        // One more hears why it is not let in. Two hundred more take nobody's place.
        let mut told = from(1);
        let reply = told.reply_to("GET").expect("a reply before anything was asked");
        assert_eq!((reply.status, reply.header("Retry-After")), (503, Some("1")));
        let mut outside: Vec<_> = (0..200).map(|_| from(1)).collect();
        let mut other = from(2);
        other.set_patience(SOON);
        assert_eq!(other.exchange(&get(HELLO)).status, 200);
        outside.iter_mut().for_each(assert_closes);
        for connection in &mut inside {
            assert_eq!(connection.exchange(&get(HELLO)).status, 200);
        }
        drop((inside, outside, other, told));
        eventually(SOON, || match from(1).try_exchange(&get(HELLO)) {
            Ok(reply) if reply.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    scene.assert_well();
}

/// Whoever comes through a unix socket has no address, and may have all there is.
#[test]
fn a_unix_socket_has_no_limit_for_one_address() {
    let world = World::new();
    let repo = Repo::fixture_bare(&world);
    let socket = world.join("socket");
    let options = ["--max-connections-per-address", "1", "--max-requests-per-address", "1"];
    let place = ["--wideopen", "--socket", socket.to_str().expect("text")];
    let args = [&[repo.arg()], &place[..], &options[..]].concat();
    let server = Gannet::start(&world, Gannet::command(&world, &args));
    let begun: Vec<_> = (0..10)
        .map(|n| {
            let key = format!("WORM--{n}");
            let target = api(SERVER, "v4", "put", &[("key", &key), ("clientuuid", CLIENT)]);
            let mut connection = Connection::unix(&socket);
            connection.write(&Request::put(target, 6, b"").head()).expect("begin a put");
            connection
        })
        .collect();
    for _ in 0..20 {
        let reply = Connection::unix(&socket).exchange(&get(HELLO));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    drop(begun);
    assert_eq!(server.stop().code(), Some(0));
}

/// Connections that never begin TLS are closed in time, and never more than one address may have.
#[test]
fn who_does_not_begin_tls_takes_no_place_for_long() {
    let world = World::new();
    let repo = Repo::fixture_bare(&world);
    let certificate = Certificate::make(&world);
    let arguments = certificate.arguments();
    let mut args = vec![repo.arg(), "--wideopen", "--header-timeout", "2"];
    args.extend(["--max-connections", "20", "--max-connections-per-address", "10"]);
    args.extend(arguments.iter().map(String::as_str));
    let server = Gannet::serve(&world, &args);
    let before = server.descriptors();
    let mut silent: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for (n, connection) in silent.iter_mut().enumerate() {
        if n % 2 == 0 {
            drop(connection.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")); // a half hello
        }
    }
    silent.iter_mut().for_each(assert_closes);
    drop(silent);
    eventually(SOON, || match server.descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} descriptors, {before} before")),
    });
    assert_eq!(server.stop().code(), Some(0));
}

/// When the system has no descriptors left, those who are inside stay, and others wait.
#[test]
fn a_server_without_descriptors_lets_clients_in_again_later() {
    let scene = Scene::new(&[]);
    let pid = Pid::from_raw(i32::try_from(scene.server.pid()).expect("a process id"));
    let limit = |files: Option<u64>| {
        let all = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: files.or(all), maximum: all };
        prlimit(pid, Resource::Nofile, limit).expect("limit the server");
    };
    let mut inside = scene.server.connect();
    assert_eq!(inside.exchange(&get(HELLO)).status, 200);
    limit(Some(scene.server.descriptors() as u64 + 4));
    let mut crowd: Vec<_> = (0..50).map(|_| scene.server.connect()).collect();
    eventually(SOON, || match scene.server.log() {
        log if log.contains("cannot let a client in") => Ok(()),
        log => Err(log),
    });
    let reply = inside.exchange(&get(HELLO));
    assert!([200, 503].contains(&reply.status), "{} {}", reply.status, reply.text());
    limit(None);
    for connection in &mut crowd {
        connection.set_patience(SOON);
        assert_eq!(connection.exchange(&get(HELLO)).text(), "hello\n");
    }
    drop((crowd, inside));
    scene.assert_well();
    // Once in a while is often enough.
    assert_eq!(scene.server.log().matches("cannot let a client in").count(), 1);
}

/// Lets this process open as many files as it may, and tells how many.
fn files_allowed() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("more files");
    limit.maximum.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

const CROWD: usize = 2000;
/// More than an idle connection needs by far: its buffers are made when bytes come.
const IDLE_BYTES_MAX: u64 = 32 * 1024;
