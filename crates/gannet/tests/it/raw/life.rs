//! Starting, stopping, many repositories, broken ones, new ones.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use crate::harness::http::api;
use crate::harness::{CLIENT, Gannet, HELLO, Repo, Request, SERVER, Server, World, eventually};
use crate::raw::sha256_key;

#[test]
fn stopping_flushes_the_journal() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let content = b"put just before the end";
    let key = sha256_key(content);
    let target = api(SERVER, "v4", "put", &[("key", &key), ("clientuuid", CLIENT)]);
    let reply = server.send(&Request::put(target, content.len() as u64, content));
    assert_eq!(reply.member("stored"), true);
    assert_eq!(server.stop().code(), Some(0));
    assert!(repo.location_log(&world, &key)[SERVER]);
    let journal = fs::read_dir(repo.annex_dir().join("journal")).into_iter().flatten();
    assert_eq!(journal.count(), 0, "nothing is left in the journal");
    repo.fsck(&world);
}

#[test]
fn without_an_authorisation_option_it_does_not_start() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let refused = Gannet::refuses(&world, &[repo.arg()], &[]);
    assert!(!refused.success());
    for option in
        ["--wideopen", "--unauth-readonly", "--unauth-appendonly", "--authenv", "--authenv-http"]
    {
        assert!(refused.err().contains(option), "{option} is not named: {refused}");
    }
}

/// A user without a password could be anybody, and a misspelled permission anything.
#[test]
fn users_that_are_not_sound_are_refused() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let args = [repo.arg(), "--authenv-http"];
    let empty = ("GIT_ANNEX_P2PHTTP_PASSWORD_e", "");
    let sound = ("GIT_ANNEX_P2PHTTP_PASSWORD_u", "secret-word");
    let odd = ("GIT_ANNEX_P2PHTTP_PERMISSIONS_u", "reader");
    for (env, named) in [(vec![empty], empty.0), (vec![sound, odd], odd.0)] {
        let refused = Gannet::refuses(&world, &args, &env);
        assert!(!refused.success() && refused.err().contains(named), "{refused}");
        assert!(!refused.err().contains("secret-word"), "a password is shown: {refused}");
    }
}

#[test]
fn broken_repository_affects_only_itself() {
    let world = World::new();
    let shelf = world.join("shelf");
    let good = Repo::create(&world, "shelf/a/good", SERVER, true);
    good.set_content(&world, HELLO, b"hello\n");
    let newer = Repo::create(&world, "shelf/newer", &numbered(2), false);
    world.git(newer.path(), &["config", "annex.version", "99"]);
    let torn = Repo::create(&world, "shelf/torn", &numbered(3), false);
    fs::write(torn.git_dir().join("config"), "[core\n").unwrap();
    fs::create_dir_all(shelf.join("hollow/.git")).unwrap();
    std::os::unix::fs::symlink(&shelf, shelf.join("loop")).unwrap();
    let server = Gannet::serve(&world, &["--directory", path(&shelf), "--wideopen"]);
    assert_serves(&server, SERVER);
    for uuid in [numbered(2), numbered(3)] {
        let reply = server.send(&Request::get(format!("/git-annex/{uuid}/key/{HELLO}")));
        assert!([404, 500, 501, 503].contains(&reply.status), "{} {}", reply.status, reply.text());
        assert!(!reply.text().contains(path(world.path())), "tells a path: {}", reply.text());
    }
    assert_serves(&server, SERVER);
}

#[test]
fn repository_made_while_running_is_found() {
    let world = World::new();
    let shelf = world.join("shelf");
    fs::create_dir(&shelf).unwrap();
    let server = Gannet::serve(&world, &["--directory", path(&shelf), "--wideopen"]);
    let ask = || server.send(&Request::get(format!("/git-annex/{SERVER}/key/{HELLO}")));
    assert_eq!(ask().status, 404);
    let repo = Repo::create(&world, "shelf/deep/er/new", SERVER, false);
    repo.set_content(&world, HELLO, b"hello\n");
    eventually(Duration::from_secs(10), || match ask() {
        reply if reply.status == 200 => Ok(()),
        reply => Err(reply.text()),
    });
}

/// What a thousand idle repositories cost: nothing that stays open, and no process.
#[test]
fn thousand_repositories_hold_nothing_open() {
    let world = World::new();
    let shelf = world.join("shelf");
    let model = Repo::create(&world, "model", &numbered(0), true);
    model.set_content(&world, HELLO, b"hello\n");
    let source = path(model.path());
    fs::create_dir(&shelf).unwrap();
    for number in 1..=1000 {
        let place = shelf.join(format!("{}/r{number}", number % 10));
        fs::create_dir_all(&place).unwrap();
        // Only what a repository is recognised by, and what it holds: a copy of everything would
        // take longer than the test.
        for file in ["HEAD", "config"] {
            fs::copy(model.path().join(file), place.join(file)).unwrap();
        }
        let config = fs::read_to_string(place.join("config")).unwrap();
        fs::write(place.join("config"), config.replace(&numbered(0), &numbered(number))).unwrap();
        for part in ["objects", "refs", "annex"] {
            if number == 500 {
                world.ok(&place, &["cp", "-a", &format!("{source}/{part}"), "."]);
            } else {
                fs::create_dir(place.join(part)).unwrap();
            }
        }
    }
    let server = Gannet::serve(&world, &["--directory", path(&shelf), "--wideopen"]);
    assert_serves(&server, &numbered(500));
    for number in [1, 250, 999] {
        let key = format!("/git-annex/{}/key/{HELLO}", numbered(number));
        assert_eq!(server.send(&Request::get(key)).status, 404);
    }
    for _ in 0..50 {
        let stranger = "/git-annex/00000000-0000-4000-8000-ffffffffffff/key/SHA1--x";
        assert_eq!(server.send(&Request::get(stranger)).status, 404);
    }
    eventually(Duration::from_secs(20), || {
        let files = server.open_files();
        let inside: Vec<_> = files.iter().filter(|file| file.starts_with(&shelf)).collect();
        match (inside.is_empty(), server.children(), server.descriptors()) {
            (true, 0, ..100) => Ok(()),
            (_, children, all) => Err(format!("{children} children, {all} open, {inside:?}")),
        }
    });
}

#[test]
fn init_makes_what_git_annex_accepts() {
    let world = World::new();
    let made = Gannet::run(&world, world.path(), &["init", "new", "--description", "a shelf"]);
    made.expect_ok();
    let repo = Repo::open(&world, &world.join("new"));
    repo.fsck(&world);
    assert_eq!(world.git(repo.path(), &["config", "core.bare"]).trim(), "true");
    assert!(world.git(repo.path(), &["show", "git-annex:uuid.log"]).contains("a shelf"));
    Gannet::run(&world, world.path(), &["init", "work", "--no-bare"]).expect_ok();
    assert!(world.join("work/.git/annex").is_dir());
    let server =
        Gannet::serve(&world, &[repo.arg(), path(&world.join("fresh")), "--init", "--wideopen"]);
    let fresh = Repo::open(&world, &world.join("fresh"));
    fresh.fsck(&world);
    for uuid in [repo.uuid(), fresh.uuid()] {
        assert!(server.ready_line().contains(uuid), "{}", server.ready_line());
    }
}

#[test]
fn socket_file_serves_the_same() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let socket = world.join("gannet.sock");
    let server = Gannet::start(
        &world,
        Gannet::command(&world, &[repo.arg(), "--wideopen", "--socket", path(&socket)]),
    );
    let kind = fs::metadata(&socket).expect("the socket file");
    assert!(kind.file_type().is_socket());
    let mut connection = crate::harness::Connection::unix(&socket);
    let reply = connection.exchange(&Request::get(format!("/git-annex/{SERVER}/key/{HELLO}")));
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
    let content = vec![b's'; 3_000_000];
    let key = sha256_key(&content);
    let target = api(SERVER, "v4", "put", &[("key", &key), ("clientuuid", CLIENT)]);
    let reply = connection.exchange(&Request::put(target, content.len() as u64, &content));
    assert_eq!(reply.member("stored"), true);
    assert_eq!(server.stop().code(), Some(0));
    repo.fsck(&world);
}

#[track_caller]
fn assert_serves(server: &Server, uuid: &str) {
    let reply = server.send(&Request::get(format!("/git-annex/{uuid}/key/{HELLO}")));
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello\n"));
}

fn numbered(number: u32) -> String {
    format!("5e5e5e5e-0000-4000-9000-{number:012}")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}
