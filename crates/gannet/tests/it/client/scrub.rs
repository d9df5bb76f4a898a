//! `gannet check --scrub`: what it makes of damaged content is what git-annex makes of it, and it goes
//! on where it was stopped.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::selfcare::{check, expect, problems, work_tree};
use crate::harness::repo::key_file;
use crate::harness::server::GANNET;
use crate::harness::{BIG, EMPTY, Finished, HELLO, Repo, SERVER, World, eventually};
use crate::raw::sha256_key;

/// Somebody, or the disk, changes what is stored: what git-annex's fsck leaves then, a scrub that mends
/// leaves, too.
#[test]
fn what_is_damaged_ends_up_as_after_fsck() {
    let world = World::new();
    let kinds: [(&str, &[&str], Harm); 5] = [
        ("locked", &[], |_, repo| damage(&object(repo, BIG))),
        ("unlocked", &[], |world, repo| {
            world.annex(repo.path(), &["unlock", "--quiet", "big.txt"]);
            damage(&object(repo, BIG));
        }),
        ("edited", &[], |world, repo| {
            world.annex(repo.path(), &["unlock", "--quiet", "big.txt"]);
            edit(&repo.path().join("big.txt"));
        }),
        ("thin", &["annex.thin", "true"], |world, repo| {
            world.annex(repo.path(), &["unlock", "--quiet", "big.txt"]);
            damage(&object(repo, BIG));
        }),
        ("thinedited", &["annex.thin", "true"], |world, repo| {
            world.annex(repo.path(), &["unlock", "--quiet", "big.txt"]);
            edit(&repo.path().join("big.txt"));
        }),
    ];
    for (kind, setting, harm) in kinds {
        let [theirs, ours] = ["theirs", "ours"].map(|whose| {
            let repo = work_tree(&world, &format!("{whose}-{kind}"), setting);
            harm(&world, &repo);
            repo
        });
        let fsck = world.try_annex(theirs.path(), &["fsck", "--quiet"]);
        let scrubbed = check(&world, ours.path(), &["--scrub", "--repair"]);
        assert_eq!(outcome(&world, &theirs), outcome(&world, &ours), "{kind}: {fsck} {scrubbed}");
        let damaged = !kind.ends_with("edited");
        expect(&scrubbed, 0, if damaged { "damaged: " } else { " 0 found" });
        expect(&check(&world, ours.path(), &["--scrub"]), 0, " 0 found");
    }
}

#[test]
fn a_bare_repository_is_scrubbed_too() {
    let world = World::new();
    let repo = Repo::fixture_bare(&world);
    expect(&check(&world, repo.path(), &["--scrub"]), 0, "300006 bytes read: 0 found");
    damage(&object(&repo, BIG));
    expect(&check(&world, repo.path(), &[]), 0, " 0 found");
    let found = check(&world, repo.path(), &["--scrub", "--json", "--bwlimit", "1 GB"]);
    assert_eq!((found.code, problems(&found)), (Some(1), vec!["damaged".to_owned()]), "{found}");
    assert!(repo.object(BIG).is_some(), "moved without being told to");
    expect(&check(&world, repo.path(), &["--scrub", "--repair"]), 0, "[mended]");
    assert!(repo.object(BIG).is_none());
    assert!(!repo.location_log(&world, BIG)[repo.uuid()]);
    expect(&check(&world, repo.path(), &["--scrub"]), 0, "6 bytes read: 0 found");
}

#[test]
fn a_scrub_that_was_stopped_goes_on_where_it_was() {
    let world = World::new();
    let repo = Repo::create(&world, "served.git", SERVER, true);
    for nth in 0..40 {
        let content = format!("content {nth:02}").into_bytes();
        repo.set_content(&world, &sha256_key(&content), &content);
    }
    for (signal, code) in [(Signal::TERM, Some(2)), (Signal::INT, Some(2)), (Signal::KILL, None)] {
        // One takes a second, and all more than half a minute.
        let mut scrub = start(&world, &repo, &["--scrub", "--bwlimit", "10"]);
        let place = repo.annex_dir().join("gannet.scrub");
        eventually(Duration::from_secs(30), || match place.exists() {
            true => Ok(()),
            false => Err("it does not say how far it is".to_owned()),
        });
        kill_process(Pid::from_child(&scrub), signal).expect("send a signal");
        let stopped = scrub.wait().expect("wait for it");
        assert_eq!(stopped.code(), code, "{signal:?}");
        let at = fs::read_to_string(&place).expect("a place");
        let rest = check(&world, repo.path(), &["--scrub"]);
        let read = bytes_read(&rest);
        assert!(read > 0 && read < 400, "{signal:?}, at {at}: {rest}");
        expect(&rest, 0, " 0 found");
        assert!(!place.exists());
        assert_eq!(bytes_read(&check(&world, repo.path(), &["--scrub"])), 400);
    }
    repo.fsck(&world);
}

#[test]
fn rates_are_spelled_as_git_annex_spells_them() {
    let world = World::new();
    let repo = Repo::fixture_bare(&world);
    for rate in ["1GB", "1 gib", "0.5 gigabytes", "100000000"] {
        expect(&check(&world, repo.path(), &["--scrub", "--bwlimit", rate]), 0, " 0 found");
    }
    for options in [&["--scrub", "--bwlimit", "fast"][..], &["--scrub", "--bwlimit", "0"]] {
        expect_error(&check(&world, repo.path(), options), "not a number of bytes");
    }
    expect_error(&check(&world, repo.path(), &["--bwlimit", "1MB"]), "--scrub");
}

/// What befalls a repository.
type Harm = fn(&World, &Repo);

/// What can be seen of a repository: the work tree, the objects, what was set aside, and the log.
fn outcome(world: &World, repo: &Repo) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let brief = |content: Vec<u8>| {
        let sum = content.iter().fold(0_u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
        format!("{} bytes, {sum:x}", content.len())
    };
    for name in ["a.txt", "empty", "big.txt"] {
        let file = repo.path().join(name);
        let content = fs::read(&file).map_or("dangling".to_owned(), brief);
        let mode = fs::symlink_metadata(&file).expect("a file").mode();
        seen.insert(name.to_owned(), format!("{mode:o} {content}"));
    }
    for key in [HELLO, EMPTY, BIG] {
        let object = repo.object(key).map(|object| brief(fs::read(object).expect("an object")));
        let bad = fs::read(repo.annex_dir().join("bad").join(key_file(key))).map(brief).ok();
        let logged = repo.location_log(world, key).get(repo.uuid()).copied();
        seen.insert(key.to_owned(), format!("{object:?}, bad {bad:?}, logged {logged:?}"));
    }
    seen
}

fn object(repo: &Repo, key: &str) -> std::path::PathBuf {
    repo.object(key).expect("an object")
}

/// Changes a byte as a disk does it: no time and no mode tells.
fn damage(object: &Path) {
    let before = fs::metadata(object).expect("an object");
    fs::set_permissions(object, fs::Permissions::from_mode(0o644)).expect("make it writable");
    let mut content = fs::read(object).expect("read it");
    content[1000] ^= 4;
    fs::write(object, content).expect("damage it");
    let file = fs::File::options().write(true).open(object).expect("open it");
    file.set_modified(before.modified().expect("a time")).expect("set it back");
    fs::set_permissions(object, before.permissions()).expect("set it back");
}

/// Changes a byte as people do it.
fn edit(file: &Path) {
    let mut content = fs::read(file).expect("read it");
    content[1000] ^= 4;
    fs::write(file, content).expect("edit it");
    let file = fs::File::options().write(true).open(file).expect("open it");
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    file.set_modified(later).expect("later than it was stored, on any clock");
}

fn start(world: &World, repo: &Repo, options: &[&str]) -> Child {
    let mut command = world.command(world.path(), GANNET);
    command.args(["check", repo.arg()]).args(options);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start gannet check")
}

#[track_caller]
fn expect_error(refused: &Finished, said: &str) {
    assert!(refused.code == Some(2) && refused.err().contains(said), "{refused}");
}

#[track_caller]
fn bytes_read(checked: &Finished) -> u64 {
    let out = checked.out();
    let words: Vec<_> = out.lines().last().unwrap_or_default().split(' ').collect();
    let at = words.iter().position(|&word| word == "bytes").expect("it says how much it read");
    words[at - 1].parse().expect("a number")
}
