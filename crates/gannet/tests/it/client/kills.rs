//! The server is killed at random moments under mixed load. Whatever it acknowledged is so when it
//! is back; whatever it was in the middle of is there whole, or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::branch::{keys_at, locations};
use super::parties::{AnnexParty, Fate, HttpParty};
use super::relay::Relay;
use super::scene::{clone, expect_clean, objects_in, text};
use crate::harness::{Gannet, Repo, SERVER, Seeded, Server, World, eventually, usual_or_long};
use crate::raw::sha256_key;

/// The long run kills it 300 times.
#[test]
fn nothing_acknowledged_is_lost_by_kills_at_random_moments() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, false);
    world.git(repo.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
    let mut server = start(&world, &repo);
    let relay = Relay::start(server.address());
    let client = clone(&world, repo.path(), &relay.annex_url(), SERVER);
    let mut annex = AnnexParty::new(&world, client, 1, 6);
    let mut over_http: Vec<_> = (0..4)
        .map(|number| {
            HttpParty::new(100 + number, 6, 1000..if number == 0 { 8 << 20 } else { 200_000 })
        })
        .collect();
    note_elsewhere(&world, &repo, &over_http);

    let mut chance = Seeded::new(4);
    let (mut steps, mut commands, mut unknown) = (0, 0, 0);
    let kills = usual_or_long(8, 300);
    for kill in 1..=kills {
        let done = play_and_kill(server, &mut over_http, &mut annex, &mut chance);
        steps += done.0;
        commands += done.1;
        unknown += certain(&over_http, &annex).filter(|(_, fate)| *fate == Fate::Unknown).count();
        expect_whole_objects(&repo);
        server = start(&world, &repo);
        relay.lead_to(server.address());
        for party in &mut over_http {
            party.recover(&server, &repo);
        }
        annex.recover(&server, &repo);
        if kill % 20 == 0 || kill == kills {
            expect_agreement(&world, &repo, &over_http, &annex);
        }
    }
    eprintln!(
        "{kills} kills: {steps} steps over HTTP and {commands} commands of git-annex were \
         acknowledged, {unknown} were in doubt"
    );
    for party in &mut over_http {
        party.settle(&server);
    }
    annex.settle(&repo);
    expect_agreement(&world, &repo, &over_http, &annex);
    repo.assert_no_strays();
    expect_clean(&world, repo.path());
}

fn start(world: &World, repo: &Repo) -> Server {
    Gannet::serve(world, &[text(repo.path()), "--wideopen"])
}

/// Lets everybody work for a moment, and kills the server in the middle. Tells how many steps over
/// HTTP, and how many commands of git-annex, were done.
fn play_and_kill(
    server: Server,
    over_http: &mut [HttpParty],
    annex: &mut AnnexParty<'_>,
    chance: &mut Seeded,
) -> (usize, usize) {
    let address = server.address();
    let (about_to, gone) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let moment = Duration::from_millis(30 + chance.below(1200));
    thread::scope(|scope| {
        let playing = over_http.iter_mut().map(|party| {
            scope.spawn(move || {
                let mut steps = 0;
                loop {
                    match party.step(address) {
                        Ok(()) => steps += 1,
                        Err(_) if about_to.load(Ordering::SeqCst) => return steps,
                        Err(broken) => panic!("{broken}, but nobody killed it yet"),
                    }
                }
            })
        });
        let playing: Vec<_> = playing.collect();
        let commands = scope.spawn(move || {
            let mut commands = 0;
            while !gone.load(Ordering::SeqCst) {
                let done = annex.step();
                assert!(done.success() || about_to.load(Ordering::SeqCst), "{done}");
                commands += usize::from(done.success());
            }
            commands
        });
        thread::sleep(moment);
        about_to.store(true, Ordering::SeqCst);
        server.kill9();
        gone.store(true, Ordering::SeqCst);
        let steps = playing.into_iter().map(|one| one.join().expect("a party")).sum();
        (steps, commands.join().expect("the git-annex party"))
    })
}

fn certain<'a>(
    over_http: &'a [HttpParty],
    annex: &'a AnnexParty<'_>,
) -> impl Iterator<Item = (&'a str, Fate)> {
    let over_http = over_http.iter().flat_map(HttpParty::certain);
    over_http.map(|(thing, fate)| (thing.key.as_str(), fate)).chain(annex.certain())
}

/// Whatever is visible is whole, and what its name promises.
fn expect_whole_objects(repo: &Repo) {
    for object in objects(&repo.annex_dir().join("objects")) {
        let content = fs::read(&object).expect("read an object");
        let name = text(Path::new(object.file_name().expect("a name")));
        let promised = name.replacen("SHA256E-", "SHA256-", 1);
        assert_eq!(promised, sha256_key(&content), "{name} is not whole");
    }
}

fn objects(dir: &Path) -> Vec<std::path::PathBuf> {
    let below = |dir: std::path::PathBuf| fs::read_dir(dir).into_iter().flatten().flatten();
    let keys = below(dir.to_owned()).flat_map(|one| below(one.path()));
    let keys = keys.flat_map(|two| below(two.path()));
    keys.map(|key| key.path().join(key.file_name())).filter(|object| object.exists()).collect()
}

/// The disk and what was acknowledged say the same, and so does the branch once the journal is
/// committed. Where a kill came between content and journal, the log lags until the next change.
fn expect_agreement(world: &World, repo: &Repo, over_http: &[HttpParty], annex: &AnnexParty<'_>) {
    let there = certain(over_http, annex).filter(|(_, fate)| *fate == Fate::Present);
    let there: BTreeSet<_> = there.map(|(key, _)| key.as_bytes().to_vec()).collect();
    assert!(objects_in(&repo.annex_dir().join("objects")) == there, "other objects are there");
    let lagging = over_http.iter().flat_map(HttpParty::lagging).chain(annex.lagging());
    let lagging: BTreeSet<_> = lagging.map(|key| key.as_bytes().to_vec()).collect();
    eventually(SETTLE, || {
        let said = keys_at(&locations(world, repo.path()), SERVER);
        let differ = said.symmetric_difference(&there).filter(|key| !lagging.contains(*key));
        let differ = differ.map(|key| String::from_utf8_lossy(key));
        match differ.map(|key| format!("the branch is wrong about {key}")).collect::<Vec<_>>() {
            wrong if wrong.is_empty() => Ok(()),
            wrong => Err(wrong.join("\n")),
        }
    });
}

/// Lets git-annex believe that every key has a copy elsewhere.
fn note_elsewhere(world: &World, repo: &Repo, over_http: &[HttpParty]) {
    for (thing, _) in over_http.iter().flat_map(HttpParty::certain) {
        world.annex(repo.path(), &["setpresentkey", &thing.key, ELSEWHERE, "1"]);
    }
}

const ELSEWHERE: &str = "e0e0e0e0-0000-4000-8000-000000000000";
const SETTLE: Duration = Duration::from_secs(10);
