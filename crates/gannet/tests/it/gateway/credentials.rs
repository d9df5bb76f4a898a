//! Nodes that want to know who asks: git's credential helpers tell the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::Scene;
use crate::harness::{ABSENT, CLIENT, Gannet, Repo, Request};

const NODE: &str = "0de00001-0000-4000-8000-000000000001";

/// Asks the node through a gateway that has just begun, and returns the status. Nobody tells the log
/// the password, however much else that is told.
fn ask(scene: &Scene) -> u16 {
    let args = ["--wideopen", "--debug", scene.gateway.arg()];
    let server = Gannet::serve(&scene.world, &args);
    let path = format!("/git-annex/{NODE}/v4/checkpresent?key={ABSENT}&clientuuid={CLIENT}");
    let statuses = [0, 1].map(|_| server.send(&Request::post(&path)).status);
    assert_eq!(statuses[0], statuses[1]);
    assert!(!server.log().contains("sesame"), "{}", server.log());
    statuses[0]
}

#[test]
fn a_node_that_wants_a_login_gets_it_from_git() {
    let scene = Scene::of(&[]);
    let node = Repo::create(&scene.world, "locked", NODE, true);
    let users = [("GIT_ANNEX_P2PHTTP_PASSWORD_joey", "sesame")];
    let server = Gannet::serve_with(&scene.world, &["--authenv-http", node.arg()], &users);
    // A url over HTTP at the same host is what git is asked about.
    let host = server.address().to_string();
    scene.config("remote.locked.url", &format!("http://{host}/git/locked"));
    scene.config("remote.locked.annexUrl", &server.annex_url());
    scene.config("remote.locked.annex-uuid", NODE);
    scene.config("remote.locked.annex-proxy", "true");
    let update = ["proxy", "update", scene.gateway.arg()];
    Gannet::run(&scene.world, scene.world.path(), &update).expect_ok();

    assert_eq!(ask(&scene), 502, "nobody knows a login");

    let [helper, heard, password] = ["helper", "heard", "password"].map(|it| scene.world.join(it));
    let script = format!(
        "#!/bin/sh\n\
         echo \"$1\" >> {heard}\n\
         cat >> {heard}\n\
         [ \"$1\" != get ] || {{ echo username=joey; echo password=$(cat {password}); }}\n",
        heard = heard.display(),
        password = password.display(),
    );
    fs::write(&helper, script).expect("write a helper");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("make it a program");
    scene.config("credential.helper", helper.to_str().expect("a path of ASCII"));
    let verbs = || {
        let text = fs::read_to_string(&heard).expect("what the helper heard");
        fs::remove_file(&heard).expect("forget it");
        let verb = |line: &&str| ["get", "store", "erase"].contains(line);
        let verbs: Vec<_> = text.lines().filter(verb).map(str::to_owned).collect();
        (verbs, text)
    };

    fs::write(&password, "sesame").expect("write a password");
    assert_eq!(ask(&scene), 200);
    let (asked, text) = verbs();
    assert_eq!(asked, ["get", "store"], "once for all requests: {text}");
    assert!(text.contains("protocol=http\n") && text.contains(&format!("host={host}\n")), "{text}");

    fs::write(&password, "no-sesame").expect("write a password");
    assert_eq!(ask(&scene), 502, "it is the wrong one");
    assert_eq!(verbs().0, ["get", "erase", "get", "erase"]);
}
