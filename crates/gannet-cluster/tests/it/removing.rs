//! Removing from every node, in time, and saying what came of it (proxy-cluster §9, §12).

use std::sync::Arc;
use std::time::Duration;

use gannet_core::{Annex, Clock, Error, Key, Removal, Timestamp};
use gannet_testkit::{Asked, Dice, Sample, Verb};

use crate::scene::{Scene, asker, described, node_uuid};
use crate::shaky::{Mood, Shaky};

fn at(seconds: u64) -> Timestamp {
    Timestamp { seconds }
}

fn plus(nodes: &[usize]) -> Vec<gannet_core::Uuid> {
    nodes.iter().copied().map(node_uuid).collect()
}

/// A cluster of three, all of which have the content, and it is recorded of the first.
fn full() -> (Scene, Sample) {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 100);
    scene.give(0, &sample);
    for node in &scene.nodes {
        node.place(&sample.key, sample.bytes.clone());
    }
    (scene, sample)
}

async fn remove(scene: &Scene, key: &Key) -> Result<Removal, Error> {
    scene.cluster.remove(&asker(), key).await
}

fn deadlines(scene: &Scene) -> Vec<Option<u64>> {
    let last = |node: &gannet_testkit::Stern| {
        node.asked().into_iter().rev().find_map(|(_, asked)| match asked {
            Asked::RemoveBefore(_, deadline) => Some(deadline.seconds),
            _ => None,
        })
    };
    scene.nodes.iter().map(last).collect()
}

#[tokio::test]
async fn every_node_removes_it() {
    let (scene, sample) = full();
    let removal = remove(&scene, &sample.key).await.expect("a removal");
    assert_eq!(removal, Removal { removed: true, plus: plus(&[0, 1, 2]) });
    assert_eq!(scene.having(&sample.key), [] as [usize; 0]);
    assert_eq!(scene.recorded(&sample.key), [] as [usize; 0]);
    let recorded = scene.ledger.recorded();
    assert_eq!(recorded.len(), 3, "also of those of whom nothing was known");
    assert!(recorded.iter().all(|(_, _, present)| !present));
}

#[tokio::test]
async fn what_happened_is_told_also_when_not_all_of_it_did() {
    // One has it locked.
    let (scene, sample) = full();
    let lock =
        scene.nodes[1].lock(&asker(), &sample.key).await.expect("an answer").expect("a lock");
    let removal = remove(&scene, &sample.key).await.expect("a removal");
    assert_eq!(removal, Removal { removed: false, plus: plus(&[0, 2]) });
    assert_eq!(scene.having(&sample.key), [1]);
    drop(lock);
    // One cannot be reached.
    for down in 0..3 {
        let (scene, sample) = full();
        scene.down(down);
        let others: Vec<_> = (0..3).filter(|&node| node != down).collect();
        let removal = remove(&scene, &sample.key).await.expect("a removal");
        assert_eq!(removal, Removal { removed: false, plus: plus(&others) });
        assert_eq!(scene.recorded(&sample.key), if down == 0 { vec![0] } else { vec![] });
    }
    // None can.
    let (scene, sample) = full();
    for node in 0..3 {
        scene.fail(node, Verb::Remove, "out of order");
    }
    let error = remove(&scene, &sample.key).await.expect_err("nobody removed it");
    assert!(error.to_string().contains("out of order"), "{error}");
    assert_eq!(scene.recorded(&sample.key), [0]);
}

#[tokio::test]
async fn a_deadline_is_translated_for_each_node() {
    let (scene, sample) = full();
    for (node, now) in [(0, 500), (1, 7500), (2, 14_500)] {
        assert_eq!(scene.nodes[node].test_clock().boot(), at(now));
    }
    let now = scene.cluster.timestamp(&asker()).await.expect("the time");
    assert_eq!(now, scene.clock.boot());
    assert_eq!(scene.asked(|_| true), [] as [usize; 0], "nobody needs to be asked for that");
    scene.clock.advance(40);
    let removal = scene.cluster.remove_before(&asker(), &sample.key, now.plus(100)).await;
    assert_eq!(removal.expect("a removal").plus, plus(&[0, 1, 2]));
    assert_eq!(deadlines(&scene), [Some(560), Some(7560), Some(14_560)]);
    assert_eq!(scene.having(&sample.key), [] as [usize; 0]);
}

#[tokio::test]
async fn after_the_deadline_nobody_is_asked_to_remove() {
    let (scene, sample) = full();
    let now = scene.clock.boot();
    for late in [now, at(now.seconds - 1), at(0)] {
        let removal = scene.cluster.remove_before(&asker(), &sample.key, late).await;
        assert_eq!(removal.expect("an answer"), Removal::refused());
    }
    assert_eq!(deadlines(&scene), [None; 3]);
    assert_eq!(scene.having(&sample.key), [0, 1, 2]);
    assert_eq!(scene.ledger.recorded(), []);
}

#[tokio::test]
async fn whoever_cannot_be_timed_removes_nothing() {
    let (scene, sample) = full();
    scene.fail(1, Verb::Timestamp, "what time?");
    let deadline = scene.clock.boot().plus(100);
    let removal = scene.cluster.remove_before(&asker(), &sample.key, deadline).await;
    assert_eq!(removal.expect("an answer"), Removal { removed: false, plus: plus(&[0, 2]) });
    assert_eq!(scene.having(&sample.key), [1]);
    assert_eq!(scene.asked(|asked| matches!(asked, Asked::Remove(_))), [] as [usize; 0]);
}

#[tokio::test]
async fn where_deadlines_are_not_known_ours_is_looked_at() {
    let (scene, sample) = full();
    scene.nodes[1].set_faults(|faults| {
        faults.fail(Verb::Timestamp, || Error::Unsupported("too old".to_owned()));
    });
    let now = scene.clock.boot();
    let removal = scene.cluster.remove_before(&asker(), &sample.key, now).await;
    assert_eq!(removal.expect("an answer"), Removal::refused());
    assert_eq!(scene.having(&sample.key), [0, 1, 2]);
    let removal = scene.cluster.remove_before(&asker(), &sample.key, now.plus(2)).await;
    assert_eq!(removal.expect("a removal").plus, plus(&[0, 1, 2]));
    assert_eq!(scene.asked(|asked| matches!(asked, Asked::Remove(_))), [1]);
}

/// A removal that waits for a node beyond the deadline would be one without a deadline.
#[tokio::test(start_paused = true)]
async fn whoever_knows_no_deadlines_is_not_waited_for_beyond_them() {
    let (scene, sample) = full();
    scene.nodes[1].set_faults(|faults| {
        faults.fail(Verb::Timestamp, || Error::Unsupported("too old".to_owned()));
    });
    let shaky = Shaky::new(scene.nodes[1].clone());
    shaky.set_mood(Mood { slow: Duration::from_secs(15), ..Mood::default() });
    let mut nodes = described(&scene.nodes);
    nodes[1].annex = Arc::new(shaky);
    scene.cluster.set_nodes(&nodes);
    let deadline = scene.clock.boot().plus(10);
    let removal = scene.cluster.remove_before(&asker(), &sample.key, deadline).await;
    assert_eq!(removal.expect("an answer"), Removal { removed: false, plus: plus(&[0, 2]) });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.having(&sample.key), [1]);
}

/// However slow answers are, and whatever the clocks show.
#[tokio::test(start_paused = true)]
async fn the_time_that_is_left_never_grows() {
    for seed in 0..2000 {
        let mut dice = Dice::new(seed);
        let (scene, sample) = full();
        let shaky: Vec<_> = scene.nodes.iter().cloned().map(Shaky::new).collect();
        let mut nodes = described(&scene.nodes);
        for (node, shaky) in nodes.iter_mut().zip(&shaky) {
            shaky.stern.test_clock().set_boot(at(dice.below(20_000)));
            let passes = u32::try_from(dice.below(30)).expect("few");
            let time_passes = Some((Arc::clone(&scene.clock), passes));
            shaky.set_mood(Mood { time_passes, ..Mood::default() });
            node.annex = Arc::new(shaky.clone());
        }
        scene.cluster.set_nodes(&nodes);
        let expires = scene.clock.boot().plus(dice.below(80));
        let removal = scene.cluster.remove_before(&asker(), &sample.key, expires).await;
        removal.expect("an answer");
        let late = scene.clock.boot() >= expires;
        for (node, deadline) in deadlines(&scene).into_iter().enumerate() {
            // Nothing moves the clocks after the last answer, but for those of later nodes.
            let theirs = scene.nodes[node].test_clock().boot();
            let Some(deadline) = deadline else { continue };
            let left = expires.seconds.saturating_sub(scene.clock.boot().seconds);
            let slack = if node == 2 { 0 } else { 90 };
            assert!(deadline <= theirs.seconds + left + slack, "seed {seed}, node {node}");
            assert!(node < 2 || !late, "seed {seed}: asked after the deadline");
        }
    }
}

/// The first node may have removed it already when the asker goes away.
#[tokio::test(start_paused = true)]
async fn a_removal_that_was_begun_is_recorded_though_nobody_waits() {
    let (scene, sample) = full();
    let shaky = Shaky::new(scene.nodes[0].clone());
    shaky.set_mood(Mood { slow: Duration::from_secs(5), ..Mood::default() });
    let mut nodes = described(&scene.nodes);
    nodes[0].annex = Arc::new(shaky);
    scene.cluster.set_nodes(&nodes);
    let removing = tokio::time::timeout(Duration::from_secs(1), remove(&scene, &sample.key));
    assert!(removing.await.is_err(), "it takes longer");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.having(&sample.key), [] as [usize; 0]);
    assert_eq!(scene.recorded(&sample.key), [] as [usize; 0]);
}

#[tokio::test]
async fn a_cluster_is_never_locked() {
    let (scene, sample) = full();
    assert!(scene.cluster.lock(&asker(), &sample.key).await.expect("an answer").is_none());
    assert_eq!(scene.asked(|_| true), [] as [usize; 0]);
}
