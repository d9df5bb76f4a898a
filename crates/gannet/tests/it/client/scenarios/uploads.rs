//! Uploads that meet: of one key at once, and beside others that take very long.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::files::pattern;
use super::super::relay::Relay;
use super::super::scene::{clone, text};
use super::super::thing::{Thing, pick};
use super::Stock;
use crate::harness::http::chunk;
use crate::harness::{
    Connection, Request, SERVER, Seeded, Server, World, eventually, usual_or_long,
};

/// Two clients upload the same content; the one that came first is killed in the middle, or goes
/// on while the other, which may have been told to come again, is killed.
#[test]
fn two_clients_upload_one_key_at_once_and_one_aborts() {
    let stock = Stock::with_files(0, 0);
    let relay = Relay::start(stock.server.address());
    let url = relay.annex_url();
    let clones = [0, 1].map(|_| clone(&stock.world, stock.repo.path(), &url, SERVER));
    for round in 0..usual_or_long(4, 40_u64) {
        let content = pattern(round, LEN);
        let name = format!("shared{round}");
        let keys = clones.each_ref().map(|clone| add(&stock.world, clone, &name, &content));
        assert_eq!(keys[0], keys[1], "the same content has the same key");
        relay.limit(SLOW);
        relay.take();
        let first = stock.begin(&clones[0], &["copy", "--quiet", "--to", "origin", &name]);
        eventually(PATIENCE, || match relay.so_far().0 {
            1_000_000.. => Ok(()),
            few => Err(format!("only {few} bytes went up")),
        });
        let second = stock.begin(&clones[1], &["copy", "--quiet", "--to", "origin", &name]);
        let (aborts, goes_on) = if round % 2 == 0 { (first, second) } else { (second, first) };
        let done = aborts.interrupt(Duration::from_millis(700), Signal::KILL);
        assert!(!done || round % 2 == 1, "round {round}: the first was not caught in its middle");
        relay.limit(0);
        // Told that another upload of the key is running, a client gives up and is run again.
        if !goes_on.wait() {
            let clone = &clones[usize::from(round % 2 == 0)];
            let again = stock.annex(clone, &["copy", "--quiet", "--to", "origin", &name]);
            assert!(again.success(), "round {round}: {again}");
        }
        let got = stock.server.send(&Request::get(format!("/git-annex/{SERVER}/key/{}", keys[0])));
        assert!(got.status == 200 && got.body == content, "round {round}: {}", got.status);
        let state = stock.repo.state(&keys[0]);
        assert_eq!(state.partial_bytes, None, "round {round}: something is left of an upload");
    }
    stock.expect_at_rest();
}

/// While one upload takes for ever and others come and go all the time, what a client uploads can
/// be had by another at once, and the branch tells of it in time.
#[test]
fn a_third_clone_fetches_an_upload_at_once_under_sustained_traffic_and_beside_a_slow_one() {
    let stock = Stock::with_files(0, 0);
    let [uploads, third] = [stock.clone(), stock.clone()];
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic: Vec<_> = (0..3)
            .map(|number| {
                let (server, ended) = (&stock.server, &ended);
                scope.spawn(move || come_and_go(server, 31 + number, ended))
            })
            .collect();
        let slow = scope.spawn(|| upload_for_ever(&stock.server, &ended));
        let _end = OnDrop(|| ended.store(true, Ordering::Relaxed));
        for round in 0..usual_or_long(5, 60_u64) {
            let (name, content) = (format!("fresh{round}"), pattern(100 + round, 300_000));
            let key = add(&stock.world, &uploads, &name, &content);
            stock.world.annex(&uploads, &["copy", "--quiet", "--to", "origin", &name]);
            let since = Instant::now();
            // It hears of the content from the client, before the server may have said anything.
            let news = ["HEAD:refs/heads/pushed", "+git-annex:refs/heads/synced/git-annex"];
            stock.world.git(&uploads, &[&["push", "-q", "origin"], &news[..]].concat());
            stock.world.git(&third, &["fetch", "-q", "origin"]);
            stock.world.git(&third, &["merge", "-q", "--ff-only", "origin/pushed"]);
            stock.world.annex(&third, &["merge", "--quiet"]);
            let got = stock.annex(&third, &["get", &name]);
            assert!(got.success(), "round {round}: {got}");
            let found = fs::read(third.join(&name)).unwrap_or_default();
            assert!(found == content, "round {round}: the third clone has other content, or none");
            eventually(PATIENCE, || {
                let log = stock.repo.location_log(&stock.world, &key);
                log.get(SERVER).copied().filter(|&there| there).ok_or(format!("{log:?}"))
            });
            eprintln!("the branch told of {name} {:?} after the upload", since.elapsed());
            assert!(!slow.is_finished(), "the slow upload ended");
        }
        ended.store(true, Ordering::Relaxed);
        let rounds: u32 = traffic.into_iter().map(|one| one.join().expect("traffic")).sum();
        assert!(rounds > 10, "hardly any traffic: {rounds} rounds");
        let thing = slow.join().expect("the slow upload");
        assert!(stock.server.send(&thing.get()).body == thing.content, "the slow upload came");
    });
    stock.expect_at_rest();
}

/// Stores, reads and removes until it is told to end, and leaves everything stored; tells how often.
fn come_and_go(server: &Server, seed: u64, ended: &AtomicBool) -> u32 {
    let mut chance = Seeded::new(seed);
    let things: Vec<_> = (0..4).map(|_| Thing::new(&mut chance, 1000..500_000)).collect();
    let mut connection = server.connect();
    let mut rounds = 0;
    for thing in &things {
        assert_eq!(connection.exchange(&thing.put()).member("stored"), true);
    }
    while !ended.load(Ordering::Relaxed) {
        let thing = pick(&mut chance, &things);
        assert!(connection.exchange(&thing.get()).body == thing.content, "other content came");
        assert_eq!(connection.exchange(&thing.remove()).member("removed"), true);
        assert_eq!(connection.exchange(&thing.put()).member("stored"), true);
        rounds += 1;
        thread::sleep(BREATH);
    }
    rounds
}

/// Uploads a byte now and then, until it is told to end; then all the rest.
fn upload_for_ever(server: &Server, ended: &AtomicBool) -> Thing {
    let thing = Thing::new(&mut Seeded::new(30), 500_000..500_001);
    let mut connection: Connection = server.connect();
    connection.write(&thing.begin_of_put(1)).expect("begin a put");
    let mut sent = 1;
    while !ended.load(Ordering::Relaxed) {
        connection.write(&chunk(&thing.content[sent..=sent])).expect("one more byte");
        sent += 1;
        thread::sleep(10 * BREATH);
    }
    connection.write(&chunk(&thing.content[sent..])).expect("the rest");
    connection.write(b"0\r\n\r\n").expect("the end");
    assert_eq!(connection.reply_to("POST").expect("a reply").member("stored"), true);
    thing
}

/// Adds and commits a file in a clone; returns its key.
fn add(world: &World, clone: &Path, name: &str, content: &[u8]) -> String {
    fs::write(clone.join(name), content).expect("write a file");
    world.annex(clone, &["add", "--quiet", name]);
    world.git(clone, &["commit", "-q", "-m", name]);
    let object = fs::read_link(clone.join(name)).expect("an annexed file");
    text(Path::new(object.file_name().expect("a key"))).to_owned()
}

/// Lets the others end when a test fails, so that it does not wait for them.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

const LEN: usize = 6_000_000;
/// In bytes per second.
const SLOW: u64 = 3 << 20;
const BREATH: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
