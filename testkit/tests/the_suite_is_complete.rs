//! The macro runs every promise that the suite states.

use std::collections::BTreeSet;

#[test]
fn no_promise_is_forgotten() {
    let stated: BTreeSet<_> = [
        include_str!("../src/suite/locking.rs"),
        include_str!("../src/suite/refusing.rs"),
        include_str!("../src/suite/removing.rs"),
        include_str!("../src/suite/resuming.rs"),
        include_str!("../src/suite/storing.rs"),
    ]
    .into_iter()
    .flat_map(str::lines)
    .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
    .collect();
    let source = include_str!("../src/lib.rs");
    let list =
        source.split("(@ $module, $place, $known;").nth(1).unwrap().split(");").next().unwrap();
    let run: BTreeSet<_> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect();
    assert!(stated.len() > 30, "the promises were not found");
    assert_eq!(run, stated);
}
