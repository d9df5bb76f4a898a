//! Puts and removals of one key, through several processes that share a spool.

use gannet_testkit::{Ending, Gate, Journey, Sample};

use super::*;

/// A remote, how it looks to another process, and where its objects are.
struct Two {
    store: Memory,
    ours: Setting,
    theirs: Setting,
    sample: Sample,
}

/// With chunks and without, given as streams and as files.
fn settings() -> impl Iterator<Item = Two> {
    [(None, false), (None, true), (Some(1000), false), (Some(1000), true)].into_iter().map(
        |(chunk, files)| {
            let store = Memory::new();
            let ours = match files {
                true => Setting::over_files(store.clone(), chunk),
                false => Setting::over(store.clone(), chunk),
            };
            let theirs = ours.reopen();
            Two { store, ours, theirs, sample: Sample::secure(1, 4500) }
        },
    )
}

impl Two {
    /// The name of the last object of the content.
    fn last(&self) -> Key {
        match self.ours.annex().options.chunk {
            Some(chunk) => self.sample.key.chunk(chunk, 5),
            None => self.sample.key.clone(),
        }
    }

    /// What one process may not do while the other is at work.
    async fn is_busy(&self, setting: &Setting) {
        let removed = setting.remove(&self.sample.key).await;
        assert!(matches!(removed, Err(Error::Busy { .. })), "{removed:?}");
        let put = setting.put(&self.sample).await;
        assert!(matches!(put, Err(Error::Busy { .. })), "{put:?}");
    }

    async fn is_whole(&self) {
        for setting in [&self.ours, &self.theirs] {
            let (bytes, verdict) = setting.read(&self.sample.key, Span::ALL).await;
            assert!(bytes == self.sample.bytes && verdict == Verdict::Valid);
        }
        assert_eq!(self.ours.spooled(), 0);
    }

    async fn is_gone(&self) {
        assert_eq!(self.store.objects(), []);
        assert_eq!(self.ours.noted(&self.sample.key).await, []);
        assert_eq!(self.ours.spooled(), 0);
    }
}

#[tokio::test]
async fn nobody_removes_what_another_process_is_storing() {
    for two in settings() {
        let pause = two.store.pause("put", two.last());
        let meanwhile = async {
            pause.reached.pass().await;
            two.is_busy(&two.theirs).await;
            pause.leave.open();
        };
        let (put, ()) = tokio::join!(two.ours.put(&two.sample), meanwhile);
        put.unwrap();
        two.is_whole().await;
        assert!(two.theirs.remove(&two.sample.key).await.unwrap());
        two.is_gone().await;
    }
}

#[tokio::test]
async fn nobody_removes_what_another_process_is_receiving() {
    for two in settings() {
        let gate = Gate::closed();
        let stuck = Journey::of(&two.sample.bytes, 0).cut(3000, Ending::Stuck(Arc::clone(&gate)));
        {
            let putting = two.ours.send(&two.sample.key, stuck);
            tokio::pin!(putting);
            tokio::select! {
                _ = &mut putting => panic!("it cannot end"),
                () = gate.pass() => {}
            }
            two.is_busy(&two.theirs).await;
        }
        // Once it is over what came is there to be resumed, or removed.
        two.ours.comes_to_spool(1).await;
        assert_eq!(two.theirs.offset(&two.sample.key).await, PutOffset::From(3000));
        assert!(two.theirs.remove(&two.sample.key).await.unwrap());
        two.is_gone().await;
    }
}

#[tokio::test]
async fn nobody_stores_what_another_process_is_removing() {
    for two in settings() {
        two.ours.put(&two.sample).await.unwrap();
        let pause = two.store.pause("remove", two.last());
        let meanwhile = async {
            pause.reached.pass().await;
            let removed = two.theirs.remove(&two.sample.key).await;
            assert!(matches!(removed, Err(Error::Busy { .. })), "{removed:?}");
            // What is complete still may be said to be.
            if !two.theirs.present(&two.sample.key).await {
                two.is_busy(&two.theirs).await;
            }
            pause.leave.open();
        };
        let (removed, ()) = tokio::join!(two.ours.remove(&two.sample.key), meanwhile);
        assert!(removed.unwrap());
        two.is_gone().await;
        two.theirs.put(&two.sample).await.unwrap();
        two.is_whole().await;
    }
}

#[tokio::test]
async fn a_removal_that_is_given_up_leaves_what_was_received() {
    for two in settings() {
        let journey = Journey::of(&two.sample.bytes, 0).cut(3000, Ending::Silence);
        two.ours.send(&two.sample.key, journey).await.unwrap_err();
        let too_late = Timestamp { seconds: 0 };
        let (annex, asker) = (two.theirs.annex(), two.theirs.asker());
        let refused = annex.remove_before(&asker, &two.sample.key, too_late);
        assert!(!refused.await.unwrap().removed);
        assert_eq!(two.ours.offset(&two.sample.key).await, PutOffset::From(3000));
        two.store.break_down();
        let unsent = Sample::secure(2, 4500);
        for sample in [&two.sample, &unsent] {
            two.theirs.remove(&sample.key).await.unwrap_err();
        }
        assert_eq!(two.ours.spooled(), 1, "nothing else is left");
    }
}

#[tokio::test]
async fn chunks_that_somebody_removed_meanwhile_are_not_counted() {
    let store = Memory::new();
    let setting = Setting::over(store.clone(), Some(1000));
    let sample = Sample::secure(1, 4500);
    store.fail_puts_after(2);
    setting.put(&sample).await.unwrap_err();
    store.fail_puts_after(usize::MAX);
    let pause = store.pause("put", sample.key.chunk(bytes(1000), 4));
    let stranger = async {
        pause.reached.pass().await;
        store.forget(&sample.key.chunk(bytes(1000), 1));
        pause.leave.open();
    };
    let rest = Journey::of(&sample.bytes, 4500);
    let (put, ()) = tokio::join!(setting.send(&sample.key, rest), stranger);
    assert!(matches!(put, Err(Error::Remote { .. })), "{put:?}");
    assert_eq!(setting.noted(&sample.key).await, []);
    assert!(!setting.present(&sample.key).await);
    // All bytes are here still.
    setting.send(&sample.key, Journey::of(&sample.bytes, 4500)).await.unwrap();
    assert_eq!(setting.read(&sample.key, Span::ALL).await, (sample.bytes, Verdict::Valid));
    assert_eq!(setting.spooled(), 0);
}
