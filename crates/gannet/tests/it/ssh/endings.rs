//! What is left on the host when a client has gone: no process, and no less than was promised.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};

use super::sshd::{Login, Sshd};
use super::talk::Talk;
use super::{Which, programs};
use crate::harness::{ABSENT, BIG, HELLO, Repo, World, eventually};

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
fn old_clients_lock_until_they_say_a_line() {
    let (world, repo, sshd, login) = scene();
    let reader = sshd.admit(&world, "environment=\"GIT_ANNEX_SHELL_READONLY=1\"");
    let lock = |login: &Login, key: &str| {
        let asked = format!("git-annex-shell 'lockcontent' '{}' '{key}'", repo.arg());
        Talk::start(login.command(&world, &asked))
    };
    let mut remover = Talk::through(&login, &world, &repo);
    let mut locked = lock(&reader, HELLO);
    locked.expect("OK");
    remover.ask(&format!("REMOVE {HELLO}"), "FAILURE");
    locked.say("\n");
    assert_eq!(locked.wait(), Some(0));
    assert_eq!(repo.retention(HELLO), None);
    // One that goes without a word may only have lost its connection.
    let mut lost = lock(&reader, HELLO);
    lost.expect("OK");
    sshd.break_connections();
    none_is_left(&repo, &sshd);
    assert!(repo.retention(HELLO).is_some_and(|until| until > SystemTime::now()));
    assert_eq!(lock(&login, ABSENT).end(), Some(1));
    for nothing in ["", "bad", &format!("{HELLO} {BIG}")] {
        assert_eq!(lock(&login, nothing).end(), Some(1), "{nothing}");
    }
    none_is_left(&repo, &sshd);
}

#[test]
fn a_signal_ends_what_nobody_listens_to() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    // More than a pipe holds.
    let packed: String =
        (1..4000).map(|number| format!("{number:040x} refs/heads/{number}\n")).collect();
    fs::write(repo.git_dir().join("packed-refs"), packed).expect("write references");
    let shell = programs(&world, Which::Gannet).join("git-annex-shell");
    let mut command = world.command(world.path(), shell);
    command.args(["notifychanges", repo.arg()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = command.spawn().expect("start a shell");
    let said = shell.stdout.take().expect("its output");
    eventually(PATIENCE, || match ioctl_fionread(&said).expect("look into a pipe") {
        PIPE_BYTES.. => Ok(()),
        len => Err(format!("{len} bytes are in the pipe")),
    });
    kill_process(Pid::from_child(&shell), Signal::TERM).expect("end the shell");
    eventually(PATIENCE, || match shell.try_wait().expect("wait for it") {
        Some(_) => Ok(()),
        None => Err("it runs on".to_owned()),
    });
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
        let line = fs::read(process.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let program = fs::read_link(process.join("exe")).ok()?;
        let is_client = program.ends_with("ssh");
        (line.contains(path) && !is_client).then_some((Pid::from_raw(id)?, line))
    };
    let processes = fs::read_dir("/proc").expect("list processes");
    processes.flatten().filter_map(|process| about(process.path())).collect()
}

/// Those of them that are Gannet.
pub(crate) fn shells(path: &Path) -> Vec<Pid> {
    let is_shell = |line: &str| line.starts_with("git-annex-shell ");
    servers(path).into_iter().filter(|(_, line)| is_shell(line)).map(|(pid, _)| pid).collect()
}

/// A pipe holds little more.
const PIPE_BYTES: u64 = 50_000;
const PATIENCE: Duration = Duration::from_secs(30);
