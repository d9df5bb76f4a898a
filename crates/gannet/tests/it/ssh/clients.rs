//! The real git-annex on one side of a real sshd, Gannet on the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Which;
use super::sshd::Sshd;
use super::talk::Talk;
use crate::client::objects_in;
use crate::client::testremote::compare_outputs;
use crate::harness::{Repo, SERVER, Seeded, World, eventually, usual_or_long};

#[test]
fn content_travels_to_a_bare_repository_and_back() {
    journey(true);
}

#[test]
fn content_travels_to_a_work_tree_and_back() {
    journey(false);
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes_on_a_bare_repository() {
    compare_test_remote(true);
}

#[test]
fn what_passes_of_testremote_with_the_reference_passes_on_a_work_tree() {
    compare_test_remote(false);
}

#[test]
fn a_get_that_breaks_off_goes_on_by_itself() {
    let (world, repo) = served(true);
    let content = Seeded::new(1).bytes(3_000_000);
    let sshd = Sshd::start(&world, Which::Gannet);
    let client = sshd.admit(&world, "").clone(&world, repo.path());
    add(&world, &client, "large", &content);
    world.annex(&client, &["move", "--quiet", "--to", "origin", "large"]);
    let partial = client.join(".git/annex/tmp").join(key_of(&world, &client, "large"));
    let slowly = ["git", "-c", "annex.bwlimit-download=500kb", "annex", "get", "--debug", "large"];
    let got = std::thread::scope(|scope| {
        let get = scope.spawn(|| world.run(&client, &slowly));
        eventually(PATIENCE, || match fs::metadata(&partial) {
            Ok(metadata) if metadata.len() > 0 => Ok(()),
            _ => Err("nothing comes".to_owned()),
        });
        sshd.break_connections();
        get.join().expect("a get")
    });
    assert!(got.success(), "{got}");
    let said = got.err();
    let from = |line: &str| line.split_once("P2P > GET ")?.1.split(' ').next()?.parse::<u64>().ok();
    let starts: Vec<u64> = said.lines().filter_map(from).collect();
    assert!(starts[0] == 0 && starts.last().is_some_and(|from| *from > 0), "{starts:?}");
    assert!(fs::read(client.join("large")).expect("what came") == content);
}

#[test]
fn a_drop_may_count_on_a_lock_at_another_remote() {
    let (world, repo) = served(true);
    let other = Repo::create(&world, "other", OTHER, true);
    let sshd = Sshd::start(&world, Which::Gannet);
    let login = sshd.admit(&world, "");
    let client = login.clone(&world, repo.path());
    world.git(&client, &["remote", "add", "other", &login.url(other.path())]);
    let options = world.git(&client, &["config", "remote.origin.annex-ssh-options"]);
    world.git(&client, &["config", "remote.other.annex-ssh-options", options.trim()]);
    world.git(&client, &["fetch", "-q", "other"]);
    add(&world, &client, "file", b"content");
    world.annex(&client, &["copy", "--quiet", "--to", "other", "file"]);
    world.annex(&client, &["move", "--quiet", "--to", "origin", "file"]);
    let key = key_of(&world, &client, "file");
    let dropped = world.try_annex(&client, &["drop", "--debug", "--from", "other", "file"]);
    assert!(dropped.success(), "{dropped}");
    let said = dropped.err();
    for part in ["P2P > LOCKCONTENT", "P2P > GETTIMESTAMP", "P2P > REMOVE-BEFORE"] {
        assert!(said.contains(part), "no {part}: {dropped}");
    }
    assert!(repo.state(&key).present && !other.state(&key).present);
    assert!(!repo.is_locked(&key), "it was not unlocked");
    let refused = world.try_annex(&client, &["drop", "--from", "origin", "file"]);
    assert!(!refused.success() && repo.state(&key).present, "{refused}");
}

#[test]
fn the_first_client_has_a_repository_initialised() {
    for which in [Which::Reference, Which::Gannet] {
        let world = World::new();
        let plain = world.join("plain.git");
        world.git(world.path(), &["init", "-q", "--bare", "plain.git"]);
        let uuid = || world.run(&plain, &["git", "config", "annex.uuid"]).out().trim().to_owned();
        let sshd = Sshd::start(&world, which);
        let login = sshd.admit(&world, "");
        let client = login.clone(&world, &plain);
        let known = || {
            let known = ["git", "config", "remote.origin.annex-uuid"];
            world.run(&client, &known).out().trim().to_owned()
        };
        // Nobody has asked for that yet.
        assert_eq!((uuid().len(), known()), (0, String::new()), "{which:?}");
        add(&world, &client, "file", b"first");
        world.annex(&client, &["sync", "--quiet", "--content", "origin"]);
        assert_eq!((uuid().len(), known()), (36, uuid()), "{which:?}");
        let repo = Repo::open(&world, &plain);
        assert!(repo.state(&key_of(&world, &client, "file")).present, "{which:?}");
        repo.fsck(&world);
    }
}

#[test]
fn who_may_only_read_is_refused_and_goes_on_reading() {
    let (world, repo) = served(true);
    let sshd = Sshd::start(&world, Which::Gannet);
    let writer = sshd.admit(&world, "").clone(&world, repo.path());
    add(&world, &writer, "file", b"precious");
    world.annex(&writer, &["sync", "--quiet", "--content", "origin"]);
    let command =
        format!("command=\"gannet shell --readonly --directory {}\",restrict", repo.arg());
    let reader = sshd.admit(&world, &command).clone(&world, repo.path());
    let before = (world.git(repo.path(), &["show-ref"]), repo.inventory());
    for name in ["one", "two", "three"] {
        add(&world, &reader, name, name.as_bytes());
    }
    let copied = world.try_annex(&reader, &["copy", "--to", "origin", "one", "two", "three"]);
    // Each for itself: a refusal does not cost the connection (p2p-line §6.4).
    let refused = copied.err();
    assert_eq!(refused.matches("Transfer failed").count(), 3, "{copied}");
    assert!(!refused.contains("connection"), "{copied}");
    let dropped = world.try_annex(&reader, &["drop", "--force", "--from", "origin", "file"]);
    assert!(dropped.err().contains("this repository is read-only"), "{dropped}");
    let pushed = world.run(&reader, &["git", "push", "-q", "origin", "main"]);
    assert!(pushed.err().contains("Action blocked by --readonly"), "{pushed}");
    let url = format!("ssh://127.0.0.1{}", world.join("elsewhere").display());
    let strayed = world.run(&reader, &["git", "ls-remote", &url]);
    assert!(strayed.err().contains("Only allowed to access"), "{strayed}");
    world.annex(&reader, &["get", "--quiet", "file"]);
    assert_eq!(fs::read(reader.join("file")).expect("what came"), b"precious");
    world.annex(&reader, &["drop", "--quiet", "file"]); // which locks the content there
    assert!(before == (world.git(repo.path(), &["show-ref"]), repo.inventory()), "it was changed");
}

#[test]
fn the_assistant_notices_what_a_friend_sent() {
    let (world, repo) = served(true);
    let sshd = Sshd::start(&world, Which::Gannet);
    let login = sshd.admit(&world, "");
    let friend = login.clone(&world, repo.path());
    add(&world, &friend, "first", b"first");
    world.annex(&friend, &["sync", "--quiet", "--content", "origin"]);
    let client = login.clone(&world, repo.path());
    let mut assistant = world.command(&client, "git");
    assistant.args(["annex", "assistant", "--foreground"]);
    let assistant = Talk::start(assistant);
    let has = |name: &str| match fs::read(client.join(name)) {
        Ok(content) if content == name.as_bytes() => Ok(()),
        _ => Err(format!("{name} has not come")),
    };
    eventually(PATIENCE, || has("first"));
    add(&world, &friend, "second", b"second");
    world.annex(&friend, &["sync", "--quiet", "--content", "origin"]);
    eventually(PATIENCE, || has("second"));
    world.annex(&client, &["assistant", "--stop"]);
    drop(assistant);
}

fn journey(bare: bool) {
    let (world, repo) = served(bare);
    let sshd = Sshd::start(&world, Which::Gannet);
    let login = sshd.admit(&world, "");
    let client = login.clone(&world, repo.path());
    add(&world, &client, "small file", b"small");
    add(&world, &client, "large", &vec![7; 3_000_000]);
    let annex = |args: &[&str]| world.annex(&client, args);
    annex(&["copy", "--quiet", "--to", "origin", "."]);
    annex(&["drop", "--quiet", "."]); // which locks the content there
    // What came of an earlier attempt is not asked for again.
    let key = key_of(&world, &client, "large");
    let tmp = client.join(".git/annex/tmp");
    fs::create_dir_all(&tmp).expect("make a directory");
    fs::write(tmp.join(&key), vec![7; 1_000_000]).expect("write the beginning of the content");
    let got = world.try_annex(&client, &["get", "--debug", "large"]);
    assert!(got.err().contains("P2P > GET 1000000 large "), "not resumed: {got}");
    annex(&["get", "--quiet", "."]);
    assert_eq!(fs::read(client.join("large")).expect("a file").len(), 3_000_000);
    annex(&["fsck", "--quiet", "--from", "origin", "."]);
    annex(&["drop", "--quiet", "--from", "origin", "."]);
    assert!(!repo.state(&key).present);
    annex(&["move", "--quiet", "--to", "origin", "."]);
    assert!(repo.state(&key).present && !client.join("large").exists());
    annex(&["move", "--quiet", "--from", "origin", "."]);
    assert!(!repo.state(&key).present && client.join("large").exists());
    annex(&["assist", "--quiet"]);
    assert!(repo.state(&key).present, "assist does not send content");
    let friend = login.clone(&world, repo.path());
    world.annex(&friend, &["sync", "--quiet", "--content", "origin"]);
    assert_eq!(fs::read(friend.join("small file")).expect("a file that came"), b"small");
    repo.fsck(&world);
    repo.assert_no_strays();
}

fn compare_test_remote(bare: bool) {
    let options = usual_or_long(&["--fast"][..], &[]);
    let [theirs, ours] = [Which::Reference, Which::Gannet].map(|which| {
        let (world, repo) = served(bare);
        let sshd = Sshd::start(&world, which);
        let client = sshd.admit(&world, "").clone(&world, repo.path());
        let tested = world.try_annex(&client, &[&["testremote", "origin"], options].concat());
        assert_eq!(objects_in(&repo.annex_dir().join("objects")).len(), 0, "{which:?}");
        tested
    });
    let name = if bare { "ssh-bare" } else { "ssh-work-tree" };
    compare_outputs(name, &theirs, &ours);
}

fn served(bare: bool) -> (World, Repo) {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, bare);
    if !bare {
        world.git(repo.path(), &["commit", "-q", "--allow-empty", "-m", "begin"]);
    }
    (world, repo)
}

fn add(world: &World, client: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = client.join(name);
    fs::write(&path, content).expect("write a file");
    world.annex(client, &["add", "--quiet", name]);
    world.git(client, &["commit", "-q", "-m", name]);
    path
}

fn key_of(world: &World, client: &Path, name: &str) -> String {
    world.annex(client, &["lookupkey", name]).trim().to_owned()
}

const OTHER: &str = "5e5e5e5e-0000-4000-8000-000000000003";
const PATIENCE: Duration = Duration::from_secs(60);
