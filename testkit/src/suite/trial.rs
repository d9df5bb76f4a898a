//! A place on trial, and short words for what the tests do with it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Error, Key, Lock, Mode, PutOffset, Result, Span, Stored,
    Timestamp, Uuid, Verdict,
};

use crate::{Journey, Place, Sample, TestClock};

/// A place on trial.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) annex: Arc<dyn Annex>,
    pub(super) clock: Option<Arc<TestClock>>,
    pub(super) far: bool,
    pub(super) asker: Asker,
    pub(super) file: AssociatedFile,
}

impl Trial {
    pub(super) fn of(place: &dyn Place) -> Self {
        let client = Uuid::parse(b"57e2a000-0000-4000-8000-00000000a5ce").ok();
        Self {
            annex: place.annex(),
            clock: place.clock(),
            far: place.is_far(),
            asker: Asker { client, bypass: Vec::new(), mode: Mode::FULL },
            file: AssociatedFile(Bytes::from_static(b"some dir/a file.dat")),
        }
    }

    pub(super) async fn put(&self, key: &Key, content: Content) -> Result<Stored> {
        self.annex.put(&self.asker, key, &self.file, content).await
    }

    /// Puts a content that is bad in some way, and wants this error.
    pub(super) async fn put_fails(
        &self,
        key: &Key,
        journey: Journey,
        expected: impl FnOnce(&Error) -> bool,
    ) {
        match self.put(key, journey.content()).await {
            Ok(_) => panic!("{key} was stored"),
            Err(error) => assert!(self.far || expected(&error), "an unfitting error: {error:?}"),
        }
    }

    /// Puts all of a sample, and looks that it is there.
    pub(super) async fn store(&self, sample: &Sample) {
        self.put(&sample.key, sample.content(0)).await.expect("a put");
        self.has(sample).await;
    }

    /// Puts the rest of a sample from wherever the place wants it, and looks that it is there.
    ///
    /// Whoever went away before may still be believed to be busy for a moment.
    pub(super) async fn resume(&self, sample: &Sample) {
        self.resume_at(sample, u64::MAX).await;
    }

    /// The same, but from no later offset than `latest`.
    pub(super) async fn resume_at(&self, sample: &Sample, latest: u64) {
        eventually("the next put succeeds", async || {
            let from = match self.offset(&sample.key).await {
                PutOffset::From(from) => from.min(latest),
                PutOffset::AlreadyHave { .. } => return Some(()),
            };
            match self.put(&sample.key, sample.content(from)).await {
                Ok(_) => Some(()),
                Err(Error::Busy { .. }) => None,
                Err(_) if self.far => None,
                Err(error) => panic!("the next put fails: {error:?}"),
            }
        })
        .await;
        self.has(sample).await;
    }

    pub(super) async fn present(&self, key: &Key) -> bool {
        self.annex.check_present(&self.asker, key).await.expect("an answer about presence")
    }

    /// Looks that all of a sample is there.
    pub(super) async fn has(&self, sample: &Sample) {
        assert!(self.present(&sample.key).await, "{} is absent", sample.key);
        assert!(self.read(&sample.key, Span::ALL).await == sample.bytes, "other bytes were read");
        let offset = self.offset(&sample.key).await;
        assert!(matches!(offset, PutOffset::AlreadyHave { .. }), "{offset:?}");
    }

    /// Looks that nothing of `key` is to be seen, and that the offset for the next put is, or
    /// soon becomes, one of these.
    pub(super) async fn lacks(&self, key: &Key, offsets: RangeInclusive<u64>) {
        assert!(!self.present(key).await, "{key} is present");
        match self.annex.get(&self.asker, key, &self.file, Span::ALL).await {
            Ok(_) => panic!("{key} can be got"),
            Err(error) => assert!(self.far || matches!(error, Error::Missing { .. }), "{error:?}"),
        }
        assert!(self.lock(key).await.is_none(), "{key} can be locked");
        eventually("the offset is sane", async || match self.offset(key).await {
            PutOffset::From(from) if offsets.contains(&from) => Some(()),
            offset if self.far => {
                assert!(matches!(offset, PutOffset::From(_)), "{offset:?}");
                None
            }
            offset => panic!("{offset:?} is not in {offsets:?}"),
        })
        .await;
    }

    /// Waits until the next put would begin at one of these offsets.
    pub(super) async fn comes_to_lack(&self, key: &Key, offsets: RangeInclusive<u64>) {
        eventually("the offset is sane", async || match self.offset(key).await {
            PutOffset::From(from) => offsets.contains(&from).then_some(()),
            PutOffset::AlreadyHave { .. } => panic!("{key} is present"),
        })
        .await;
        assert!(!self.present(key).await, "{key} is present");
    }

    /// The offsets that may be told after `sent` good bytes: a transport may lose some of them.
    pub(super) fn up_to(&self, sent: u64) -> RangeInclusive<u64> {
        if self.far { 0..=sent } else { sent..=sent }
    }

    pub(super) async fn offset(&self, key: &Key) -> PutOffset {
        self.annex.put_offset(&self.asker, key, &self.file).await.expect("an offset")
    }

    pub(super) async fn open(&self, key: &Key, span: Span) -> Content {
        self.annex.get(&self.asker, key, &self.file, span).await.expect("content")
    }

    /// Reads a part to its end, which must be a good one.
    pub(super) async fn read(&self, key: &Key, span: Span) -> Bytes {
        let content = self.open(key, span).await;
        let len = content.len;
        let mut bytes = Vec::new();
        let verdict = content.pour(|piece| {
            bytes.extend_from_slice(&piece);
            Ok(())
        });
        assert_eq!(verdict.await.expect("all bytes"), Verdict::Valid);
        assert_eq!(bytes.len() as u64, len, "as long as announced");
        bytes.into()
    }

    pub(super) async fn remove(&self, key: &Key) -> bool {
        let removal = self.annex.remove(&self.asker, key).await.expect("a removal");
        removal.removed
    }

    pub(super) async fn remove_before(&self, key: &Key, deadline: Timestamp) -> bool {
        let removal = self.annex.remove_before(&self.asker, key, deadline).await;
        removal.expect("a removal").removed
    }

    pub(super) async fn timestamp(&self) -> Timestamp {
        self.annex.timestamp(&self.asker).await.expect("the time")
    }

    pub(super) async fn lock(&self, key: &Key) -> Option<Lock> {
        self.annex.lock(&self.asker, key).await.expect("an answer about a lock")
    }

    /// A lock on what is present.
    pub(super) async fn locked(&self, key: &Key) -> Lock {
        self.lock(key).await.expect("a lock")
    }
}

/// Asks again and again until there is an answer.
pub(super) async fn eventually<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(answer) = answer().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain: {what}");
}
