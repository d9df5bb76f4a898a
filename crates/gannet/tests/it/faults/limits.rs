//! Limits of the system, and permissions that are taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, getuid, prlimit};

use super::{Bystander, Place, Sample, assert_refused};
use crate::harness::{Gannet, Repo, SERVER, World};

/// Without a handler the signal that comes with this limit would kill the server.
#[test]
fn a_limit_on_the_size_of_files_ends_one_upload() {
    let world = World::new();
    let bystander = Bystander::new(&world);
    let repo = Repo::create(&world, "repo", SERVER, true);
    let server = Gannet::serve(&world, &[repo.arg(), bystander.repo.arg(), "--wideopen"]);
    let place = Place { server: &server, uuid: SERVER };
    let (small, large) = (Sample::new(1, 20_000), Sample::new(2, 1_000_000));
    let limit = |bytes| {
        let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(pid, Resource::Fsize, limit).expect("limit the server");
    };
    limit(Some(300_000));
    for _ in 0..2 {
        assert_refused(&place.put_from(&large, place.put_offset(&large)), 507);
        assert!(!place.has(&large.key));
        bystander.assert_well(&server);
    }
    place.assert_stores(&small);
    limit(None);
    let from = place.put_offset(&large);
    assert_eq!(from, 300_000, "what came is kept");
    assert_eq!(place.put_from(&large, from).member("stored"), true);
    place.assert_serves(&large);
    assert_eq!(server.stop().code(), Some(0));
    repo.assert_no_strays();
    repo.fsck(&world);
}

#[test]
fn lost_permissions_are_told_and_nothing_is_taken_for_absent() {
    let world = World::new();
    let bystander = Bystander::new(&world);
    let repo = Repo::create(&world, "repo", SERVER, true);
    let (kept, other) = (Sample::new(1, 20_000), Sample::new(2, 20_000));
    let server = {
        let args = [repo.arg(), bystander.repo.arg(), "--wideopen"];
        let mut command = Gannet::command(&world, &args);
        command.args(["--bind", "127.0.0.1", "--port", "0"]);
        Gannet::start(&world, without_privileges(&world, &command))
    };
    let place = Place { server: &server, uuid: SERVER };
    place.assert_stores(&kept);
    let object = repo.object(&kept.key).expect("an object");
    let hash_dir = object.ancestors().nth(2).unwrap().to_owned();
    let objects = repo.annex_dir().join("objects");
    for closed in [&object, &hash_dir, &objects, &repo.annex_dir(), &repo.path().to_owned()] {
        let mode = closed.metadata().unwrap().permissions().mode() & 0o7777;
        set_mode(closed, 0);
        for _ in 0..2 {
            assert_refused(&place.get(&kept.key), 500);
            if *closed != object {
                assert_refused(&place.ask("checkpresent", &kept.key), 500);
            }
            bystander.assert_well(&server);
        }
        set_mode(closed, mode);
        place.assert_serves(&kept);
    }
    for closed in
        [&objects, &repo.annex_dir().join("journal"), &repo.annex_dir().join("tmp/gannet")]
    {
        fs::create_dir_all(closed).unwrap();
        let mode = closed.metadata().unwrap().permissions().mode() & 0o7777;
        set_mode(closed, 0o500);
        let reply = place.put(&other);
        assert_refused(&reply, 500);
        place.assert_serves(&kept);
        bystander.assert_well(&server);
        set_mode(closed, mode);
        assert_eq!(place.put(&other).member("stored"), true);
        place.assert_removes(&other.key);
    }
    place.assert_stores(&other);
    assert_eq!(server.stop().code(), Some(0));
    repo.assert_no_strays();
    repo.fsck(&world);
}

/// The same program, without the right of root to pass any door.
fn without_privileges(world: &World, command: &Command) -> Command {
    let mut bare = if getuid().is_root() {
        let mut bare = world.command(world.path(), "setpriv");
        bare.arg("--bounding-set=-dac_override,-dac_read_search").arg(command.get_program());
        bare
    } else {
        world.command(world.path(), command.get_program())
    };
    bare.args(command.get_args());
    bare
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("change the mode");
}
