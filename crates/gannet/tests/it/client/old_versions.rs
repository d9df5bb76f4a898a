//! Repositories of old versions, whose locks are of another kind.

use crate::harness::{Repo, SERVER, World};
use crate::raw::locks::lock;

use super::tree::{Seed, Tree};

/// Before version 10 a lock is not outlived by anything (repository §4.3).
#[test]
fn a_lock_of_the_old_kind_ends_with_the_server() {
    for version in ["8", "9"] {
        let tree = old(version);
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
fn old(version: &str) -> Tree {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, false);
    let settings = [("annex.version", version), ("annex.autoupgraderepository", "false")];
    let seed = Seed { settings: &settings, ..Seed::default() };
    Tree::sow(world, repo, &seed)
}
