//! What is not as promised is not stored.

use gannet_core::{Error, Verdict};

use super::trial::Trial;
use crate::content::slice;
use crate::{Ending, Journey, Place, Sample};

/// Bytes that do not match the key's hash leave nothing behind, and the next put succeeds.
pub async fn wrong_bytes_leave_nothing(place: &dyn Place) {
    let trial = Trial::of(place);
    let others = Sample::secure(99, 50_000).bytes;
    let right = Sample::secure(1, 50_000).bytes;
    for sample in [
        Sample::secure(1, 50_000),
        Sample::hashed("MD5E", ".txt", right.clone()),
        Sample::hashed("XXH3", "", right),
    ] {
        trial.put_fails(&sample.key, Journey::of(&others, 0), rejected).await;
        trial.lacks(&sample.key, 0..=0).await;
        trial.resume(&sample).await;
    }
}

/// A content that is complete, but not as long as the key says, leaves nothing behind.
pub async fn a_wrong_size_leaves_nothing(place: &dyn Place) {
    let trial = Trial::of(place);
    for sample in [Sample::secure(1, 50_000), Sample::unverifiable(1, 50_000)] {
        let longer = [&sample.bytes[..], b"x"].concat().into();
        for bytes in [slice(&sample.bytes, 0, 49_999), slice(&sample.bytes, 0, 0), longer] {
            trial.put_fails(&sample.key, Journey::of(&bytes, 0), rejected).await;
            trial.lacks(&sample.key, 0..=0).await;
        }
        trial.resume(&sample).await;
    }
}

/// More bytes than announced make the put fail, even if those announced were right.
pub async fn surplus_bytes_leave_nothing_visible(place: &dyn Place) {
    let trial = Trial::of(place);
    for (sample, most) in
        [(Sample::secure(1, 50_000), 50_000), (Sample::unverifiable(1, 50_000), 0)]
    {
        let surplus = |piece_bytes| {
            let sends = [&sample.bytes[..], b"surplus"].concat().into();
            Journey { sends, piece_bytes, ..Journey::of(&sample.bytes, 0) }
        };
        // In a piece of its own, and together with what was announced.
        for piece_bytes in [50_000, 60_000] {
            let wrong_length = |error: &_| matches!(error, Error::WrongLength);
            trial.put_fails(&sample.key, surplus(piece_bytes), wrong_length).await;
            trial.lacks(&sample.key, 0..=most).await;
        }
        trial.resume(&sample).await;
    }
}

/// Content that its sender does not vouch for is not stored, even if it looks right.
pub async fn doubtful_content_is_not_stored(place: &dyn Place) {
    let trial = Trial::of(place);
    for (sample, most) in [
        (Sample::secure(1, 50_000), 49_999),
        (Sample::unverifiable(1, 50_000), 0),
        (Sample::named("URL--http://example.com/doubtful", Sample::secure(2, 50_000).bytes), 0),
        (Sample::unverifiable(2, 1), 0),
    ] {
        let doubtful = || Journey::of(&sample.bytes, 0).ending(Ending::Verdict(Verdict::Doubtful));
        trial.put_fails(&sample.key, doubtful(), |error| matches!(error, Error::Doubtful)).await;
        // A transport can only say so by a missing byte, like a line that broke.
        trial.lacks(&sample.key, 0..=if trial.far { most } else { 0 }).await;
        trial.resume(&sample).await;
    }
}

/// A put that begins beyond what is held is refused, and harms nothing.
pub async fn a_gap_is_refused(place: &dyn Place) {
    let trial = Trial::of(place);
    let gap = |held| move |error: &_| matches!(*error, Error::WrongOffset { held: told, .. } if told == held);
    for sample in [Sample::secure(1, 50_000), Sample::unverifiable(1, 50_000)] {
        for from in [1, 25_000, 50_000] {
            trial.put_fails(&sample.key, Journey::of(&sample.bytes, from), gap(0)).await;
            trial.lacks(&sample.key, 0..=0).await;
        }
    }
    let sample = Sample::secure(2, 50_000);
    let broken = Journey::of(&sample.bytes, 0).cut(20_000, Ending::Silence);
    trial.put_fails(&sample.key, broken, |_| true).await;
    trial.lacks(&sample.key, trial.up_to(20_000)).await;
    trial.put_fails(&sample.key, Journey::of(&sample.bytes, 20_001), gap(20_000)).await;
    trial.lacks(&sample.key, trial.up_to(20_000)).await;
    trial.resume(&sample).await;
    let unsized_key = Sample::named("URL--http://example.com/gap", sample.bytes);
    trial.put_fails(&unsized_key.key, Journey::of(&unsized_key.bytes, 9), gap(0)).await;
    trial.lacks(&unsized_key.key, 0..=0).await;
    trial.resume(&unsized_key).await;
}

/// Where no hash can tell, nothing but a complete and valid content is stored.
pub async fn an_unverifiable_key_is_stored_whole_or_not_at_all(place: &dyn Place) {
    let trial = Trial::of(place);
    let bytes = Sample::secure(1, 50_000).bytes;
    for sample in [
        Sample::named("WORM-s50000-m1--x", bytes.clone()),
        Sample::named("URL-s50000--http://example.com/x", bytes.clone()),
        Sample::named("URL--http://example.com/x", bytes.clone()),
        Sample::named("NOBODYKNOWS--x", bytes),
    ] {
        for sent in [0, 1, 49_999, 50_000] {
            for ending in [Ending::Silence, Ending::Broken] {
                let journey = Journey::of(&sample.bytes, 0).cut(sent, ending);
                // All bytes without a verdict: a transport cannot tell that from success.
                if trial.far && sent == 50_000 {
                    continue;
                }
                let interrupted = |error: &_| matches!(error, Error::Interrupted);
                trial.put_fails(&sample.key, journey, interrupted).await;
                trial.lacks(&sample.key, 0..=0).await;
            }
        }
        trial.resume(&sample).await;
    }
}

fn rejected(error: &Error) -> bool {
    matches!(error, Error::Rejected { .. })
}
