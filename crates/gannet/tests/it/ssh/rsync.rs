//! Contents by way of rsync, asked for as clients before 2018 did.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Which;
use super::sshd::{Login, Sshd};
use crate::harness::world::finish;
use crate::harness::{ABSENT, BIG, Finished, HELLO, Repo, World};

#[test]
fn rsync_sends_and_receives_contents_as_with_the_reference() {
    let [ours, theirs] = [Which::Gannet, Which::Reference].map(exchange);
    assert_eq!(ours, theirs);
}

/// Everything that a client may try, and its exit codes.
fn exchange(which: Which) -> Vec<(&'static str, Option<i32>)> {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let sshd = Sshd::start(&world, which);
    let scene = Scene { login: sshd.admit(&world, ""), repo, world };
    let Scene { world, repo, .. } = &scene;
    let got = world.join("got");
    let mut codes = Vec::new();
    let mut note = |what, said: Finished| codes.push((what, said.code));

    note("fetch", scene.rsync("sendkey", BIG, &["dummy:", text(&got)]));
    let big = fs::read(&got).expect("what came");
    assert!(big.len() == 300_000 && big.iter().all(|byte| *byte == b'x'));
    note("fetch what is absent", scene.rsync("sendkey", ABSENT, &["dummy:", text(&got)]));
    repo.drop_content(world, BIG);
    note("send", scene.rsync("recvkey", BIG, &[text(&got), "dummy:"]));
    assert!(repo.state(BIG).present);
    world.annex(repo.path(), &["readpresentkey", BIG, repo.uuid()]);
    note("send again", scene.rsync("recvkey", BIG, &[text(&got), "dummy:"]));

    repo.drop_content(world, HELLO);
    note("send what is something else", scene.rsync("recvkey", HELLO, &[text(&got), "dummy:"]));
    assert!(!repo.state(HELLO).present);
    // Nobody comes: the other end of the line is closed.
    let asked = format!("git-annex-shell 'recvkey' '{}' '{HELLO}'", repo.arg());
    let silent = finish(&mut scene.login.command(world, &asked), PATIENCE);
    note("send nothing", silent);
    assert!(!repo.state(HELLO).present);
    let reader = sshd.admit(world, "environment=\"GIT_ANNEX_SHELL_READONLY=1\"");
    let scene = Scene { login: reader, ..scene };
    note("send to who only reads", scene.rsync("recvkey", HELLO, &[text(&got), "dummy:"]));
    note("fetch from who only reads", scene.rsync("sendkey", BIG, &["dummy:", text(&got)]));
    assert!(!scene.repo.state(HELLO).present);
    scene.repo.set_content(&scene.world, HELLO, b"hello\n");
    scene.repo.fsck(&scene.world);
    if which == Which::Gannet {
        scene.repo.assert_no_strays();
    }
    codes
}

struct Scene {
    login: Login,
    repo: Repo,
    world: World,
}

impl Scene {
    fn rsync(&self, command: &str, key: &str, from_and_to: &[&str]) -> Finished {
        let fields = "-- remoteuuid=c1c1c1c1-0000-4000-8000-000000000002 associatedfile=a.txt --";
        let (ssh, repo) = (text(&self.login.ssh), self.repo.arg());
        let shell =
            format!("{ssh} 127.0.0.1 git-annex-shell '{command}' '{repo}' '{key}' {fields}");
        let mut rsync = self.world.command(self.world.path(), "rsync");
        rsync.args(["--progress", "--inplace", "-e", &shell]).args(from_and_to);
        finish(&mut rsync, PATIENCE)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const PATIENCE: Duration = Duration::from_secs(60);
