//! No space, no inodes, and a disk that may only be read.

use std::fs;
use std::path::Path;

use super::secluded::{Mount, secluded};
use super::{Bystander, Place, SOON, Sample, assert_refused};
use crate::harness::http::chunk;
use crate::harness::{Gannet, Repo, Request, SERVER, World, eventually};

#[test]
fn a_full_disk_is_told_and_survived() {
    secluded("faults::space::a_full_disk_is_told_and_survived", || {
        let world = World::new();
        let shelf = world.join("shelf");
        let mount = Mount::memory(&shelf, "size=6m");
        let bystander = Bystander::new(&world);
        let repo = Repo::create(&world, "shelf/repo", SERVER, true);
        world.git(repo.path(), &["config", "annex.diskreserve", "0"]);
        let server = Gannet::serve(&world, &[repo.arg(), bystander.repo.arg(), "--wideopen"]);
        let place = Place { server: &server, uuid: SERVER };
        let small = Sample::new(1, 1000);
        place.assert_stores(&small);

        // What cannot fit is refused before it comes.
        let huge = Sample::new(2, 8_000_000);
        assert_refused(&place.put(&huge), 507);
        repo.assert_no_strays();

        // What would have fit fills the disk half-way, because somebody else was faster.
        let large = Sample::new(3, 3_000_000);
        let mut upload = server.connect();
        let target = place.put_target(&large, 0);
        upload.write(&Request::put(target, 3_000_000, &[]).head()).expect("begin an upload");
        upload.write(&chunk(&large.content[..500_000])).expect("upload a part");
        // What was gathered last is not on the disk yet.
        eventually(SOON, || match partial_bytes(&repo) {
            300_000.. => Ok(()),
            bytes => Err(format!("{bytes} came")),
        });
        let ballast = Ballast::new(&shelf);
        upload.write(&chunk(&large.content[500_000..])).ok();
        upload.write(b"0\r\n\r\n").ok();
        assert_refused(&upload.reply_to("POST").expect("a reply"), 507);

        // Now there is not a byte left.
        ballast.take_the_rest();
        assert!(!place.has(&large.key));
        for sample in [&large, &Sample::new(4, 1)] {
            assert_refused(&place.put(sample), 507);
        }
        place.assert_serves(&small);
        bystander.assert_well(&server);

        // Somebody makes room: what came before is not sent again.
        drop(ballast);
        let from = place.put_offset(&large);
        assert!((1..3_000_000).contains(&from), "{from} bytes are left to resume");
        assert_eq!(place.put_from(&large, from).member("stored"), true);
        place.assert_serves(&large);
        place.assert_serves(&small);
        place.assert_removes(&small.key);
        place.assert_stores(&small);
        assert_eq!(server.stop().code(), Some(0));
        repo.assert_no_strays();
        repo.fsck(&world);
        drop(mount);
    });
}

#[test]
fn a_disk_without_inodes_is_told_and_survived() {
    secluded("faults::space::a_disk_without_inodes_is_told_and_survived", || {
        let world = World::new();
        let shelf = world.join("shelf");
        let mount = Mount::memory(&shelf, "size=64m,nr_inodes=600");
        let bystander = Bystander::new(&world);
        let repo = Repo::create(&world, "shelf/repo", SERVER, true);
        world.git(repo.path(), &["config", "annex.diskreserve", "0"]);
        let server = Gannet::serve(&world, &[repo.arg(), bystander.repo.arg(), "--wideopen"]);
        let place = Place { server: &server, uuid: SERVER };
        let first = Sample::new(1, 1000);
        place.assert_stores(&first);

        let ballast = shelf.join("ballast");
        fs::create_dir(&ballast).unwrap();
        let fill = |leave: usize| {
            let mut made: usize = 0;
            while fs::write(ballast.join(made.to_string()), "").is_ok() {
                made += 1;
            }
            for number in made.saturating_sub(leave)..made {
                fs::remove_file(ballast.join(number.to_string())).unwrap();
            }
        };
        // Wherever on its way a put runs out of them.
        for leave in 0..16 {
            fill(leave);
            let sample = Sample::new(100 + leave as u64, 2000);
            let reply = place.put(&sample);
            if reply.status != 200 {
                assert_refused(&reply, 507);
            }
            place.assert_serves(&first);
            bystander.assert_well(&server);
            fs::remove_dir_all(&ballast).unwrap();
            fs::create_dir(&ballast).unwrap();
            place.assert_stores(&sample);
        }
        assert_eq!(server.stop().code(), Some(0));
        // What could not be recorded left a trace, which the next to open the repository follows.
        let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
        Place { server: &server, uuid: SERVER }.assert_serves(&first);
        assert_eq!(server.stop().code(), Some(0));
        repo.assert_no_strays();
        repo.fsck(&world);
        drop(mount);
    });
}

#[test]
fn a_disk_that_turns_read_only_is_read_on() {
    secluded("faults::space::a_disk_that_turns_read_only_is_read_on", || {
        let world = World::new();
        let mount = Mount::memory(&world.join("shelf"), "size=64m");
        let bystander = Bystander::new(&world);
        let repo = Repo::create(&world, "shelf/repo", SERVER, true);
        let server = Gannet::serve(&world, &[repo.arg(), bystander.repo.arg(), "--wideopen"]);
        let place = Place { server: &server, uuid: SERVER };
        world.git(repo.path(), &["config", "annex.diskreserve", "0"]);
        let (kept, other) = (Sample::new(1, 200_000), Sample::new(2, 200_000));
        place.assert_stores(&kept);
        eventually(SOON, || match repo.location_log(&world, &kept.key).get(SERVER) {
            Some(true) => Ok(()),
            log => Err(format!("{log:?}")),
        });
        eventually(SOON, || {
            let writers = server.open_files();
            let inside = writers.iter().filter(|file| file.starts_with(world.join("shelf")));
            if inside.count() == 0 { Ok(()) } else { Err("files are open".to_owned()) }
        });
        mount.set_read_only(true);
        for _ in 0..2 {
            assert_refused(&place.put(&other), 500);
            assert_refused(&place.ask("remove", &kept.key), 500);
            assert_refused(&place.ask("lockcontent", &kept.key), 500);
            place.assert_serves(&kept);
            assert!(place.has(&kept.key) && !place.has(&other.key));
            bystander.assert_well(&server);
        }
        mount.set_read_only(false);
        place.assert_stores(&other);
        place.assert_removes(&kept.key);
        place.assert_stores(&kept);
        assert_eq!(server.stop().code(), Some(0));
        repo.assert_no_strays();
        repo.fsck(&world);
        drop(mount);
    });
}

/// Fills a disk.
struct Ballast {
    first: std::path::PathBuf,
    rest: std::path::PathBuf,
}

impl Ballast {
    fn new(dir: &Path) -> Self {
        let ballast = Self { first: dir.join("ballast"), rest: dir.join("more") };
        ballast.fill(&ballast.first);
        ballast
    }

    fn take_the_rest(&self) {
        self.fill(&self.rest);
    }

    fn fill(&self, file: &Path) {
        use std::io::Write;
        let mut file = fs::File::create(file).unwrap();
        while file.write(&[b'x'; 4096]).is_ok_and(|written| written > 0) {}
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        for file in [&self.first, &self.rest] {
            fs::remove_file(file).ok();
        }
    }
}

/// How much has come of what is being received.
fn partial_bytes(repo: &Repo) -> u64 {
    let entries = fs::read_dir(repo.annex_dir().join("tmp/gannet")).into_iter().flatten();
    entries.flatten().map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}
