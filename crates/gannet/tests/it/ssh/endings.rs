//! What is left on the host when a client has gone: no process, and no less than was promised.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, SystemTime};

use super::Which;
use super::sshd::{Login, Sshd};
use crate::harness::server::GANNET;
use crate::harness::{BIG, CLIENT, HELLO, Repo, World, eventually};

#[test]
fn a_lock_outlives_its_connection_and_its_process_does_not() {
    let (world, repo, sshd, login) = scene();
    let mut line = Line::connect(&world, &login, &repo);
    line.say(&format!("LOCKCONTENT {HELLO}\n"));
    line.expect("SUCCESS");
    assert_eq!(servers(repo.path()).len(), 1);
    sshd.break_connections();
    none_is_left(&repo, &sshd);
    assert!(repo.retention(HELLO).is_some_and(|until| until > SystemTime::now()));
    let mut next = Line::connect(&world, &login, &repo);
    next.say(&format!("REMOVE {HELLO}\n"));
    next.expect("FAILURE");
    assert!(repo.state(HELLO).present);
}

#[test]
fn what_came_of_a_broken_put_stays_and_its_process_does_not() {
    let (world, repo, sshd, login) = scene();
    repo.drop_content(&world, BIG);
    let mut line = Line::connect(&world, &login, &repo);
    line.say(&format!("PUT  {BIG}\n"));
    line.expect("PUT-FROM 0");
    line.say("DATA 300000\n");
    line.say(&"x".repeat(100_000));
    assert_eq!(line.end(), Some(1));
    none_is_left(&repo, &sshd);
    let mut next = Line::connect(&world, &login, &repo);
    next.say(&format!("PUT  {BIG}\n"));
    next.expect("PUT-FROM 100000");
}

#[test]
fn who_takes_nothing_of_a_content_keeps_no_process() {
    let (world, repo, sshd, login) = scene();
    let key = "WORM-s40000000--large";
    repo.set_content(&world, key, &vec![0; 40_000_000]);
    let mut line = Line::connect(&world, &login, &repo);
    line.say(&format!("GET 0  {key}\n"));
    line.expect("DATA 40000000");
    // Nothing is read any more: pipes and sockets are full.
    sshd.break_connections();
    none_is_left(&repo, &sshd);
}

/// A conversation with `p2pstdio` through ssh. Dropping it kills ssh.
struct Line {
    ssh: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Line {
    fn connect(world: &World, login: &Login, repo: &Repo) -> Self {
        let asked = format!("git-annex-shell 'p2pstdio' '{}' '{CLIENT}'", repo.arg());
        let mut ssh = login.command(world, &asked);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut ssh = ssh.spawn().expect("start ssh");
        let input = ssh.stdin.take();
        let output = BufReader::new(ssh.stdout.take().expect("a piped standard output"));
        let mut line = Self { ssh, input, output };
        line.expect(&format!("AUTH-SUCCESS {}", repo.uuid()));
        line.say("VERSION 4\n");
        line.expect("VERSION 4");
        line
    }

    /// Says no more, and returns the exit code of the other end.
    fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        self.ssh.wait().expect("wait for ssh").code()
    }

    fn say(&mut self, text: &str) {
        self.input.as_mut().expect("an input").write_all(text.as_bytes()).expect("write to ssh");
    }

    #[track_caller]
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read from ssh");
        assert_eq!(line.trim_end(), expected);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.ssh.kill());
        drop(self.ssh.wait());
    }
}

fn scene() -> (World, Repo, Sshd, Login) {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let sshd = Sshd::start(&world, Which::Gannet);
    let login = sshd.admit(&world, "");
    (world, repo, sshd, login)
}

#[track_caller]
fn none_is_left(repo: &Repo, sshd: &Sshd) {
    eventually(PATIENCE, || match &servers(repo.path())[..] {
        [] => Ok(()),
        left => Err(format!("still there: {left:?}; {}", sshd.log())),
    });
}

/// The processes of Gannet that serve the repository at `path`.
fn servers(path: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").expect("list processes");
    let gannet = Path::new(GANNET).canonicalize().expect("the path of Gannet");
    let serves = |process: &PathBuf| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        std::fs::read_link(process.join("exe")).is_ok_and(|exe| exe == gannet)
            && String::from_utf8_lossy(&line).contains(path.to_str().expect("a path of ASCII"))
    };
    processes.flatten().map(|process| process.path()).filter(serves).collect()
}

const PATIENCE: Duration = Duration::from_secs(30);
