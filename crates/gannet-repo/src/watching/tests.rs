//! Every way in which git moves references, and what is told of it.

use super::*;
use crate::init::scratch::Scratch;

#[tokio::test]
async fn what_is_there_is_told_at_once_and_then_what_is_new() {
    let (scratch, mut references) = scene();
    let first = scratch.run(&["rev-parse", "git-annex"]);
    assert_eq!(references.changed().await.unwrap(), [first]);
    let ways: [&[&str]; 5] = [
        &["branch", "new", "git-annex~1"],
        // Directories come, and directories in them.
        &["update-ref", "refs/heads/a/b/c", "git-annex"],
        &["update-ref", "refs/heads/a/b/d", "git-annex~1"],
        &["update-ref", "refs/heads/new", "git-annex"],
        &["tag", "-a", "-m", "text", "v1", "git-annex"],
    ];
    for way in ways {
        scratch.run(way);
        let name = if way[0] == "tag" { "v1" } else { way[1] };
        let id = scratch.run(&["rev-parse", name]);
        assert_eq!(references.changed().await.unwrap(), [id], "{way:?}");
    }
}

#[tokio::test]
async fn what_is_nothing_new_is_not_told() {
    let (scratch, mut references) = scene();
    let parent = scratch.run(&["rev-parse", "git-annex~1"]);
    scratch.run(&["branch", "old", "git-annex"]);
    references.changed().await.unwrap();
    scratch.run(&["pack-refs", "--all"]);
    scratch.run(&["branch", "-D", "old"]);
    scratch.run(&["config", "some.thing", "new"]);
    // Only this is, and it stands in the packed references from its beginning.
    let packed = scratch.settings().place.common_dir.join("packed-refs");
    let mut text = std::fs::read_to_string(&packed).unwrap();
    text.push_str(&format!("{parent} refs/heads/packed\n"));
    std::fs::write(packed.with_extension("new"), text).unwrap();
    std::fs::rename(packed.with_extension("new"), &packed).unwrap();
    assert_eq!(references.changed().await.unwrap(), [parent]);
}

#[tokio::test]
async fn who_stops_waiting_loses_nothing() {
    let (scratch, mut references) = scene();
    references.changed().await.unwrap();
    for round in 0..20 {
        let name = format!("refs/heads/{round}/x");
        let to = format!("git-annex~{}", round % 2);
        scratch.run(&["update-ref", &name, &to]);
        // Given up at any point: when it slept, or read.
        let patience = Duration::from_millis(round * 4);
        let mut heard = tokio::time::timeout(patience, references.changed()).await.ok();
        if heard.is_none() {
            heard = Some(references.changed().await);
        }
        assert_eq!(heard.unwrap().unwrap(), [scratch.run(&["rev-parse", &to])]);
    }
}

fn scene() -> (Scratch, References) {
    let scratch = Scratch::new(true);
    let references = References::watch(scratch.settings().place, Blocking::new(2)).unwrap();
    (scratch, references)
}
