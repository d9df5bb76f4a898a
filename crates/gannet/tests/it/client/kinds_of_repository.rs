//! Less common kinds of repositories, each served for one copy, drop and get.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::files;
use super::scene::{Scene, text};
use crate::harness::{Repo, SERVER, World};

/// Version 9 locks the object itself, not a file beside it (repository §4.2).
#[test]
fn a_repository_of_version_9() {
    of_version("9");
}

/// Version 8 locks as version 9 does.
#[test]
fn a_repository_of_version_8() {
    of_version("8");
}

/// Its `.git` is a file that names the git directory.
#[test]
fn a_linked_work_tree() {
    let world = World::new();
    let linked = linked_work_tree(&world);
    round(&Scene::of(world, linked));
}

/// Its `.git` is a file too, with a relative path.
#[test]
fn a_submodule() {
    let world = World::new();
    let below = submodule(&world);
    round(&Scene::of(world, below));
}

/// What the server stores has the modes that git-annex itself would give it (repository §2.3).
#[test]
fn a_repository_shared_by_a_group() {
    let scene = shared("group");
    scene.annex(&["drop", "--quiet", "--from", "origin", "."]);
    drop(files::of_size(&scene, "another", 2000));
    scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    scene.annex(&["drop", "--quiet", "."]);
    scene.annex(&["get", "--quiet", "."]);
    scene.expect_clean();
}

/// The same where the mode is a number. Whoever shares it can lock and remove what others stored.
#[test]
fn repositories_shared_by_number() {
    for number in ["0640", "0660", "0600"] {
        shared(number).annex(&["drop", "--quiet", "--from", "origin", "."]);
    }
}

/// Stores content in a repository shared in this way, beside what git-annex itself stored there.
fn shared(how: &str) -> Scene {
    let world = World::new();
    let path = world.join("shared");
    let how = format!("--shared={how}");
    world.git(world.path(), &["init", "-q", "--bare", &how, text(&path)]);
    world.annex(&path, &["init", "--quiet", "shared"]);
    let repo = Repo::open(&world, &path);
    let own = "SHA256E-s6--5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03.txt";
    repo.set_content(&world, own, b"hello\n");

    let scene = Scene::of(world, path);
    let file = files::of_size(&scene, "given", 1000);
    scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    let modes = |key: &str| {
        let object = repo.object(key).expect("an object");
        let dirs = object.ancestors().skip(1).take(3).map(Path::to_owned);
        [object.clone()].into_iter().chain(dirs).map(mode).collect::<Vec<_>>()
    };
    assert_eq!(modes(&file.key()), modes(own), "{how}: left by the server, right by git-annex");
    scene
}

/// Makes an empty repository and another work tree of it, and returns that.
pub(super) fn linked_work_tree(world: &World) -> PathBuf {
    let main = Repo::create(world, "main", SERVER, false);
    world.git(main.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
    let linked = world.join("linked");
    world.git(main.path(), &["worktree", "add", "-q", "-b", "side", text(&linked)]);
    link_to_file(&linked.join(".git"));
    linked
}

/// Makes an empty repository within another.
pub(super) fn submodule(world: &World) -> PathBuf {
    let origin = world.join("origin");
    world.git(world.path(), &["init", "-q", text(&origin)]);
    world.git(&origin, &["commit", "-q", "--allow-empty", "-m", "begin"]);
    let above = world.join("above");
    world.git(world.path(), &["init", "-q", text(&above)]);
    world.git(&above, &["submodule", "--quiet", "add", text(&origin), "below"]);
    let below = above.join("below");
    world.git(&below, &["config", "annex.uuid", SERVER]);
    world.annex(&below, &["init", "--quiet", "below"]);
    link_to_file(&below.join(".git"));
    below
}

fn of_version(version: &str) {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, false);
    world.git(repo.path(), &["config", "annex.version", version]);
    world.git(repo.path(), &["config", "annex.autoupgraderepository", "false"]);
    let scene = Scene::of(world, repo.path().to_owned());
    round(&scene);
    assert_eq!(scene.world.git(&scene.served, &["config", "annex.version"]).trim(), version);
}

/// Undoes what git-annex does where it works: it replaces the file `.git` by a link.
fn link_to_file(dot_git: &Path) {
    let git_dir = fs::read_link(dot_git).expect("git-annex made a link");
    fs::remove_file(dot_git).expect("remove the link");
    fs::write(dot_git, format!("gitdir: {}\n", text(&git_dir))).expect("write the file");
}

/// One copy, drop and get, and a removal at the server.
fn round(scene: &Scene) {
    let file = files::of_size(scene, "a file", 100_000);
    let only = [file.key_file()].into();
    let since = scene.annex(&["copy", "--quiet", "--to", "origin", "."]);
    scene.expect_at_server(since, &only);
    scene.relay.take();
    scene.annex(&["drop", "--quiet", "."]);
    assert_eq!(scene.relay.take().count("/keeplocked?"), 1, "dropped without a lock");
    assert!(!file.is_here(), "it was not dropped");
    scene.annex(&["get", "--quiet", "."]);
    assert!(scene.relay.take().down > file.len(), "the content did not come over HTTP");
    file.expect_whole();
    scene.expect_clean();
    let since = scene.annex(&["drop", "--quiet", "--from", "origin", "."]);
    scene.expect_at_server(since, &[].into());
    scene.expect_clean();
}

fn mode(path: PathBuf) -> String {
    format!("{:o}", fs::metadata(path).expect("look at the mode").permissions().mode())
}
