//! What Gannet set up is served at once, by it and by git-annex, to real clients.

use std::fs;
use std::thread;

use crate::gateway::{NODES, PATIENCE, Scene, USUAL};
use crate::harness::{Gannet, Request, Server, eventually, usual_or_long};
use crate::ssh::Which;

/// Runs Gannet, which must succeed.
fn gannet(scene: &Scene, args: &[&str]) -> String {
    Gannet::run(&scene.world, scene.world.path(), args).expect_ok()
}

#[track_caller]
fn expect_served(server: &Server, uuid: &str) {
    let path = format!("/git-annex/{uuid}/v3/gettimestamp?clientuuid={uuid}");
    eventually(PATIENCE, || match server.send(&Request::post(&path)).status {
        200 => Ok(()),
        status => Err(format!("{status}")),
    });
}

#[test]
fn a_cluster_that_was_set_up_while_the_server_runs_is_used_by_clients() {
    let scene = Scene::new();
    let gateway = scene.gateway.arg();
    let server = scene.serve();
    // Nobody has looked at these yet.
    for name in ["near", "ssh"] {
        scene.world.git(
            scene.gateway.path(),
            &["config", "--unset", &format!("remote.{name}.annex-uuid")],
        );
    }
    let said = gannet(&scene, &["cluster", "init", gateway, "mycluster"]);
    let uuid = said.lines().next().expect("the uuid of the cluster");
    for (name, _) in USUAL {
        scene.config(&format!("remote.{name}.annex-cluster-node"), "mycluster");
    }
    let said = gannet(&scene, &["cluster", "update", gateway]);
    for (name, uuid) in NODES {
        assert!(said.contains(&format!("{name} is a node of mycluster now")), "{said}");
        assert_eq!(said.contains(&format!("{name} has the uuid {uuid}")), name != "http", "{said}");
    }
    assert_eq!(gannet(&scene, &["cluster", "update", gateway]), "nothing has changed\n");
    expect_served(&server, uuid);

    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.annex(&client, args);
    let key = scene.add(&client, "file", b"some content");
    annex(&["move", "--quiet", "--to", "origin-mycluster", "file"]);
    scene.expect_at(&key, &["near", "http", "ssh"]);
    annex(&["get", "--quiet", "--from", "origin-near", "file"]);
    annex(&["drop", "--quiet", "file"]);
    assert_eq!(server.stop().code(), Some(0));

    // git-annex itself goes on with it, but for the node that it cannot reach.
    let unset = ["config", "--unset", "remote.http.annex-cluster-node"];
    scene.world.git(scene.gateway.path(), &unset);
    let said = gannet(&scene, &["cluster", "update", gateway]);
    assert!(said.contains("http is no node of mycluster any more"), "{said}");
    let said = scene.world.annex(scene.gateway.path(), &["updatecluster"]);
    assert!(
        said.contains("No cluster node changes") && said.contains("No proxy changes"),
        "{said}"
    );
    let server = scene.serve_by(Which::Reference);
    let client = scene.http_client(&server);
    let get = ["get", "--quiet", "--from", "origin-mycluster", "--key", &key];
    scene.world.annex(&client, &get);
    let place = scene.world.annex(&client, &["contentlocation", &key]);
    assert_eq!(fs::read(client.join(place.trim())).expect("what came"), b"some content");
    scene.expect_clean();
}

#[test]
fn proxies_come_and_go_while_the_server_runs() {
    let scene = Scene::new();
    let server = scene.serve();
    for (name, _) in NODES {
        scene.config(&format!("remote.{name}.annex-proxy"), "true");
    }
    let said = gannet(&scene, &["proxy", "update", scene.gateway.arg()]);
    assert_eq!(said.lines().count(), 3, "{said}");
    for (_, uuid) in NODES {
        expect_served(&server, uuid);
    }
    let client = scene.http_client(&server);
    let key = scene.add(&client, "file", b"some content");
    scene.world.annex(&client, &["copy", "--quiet", "--to", "origin-http", "file"]);
    scene.expect_at(&key, &["http"]);
    scene.config("remote.near.annex-proxy", "false");
    let said = gannet(&scene, &["proxy", "update", scene.gateway.arg()]);
    assert_eq!(said, "near is not served any more\n");
}

/// Both write the same files of the branch: what one wrote the other keeps.
#[test]
fn git_annex_may_work_in_the_repository_meanwhile() {
    let scene = Scene::new();
    let rounds = usual_or_long(6, 60);
    let (_, near) = NODES[0];
    gannet(&scene, &["cluster", "init", scene.gateway.arg(), "mycluster"]);
    thread::scope(|scope| {
        let ours = scope.spawn(|| {
            for round in 0..rounds {
                let name = if round % 2 == 0 { "mycluster" } else { "" };
                scene.config("remote.near.annex-cluster-node", name);
                gannet(&scene, &["cluster", "update", scene.gateway.arg()]);
            }
        });
        for round in 0..rounds {
            let annex = |args: &[&str]| scene.world.annex(scene.gateway.path(), args);
            annex(&["describe", "--quiet", "http", &format!("the one of round {round}")]);
            annex(&["group", "--quiet", "ssh", &format!("g{round}")]);
        }
        ours.join().expect("updates that succeed");
    });
    scene.config("remote.near.annex-cluster-node", "mycluster");
    gannet(&scene, &["cluster", "update", scene.gateway.arg()]);
    let show =
        |path: &str| scene.world.git(scene.gateway.path(), &["show", &format!("git-annex:{path}")]);
    let groups = show("group.log");
    for round in 0..rounds {
        assert!(groups.contains(&format!("g{round}")), "{groups}");
    }
    let described = show("uuid.log");
    assert!(described.contains(&format!("the one of round {}", rounds - 1)), "{described}");
    assert!(described.contains("cluster mycluster"), "{described}");
    let said = scene.world.annex(scene.gateway.path(), &["updatecluster"]);
    assert!(
        said.contains("No cluster node changes") && said.contains("No proxy changes"),
        "{said}"
    );
    assert!(show("cluster.log").contains(near) && show("proxy.log").contains(near));
    scene.world.git(scene.gateway.path(), &["fsck", "--strict", "--no-dangling"]);
}
