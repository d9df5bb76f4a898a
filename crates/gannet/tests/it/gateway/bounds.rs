//! How much a gateway does at once, and how much it keeps for later.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;

use super::{NODES, PATIENCE, Scene, Way};
use crate::harness::{ABSENT, CLIENT, Gannet, Request, eventually};
use crate::ssh::{Which, programs};

/// Holds whatever a gateway begins over ssh until it is let through.
struct Barrier {
    dir: PathBuf,
}

impl Barrier {
    fn before(scene: &Scene) -> Self {
        let barrier = Self { dir: scene.world.fresh("barrier") };
        for name in ["", "waiting", "through"] {
            fs::create_dir(barrier.dir.join(name)).expect("make a directory");
        }
        let program = barrier.dir.join("ssh");
        let dir = barrier.dir.display();
        let script = format!(
            "#!/bin/sh\n\
             : > {dir}/waiting/$$\n\
             until [ -e {dir}/through/$$ ] || [ ! -e {dir} ]; do sleep 0.02; done\n\
             exec ssh \"$@\"\n"
        );
        fs::write(&program, script).expect("write a program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it one");
        scene.config("core.sshCommand", program.to_str().expect("a path of ASCII"));
        barrier
    }

    fn list(&self, name: &str) -> BTreeSet<String> {
        let entries = fs::read_dir(self.dir.join(name)).expect("list a directory");
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("a number");
        entries.map(|entry| name(entry.expect("list a directory"))).collect()
    }

    /// Lets all through, as soon as `count` altogether have come, of whom no more than `at_once` may
    /// wait at the same time.
    fn let_through(&self, count: usize, at_once: usize) {
        eventually(PATIENCE, || {
            let before = self.list("through").len();
            let came = self.list("waiting").len();
            assert!(came <= before + at_once, "{came} came, and only {before} were let through");
            if came == count { Ok(()) } else { Err(format!("{came} of {count} came")) }
        });
        for number in self.list("waiting") {
            fs::write(self.dir.join("through").join(number), "").expect("let one through");
        }
    }
}

/// A cluster of three nodes behind ssh, and its uuid.
fn cluster() -> (Scene, String) {
    let way = Way::Ssh(Which::Gannet);
    let scene = Scene::of(&[("a", way), ("b", way), ("c", way)]).clustered();
    let uuid = scene.world.git(scene.gateway.path(), &["config", "annex.cluster.mycluster"]);
    (scene, uuid.trim().to_owned())
}

/// In how many steps three nodes are asked by so many at once.
const STEPS: [(usize, &[usize]); 3] = [(1, &[1, 2, 3]), (2, &[2, 3]), (8, &[3])];

#[test]
fn no_more_nodes_are_asked_at_once_than_clusterjobs_says() {
    let (scene, cluster) = cluster();
    for (jobs, steps) in STEPS {
        let barrier = Barrier::before(&scene);
        let args = ["--wideopen", "--clusterjobs", &jobs.to_string(), scene.gateway.arg()];
        let server = Gannet::serve(&scene.world, &args);
        let remove = format!("/git-annex/{cluster}/v2/remove?key={ABSENT}&clientuuid={CLIENT}");
        thread::scope(|scope| {
            let removing = scope.spawn(|| server.send(&Request::post(&remove)));
            for count in steps {
                barrier.let_through(*count, jobs);
            }
            let reply = removing.join().expect("a reply");
            assert_eq!(reply.status, 200);
        });
        assert_eq!(server.stop().code(), Some(0));
    }
}

#[test]
fn no_more_nodes_are_asked_at_once_than_annex_jobs_says() {
    let (scene, cluster) = cluster();
    for (jobs, steps) in STEPS {
        let barrier = Barrier::before(&scene);
        match jobs {
            // As usual, which is more than three.
            8 => drop(scene.world.git(scene.gateway.path(), &["config", "--unset", "annex.jobs"])),
            jobs => scene.config("annex.jobs", &jobs.to_string()),
        }
        let program = programs(&scene.world, Which::Gannet).join("git-annex-shell");
        let mut command = scene.world.command(scene.world.path(), program);
        command.args(["p2pstdio", scene.gateway.arg(), CLIENT, "--uuid", &cluster]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("start the shell");
        let mut input = shell.stdin.take().expect("its input");
        input.write_all(format!("REMOVE {ABSENT}\n").as_bytes()).expect("ask");
        for count in steps {
            barrier.let_through(*count, jobs);
        }
        drop(input);
        let mut said = String::new();
        shell.stdout.take().expect("its output").read_to_string(&mut said).expect("hear");
        assert!(shell.wait().expect("its end").success());
        assert!(said.ends_with("SUCCESS\n"), "{said}");
    }
}

#[test]
fn no_more_idle_connections_are_kept_than_proxyconnections_says() {
    let scene = Scene::of(&[("near", Way::Ssh(Which::Gannet))]).proxied();
    let (_, uuid) = NODES[0];
    for kept in [0, 2, 5] {
        let barrier = Barrier::before(&scene);
        let args = ["--wideopen", "--proxyconnections", &kept.to_string(), scene.gateway.arg()];
        let server = Gannet::serve(&scene.world, &args);
        let ask = format!("/git-annex/{uuid}/v4/checkpresent?key={ABSENT}&clientuuid={CLIENT}");
        thread::scope(|scope| {
            let ask = || server.send(&Request::post(&ask)).status;
            let asking: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
            barrier.let_through(6, 6);
            for one in asking {
                assert_eq!(one.join().expect("a reply"), 200);
            }
        });
        eventually(PATIENCE / 2, || match server.children() {
            children if children == kept => Ok(()),
            children => Err(format!("{children} are kept")),
        });
        assert_eq!(server.stop().code(), Some(0));
    }
}
