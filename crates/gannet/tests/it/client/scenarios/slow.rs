//! More slow transfers than the server has threads, processors, or jobs that it was told of.

use std::thread;
use std::time::{Duration, Instant};

use super::super::scene::text;
use super::super::thing::Thing;
use crate::harness::http::chunk;
use crate::harness::{Connection, Gannet, Repo, SERVER, Seeded, World, eventually, usual_or_long};

/// Each slow transfer lasts ten seconds, over thirty in the long run, and all of them at the same
/// time. Meanwhile every kind of request is asked again and again; half of them, and nine of ten in
/// the long run, must be answered within 100 ms. (The machine may be busy with other tests too.)
#[test]
fn normal_requests_are_answered_beside_more_slow_transfers_than_any_limit() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let options = ["--wideopen", "--jobs", "4", "--cpus", "2"];
    let server = Gannet::serve(&world, &[&[text(repo.path())], &options[..]].concat());
    let mut chance = Seeded::new(21);
    let large = Thing::new(&mut chance, LARGE..LARGE + 1);
    assert_eq!(server.send(&large.put()).member("stored"), true);
    let before = server.descriptors();

    let mut getting: Vec<_> = (0..SLOW_GETS)
        .map(|_| {
            let mut connection = Connection::narrow(server.address());
            connection.send(&large.get()).expect("ask for content");
            (connection, 0)
        })
        .collect();
    let mut putting: Vec<_> = (0..SLOW_PUTS)
        .map(|_| {
            let thing = Thing::new(&mut chance, 60_000..60_001);
            let mut connection = server.connect();
            connection.write(&thing.begin_of_put(1)).expect("begin a put");
            (connection, thing)
        })
        .collect();
    let ticks = usual_or_long(20, 70);
    let begin = Instant::now();
    let (mut waits, lasted) = thread::scope(|scope| {
        let slow = scope.spawn(|| {
            for tick in 0..ticks {
                let next = Instant::now() + TICK;
                for (connection, read) in &mut getting {
                    *read += connection.read_some().expect("some content").len();
                }
                let part = |content: &[u8], tick| 1 + (content.len() - 1) * tick / ticks;
                for (connection, thing) in &mut putting {
                    let [from, to] = [tick, tick + 1].map(|tick| part(&thing.content, tick));
                    connection.write(&chunk(&thing.content[from..to])).expect("some content");
                }
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            begin.elapsed()
        });
        let mut waits = Vec::new();
        while !slow.is_finished() {
            waits.extend(ask_everything(&mut server.connect(), &mut chance, &large));
            thread::sleep(BETWEEN);
        }
        (waits, slow.join().expect("the slow clients"))
    });

    for (mut connection, thing) in putting {
        connection.write(b"0\r\n\r\n").expect("end a put");
        let reply = connection.reply_to("POST").expect("a reply to a slow put");
        assert_eq!(reply.member("stored"), true, "{}", thing.key);
    }
    for (connection, read) in getting {
        assert!(read < large.content.len() / 2, "{read} bytes came before they were wanted");
        drop(connection);
    }
    eventually(SETTLE, || match server.descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} descriptors, {before} before")),
    });
    waits.sort();
    let within = |part: usize| waits[(waits.len() - 1) * part / 100];
    eprintln!(
        "{} requests beside {} transfers of {lasted:?}: half within {:?}, 90 % within {:?}, \
         99 % within {:?}, all within {:?}",
        waits.len(),
        SLOW_GETS + SLOW_PUTS,
        within(50),
        within(90),
        within(99),
        within(100),
    );
    assert!(waits.len() > 50, "only {} requests were answered in {lasted:?}", waits.len());
    let judged = within(usual_or_long(50, 90));
    assert!(judged < PROMISE, "normal requests took {judged:?}");
}

/// Stores something new, looks at it, locks it, removes it, and reads something else: how long
/// each took.
fn ask_everything(to: &mut Connection, chance: &mut Seeded, large: &Thing) -> Vec<Duration> {
    let thing = Thing::new(chance, 1000..2000);
    let mut waits = Vec::new();
    let mut timed = |request, what| {
        let begin = Instant::now();
        let reply = to.exchange(&request);
        waits.push(begin.elapsed());
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        reply
    };
    assert_eq!(timed(thing.put(), "put").member("stored"), true);
    assert_eq!(timed(thing.check_present(), "checkpresent").member("present"), true);
    assert!(timed(thing.get(), "get").body == thing.content, "other content");
    let id = timed(thing.lock(), "lockcontent").member("lockid");
    let id = id.as_str().expect("the id of a lock").to_owned();
    assert_eq!(timed(thing.remove(), "remove of locked content").member("removed"), false);
    timed(Thing::unlock(&id), "keeplocked");
    assert_eq!(timed(thing.remove(), "remove").member("removed"), true);
    assert_eq!(timed(large.check_present(), "checkpresent").member("present"), true);
    waits
}

/// More than twice what a slow reader takes in the long run.
const LARGE: u64 = 4_000_000;
/// Together more than the 512 threads that a runtime has for blocking work, by default.
const SLOW_GETS: usize = 350;
const SLOW_PUTS: usize = 250;
const TICK: Duration = Duration::from_millis(500);
const BETWEEN: Duration = Duration::from_millis(20);
/// Issue 3, "Done when" 4.
const PROMISE: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_secs(30);
