//! Repositories that are deleted, moved, or replaced while somebody uses them.

use std::fs;
use std::path::Path;

use super::{Bystander, Place, SOON, Sample};
use crate::harness::http::chunk;
use crate::harness::{Connection, Gannet, HELLO, Repo, Request, SERVER, Server, World, eventually};

/// What goes on in a repository when it goes.
struct Business<'a> {
    place: Place<'a>,
    kept: Sample,
    coming: Sample,
    reading: Connection,
    sending: Connection,
    locked: String,
}

#[test]
fn a_repository_that_is_deleted_is_gone_and_nothing_else() {
    let world = World::new();
    let bystander = Bystander::new(&world);
    let repo = Repo::create(&world, "repo", SERVER, true);
    let server = serve(&world, &repo, &bystander);
    let business = Business::begin(&server, &repo);
    fs::remove_dir_all(repo.path()).unwrap();
    bystander.assert_well(&server);
    business.end();
    let place = Place { server: &server, uuid: SERVER };
    assert_eq!(place.get(HELLO).status, 404);
    assert_eq!(place.put(&Sample::new(9, 100)).status, 404);
    assert!(!repo.path().exists(), "nothing is made where it was");
    bystander.assert_well(&server);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_repository_that_is_moved_is_found_again() {
    let world = World::new();
    let bystander = Bystander::new(&world);
    let repo = Repo::create(&world, "shelf/repo", SERVER, true);
    let shelf = world.join("shelf");
    let args = [bystander.repo.arg(), "--directory", text(&shelf), "--wideopen"];
    let server = Gannet::serve(&world, &args);
    let business = Business::begin(&server, &repo);
    fs::create_dir_all(shelf.join("deeper")).unwrap();
    fs::rename(repo.path(), shelf.join("deeper/moved")).unwrap();
    bystander.assert_well(&server);
    let (kept, coming, locked) = business.end();
    assert!(!repo.path().exists(), "nothing is made where it was");
    let place = Place { server: &server, uuid: SERVER };
    let moved = Repo::open(&world, &shelf.join("deeper/moved"));
    eventually(SOON, || match place.get(&kept.key) {
        reply if reply.status == 200 => Ok(()),
        reply => Err(reply.text()),
    });
    place.assert_serves(&kept);
    assert!(moved.is_locked(&kept.key), "the lock, or its retention, moves with it");
    assert!(!locked.is_empty());
    assert_eq!(place.ask("remove", &kept.key).member("removed"), false);
    let from = place.put_offset(&coming);
    assert_eq!(place.put_from(&coming, from).member("stored"), true);
    place.assert_serves(&coming);
    assert_eq!(server.stop().code(), Some(0));
    moved.fsck(&world);
}

#[test]
fn a_repository_in_the_place_of_another_gets_nothing_of_it() {
    let world = World::new();
    let bystander = Bystander::new(&world);
    let repo = Repo::create(&world, "repo", SERVER, true);
    let other = Repo::create(&world, "other", OTHER, true);
    other.set_content(&world, HELLO, b"hello\n");
    let server = serve(&world, &repo, &bystander);
    let business = Business::begin(&server, &repo);
    fs::rename(repo.path(), world.join("away")).unwrap();
    fs::rename(other.path(), repo.path()).unwrap();
    let other = Repo::open(&world, repo.path());
    bystander.assert_well(&server);
    let (kept, coming, _) = business.end();
    let old = Place { server: &server, uuid: SERVER };
    let new = Place { server: &server, uuid: OTHER };
    assert_eq!(old.get(HELLO).status, 404);
    eventually(SOON, || match new.get(HELLO) {
        reply if reply.status == 200 => Ok(()),
        reply => Err(reply.text()),
    });
    for key in [&kept.key, &coming.key] {
        assert!(!new.has(key), "content went astray");
        assert!(other.location_log(&world, key).is_empty(), "was noted in the wrong place");
    }
    new.assert_stores(&Sample::new(8, 100));
    assert_eq!(server.stop().code(), Some(0));
    other.assert_no_strays();
    other.fsck(&world);
    Repo::open(&world, &world.join("away")).fsck(&world);
}

impl<'a> Business<'a> {
    /// A download, an upload and a lock, each in its middle.
    fn begin(server: &'a Server, repo: &Repo) -> Self {
        let place = Place { server, uuid: SERVER };
        let (kept, coming) = (Sample::new(1, 20_000_000), Sample::new(2, 400_000));
        place.assert_stores(&kept);
        let locked = place.ask("lockcontent", &kept.key).member("lockid").to_string();
        let mut reading = server.connect();
        let target = format!("/git-annex/{SERVER}/key/{}", kept.key);
        reading.send(&Request::get(target)).expect("begin a download");
        let mut sending = server.connect();
        let target = place.put_target(&coming, 0);
        sending.write(&Request::put(target, 400_000, &[]).head()).expect("begin an upload");
        sending.write(&chunk(&coming.content[..200_000])).expect("upload a part");
        eventually(SOON, || {
            let tmp = fs::read_dir(repo.annex_dir().join("tmp/gannet")).into_iter().flatten();
            let lens = tmp.flatten().map(|entry| entry.metadata().map_or(0, |file| file.len()));
            if lens.sum::<u64>() > 0 { Ok(()) } else { Err("nothing came".to_owned()) }
        });
        Self { place, kept, coming, reading, sending, locked }
    }

    /// Goes on with it as if nothing had happened. Nobody is told anything that is not true.
    #[track_caller]
    fn end(mut self) -> (Sample, Sample, String) {
        let reply = self.reading.reply_to("GET").expect("a reply");
        let whole = reply.body == self.kept.content;
        assert!(reply.status == 200 && (whole || !reply.complete), "other content came");
        self.sending.write(&chunk(&self.coming.content[200_000..])).ok();
        self.sending.write(b"0\r\n\r\n").ok();
        let reply = self.sending.reply_to("POST").expect("a reply");
        let stored = reply.status == 200 && reply.member("stored") == true;
        assert!(!stored, "acknowledged in a repository that is gone: {}", reply.text());
        let _ = self.place;
        (self.kept, self.coming, self.locked)
    }
}

fn serve(world: &World, repo: &Repo, bystander: &Bystander) -> Server {
    Gannet::serve(world, &[repo.arg(), bystander.repo.arg(), "--wideopen"])
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const OTHER: &str = "5e5e5e5e-0000-4000-8000-00000000000f";
