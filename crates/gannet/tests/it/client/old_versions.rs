//! Repositories of old versions, whose locks are of another kind, and their upgrade by the real git-annex while they are served.

use std::process::Stdio;
use std::time::Duration;

use crate::harness::http::api;
use crate::harness::{CLIENT, Connection, Repo, Request, SERVER, World, eventually};
use crate::raw::locks::{keep_open, lock, unlock};

use super::scene::expect_clean;
use super::tree::{Seed, Tree};

/// The upgrade waits for a lock of the old kind; what is locked stays before and after it, and a
/// transfer that was under way ends well.
#[test]
fn an_upgrade_while_content_is_locked_and_read() {
    for version in ["8", "9"] {
        let tree = old(version, 1_200_000);
        let server = tree.serve();
        let [plain, tool, locked] = tree.files();
        let target = api(SERVER, "v4", &format!("key/{}", plain.key), &[("clientuuid", CLIENT)]);
        let mut reader = Connection::narrow(server.address());
        reader.send(&Request::get(target)).expect("ask for the content");
        let head = reader.head_of_reply("GET").expect("the head of a reply");
        let id = lock(&server, &locked.key);
        let kept = keep_open(&server, &id);

        let mut upgrade = tree.world.command(tree.repo.path(), "git");
        upgrade.args(["annex", "upgrade", "--force"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut upgrade = upgrade.spawn().expect("start git-annex");
        // Whether it has begun or not: nobody removes what is locked, and others are served.
        for _ in 0..3 {
            let drop = ["dropkey", "--force", "--quiet", &locked.key];
            assert!(!tree.world.try_annex(tree.repo.path(), &drop).success(), "{version}");
            assert_eq!(tree.ask(&server, "remove", &locked).member("removed"), false, "{version}");
            // From 8 to 9 the locks stay as they are.
            assert_ne!(version_of(&tree), "10", "upgraded in spite of a lock");
            tree.remove(&server, &tool);
            tree.put(&server, &tool);
        }
        drop(kept);
        assert_eq!(unlock(&server, &id).member("locked"), false);
        let ended = eventually(Duration::from_secs(60), || {
            upgrade.try_wait().expect("ask for git-annex").ok_or_else(|| "it waits".to_owned())
        });
        assert!(ended.success(), "{version}: {ended}");
        assert_eq!(version_of(&tree), "10");

        let id = lock(&server, &locked.key);
        assert!(tree.repo.locks(&locked.key).lck, "{version}: a lock of the old kind");
        assert_eq!(tree.ask(&server, "remove", &locked).member("removed"), false, "{version}");
        unlock(&server, &id);
        let mut body = Vec::new();
        assert!(reader.body_of_reply(&head, |piece| body.extend_from_slice(piece)), "{version}");
        assert!(body == plain.content, "{version}: {} bytes came", body.len());
        for file in tree.files() {
            tree.remove(&server, &file);
            tree.put(&server, &file);
            tree.expect_content(&file);
        }
        tree.restage();
        assert_eq!(tree.status(), "", "{version}");
        expect_clean(&tree.world, tree.repo.path());
    }
}

/// Before version 10 a lock is not outlived by anything (repository §4.3).
#[test]
fn a_lock_of_the_old_kind_ends_with_the_server() {
    for version in ["8", "9"] {
        let tree = old(version, 1000);
        let [plain, ..] = tree.files();
        let server = tree.serve();
        lock(&server, &plain.key);
        assert_eq!(tree.ask(&server, "remove", &plain).member("removed"), false, "{version}");
        server.kill9();
        let left = tree.repo.locks(&plain.key);
        assert!(!left.lck && !left.rtm && !left.rtl, "{version}: {left:?}");
        let server = tree.serve();
        tree.remove(&server, &plain);
        tree.expect_pointer(&plain);
    }
}

/// A repository of an old version that stays so until somebody asks for the upgrade.
fn old(version: &str, lines: usize) -> Tree {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, false);
    let settings = [("annex.version", version), ("annex.autoupgraderepository", "false")];
    let seed = Seed { settings: &settings, lines, ..Seed::default() };
    Tree::sow(world, repo, &seed)
}

fn version_of(tree: &Tree) -> String {
    tree.world.git(tree.repo.path(), &["config", "annex.version"]).trim().to_owned()
}
