//! What is removed is gone, and is removed only in time.

use gannet_core::Timestamp;

use super::trial::Trial;
use crate::{Place, Sample};

/// Removing what is not there is done already.
pub async fn absent_content_counts_as_removed(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    assert!(trial.remove(&sample.key).await);
    let deadline = trial.timestamp().await.plus(100);
    assert!(trial.remove_before(&sample.key, deadline).await);
    trial.lacks(&sample.key, 0..=0).await;
}

/// What is removed is gone, nothing else is, and it can be put again.
pub async fn removed_content_is_gone_and_can_come_back(place: &dyn Place) {
    let trial = Trial::of(place);
    let [sample, other] = [Sample::secure(1, 50_000), Sample::unverifiable(1, 50_000)];
    trial.store(&sample).await;
    trial.store(&other).await;
    for _ in 0..2 {
        assert!(trial.remove(&sample.key).await);
        trial.lacks(&sample.key, 0..=0).await;
        assert!(trial.remove(&sample.key).await);
        trial.has(&other).await;
        trial.store(&sample).await;
    }
}

/// The clock of deadlines goes forward only, and at the pace of the place's own clock.
pub async fn the_clock_does_not_go_back(place: &dyn Place) {
    let trial = Trial::of(place);
    let first = trial.timestamp().await;
    let second = trial.timestamp().await;
    assert!(second >= first);
    if let Some(clock) = &trial.clock {
        clock.advance(17);
        assert_eq!(trial.timestamp().await, second.plus(17));
    }
}

/// Before its deadline content is removed, after it not.
pub async fn content_is_removed_before_its_deadline_only(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    let now = trial.timestamp().await;
    for late in [0, 1, now.seconds - 1] {
        let deadline = Timestamp { seconds: late };
        assert!(!trial.remove_before(&sample.key, deadline).await, "{deadline:?} is over");
        trial.has(&sample).await;
    }
    assert!(trial.remove_before(&sample.key, now.plus(100)).await);
    trial.lacks(&sample.key, 0..=0).await;
}

/// At the very second of the deadline it is too late.
pub async fn the_deadline_itself_is_too_late(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 1000);
    trial.store(&sample).await;
    let deadline = trial.timestamp().await;
    assert!(!trial.remove_before(&sample.key, deadline).await);
    trial.has(&sample).await;
    if let Some(clock) = &trial.clock {
        let deadline = trial.timestamp().await.plus(5);
        clock.advance(5);
        assert!(!trial.remove_before(&sample.key, deadline).await);
        clock.advance(1);
        assert!(!trial.remove_before(&sample.key, deadline).await);
        trial.has(&sample).await;
        let deadline = trial.timestamp().await.plus(5);
        clock.advance(4);
        assert!(trial.remove_before(&sample.key, deadline).await);
        trial.lacks(&sample.key, 0..=0).await;
    }
}
