//! Several gateways of one cluster (proxy-cluster §10, §12).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gannet_cluster::{Cluster, Node};
use gannet_core::{Annex, Asker, AssociatedFile, PutOffset, Span, Uuid, Verdict};
use gannet_testkit::{Asked, Sample, Stern, TestClock, TestLedger, Verb};

use crate::scene::{asker, cluster_uuid, node_uuid, remote, uuid, without_nodes};

/// A cluster behind several gateways.
struct Gateways<const N: usize> {
    clusters: [Arc<Cluster>; N],
    nodes: [Stern; N],
    ledgers: [Arc<TestLedger>; N],
}

fn gateway(place: usize) -> Uuid {
    uuid(&format!("6a7e0000-0000-4000-8000-{place:012}"))
}

fn two() -> Gateways<2> {
    gateways()
}

/// Each has one node and knows all others.
fn gateways<const N: usize>() -> Gateways<N> {
    let places: [usize; N] = std::array::from_fn(|place| place);
    let nodes = places.map(|place| Stern::with(node_uuid(place), TestClock::new()));
    let ledgers = places.map(|_| {
        let ledger = TestLedger::new();
        ledger.set_book(|book| {
            book.clusters.insert(cluster_uuid(), places.map(node_uuid).into());
        });
        ledger
    });
    let clusters =
        places.map(|place| Arc::new(without_nodes(gateway(place), ledgers[place].clone())));
    for place in places {
        let node = |uuid: &Uuid, gateway, annex: Arc<dyn Annex>| Node {
            uuid: uuid.clone(),
            name: uuid.to_string(),
            // What costs as much as the other gateway is no more likely to be there.
            cost: 200.0,
            read_only: false,
            gateway,
            annex,
        };
        let own = node(&node_uuid(place), None, Arc::new(nodes[place].clone()));
        let others = places.into_iter().filter(|other| *other != place).map(|other| {
            node(cluster_uuid().as_uuid(), Some(gateway(other)), clusters[other].clone())
        });
        clusters[place].set_nodes(&[own].into_iter().chain(others).collect::<Vec<_>>());
    }
    Gateways { clusters, nodes, ledgers }
}

fn puts(node: &Stern) -> Vec<Asker> {
    let is_put = |(asker, asked): (Asker, Asked)| match asked {
        Asked::Put { .. } => Some(asker),
        _ => None,
    };
    node.asked().into_iter().filter_map(is_put).collect()
}

#[tokio::test]
async fn a_put_reaches_the_nodes_of_both_and_goes_nowhere_twice() {
    let two = two();
    let sample = Sample::secure(1, 50_000);
    let file = AssociatedFile::default();
    let stored = two.clusters[0].put(&asker(), &sample.key, &file, sample.content(0)).await;
    assert_eq!(stored.expect("a put").plus, [node_uuid(0), node_uuid(1)]);
    assert_eq!(two.ledgers[0].holders(&sample.key), [node_uuid(0), node_uuid(1)].into());
    assert_eq!(two.ledgers[1].holders(&sample.key), [node_uuid(1)].into());
    let [first] = puts(&two.nodes[0]).try_into().expect("one put");
    assert_eq!(first.bypass, [gateway(0)]);
    let [second] = puts(&two.nodes[1]).try_into().expect("one put");
    assert_eq!(second.bypass, [gateway(0), gateway(1)]);
    assert_eq!(second.client, Some(gateway(1)));
}

/// The other gateway's list of who has it does not stop anybody.
#[tokio::test]
async fn a_put_again_finds_it_everywhere() {
    let two = two();
    let sample = Sample::secure(1, 50_000);
    let file = AssociatedFile::default();
    for _ in 0..2 {
        let put = two.clusters[0].put(&asker(), &sample.key, &file, sample.content(0)).await;
        put.expect("a put");
    }
    let offset = two.clusters[0].put_offset(&asker(), &sample.key, &file).await;
    let have = PutOffset::AlreadyHave { plus: vec![node_uuid(0)] };
    assert_eq!(offset.expect("an answer"), have, "the other does not say who");
    // The same, if the other node got it another way.
    let other = Sample::secure(2, 50_000);
    two.nodes[1].place(&other.key, other.bytes.clone());
    let put = two.clusters[0].put(&asker(), &other.key, &file, other.content(0)).await;
    assert_eq!(put.expect("a put").plus, [node_uuid(0)]);
    assert_eq!(puts(&two.nodes[1]).len(), 1);
}

#[tokio::test]
async fn a_gateway_is_told_only_that_all_have_it() {
    let two = two();
    let sample = Sample::secure(1, 100);
    two.nodes.iter().for_each(|node| node.place(&sample.key, sample.bytes.clone()));
    let by_a_gateway = Asker { bypass: vec![gateway(0)], ..asker() };
    let file = AssociatedFile::default();
    let offset = two.clusters[1].put_offset(&by_a_gateway, &sample.key, &file).await;
    assert_eq!(offset.expect("an answer"), PutOffset::AlreadyHave { plus: vec![] });
    assert_eq!(two.nodes[0].asked(), [], "the one it came from is not asked");
}

#[tokio::test]
async fn whoever_was_passed_is_not_asked_again() {
    let two = two();
    let sample = Sample::secure(1, 100);
    two.nodes[1].place(&sample.key, sample.bytes.clone());
    for bypass in [vec![gateway(1)], vec![gateway(0)], vec![gateway(0), gateway(1)]] {
        let by_gateways = Asker { bypass, ..asker() };
        let present = two.clusters[0].check_present(&by_gateways, &sample.key).await;
        assert!(!present.expect("an answer"), "only its own node was asked");
    }
    assert_eq!(two.nodes[1].asked(), []);
    let stranger = Asker { bypass: vec![gateway(7)], ..asker() };
    assert!(two.clusters[0].check_present(&stranger, &sample.key).await.expect("an answer"));
}

/// Two clusters of which each is a node of the other, with nothing that tells it from one that is
/// the same behind another gateway.
#[tokio::test]
async fn clusters_that_are_nodes_of_each_other_do_not_ask_each_other_for_ever() {
    let two = two();
    for place in [0, 1] {
        let node = |uuid: &Uuid, annex: Arc<dyn Annex>| Node {
            uuid: uuid.clone(),
            name: uuid.to_string(),
            cost: 200.0,
            read_only: false,
            gateway: None,
            annex,
        };
        two.clusters[place].set_nodes(&[
            node(&node_uuid(place), Arc::new(two.nodes[place].clone())),
            node(cluster_uuid().as_uuid(), two.clusters[1 - place].clone()),
        ]);
    }
    let sample = Sample::secure(1, 100);
    let file = AssociatedFile::default();
    let stored = two.clusters[0].put(&asker(), &sample.key, &file, sample.content(0)).await;
    let plus: BTreeSet<_> = stored.expect("a put").plus.into_iter().collect();
    assert_eq!(plus, [node_uuid(0), node_uuid(1)].into());
    let asked = two.nodes.iter().map(|node| puts(node).len()).sum::<usize>();
    assert!(asked <= 3, "{asked}");
    let removal = two.clusters[0].remove(&asker(), &sample.key).await.expect("a removal");
    assert!(!removal.removed, "that is more than is known");
    assert!(two.nodes.iter().all(|node| node.content_of(&sample.key).is_none()));
}

/// What costs the same as the other gateway is found wherever it is.
#[tokio::test]
async fn content_is_found_behind_either() {
    for has in [0, 1] {
        let two = two();
        let sample = Sample::secure(1, 50_000);
        two.nodes[has].place(&sample.key, sample.bytes.clone());
        two.ledgers.iter().for_each(|ledger| ledger.claim(&sample.key, &node_uuid(has), true));
        for _ in 0..12 {
            for cluster in &two.clusters {
                assert!(cluster.check_present(&asker(), &sample.key).await.expect("an answer"));
                let file = AssociatedFile::default();
                let content = cluster.get(&asker(), &sample.key, &file, Span::ALL).await;
                let read = crate::scene::read(content.expect("content")).await.expect("all");
                assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
            }
        }
        assert_eq!(two.nodes[1 - has].asked(), [], "nobody who is known to lack it is asked");
    }
}

#[tokio::test]
async fn a_removal_reaches_both_and_its_deadline_is_translated_twice() {
    let two = two();
    let sample = Sample::secure(1, 100);
    two.nodes.iter().for_each(|node| node.place(&sample.key, sample.bytes.clone()));
    for (node, now) in two.nodes.iter().zip([70, 90_000]) {
        node.test_clock().set_boot(gannet_core::Timestamp { seconds: now });
    }
    let now = two.clusters[0].timestamp(&asker()).await.expect("the time");
    let removal = two.clusters[0].remove_before(&asker(), &sample.key, now.plus(33)).await;
    let removal = removal.expect("a removal");
    assert!(removal.removed);
    assert_eq!(removal.plus, [node_uuid(0), node_uuid(1)]);
    for (node, deadline) in two.nodes.iter().zip([103, 90_033]) {
        let deadline = gannet_core::Timestamp { seconds: deadline };
        let asked: Vec<_> = node.asked().into_iter().map(|(_, asked)| asked).collect();
        assert_eq!(asked, [Asked::Timestamp, Asked::RemoveBefore(sample.key.clone(), deadline)]);
    }
    for ledger in &two.ledgers {
        assert_eq!(ledger.holders(&sample.key), BTreeSet::new());
    }
}

#[tokio::test]
async fn a_gateway_whose_nodes_are_gone_is_done_without() {
    let two = two();
    let sample = Sample::secure(1, 100);
    two.nodes[1].set_faults(|faults| {
        faults.fail(Verb::PutOffset, || remote("no route"));
    });
    let file = AssociatedFile::default();
    let stored = two.clusters[0].put(&asker(), &sample.key, &file, sample.content(0)).await;
    assert_eq!(stored.expect("a put").plus, [node_uuid(0)]);
    let stored = two.clusters[1].put(&asker(), &sample.key, &file, sample.content(0)).await;
    assert_eq!(stored.expect("a put").plus, [] as [Uuid; 0], "the other says that all have it");
}

/// Each has the key's turn then, and would wait for the other's.
#[tokio::test(start_paused = true)]
async fn requests_that_meet_halfway_do_not_wait_for_each_other() {
    let two = two();
    let sample = Sample::secure(1, 1000);
    let (asker, key, file) = (asker(), &sample.key, AssociatedFile::default());
    for _ in 0..20 {
        two.nodes.iter().for_each(|node| node.place(key, sample.bytes.clone()));
        let begun = tokio::time::Instant::now();
        let [first, second] = &two.clusters;
        let removals = tokio::join!(first.remove(&asker, key), second.remove(&asker, key));
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let (first, second) = (removals.0.expect("a removal"), removals.1.expect("a removal"));
        assert_eq!((first.removed, second.removed), (true, false), "{first:?} {second:?}");
        assert!(two.nodes.iter().all(|node| node.content_of(key).is_none()));
        for (place, ledger) in two.ledgers.iter().enumerate() {
            assert_eq!(ledger.holders(key), BTreeSet::new(), "{place}");
        }
    }
    // A put whose end meets a removal.
    for [putting, removing] in [[0, 1], [1, 0]] {
        let begun = tokio::time::Instant::now();
        let put = two.clusters[putting].put(&asker, key, &file, sample.content(0));
        let remove = two.clusters[removing].remove(&asker, key);
        let (put, removal) = tokio::join!(put, remove);
        assert!(begun.elapsed() < Duration::from_secs(10), "{put:?} {removal:?}");
        assert!(put.is_ok() || removal.is_ok(), "{put:?} {removal:?}");
        for (node, ledger) in two.nodes.iter().zip(&two.ledgers) {
            let there = node.content_of(key).is_some();
            assert_eq!(ledger.holders(key).contains(Annex::uuid(node)), there);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_three_gateways_reaches_all_nodes_and_none_twice() {
    for asked in 0..3 {
        let three = gateways::<3>();
        let (asker, file) = (asker(), AssociatedFile::default());
        let sample = Sample::secure(1, 1_000_000);
        let cluster = &three.clusters[asked];
        let stored = cluster.put(&asker, &sample.key, &file, sample.content(0)).await;
        let all: BTreeSet<_> = (0..3).map(node_uuid).collect();
        assert_eq!(stored.expect("a put").plus.into_iter().collect::<BTreeSet<_>>(), all);
        assert_eq!(three.ledgers[asked].holders(&sample.key), all);
        for node in &three.nodes {
            assert_eq!(puts(node).len(), 1);
        }
        let removal = cluster.remove(&asker, &sample.key).await.expect("a removal");
        assert!(removal.removed);
        assert_eq!(removal.plus.into_iter().collect::<BTreeSet<_>>(), all);
        for (node, ledger) in three.nodes.iter().zip(&three.ledgers) {
            let asked = node.asked().into_iter().filter(|(_, it)| matches!(it, Asked::Remove(_)));
            assert_eq!(asked.count(), 1);
            assert_eq!(ledger.holders(&sample.key), BTreeSet::new());
        }
    }
}

/// Nobody knows all: what is behind two others is reached all the same.
#[tokio::test]
async fn a_gateway_is_reached_through_another() {
    let three = gateways::<3>();
    // The first forgets the last.
    let [first, second, _] = &three.clusters;
    let peer = Node {
        uuid: cluster_uuid().as_uuid().clone(),
        name: "second".to_owned(),
        cost: 200.0,
        read_only: false,
        gateway: Some(gateway(1)),
        annex: second.clone(),
    };
    first.set_nodes(&[peer]);
    let sample = Sample::secure(1, 1000);
    let put = first.put(&asker(), &sample.key, &AssociatedFile::default(), sample.content(0)).await;
    assert_eq!(put.expect("a put").plus, [node_uuid(1), node_uuid(2)]);
    assert!(first.remove(&asker(), &sample.key).await.expect("a removal").removed);
    assert!(three.nodes.iter().all(|node| node.content_of(&sample.key).is_none()));
}
