//! The mirror image: Gannet's repositories as nodes behind a gateway that is the real git-annex.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Scene, Way, clusters, proxies};
use crate::harness::server::GANNET;
use crate::harness::{usual_or_long, world::oracle};
use crate::ssh::Which;

/// Beside one that is not ours.
const NODES: [(&str, Way); 3] =
    [("ssh", Way::Ssh(Which::Gannet)), ("near", Way::Path), ("shell", Way::Ssh(Which::Reference))];

#[test]
fn the_reference_proxies_our_nodes() {
    let scene = Scene::of(&NODES).proxied();
    let heard = answer_at_node(&scene, "gateway-near");
    let client = scene.ssh_client_of(Which::Reference);
    proxies::journey(&scene, &client, &scene.nodes[..2]);
    assert!(heard().contains("p2pstdio"), "somebody else answered at the path: {}", heard());
    if usual_or_long(false, true) {
        let server = scene.serve_by(Which::Reference);
        proxies::journey(&scene, &scene.http_client(&server), &scene.nodes);
    }
    scene.expect_clean();
}

#[test]
fn our_nodes_form_a_cluster_of_the_reference() {
    let scene = Scene::of(&NODES).clustered();
    let heard = answer_at_node(&scene, "gateway-near");
    let server = scene.serve_by(Which::Reference);
    clusters::journey(&scene, &scene.http_client(&server));
    assert!(heard().contains("p2pstdio"), "somebody else answered at the path: {}", heard());
    if usual_or_long(false, true) {
        clusters::journey(&scene, &scene.ssh_client_of(Which::Reference));
    }
    scene.expect_clean();
}

/// Lets Gannet take the place of the git-annex-shell that git-annex runs in the repository of
/// this name; what that was asked for can be heard.
fn answer_at_node(scene: &Scene, name: &str) -> impl Fn() -> String {
    let (program, real, heard) =
        ["bin/git-annex-shell", "real", "heard"].map(|name| scene.world.join(name)).into();
    fs::create_dir(&real).expect("make a directory");
    let real = match fs::rename(&program, real.join("git-annex-shell")) {
        Ok(()) => real.join("git-annex-shell"),
        Err(_) => oracle().join("git-annex-shell"),
    };
    let (node, real) = (scene.world.join(name), real.display());
    let script = format!(
        "#!/bin/sh\n\
         case \"$*\" in *' {node} '*) echo \"$@\" >>'{heard}'; exec '{GANNET}' shell \"$@\" ;; esac\n\
         exec '{real}' \"$@\"\n",
        node = node.display(),
        heard = heard.display(),
    );
    fs::write(&program, script).expect("write the program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    move || fs::read_to_string(&heard).unwrap_or_default()
}
