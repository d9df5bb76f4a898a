//! What came of a broken put is not lost, unless nobody could tell whether it is right.

use gannet_core::{Error, PutOffset};

use super::trial::{Trial, eventually};
use crate::{Ending, Gate, Journey, Place, Sample};

/// Asking where a put should begin does not begin one.
pub async fn asking_for_the_offset_changes_nothing(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 50_000);
    for _ in 0..3 {
        assert_eq!(trial.offset(&sample.key).await, PutOffset::From(0));
    }
    trial.lacks(&sample.key, 0..=0).await;
    breaks_at(&trial, &sample, 0, 20_000).await;
    for _ in 0..3 {
        trial.lacks(&sample.key, trial.up_to(20_000)).await;
    }
    trial.resume(&sample).await;
}

/// A put that broke goes on where it broke.
pub async fn a_broken_put_is_resumed(place: &dyn Place) {
    let trial = Trial::of(place);
    let bytes = Sample::secure(1, 50_000).bytes;
    for sample in [
        Sample::secure(1, 50_000),
        Sample::hashed("SHA1", "", bytes.clone()),
        Sample::hashed("XXH3E", ".txt", bytes),
    ] {
        breaks_at(&trial, &sample, 0, 20_000).await;
        trial.lacks(&sample.key, trial.up_to(20_000)).await;
        trial.resume(&sample).await;
    }
}

/// A put may begin below the offset that it was told, also at the very start.
pub async fn a_put_may_resume_below_its_offset(place: &dyn Place) {
    let trial = Trial::of(place);
    for (seed, from) in [(1, 0), (2, 1), (3, 9_999)] {
        let sample = Sample::secure(seed, 50_000);
        breaks_at(&trial, &sample, 0, 20_000).await;
        trial.resume_at(&sample, from).await;
    }
}

/// A put may break as often as it will: at the start, before the end, with nothing gained.
pub async fn a_put_may_break_again_and_again(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 50_000);
    for until in [0, 1, 1, 7_001, 20_000, 49_999] {
        let PutOffset::From(from) = trial.offset(&sample.key).await else {
            panic!("it is not here");
        };
        breaks_at(&trial, &sample, from, until).await;
        trial.lacks(&sample.key, trial.up_to(until)).await;
    }
    trial.resume(&sample).await;
}

/// Bytes that an earlier put left are trusted no more than those that follow.
pub async fn a_bad_beginning_is_found_out(place: &dyn Place) {
    let trial = Trial::of(place);
    let sample = Sample::secure(1, 50_000);
    let others = Sample::secure(99, 50_000).bytes;
    let broken = Journey::of(&others, 0).cut(20_000, Ending::Silence);
    trial.put_fails(&sample.key, broken, interrupted).await;
    trial.lacks(&sample.key, trial.up_to(20_000)).await;
    // A far place may still be keeping what came when the next put begins.
    eventually("the bad beginning is dropped", async || {
        let PutOffset::From(from) = trial.offset(&sample.key).await else {
            panic!("it is not here");
        };
        trial.put(&sample.key, Journey::of(&sample.bytes, from).content()).await.ok()
    })
    .await;
    trial.has(&sample).await;
}

/// What could never be verified is not kept for resuming.
pub async fn an_unverifiable_key_keeps_no_partial_content(place: &dyn Place) {
    let trial = Trial::of(place);
    for sample in [
        Sample::unverifiable(1, 50_000),
        Sample::named("URL--http://example.com/part", Sample::secure(1, 50_000).bytes),
    ] {
        let broken = Journey::of(&sample.bytes, 0).cut(20_000, Ending::Silence);
        trial.put_fails(&sample.key, broken, interrupted).await;
        trial.lacks(&sample.key, 0..=0).await;
        trial.resume(&sample).await;
    }
}

/// A put whose future was dropped goes on later, and blocks nobody.
pub async fn a_dropped_put_is_resumed(place: &dyn Place) {
    let trial = Trial::of(place);
    for (seed, sent) in [(1, 0), (2, 20_000), (3, 50_000)] {
        let sample = Sample::secure(seed, 50_000);
        is_dropped_at(&trial, &sample, sent).await;
        trial.comes_to_lack(&sample.key, trial.up_to(sent)).await;
        trial.resume(&sample).await;
    }
}

/// A put of an unverifiable key whose future was dropped leaves nothing, and blocks nobody.
pub async fn a_dropped_put_of_an_unverifiable_key_leaves_nothing(place: &dyn Place) {
    let trial = Trial::of(place);
    for (seed, sent) in [(1, 0), (2, 20_000), (3, 49_999)] {
        let sample = Sample::unverifiable(seed, 50_000);
        is_dropped_at(&trial, &sample, sent).await;
        trial.comes_to_lack(&sample.key, 0..=0).await;
        trial.resume(&sample).await;
    }
}

/// Puts the bytes of a sample from `from`, but no more than up to `until`.
async fn breaks_at(trial: &Trial, sample: &Sample, from: u64, until: u64) {
    let sent = until.saturating_sub(from);
    let broken = Journey::of(&sample.bytes, from).cut(sent, Ending::Silence);
    trial.put_fails(&sample.key, broken, interrupted).await;
}

/// Puts the first `sent` bytes of a sample, and drops the future when it waits for more.
async fn is_dropped_at(trial: &Trial, sample: &Sample, sent: u64) {
    let gate = Gate::closed();
    let stuck = Journey::of(&sample.bytes, 0).cut(sent, Ending::Stuck(gate.clone()));
    tokio::select! {
        result = trial.put(&sample.key, stuck.content()) => panic!("it cannot end: {result:?}"),
        () = gate.pass() => {}
    }
}

fn interrupted(error: &Error) -> bool {
    matches!(error, Error::Interrupted)
}
