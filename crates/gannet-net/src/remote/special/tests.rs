//! The promise over stores of several kinds, and what special remotes do besides.

use std::num::NonZeroU64;
use std::sync::Arc;

use gannet_core::{Annex, Chunks, Error, PutOffset, Span, Verdict};
use gannet_testkit::{Ending, Journey, Sample};

use super::*;

mod exclusion;
mod memory;
mod removing;
mod setting;

pub(crate) use memory::Memory;
pub(crate) use setting::{Setting, special_keeps_its_promise};

special_keeps_its_promise!(whole, Setting::over(Memory::new(), None).place());
special_keeps_its_promise!(chunked, Setting::over(Memory::new(), Some(7000)).place());
special_keeps_its_promise!(files, Setting::over_files(Memory::new(), None).place());
special_keeps_its_promise!(chunked_files, Setting::over_files(Memory::new(), Some(7000)).place());
special_keeps_its_promise!(without_sizes, Setting::over(Memory::vague(), None).place());
special_keeps_its_promise!(
    chunked_without_sizes,
    Setting::over(Memory::vague(), Some(9999)).place()
);

#[tokio::test]
async fn chunks_are_noted_once_they_are_all_there() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(4000));
    let sample = Sample::secure(1, 10_000);
    setting.put(&sample).await.unwrap();
    let expected = [(1, 4000), (2, 4000), (3, 2000)]
        .map(|(number, len)| (sample.key.chunk(bytes(4000), number), len));
    assert_eq!(store.objects(), expected);
    assert_eq!(setting.noted(&sample.key).await, [Chunks { bytes: bytes(4000), count: 3 }]);
    assert_eq!(setting.spooled(), 0);
    assert!(setting.remove(&sample.key).await.unwrap());
    assert_eq!(store.objects(), []);
    assert_eq!(setting.noted(&sample.key).await, []);
}

#[tokio::test]
async fn nothing_is_stored_before_it_is_verified() {
    for chunk in [None, Some(4000)] {
        let store = Memory::new();
        let setting = Setting::over(store.clone(), chunk);
        let sample = Sample::secure(1, 10_000);
        let others = Sample::secure(2, 10_000).bytes;
        let rejected = setting.send(&sample.key, Journey::of(&others, 0)).await;
        assert!(matches!(rejected, Err(Error::Rejected { .. })), "{rejected:?}");
        let broken = Journey::of(&sample.bytes, 0).cut(9000, Ending::Silence);
        assert!(matches!(setting.send(&sample.key, broken).await, Err(Error::Interrupted)));
        assert_eq!((store.objects(), store.asked("put")), (vec![], 0));
        assert_eq!(setting.spooled(), 1);
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_received() {
    let setting = Setting::over(Memory::new(), None);
    let sample = Sample::secure(1, 1000);
    let endless = Journey { len: u64::MAX / 2, ..Journey::of(&sample.bytes, 0) };
    let rejected = setting.send(&sample.key, endless).await;
    assert!(matches!(rejected, Err(Error::Rejected { .. })), "{rejected:?}");
}

#[tokio::test]
async fn a_put_goes_on_at_the_first_missing_chunk() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(1000));
    let sample = Sample::secure(1, 4500);
    store.fail_puts_after(2);
    assert!(matches!(setting.put(&sample).await, Err(Error::Remote { .. })));
    assert_eq!(store.asked("put"), 3);
    assert!(!setting.present(&sample.key).await, "not all chunks are there");
    let got = setting.get(&sample.key, Span::ALL).await;
    assert!(matches!(got, Err(Error::Missing { .. })), "{got:?}");
    // All bytes are here: none need to be sent again.
    assert_eq!(setting.offset(&sample.key).await, PutOffset::From(4500));
    store.fail_puts_after(usize::MAX);
    setting.send(&sample.key, Journey::of(&sample.bytes, 4500)).await.unwrap();
    assert_eq!(store.asked("put"), 3 + 3);
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    assert_eq!(setting.spooled(), 0);
}

#[tokio::test]
async fn a_part_is_read_without_the_rest() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(1000));
    let sample = Sample::secure(1, 4500);
    setting.put(&sample).await.unwrap();
    let span = Span { from: 2999, to: Some(3001) };
    let (bytes, verdict) = setting.read(&sample.key, span).await;
    assert_eq!((bytes, verdict), (sample.bytes.slice(2999..3001), Verdict::Valid));
    assert_eq!((store.asked("get"), store.sent()), (2, 2));
}

#[tokio::test]
async fn chunks_of_other_sizes_are_read_too() {
    let store = Memory::new();
    let [sample, whole, unnoted] = [1, 2, 3].map(|seed| Sample::secure(seed, 4500));
    let setting = Setting::over(store.clone(), Some(1000));
    setting.put(&sample).await.unwrap();
    setting.put(&unnoted).await.unwrap();
    let thousands = Chunks { bytes: bytes(1000), count: 5 };
    setting.note(&unnoted.key, Chunks { count: 0, ..thousands }).await;
    assert!(setting.present(&unnoted.key).await);
    assert_eq!(setting.noted(&unnoted.key).await, [thousands], "it is noted now");
    setting.reconfigure(None).put(&whole).await.unwrap();
    for chunk in [None, Some(1000), Some(777)] {
        let setting = setting.reconfigure(chunk);
        for sample in [&sample, &whole, &unnoted] {
            assert!(setting.present(&sample.key).await);
            let (bytes, verdict) = setting.read(&sample.key, Span::ALL).await;
            assert!(bytes == sample.bytes && verdict == Verdict::Valid);
        }
    }
    let setting = setting.reconfigure(Some(777));
    for sample in [sample, whole, unnoted] {
        assert!(setting.remove(&sample.key).await.unwrap());
        assert!(!setting.present(&sample.key).await);
    }
    assert_eq!(store.objects(), []);
}

#[tokio::test]
async fn what_was_damaged_is_doubtful() {
    for chunk in [None, Some(1000)] {
        let store = Memory::new();
        let setting = Setting::over(store.clone(), chunk);
        let sample = Sample::secure(1, 4500);
        setting.put(&sample).await.unwrap();
        store.damage();
        assert_eq!(setting.read(&sample.key, Span::ALL).await.1, Verdict::Doubtful);
        store.shorten();
        assert!(!setting.present(&sample.key).await, "its size tells");
        setting.put(&sample).await.unwrap();
        assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    }
}

#[tokio::test]
async fn chunks_are_no_contents_of_their_own() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(1000));
    let sample = Sample::secure(1, 4500);
    setting.put(&sample).await.unwrap();
    let chunk = sample.key.chunk(bytes(1000), 2);
    let objects = store.objects();
    let (annex, asker, file) = (setting.annex(), setting.asker(), AssociatedFile::default());
    assert!(!setting.present(&chunk).await);
    let got = setting.get(&chunk, Span::ALL).await;
    assert!(matches!(got, Err(Error::Missing { .. })), "{got:?}");
    let removed = annex.remove(&asker, &chunk).await;
    assert!(matches!(removed, Err(Error::Refused { .. })), "{removed:?}");
    let offset = annex.put_offset(&asker, &chunk, &file).await;
    assert!(matches!(offset, Err(Error::Refused { .. })), "{offset:?}");
    let put = setting.send(&chunk, Journey::of(&sample.bytes, 0)).await;
    assert!(matches!(put, Err(Error::Refused { .. })), "{put:?}");
    assert_eq!(store.objects(), objects);
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
}

#[tokio::test]
async fn a_readonly_remote_is_only_read() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), None);
    let [sample, other] = [1, 2].map(|seed| Sample::secure(seed, 4500));
    setting.put(&sample).await.unwrap();
    let setting = setting.readonly();
    let refused = |error: Error| {
        assert_eq!(error.to_string(), "this remote is readonly");
    };
    refused(setting.put(&other).await.unwrap_err());
    refused(setting.remove(&sample.key).await.unwrap_err());
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    assert_eq!(store.objects().len(), 1);
}

#[tokio::test]
async fn an_error_is_never_absent() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), None);
    let sample = Sample::secure(1, 4500);
    store.break_down();
    let annex = setting.annex();
    let asker = setting.asker();
    assert!(annex.check_present(&asker, &sample.key).await.is_err());
    let got = setting.get(&sample.key, Span::ALL).await;
    assert!(matches!(got, Err(Error::Remote { .. })), "{got:?}");
    assert!(setting.put(&sample).await.is_err());
    assert!(setting.remove(&sample.key).await.is_err());
}

#[tokio::test]
async fn the_spool_has_its_bounds() {
    let setting = Setting::with_spool(Memory::new(), 10_000);
    let no_space = |result: Result<Stored>| assert!(matches!(result, Err(Error::NoSpace { .. })));
    no_space(setting.put(&Sample::secure(1, 10_001)).await);
    let [small, large] = [Sample::secure(1, 4000), Sample::secure(2, 9000)];
    let gate = gannet_testkit::Gate::closed();
    let stuck = Journey::of(&small.bytes, 0).cut(1000, Ending::Stuck(Arc::clone(&gate)));
    let putting = setting.send(&small.key, stuck);
    tokio::pin!(putting);
    tokio::select! {
        _ = &mut putting => panic!("it cannot end"),
        () = gate.pass() => {}
    }
    no_space(setting.put(&large).await);
    let setting = Setting::with_reserve(Memory::new(), u64::MAX / 2);
    no_space(setting.put(&Sample::secure(1, 1)).await);
}

#[tokio::test]
async fn what_a_crash_left_is_tidied_up() {
    let setting = Setting::over(Memory::new(), None);
    let sample = Sample::secure(1, 4500);
    let broken = Journey::of(&sample.bytes, 0).cut(3000, Ending::Silence);
    setting.send(&sample.key, broken).await.unwrap_err();
    setting.set_wall_seconds(0);
    let left = setting.spool_dir().join("work.1.1");
    std::fs::create_dir_all(left.join("7")).unwrap();
    std::fs::write(left.join("7/left"), "left").unwrap();
    let again = setting.reopen();
    assert!(!left.exists());
    assert_eq!(again.offset(&sample.key).await, PutOffset::From(3000));
    // The other process is still there, and so is its work.
    let works = std::fs::read_dir(setting.spool_dir()).unwrap().flatten();
    assert_eq!(works.filter(|it| it.file_name().to_string_lossy().starts_with("work.")).count(), 2);
    setting.set_wall_seconds(5_000_000_000);
    assert_eq!(setting.reopen().offset(&sample.key).await, PutOffset::From(0));
}

#[tokio::test]
async fn readers_of_one_file_share_it() {
    let store = Memory::new();
    let setting = Setting::over_files(store.clone(), None);
    let sample = Sample::secure(1, 1_000_000);
    setting.put(&sample).await.unwrap();
    let mut first = setting.get(&sample.key, Span::ALL).await.unwrap();
    assert_eq!((store.asked("get"), setting.spooled()), (0, 0), "nobody reads yet");
    first.pieces.next().await.unwrap().unwrap();
    let reads = (0..5).map(|_| setting.read(&sample.key, Span::starting_at(900_000)));
    for (bytes, verdict) in futures_util::future::join_all(reads).await {
        assert!(bytes == sample.bytes.slice(900_000..) && verdict == Verdict::Valid);
    }
    assert_eq!((store.asked("get"), setting.spooled()), (1, 1));
    drop(first);
    setting.comes_to_spool(0).await;
    store.damage();
    let damaged = setting.get(&sample.key, Span::starting_at(900_000)).await.unwrap();
    let rejected = damaged.pour(|_| panic!("nobody sees a byte of it")).await;
    assert!(matches!(rejected, Err(Error::Rejected { .. })), "{rejected:?}");
    setting.comes_to_spool(0).await;
}

fn bytes(bytes: u64) -> NonZeroU64 {
    NonZeroU64::new(bytes).unwrap()
}
