//! What is left on the host when a client has gone: no process, and no less than was promised.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::Which;
use super::sshd::{Login, Sshd};
use super::talk::Talk;
use crate::harness::{BIG, HELLO, Repo, World, eventually};

#[test]
fn a_lock_outlives_its_connection_and_its_process_does_not() {
    let (world, repo, sshd, login) = scene();
    let mut line = Talk::through(&login, &world, &repo);
    line.ask(&format!("LOCKCONTENT {HELLO}"), "SUCCESS");
    assert_eq!(servers(repo.path()).len(), 1);
    sshd.break_connections();
    none_is_left(&repo, &sshd);
    assert!(repo.retention(HELLO).is_some_and(|until| until > SystemTime::now()));
    let mut next = Talk::through(&login, &world, &repo);
    next.ask(&format!("REMOVE {HELLO}"), "FAILURE");
    assert!(repo.state(HELLO).present);
}

#[test]
fn what_came_of_a_broken_put_stays_and_its_process_does_not() {
    let (world, repo, sshd, login) = scene();
    repo.drop_content(&world, BIG);
    let mut line = Talk::through(&login, &world, &repo);
    line.ask(&format!("PUT  {BIG}"), "PUT-FROM 0");
    line.say("DATA 300000\n");
    line.say(&"x".repeat(100_000));
    assert_eq!(line.end(), Some(1));
    none_is_left(&repo, &sshd);
    let mut next = Talk::through(&login, &world, &repo);
    next.ask(&format!("PUT  {BIG}"), "PUT-FROM 100000");
}

#[test]
fn who_takes_nothing_of_a_content_keeps_no_process() {
    let (world, repo, sshd, login) = scene();
    let key = "WORM-s40000000--large";
    repo.set_content(&world, key, &vec![b'\n'; 40_000_000]);
    let mut line = Talk::through(&login, &world, &repo);
    line.ask(&format!("GET 0  {key}"), "DATA 40000000");
    // Nothing is read any more: pipes and sockets are full.
    sshd.break_connections();
    none_is_left(&repo, &sshd);
}

#[test]
fn git_ends_with_its_client() {
    for service in ["git-upload-pack", "git-receive-pack"] {
        let (world, repo, sshd, login) = scene();
        let mut line = Talk::through(&login, &world, &repo);
        line.ask(&format!("CONNECT {service}"), "DATA ");
        assert_eq!(servers(repo.path()).len(), 2, "{service} is not served");
        sshd.break_connections();
        none_is_left(&repo, &sshd);
        world.git(repo.path(), &["fsck", "--strict", "--no-dangling"]);
    }
}

#[test]
fn who_waits_for_changes_and_goes_keeps_no_process() {
    let (world, repo, sshd, login) = scene();
    let mut line = Talk::through(&login, &world, &repo);
    line.ask("NOTIFYCHANGE", "CHANGED ");
    line.say("NOTIFYCHANGE\n");
    let asked = format!("git-annex-shell 'notifychanges' '{}'", repo.arg());
    let mut other = Talk::start(login.command(&world, &asked));
    other.expect("READY");
    other.expect_beginning("CHANGED ");
    world.git(repo.path(), &["branch", "new", "git-annex~1"]);
    line.expect_beginning("CHANGED ");
    other.expect_beginning("CHANGED ");
    line.say("NOTIFYCHANGE\n");
    sshd.break_connections();
    none_is_left(&repo, &sshd);
}

#[test]
fn a_signal_ends_it_and_the_git_that_it_started() {
    let (world, repo, sshd, login) = scene();
    let mut line = Talk::through(&login, &world, &repo);
    line.ask("CONNECT git-receive-pack", "DATA ");
    let shell = shells(repo.path()).pop().expect("a shell");
    kill_process(shell, Signal::TERM).expect("end the shell");
    none_is_left(&repo, &sshd);
    assert_eq!(line.end(), Some(1));
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

/// The processes that serve the repository at `path`: Gannet, and git.
pub(crate) fn servers(path: &Path) -> Vec<(Pid, String)> {
    let path = path.to_str().expect("a path of ASCII");
    let about = |process: PathBuf| {
        let id = process.file_name()?.to_str()?.parse().ok()?;
        let line = std::fs::read(process.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let program = std::fs::read_link(process.join("exe")).ok()?;
        let is_client = program.ends_with("ssh");
        (line.contains(path) && !is_client).then_some((Pid::from_raw(id)?, line))
    };
    let processes = std::fs::read_dir("/proc").expect("list processes");
    processes.flatten().filter_map(|process| about(process.path())).collect()
}

/// Those of them that are Gannet.
pub(crate) fn shells(path: &Path) -> Vec<Pid> {
    let is_shell = |line: &str| line.starts_with("git-annex-shell ");
    servers(path).into_iter().filter(|(_, line)| is_shell(line)).map(|(pid, _)| pid).collect()
}

const PATIENCE: Duration = Duration::from_secs(30);
