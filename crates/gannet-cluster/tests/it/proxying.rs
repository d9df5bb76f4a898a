//! One node under its own uuid (proxy-cluster §6).

use std::sync::Arc;
use std::time::Duration;

use gannet_cluster::{Node, Proxy};
use gannet_core::{Annex, Asker, AssociatedFile, Clock, Error, PutOffset, Removal, Timestamp};
use gannet_testkit::{Asked, Ending, Gate, Journey, Sample, Stern, TestClock, TestLedger, Verb};

use crate::scene::{asker, described, gateway_uuid, node_uuid, remote, uuid, without_nodes};
use crate::shaky::{Mood, Shaky};

struct Scene {
    proxy: Proxy,
    stern: Stern,
    way: Shaky,
    ledger: Arc<TestLedger>,
    clock: Arc<TestClock>,
    sample: Sample,
    file: AssociatedFile,
}

fn scene() -> Scene {
    of(false)
}

fn of(read_only: bool) -> Scene {
    let stern = Stern::new();
    let way = Shaky::new(stern.clone());
    let ledger = TestLedger::new();
    let node = described(std::slice::from_ref(&stern)).remove(0);
    let node = Node { read_only, annex: Arc::new(way.clone()), ..node };
    let clock = TestClock::new();
    let proxy = Proxy::new(node, gateway_uuid(), ledger.clone(), clock.clone());
    let (sample, file) = (Sample::secure(1, 50_000), AssociatedFile::default());
    Scene { proxy, stern, way, ledger, clock, sample, file }
}

impl Scene {
    async fn put(&self) -> Result<(), Error> {
        let content = self.sample.content(0);
        self.proxy.put(&asker(), &self.sample.key, &self.file, content).await.map(drop)
    }

    fn is_recorded(&self) -> bool {
        self.ledger.holders(&self.sample.key).contains(self.stern.uuid())
    }
}

#[tokio::test]
async fn what_the_node_took_and_dropped_is_recorded() {
    let scene = scene();
    assert_eq!(scene.proxy.uuid(), scene.stern.uuid());
    scene.put().await.expect("a put");
    assert!(scene.is_recorded());
    let removal = scene.proxy.remove(&asker(), &scene.sample.key).await;
    assert_eq!(removal.expect("a removal"), Removal::done());
    assert!(!scene.is_recorded());
    // What it had before is, too, once somebody finds out.
    for way in 0..3 {
        scene.stern.place(&scene.sample.key, scene.sample.bytes.clone());
        let (key, file) = (&scene.sample.key, &scene.file);
        match way {
            0 => {
                let offset = scene.proxy.put_offset(&asker(), key, file).await;
                let have = PutOffset::AlreadyHave { plus: vec![] };
                assert_eq!(offset.expect("an answer"), have);
            }
            1 => scene.put().await.expect("a put"),
            _ => drop(scene.proxy.put_present(&asker(), key, file).await.expect("it is there")),
        }
        assert!(scene.is_recorded(), "{way}");
        let deadline = scene.proxy.timestamp(&asker()).await.expect("the time").plus(1);
        let removal = scene.proxy.remove_before(&asker(), key, deadline).await;
        assert!(removal.expect("a removal").removed);
        assert!(!scene.is_recorded(), "{way}");
    }
    assert_eq!((scene.stern.open_puts(), scene.stern.open_gets()), (0, 0));
}

#[tokio::test]
async fn what_did_not_happen_is_not_recorded() {
    let scene = scene();
    let key = &scene.sample.key;
    for journey in [
        Journey::of(&scene.sample.bytes, 0).cut(7, Ending::Silence),
        Journey::of(&Sample::secure(2, 50_000).bytes, 0),
    ] {
        let put = scene.proxy.put(&asker(), key, &scene.file, journey.content()).await;
        put.expect_err("it is not right");
    }
    scene.stern.set_faults(|faults| faults.fail(Verb::Put, || remote("no route")));
    scene.put().await.expect_err("it fails");
    assert_eq!(scene.ledger.recorded(), []);
    scene.stern.heal();
    scene.put().await.expect("a put");
    let _lock = scene.proxy.lock(&asker(), key).await.expect("an answer").expect("a lock");
    let removal = scene.proxy.remove(&asker(), key).await;
    assert_eq!(removal.expect("an answer"), Removal::refused());
    scene.stern.set_faults(|faults| faults.fail(Verb::Remove, || remote("no route")));
    scene.proxy.remove(&asker(), key).await.expect_err("it fails");
    assert!(scene.is_recorded());
}

#[tokio::test]
async fn the_nodes_own_clock_is_told_and_meant() {
    let scene = scene();
    scene.stern.test_clock().set_boot(Timestamp { seconds: 77 });
    let now = scene.proxy.timestamp(&asker()).await.expect("the time");
    assert_eq!(now, scene.stern.test_clock().boot());
    let key = &scene.sample.key;
    let removal = scene.proxy.remove_before(&asker(), key, now.plus(5)).await;
    removal.expect("an answer");
    let asked = scene.stern.asked().into_iter().map(|(_, asked)| asked);
    let deadline = Timestamp { seconds: 82 };
    assert_eq!(asked.last(), Some(Asked::RemoveBefore(key.clone(), deadline)));
}

#[tokio::test]
async fn where_deadlines_are_not_known_ours_is_looked_at() {
    let scene = scene();
    scene.put().await.expect("a put");
    scene.stern.set_faults(|faults| {
        faults.fail(Verb::Timestamp, || Error::Unsupported("too old".to_owned()));
        faults.fail(Verb::RemoveBefore, || Error::Unsupported("too old".to_owned()));
    });
    let key = &scene.sample.key;
    let deadline = scene.proxy.timestamp(&asker()).await.expect("the time").plus(5);
    assert_eq!(deadline, scene.clock.boot().plus(5));
    scene.clock.advance(5);
    let removal = scene.proxy.remove_before(&asker(), key, deadline).await;
    assert_eq!(removal.expect("an answer"), Removal::refused());
    assert!(scene.is_recorded() && scene.stern.content_of(key).is_some());
    let removal = scene.proxy.remove_before(&asker(), key, deadline.plus(2)).await;
    assert_eq!(removal.expect("a removal"), Removal::done());
    assert!(!scene.is_recorded() && scene.stern.content_of(key).is_none());
}

#[tokio::test]
async fn those_behind_the_node_are_recorded_but_never_the_gateway() {
    let sterns = [node_uuid(1), gateway_uuid()].map(|uuid| Stern::with(uuid, TestClock::new()));
    let behind = uuid("6a7e0000-0000-4000-8000-000000000009");
    let inner = without_nodes(behind, TestLedger::new());
    inner.set_nodes(&described(&sterns));
    let ledger = TestLedger::new();
    let node = Node { annex: Arc::new(inner), ..described(&[Stern::new()]).remove(0) };
    let proxied = node.uuid.clone();
    let proxy = Proxy::new(node, gateway_uuid(), ledger.clone(), TestClock::new());
    let sample = Sample::secure(1, 100);
    let file = AssociatedFile::default();
    proxy.put(&asker(), &sample.key, &file, sample.content(0)).await.expect("a put");
    assert_eq!(ledger.holders(&sample.key), [node_uuid(1), proxied].into());
    ledger.claim(&sample.key, &gateway_uuid(), true);
    let removal = proxy.remove(&asker(), &sample.key).await.expect("a removal");
    assert_eq!(removal.plus, [node_uuid(1), gateway_uuid()], "what it said");
    assert_eq!(ledger.holders(&sample.key), [gateway_uuid()].into());
}

#[tokio::test]
async fn nothing_is_written_where_nothing_may_be() {
    let scene = of(true);
    let (key, file) = (&scene.sample.key, &scene.file);
    scene.stern.place(key, scene.sample.bytes.clone());
    let forbidden = |error: &Error| matches!(error, Error::Forbidden { .. });
    assert!(forbidden(&scene.put().await.expect_err("read only")));
    let deadline = Timestamp { seconds: u64::MAX };
    for error in [
        scene.proxy.put_offset(&asker(), key, file).await.err(),
        scene.proxy.put_present(&asker(), key, file).await.err(),
        scene.proxy.remove(&asker(), key).await.err(),
        scene.proxy.remove_before(&asker(), key, deadline).await.err(),
    ] {
        assert!(error.as_ref().is_some_and(forbidden), "{error:?}");
    }
    assert_eq!(scene.stern.asked(), []);
    assert!(scene.proxy.check_present(&asker(), key).await.expect("an answer"));
}

#[tokio::test]
async fn the_node_sees_which_gateways_were_passed() {
    let scene = scene();
    let before = uuid("90000000-0000-4000-8000-000000000000");
    let far = Asker { bypass: vec![before.clone()], ..asker() };
    scene.proxy.check_present(&far, &scene.sample.key).await.expect("an answer");
    let (seen, _) = scene.stern.asked().remove(0);
    assert_eq!(seen.bypass, [gateway_uuid(), before]);
    assert_eq!(seen.client, Some(gateway_uuid()));
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_was_begun_is_recorded_though_nobody_waits() {
    let scene = scene();
    scene.put().await.expect("a put");
    scene.way.set_mood(Mood { slow: Duration::from_secs(5), ..Mood::default() });
    let asker = asker();
    let removing = scene.proxy.remove(&asker, &scene.sample.key);
    assert!(tokio::time::timeout(Duration::from_secs(7), removing).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(scene.stern.content_of(&scene.sample.key).is_none());
    assert!(!scene.is_recorded());
}

/// What happens to a key at the node is recorded in the order in which it happened.
#[tokio::test]
async fn a_removal_during_a_put_does_not_confuse_the_record() {
    let scene = scene();
    let gate = Gate::closed();
    let stuck = Journey::of(&scene.sample.bytes, 0).cut(20_000, Ending::Stuck(Arc::clone(&gate)));
    let asker = asker();
    let put = scene.proxy.put(&asker, &scene.sample.key, &scene.file, stuck.content());
    let removal = async {
        gate.pass().await;
        // It does not wait for the put, which may take its time.
        scene.proxy.remove(&asker, &scene.sample.key).await
    };
    tokio::select! {
        _ = put => panic!("it cannot end"),
        removal = removal => assert!(removal.expect("a removal").removed),
    }
    assert!(!scene.is_recorded());
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_while_it_was_said_to_be_there_is_not_stored() {
    let scene = scene();
    scene.put().await.expect("a put");
    scene.way.set_mood(Mood { slow: Duration::from_secs(1), ..Mood::default() });
    let (put, ()) = tokio::join!(scene.put(), async {
        // The node has said that it has it, but that has not arrived yet.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        scene.way.set_mood(Mood::default());
        scene.proxy.remove(&asker(), &scene.sample.key).await.expect("a removal");
    });
    let error = put.expect_err("it was there, and is no more");
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(!scene.is_recorded());
}
