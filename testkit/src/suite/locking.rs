//! What is locked stays, and what was locked stays for a while.

use super::trial::{Trial, eventually};
use crate::{Place, Sample};

/// There is no lock on what is not there, nor does asking for one leave anything.
pub async fn absent_content_cannot_be_locked(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    assert!(trial.lock(&sample.key).await.is_none());
    trial.store(&sample).await;
    assert!(trial.remove(&sample.key).await, "nothing retains it");
    assert!(trial.lock(&sample.key).await.is_none());
    trial.lacks(&sample.key, 0..=0).await;
}

/// While a lock is kept nobody removes the content; once it is released, anybody can.
pub async fn a_lock_blocks_removal_until_it_is_released(place: &dyn Place) {
    let trial = Trial::of(place);
    let [sample, other] = [Sample::secure(1, 1000), Sample::secure(2, 1000)];
    trial.store(&sample).await;
    trial.store(&other).await;
    let lock = trial.locked(&sample.key).await;
    for _ in 0..2 {
        assert!(!trial.remove(&sample.key).await, "it is locked");
        trial.has(&sample).await;
    }
    assert!(trial.remove(&other.key).await, "another key is not locked");
    trial.put(&sample.key, sample.content(0)).await.expect("a put of what is locked");
    lock.release().await.expect("a release");
    assert!(trial.remove(&sample.key).await);
    trial.lacks(&sample.key, 0..=0).await;
}

/// A lock counts however much time there is until a deadline.
pub async fn a_lock_blocks_removal_before_a_deadline(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    let lock = trial.locked(&sample.key).await;
    let deadline = trial.timestamp().await.plus(100);
    assert!(!trial.remove_before(&sample.key, deadline).await, "it is locked");
    trial.has(&sample).await;
    lock.release().await.expect("a release");
    assert!(trial.remove_before(&sample.key, deadline).await);
    trial.lacks(&sample.key, 0..=0).await;
}

/// Locks are shared: the content stays until each of them was released, in whatever order.
pub async fn two_locks_need_two_releases(place: &dyn Place) {
    let trial = Trial::of(place);
    for later_first in [false, true] {
        let sample = Sample::secure(1, 1000);
        trial.store(&sample).await;
        let mut locks = [trial.locked(&sample.key).await, trial.locked(&sample.key).await];
        if later_first {
            locks.reverse();
        }
        for lock in locks {
            assert!(!trial.remove(&sample.key).await, "it is locked");
            trial.has(&sample).await;
            lock.release().await.expect("a release");
        }
        assert!(trial.remove(&sample.key).await);
        trial.lacks(&sample.key, 0..=0).await;
    }
}

/// A lock whose holder vanished still counts: the holder may have relied on it.
pub async fn a_dropped_lock_keeps_blocking(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    drop(trial.locked(&sample.key).await);
    for _ in 0..5 {
        assert!(!trial.remove(&sample.key).await, "it is retained");
        tokio::task::yield_now().await;
    }
    let deadline = trial.timestamp().await.plus(100);
    assert!(!trial.remove_before(&sample.key, deadline).await, "it is retained");
    trial.has(&sample).await;
    drop(trial.locked(&sample.key).await);
    trial.has(&sample).await;
}

/// Whoever releases his own lock does not release what another's dropped lock retains.
pub async fn a_release_does_not_free_what_another_lock_retains(place: &dyn Place) {
    let trial = Trial::of(place);
    for (seed, later_dropped) in [(1, false), (2, true)] {
        let sample = Sample::secure(seed, 1000);
        trial.store(&sample).await;
        let mut locks = [trial.locked(&sample.key).await, trial.locked(&sample.key).await];
        if later_dropped {
            locks.reverse();
        }
        let [dropped, released] = locks;
        drop(dropped);
        released.release().await.expect("a release");
        assert!(!trial.remove(&sample.key).await, "it is retained");
        trial.has(&sample).await;
    }
}

/// What a dropped lock retains is free ten minutes after the lock was taken, or a minute later:
/// the holder's clock may have started a round trip after ours (p2p-http §4.3).
pub async fn retention_ends_after_ten_minutes(place: &dyn Place) {
    let trial = Trial::of(place);
    let Some(clock) = &trial.clock else { return };
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    let lock = trial.locked(&sample.key).await;
    clock.advance(300);
    drop(lock);
    clock.advance(299);
    assert!(!trial.remove(&sample.key).await, "it is retained");
    trial.has(&sample).await;
    clock.advance(1 + 60 + 1);
    eventually("the content is free", async || trial.remove(&sample.key).await.then_some(())).await;
    trial.lacks(&sample.key, 0..=0).await;
}

/// A lock that is kept holds for as long as it is kept.
pub async fn a_held_lock_outlives_its_retention(place: &dyn Place) {
    let trial = Trial::of(place);
    let Some(clock) = &trial.clock else { return };
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    let lock = trial.locked(&sample.key).await;
    clock.advance(86_400);
    assert!(!trial.remove(&sample.key).await, "it is locked");
    trial.has(&sample).await;
    lock.release().await.expect("a release");
    assert!(trial.remove(&sample.key).await);
    trial.lacks(&sample.key, 0..=0).await;
}
