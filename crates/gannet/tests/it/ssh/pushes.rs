//! Git through the line protocol, and pushes that others notice.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use super::sshd::Sshd;
use super::talk::Talk;
use super::{Which, programs};
use crate::harness::server::GANNET;
use crate::harness::world::finish;
use crate::harness::{CLIENT, Repo, SERVER, Seeded, World};

#[test]
fn the_remote_daemon_notices_pushes() {
    notices(Which::Gannet);
}

#[test]
fn the_remote_daemon_notices_pushes_by_the_reference() {
    notices(Which::Reference);
}

#[test]
fn what_is_told_of_references_is_what_the_reference_tells() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let git = |args: &[&str]| world.git(repo.path(), args).trim().to_owned();
    let id = |name| git(&["rev-parse", name]);
    let mut both: Vec<Talk> = [Which::Gannet, Which::Reference]
        .into_iter()
        .map(|which| {
            let mut shell =
                world.command(world.path(), programs(&world, which).join("git-annex-shell"));
            shell.args(["notifychanges", repo.arg(), "--uuid", SERVER]);
            Talk::start(shell)
        })
        .collect();
    let mut expect = |expected: &str| {
        for talk in &mut both {
            assert_eq!(talk.hear(), expected);
        }
    };
    expect("READY");
    expect(&format!("CHANGED {}", id("git-annex")));
    let ways: [&[&str]; 3] = [
        &["branch", "new", "git-annex~1"],
        &["update-ref", "refs/heads/dir/newer", "git-annex"],
        &["update-ref", "refs/heads/new", "git-annex"],
    ];
    for way in ways {
        git(way);
        expect(&format!("CHANGED {}", id(way[1])));
    }
    let [ours, theirs] = <[Talk; 2]>::try_from(both).ok().expect("both");
    // git-annex dies of it, with a trace of its stack.
    assert_eq!((ours.end(), theirs.end()), (Some(0), Some(1)));
}

#[test]
fn git_travels_both_ways_through_the_line_protocol() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let url = a_network_that_leads_to(&world, &repo, &[]);
    let client = world.join("client");
    world.git(world.path(), &["init", "-q", "client"]);
    world.annex(&client, &["init", "--quiet", "client"]);
    fs::write(client.join("file"), "content").expect("write a file");
    world.annex(&client, &["add", "--quiet", "file"]);
    world.git(&client, &["commit", "-q", "-m", "a file"]);
    let mut link = world.command(&client, "sh");
    link.args(["-c", "echo $0:0123abcd | git annex p2p --link --name origin", &url]);
    finish(&mut link, PATIENCE).expect_ok();
    assert_eq!(world.git(&client, &["config", "remote.origin.annex-uuid"]).trim(), SERVER);
    world.annex(&client, &["sync", "--quiet", "--content", "origin"]);
    let friend = world.join("friend");
    world.git(world.path(), &["clone", "-q", &url, "friend"]);
    assert!(friend.join("file").is_symlink());
    assert_eq!(id(&world, &friend, "origin/main"), id(&world, &client, "main"));
    // More than all pipes on the way hold, in both directions.
    let noise = Seeded::new(5).bytes(3_000_000);
    fs::write(client.join("noise"), noise).expect("write a file");
    world.git(&client, &["-c", "annex.largefiles=nothing", "add", "noise"]);
    world.git(&client, &["commit", "-q", "-m", "noise"]);
    world.git(&client, &["push", "-q", "origin", "main"]);
    world.git(&friend, &["pull", "-q"]);
    assert_eq!(id(&world, &friend, "main"), id(&world, repo.path(), "main"));
    world.git(repo.path(), &["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn who_may_not_write_cannot_push_through_the_line_protocol() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let before = world.git(repo.path(), &["show-ref"]);
    let cases = [
        (
            &["--readonly"][..],
            "git-receive-pack",
            "this repository is read-only; write access denied",
        ),
        (
            &["--appendonly"],
            "git-receive-pack",
            "this repository is read-only; write access denied",
        ),
        (&["--limited"], "git-receive-pack", "git cannot be reached through this connection"),
        (&["--limited"], "git-upload-pack", "git cannot be reached through this connection"),
    ];
    for (options, service, error) in cases {
        let mut shell = world.command(world.path(), GANNET);
        shell.arg("shell").args(options).args(["p2pstdio", repo.arg(), CLIENT]);
        let mut talk = Talk::start(shell);
        assert_eq!(talk.hear(), format!("AUTH-SUCCESS {SERVER}"));
        talk.say(&format!("CONNECT {service}\n"));
        assert_eq!(talk.hear(), format!("ERROR {error}"), "{options:?}");
        // The connection ends, though the client has not ended it.
        assert_eq!(talk.wait(), Some(1), "{options:?}");
    }
    for option in ["--readonly", "--appendonly"] {
        let url = a_network_that_leads_to(&world, &repo, &[option]);
        world.git(world.path(), &["clone", "-q", &url, text(&world.fresh("client"))]);
    }
    assert_eq!(world.git(repo.path(), &["show-ref"]), before);
}

fn notices(which: Which) {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let sshd = Sshd::start(&world, which);
    let login = sshd.admit(&world, "");
    let friend = login.clone(&world, repo.path());
    world.git(&friend, &["commit", "-q", "--allow-empty", "-m", "begin"]);
    world.git(&friend, &["push", "-q", "origin", "HEAD:main"]);
    let client = login.clone(&world, repo.path());
    let mut daemon = world.command(&client, "git");
    daemon.args(["annex", "remotedaemon", "--foreground"]);
    let mut daemon = Talk::start(daemon);
    daemon.wait_for("CONNECTED ");
    for round in ["one", "two"] {
        world.git(&friend, &["commit", "-q", "--allow-empty", "-m", round]);
        world.git(&friend, &["push", "-q", "origin", "HEAD:main"]);
        let pushed = id(&world, &friend, "HEAD");
        // Several pushes may have become one, or one several.
        while id(&world, &client, "origin/main") != pushed {
            daemon.wait_for("DONESYNCING ");
        }
    }
    daemon.end();
}

/// Makes a peer-to-peer network on which git-annex finds the repository, and returns its url there.
fn a_network_that_leads_to(world: &World, repo: &Repo, options: &[&str]) -> String {
    let name = format!("net{}", options.concat().replace('-', ""));
    let bin = world.join("bin");
    let helper = bin.join("git-remote-p2p-annex");
    if !helper.exists() {
        symlink("git-annex", helper).expect("link to git-annex");
    }
    // Its peers say who they are first; the other side of `p2pstdio` is known already.
    let script = format!(
        "#!/bin/sh\nread -r auth\nexec {} shell {} p2pstdio {} {CLIENT}\n",
        GANNET,
        options.join(" "),
        repo.arg(),
    );
    let program = bin.join(format!("git-annex-p2p-{name}"));
    fs::write(&program, script).expect("write a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    format!("p2p-annex::{name}:there")
}

fn id(world: &World, dir: &Path, name: &str) -> String {
    world.git(dir, &["rev-parse", name]).trim().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

const PATIENCE: Duration = Duration::from_secs(60);
