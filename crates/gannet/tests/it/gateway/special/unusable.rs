//! Special remotes that cannot be used are refused, and it is said why.

use super::*;
use crate::harness::{ABSENT, CLIENT, Request};

#[test]
fn what_cannot_be_used_is_refused_with_its_reason() {
    let scene = Scene::with_proxies();
    let dir = |name: &str| {
        let dir = scene.objects(name);
        fs::create_dir(&dir).expect("make a directory");
        format!("directory={}", dir.display())
    };
    let init = |name: &str, settings: &[&str]| {
        scene.annex(&[&["initremote", "--quiet", name], settings].concat());
        scene.config(&format!("remote.{name}.annex-proxy"), "true");
    };
    init("secret", &["type=directory", "encryption=shared", &dir("secret")]);
    let tree = ["type=directory", "encryption=none", "exporttree=yes", "annexobjects=yes"];
    init("tree", &[&tree[..], &[&dir("tree")]].concat());
    let rsync = format!("rsyncurl={}", scene.world.join("rsync").display());
    init("rsync", &["type=rsync", "encryption=none", &rsync]);
    scene.annex(&["updateproxy", "--quiet"]);
    // As if somebody else had made them.
    scene.config("remote.whole.annex-verified", "manual");
    let verified = scene.gateway.annex_dir().join("verified-remote.log");
    let text = fs::read_to_string(&verified).expect("what was verified");
    let others = text.lines().filter(|line| !line.contains("name=whole"));
    let others: Vec<_> = others.map(|line| format!("{line}\n")).collect();
    fs::write(&verified, others.concat()).expect("forget one");

    let server = scene.serve();
    let present = |name: &str| {
        let uuid = scene.uuid(name);
        let target = format!("/git-annex/{uuid}/v4/checkpresent?key={ABSENT}&clientuuid={CLIENT}");
        server.send(&Request::post(&target))
    };
    let reasons = [
        ("secret", "the special remote is encrypted (encryption=shared)"),
        ("tree", "the special remote keeps a tree of files (exporttree=yes)"),
        ("rsync", "special remotes of this kind (rsyncurl) cannot be used"),
        ("whole", "the special remote is not verified (git-annex verifyremote whole)"),
    ];
    for (name, reason) in reasons {
        let reply = present(name);
        assert_eq!(reply.status, 502, "{name}: {}", reply.text());
        let expected = format!("the remote {name}: {reason}");
        assert!(server.log().contains(&expected), "{expected}: {}", server.log());
    }
    assert_eq!(present("chunked").member("present"), false);
    // What was found to be right is used at once.
    fs::write(&verified, text).expect("verify it again");
    assert_eq!(present("whole").member("present"), false);
    // And stays as it was found, whatever is recorded of it later.
    let other = scene.world.fresh("other");
    let to = other.to_str().expect("a path of ASCII");
    scene.world.git(scene.world.path(), &["clone", "-q", scene.gateway.arg(), to]);
    scene.world.annex(&other, &["init", "--quiet", "other"]);
    let objects = format!("directory={}", scene.objects("whole").display());
    scene.world.annex(&other, &["enableremote", "--quiet", "whole", &objects, "chunk=1kB"]);
    scene.world.git(&other, &["push", "-q", "--no-verify", "origin", "git-annex:synced/git-annex"]);
    scene.annex(&["merge", "--quiet"]);
    let recorded = scene.world.git(scene.gateway.path(), &["show", "git-annex:remote.log"]);
    assert!(recorded.contains("chunk=1kB"), "{recorded}");
    let client = scene.http_client(&server);
    let key = scene.add(&client, "file", &[7; 5000]);
    scene.world.annex(&client, &["copy", "--quiet", "--to", "origin-whole", "file"]);
    let mut stored = Vec::new();
    files_in(&scene.objects("whole"), &mut stored);
    let names: Vec<_> = stored.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, [key]);
}
