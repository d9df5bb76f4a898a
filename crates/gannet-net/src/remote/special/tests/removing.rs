//! Removals that take long, come too late, or break in the middle.

use super::*;

#[tokio::test]
async fn what_is_gone_is_never_said_to_be_refused() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(1000));
    let sample = Sample::secure(1, 4500);
    setting.put(&sample).await.unwrap();
    let clock = setting.clock();
    store.when_removed(move || clock.advance(120));
    // What it is not stored as, too, is to be removed, and comes after the deadline.
    assert!(setting.remove_soon(&sample.key).await.unwrap());
    assert_eq!(store.objects(), []);
}

#[tokio::test]
async fn what_is_still_there_in_another_form_is_refused() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(1000));
    let sample = Sample::secure(1, 4500);
    let elsewhere = Setting::over(store.clone(), None);
    elsewhere.put(&sample).await.unwrap();
    let other = Memory::new();
    Setting::over(other.clone(), Some(1000)).put(&sample).await.unwrap();
    store.copy_from(&other);
    setting.note(&sample.key, Chunks { bytes: bytes(1000), count: 5 }).await;
    let clock = setting.clock();
    store.when_removed(move || clock.advance(120));
    assert!(!setting.remove_soon(&sample.key).await.unwrap());
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes.clone(), Verdict::Valid));
    assert!(!setting.noted_as_gone(&sample.key));
    assert!(setting.remove(&sample.key).await.unwrap());
    assert_eq!(store.objects(), []);
}

#[tokio::test]
async fn chunks_that_were_only_claimed_are_not_looked_for_one_by_one() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), None);
    let sample = Sample::secure(1, 200_000);
    setting.put(&sample).await.unwrap();
    for size in 1..40 {
        setting.note(&sample.key, Chunks::of(200_000, bytes(size))).await;
    }
    assert!(setting.remove(&sample.key).await.unwrap());
    assert_eq!(store.objects(), []);
    assert!(store.asked("remove") < 100, "{}", store.asked("remove"));
}

#[tokio::test]
async fn a_removal_that_broke_is_brought_to_its_end() {
    for removals in [1, 2, 7, 49] {
        let store = Memory::new();
        let setting = Setting::over(store.clone(), Some(100));
        let sample = Sample::secure(1, 5000);
        setting.put(&sample).await.unwrap();
        // One more for the form in which it is not stored.
        store.fail_removals_after(removals + 1);
        assert!(setting.remove(&sample.key).await.is_err());
        assert_eq!(store.objects().len(), 50 - removals);
        assert!(setting.noted_as_gone(&sample.key), "nobody can read it any more");
        assert!(!setting.present(&sample.key).await);
        store.fail_removals_after(usize::MAX);
        assert!(setting.remove(&sample.key).await.unwrap());
        assert_eq!(store.objects(), []);
        assert_eq!(setting.noted(&sample.key).await, []);
    }
}
