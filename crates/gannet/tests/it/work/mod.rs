//! Work trees: what a command is about is the same for Gannet as for git-annex.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use gannet_repo::{Ended, Look, Wanted};

use crate::harness::{Repo, SERVER, World};

/// A repository with locked and unlocked files, odd names, and what is not annexed or gone.
fn scene(world: &World) -> Repo {
    let repo = Repo::create(world, "work", SERVER, false);
    let top = repo.path();
    fs::create_dir_all(top.join("d/e")).expect("make directories");
    for name in [&b"a"[..], b"d/b", b"d/e/c.txt", b"sp ace", b"new\nline", b"q\"uo'te", b"byte\xff"]
    {
        fs::write(top.join(OsStr::from_bytes(name)), name).expect("write a file");
    }
    fs::write(top.join("d/open"), "open").expect("write a file");
    fs::write(top.join("gone"), "gone").expect("write a file");
    world.annex(top, &["add", "--quiet", "."]);
    world.annex(top, &["unlock", "--quiet", "d/open"]);
    fs::write(top.join("plain"), "plain").expect("write a file");
    world.git(top, &["-c", "annex.largefiles=nothing", "add", "plain"]);
    world.git(top, &["commit", "-q", "-m", "files"]);
    world.annex(top, &["drop", "--quiet", "--force", "sp ace"]);
    fs::remove_file(top.join("gone")).expect("remove a file");
    repo
}

/// What Gannet finds, by name, and whether that is all that was wanted.
fn ours(repo: &Repo, dir: &str, wanted: &Wanted) -> (Vec<Vec<u8>>, bool) {
    let look = Look::at(repo.path()).expect("look at a repository");
    let mut found = Vec::new();
    let ended = look.seek(&repo.path().join(dir), wanted, &mut |it| {
        found.push(it.name);
        Ok(())
    });
    found.sort();
    (found, ended.expect("find files") == Ended::Complete)
}

fn theirs(world: &World, repo: &Repo, dir: &str, args: &[&str]) -> (Vec<Vec<u8>>, bool) {
    let said = world.try_annex(repo.path().join(dir), args);
    let names = said.stdout.split(|&byte| byte == 0).filter(|it| !it.is_empty());
    let mut names: Vec<_> = names.map(<[u8]>::to_vec).collect();
    names.sort();
    names.dedup();
    (names, said.success())
}

#[test]
fn the_same_files_and_keys_are_found_as_by_git_annex() {
    let world = World::new();
    let repo = scene(&world);
    let cases: [(&str, &[&str]); 14] = [
        ("", &[]),
        ("", &["."]),
        ("", &["d"]),
        ("", &["d", "d/b", "a", "a"]),
        ("", &["plain"]),
        ("", &["gone", "a"]),
        ("", &["nosuch", "a"]),
        ("", &["*"]),
        ("", &["new\nline", "q\"uo'te"]),
        ("d", &[]),
        ("d", &[".."]),
        ("d", &["../a", "e", "open"]),
        ("d/e", &["../..", "../../nosuch"]),
        ("d/e", &["../../sp ace"]),
    ];
    for (dir, paths) in cases {
        let args = [&["find", "--anything", "--print0"], paths].concat();
        let wanted = Wanted::Paths(paths.iter().map(OsString::from).collect());
        let (ours, theirs) = (ours(&repo, dir, &wanted), theirs(&world, &repo, dir, &args));
        assert_eq!(ours, theirs, "{paths:?} in `{dir}`");
    }
    for tree in ["HEAD", "HEAD:d"] {
        let args = ["find", "--anything", "--print0", "--branch", tree];
        // Where it names the tree too, ours is how git-annex shows the file to people.
        let (ours, complete) = ours(&repo, "", &Wanted::Tree(tree.into()));
        let in_tree = ours.iter().map(|name| name[tree.len() + 1..].to_vec()).collect();
        assert_eq!((in_tree, complete), theirs(&world, &repo, "", &args), "{tree}");
    }
    let keys = theirs(&world, &repo, "", &["find", "--anything", "--format=${key}\\000"]);
    let (all, _) = ours(&repo, "", &Wanted::All);
    assert!(keys.0.iter().all(|key| all.contains(key)), "{all:?}");
    assert_eq!(all.len(), keys.0.len() + 1, "only that of the file that is gone is missing there");
}
