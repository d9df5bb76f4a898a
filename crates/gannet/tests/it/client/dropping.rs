//! Clones with numcopies 1 drop and get the same content against each other, through Gannet, while
//! clients are killed, connections cut and servers killed: no key is ever without a copy.
//!
//! Gannet serves the clones themselves, too, so that they drop from each other. A copy that is
//! looked for after each round need not be looked for in between: a key without any can never have
//! one again. A few rounds by default; `GANNET_LONG=1` plays 500, from the seed in `GANNET_SEED`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Pid, Signal, kill_process_group};

use super::files;
use super::relay::Relay;
use super::scene::{Scene, clone, expect_clean, objects_in, serve, text};
use crate::harness::{Repo, SERVER, Seeded, Server, World};

#[test]
fn clones_that_drop_from_each_other_never_lose_a_key() {
    let long = std::env::var_os("GANNET_LONG").is_some();
    let seed = std::env::var("GANNET_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds = if long { 500 } else { 8 };
    eprintln!("{rounds} rounds with the seed {seed}");
    let mut chance = Seeded::new(seed);
    let mut play = Play::begin(&mut chance);
    let mut seen = play.copies();
    for round in 0..rounds {
        let said = play.round(round, &mut chance);
        let copies = play.copies();
        let lost = play.keys.iter().filter(|key| copies.iter().all(|at| !at.contains(*key)));
        let lost: Vec<_> = lost.map(|key| String::from_utf8_lossy(key)).collect();
        assert!(lost.is_empty(), "round {round} of seed {seed} ({said}) lost {lost:?}");
        let came: usize =
            copies.iter().zip(&seen).map(|(new, old)| new.difference(old).count()).sum();
        let went: usize =
            copies.iter().zip(&seen).map(|(new, old)| old.difference(new).count()).sum();
        let counts = copies.each_ref().map(BTreeSet::len);
        eprintln!("round {round}: {said}: {came} came, {went} went: {counts:?}");
        play.came += came;
        play.went += went;
        seen = copies;
    }
    play.end();
    let Play { came, went, killed, .. } = play;
    eprintln!("{came} copies came, {went} went, {killed} clients were killed");
    assert!(went >= KEYS && came > 0, "hardly anything was dropped: {went}, or got: {came}");
}

#[test]
fn a_copy_that_its_owner_is_removing_is_not_counted_on() {
    let scene = Scene::new(true);
    let file = files::of_size(&scene, "one.bin", 3000);
    scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    let object = scene.repo().object(&file.key()).expect("the object");
    let lock = format!("{}.lck", text(&object));
    let lock = fs::File::create(lock).expect("the lock that git-annex takes to remove it");
    fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive).expect("lock it");
    // git-annex is refused a lock, and then asks whether the content is there.
    let dropped = scene.world.try_annex(&scene.client, &["drop", "."]);
    assert!(!dropped.success(), "dropped what two were about to drop: {dropped:?}");
    file.expect_whole();
    drop(lock);
    scene.annex(&["drop", "--quiet", "."]);
}

/// A hub, two clones of it, and the one server of all three.
struct Play {
    /// The hub, and the clones.
    places: [PathBuf; 3],
    keys: BTreeSet<Vec<u8>>,
    relay: Relay,
    server: Option<Server>,
    came: usize,
    went: usize,
    killed: usize,
    world: World,
}

impl Play {
    /// Begins with a copy of every key at every place.
    fn begin(chance: &mut Seeded) -> Self {
        let world = World::new();
        let hub = Repo::create(&world, "served", SERVER, true).path().to_owned();
        let server = serve(&world, &hub, &["--wideopen"], &[]);
        let relay = Relay::start(server.address());
        let one = clone(&world, &hub, &relay.annex_url(), SERVER);
        for number in 0..KEYS {
            fs::write(one.join(format!("{number}.bin")), chance.bytes(3000)).expect("write a file");
        }
        world.annex(&one, &["numcopies", "--quiet", "1"]);
        world.annex(&one, &["add", "--quiet", "."]);
        world.git(&one, &["commit", "-q", "-m", "what is disputed"]);
        world.git(&one, &["push", "-q", "origin", "HEAD:main", "git-annex:synced/git-annex"]);
        world.git(&hub, &["symbolic-ref", "HEAD", "refs/heads/main"]);
        world.annex(&hub, &["merge", "--quiet"]);
        world.annex(&one, &["copy", "--quiet", "--to", "origin", "."]);
        drop(server); // which commits what it noted
        let server = serve(&world, &hub, &["--wideopen"], &[]);
        relay.lead_to(server.address());
        let two = clone(&world, &hub, &relay.annex_url(), SERVER);
        world.annex(&two, &["get", "--quiet", "."]);
        for (here, there) in [(&one, &two), (&two, &one)] {
            let uuid = world.git(there, &["config", "annex.uuid"]);
            let url = format!("ssh://served.invalid{}", text(there));
            world.git(here, &["remote", "add", "peer", &url]);
            for (name, value) in [
                ("remote.peer.annexUrl", relay.annex_url().as_str()),
                ("remote.peer.annex-uuid", uuid.trim()),
                ("remote.peer.annex-ignore", "false"),
            ] {
                world.git(here, &["config", name, value]);
            }
        }
        let places = [hub, one, two];
        let keys = objects_in(&places[1].join(".git/annex/objects"));
        let (came, went, killed) = (0, 0, 0);
        let server = Some(server);
        let mut play = Self { places, keys, relay, server, came, went, killed, world };
        play.restart(false);
        play.exchange();
        assert_eq!(play.keys.len(), KEYS);
        assert!(play.copies().iter().all(|at| *at == play.keys), "copies everywhere");
        play
    }

    /// Lets both clones do something, and something happen to them meanwhile. Tells what it was.
    fn round(&mut self, number: usize, chance: &mut Seeded) -> String {
        let mut pick = |from: &[&'static [&'static str]]| {
            from[usize::try_from(chance.below(from.len() as u64)).expect("an index")]
        };
        // Now they fall upon what there is, now one makes copies while the other does the same or not.
        let todo = match number % 2 {
            0 => [pick(DROPS), pick(DROPS)],
            _ => [pick(COPIES), pick(&[DROPS, COPIES].concat())],
        };
        let mischief = match chance.below(7) {
            // No server can mend this: what a client holds in its own repository ends with it, while
            // what it asked another one to remove may still arrive (p2p-line §6.3). Two that do so at
            // once must not both be cut off in the middle.
            3 | 4 if todo == [DROP_FROM_PEER; 2] => 1,
            mischief => mischief,
        };
        let moment = Duration::from_millis(chance.below(700));
        let mut clients = [1, 2].map(|at| Some(self.start(at, todo[at - 1])));
        thread::sleep(moment);
        let what = match mischief {
            0 => "left alone",
            1 | 2 => {
                let victim = usize::from(mischief == 2);
                self.killed += usize::from(clients[victim].take().is_some_and(kill));
                "a client killed"
            }
            3 => {
                self.killed += clients
                    .each_mut()
                    .map(|it| it.take().is_some_and(kill))
                    .iter()
                    .filter(|it| **it)
                    .count();
                "both clients killed"
            }
            4 => {
                self.relay.cut();
                "connections cut"
            }
            5 => {
                self.restart(true);
                "server killed"
            }
            _ => {
                self.restart(false);
                "server restarted"
            }
        };
        // A client that waits for a server that is no more may wait for ever (p2p-http §7.2).
        let end = Instant::now() + PATIENCE;
        for client in clients.iter_mut().filter_map(Option::take) {
            self.killed += usize::from(finish_or_kill(client, end));
        }
        match chance.below(3) {
            0 => self.let_time_pass(),
            1 => self.exchange(),
            _ => {}
        }
        format!("{:?} against {:?}, after {moment:?} {what}", todo[0].join(" "), todo[1].join(" "))
    }

    fn start(&self, at: usize, args: &[&str]) -> Child {
        let mut command = self.world.command(&self.places[at], "git-annex");
        let command = command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().expect("start git-annex")
    }

    fn restart(&mut self, kill9: bool) {
        match self.server.take() {
            Some(server) if kill9 => server.kill9(),
            server => drop(server),
        }
        let [hub, others @ ..] = &self.places;
        let args = [text(&others[0]), text(&others[1]), "--wideopen"];
        let server = serve(&self.world, hub, &args, &[]);
        self.relay.lead_to(server.address());
        self.server = Some(server);
    }

    /// Ends all retentions, as if ten minutes had passed: nobody is at work.
    fn let_time_pass(&mut self) {
        self.relay.cut();
        drop(self.server.take());
        for place in &self.places {
            let git_dir =
                if place.join(".git").exists() { place.join(".git") } else { place.clone() };
            // What git left when it was killed would stop every git-annex from here on.
            drop(fs::remove_file(git_dir.join("refs/heads/git-annex.lock")));
            for_each_file(&git_dir.join("annex/objects"), &|file| {
                if file.extension().is_some_and(|it| it == "rtm") {
                    fs::write(file, "1s").expect("rewrite a retention");
                }
            });
        }
        self.restart(false);
    }

    /// Tells each clone what the others know.
    fn exchange(&self) {
        for clone in &self.places[1..] {
            for remote in ["origin", "peer"] {
                self.world.git(clone, &["fetch", "-q", remote]);
            }
            self.world.annex(clone, &["merge", "--quiet"]);
        }
    }

    /// What is at each place.
    fn copies(&self) -> [BTreeSet<Vec<u8>>; 3] {
        let [hub, one, two] = &self.places;
        let at = |dir: PathBuf| objects_in(&dir.join("annex/objects"));
        [at(hub.clone()), at(one.join(".git")), at(two.join(".git"))]
    }

    /// The hub is in order, where Gannet alone was at work. Then the logs of the clones are put in
    /// order, which clients could not write that were killed, and all must be well everywhere.
    fn end(&mut self) {
        self.let_time_pass();
        drop(self.server.take());
        expect_clean(&self.world, &self.places[0]);
        for _ in 0..2 {
            for clone in &self.places[1..] {
                let branch = "+git-annex:refs/heads/synced/git-annex";
                self.world.git(clone, &["push", "-q", "origin", branch]);
                self.world.annex(&self.places[0], &["merge", "--quiet"]);
            }
            for place in &self.places {
                // It complains of what it mends; whether it is content is asked in the end.
                self.world.try_annex(place, &["fsck", "--all", "--fast", "--quiet"]);
            }
            self.exchange();
        }
        for place in &self.places {
            expect_clean(&self.world, place);
        }
    }
}

/// Kills a client with all that it started; tells whether it was still at work.
fn kill(mut client: Child) -> bool {
    if client.try_wait().expect("ask for the client").is_some() {
        return false;
    }
    kill_process_group(Pid::from_child(&client), Signal::KILL).expect("kill the client");
    client.wait().expect("wait for the client");
    true
}

/// Waits for a client, and kills it at `end`; tells whether that was necessary.
fn finish_or_kill(mut client: Child, end: Instant) -> bool {
    while client.try_wait().expect("ask for the client").is_none() {
        if Instant::now() > end {
            return kill(client);
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

fn for_each_file(dir: &Path, see: &impl Fn(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => for_each_file(&path, see),
            path => see(&path),
        }
    }
}

const KEYS: usize = 20;
/// Not `move --to`: it stores a copy and then removes its own without locking the other (p2p-http
/// §7.1), so that two that move against each other can lose content, whoever serves it.
const DROPS: &[&[&str]] = &[&["drop", "."], &["drop", ".", "--from", "origin"], DROP_FROM_PEER];
/// Counts on the clone's own copy.
const DROP_FROM_PEER: &[&str] = &["drop", ".", "--from", "peer"];
const COPIES: &[&[&str]] = &[
    &["get", "."],
    &["get", ".", "--from", "peer"],
    &["copy", ".", "--to", "origin"],
    &["copy", ".", "--to", "peer"],
];
/// More than a round takes that nobody disturbs.
const PATIENCE: Duration = Duration::from_secs(6);
