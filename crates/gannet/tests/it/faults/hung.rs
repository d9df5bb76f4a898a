//! A disk that does not answer, among a hundred that do.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::secluded::{Mount, secluded};
use super::{Place, SOON, Sample};
use crate::harness::http::api;
use crate::harness::{CLIENT, Gannet, HELLO, Repo, Request, SERVER, Server, World, eventually};

/// One of a hundred repositories is on a disk that stops answering while it is served. Many ask for
/// it, and go on asking; whoever asks for the others is served as before.
#[test]
fn a_disk_that_hangs_keeps_nobody_else_waiting() {
    secluded("faults::hung::a_disk_that_hangs_keeps_nobody_else_waiting", || {
        let world = World::new();
        let shelf = Shelf::new(&world, GOOD);
        let server = Gannet::serve(&world, &["--directory", shelf.arg(), "--wideopen"]);
        let hung = Place { server: &server, uuid: SERVER };
        assert_eq!(hung.get(HELLO).text(), "hello\n");
        shelf.assert_good(&server);
        let mut waiting = begin_all(&server);
        let mount = Mount::silent(&world.join("shelf/m-hung"));
        waiting.extend(begin_all(&server));
        shelf.assert_good(&server);
        // Whoever is unknown is looked for, on every disk that answers.
        let newcomer = Repo::create(&world, "shelf/z-late", &numbered(999), true);
        newcomer.set_content(&world, HELLO, b"hello\n");
        let late = Place { server: &server, uuid: newcomer.uuid() };
        eventually(SOON, || match late.get(HELLO) {
            reply if reply.status == 200 => Ok(()),
            reply => Err(reply.text()),
        });
        shelf.assert_good(&server);
        // The disk comes back, in a way: everybody who waited for it is told.
        drop(mount);
        for mut connection in waiting {
            let reply = connection.reply_to("POST").expect("a reply");
            assert!([200, 404, 500, 503].contains(&reply.status), "{}", reply.status);
        }
        eventually(SOON, || match hung.get(HELLO) {
            reply if reply.status == 200 => Ok(()),
            reply => Err(reply.text()),
        });
        hung.assert_stores(&Sample::new(7, 1000));
        shelf.assert_good(&server);
        assert_eq!(server.stop().code(), Some(0));
    });
}

/// The disk hangs before the server starts; repositories before and behind it are found.
#[test]
fn a_disk_that_hangs_from_the_start_hides_no_other() {
    secluded("faults::hung::a_disk_that_hangs_from_the_start_hides_no_other", || {
        let world = World::new();
        let shelf = Shelf::new(&world, 10);
        let mount = Mount::silent(&world.join("shelf/m-hung"));
        let server = Gannet::serve(&world, &["--directory", shelf.arg(), "--wideopen"]);
        shelf.assert_good(&server);
        drop(mount);
        assert_eq!(server.stop().code(), Some(0));
    });
}

/// With nothing mounted: reading the configuration waits for somebody who never comes.
#[test]
fn a_configuration_that_hangs_keeps_nobody_else_waiting() {
    let world = World::new();
    let shelf = Shelf::new(&world, 10);
    let server = Gannet::serve(&world, &["--directory", shelf.arg(), "--wideopen"]);
    let hung = Place { server: &server, uuid: SERVER };
    assert_eq!(hung.get(HELLO).text(), "hello\n");
    let pipe = world.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let config = world.join("shelf/m-hung/config");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}[include]\n\tpath = {}\n", pipe.display())).unwrap();
    let waiting = begin_all(&server);
    shelf.assert_good(&server);
    fs::write(&config, good).unwrap();
    // Whoever waits reads nothing, again and again until all have.
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let open = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
                drop(rustix::fs::open(&pipe, open, rustix::fs::Mode::empty()));
                thread::sleep(Duration::from_millis(5));
            }
        });
        for mut connection in waiting {
            connection.reply_to("POST").expect("a reply");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(hung.get(HELLO).text(), "hello\n");
    assert_eq!(server.stop().code(), Some(0));
}

/// Good repositories, before and behind one called `m-hung`.
struct Shelf {
    path: String,
    good: u32,
}

impl Shelf {
    fn new(world: &World, good: u32) -> Self {
        let model = Repo::create(world, "shelf/m-hung", SERVER, true);
        model.set_content(world, HELLO, b"hello\n");
        let path = world.join("shelf").to_str().expect("a path of ASCII").to_owned();
        for number in 0..good {
            let name = format!("{path}/{}{number}", if number % 2 == 0 { "a" } else { "z" });
            world.ok(world.path(), &["cp", "-a", model.arg(), &name]);
            let config = fs::read_to_string(format!("{name}/config")).unwrap();
            fs::write(format!("{name}/config"), config.replace(SERVER, &numbered(number))).unwrap();
        }
        Self { path, good }
    }

    fn arg(&self) -> &str {
        &self.path
    }

    /// Asks all of them, and changes some.
    #[track_caller]
    fn assert_good(&self, server: &Server) {
        for number in 0..self.good {
            let uuid = numbered(number);
            let place = Place { server, uuid: &uuid };
            let mut connection = server.connect();
            connection.set_patience(SOON);
            let request = Request::get(format!("/git-annex/{uuid}/key/{HELLO}"));
            let reply = connection.exchange(&request);
            assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
            if number % 20 == 0 {
                let sample = Sample::new(number.into(), 3000);
                place.assert_stores(&sample);
                place.assert_removes(&sample.key);
            }
        }
    }
}

/// Sends one request of each kind, many times, and waits for none.
fn begin_all(server: &Server) -> Vec<crate::harness::Connection> {
    let mut connections = Vec::new();
    for _ in 0..6 {
        for endpoint in ["checkpresent", "lockcontent", "putoffset", "gettimestamp", "remove"] {
            let parameters = [("key", ABSENT), ("clientuuid", CLIENT)];
            let mut connection = server.connect();
            connection.send(&Request::post(api(SERVER, "v4", endpoint, &parameters))).unwrap();
            connections.push(connection);
        }
    }
    connections
}

fn numbered(number: u32) -> String {
    format!("5e5e5e5e-0000-4000-9000-{number:012}")
}

const GOOD: u32 = 100;
const ABSENT: &str = crate::harness::ABSENT;
