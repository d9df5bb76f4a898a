//! Special remotes that fail: it is said which one and why, nothing wrong is passed on, no program
//! is left, and the next request works.

use std::io::Write;

use super::*;
use crate::harness::{CLIENT, Connection, Request};

#[test]
fn a_disk_that_is_not_mounted_is_not_empty() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.try_annex(&client, args);
    let key = scene.add(&client, "file", b"some content");
    annex(&["copy", "--to", "origin-whole", "file"]).expect_ok();
    let (there, away) = (scene.objects("whole"), scene.world.join("away"));
    fs::rename(&there, &away).expect("unmount it");
    for args in [
        &["fsck", "--from", "origin-whole", "file"][..],
        &["drop", "--from", "origin-whole", "file"],
        &["drop", "file"],
    ] {
        let failed = annex(args);
        assert!(!failed.success(), "{failed}");
    }
    scene.add(&client, "more", b"more content");
    assert!(!annex(&["copy", "--to", "origin-whole", "more"]).success());
    assert!(!there.exists(), "it was made");
    assert!(server.log().contains("the remote whole"), "{}", server.log());
    fs::rename(&away, &there).expect("mount it");
    scene.expect_at(&key, &["whole"]);
    annex(&["drop", "file"]).expect_ok();
    annex(&["get", "file"]).expect_ok();
    annex(&["copy", "--to", "origin-whole", "more"]).expect_ok();
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn programs_that_go_wrong_are_ended() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let annex = |args: &[&str]| scene.world.try_annex(&client, args);
    let bin = |name: &str| scene.world.join("bin").join(name);
    let program = bin("git-annex-remote-sham");
    let key = scene.add(&client, "file", &Seeded::new(5).bytes(100_000));
    annex(&["copy", "--to", "origin-slices", "file"]).expect_ok();
    fs::rename(&program, bin("hidden")).expect("hide the program");
    assert!(!annex(&["copy", "--to", "origin-program", "file"]).success());
    assert!(server.log().contains("the remote program"), "{}", server.log());
    fs::rename(bin("hidden"), &program).expect("show it");
    let half = "head -c 1000 /dev/zero >\"${rest##* }\"";
    for (says, in_the_log) in [
        ("exit 1", "the program ended"),
        ("echo it hurts >&2; exit 1", "it hurts"),
        (&format!("{half}; exit 2")[..], "the program ended"),
        ("say NONSENSE", "makes no sense"),
        ("say TRANSFER-SUCCESS STORE SHA256--other", "makes no sense"),
        ("say ERROR it is over", "it is over"),
        ("say TRANSFER-FAILURE ${rest%% *} $(echo ${rest#* } | cut -d' ' -f1) full", "full"),
    ] {
        fs::write(bin("on-TRANSFER"), says).expect("have it go wrong");
        let before = server.log().len();
        assert!(!annex(&["copy", "--to", "origin-program", "file"]).success(), "{says}");
        let log = server.log();
        assert!(log[before..].contains(in_the_log), "{says}: {}", &log[before..]);
        assert!(log[before..].contains("the remote program"), "{says}: {}", &log[before..]);
        assert_eq!(scene.got(&server, "slices", &key), None, "{says}");
        fs::remove_file(bin("on-TRANSFER")).expect("have it do right again");
        let got = scene.got(&server, "slices", &key).expect("the content");
        assert_eq!(got.len(), 100_000, "{says}");
    }
    scene.expect_at(&key, &["slices"]);
    annex(&["copy", "--to", "origin-program", "file"]).expect_ok();
    scene.expect_at(&key, &["program", "slices"]);
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn corrupt_objects_are_never_passed_on_as_valid() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let content = Seeded::new(6).bytes(100_000);
    let key = scene.add(&client, "file", &content);
    for (name, _) in NODES {
        let remote = format!("origin-{name}");
        scene.world.annex(&client, &["copy", "--quiet", "--to", &remote, "file"]);
        let mut objects = Vec::new();
        files_in(&scene.objects(name), &mut objects);
        for object in objects {
            let mut bytes = fs::read(&object).expect("read it");
            *bytes.last_mut().expect("a byte") ^= 1;
            let writable = fs::Permissions::from_mode(0o644);
            fs::set_permissions(&object, writable).expect("let it be written");
            fs::write(object, bytes).expect("damage it");
        }
        assert_eq!(scene.got(&server, name, &key), None, "{name}");
        let path = client.join("file");
        scene.world.annex(&client, &["drop", "--quiet", "--force", "file"]);
        let tmp = client.join(".git/annex/tmp");
        fs::create_dir_all(&tmp).expect("make a directory");
        for held in [0, 50_000] {
            fs::write(tmp.join(&key), &content[..held]).expect("write the beginning");
            let got = scene.world.try_annex(&client, &["get", "--from", &remote, "file"]);
            assert!(!got.success() && !path.exists(), "{name}: {got}");
        }
        fs::remove_file(tmp.join(&key)).ok();
        let checked = scene.world.try_annex(&client, &["fsck", "--from", &remote, "file"]);
        assert!(!checked.success(), "{name}: {checked}");
        fs::remove_file(&path).expect("the broken link");
        scene.world.git(&client, &["checkout", "file"]);
        let file = scene.world.fresh("content");
        fs::write(&file, &content).expect("write content");
        let file = file.to_str().expect("a path of ASCII");
        scene.world.annex(&client, &["setkey", &key, file]);
    }
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn a_full_spool_takes_nothing_more() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let key = scene.add(&client, "file", &[7; 10_000]);
    scene.gateway.set_content(&scene.world, &key, &[7; 10_000]);
    for name in ["whole", "program"] {
        scene.annex(&["copy", "--quiet", "--to", name, "--key", &key]);
    }
    scene.annex(&["drop", "--quiet", "--force", "--key", &key]);
    scene.config("annex.diskreserve", "1000000 terabytes");
    let copied = scene.world.try_annex(&client, &["copy", "--to", "origin-chunked", "file"]);
    assert!(!copied.success(), "{copied}");
    assert!(server.log().contains("not enough space"), "{}", server.log());
    // What needs no space works.
    assert_eq!(scene.got(&server, "whole", &key), Some(vec![7; 10_000]));
    assert_eq!(scene.got(&server, "program", &key), None);
    let server = match server.stop().code() {
        Some(0) => {
            scene.config("annex.diskreserve", "1");
            scene.serve()
        }
        other => panic!("it ended with {other:?}"),
    };
    assert_eq!(scene.got(&server, "program", &key), Some(vec![7; 10_000]));
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

#[test]
fn what_a_crash_left_is_gone_when_the_gateway_begins_again() {
    let scene = Scene::with_proxies();
    let server = scene.serve();
    let client = scene.http_client(&server);
    let content = Seeded::new(8).bytes(1_000_000);
    let key = scene.add(&client, "file", &content);
    let mut putting = server.connect();
    scene.begin_put(&mut putting, "whole", &key, &content, 700_000);
    eventually(PATIENCE, || match scene.spooled() {
        spooled if spooled.is_empty() => Err("nothing came".to_owned()),
        _ => Ok(()),
    });
    server.kill9();
    let server = scene.serve();
    let remote = "origin-whole";
    scene.world.git(&client, &["config", "remote.origin.annexUrl", &server.annex_url()]);
    scene.world.annex(&client, &["copy", "--quiet", "--to", remote, "file"]);
    scene.expect_read(&key, "whole", &content);
    assert_eq!(scene.spooled(), Vec::<PathBuf>::new());
    assert_eq!(server.stop().code(), Some(0));
    scene.expect_clean();
}

impl Scene {
    /// The content that the server vouches for. `None`: an error, or less than was announced.
    fn got(&self, server: &Server, name: &str, key: &str) -> Option<Vec<u8>> {
        let target = format!("/git-annex/{}/v4/key/{key}?clientuuid={CLIENT}", self.uuid(name));
        let reply = server.connect().try_exchange(&Request::get(target)).ok()?;
        let announced = reply.header("x-git-annex-data-length")?.parse().ok();
        (reply.status == 200 && announced == Some(reply.body.len())).then_some(reply.body)
    }

    /// Sends a part of what was announced.
    fn begin_put(&self, to: &mut Connection, name: &str, key: &str, content: &[u8], part: usize) {
        let uuid = self.uuid(name);
        let (len, mut bytes) = (content.len(), Vec::new());
        let target = format!("/git-annex/{uuid}/v4/put?key={key}&clientuuid={CLIENT}");
        write!(
            bytes,
            "POST {target} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/octet-stream\r\n\
             X-git-annex-data-length: {len}\r\nContent-Length: {len}\r\n\r\n",
        )
        .expect("write to memory");
        bytes.extend(&content[..part]);
        to.write(&bytes).expect("send a part");
    }
}
