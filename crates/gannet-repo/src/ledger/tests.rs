//! What is read from the branch, and how it is kept up with it.

use std::collections::BTreeSet;
use std::fs;

use gannet_core::{Ledger, Uuid};
use proptest::prelude::*;

use super::*;
use crate::Repo;
use crate::branch::commit_journal;
use crate::init::scratch::{At, Scratch, key, uuid as nth};
use crate::journal::file_name;

/// Writes a file of the branch into the journal, as git-annex does.
fn journal(scratch: &Scratch, private: bool, path: &[u8], log: &str) {
    let dir = scratch.annex().join(if private { "journal-private" } else { "journal" });
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(std::str::from_utf8(&file_name(path)).unwrap()), log).unwrap();
}

fn commit(scratch: &Scratch) {
    commit_journal(&scratch.settings(), &scratch.git, &At(9)).unwrap();
}

fn parse(text: &str) -> Uuid {
    Uuid::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_book_is_read_once_and_follows_the_branch_and_the_journal() {
    let scratch = Scratch::new(true);
    let (settings, pages) = (scratch.settings(), Pages::default());
    let book = || pages.book(&settings, &scratch.git.session().unwrap()).unwrap();
    let first = book();
    assert!(Arc::ptr_eq(&first, &book()));
    assert_eq!(first.descriptions.len(), 1);
    let cluster = "ac000000-0000-8000-8000-000000000000";
    for (path, log) in [
        ("trust.log", "a X timestamp=1s\nb 1 timestamp=1s\n"),
        ("group.log", "b  client g  timestamp=1s\nc timestamp=1s\n"),
        ("preferred-content.log", "b standard or include=*.a b timestamp=1s\nc  timestamp=2s\n"),
        ("required-content.log", "b present timestamp=1s\n"),
        ("group-preferred-content.log", "1s g include=x y\n"),
        ("maxsize.log", "1s b 1000\n1s c many\n"),
        ("numcopies.log", "1s 3\n1s 2\n"),
        ("remote.log", "b name=x preferreddir=my&32;pics timestamp=1s\n"),
        ("proxy.log", "1s a b:n1 c:-rf\n"),
    ] {
        journal(&scratch, false, path.as_bytes(), log);
    }
    journal(&scratch, false, b"cluster.log", &format!("1s {cluster} a b c\n1s b c\n"));
    let second = book();
    let (a, b) = (parse("a"), parse("b"));
    assert_eq!((second.trust(&a), second.trust(&b)), (Trust::Dead, Trust::Trusted));
    assert_eq!(second.groups.len(), 1);
    assert_eq!(second.groups[&b], BTreeSet::from(["client".to_owned(), "g".to_owned()]));
    assert_eq!(second.preferred, [(b.clone(), "standard or include=*.a b".to_owned())].into());
    assert_eq!(second.required[&b], "present");
    assert_eq!(second.group_preferred["g"], "include=x y");
    assert_eq!(second.max_sizes, [(b.clone(), 1000)].into());
    assert_eq!(second.numcopies, Some(3));
    assert_eq!(second.preferred_dirs[&b], "my pics");
    assert_eq!(second.proxied[&a], [(b.clone(), "n1".to_owned())].into());
    let nodes: Vec<_> = second.clusters.values().flatten().map(Uuid::as_str).collect();
    assert_eq!(nodes, ["b", "c"]);
    commit(&scratch);
    assert_eq!(book(), second);
    journal(&scratch, true, b"trust.log", "p 0 timestamp=1s\n");
    assert_eq!(book().trust(&parse("p")), Trust::Untrusted);
}

#[test]
fn facts_leave_out_the_dead_and_clusters() {
    let scratch = Scratch::new(true);
    let (settings, pages) = (scratch.settings(), Pages::default());
    let key = Key::parse(b"VURL-s5--http://x").unwrap();
    let path = |suffix| log_path(settings.branch_levels, &key, suffix);
    journal(&scratch, false, b"trust.log", "a X timestamp=1s\n");
    let cluster = "ac000000-0000-8000-8000-000000000000";
    let log = format!("1s 1 a\n1s 1 b\n1s 0 c\n1s X d\n1s 1 {cluster}\n1s 1 not/one\n");
    journal(&scratch, false, &path(".log"), &log);
    journal(&scratch, false, &path(".log.met"), "1s tag +x\n");
    journal(&scratch, false, &path(".log.web"), "1s 1 yt:http://y\n");
    journal(&scratch, false, &path(".log.ek"), "1s 1 MD5-s5--x\n");
    fs::write(scratch.annex().join("unused"), "1 VURL-s5--http://x 1795352264.5s\n2 k\n").unwrap();
    commit(&scratch);
    let session = scratch.git.session().unwrap();
    let facts = |key: &Key| {
        let file = AssociatedFile::default();
        pages.facts(&settings, &session, key, &file, Attributes::IfAskedFor).unwrap()
    };
    let known = facts(&key);
    assert_eq!(known.holders, [parse("b")].into());
    assert_eq!(known.metadata["tag"], [b"x".to_vec()].into());
    assert_eq!(known.urls, ["http://y".to_owned()].into());
    assert_eq!(known.equivalents, [Key::parse(b"MD5-s5--x").unwrap()]);
    assert!(known.unused);
    let other = self::key("other");
    let known = facts(&other);
    assert_eq!((known.holders.len(), known.unused), (0, false));
}

#[tokio::test]
async fn what_is_recorded_is_known_and_committed() {
    let scratch = Scratch::new(true);
    let repo = Repo::open(&scratch.path, Arc::new(At(5))).unwrap();
    let (key, file) = (key("content"), AssociatedFile::default());
    let node = nth(7);
    let cluster = parse("ac000000-0000-8000-8000-000000000000");
    repo.record(&key, &node, true).await.unwrap();
    repo.record(&key, &cluster, true).await.unwrap();
    assert_eq!(repo.facts(&key, &file).await.unwrap().holders, [node.clone()].into());
    assert_eq!(repo.sizes().await.unwrap()[&node], 6);
    repo.flush().await.unwrap();
    let path = String::from_utf8(log_path(scratch.settings().branch_levels, &key, ".log")).unwrap();
    let log = scratch.run(&["cat-file", "blob", &format!("git-annex:{path}")]);
    assert_eq!(log, format!("5s 1 {node}"));
    repo.record(&key, &node, false).await.unwrap();
    assert!(repo.facts(&key, &file).await.unwrap().holders.is_empty());
    assert_eq!(repo.sizes().await.unwrap()[&node], 0);
}

#[test]
fn sizes_are_those_of_all_location_logs() {
    let scratch = Scratch::new(true);
    let settings = scratch.settings();
    let write = |private, name: &str, log: &str| {
        journal(&scratch, private, &log_path(settings.branch_levels, &key(name), ".log"), log);
    };
    let pages = Pages::default();
    let sizes = || {
        let mut sizes = pages.sizes(&settings, &scratch.git.session().unwrap()).unwrap();
        assert_eq!(sizes.remove(&settings.uuid), Some(0), "it is described, and holds nothing");
        sizes.into_iter().map(|(uuid, size)| format!("{uuid} {size}")).collect::<Vec<_>>()
    };
    assert!(sizes().is_empty());
    write(false, "one", "1s 1 a\n1s 1 b\n");
    assert_eq!(sizes(), ["a 6", "b 6"]);
    commit(&scratch);
    write(false, "two", "1s 1 a\n");
    write(false, "one", "1s 1 a\n2s 0 b\n");
    write(true, "one", "1s 1 p\n");
    assert_eq!(sizes(), ["a 12", "b 0", "p 6"]);
    commit(&scratch);
    assert_eq!(sizes(), ["a 12", "b 0", "p 6"]);
    // Somebody makes the branch anew, and forgets the old one.
    scratch.run(&["update-ref", "-d", "refs/heads/git-annex"]);
    scratch.run(&["reflog", "expire", "--expire=now", "--all"]);
    scratch.run(&["gc", "--quiet", "--prune=now"]);
    scratch.git.forget();
    write(false, "three", "1s 1 c\n");
    commit(&scratch);
    let sizes = pages.sizes(&settings, &scratch.git.session().unwrap()).unwrap();
    assert_eq!(sizes[&parse("c")], 6);
    assert_eq!(sizes.get(&parse("a")), None);
}

/// What happens to location logs.
#[derive(Clone, Debug)]
enum Happening {
    /// The log of this key says this of this repository from now on.
    Logged(u8, u8, bool),
    Committed,
    Asked,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..5_u8, 0..4_u8, any::<bool>())
            .prop_map(|(key, uuid, present)| Happening::Logged(key, uuid, present)),
        1 => Just(Happening::Committed),
        2 => Just(Happening::Asked),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sums_that_are_kept_up_are_those_that_are_computed_anew(
        happenings in proptest::collection::vec(happening(), 1..24),
    ) {
        let scratch = Scratch::new(true);
        let settings = scratch.settings();
        let mut kept = Sums::default();
        let mut model: BTreeMap<(u8, u8), bool> = BTreeMap::new();
        for (time, happening) in happenings.into_iter().enumerate() {
            match happening {
                Happening::Logged(n, of, present) => {
                    model.insert((n, of), present);
                    let log: String = model
                        .iter()
                        .filter(|((key, _), _)| *key == n)
                        .map(|((_, of), present)| format!("{time}s {} u{of}\n", u8::from(*present)))
                        .collect();
                    let key = Key::parse(format!("WORM-s{}--{n}", 10_u32.pow(n.into())).as_bytes()).unwrap();
                    journal(&scratch, false, &log_path(settings.branch_levels, &key, ".log"), &log);
                }
                Happening::Committed => commit(&scratch),
                Happening::Asked => {
                    let session = scratch.git.session().unwrap();
                    let sizes = kept.current(&settings, &session).unwrap();
                    let anew = Sums::default().current(&settings, &session).unwrap();
                    for (of, held) in (0..4_u8).map(|of| {
                        let held = model.iter().filter(|((_, by), present)| *by == of && **present);
                        (of, held.map(|((key, _), _)| 10_u64.pow((*key).into())).sum::<u64>())
                    }) {
                        let of = parse(&format!("u{of}"));
                        prop_assert_eq!(sizes.get(&of).copied().unwrap_or(0), held);
                        prop_assert_eq!(anew.get(&of).copied().unwrap_or(0), held);
                    }
                }
            }
        }
    }
}
