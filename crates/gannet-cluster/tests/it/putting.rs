//! Who takes a content, and what is said of that (proxy-cluster §7, §12).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gannet_cluster::{Limits, Node};
use gannet_core::{Annex, AssociatedFile, Content, Error, Piece, PutOffset, Verdict};
use gannet_testkit::{Asked, Ending, Gate, Journey, Sample, Verb};

use crate::scene::{Scene, asker, described, gateway_uuid, limits, node_uuid};
use crate::shaky::{Mood, behind_shaky_ways};

fn named(file: &str) -> AssociatedFile {
    AssociatedFile(Bytes::copy_from_slice(file.as_bytes()))
}

async fn offset(scene: &Scene, file: &str, sample: &Sample) -> Result<PutOffset, Error> {
    scene.cluster.put_offset(&asker(), &sample.key, &named(file)).await
}

fn have(nodes: &[usize]) -> PutOffset {
    PutOffset::AlreadyHave { plus: nodes.iter().copied().map(node_uuid).collect() }
}

/// The nodes of preferred-content §8.
fn wishing() -> Scene {
    let scene = Scene::of(3);
    scene.wish(0, "include=*.txt");
    scene.wish(1, "include=sub/*");
    scene.wish(2, "nothing");
    scene
}

async fn goes_to(scene: &Scene, file: &str, expected: &[usize]) {
    let sample = Sample::secure(1, 30_000);
    assert_eq!(scene.store(file, &sample).await, expected, "{file}");
    assert_eq!(scene.having(&sample.key), expected, "{file}");
    assert_eq!(scene.recorded(&sample.key), expected, "{file}");
    assert!(scene.is_quiet());
}

/// The table of preferred-content §8, but for the row that the next test is about.
#[tokio::test]
async fn those_who_want_it_store_it() {
    goes_to(&wishing(), "a.txt", &[0]).await;
    goes_to(&wishing(), "sub/a.txt", &[0, 1]).await;
    goes_to(&wishing(), "x.bin", &[0, 1, 2]).await;
    goes_to(&wishing(), "", &[0, 1, 2]).await;
    for (wishes, required, file, expected) in [
        (["", "nothing", "nothing"], None, "q", vec![0]),
        (["nothing", "not present", "nothing"], None, "q", vec![0, 1, 2]),
        (["nothing", "nothing", "nothing"], Some("include=req/*"), "req/a", vec![1]),
        // What cannot be read means what is there, and nobody else suffers from it.
        (["include=[a", "anything", "no such word"], None, "q", vec![1]),
    ] {
        let scene = Scene::of(3);
        wishes.iter().enumerate().for_each(|(node, wish)| scene.wish(node, wish));
        scene.ledger.set_book(|book| {
            book.required.extend(required.map(|wish| (node_uuid(1), wish.to_owned())));
        });
        goes_to(&scene, file, &expected).await;
    }
}

/// A cluster of two, of which each content goes to one, as long as there is room for it.
fn balanced() -> Scene {
    let scene = Scene::of(2);
    scene.ledger.set_book(|book| {
        for node in [0, 1].map(node_uuid) {
            book.groups.insert(node.clone(), BTreeSet::from(["store".to_owned()]));
            book.preferred.insert(node.clone(), "balanced=store".to_owned());
            book.max_sizes.insert(node, 1000);
        }
    });
    scene
}

#[tokio::test]
async fn what_is_on_its_way_to_a_node_takes_room_there() {
    // Two contents that would go to the same node, if they came alone.
    let mut samples = Vec::new();
    for seed in 0..20 {
        let sample = Sample::secure(seed, 600);
        if balanced().store("f", &sample).await == [0] {
            samples.push(sample);
        }
    }
    let [one, two, ..] = &samples[..] else { panic!("they all go elsewhere") };
    let scene = balanced();
    let gate = Gate::closed();
    let stuck = Journey::of(&one.bytes, 0).cut(100, Ending::Stuck(Arc::clone(&gate)));
    tokio::select! {
        _ = scene.put("f", stuck.content(), &one.key) => panic!("it cannot end"),
        () = async {
            gate.pass().await;
            assert_eq!(scene.store("f", two).await, [1], "there is no room beside the first");
        } => {}
    }
    // The first one never came, so that there is room again.
    let more = balanced();
    drop(
        more.put("f", Journey::of(&one.bytes, 0).cut(9, Ending::Broken).content(), &one.key).await,
    );
    assert_eq!(more.store("f", two).await, [0]);
    assert_eq!(more.store("f", one).await, [1]);
}

#[tokio::test]
async fn nobody_stores_what_all_who_want_it_have() {
    let scene = wishing();
    let sample = Sample::secure(1, 30_000);
    scene.give(0, &sample);
    assert_eq!(offset(&scene, "a.txt", &sample).await.expect("an answer"), have(&[0]));
    assert_eq!(scene.store("a.txt", &sample).await, [0]);
    assert_eq!(scene.having(&sample.key), [0]);
    // Whoever does not say what it is called may say so later, so that more may want it.
    assert_eq!(offset(&scene, "", &sample).await.expect("an answer"), PutOffset::From(0));
    assert_eq!(scene.store("sub/a.txt", &sample).await, [1]);
    assert_eq!(scene.having(&sample.key), [0, 1]);
}

#[tokio::test]
async fn what_is_recorded_is_not_believed_when_it_counts() {
    let scene = wishing();
    let sample = Sample::secure(1, 30_000);
    scene.ledger.claim(&sample.key, &node_uuid(0), true);
    assert_eq!(offset(&scene, "a.txt", &sample).await.expect("an answer"), PutOffset::From(0));
    assert_eq!(scene.store("a.txt", &sample).await, [0]);
    assert_eq!(scene.having(&sample.key), [0]);
}

#[tokio::test]
async fn those_who_have_it_are_recorded_and_told() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 30_000);
    scene.nodes[1].place(&sample.key, sample.bytes.clone());
    assert_eq!(offset(&scene, "f", &sample).await.expect("an answer"), PutOffset::From(0));
    assert_eq!(scene.recorded(&sample.key), [1]);
    let scene = Scene::of(3);
    scene.nodes[1].place(&sample.key, sample.bytes.clone());
    assert_eq!(scene.store("f", &sample).await, [0, 2, 1]);
    assert_eq!(scene.recorded(&sample.key), [0, 1, 2]);
    assert_eq!(offset(&scene, "f", &sample).await.expect("an answer"), have(&[0, 1, 2]));
    assert_eq!(offset(&scene, "", &sample).await.expect("an answer"), have(&[0, 1, 2]));
}

#[tokio::test]
async fn each_node_gets_what_it_lacks() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 10);
    for (node, held) in [(0, 4), (1, 9), (2, 7)] {
        let broken = Journey::of(&sample.bytes, 0).cut(held, Ending::Silence).content();
        let put = scene.nodes[node].put(&asker(), &sample.key, &named("f"), broken).await;
        put.expect_err("it breaks");
    }
    assert_eq!(offset(&scene, "f", &sample).await.expect("an answer"), PutOffset::From(4));
    let plus = scene.put("f", sample.content(4), &sample.key).await.expect("a put");
    assert_eq!(plus, [0, 1, 2].map(node_uuid));
    for (node, expected) in [(0, (4, 6)), (1, (9, 1)), (2, (7, 3))] {
        let last = scene.nodes[node].asked().into_iter().rev().find_map(|(_, asked)| match asked {
            Asked::Put { from, len, .. } => Some((from, len)),
            _ => None,
        });
        assert_eq!(last, Some(expected));
        assert_eq!(scene.nodes[node].content_of(&sample.key), Some(sample.bytes.clone()));
    }
}

#[tokio::test]
async fn an_offset_without_a_name_suits_whoever_will_want_it() {
    let scene = wishing();
    let sample = Sample::secure(1, 10_000);
    for (node, held) in [(0, 4000), (1, 300)] {
        let broken = Journey::of(&sample.bytes, 0).cut(held, Ending::Silence).content();
        let put = scene.nodes[node].put(&asker(), &sample.key, &named("f"), broken).await;
        put.expect_err("it breaks");
    }
    assert_eq!(offset(&scene, "a.txt", &sample).await.expect("an answer"), PutOffset::From(4000));
    assert_eq!(offset(&scene, "", &sample).await.expect("an answer"), PutOffset::From(0));
    // From there the one that wants it can take it, and begins where it was.
    assert_eq!(scene.store("a.txt", &sample).await, [0]);
    let begun = |asked: &_| matches!(*asked, Asked::Put { from: 4000, .. });
    assert_eq!(scene.asked(begun), [0]);
}

#[tokio::test]
async fn whoever_cannot_take_it_from_there_is_left_out() {
    let scene = Scene::of(2);
    let sample = Sample::secure(1, 10_000);
    let broken = Journey::of(&sample.bytes, 0).cut(4000, Ending::Silence).content();
    let put = scene.nodes[0].put(&asker(), &sample.key, &named("f"), broken).await;
    put.expect_err("it breaks");
    let plus = scene.put("f", sample.content(4000), &sample.key).await.expect("a put");
    assert_eq!(plus, [node_uuid(0)]);
    scene.nodes[0].remove(&asker(), &sample.key).await.expect("a removal");
    let error = scene.put("f", sample.content(4000), &sample.key).await.expect_err("a gap");
    assert!(matches!(error, Error::WrongOffset { from: 4000, held: 0 }), "{error:?}");
}

/// With no node there would be nobody who lacks it. Git-annex then drops its own copy.
#[tokio::test]
async fn a_cluster_without_nodes_has_nothing_and_takes_nothing() {
    let sample = Sample::secure(1, 100);
    let empty = Scene::of(0);
    let readers = Scene::of(2);
    let read_only = |node: Node| Node { read_only: true, ..node };
    let nodes: Vec<_> = described(&readers.nodes).into_iter().map(read_only).collect();
    readers.cluster.set_nodes(&nodes);
    for scene in [&empty, &readers] {
        for file in ["f", ""] {
            offset(scene, file, &sample).await.expect_err("nobody");
            scene.put(file, sample.content(0), &sample.key).await.expect_err("nobody");
        }
    }
    let cluster = &empty.cluster;
    cluster.put_present(&asker(), &sample.key, &named("f")).await.expect_err("nobody");
    cluster.check_present(&asker(), &sample.key).await.expect_err("nobody can tell");
    cluster.remove(&asker(), &sample.key).await.expect_err("nobody");
    let error = empty.get(&sample.key, gannet_core::Span::ALL).await.expect_err("nobody");
    assert!(!matches!(error, Error::Missing { .. }), "nobody said so");
}

#[tokio::test]
async fn nodes_that_are_down_are_done_without() {
    for (verb, down) in [(Verb::PutOffset, 0), (Verb::Put, 0), (Verb::Put, 2)] {
        let scene = Scene::of(3);
        let sample = Sample::secure(1, 100_000);
        scene.fail(down, verb, "no route");
        let expected: Vec<_> = (0..3).filter(|&node| node != down).collect();
        assert_eq!(scene.store("f", &sample).await, expected);
        assert_eq!(scene.recorded(&sample.key), expected);
        assert!(scene.is_quiet());
    }
}

#[tokio::test]
async fn what_a_node_says_is_passed_on_when_nobody_stored_it() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 100);
    scene.fail(0, Verb::PutOffset, "no route");
    scene.nodes[1].set_faults(|faults| {
        faults.fail(Verb::Put, || Error::NoSpace { needed: 100, free: 7 });
    });
    scene.fail(2, Verb::Put, "the connection broke");
    let error = scene.put("f", sample.content(0), &sample.key).await.expect_err("nobody has it");
    assert!(matches!(error, Error::NoSpace { needed: 100, free: 7 }), "{error:?}");
    assert_eq!(scene.recorded(&sample.key), [] as [usize; 0]);
    scene.down(1);
    scene.down(2);
    let error = scene.put("f", sample.content(0), &sample.key).await.expect_err("nobody has it");
    assert!(error.to_string().contains("no route"), "{error}");
    offset(&scene, "f", &sample).await.expect_err("nobody can tell");
}

#[tokio::test]
async fn it_is_stored_if_one_has_it_and_the_others_fail() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 100);
    scene.nodes[2].place(&sample.key, sample.bytes.clone());
    scene.fail(0, Verb::Put, "broken");
    scene.fail(1, Verb::PutOffset, "broken");
    assert_eq!(scene.store("f", &sample).await, [2]);
    assert_eq!(scene.recorded(&sample.key), [2]);
}

/// While a content is on its way, somebody may remove it where it was before, counting on the copy
/// that is being sent.
#[tokio::test]
async fn whoever_had_it_is_asked_again_in_the_end() {
    let scene = Scene::of(2);
    let sample = Sample::secure(1, 50_000);
    scene.nodes[0].place(&sample.key, sample.bytes.clone());
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let pieces = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (Ok(piece), receiver))
    });
    let content = Content { total: 50_000, from: 0, len: 50_000, pieces: pieces.boxed() };
    let sending = async {
        let send = |piece| async { sender.send(piece).await.expect("a put that reads") };
        send(Piece::Bytes(sample.bytes.slice(..10_000))).await;
        send(Piece::Bytes(sample.bytes.slice(10_000..20_000))).await;
        let removal = scene.cluster.remove(&asker(), &sample.key).await.expect("a removal");
        assert!(removal.removed);
        send(Piece::Bytes(vec![0; 30_000].into())).await;
        send(Piece::End(Verdict::Valid)).await;
    };
    let (put, ()) = tokio::join!(scene.put("f", content, &sample.key), sending);
    put.expect_err("nobody has it");
    assert_eq!(scene.recorded(&sample.key), [] as [usize; 0]);
}

#[tokio::test]
async fn what_is_not_whole_is_stored_by_nobody() {
    let sample = Sample::secure(1, 50_000);
    let journey = || Journey::of(&sample.bytes, 0);
    for (journey, kept) in [
        (journey().cut(20_000, Ending::Silence), 20_000),
        (journey().cut(20_000, Ending::Broken), 20_000),
        (journey().cut(20_000, Ending::Verdict(Verdict::Valid)), 20_000),
        (journey().ending(Ending::Verdict(Verdict::Doubtful)), 0),
    ] {
        let scene = Scene::of(3);
        // Whoever has it already is not enough: the asker knows that this put failed.
        scene.nodes[0].place(&sample.key, sample.bytes.clone());
        scene.put("f", journey.content(), &sample.key).await.expect_err("it is not whole");
        assert_eq!(scene.having(&sample.key), [0]);
        assert_eq!(scene.recorded(&sample.key), [0]);
        assert_eq!(scene.nodes[1].partial_of(&sample.key).len(), kept);
        assert_eq!(scene.nodes[2].partial_of(&sample.key).len(), kept);
        assert!(scene.is_quiet());
    }
}

#[tokio::test]
async fn a_dropped_put_leaves_nobody_at_work() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 50_000);
    let gate = Gate::closed();
    let stuck = Journey::of(&sample.bytes, 0).cut(20_000, Ending::Stuck(Arc::clone(&gate)));
    tokio::select! {
        _ = scene.put("f", stuck.content(), &sample.key) => panic!("it cannot end"),
        () = async {
            gate.pass().await;
            assert!(!scene.is_quiet());
        } => {}
    }
    assert!(scene.is_quiet());
    assert_eq!(scene.recorded(&sample.key), [] as [usize; 0]);
    for node in &scene.nodes {
        assert_eq!(node.partial_of(&sample.key).len(), 20_000);
    }
}

#[tokio::test]
async fn what_came_another_way_is_recorded_where_it_is() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 100);
    let (asker, file) = (asker(), named("f"));
    let put_present = || scene.cluster.put_present(&asker, &sample.key, &file);
    assert!(matches!(put_present().await, Err(Error::Missing { .. })));
    scene.fail(0, Verb::PutPresent, "broken");
    assert!(matches!(put_present().await, Err(Error::Remote { .. })));
    scene.nodes[2].place(&sample.key, sample.bytes.clone());
    assert_eq!(put_present().await.expect("it is there").plus, [node_uuid(2)]);
    assert_eq!(scene.recorded(&sample.key), [2]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_acknowledged() {
    let scene = Scene::of(2);
    let sample = Sample::secure(1, 100);
    scene.ledger.set_broken(true);
    scene.put("f", sample.content(0), &sample.key).await.expect_err("it is not recorded");
    scene.ledger.set_broken(false);
    assert_eq!(scene.store("f", &sample).await, [0, 1]);
    assert_eq!(scene.recorded(&sample.key), [0, 1]);
}

#[tokio::test]
async fn nodes_see_the_gateway_as_their_client() {
    let scene = Scene::of(1);
    scene.store("f", &Sample::secure(1, 100)).await;
    for (asker, _) in scene.nodes[0].asked() {
        assert_eq!(asker.client, Some(gateway_uuid()));
        assert_eq!(asker.bypass, [gateway_uuid()]);
    }
}

/// Nodes come and go while requests are under way.
#[tokio::test]
async fn nodes_may_be_replaced_at_any_time() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 50_000);
    let gate = Gate::closed();
    for node in &scene.nodes {
        node.set_faults(|faults| faults.gate = Some(Arc::clone(&gate)));
    }
    let (stored, ()) = tokio::join!(scene.store("f", &sample), async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        scene.cluster.set_nodes(&described(&scene.nodes[..1]));
        gate.open();
    });
    assert_eq!(stored, [0, 1, 2], "it goes on where it began");
    let other = Sample::secure(2, 50_000);
    assert_eq!(scene.store("f", &other).await, [0]);
}

/// One node gets it from somebody else in between, and loses it before the other one has it.
#[tokio::test(start_paused = true)]
async fn what_was_removed_while_others_still_took_it_is_not_recorded() {
    // What comes last is not looked at before the slow one is almost there.
    let scene = Scene::with(2, Limits { window_bytes: 1000, ..limits() });
    let sample = Sample::secure(1, 50_000);
    let shaky = behind_shaky_ways(&scene);
    shaky[0].set_mood(Mood { slow: Duration::from_secs(1), ..Mood::default() });
    shaky[1].set_mood(Mood { slow_pieces: Duration::from_secs(5), ..Mood::default() });
    let (stored, ()) = tokio::join!(scene.store("f", &sample), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        scene.nodes[0].place(&sample.key, sample.bytes.clone());
        tokio::time::sleep(Duration::from_secs(5)).await;
        scene.cluster.remove(&asker(), &sample.key).await.expect("a removal");
    });
    assert_eq!(stored, [1]);
    assert_eq!(scene.having(&sample.key), [1]);
    assert_eq!(scene.recorded(&sample.key), [1]);
}
