//! Proxies and clusters keep the promise.

use std::sync::Arc;

use gannet_cluster::Proxy;
use gannet_testkit::{Parts, Stern, TestClock, TestLedger, annex_keeps_its_promise};

use crate::scene::{Scene, described, gateway_uuid};

annex_keeps_its_promise!(proxy, proxy());

// A cluster cannot be locked: askers lock its nodes instead (proxy-cluster §6).
annex_keeps_its_promise!(cluster_of_one, cluster(1), except [
    a_lock_blocks_removal_until_it_is_released,
    a_lock_blocks_removal_before_a_deadline,
    two_locks_need_two_releases,
    a_dropped_lock_keeps_blocking,
    a_release_does_not_free_what_another_lock_retains,
    retention_ends_after_ten_minutes,
    a_held_lock_outlives_its_retention,
]);
annex_keeps_its_promise!(cluster_of_three, cluster(3), except [
    a_lock_blocks_removal_until_it_is_released,
    a_lock_blocks_removal_before_a_deadline,
    two_locks_need_two_releases,
    a_dropped_lock_keeps_blocking,
    a_release_does_not_free_what_another_lock_retains,
    retention_ends_after_ten_minutes,
    a_held_lock_outlives_its_retention,
]);

fn proxy() -> Parts {
    let stern = Stern::new();
    let clock = Arc::clone(stern.test_clock());
    let proxy = Proxy::new(
        described(&[stern]).remove(0),
        gateway_uuid(),
        TestLedger::new(),
        TestClock::new(),
    );
    Parts::new(Arc::new(proxy), Some(clock), ())
}

fn cluster(nodes: usize) -> Parts {
    let scene = Scene::of(nodes);
    Parts::new(scene.cluster.clone(), Some(scene.clock.clone()), scene)
}
