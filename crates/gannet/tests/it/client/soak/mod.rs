//! The soak: everybody works on one server at once, for two minutes or for as long as
//! `GANNET_SOAK_MINUTES` says. What they know is checked all the time, what the server needs is
//! sampled every second, and the report says whether it grew.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::branch::{keys_at, locations};
use super::parties::{AnnexParty, Fate, HttpParty};
use super::scenarios::Stock;
use super::scene::{expect_clean, objects_in};
use super::thing::{Thing, pick};
use crate::harness::http::chunk;
use crate::harness::{Connection, SERVER, Seeded, Server, World, eventually};
use vitals::{Sample, Vitals};

mod vitals;

#[test]
fn mixed_load_stays_right_and_the_server_does_not_grow() {
    let minutes = std::env::var("GANNET_SOAK_MINUTES").map_or(2, |minutes| {
        minutes.parse::<u64>().expect("a number of minutes in GANNET_SOAK_MINUTES")
    });
    let stock = Stock::with_files(5, 300_000);
    let [shared_one, shared_two, hasty, own] = [0; 4].map(|_| stock.clone());
    let mut annex = AnnexParty::new(&stock.world, own, 1, 8);
    let mut over_http: Vec<_> = (0..5)
        .map(|number| {
            HttpParty::new(100 + number, 8, 1000..[200_000, 3 << 20][usize::from(number == 0)])
        })
        .collect();
    let mut probes = things(51, 4, 50_000);
    let disputed = things(52, 4, 100_000);
    let slow = things(53, 6, 400_000);
    let everything = over_http.iter().flat_map(HttpParty::certain).map(|(thing, _)| thing);
    let everything = everything.chain(&probes).chain(&disputed).chain(&slow);
    note_elsewhere(&stock, everything);
    warm_up(&stock.server, &mut over_http);

    let ended = &AtomicBool::new(false);
    let server = &stock.server;
    let idle = Sample::take(server, stock.repo.path());
    let mut vitals = Vitals::default();
    let counts = thread::scope(|scope| {
        let end = OnDrop(ended);
        let mut actors = Vec::new();
        for party in &mut over_http {
            actors.push((
                "steps over HTTP",
                scope.spawn(move || {
                    until(ended, || {
                        party.step(server.address()).expect("a server that stays");
                        thread::sleep(BREATH);
                    })
                }),
            ));
        }
        actors.push((
            "commands of git-annex",
            scope.spawn(|| {
                until(ended, || {
                    let done = annex.step();
                    assert!(done.success(), "{done}");
                })
            }),
        ));
        for clone in [&shared_one, &shared_two] {
            actors.push((
                "rounds of get and drop",
                scope.spawn(|| {
                    until(ended, || {
                        get_and_drop(&stock, clone);
                    })
                }),
            ));
        }
        let mut chance = Seeded::new(54);
        let (stock, hasty, disputed, slow) = (&stock, &hasty, &disputed, &slow);
        actors.push((
            "interrupted clients",
            scope.spawn(move || {
                until(ended, || {
                    let signal = [Signal::INT, Signal::KILL][usize::from(chance.below(2) == 0)];
                    let after = Duration::from_millis(100 + chance.below(400));
                    stock.begin(hasty, &["get", "--quiet", "."]).interrupt(after, signal);
                    stock.world.annex(hasty, &["drop", "--quiet", "--force", "."]);
                })
            }),
        ));
        for number in 0..2 {
            let mut chance = Seeded::new(60 + number);
            actors.push((
                "disputes",
                scope.spawn(move || {
                    until(ended, || {
                        dispute(server, pick(&mut chance, disputed), &mut chance);
                        thread::sleep(BREATH);
                    })
                }),
            ));
        }
        actors.push((
            "slow transfers",
            scope.spawn(move || {
                until(ended, || {
                    transfer_slowly(server, slow, ended);
                })
            }),
        ));
        let probes = &mut probes;
        actors.push((
            "notes seen in the branch",
            scope.spawn(move || {
                until(ended, || {
                    probes.rotate_left(1);
                    see_in_branch(stock, &probes[0]);
                })
            }),
        ));
        actors.push((
            "commands in the repository",
            scope.spawn(move || {
                until(ended, || {
                    local_commands(&stock.world, stock.repo.path());
                })
            }),
        ));
        let until = Instant::now() + Duration::from_secs(60 * minutes);
        while Instant::now() < until && !actors.iter().any(|(_, actor)| actor.is_finished()) {
            vitals.add(Sample::take(server, stock.repo.path()));
            thread::sleep(Duration::from_secs(1));
        }
        drop(end);
        let mut counts: Vec<(&str, u64)> = Vec::new();
        for (what, actor) in actors {
            let count = actor.join().expect("an actor that came to its end");
            match counts.iter_mut().find(|(found, _)| *found == what) {
                Some((_, all)) => *all += count,
                None => counts.push((what, count)),
            }
        }
        counts
    });

    for party in &mut over_http {
        party.settle(server);
    }
    annex.settle(&stock.repo);
    for thing in probes.iter().chain(&disputed).chain(&slow) {
        assert_eq!(server.send(&thing.put()).member("stored"), true, "{} at last", thing.key);
    }
    expect_agreement(&stock, &over_http, &annex);
    expect_clean(&stock.world, stock.repo.path());
    let after = eventually(SETTLE, || {
        let now = Sample::take(server, stock.repo.path());
        match now.holds_no_more_than(&idle) {
            true => Ok(now),
            false => Err(format!("at rest before {idle:?}, and after {now:?}")),
        }
    });
    let report = vitals.report(minutes, &counts, &idle, &after);
    eprintln!("{report}");
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../soak");
    fs::create_dir_all(&place).expect("make the directory of the report");
    fs::write(place.join("report.txt"), &report).expect("write the report");
    for (what, count) in counts {
        assert!(count > 0, "there were no {what}");
    }
    vitals.expect_flat();
}

/// Ends everybody, also when somebody failed.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn until(ended: &AtomicBool, mut step: impl FnMut()) -> u64 {
    let mut count = 0;
    while !ended.load(Ordering::Relaxed) {
        step();
        count += 1;
    }
    count
}

fn things(seed: u64, count: usize, len_max: u64) -> Vec<Thing> {
    let mut chance = Seeded::new(seed);
    (0..count).map(|_| Thing::new(&mut chance, len_max / 2..len_max)).collect()
}

/// Lets git-annex believe that every key has a copy elsewhere.
fn note_elsewhere<'a>(stock: &Stock, things: impl Iterator<Item = &'a Thing>) {
    for thing in things {
        let note = ["setpresentkey", thing.key.as_str(), ELSEWHERE, "1"];
        stock.world.annex(stock.repo.path(), &note);
    }
}

/// What the first requests cost once is no growth.
fn warm_up(server: &Server, over_http: &mut [HttpParty]) {
    for party in over_http {
        for _ in 0..20 {
            party.step(server.address()).expect("a server that stays");
        }
    }
}

fn get_and_drop(stock: &Stock, clone: &Path) {
    let got = stock.annex(clone, &["get", "--quiet", "."]);
    assert!(got.success(), "{got}");
    stock.expect_whole(clone);
    let dropped = stock.annex(clone, &["drop", "--quiet", "."]);
    assert!(dropped.success(), "{dropped}");
}

/// Several store, read and remove the same keys: what is read is whole, or not there.
fn dispute(server: &Server, thing: &Thing, chance: &mut Seeded) {
    let request = match chance.below(3) {
        0 => thing.put(),
        1 => thing.remove(),
        _ => thing.get(),
    };
    let reply = server.send(&request);
    assert!([200, 404, 503].contains(&reply.status), "{} {}", reply.status, reply.text());
    if request.method == "GET" && reply.status == 200 && reply.complete {
        assert!(reply.body == thing.content, "{} has other content", thing.key);
    }
}

/// Uploads several things a little at a time, all at once, and then removes them.
fn transfer_slowly(server: &Server, slow: &[Thing], ended: &AtomicBool) {
    let mut uploads: Vec<(&Thing, Connection)> = Vec::new();
    for thing in slow {
        assert_eq!(server.send(&thing.remove()).member("removed"), true, "{}", thing.key);
        let mut connection = server.connect();
        connection.write(&thing.begin_of_put(1)).expect("begin an upload");
        uploads.push((thing, connection));
    }
    let mut sent = 1;
    for _ in 0..50 {
        if ended.load(Ordering::Relaxed) {
            break;
        }
        for (thing, connection) in &mut uploads {
            let part = chunk(&thing.content[sent..sent + 1000]);
            connection.write(&part).expect("go on with an upload");
        }
        sent += 1000;
        thread::sleep(Duration::from_millis(200));
    }
    for (thing, mut connection) in uploads {
        connection.write(&chunk(&thing.content[sent..])).expect("the rest of an upload");
        connection.write(b"0\r\n\r\n").expect("the end of an upload");
        let reply = connection.reply_to("POST").expect("a reply to a slow upload");
        assert_eq!(reply.member("stored"), true, "{}", thing.key);
    }
}

/// What is stored and what is removed is soon said by the branch.
fn see_in_branch(stock: &Stock, thing: &Thing) {
    for there in [true, false] {
        let (request, member) =
            if there { (thing.put(), "stored") } else { (thing.remove(), "removed") };
        assert_eq!(stock.server.send(&request).member(member), true, "{}", thing.key);
        eventually(SETTLE, || {
            let log = stock.repo.location_log(&stock.world, &thing.key);
            match log.get(SERVER) == Some(&there) {
                true => Ok(()),
                false => Err(format!("the log of {} should say {there}: {log:?}", thing.key)),
            }
        });
    }
}

/// Other processes at work in the repository: git-annex notes something, git packs. (To prune at
/// once what is not reachable yet, as `--prune=now` does, is not safe beside anybody who writes.)
fn local_commands(world: &World, dir: &Path) {
    let key = "SHA256-s1--e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0";
    world.annex(dir, &["setpresentkey", key, ELSEWHERE, "1"]);
    world.git(dir, &["gc", "-q"]);
    thread::sleep(Duration::from_secs(5));
}

/// The disk, the branch and what was acknowledged say the same.
fn expect_agreement(stock: &Stock, over_http: &[HttpParty], annex: &AnnexParty<'_>) {
    eventually(SETTLE, || {
        let said = keys_at(&locations(&stock.world, stock.repo.path()), SERVER);
        let there = objects_in(&stock.repo.annex_dir().join("objects"));
        let differ = said.symmetric_difference(&there).map(|key| String::from_utf8_lossy(key));
        match differ.collect::<Vec<_>>() {
            wrong if wrong.is_empty() => Ok(()),
            wrong => Err(format!("branch and disk differ about {wrong:?}")),
        }
    });
    let there = objects_in(&stock.repo.annex_dir().join("objects"));
    let certain = over_http.iter().flat_map(HttpParty::certain);
    let certain = certain.map(|(thing, fate)| (thing.key.as_str(), fate)).chain(annex.certain());
    for (key, fate) in certain {
        assert_eq!(fate, Fate::of(there.contains(key.as_bytes())), "{key}");
    }
}

const ELSEWHERE: &str = "e0e0e0e0-0000-4000-8000-000000000000";
const BREATH: Duration = Duration::from_millis(20);
/// The promise is two seconds; a busy machine gets more.
const SETTLE: Duration = Duration::from_secs(30);
