//! Real git-annex processes and HTTP clients work on one repository at the same time, and no
//! update of any location log is lost.
//!
//! Who is sure of the end? Of a key that one party alone stores and removes: that party, after its
//! last acknowledged change. Of what a log says about a repository elsewhere: the one party that
//! notes it, once, while others write lines of their own into the very same log. Of a key that HTTP
//! clients dispute among themselves: the server, whose log must agree with its objects. Of a key
//! that git-annex disputes with the server nobody is sure, because git-annex notes a removal after
//! it has let go of the key (repository §6.1): such a key is stored once more when all is quiet.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::branch::{Locations, locations};
use super::scene::{expect_clean, objects_in, serve};
use super::thing::{Thing, pick};
use crate::harness::{Connection, Finished, Repo, SERVER, Seeded, World, eventually};

#[test]
fn sixteen_http_clients_and_four_git_annex_processes_lose_no_update() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, false);
    let stage = Stage::new();
    stage.note_elsewhere(&world, repo.path());
    let server = serve(&world, repo.path(), &["--wideopen"], &[]);
    let end = Instant::now() + BUSY;

    let (world_ref, dir, stage_ref) = (&world, repo.path(), &stage);
    let certain: Locations = thread::scope(|scope| {
        let over_http = (0..HTTP_CLIENTS).map(|number| {
            let connection = server.connect();
            scope.spawn(move || http_client(number, connection, stage_ref, end))
        });
        let over_http: Vec<_> = over_http.collect();
        let processes = (0..PROCESSES).map(|number| {
            scope.spawn(move || match number {
                0 => noting_process(world_ref, dir, stage_ref, end),
                _ => storing_process(number, world_ref, dir, stage_ref, end),
            })
        });
        let processes: Vec<_> = processes.collect();
        let all = over_http.into_iter().chain(processes);
        all.flat_map(|party| party.join().expect("a party that came to its end")).collect()
    });
    for thing in &stage.disputed_with_git_annex {
        let stored = server.send(&thing.put()).member("stored");
        assert_eq!(stored, true, "{} at last", thing.key);
    }

    eventually(QUIET, || {
        let journal = fs::read_dir(repo.annex_dir().join("journal"));
        match journal.into_iter().flatten().count() {
            0 => Ok(()),
            left => Err(format!("{left} files are left in the journal")),
        }
    });
    let said = locations(&world, repo.path());
    let objects = objects_in(&repo.annex_dir().join("objects"));
    let mut wrong = Vec::new();
    for ((key, uuid), there) in &certain {
        let name = String::from_utf8_lossy(key);
        if said.get(&(key.clone(), uuid.clone())) != Some(there) {
            wrong.push(format!("the log of {name} should say {there} of {uuid}"));
        }
        if uuid == SERVER && objects.contains(key) != *there {
            wrong.push(format!("whether the object of {name} is there should be {there}"));
        }
    }
    for thing in stage.everything() {
        let key = thing.key.as_bytes();
        let log = said.get(&(key.to_vec(), SERVER.to_owned())).copied();
        if log.unwrap_or(false) != objects.contains(key) {
            wrong.push(format!("log of {} says {log:?}, against what is there", thing.key));
        }
        if said.get(&(key.to_vec(), ELSEWHERE.to_owned())) != Some(&true) {
            wrong.push(format!("the first line of the log of {} was lost", thing.key));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(certain.len() > HTTP_CLIENTS, "hardly anything was done: {certain:?}");
    expect_clean(&world, repo.path());
}

/// All keys of the play, by who touches them.
struct Stage {
    of_http_client: Vec<Vec<Thing>>,
    of_process: Vec<Vec<Thing>>,
    disputed_over_http: Vec<Thing>,
    disputed_with_git_annex: Vec<Thing>,
}

impl Stage {
    fn new() -> Self {
        let mut chance = Seeded::new(7);
        let mut some = |count| (0..count).map(|_| thing(&mut chance)).collect::<Vec<_>>();
        Self {
            of_http_client: (0..HTTP_CLIENTS).map(|_| some(3)).collect(),
            of_process: (0..PROCESSES).map(|_| some(3)).collect(),
            disputed_over_http: some(5),
            disputed_with_git_annex: some(3),
        }
    }

    fn everything(&self) -> impl Iterator<Item = &Thing> {
        let owned = self.of_http_client.iter().chain(&self.of_process).flatten();
        owned.chain(&self.disputed_over_http).chain(&self.disputed_with_git_annex)
    }

    /// Begins every log with a line about a repository elsewhere, which must never get lost. It
    /// also lets git-annex believe that no removal removes the last copy.
    fn note_elsewhere(&self, world: &World, dir: &Path) {
        let lines = self.everything().map(|thing| format!("{} {ELSEWHERE} 1\n", thing.key));
        let file = world.fresh("lines");
        fs::write(&file, lines.collect::<String>()).expect("write lines");
        let mut command = world.command(dir, "git-annex");
        command.args(["setpresentkey", "--quiet", "--batch"]);
        command.stdin(fs::File::open(&file).expect("open the lines")).stdout(Stdio::null());
        assert!(command.status().expect("run git-annex").success());
    }
}

fn thing(chance: &mut Seeded) -> Thing {
    Thing::new(chance, 200..20_200)
}

/// Stores and removes keys of its own, whose every answer it insists on, and disputed ones.
fn http_client(number: usize, mut to: Connection, stage: &Stage, end: Instant) -> Locations {
    let mut chance = Seeded::new(1000 + number as u64);
    let own = &stage.of_http_client[number];
    let disputed = [&stage.disputed_over_http, &stage.disputed_with_git_annex];
    let mut certain = BTreeMap::new();
    while Instant::now() < end {
        let store = chance.below(2) == 0;
        match chance.below(4) {
            0 | 1 => {
                let thing = pick(&mut chance, own);
                let done = match store {
                    true => to.exchange(&thing.put()).member("stored"),
                    false => to.exchange(&thing.remove()).member("removed"),
                };
                assert_eq!(done, true, "nobody else touches {}", thing.key);
                certain.insert(thing.at(SERVER), store);
            }
            which => {
                let thing = pick(&mut chance, disputed[usize::from(which == 3)]);
                let reply = to.exchange(&if store { thing.put() } else { thing.remove() });
                let told = reply.status != 200
                    || reply.member(if store { "stored" } else { "removed" }).is_boolean();
                assert!(told && [200, 503].contains(&reply.status), "{}", reply.text());
            }
        }
        thread::sleep(BREATH);
    }
    certain
}

/// Runs one git-annex process after the other that stores or removes a key, or notes something
/// about a repository elsewhere in a log that HTTP clients write too.
fn storing_process(
    number: usize,
    world: &World,
    dir: &Path,
    stage: &Stage,
    end: Instant,
) -> Locations {
    let mut chance = Seeded::new(2000 + number as u64);
    let mut certain = BTreeMap::new();
    while Instant::now() < end {
        let there = chance.below(2) == 0;
        let bit = if there { "1" } else { "0" };
        match chance.below(4) {
            0 | 1 => {
                let thing = pick(&mut chance, &stage.of_process[number]);
                let done = store_or_drop(world, dir, thing, there);
                assert!(done.success(), "nobody else touches {}: {done}", thing.key);
                certain.insert(thing.at(SERVER), there);
            }
            2 => {
                let thing = pick(&mut chance, &stage.disputed_over_http);
                let noted = uuid_elsewhere(number, certain.len());
                world.annex(dir, &["setpresentkey", &thing.key, &noted, bit]);
                certain.insert(thing.at(&noted), there);
            }
            _ => {
                let thing = pick(&mut chance, &stage.disputed_with_git_annex);
                let tried = store_or_drop(world, dir, thing, there);
                assert!(tried.code.is_some(), "git-annex crashed: {tried}");
            }
        }
    }
    certain
}

/// One git-annex process that writes line after line into logs that HTTP clients write too.
fn noting_process(world: &World, dir: &Path, stage: &Stage, end: Instant) -> Locations {
    let mut chance = Seeded::new(3000);
    let mut command = world.command(dir, "git-annex");
    command.args(["setpresentkey", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("start git-annex");
    let mut tell = child.stdin.take().expect("a piped standard input");
    let mut hear = BufReader::new(child.stdout.take().expect("a piped standard output"));
    let mut certain = BTreeMap::new();
    while Instant::now() < end {
        let thing = pick(&mut chance, &stage.disputed_over_http);
        let noted = uuid_elsewhere(0, certain.len());
        let there = chance.below(2) == 0;
        let line = format!("{} {noted} {}\n", thing.key, u8::from(there));
        tell.write_all(line.as_bytes()).expect("tell git-annex");
        let mut said = String::new();
        hear.read_line(&mut said).expect("hear git-annex");
        assert!(said.contains("ok"), "git-annex said: {said}");
        certain.insert(thing.at(&noted), there);
        thread::sleep(BREATH);
    }
    drop(tell);
    assert!(child.wait().expect("wait for git-annex").success());
    certain
}

/// Names a repository that nobody has named before. A line about it is written once, so that no
/// later one can hide that it was lost.
fn uuid_elsewhere(party: usize, number: usize) -> String {
    format!("e1e1e1e1-0000-4000-800{party}-{number:012}")
}

fn store_or_drop(world: &World, dir: &Path, thing: &Thing, store: bool) -> Finished {
    if !store {
        return world.try_annex(dir, &["dropkey", "--force", "--quiet", &thing.key]);
    }
    let file = world.fresh("content");
    fs::write(&file, &thing.content).expect("write content");
    let file = file.to_str().expect("a path of ASCII");
    world.try_annex(dir, &["setkey", "--quiet", &thing.key, file])
}

const HTTP_CLIENTS: usize = 16;
const PROCESSES: usize = 4;
const ELSEWHERE: &str = "e0e0e0e0-0000-4000-8000-000000000000";
const BUSY: Duration = Duration::from_secs(20);
/// Between two steps of one party, so that the machine has something left for other tests.
const BREATH: Duration = Duration::from_millis(5);
/// The journal is committed within a second of the last change; a busy machine gets more.
const QUIET: Duration = Duration::from_secs(10);
