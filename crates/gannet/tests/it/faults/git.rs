//! Git at work, or broken, underneath.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Bystander, Place, SOON, Sample};
use crate::harness::{Gannet, Repo, SERVER, World, eventually};

/// `git gc` and `git repack` take packs and loose objects away while puts are committed. (Those
/// forms of them that throw away at once what is not reachable yet are never safe beside a commit.)
#[test]
fn packing_underneath_loses_nothing() {
    let world = World::new();
    let repo = Repo::create(&world, "repo", SERVER, true);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let place = Place { server: &server, uuid: SERVER };
    let done = AtomicBool::new(false);
    let samples: Vec<_> = (0..60).map(|seed| Sample::new(seed, 300)).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                world.git(repo.path(), &["gc", "-q"]);
                world.git(repo.path(), &["repack", "-A", "-d", "-q"]);
                world.git(repo.path(), &["pack-refs", "--all"]);
            }
        });
        let ended = std::panic::catch_unwind(|| {
            for sample in &samples {
                assert_eq!(place.put(sample).member("stored"), true);
                thread::sleep(Duration::from_millis(40));
            }
        });
        done.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(server.stop().code(), Some(0));
    for sample in &samples {
        assert!(repo.location_log(&world, &sample.key)[SERVER], "{} is lost", sample.key);
    }
    repo.fsck(&world);
}

/// Clones push the git-annex branch by the real git, as often as they can, while puts are
/// committed to it.
#[test]
fn pushes_and_commits_both_survive() {
    let world = World::new();
    let repo = Repo::create(&world, "repo", SERVER, true);
    let clone = world.join("clone");
    world.git(world.path(), &["clone", "-q", repo.arg(), text(&clone)]);
    world.annex(&clone, &["init", "--quiet", "clone"]);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let place = Place { server: &server, uuid: SERVER };
    let done = AtomicBool::new(false);
    let samples: Vec<_> = (0..60).map(|seed| Sample::new(seed, 300)).collect();
    let pushed = thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            let mut pushed = BTreeSet::new();
            while !done.load(Ordering::Relaxed) || pushed.len() < 3 {
                // Something new that only the clone knows.
                let uuid = format!("c1c1c1c1-0000-4000-8000-{:012}", pushed.len());
                let group = format!("group-{}", pushed.len());
                world.annex(&clone, &["group", "--quiet", "here", &group]);
                world
                    .annex(&clone, &["required", "--quiet", "here", &format!("metadata=x={uuid}")]);
                let push = ["push", "-q", "origin", "git-annex"];
                while !world.run(&clone, &[&["git"], &push[..]].concat()).success() {
                    world.git(&clone, &["fetch", "-q", "origin"]);
                    world.annex(&clone, &["merge", "--quiet"]);
                }
                pushed.insert(group);
            }
            pushed
        });
        let ended = std::panic::catch_unwind(|| {
            for sample in &samples {
                assert_eq!(place.put(sample).member("stored"), true);
                thread::sleep(Duration::from_millis(40));
            }
        });
        done.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        pusher.join().expect("pushing")
    });
    assert_eq!(server.stop().code(), Some(0));
    for sample in &samples {
        assert!(repo.location_log(&world, &sample.key)[SERVER], "{} is lost", sample.key);
    }
    // Every state that was pushed is in the history, and the newest counts.
    let groups = world.git(repo.path(), &["cat-file", "blob", "git-annex:group.log"]);
    assert!(pushed.iter().all(|group| groups.contains(group)), "{groups} instead of {pushed:?}");
    let history = world.git(repo.path(), &["log", "--format=%H", "git-annex"]);
    let tip = world.git(&clone, &["rev-parse", "origin/git-annex"]);
    assert!(history.contains(tip.trim()), "a push is not part of the history");
    repo.fsck(&world);
}

/// Locks that a git left which was killed: one on the index, one on the branch.
#[test]
fn stale_locks_of_git_delay_the_branch_and_no_request() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    world.annex(repo.path(), &["unlock", "--quiet", "a.txt"]);
    world.git(repo.path(), &["commit", "-q", "-m", "unlocked"]);
    let key = crate::harness::HELLO;
    let bystander = Bystander::new(&world);
    let server = Gannet::serve(&world, &[repo.arg(), bystander.repo.arg(), "--wideopen"]);
    let place = Place { server: &server, uuid: SERVER };
    let index_lock = repo.git_dir().join("index.lock");
    let branch_lock = repo.git_dir().join("refs/heads/git-annex.lock");
    fs::write(&index_lock, "").unwrap();
    fs::write(&branch_lock, "").unwrap();
    let sample = Sample::new(1, 3000);
    place.assert_stores(&sample);
    place.assert_removes(key);
    let hello = Sample { key: key.to_owned(), content: b"hello\n".to_vec() };
    place.assert_stores(&hello);
    assert_eq!(fs::read(repo.path().join("a.txt")).unwrap(), b"hello\n");
    eventually(SOON, || match server.log() {
        log if log.contains("refs/heads/git-annex.lock` exists") => Ok(()),
        log => Err(log),
    });
    bystander.assert_well(&server);
    assert!(index_lock.exists() && branch_lock.exists(), "others' locks are theirs");
    fs::remove_file(index_lock).unwrap();
    fs::remove_file(branch_lock).unwrap();
    eventually(SOON, || match repo.location_log(&world, &sample.key).get(SERVER) {
        Some(true) => Ok(()),
        log => Err(format!("{log:?}")),
    });
    assert_eq!(server.stop().code(), Some(0));
    world.annex(repo.path(), &["restage", "--quiet"]);
    assert_eq!(world.git(repo.path(), &["status", "--porcelain"]), "");
    repo.fsck(&world);
}

/// Objects of the branch are damaged, one after the other, and mended again.
#[test]
fn a_damaged_branch_is_told_and_loses_no_put() {
    let world = World::new();
    let repo = Repo::create(&world, "repo", SERVER, true);
    let bystander = Bystander::new(&world);
    let server = Gannet::serve(&world, &[repo.arg(), bystander.repo.arg(), "--wideopen"]);
    let place = Place { server: &server, uuid: SERVER };
    let mut samples = vec![Sample::new(0, 3000)];
    place.assert_stores(&samples[0]);
    let logged = |key: &str| repo.location_log(&world, key).get(SERVER).copied();
    eventually(SOON, || logged(&samples[0].key).filter(|&it| it).ok_or("not logged".to_owned()));
    for (nth, object) in ["git-annex", "git-annex^{tree}", "git-annex:uuid.log"].iter().enumerate()
    {
        let id = world.git(repo.path(), &["rev-parse", object]);
        let file = loose(&repo, id.trim());
        let sound = fs::read(&file).unwrap();
        damage(&file, &sound[..sound.len() / 2]);
        let sample = Sample::new(10 + nth as u64, 3000);
        let reply = place.put(&sample);
        let stored = reply.status == 200;
        if !stored {
            super::assert_refused(&reply, 500);
        }
        place.assert_serves(&samples[0]);
        bystander.assert_well(&server);
        damage(&file, &sound);
        assert_eq!(place.put(&sample).member("stored"), true);
        place.assert_serves(&sample);
        eventually(SOON, || logged(&sample.key).filter(|&it| it).ok_or("not logged".to_owned()));
        samples.push(sample);
    }
    assert_eq!(server.stop().code(), Some(0));
    // What could not be recorded left a trace, which the next to open the repository follows.
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let place = Place { server: &server, uuid: SERVER };
    samples.iter().for_each(|sample| place.assert_serves(sample));
    assert_eq!(server.stop().code(), Some(0));
    repo.assert_no_strays();
    repo.fsck(&world);
}

fn loose(repo: &Repo, id: &str) -> PathBuf {
    repo.git_dir().join("objects").join(&id[..2]).join(&id[2..])
}

fn damage(file: &Path, content: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, content).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}
