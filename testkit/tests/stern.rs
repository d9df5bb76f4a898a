//! What [`Stern`] does beyond the promise: it remembers, it counts, and it has faults when told.
#![expect(clippy::unwrap_used, reason = "this is test code, though not all of it in tests")]

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Mode, Piece, PutOffset, Result, Span, Verdict,
};
use gannet_testkit::{Asked, Ending, Gate, Journey, Sample, Stern, Verb};

#[tokio::test]
async fn it_remembers_what_it_was_asked_and_by_whom() {
    let (stern, sample) = stored(100).await;
    let Sample { key, .. } = sample;
    let span = Span { from: 3, to: Some(7) };
    let other = Asker::with_mode(Mode::READ_ONLY);
    stern.get(&other, &key, &file(), span).await.unwrap();
    stern.remove(&asker(), &key).await.unwrap();
    let put = Asked::Put { key: key.clone(), file: file(), from: 0, len: 100 };
    assert_eq!(
        stern.asked(),
        [
            (asker(), put),
            (other, Asked::Get(key.clone(), file(), span)),
            (asker(), Asked::Remove(key)),
        ]
    );
}

#[tokio::test]
async fn a_verb_fails_until_it_is_healed() {
    let (stern, sample) = stored(100).await;
    stern.set_faults(|faults| faults.fail(Verb::CheckPresent, || Error::Stalled));
    for _ in 0..2 {
        let answer = stern.check_present(&asker(), &sample.key).await;
        assert!(matches!(answer, Err(Error::Stalled)), "{answer:?}");
    }
    get(&stern, &sample).await.unwrap();
    stern.heal();
    assert!(stern.check_present(&asker(), &sample.key).await.unwrap());
}

#[tokio::test]
async fn gets_can_be_doubtful_or_cut() {
    let (stern, sample) = stored(40_000).await;
    stern.set_faults(|faults| faults.doubtful_gets = true);
    assert_eq!(get(&stern, &sample).await.unwrap(), (sample.bytes.clone(), Verdict::Doubtful));
    for cut in [0, 1, 16_384, 39_999, 40_000] {
        stern.set_faults(|faults| faults.cut_gets_after = Some(cut));
        let content = stern.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
        assert_eq!(content.len, 40_000);
        let pieces: Vec<_> = content.pieces.map(Result::unwrap).collect().await;
        let len: usize = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Bytes(bytes) => bytes.len(),
                Piece::End(_) => panic!("it must end in silence"),
            })
            .sum();
        assert_eq!(len as u64, cut);
        assert!(matches!(get(&stern, &sample).await, Err(Error::Interrupted)));
    }
}

#[tokio::test]
async fn a_gate_holds_back_each_piece() {
    let (stern, sample) = stored(30_000).await;
    let gate = Gate::closed();
    stern.set_faults(|faults| {
        faults.gate = Some(Arc::clone(&gate));
        faults.piece_bytes = 10_000;
    });
    let mut content = stern.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
    for _ in 0..3 {
        assert!(content.pieces.next().now_or_never().is_none());
        gate.let_through(1);
        let piece = content.pieces.next().await.unwrap().unwrap();
        assert!(matches!(piece, Piece::Bytes(bytes) if bytes.len() == 10_000));
    }
    assert!(content.pieces.next().now_or_never().is_none());
    gate.open();
    assert_eq!(content.pieces.next().await.unwrap().unwrap(), Piece::End(Verdict::Valid));
    assert!(content.pieces.next().await.is_none());
}

#[tokio::test]
async fn it_counts_what_is_open() {
    let (stern, sample) = stored(100).await;
    let counts = || (stern.open_gets(), stern.open_puts(), stern.kept_locks());
    assert_eq!(counts(), (0, 0, 0));
    let content = stern.get(&asker(), &sample.key, &file(), Span::ALL).await.unwrap();
    let lock = stern.lock(&asker(), &sample.key).await.unwrap().unwrap();
    let other = Sample::secure(2, 100);
    let stuck = Journey::of(&other.bytes, 0).ending(Ending::Stuck(Gate::closed())).content();
    let (asker, file) = (asker(), file());
    let mut put = stern.put(&asker, &other.key, &file, stuck);
    assert!((&mut put).now_or_never().is_none());
    assert_eq!(counts(), (1, 1, 1));
    drop((content, put));
    assert_eq!(counts(), (0, 0, 1));
    lock.release().await.unwrap();
    assert_eq!(counts(), (0, 0, 0));
    assert_eq!(stern.partial_of(&other.key), other.bytes);
}

#[tokio::test]
async fn during_a_put_another_is_refused_and_told_to_begin_at_the_start() {
    let stern = Stern::new();
    let sample = Sample::secure(1, 100);
    let stuck = Journey::of(&sample.bytes, 0).cut(50, Ending::Stuck(Gate::closed())).content();
    let (asker, file) = (asker(), file());
    let mut put = stern.put(&asker, &sample.key, &file, stuck);
    assert!((&mut put).now_or_never().is_none());
    let offset = stern.put_offset(&asker, &sample.key, &file).await.unwrap();
    assert_eq!(offset, PutOffset::From(0));
    let second = stern.put(&asker, &sample.key, &file, sample.content(0)).await;
    assert!(matches!(second, Err(Error::Busy { .. })), "{second:?}");
}

#[tokio::test]
async fn an_empty_piece_is_somebodys_mistake() {
    let stern = Stern::new();
    let sample = Sample::secure(1, 0);
    let pieces = [Piece::Bytes(Bytes::new()), Piece::End(Verdict::Valid)].map(Ok);
    let pieces = stream::iter(pieces).boxed();
    let content = Content { total: 0, from: 0, len: 0, pieces };
    let answer = stern.put(&asker(), &sample.key, &file(), content).await;
    assert!(matches!(answer, Err(Error::Internal(_))), "{answer:?}");
}

#[tokio::test]
async fn keys_that_no_repository_can_store_are_refused() {
    let stern = Stern::new();
    let sample = Sample::named("WORM--a\nb", Bytes::new());
    let answer = stern.put(&asker(), &sample.key, &file(), sample.content(0)).await;
    assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
    let answer = stern.put_offset(&asker(), &sample.key, &file()).await;
    assert!(matches!(answer, Err(Error::Refused { .. })), "{answer:?}");
}

async fn stored(len: usize) -> (Stern, Sample) {
    let (stern, sample) = (Stern::new(), Sample::secure(1, len));
    stern.put(&asker(), &sample.key, &file(), sample.content(0)).await.unwrap();
    (stern, sample)
}

async fn get(stern: &Stern, sample: &Sample) -> Result<(Bytes, Verdict)> {
    let content = stern.get(&asker(), &sample.key, &file(), Span::ALL).await?;
    let mut bytes = Vec::new();
    let verdict = content.pour(|piece| {
        bytes.extend_from_slice(&piece);
        Ok(())
    });
    let verdict = verdict.await?;
    Ok((bytes.into(), verdict))
}

fn asker() -> Asker {
    Asker::with_mode(Mode::FULL)
}

fn file() -> AssociatedFile {
    AssociatedFile(Bytes::from_static(b"a file"))
}
