use std::sync::Arc;

use gannet_core::{Book, ClusterUuid};

use super::*;

/// One letter for each node: `w`ants, `h`as, `b`oth, neither (`.`), or is read-only (`r`).
fn takers(letters: &str) -> Vec<Taker> {
    let taker = |letter| Taker {
        has: matches!(letter, 'h' | 'b'),
        wants: matches!(letter, 'w' | 'b' | 'r'),
        read_only: letter == 'r',
    };
    letters.chars().map(taker).collect()
}

#[test]
fn those_who_want_and_lack_it_store_it() {
    for (letters, expected) in [
        ("www", vec![0, 1, 2]),
        ("w.w", vec![0, 2]),
        ("bw.", vec![1]),
        // Nobody lacks what he wants: those who want it say whether that is so.
        ("b..", vec![0]),
        ("bhb", vec![0, 2]),
        // Nobody wants it.
        ("...", vec![0, 1, 2]),
        ("h.h", vec![1]),
        ("hhh", vec![0, 1, 2]),
        // Where nothing may be stored, nothing is.
        ("rw", vec![1]),
        ("r.", vec![1]),
        ("rr", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(store(&takers(letters)), expected, "{letters}");
    }
}

#[test]
fn content_is_read_where_it_is_cheap_and_quick() {
    let server = |has, resting, cost, millis| Server {
        has,
        resting,
        cost,
        wait: Duration::from_millis(millis),
    };
    let servers = [
        server(false, false, 50.0, 1),
        server(true, false, 200.0, 9),
        server(true, true, 100.0, 1),
        server(true, false, 200.0, 3),
        server(true, false, 100.0, 70),
        server(false, true, 10.0, 1),
        server(true, false, 100.5, 1),
    ];
    assert_eq!(serve(&servers), [4, 6, 3, 1, 2, 0, 5]);
    assert_eq!(serve(&[]), [] as [usize; 0]);
}

#[test]
fn a_cluster_has_what_its_nodes_have() {
    let uuid = |text: &str| Uuid::parse(text.as_bytes()).expect("a uuid");
    let cluster = ClusterUuid::from_random([7; 16]);
    let [ours, theirs, other] = [uuid("ours"), uuid("theirs"), uuid("other")];
    let nodes = BTreeSet::from([ours.clone(), theirs.clone()]);
    let book = Book { clusters: [(cluster.clone(), nodes)].into(), ..Book::default() };
    let mut facts = Facts { book: Arc::new(book), ..Facts::default() };
    let our_nodes = BTreeSet::from([&ours]);
    for (holder, expected) in [(&ours, false), (&other, false), (&theirs, true)] {
        facts.holders = [holder.clone()].into();
        assert_eq!(believed(cluster.as_uuid(), &facts, &our_nodes), expected, "{holder}");
        assert!(believed(holder, &facts, &our_nodes));
    }
    assert!(!believed(&ours, &facts, &our_nodes));
    assert!(!believed(ClusterUuid::from_random([8; 16]).as_uuid(), &facts, &our_nodes));
}

#[test]
fn nobody_is_asked_by_whom_the_request_came() {
    let [us, peer, third] =
        ["us", "peer", "third"].map(|text| Uuid::parse(text.as_bytes()).expect("a uuid"));
    assert!(!is_bypassed(Some(&peer), &us, &[]));
    assert!(!is_bypassed(Some(&peer), &us, std::slice::from_ref(&third)));
    assert!(is_bypassed(Some(&peer), &us, &[third.clone(), peer.clone()]));
    assert!(is_bypassed(Some(&peer), &us, std::slice::from_ref(&us)));
    assert!(is_bypassed(Some(&us), &us, &[]));
    // Another cluster, wherever it is.
    assert!(!is_bypassed(None, &us, std::slice::from_ref(&third)));
    assert!(is_bypassed(None, &us, &[third, us.clone()]));
}
