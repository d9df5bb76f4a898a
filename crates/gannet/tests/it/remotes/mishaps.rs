//! What a remote over ssh does when the other end, or the way there, fails.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use gannet::remotes::Reach;
use gannet_core::{Content, Error, Piece, PutOffset};
use gannet_net::remote::line::LineLimits;
use gannet_net::remote::ssh::{SshCommand, SshOptions};
use gannet_testkit::Sample;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Scene, asker, children, complaint, eventually, file, open, put, read};
use crate::harness::SERVER;
use crate::places::{by_ssh, opened, reach};
use crate::ssh::endings::shells;

#[tokio::test]
async fn a_get_ends_when_its_server_is_killed() {
    a_get_ends(|scene| signal(scene, Signal::KILL)).await;
}

#[tokio::test]
async fn a_get_ends_when_the_connection_breaks() {
    a_get_ends(|scene| scene.sshd.break_connections()).await;
}

async fn a_get_ends(by: impl Fn(&Scene)) {
    let scene = Scene::new();
    let remote = scene.remote().await;
    let sample = Sample::secure(1, 30_000_000);
    put(&*remote, &sample).await;
    let mut content = open(&*remote, &sample.key).await;
    assert!(matches!(content.pieces.next().await, Some(Ok(Piece::Bytes(_)))));
    by(&scene);
    let ended = read(content).await;
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert!(read(open(&*remote, &sample.key).await).await.expect("content") == sample.bytes);
    drop(remote);
    scene.expect_quiet().await;
}

#[tokio::test]
async fn a_put_is_resumed_after_its_server_was_killed() {
    a_put_is_resumed(|scene| signal(scene, Signal::KILL)).await;
}

#[tokio::test]
async fn a_put_is_resumed_after_the_connection_broke() {
    a_put_is_resumed(|scene| scene.sshd.break_connections()).await;
}

async fn a_put_is_resumed(by: impl Fn(&Scene)) {
    let scene = Scene::new();
    let remote = scene.remote().await;
    let sample = Sample::secure(1, 10_000_000);
    let (asker, file) = (asker(), file());
    let killing = async {
        eventually("somebody serves", async || match shells(&scene.path)[..] {
            [] => Err("nobody does".to_owned()),
            _ => Ok(()),
        })
        .await;
        eventually("something arrives", async || {
            let held = std::fs::read_dir(scene.path.join("annex/tmp/gannet"));
            let mut files = held.into_iter().flatten().flatten();
            let size = files.find_map(|file| Some(file.metadata().ok()?.len()));
            if size.is_some_and(|size| size > 1_000_000) { Ok(()) } else { Err(String::new()) }
        })
        .await;
        by(&scene);
    };
    let content = sample.content(0);
    let slowly = Content { pieces: content.pieces.then(slow).boxed(), ..content };
    let (outcome, ()) = tokio::join!(remote.put(&asker, &sample.key, &file, slowly), killing);
    assert!(outcome.is_err(), "{outcome:?}");
    // A killed process leaves the putting in order to the next one.
    let from = eventually("something was kept", async || {
        match remote.put_offset(&asker, &sample.key, &file).await {
            Ok(PutOffset::From(from @ 1..)) => Ok(from),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    remote.put(&asker, &sample.key, &file, sample.content(from)).await.expect("the rest");
    assert!(read(open(&*remote, &sample.key).await).await.expect("content") == sample.bytes);
    drop(remote);
    scene.expect_quiet().await;
}

/// Lets others do something in between.
async fn slow(piece: gannet_core::Result<Piece>) -> gannet_core::Result<Piece> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    piece
}

#[tokio::test]
async fn a_server_that_does_nothing_is_given_up() {
    let scene = Scene::new();
    let remote = scene.impatient_remote(3).await;
    let sample = Sample::secure(1, 30_000_000);
    let patient = scene.remote().await;
    put(&*patient, &sample).await;
    drop(patient);
    scene.expect_quiet().await;

    // In the middle of a content.
    let mut content = open(&*remote, &sample.key).await;
    assert!(matches!(content.pieces.next().await, Some(Ok(Piece::Bytes(_)))));
    signal(&scene, Signal::STOP);
    let ended = read(content).await;
    assert!(matches!(ended, Err(Error::Stalled)), "{ended:?}");
    signal(&scene, Signal::CONT);

    // Instead of an answer, also on a connection that was good before; and once is enough.
    assert!(remote.check_present(&asker(), &sample.key).await.expect("an answer"));
    let logins = scene.logins();
    signal(&scene, Signal::STOP);
    let said = complaint(&*remote).await;
    assert!(said.contains("did nothing for 3 seconds"), "{said}");
    assert_eq!(scene.logins(), logins);
    signal(&scene, Signal::CONT);

    // While content is sent.
    assert!(remote.check_present(&asker(), &sample.key).await.expect("an answer"));
    let other = Sample::secure(2, 30_000_000);
    let servers = shells(&scene.path);
    let pieces = other.content(0).pieces.enumerate().then(move |(number, piece)| {
        if number == 100 {
            signal_all(&servers, Signal::STOP);
        }
        std::future::ready(piece)
    });
    let content = Content { pieces: pieces.boxed(), ..other.content(0) };
    let put = remote.put(&asker(), &other.key, &file(), content).await;
    let said = put.expect_err("nobody takes it").to_string();
    assert!(said.contains("did nothing for 3 seconds"), "{said}");
    signal(&scene, Signal::CONT);
    assert!(remote.check_present(&asker(), &sample.key).await.expect("an answer"));
    drop(remote);
    scene.expect_quiet().await;
}

/// Nobody answers at all: not the host, nor a proxy that hangs, which goes with its ssh.
#[tokio::test]
async fn a_host_that_does_not_answer_is_given_up() {
    let scene = Scene::new();
    let (note, script) = (scene.world.fresh("note"), scene.world.fresh("proxy"));
    let lines = format!("echo $$ > '{}'; exec sleep 1000", note.display());
    std::fs::write(&script, lines).expect("write a script");
    let proxy = format!("ProxyCommand=sh {}", script.display());
    let line = LineLimits { connect: Duration::from_secs(1), ..LineLimits::default() };
    let mut reach = Reach { line, ..by_ssh(&scene.login) };
    reach.ssh.options = vec!["-o".into(), proxy.into()];
    let begin = Instant::now();
    let said = complaint(&*scene.remote_by(&reach).await).await;
    println!("given up after {:?}: {said}", begin.elapsed());
    assert!(said.contains("did nothing for 1 seconds"), "{said}");
    let proxy = std::fs::read_to_string(note).expect("the proxy ran");
    let proxy = Pid::from_raw(proxy.trim().parse().unwrap()).unwrap();
    eventually("the proxy has gone", async || match test_kill_process(proxy) {
        Ok(()) if !is_dead(proxy) => Err("it runs".to_owned()),
        _ => Ok(()),
    })
    .await;
    assert!(children("ssh").is_empty());
}

#[tokio::test]
async fn what_makes_no_sense_is_an_error() {
    let greeting = format!("printf 'AUTH-SUCCESS {SERVER}\\nVERSION 4\\n'");
    let cases = [
        // A login message is the classic of all mishaps.
        ("echo Welcome; exec git-annex-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"", "it said: Welcome"),
        ("cat /dev/zero", "too long to be a message"),
        ("head -c 100000 /dev/urandom; cat", ""),
        ("exit 0", "the connection was lost"),
        ("echo AUTH-FAILURE; cat", "does not let us in"),
        ("echo AUTH-SUCCESS other; cat", "is the repository other, not"),
        (&format!("{greeting}; echo NONSENSE; cat"), "NONSENSE"),
        (&format!("{greeting}; cat /dev/zero"), "too long to be a message"),
        (&format!("{greeting}; head -c 100000 /dev/urandom; cat"), ""),
        (&format!("{greeting}; echo VALID; cat"), "VALID"),
        (&format!("{greeting}; sleep 0.1; echo ERROR no luck today; cat"), "no luck today"),
    ];
    for (command, why) in cases {
        let scene = Scene::with(&format!("command=\"{command}\""));
        let said = complaint(&*scene.impatient_remote(40).await).await;
        assert!(said.contains(why), "{command}: {said}");
        assert!(said.starts_with(&format!("{SERVER} at ssh://")), "{said}");
        assert!(said.len() < 3000, "{command}: {said}");
        scene.expect_quiet().await;
    }
}

#[tokio::test]
async fn what_ssh_says_is_in_the_error() {
    let scene = Scene::with("command=\"echo the disk is at the cleaners >&2; exit 1\"");
    let said = complaint(&*scene.remote().await).await;
    assert!(said.contains("the disk is at the cleaners"), "{said}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().unwrap();
    let ssh = SshOptions { command: SshCommand::Ssh, ..SshOptions::default() };
    let options = ["-F", "/dev/null", "-o", "UserKnownHostsFile=/dev/null"];
    let ssh = SshOptions { options: options.map(Into::into).to_vec(), ..ssh };
    let remote = opened(&Reach { ssh, ..reach() }, &format!("ssh://{nobody}/x")).await;
    let said = complaint(&*remote).await;
    assert!(said.contains("Connection refused"), "{said}");
    let mut stranger = by_ssh(&scene.login);
    stranger.ssh.options = vec!["-o".into(), "IdentityFile=/nonexistent".into()];
    stranger.ssh.options.extend(["-o".into(), "PubkeyAuthentication=no".into()]);
    let said = complaint(&*scene.remote_by(&stranger).await).await;
    assert!(said.contains("Permission denied"), "{said}");
    scene.expect_quiet().await;
}

/// Of a content that breaks off the taker learns only that; the log has the rest.
#[tokio::test]
async fn what_ssh_says_in_the_middle_of_a_content_is_logged() {
    let sample = Sample::secure(1, 10);
    let said = format!("AUTH-SUCCESS {SERVER}\\nVERSION 4\\nDATA 10\\n12345");
    let command = format!("printf '{said}'; echo the disk is at the cleaners >&2; exit 1");
    let scene = Scene::with(&format!("command=\"{command}\""));
    let log = Log::default();
    let _listening = tracing::subscriber::set_default(
        tracing_subscriber::fmt().with_writer(Mutex::new(log.clone())).finish(),
    );
    let content = open(&*scene.remote().await, &sample.key).await;
    let ended = read(content).await;
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    let log = log.0.lock().expect("a log").clone();
    let log = String::from_utf8(log).expect("text");
    assert!(log.contains("receiving content") && log.contains("at the cleaners"), "{log}");
    scene.expect_quiet().await;
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a log").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn signal(scene: &Scene, signal: Signal) {
    signal_all(&shells(&scene.path), signal);
}

fn signal_all(servers: &[Pid], signal: Signal) {
    for server in servers {
        kill_process(*server, signal).expect("signal a server");
    }
}

/// Whether it only waits to be waited for.
fn is_dead(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}
