//! Every way to say what a command is about.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::init::scratch::{Scratch, key};

/// Puts a file into the index, be its name what it may.
fn annex(scratch: &Scratch, path: &[u8], name: &str, unlocked: bool) {
    let file = scratch.path.join(path_of(path));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let pointer = pointer::write(&key(name));
    if unlocked {
        fs::write(&file, pointer).unwrap();
    } else {
        let target = [b"../.git", pointer.trim_ascii_end()].concat();
        symlink(OsStr::from_bytes(&target), &file).unwrap();
    }
}

/// A work tree with files of all kinds.
fn tree() -> Scratch {
    let scratch = Scratch::new(false);
    annex(&scratch, b"a", "a", false);
    annex(&scratch, b"d/b", "b", true);
    annex(&scratch, b"d/e/c", "c", false);
    annex(&scratch, b"odd\n\xff\"", "odd", false);
    annex(&scratch, b"gone", "gone", false);
    annex(&scratch, b"big", "big", true);
    fs::write(scratch.path.join("big"), vec![b'x'; 40_000]).unwrap();
    fs::write(scratch.path.join("plain"), "/annex/objects").unwrap();
    symlink("plain", scratch.path.join("link")).unwrap();
    // The index shall have what the files have, with nobody's filters and hooks.
    fs::remove_file(scratch.path.join(".git/info/attributes")).unwrap();
    scratch.run(&["add", "-A"]);
    scratch.run(&["commit", "-q", "--no-verify", "-m", "files"]);
    fs::remove_file(scratch.path.join("gone")).unwrap();
    scratch
}

/// What is found, by name and key, and how it ended.
fn find(scratch: &Scratch, dir: &str, wanted: &Wanted) -> (Vec<String>, Ended) {
    let mut found = Vec::new();
    let session = scratch.git.session().unwrap();
    let ended = seek(&scratch.settings(), &session, &scratch.path.join(dir), wanted, &mut |it| {
        let name = it.name.escape_ascii().to_string();
        let key = it.key.to_string();
        let key = key.rsplit('-').next().unwrap_or_default();
        found.push(format!("{name} {key}{}", if it.unlocked { " unlocked" } else { "" }));
        Ok(())
    });
    found.sort();
    (found, ended.unwrap())
}

fn paths(paths: &[&str]) -> Wanted {
    Wanted::Paths(paths.iter().map(OsString::from).collect())
}

#[test]
fn files_are_called_as_they_are_seen_from_where_somebody_is() {
    let scratch = tree();
    let all = ["a a", "d/b b unlocked", "d/e/c c", "odd\\n\\xff\\\" odd"];
    for (dir, wanted, expected) in [
        ("", paths(&[]), &all[..]),
        ("", paths(&["."]), &all),
        ("", paths(&["d", "d/b", "plain", "link"]), &["d/b b unlocked", "d/e/c c"]),
        ("d", paths(&[]), &["b b unlocked", "e/c c"]),
        ("d", paths(&["../a", "e"]), &["../a a", "e/c c"]),
        ("d/e", paths(&[".."]), &["../b b unlocked", "c c"]),
        ("d/e", paths(&["../../a"]), &["../../a a"]),
        ("", paths(&["gone", "big"]), &[]),
    ] {
        let (found, ended) = find(&scratch, dir, &wanted);
        assert_eq!(ended, Ended::Complete, "{wanted:?}");
        assert_eq!(found, expected, "{wanted:?}");
    }
    let odd = Wanted::Paths(vec![OsString::from_vec(b"odd\n\xff\"".to_vec())]);
    assert_eq!(find(&scratch, "", &odd).0, ["odd\\n\\xff\\\" odd"]);
}

#[test]
fn the_others_go_on_when_something_is_not_known() {
    let scratch = tree();
    let (found, ended) = find(&scratch, "", &paths(&["nosuch", "a", "*"]));
    assert_eq!(found, ["a a"]);
    let Ended::Lacking(why) = ended else { panic!("it is complete") };
    assert!(why.contains("'nosuch'") && why.contains("'*'"), "{why}");
}

#[test]
fn a_tree_is_searched_whatever_is_checked_out() {
    let scratch = tree();
    let tree = |name: &str| Wanted::Tree(name.into());
    let (found, _) = find(&scratch, "d", &tree("HEAD"));
    let all = ["HEAD:a a", "HEAD:d/b b unlocked", "HEAD:d/e/c c", "HEAD:gone gone"];
    assert_eq!(found, [&all[..], &["HEAD:odd\\n\\xff\\\" odd"]].concat());
    assert_eq!(find(&scratch, "", &tree("HEAD:d")).0, ["HEAD:d:b b unlocked", "HEAD:d:e/c c"]);
    let session = scratch.git.session().unwrap();
    for bad in ["nosuch", "--help"] {
        let outcome =
            seek(&scratch.settings(), &session, &scratch.path, &tree(bad), &mut |_| Ok(()));
        assert!(matches!(outcome, Err(Error::Git { .. })), "{bad}: {outcome:?}");
    }
}

#[test]
fn all_keys_are_those_of_the_branch_and_the_journal_that_are_not_dead() {
    let scratch = tree();
    let journal = |name: &str, log: &str| {
        let dir = scratch.annex().join("journal");
        fs::create_dir_all(&dir).unwrap();
        let path = log_path(scratch.settings().branch_levels, &key(name), LOCATION_SUFFIX);
        fs::write(dir.join(path_of(&crate::journal::file_name(&path))), log).unwrap();
    };
    journal("one", "1s 1 u\n");
    journal("two", "1s 0 u\n");
    journal("dead", "1s X u\n2s X v\n");
    let at = crate::init::scratch::At(9);
    crate::branch::commit_journal(&scratch.settings(), &scratch.git, &at).unwrap();
    journal("two", "1s 0 u\n2s X u\n");
    journal("new", "1s X u\n2s 1 v\n");
    let name = |name: &str| format!("{} {name}", key(name));
    assert_eq!(find(&scratch, "", &Wanted::All).0, [name("new"), name("one")]);
    let wanted = Wanted::Keys(vec![key("x")]);
    assert_eq!(find(&scratch, "", &wanted).0, [name("x")]);
    let list = format!("1 {} 5s\n2 {}\njunk\n", key("one"), key("new"));
    fs::write(scratch.annex().join("unused"), list).unwrap();
    assert_eq!(find(&scratch, "", &Wanted::Unused).0, [name("new"), name("one")]);
}

#[test]
fn a_visitor_that_has_enough_ends_the_search() {
    let scratch = tree();
    let session = scratch.git.session().unwrap();
    let mut seen = 0;
    let outcome = seek(&scratch.settings(), &session, &scratch.path, &paths(&[]), &mut |_| {
        seen += 1;
        Err(Error::WrongLength)
    });
    assert!(matches!(outcome, Err(Error::WrongLength)) && seen == 1);
}
