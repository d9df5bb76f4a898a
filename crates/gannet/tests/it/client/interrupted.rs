//! A client is killed in the middle of a transfer; the next one goes on where it was.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::files::{self, keys_of};
use super::scene::Scene;
use crate::harness::eventually;

use std::os::unix::process::CommandExt;

#[test]
fn an_interrupted_copy_to_a_bare_repository_resumes() {
    interrupted_copy(true);
}

#[test]
fn an_interrupted_copy_to_a_work_tree_resumes() {
    interrupted_copy(false);
}

#[test]
fn an_interrupted_get_from_a_bare_repository_resumes() {
    interrupted_get(true);
}

#[test]
fn an_interrupted_get_from_a_work_tree_resumes() {
    interrupted_get(false);
}

fn interrupted_copy(bare: bool) {
    let scene = Scene::new(bare);
    let file = files::of_size(&scene, "long.bin", LEN);
    scene.relay.take();
    scene.relay.limit(SLOW);
    let client = start(&scene, &["copy", "--to", "origin", "."]);
    wait_for_half(|| scene.relay.so_far().0);
    kill(client);
    let held = eventually(SETTLE, || match scene.repo().state(&file.key()).partial_bytes {
        Some(bytes @ WORTH_KEEPING..) => Ok(bytes),
        other => Err(format!("the server kept {other:?} bytes")),
    });
    assert!(!scene.repo().state(&file.key()).present, "it was never whole");

    scene.relay.limit(0);
    scene.relay.take();
    let since = scene.annex(&["copy", "--to", "origin", "."]);
    let up = scene.relay.take().up;
    assert!(up <= file.len() - held + OVERHEAD, "{up} bytes sent though {held} were there");
    scene.expect_at_server(since, &keys_of(std::slice::from_ref(&file)));
    assert_eq!(scene.repo().state(&file.key()).partial_bytes, None);
    scene.expect_clean();
}

fn interrupted_get(bare: bool) {
    let scene = Scene::new(bare);
    let file = files::of_size(&scene, "long.bin", LEN);
    scene.annex(&["move", "--quiet", "--to", "origin", "."]);
    scene.relay.take();
    scene.relay.limit(SLOW);
    let client = start(&scene, &["get", "."]);
    wait_for_half(|| scene.relay.so_far().1);
    kill(client);
    let partial = scene.client.join(".git/annex/tmp").join(file.key());
    let held = fs::metadata(partial).expect("what the killed client had got").len();
    assert!(held >= WORTH_KEEPING, "the client kept {held} bytes");

    scene.relay.limit(0);
    scene.relay.take();
    scene.annex(&["get", "."]);
    let down = scene.relay.take().down;
    assert!(down <= file.len() - held + OVERHEAD, "{down} bytes came though {held} were there");
    file.expect_whole();
    scene.expect_clean();
}

fn start(scene: &Scene, args: &[&str]) -> Child {
    let mut command = scene.world.command(&scene.client, "git-annex");
    let command = command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().expect("start git-annex")
}

fn wait_for_half(travelled: impl Fn() -> u64) {
    eventually(SETTLE, || match travelled() {
        HALF.. => Ok(()),
        few => Err(format!("only {few} bytes travelled")),
    });
}

fn kill(mut client: Child) {
    kill_process_group(Pid::from_child(&client), Signal::KILL).expect("kill the client");
    let status = client.wait().expect("wait for the client");
    assert_eq!(status.code(), None, "the client was done before it could be killed");
}

const LEN: usize = 24 << 20;
const HALF: u64 = 12 << 20;
const WORTH_KEEPING: u64 = 8 << 20;
/// More than the heads of requests and replies and the framing of chunks take.
const OVERHEAD: u64 = 64 << 10;
/// In bytes per second: a transfer takes long enough to be caught in its middle.
const SLOW: u64 = 20 << 20;
const SETTLE: Duration = Duration::from_secs(30);
