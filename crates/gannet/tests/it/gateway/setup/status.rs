//! `gannet cluster status` tells how clusters are, what is wrong with them, and what to do about it.

use std::fs;

use serde_json::Value;

use crate::gateway::{NODES, PATIENCE, Scene};
use crate::harness::{Gannet, World, eventually};

fn status(scene: &Scene, more: &[&str]) -> (i32, Value) {
    let args = ["cluster", "status", "--json", scene.gateway.arg()];
    let done = Gannet::run(&scene.world, scene.world.path(), &[&args[..], more].concat());
    let json =
        serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done}"));
    (done.code.expect("an exit code"), json)
}

/// What is said of the only cluster: for each node its name and a member; and all problems.
fn nodes<'a>(json: &'a Value, member: &str) -> Vec<(&'a str, &'a Value)> {
    let nodes = json["clusters"][0]["nodes"].as_array().expect("nodes").iter();
    nodes.map(|node| (node["name"].as_str().expect("a name"), &node[member])).collect()
}

fn problems(json: &Value) -> Vec<[String; 3]> {
    let of = |json: &Value| json["problems"].as_array().expect("problems").clone();
    let all = json["clusters"].as_array().expect("clusters").iter().flat_map(of).chain(of(json));
    let text = |problem: &Value, member: &str| problem[member].as_str().expect("text").to_owned();
    all.map(|it| ["about", "what", "advice"].map(|member| text(&it, member))).collect()
}

#[track_caller]
fn expect_problems(json: &Value, expected: &[[&str; 3]]) {
    let problems = problems(json);
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for expected in expected {
        let is_it = |it: &[String; 3]| {
            it[0] == expected[0] && it[1].contains(expected[1]) && it[2].contains(expected[2])
        };
        assert!(problems.iter().any(is_it), "{expected:?} is not in {problems:#?}");
    }
}

#[test]
fn a_healthy_cluster_is_told_of() {
    let scene = Scene::with_cluster();
    scene.world.annex(scene.gateway.path(), &["maxsize", "--quiet", "near", "5 GB"]);
    scene.config("remote.ssh.annex-readonly", "true");
    let (code, json) = status(&scene, &[]);
    assert_eq!(code, 0, "{json:#}");
    expect_problems(&json, &[]);
    let cluster = &json["clusters"][0];
    assert_eq!((&cluster["name"], &cluster["served"]), (&"mycluster".into(), &true.into()));
    for (name, uuid) in NODES {
        let nodes = cluster["nodes"].as_array().expect("nodes");
        let node = nodes.iter().find(|node| node["name"] == name).expect("the node");
        assert_eq!(node["uuid"], uuid);
        assert_eq!(node["reached"], true);
        assert_eq!(node["cost"], if name == "near" { 100.0 } else { 200.0 });
        assert_eq!(node["version"], if name == "near" { Value::Null } else { 4.into() }, "{name}");
        assert_eq!(node["free"].is_u64(), name == "near");
        assert_eq!(node["readonly"], name == "ssh");
        let max = if name == "near" { 5_000_000_000_u64.into() } else { Value::Null };
        assert_eq!(node["maxsize"], max);
    }
    let text =
        Gannet::run(&scene.world, scene.gateway.path(), &["cluster", "status", "."]).expect_ok();
    let expected = [
        "mycluster (ac",
        "near (0de",
        "reached",
        "protocol version 4",
        "of at most 4.66 GiB",
        "readonly",
    ];
    for said in expected {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let scene = Scene::with_cluster();
    let path = scene.gateway.arg();
    let update = format!("gannet cluster update {path}");
    let proxy_update = format!("gannet proxy update {path}");
    // Nodes that cannot be reached, or are not there any more.
    fs::rename(scene.nodes[0].path(), scene.world.join("elsewhere")).expect("move a node away");
    // Nobody is let through by configuration, or asked for.
    scene.config("remote.http.annex-cluster-node", "other");
    scene.world.annex(scene.gateway.path(), &["dead", "--quiet", "ssh"]);
    scene.config("remote.more.url", "ssh://nowhere.invalid/more");
    scene.config("remote.more.annex-proxy", "true");
    scene.config("remote.new.url", "/nowhere");
    scene.config("remote.new.annex-uuid", "0de00009-0000-4000-8000-000000000009");
    scene.config("remote.new.annex-proxy", "true");
    scene.config("annex.cluster.bad", "0de00009-0000-4000-8000-000000000009");
    let (code, json) = status(&scene, &[]);
    assert_eq!(code, 1);
    expect_problems(
        &json,
        &[
            ["near", "cannot be reached", "see whether"],
            ["http", "does not call it one", &update],
            ["http", "node of other, which is no cluster", "gannet cluster init"],
            ["http", "does not let them", &proxy_update],
            ["ssh", "is dead", "semitrust"],
            ["ssh", "does not let them", &proxy_update],
            ["more", "uuid is not known", "remote.more.annex-uuid"],
            ["new", "clients are not told", &proxy_update],
            ["annex.cluster.bad", "not the uuid of a cluster", "--unset"],
        ],
    );
    let reached = nodes(&json, "reached");
    assert!(
        reached.contains(&("near", &false.into())) && reached.contains(&("http", &Value::Null)),
        "{reached:?}"
    );

    for (name, _) in NODES {
        scene.config(&format!("remote.{name}.annex-cluster-node"), "");
    }
    scene.world.git(scene.gateway.path(), &["config", "--remove-section", "remote.http"]);
    let (_, json) = status(&scene, &[]);
    let problems = problems(&json);
    for (about, what) in
        [("mycluster", "no node that can be used"), (NODES[1].1, "no remote leads there")]
    {
        assert!(
            problems.iter().any(|it| it[0].contains(about) && it[1].contains(what)),
            "{problems:#?}"
        );
    }
}

#[test]
fn a_node_that_says_nothing_is_not_waited_for() {
    let scene = Scene::with_cluster();
    let pid = scene.world.join("pid");
    // What it starts is not what Gannet started.
    let silent = format!("sleep 1234 & echo $! > {} && wait; false", pid.display());
    scene.config("core.sshCommand", &silent);
    let (code, json) = status(&scene, &["--timeout", "1"]);
    assert_eq!(code, 1);
    expect_problems(&json, &[["ssh", "no answer for 1 second", "git-annex-shell"]]);
    let reached = nodes(&json, "reached");
    let answered = reached.iter().filter(|(_, reached)| reached.as_bool() == Some(true));
    assert_eq!(answered.count(), 2, "{json:#}");
    let pid = fs::read_to_string(pid).expect("the number of a process");
    eventually(PATIENCE, || match fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())) {
        Ok(line) if line.contains("1234") => Err(format!("{pid} still sleeps")),
        _ => Ok(()),
    });
}

#[test]
fn what_cannot_be_looked_at_is_told_apart() {
    let world = World::new();
    let done = Gannet::run(&world, world.path(), &["cluster", "status", "."]);
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.err().contains("is not a git repository"), "{done}");
}
