//! `git annex testremote`: whatever the reference server passes, Gannet passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::scene::{clone, objects_in, serve};
use crate::harness::{Finished, Reference, Repo, SERVER, World};

#[test]
fn testremote_passes_on_a_bare_repository() {
    compare("bare", true, &["testremote", "origin"]);
}

#[test]
fn testremote_passes_on_a_work_tree() {
    compare("work-tree", false, &["testremote", "origin", "--fast"]);
}

#[test]
fn testremote_passes_with_large_keys() {
    compare("fast", true, &["testremote", "origin", "--fast", "--size=8MB"]);
}

fn compare(name: &str, bare: bool, args: &[&str]) {
    let theirs = test(Which::Reference, bare, args);
    let ours = test(Which::Judged, bare, args);
    compare_outputs(name, &theirs, &ours);
}

/// Fails unless every case that passes in `theirs`, the output of the command, passes in `ours`
/// too; then both are kept under this name.
#[track_caller]
pub(crate) fn compare_outputs(name: &str, theirs: &Finished, ours: &Finished) {
    let (passed, ours_by_case) = (cases(&theirs.out()), cases(&ours.out()));
    let count = passed.values().filter(|passed| **passed).count();
    let ours_count = ours_by_case.values().filter(|passed| **passed).count();
    println!("{name}: of {} cases {count} pass, here {ours_count}", passed.len());
    let lost: Vec<_> = passed
        .iter()
        .filter(|(case, passed)| **passed && ours_by_case.get(*case) != Some(&true))
        .map(|(case, _)| case)
        .collect();
    if count < CASES_MIN || !lost.is_empty() {
        let dir = keep(name, &[("reference", theirs), ("gannet", ours)]);
        panic!(
            "of {count} cases that pass against the reference these do not: {lost:#?}\n\
             both outputs are kept in {}",
            dir.display(),
        );
    }
}

/// The cases that failed, but for those in which the remote is made unavailable on purpose, which
/// git-annex cannot do to one behind a server.
pub(crate) fn failed(finished: &Finished) -> Vec<String> {
    let cases = cases(&finished.out());
    assert!(cases.len() > CASES_MIN, "{finished}");
    let failed = cases.into_iter().filter(|(_, passed)| !passed).map(|(case, _)| case);
    failed.filter(|case| !case.contains("unavailable remote")).collect()
}

#[derive(Clone, Copy)]
enum Which {
    Reference,
    Judged,
}

fn test(which: Which, bare: bool, args: &[&str]) -> Finished {
    let world = World::new();
    let repo = Repo::create(&world, "served", SERVER, bare);
    let server = match which {
        Which::Reference => Reference::serve(&world, repo.path(), &["--wideopen"]),
        Which::Judged => serve(&world, repo.path(), &["--wideopen"], &[]),
    };
    let client = clone(&world, repo.path(), &server.annex_url(), SERVER);
    let finished = world.try_annex(&client, args);
    assert_eq!(objects_in(&repo.annex_dir().join("objects")), BTreeSet::new());
    world.git(repo.path(), &["fsck", "--strict", "--no-dangling"]);
    finished
}

/// Reads the indented tree of results: the names down to a case, numbered when they repeat, to
/// whether it passed.
fn cases(output: &str) -> BTreeMap<String, bool> {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut found = BTreeMap::new();
    for line in output.lines() {
        let text = line.trim_start();
        let depth = line.len() - text.len();
        if text.is_empty() {
            continue;
        }
        path.retain(|(above, _)| *above < depth);
        let verdict = text.rsplit_once(": ").map(|(name, said)| (name, said.trim_start()));
        match verdict {
            Some((name, said)) if said.starts_with("OK") || said.starts_with("FAIL") => {
                let above = path.iter().map(|(_, name)| *name);
                let case = above.chain([name.trim_end()]).collect::<Vec<_>>().join(" / ");
                let number = (1..).find(|n| !found.contains_key(&format!("{case} #{n}")));
                let number = number.expect("a number that is free");
                found.insert(format!("{case} #{number}"), said.starts_with("OK"));
            }
            _ => path.push((depth, text)),
        }
    }
    found
}

fn keep(name: &str, outputs: &[(&str, &Finished)]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    let dir = target.join("testremote");
    fs::create_dir_all(&dir).expect("make a directory for the outputs");
    for (server, output) in outputs {
        fs::write(dir.join(format!("{name}-{server}.txt")), output.to_string()).expect("keep it");
    }
    dir
}

/// `--fast` runs 122 cases that pass, all of them are 570.
const CASES_MIN: usize = 100;

#[test]
fn cases_are_read_from_the_indented_tree() {
    let output = "\
Remote Tests
  unavailable remote
    storeKey:           FAIL (0.04s)
      ./Command/TestRemote.hs:463:
      (got: Right ())
    retrieveKeyFile:    OK
  key size Just 1
    present False:      OK
    present False:      OK (0.01s)
";
    let expected = [
        ("Remote Tests / key size Just 1 / present False #1", true),
        ("Remote Tests / key size Just 1 / present False #2", true),
        ("Remote Tests / unavailable remote / retrieveKeyFile #1", true),
        ("Remote Tests / unavailable remote / storeKey #1", false),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(case, passed)| (case.to_owned(), passed)).into();
    assert_eq!(cases(output), expected);
}
