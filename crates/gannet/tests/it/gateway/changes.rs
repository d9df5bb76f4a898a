//! What a gateway serves follows its configuration and its branch, while it runs.

use std::fs;
use std::path::Path;

use super::{GATEWAY, NODES, PATIENCE, Scene};
use crate::harness::{Gannet, HELLO, Request, Server, eventually};

#[test]
fn what_may_be_reached_changes_while_the_server_runs() {
    let scene = Scene::new();
    scene.nodes[0].set_content(&scene.world, HELLO, b"hello\n");
    let server = scene.serve();
    let (_, near) = NODES[0];
    assert_eq!(status(&server, GATEWAY), 200);
    assert_eq!(status(&server, near), 404);
    // The branch alone, as somebody could have pushed it, opens no way.
    let proxy = |value: &str| scene.config("remote.near.annex-proxy", value);
    proxy("true");
    scene.world.annex(scene.gateway.path(), &["updateproxy", "--quiet"]);
    proxy("false");
    expect(&server, near, 404);
    // The configuration alone neither.
    let (_, ssh) = NODES[2];
    scene.config("remote.ssh.annex-proxy", "true");
    expect(&server, ssh, 404);
    proxy("true");
    expect(&server, near, 200);
    proxy("false");
    assert_eq!(status(&server, near), 404, "noticed at once");
    proxy("true");
    expect(&server, near, 200);
    scene.world.annex(scene.gateway.path(), &["dead", "--quiet", "near"]);
    assert_eq!(status(&server, near), 404, "noticed at once");
    scene.world.annex(scene.gateway.path(), &["semitrust", "--quiet", "near"]);
    expect(&server, near, 200);
    // A node that another repository has become is not asked.
    scene.world.git(scene.nodes[0].path(), &["config", "annex.uuid", ssh]);
    assert_eq!(status(&server, near), 500);
}

#[test]
fn what_the_user_configures_for_all_repositories_counts_as_long_as_it_is_there() {
    let scene = Scene::with_proxies();
    let (_, near) = NODES[0];
    let git = |args: &[&str]| scene.world.git(scene.gateway.path(), args);
    for (name, _) in NODES {
        git(&["config", "--unset", &format!("remote.{name}.annex-proxy")]);
    }
    let server = scene.serve();
    assert_eq!(status(&server, near), 404);
    let of_all = scene.world.join("gitconfig");
    let usual = fs::read_to_string(&of_all).expect("read the configuration of all");
    let write = |path: &Path, more: &str| {
        fs::write(path, format!("{usual}{more}\n")).expect("write a configuration");
    };
    let gate = "[remote \"near\"]\n\tannex-proxy = true";
    for _ in 0..2 {
        write(&of_all, gate);
        expect(&server, near, 200);
        write(&of_all, "");
        assert_eq!(status(&server, near), 404, "noticed at once");
    }
    let included = scene.world.join("included");
    write(&included, gate);
    write(&of_all, "[include]\n\tpath = included");
    expect(&server, near, 200);
    write(&included, "");
    assert_eq!(status(&server, near), 404, "noticed at once");
    write(&included, gate);
    expect(&server, near, 200);
}

#[test]
fn what_is_below_a_directory_is_served_itself_rather_than_through_a_gateway() {
    let scene = Scene::with_proxies();
    let server = Gannet::serve(
        &scene.world,
        &["--wideopen", "--directory", scene.world.path().to_str().expect("a path of ASCII")],
    );
    let (_, near) = NODES[0];
    scene.nodes[0].set_content(&scene.world, HELLO, b"hello\n");
    assert_eq!(status(&server, near), 200);
    // Nothing is noted at the gateway of what it had no part in.
    scene.config("remote.near.annex-proxy", "false");
    assert_eq!(status(&server, near), 200);
}

#[test]
fn whoever_may_only_read_the_gateway_may_only_read_what_is_behind_it() {
    let scene = Scene::with_proxies();
    let server = Gannet::serve(&scene.world, &["--unauth-readonly", scene.gateway.arg()]);
    for (_, uuid) in NODES {
        assert_eq!(status(&server, uuid), 200);
        let remove = format!("/git-annex/{uuid}/v3/remove?key={HELLO}&clientuuid={GATEWAY}");
        let reply = server.send(&Request::post(&remove));
        assert!(matches!(reply.status, 401 | 403), "{}", reply.status);
    }
}

#[track_caller]
fn expect(server: &Server, uuid: &str, expected: u16) {
    eventually(PATIENCE, || match status(server, uuid) {
        status if status == expected => Ok(()),
        status => Err(format!("{status} instead of {expected}")),
    });
}

/// Asks whether a content is there.
fn status(server: &Server, uuid: &str) -> u16 {
    let path = format!("/git-annex/{uuid}/v3/checkpresent?key={HELLO}&clientuuid={GATEWAY}");
    server.send(&Request::post(&path)).status
}
