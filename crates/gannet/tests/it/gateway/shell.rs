//! `gannet shell` beside git-annex-shell: what is behind a repository, and what is refused.

use super::{GATEWAY, NODES, Scene};
use crate::harness::world::finish;
use crate::harness::{CLIENT, Finished, HELLO};
use crate::ssh::{Which, programs};

#[test]
fn refusals_are_those_of_git_annex_shell() {
    let scene = Scene::with_proxies();
    let (_, near) = NODES[0];
    let unknown = "57a46e57-0000-4000-8000-000000000009";
    let check = |words: &[&str]| {
        let [theirs, ours] =
            [Which::Reference, Which::Gannet].map(|which| run(&scene, which, words));
        let said = |finished: &Finished| {
            let text = finished.err();
            text.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned()
        };
        assert_eq!(
            (ours.code, said(&ours), ours.out()),
            (theirs.code, said(&theirs), theirs.out()),
            "{words:?}"
        );
        ours
    };
    check(&["p2pstdio", CLIENT, "--uuid", unknown]);
    for command in ["inannex", "sendkey", "recvkey", "dropkey"] {
        let refused = check(&[command, HELLO, "--uuid", near]);
        assert!(refused.err().contains(&format!("Cannot proxy {command} command.")), "{refused}");
    }
    check(&["configlist", "--uuid", near]);
    scene.config("remote.near.annex-proxy", "false");
    let refused = check(&["p2pstdio", CLIENT, "--uuid", near]);
    assert!(refused.err().contains("not configured to proxy for repository"), "{refused}");
    check(&["inannex", HELLO, "--uuid", near]);
    check(&["p2pstdio", CLIENT, "--uuid", GATEWAY]);
}

#[test]
fn only_the_repository_that_a_key_is_tied_to_is_a_gateway() {
    let scene = Scene::with_proxies();
    let (_, near) = NODES[0];
    let shell = |only: &str, dir: &str| {
        let bin = programs(&scene.world, Which::Gannet);
        let mut command = scene.world.command(scene.world.path(), bin.join("git-annex-shell"));
        command.env("GIT_ANNEX_SHELL_DIRECTORY", only);
        command.args(["p2pstdio", dir, CLIENT, "--uuid", near]);
        finish(&mut command, super::PATIENCE)
    };
    // What the gateway is allowed to be asked, its nodes may be asked by way of it.
    let gateway = scene.gateway.arg();
    let said = shell(gateway, gateway);
    assert_eq!(said.out().lines().next(), Some(format!("AUTH-SUCCESS {near}").as_str()), "{said}");
    let refused = shell(scene.nodes[1].arg(), gateway);
    assert!(refused.err().contains("Only allowed to access"), "{refused}");
    assert_eq!((refused.code, refused.out().as_str()), (Some(1), ""));
}

/// Runs a command of git-annex-shell at the gateway.
fn run(scene: &Scene, which: Which, words: &[&str]) -> Finished {
    let program = programs(&scene.world, which).join("git-annex-shell");
    let mut command = scene.world.command(scene.world.path(), program);
    command.arg(words[0]).arg(scene.gateway.path()).args(&words[1..]);
    finish(&mut command, super::PATIENCE)
}
