//! `gannet check`, in repositories that the real git-annex made, and beside a server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::scene::text;
use crate::harness::http::api;
use crate::harness::{
    CLIENT, Finished, Gannet, HELLO, Repo, Request, SERVER, World, usual_or_long,
};
use crate::raw::sha256_key;

/// Whatever git-annex does in a healthy repository, nothing is wrong with it.
#[test]
fn nothing_is_wrong_with_what_git_annex_makes() {
    let world = World::new();
    let bare = Repo::fixture_bare(&world);
    let plain = Repo::fixture(&world);
    let shared = world.join("shared");
    world.git(world.path(), &["init", "-q", "--bare", "--shared=group", text(&shared)]);
    world.annex(&shared, &["init", "--quiet", "shared"]);
    let shared = Repo::open(&world, &shared);
    shared.set_content(&world, HELLO, b"hello\n");
    let unlocked = work_tree(&world, "unlocked", &[]);
    world.annex(unlocked.path(), &["unlock", "--quiet", "."]);
    let thin = work_tree(&world, "thin", &["annex.thin", "true"]);
    world.annex(thin.path(), &["unlock", "--quiet", "a.txt"]);
    let old = work_tree(&world, "old", &["annex.version", "8"]);
    let private = work_tree(&world, "private", &["annex.private", "true"]);
    let one = work_tree(&world, "late", &["annex.alwayscommit", "false"]);
    for repo in [&bare, &plain, &shared, &unlocked, &thin, &old, &private, &one] {
        let before = repo.inventory();
        expect(&check(&world, repo.path(), &[]), 0, "0 found");
        assert!(before == repo.inventory(), "something changed in {}", repo.arg());
    }
    // Dropping and getting leave nothing either.
    let copy = world.join("copy");
    world.git(world.path(), &["clone", "-q", plain.arg(), text(&copy)]);
    world.annex(&copy, &["get", "--quiet", "."]);
    world.annex(&copy, &["drop", "--quiet", "a.txt"]);
    expect(&check(&world, &copy, &[]), 0, "0 found");
    expect(&check(&world, plain.path(), &[]), 0, "0 found");
}

/// What is mended, git-annex has nothing to add to.
#[test]
fn what_is_mended_is_right_for_git_annex() {
    let world = World::new();
    let repo = Repo::fixture(&world);
    let object = repo.object(HELLO).expect("an object");
    let dir = object.parent().expect("a directory");
    // Recorded as lost, as after a removal that a crash ended, and left unprotected.
    world.annex(repo.path(), &["setpresentkey", HELLO, repo.uuid(), "0"]);
    set_mode(dir, 0o755);
    set_mode(&object, 0o644);
    fs::write(object.with_file_name(format!("{HELLO}.lck")), "").expect("plant");
    fs::create_dir_all(repo.annex_dir().join("tmp/gannet")).expect("plant");
    fs::write(repo.annex_dir().join("tmp/gannet").join(HELLO), "hel").expect("plant");
    fs::create_dir_all(repo.annex_dir().join("othertmp")).expect("plant");
    fs::write(repo.annex_dir().join("othertmp/some"), "x").expect("plant");
    let found = check(&world, repo.path(), &["--json"]);
    assert_eq!(found.code, Some(1), "{found}");
    let problems = problems(&found);
    for problem in ["unrecorded", "mode", "stale-lock", "stale-partial", "stray-temporary"] {
        assert!(problems.contains(&problem.to_owned()), "{problem} is not found: {found}");
    }
    let mended = check(&world, repo.path(), &["--repair"]);
    expect(&mended, 0, "[mended]");
    expect(&check(&world, repo.path(), &[]), 0, "0 found");
    repo.fsck(&world);
    assert!(repo.location_log(&world, HELLO)[repo.uuid()]);
    repo.assert_no_strays();
}

#[test]
fn what_cannot_be_checked_is_neither_clean_nor_dirty() {
    let world = World::new();
    let refused = Gannet::run(&world, world.path(), &["check", "nowhere"]);
    assert_eq!(refused.code, Some(2), "{refused}");
    assert!(refused.err().contains("cannot check"), "{refused}");
    let unusable = Gannet::run(&world, world.path(), &["check"]);
    assert_eq!(unusable.code, Some(2), "{unusable}");
    let help = Gannet::run(&world, world.path(), &["check", "--help"]).expect_ok();
    for word in ["Exit codes", "--repair", "unrecorded", "stale-git-lock", "--scrub", "--bwlimit"] {
        assert!(help.contains(word), "{word} is not explained: {help}");
    }
}

/// Puts, removals and locks that are under way look like nothing that is wrong.
#[test]
fn nothing_is_found_beside_a_busy_server() {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, true);
    let server = Gannet::serve(&world, &[repo.arg(), "--wideopen"]);
    let busy = AtomicBool::new(true);
    thread::scope(|scope| {
        for worker in 0..3 {
            let (server, busy) = (&server, &busy);
            scope.spawn(move || {
                let mut connection = server.connect();
                let mut round = 0;
                while busy.load(Ordering::Relaxed) {
                    round += 1;
                    let content = format!("{worker} {round}").into_bytes();
                    let key = sha256_key(&content);
                    let query = [("key", &*key), ("clientuuid", CLIENT)];
                    let put = api(SERVER, "v4", "put", &query);
                    let put = Request::put(put, content.len() as u64, &content);
                    assert_eq!(connection.exchange(&put).member("stored"), true);
                    if round % 3 == 0 {
                        let remove = Request::post(api(SERVER, "v4", "remove", &query));
                        assert_eq!(connection.exchange(&remove).member("removed"), true);
                        // Without a copy, git-annex would complain in the end.
                        assert_eq!(connection.exchange(&put).member("stored"), true);
                    }
                }
            });
        }
        let checked: Vec<_> = (0..usual_or_long(6, 100))
            .map(|nth| check(&world, repo.path(), WAYS[nth % WAYS.len()]))
            .collect();
        busy.store(false, Ordering::Relaxed);
        for checked in checked {
            expect(&checked, 0, ": 0 found");
        }
    });
    assert_eq!(server.stop().code(), Some(0));
    expect(&check(&world, repo.path(), &[]), 0, "0 found");
    repo.fsck(&world);
}

/// Ways to check.
const WAYS: [&[&str]; 3] = [&[], &["--repair"], &["--scrub", "--repair"]];

pub(super) fn work_tree(world: &World, name: &str, setting: &[&str]) -> Repo {
    let uuid = format!(
        "5e5e5e5e-0000-4000-8000-{:012x}",
        name.len() * 1000 + usize::from(name.as_bytes()[0])
    );
    let repo = Repo::create(world, name, &uuid, false);
    if let [name, value] = setting {
        world.git(repo.path(), &["config", name, value]);
        world.git(repo.path(), &["config", "annex.autoupgraderepository", "false"]);
    }
    for (file, content) in crate::harness::repo::recorded_files() {
        fs::write(repo.path().join(file), content).expect("write a file");
    }
    world.annex(repo.path(), &["add", "--quiet", "."]);
    world.git(repo.path(), &["commit", "-q", "-m", "files"]);
    repo
}

pub(super) fn check(world: &World, repo: &Path, options: &[&str]) -> Finished {
    Gannet::run(world, world.path(), &[&["check", text(repo)], options].concat())
}

#[track_caller]
pub(super) fn expect(checked: &Finished, code: i32, said: &str) {
    assert_eq!(checked.code, Some(code), "{checked}");
    assert!(checked.out().contains(said), "{checked}");
}

pub(super) fn problems(found: &Finished) -> Vec<String> {
    let problem = |line: &str| {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object a line");
        object["problem"].as_str().expect("a kind").to_owned()
    };
    found.out().lines().map(problem).collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("change a mode");
}
