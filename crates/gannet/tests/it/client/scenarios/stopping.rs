//! A server that ends the moment after it acknowledged something.

use super::super::scene::serve;
use super::super::thing::Thing;
use crate::harness::{Repo, SERVER, Seeded, World, eventually, usual_or_long};
use std::time::Duration;

/// Told to stop in the same moment, the server has committed what it acknowledged when it is gone.
#[test]
fn a_stop_right_after_an_acknowledged_put_loses_nothing() {
    let (world, repo, things) = stage(12);
    for thing in &things {
        let server = serve(&world, repo.path(), &["--wideopen"], &[]);
        assert_eq!(server.send(&thing.put()).member("stored"), true);
        assert_eq!(server.stop().code(), Some(0));
        assert!(repo.state(&thing.key).present);
        assert_eq!(repo.location_log(&world, &thing.key).get(SERVER), Some(&true));
    }
    repo.assert_no_strays();
    repo.fsck(&world);
}

/// Killed in the same moment, it still has the content, and the next one commits the note about it.
#[test]
fn a_kill_right_after_an_acknowledged_put_loses_nothing() {
    let (world, repo, things) = stage(13);
    for thing in &things {
        let server = serve(&world, repo.path(), &["--wideopen"], &[]);
        assert_eq!(server.send(&thing.put()).member("stored"), true);
        server.kill9();
        let server = serve(&world, repo.path(), &["--wideopen"], &[]);
        let got = server.send(&thing.get());
        assert!(got.status == 200 && got.body == thing.content, "{}", got.status);
        eventually(SETTLE, || match repo.location_log(&world, &thing.key).get(SERVER) {
            Some(true) => Ok(()),
            other => Err(format!("the log of {} says {other:?}", thing.key)),
        });
    }
    repo.assert_no_strays();
    repo.fsck(&world);
}

fn stage(seed: u64) -> (World, Repo, Vec<Thing>) {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let mut chance = Seeded::new(seed);
    let things = (0..usual_or_long(10, 100)).map(|_| Thing::new(&mut chance, 10..200_000));
    let things = things.collect();
    (world, repo, things)
}

const SETTLE: Duration = Duration::from_secs(10);
