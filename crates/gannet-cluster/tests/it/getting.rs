//! Who is asked for content, and who goes on when that one fails (proxy-cluster §8, §12).

use std::time::Duration;

use futures_util::StreamExt;
use gannet_core::{Annex, Error, Key, Piece, Span, Verdict};
use gannet_testkit::{Asked, Sample, Verb};
use tokio::time::{Instant, timeout};

use crate::scene::{Scene, asker, described, is_down, limits, node_uuid, read};
use crate::shaky::{Mishap, Mood, Shaky, behind_shaky_ways};

/// A cluster of three on shaky ways, all of which have the content.
fn shaky() -> (Scene, Vec<Shaky>, Sample) {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 100_000);
    (0..3).for_each(|node| scene.give(node, &sample));
    let shaky = behind_shaky_ways(&scene);
    (scene, shaky, sample)
}

fn gets(scene: &Scene) -> Vec<(usize, u64)> {
    let mut gets = Vec::new();
    for (place, node) in scene.nodes.iter().enumerate() {
        for (_, asked) in node.asked() {
            if let Asked::Get(_, _, span) = asked {
                gets.push((place, span.from));
            }
        }
    }
    gets
}

async fn is_present(scene: &Scene, key: &Key) -> Result<bool, Error> {
    scene.cluster.check_present(&asker(), key).await
}

#[tokio::test]
async fn the_cheapest_believed_holder_serves() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 1000);
    scene.give(1, &sample);
    scene.give(2, &sample);
    for _ in 0..3 {
        let read = scene.read(&sample.key, Span::ALL).await.expect("content");
        assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
    }
    assert_eq!(gets(&scene), [(1, 0); 3]);
}

#[tokio::test]
async fn whoever_is_busy_is_spared() {
    let (scene, _, sample) = shaky();
    let mut nodes = described(&scene.nodes);
    nodes.iter_mut().for_each(|node| node.cost = 200.0);
    scene.cluster.set_nodes(&nodes);
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(scene.get(&sample.key, Span::ALL).await.expect("content"));
    }
    for node in &scene.nodes {
        assert_eq!(node.open_gets(), 2);
    }
    drop(open);
    assert!(scene.is_quiet());
}

#[tokio::test]
async fn who_has_too_much_to_do_is_not_taken_for_broken() {
    let scene = Scene::of(2);
    let sample = Sample::secure(1, 1000);
    (0..2).for_each(|node| scene.give(node, &sample));
    let overloaded = || Error::Overloaded { what: "requests" };
    scene.nodes[0].set_faults(|faults| faults.fail(Verb::Get, overloaded));
    let read = scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
    scene.nodes[0].heal();
    scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(gets(&scene), [(0, 0), (0, 0), (1, 0)], "the cheapest is asked first again");
}

#[tokio::test]
async fn if_one_cannot_serve_another_does() {
    let scene = Scene::of(4);
    let sample = Sample::secure(1, 1000);
    (0..4).for_each(|node| scene.give(node, &sample));
    scene.down(0);
    // It has lost it, and nobody knows.
    scene.nodes[1].remove(&asker(), &sample.key).await.expect("a removal");
    // It has something else of that name.
    scene.nodes[2].place(&sample.key, sample.bytes.slice(1..));
    let read = scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
    assert_eq!(gets(&scene), [(0, 0), (1, 0), (2, 0), (3, 0)]);
    assert!(is_present(&scene, &sample.key).await.expect("an answer"));
    // Whoever failed is asked last for a while.
    scene.nodes[0].heal();
    scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(gets(&scene).iter().filter(|&&(node, _)| node == 0).count(), 1);
}

#[tokio::test]
async fn nobody_is_believed_to_have_it_but_somebody_has() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 1000);
    scene.nodes[2].place(&sample.key, sample.bytes.clone());
    let read = scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
    assert!(is_present(&scene, &sample.key).await.expect("an answer"));
}

#[tokio::test]
async fn it_is_absent_only_if_all_say_so() {
    let scene = Scene::of(3);
    let sample = Sample::secure(1, 1000);
    for believed in [false, true] {
        scene.ledger.claim(&sample.key, &node_uuid(1), believed);
        assert!(!is_present(&scene, &sample.key).await.expect("all said so"));
        let error = scene.get(&sample.key, Span::ALL).await.expect_err("nobody has it");
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        for unclear in 0..3 {
            scene.down(unclear);
            is_present(&scene, &sample.key).await.expect_err("one did not say");
            let error = scene.get(&sample.key, Span::ALL).await.expect_err("nobody has it");
            assert!(matches!(error, Error::Remote { .. }), "{error:?}");
            scene.nodes[unclear].heal();
        }
    }
}

#[tokio::test]
async fn one_yes_is_enough() {
    for has in 0..3 {
        let scene = Scene::of(3);
        let sample = Sample::secure(1, 1000);
        scene.give(has, &sample);
        for other in (0..3).filter(|&other| other != has) {
            scene.down(other);
        }
        assert!(is_present(&scene, &sample.key).await.expect("an answer"));
        assert_eq!(scene.asked(|_| true), [has], "the others need not be asked");
        let other = Sample::secure(2, 1000);
        scene.nodes[has].place(&other.key, other.bytes.clone());
        assert!(is_present(&scene, &other.key).await.expect("an answer"));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_not_waited_for() {
    let (scene, shaky, sample) = shaky();
    shaky[0].set_mood(Mood { hangs: true, ..Mood::default() });
    let begun = Instant::now();
    assert!(is_present(&scene, &sample.key).await.expect("an answer"));
    assert_eq!(begun.elapsed(), limits().hedge);
    scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(begun.elapsed(), limits().hedge * 2);
    assert_eq!(shaky[0].alive(), 0, "it is left alone");
    // If it is the only one that may have it, it is waited for, but not for ever.
    for node in [1, 2] {
        scene.nodes[node].remove(&asker(), &sample.key).await.expect("a removal");
    }
    let begun = Instant::now();
    is_present(&scene, &sample.key).await.expect_err("it does not say");
    assert!(begun.elapsed() <= limits().answer + limits().hedge * 3);
    assert_eq!(shaky[0].alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_goes_on_where_one_stopped() {
    for mishap in [Mishap::Killed, Mishap::Hangs] {
        for span in [Span::ALL, Span::starting_at(30_000), Span { from: 7, to: Some(90_000) }] {
            let (scene, shaky, sample) = shaky();
            shaky[0].set_mood(Mood { gets: Some((20_000, mishap)), ..Mood::default() });
            shaky[1].set_mood(Mood { gets: Some((1, mishap)), ..Mood::default() });
            let (from, len) = span.within(100_000);
            let content = scene.get(&sample.key, span).await.expect("content");
            assert_eq!((content.total, content.from, content.len), (100_000, from, len));
            let (bytes, verdict) = read(content).await.expect("all of it");
            let range = usize::try_from(from).unwrap()..usize::try_from(from + len).unwrap();
            assert!(bytes == sample.bytes.slice(range), "{mishap:?}, {span:?}");
            assert_eq!(verdict, Verdict::Valid);
            // Pieces have 16 KiB.
            let piece = 16 * 1024;
            assert_eq!(gets(&scene), [(0, from), (1, from + 2 * piece), (2, from + 3 * piece)]);
            assert!(shaky.iter().all(|shaky| shaky.alive() == 0));
        }
    }
}

#[tokio::test]
async fn parts_that_nobody_could_check_are_not_put_together() {
    let scene = Scene::of(2);
    let sample = Sample::unverifiable(1, 100_000);
    (0..2).for_each(|node| scene.give(node, &sample));
    let shaky = behind_shaky_ways(&scene);
    shaky[0].set_mood(Mood { gets: Some((20_000, Mishap::Killed)), ..Mood::default() });
    scene.read(&sample.key, Span::ALL).await.expect_err("it broke");
    assert_eq!(gets(&scene), [(0, 0)]);
    // Before the first byte nothing has to fit.
    let scene = Scene::of(2);
    (0..2).for_each(|node| scene.give(node, &sample));
    let shaky = behind_shaky_ways(&scene);
    shaky[0].set_mood(Mood { gets: Some((0, Mishap::Killed)), ..Mood::default() });
    let read = scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
}

/// Of a key that has no size, nodes of old versions say "nothing, and do not trust it".
#[tokio::test]
async fn nothing_that_is_doubtful_is_an_absence() {
    let sample = Sample::named("URL--http://example.com/x", Sample::secure(1, 500).bytes);
    let scene = Scene::of(2);
    (0..2).for_each(|node| scene.give(node, &sample));
    scene.nodes[0].place(&sample.key, Sample::secure(1, 0).bytes);
    scene.nodes[0].set_faults(|faults| faults.doubtful_gets = true);
    let read = scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(read, (sample.bytes.clone(), Verdict::Valid));
    scene.nodes[1].remove(&asker(), &sample.key).await.expect("a removal");
    let error = scene.get(&sample.key, Span::ALL).await.expect_err("nobody has it");
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_node_does_not_vouch_for_we_do_not() {
    let scene = Scene::of(2);
    let sample = Sample::secure(1, 50_000);
    (0..2).for_each(|node| scene.give(node, &sample));
    scene.nodes[0].set_faults(|faults| faults.doubtful_gets = true);
    let (_, verdict) = scene.read(&sample.key, Span::ALL).await.expect("content");
    assert_eq!(verdict, Verdict::Doubtful);
}

#[tokio::test(start_paused = true)]
async fn if_nobody_can_go_on_it_breaks_off() {
    let (scene, shaky, sample) = shaky();
    for shaky in &shaky {
        shaky.set_mood(Mood { gets: Some((20_000, Mishap::Killed)), ..Mood::default() });
    }
    scene.read(&sample.key, Span::ALL).await.expect_err("nobody goes on");
    let mut content = scene.get(&sample.key, Span::ALL).await.expect("content");
    let mut came = 0;
    let error = loop {
        match content.pieces.next().await {
            Some(Ok(Piece::Bytes(bytes))) => came += bytes.len(),
            Some(Err(error)) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(came < 100_000, "{error}");
    assert!(content.pieces.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_more_are_asked_at_once_than_allowed() {
    let scene = Scene::with(6, gannet_cluster::Limits { jobs: 2, ..limits() });
    let shaky = behind_shaky_ways(&scene);
    for shaky in &shaky {
        shaky.set_mood(Mood { slow: Duration::from_secs(5), ..Mood::default() });
    }
    let sample = Sample::secure(1, 10);
    let asking = is_present(&scene, &sample.key);
    let asker = asker();
    let removing = scene.cluster.remove(&asker, &sample.key);
    tokio::pin!(asking);
    for _ in 0..3 {
        assert!(timeout(Duration::from_secs(4), &mut asking).await.is_err());
        assert!(shaky.iter().map(Shaky::alive).sum::<usize>() <= 2);
    }
    assert!(!asking.await.expect("all said so"));
    tokio::pin!(removing);
    let mut most = 0;
    while timeout(Duration::from_secs(1), &mut removing).await.is_err() {
        most = most.max(shaky.iter().map(Shaky::alive).sum());
    }
    assert_eq!(most, 2);
}

#[tokio::test]
async fn dropping_content_frees_the_node() {
    let (scene, shaky, sample) = shaky();
    let mut content = scene.get(&sample.key, Span::ALL).await.expect("content");
    content.pieces.next().await.expect("a piece").expect("bytes");
    assert_eq!(scene.nodes[0].open_gets(), 1);
    drop(content);
    assert!(scene.is_quiet());
    assert_eq!(shaky[0].alive(), 0);
    scene.nodes[0].set_faults(is_down);
    scene.fail(1, Verb::Get, "broken");
    scene.read(&sample.key, Span::ALL).await.expect("content");
    assert!(scene.is_quiet());
}
