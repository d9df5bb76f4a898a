//! Content locks taken over HTTP hold against the real git-annex and the reverse; they outlive
//! what they should outlive, and free what they held.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use crate::harness::http::{api, chunk};
use crate::harness::{
    ABSENT, BIG, Body, CLIENT, Connection, Gannet, HELLO, Reply, Repo, Request, SERVER, Server,
    World, eventually,
};

/// Asks for a lock on `key`.
pub(super) fn lock_request(key: &str) -> Request {
    Request::post(api(SERVER, "v4", "lockcontent", &[("key", key), ("clientuuid", CLIENT)]))
}

/// Takes a lock on `key`, which must succeed, and returns its id.
#[track_caller]
pub(crate) fn lock(server: &Server, key: &str) -> String {
    let reply = server.send(&lock_request(key));
    assert_eq!(reply.member("locked"), true, "{key}");
    reply.member("lockid").as_str().expect("a lock id").to_owned()
}

/// A keeplocked without a body yet.
pub(super) fn keep_locked(id: &str) -> Request {
    Request::post(api(SERVER, "v4", "keeplocked", &[("lockid", id), ("clientuuid", CLIENT)]))
        .header("Content-Type", "application/json;charset=utf-8")
}

/// Opens a keeplocked and keeps it open.
pub(crate) fn keep_open(server: &Server, id: &str) -> Connection {
    let mut connection = server.connect();
    let head = keep_locked(id).body(Body::Chunked(Vec::new())).head();
    connection.write(&head).expect("begin keeplocked");
    connection.write(&chunk(b"{\"unlock\":false}")).expect("keep locked");
    connection.write(&chunk(b"\n")).expect("keep locked");
    connection
}

/// Gives a lock back.
#[track_caller]
pub(crate) fn unlock(server: &Server, id: &str) -> Reply {
    let said = Body::Length(b"{\"unlock\":true}\n".to_vec());
    server.send(&keep_locked(id).body(said))
}

#[test]
fn lock_blocks_drop_in_the_repository() {
    for kind in [Repo::fixture, Repo::fixture_bare] {
        let world = World::new();
        let repo = kind(&world);
        let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
        let id = lock(&server, HELLO);
        let drop = ["dropkey", "--force", HELLO];
        assert!(!world.try_annex(repo.path(), &drop).success());
        assert!(repo.state(HELLO).present);
        let kept = keep_open(&server, &id);
        assert!(!world.try_annex(repo.path(), &drop).success());
        std::mem::drop(kept);
        assert!(!world.try_annex(repo.path(), &drop).success(), "a lost keeplocked unlocked");
        assert_eq!(unlock(&server, &id).member("locked"), false);
        assert!(!repo.locks(HELLO).rtm && !repo.locks(HELLO).lck, "{:?}", repo.locks(HELLO));
        world.annex(repo.path(), &drop);
        assert!(!repo.state(HELLO).present);
        repo.set_content(&world, HELLO, b"hello\n");
        repo.fsck(&world);
    }
}

#[test]
fn lock_of_git_annex_blocks_remove() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let mut session = Session::start(&world, repo.path());
    session.say(&format!("LOCKCONTENT {HELLO}"));
    assert_eq!(session.hear(), "SUCCESS");
    assert_eq!(remove(&server, HELLO), false);
    assert_eq!(remove_before(&server, HELLO, i64::MAX), false);
    assert!(repo.state(HELLO).present);
    // Locks are shared: another one is granted beside it, and giving it back frees nothing.
    let id = lock(&server, HELLO);
    unlock(&server, &id);
    assert_eq!(remove(&server, HELLO), false);
    session.say("UNLOCKCONTENT");
    session.end();
    // Each of the two saw the other when it unlocked, so the retention may have been left.
    if repo.locks(HELLO).rtm {
        repo.expire_retention(HELLO);
    }
    assert_eq!(remove(&server, HELLO), true);
    assert!(!repo.state(HELLO).present);
    repo.set_content(&world, HELLO, b"hello\n");
    repo.fsck(&world);
}

/// Content that git-annex is about to remove is neither locked nor sent away twice.
#[test]
fn lock_is_refused_without_content() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    assert_eq!(server.send(&lock_request(ABSENT)).member("locked"), false);
    repo.drop_content(&world, HELLO);
    assert_eq!(server.send(&lock_request(HELLO)).member("locked"), false);
    assert_eq!(repo.locks(HELLO), repo.locks(ABSENT));
}

#[test]
fn lock_outlives_kill_for_its_ten_minutes() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let (id, _kept) = (lock(&server, HELLO), lock(&server, BIG));
    let open = keep_open(&server, &id);
    server.kill9();
    drop(open);
    assert!(!world.try_annex(repo.path(), &["dropkey", "--force", HELLO]).success());
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    assert_eq!(unlock(&server, &id).member("locked"), false, "unknown ids are answered");
    for key in [HELLO, BIG] {
        assert_eq!(remove(&server, key), false);
        assert!(repo.state(key).present);
        repo.expire_retention(key);
        assert_eq!(remove(&server, key), true, "an expired retention holds nothing");
        assert!(!repo.state(key).present && !repo.locks(key).rtm);
    }
    repo.set_content(&world, HELLO, b"hello\n");
    repo.set_content(&world, BIG, &vec![b'x'; 300_000]);
    repo.fsck(&world);
}

/// The retention of an orderly stop is that of a crash: nobody said unlock.
#[test]
fn lock_outlives_an_orderly_stop() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    lock(&server, HELLO);
    assert_eq!(server.stop().code(), Some(0));
    assert!(repo.is_locked(HELLO));
    assert!(!world.try_annex(repo.path(), &["dropkey", "--force", HELLO]).success());
}

#[test]
fn retention_is_at_least_ten_minutes() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    lock(&server, HELLO);
    let until = repo.retention(HELLO).expect("a retention").duration_since(std::time::UNIX_EPOCH);
    let seconds = (until.unwrap() - before).as_secs();
    assert!((600..=720).contains(&seconds), "retained for {seconds} s");
}

#[test]
fn failed_locks_free_their_slot() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen", "--lockedfiles", "2"]);
    let before = server.descriptors();
    let mut connection = server.connect();
    for _ in 0..500 {
        assert_eq!(connection.exchange(&lock_request(ABSENT)).member("locked"), false);
    }
    let (first, second) = (lock(&server, HELLO), lock(&server, BIG));
    let third = server.send(&lock_request(HELLO));
    let refused = third.status == 503 || third.member("locked") == false;
    assert!(refused, "a third lock of two: {}", third.text());
    unlock(&server, &first);
    let again = lock(&server, HELLO);
    for id in [&second, &again] {
        unlock(&server, id);
    }
    drop(connection);
    eventually(Duration::from_secs(10), || match server.descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} descriptors, {before} before")),
    });
    assert_eq!(remove(&server, HELLO), true);
}

/// Unlocking every one of several locks of a key leaves it removable, in whatever order.
#[test]
fn overlapping_locks_end_with_the_last() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let ids: Vec<_> = (0..3).map(|_| lock(&server, HELLO)).collect();
        for (released, &which) in order.iter().enumerate() {
            assert_eq!(remove(&server, HELLO), false, "{order:?}: {released} are released");
            unlock(&server, &ids[which]);
        }
        assert_eq!(remove(&server, HELLO), true, "{order:?}");
        repo.set_content(&world, HELLO, b"hello\n");
    }
}

/// `{"unlock":true}` is acted on as soon as it is whole, however it was cut, and the answer comes
/// before the body ends (p2p-http §4.2).
#[test]
fn keeplocked_is_parsed_as_it_comes() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let whole = b"{\"unlock\":false}\n{\"unlock\":true}";
    for cut in 0..=whole.len() {
        let id = lock(&server, HELLO);
        let mut connection = server.connect();
        connection.write(&keep_locked(&id).body(Body::Chunked(Vec::new())).head()).unwrap();
        for part in [&whole[..cut], &whole[cut..]].into_iter().filter(|part| !part.is_empty()) {
            connection.write(&chunk(part)).unwrap();
        }
        let reply = connection.reply_to("POST").expect("an answer before the body ends");
        assert_eq!(reply.member("locked"), false, "cut at {cut}");
        assert!(!repo.is_locked(HELLO), "cut at {cut}");
    }
}

/// A keeplocked on which nothing is said holds its lock and its connection.
#[test]
fn keeplocked_is_answered_on_a_reused_connection() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let mut connection = server.connect();
    for _ in 0..3 {
        let reply = connection.exchange(&lock_request(HELLO));
        let id = reply.member("lockid").as_str().unwrap().to_owned();
        let pieces = ["{\"unlock\":false}", "\n", "{\"unlock\":true}", "\n"];
        let pieces = pieces.map(|text| crate::harness::Piece::Bytes(text.as_bytes().to_vec()));
        let request = keep_locked(&id).body(Body::Chunked(pieces.to_vec()));
        assert_eq!(connection.exchange(&request).member("locked"), false);
        assert!(!repo.is_locked(HELLO));
    }
}

/// The deadline of remove-before is judged on the server's own clock (repository §4.6).
#[test]
fn remove_before_keeps_its_deadline() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let now = timestamp(&server);
    assert_eq!(remove_before(&server, HELLO, now - 1), false);
    assert_eq!(remove_before(&server, HELLO, now), false);
    assert!(repo.state(HELLO).present);
    assert_eq!(remove_before(&server, HELLO, now + 60), true);
    assert!(!repo.state(HELLO).present);
    assert_eq!(remove_before(&server, HELLO, 1), true, "absent content counts as removed");
}

fn timestamp(server: &Server) -> i64 {
    let target = api(SERVER, "v4", "gettimestamp", &[("clientuuid", CLIENT)]);
    server.send(&Request::post(target)).member("timestamp").as_i64().expect("whole seconds")
}

#[track_caller]
fn remove(server: &Server, key: &str) -> serde_json::Value {
    let target = api(SERVER, "v4", "remove", &[("key", key), ("clientuuid", CLIENT)]);
    server.send(&Request::post(target)).member("removed")
}

#[track_caller]
fn remove_before(server: &Server, key: &str, deadline: i64) -> serde_json::Value {
    let deadline = deadline.to_string();
    let parameters = [("key", key), ("clientuuid", CLIENT), ("timestamp", deadline.as_str())];
    server.send(&Request::post(api(SERVER, "v4", "remove-before", &parameters))).member("removed")
}

/// A conversation with `git-annex-shell p2pstdio`.
struct Session {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Session {
    fn start(world: &World, repo: &Path) -> Self {
        let mut command = world.command(world.path(), "git-annex-shell");
        command.arg("p2pstdio").arg(repo).arg(CLIENT).arg(format!("--uuid={SERVER}"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start git-annex-shell");
        let stdin = child.stdin.take().expect("a piped standard input");
        let stdout = BufReader::new(child.stdout.take().expect("a piped standard output"));
        let mut session = Self { child, stdin, stdout };
        assert_eq!(session.hear(), format!("AUTH-SUCCESS {SERVER}"));
        session.say("VERSION 4");
        assert_eq!(session.hear(), "VERSION 4");
        session
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("say a line");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("hear a line");
        line.trim_end().to_owned()
    }

    fn end(self) {
        let Self { mut child, stdin, stdout } = self;
        drop((stdin, stdout));
        child.wait().expect("git-annex-shell ends with its input");
    }
}
