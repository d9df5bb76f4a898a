//! The suite finds out places that keep all promises but one.
#![expect(clippy::unwrap_used, reason = "this is test code, though not all of it in tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, future, stream};
use gannet_core::{
    Annex, Asker, AssociatedFile, Content, Held, Key, Lock, Piece, PutOffset, Removal, Result,
    Span, Stored, Timestamp, Uuid, Verdict,
};
use gannet_testkit::{Place, Stern, TestClock, suite};

/// Which promise is not kept.
#[derive(Clone, Copy, PartialEq)]
enum Lax {
    Nowhere,
    BelievesDoubtful,
    BelievesSilence,
    CutsSurplus,
    CutsShort,
    StoresWhatever,
    ReadsForNothing,
    IgnoresEnd,
    AnnouncesWrongly,
    SeesAbsent,
    SeesPresent,
    ForgetsPartial,
    OffsetTooHigh,
    LocksAir,
    LocksAbsent,
    DropReleases,
    NeverReleases,
    DeadlineIncluded,
    DeadlineIgnored,
    AbsentIsNotRemoved,
    RemovesNothing,
    VouchesForNothing,
    ClockOfItsOwn,
}

macro_rules! found_out {
    ($($lax:ident by $($promise:ident),+;)+) => {$(
        #[test]
        #[expect(non_snake_case, reason = "named after the variants")]
        fn $lax() {
            $(assert!(
                breaks(Lax::$lax, |place| suite::$promise(place).boxed_local()),
                "{} did not find it", stringify!($promise),
            );)+
        }
    )+};
}

found_out! {
    BelievesDoubtful by doubtful_content_is_not_stored;
    BelievesSilence by an_unverifiable_key_is_stored_whole_or_not_at_all;
    CutsSurplus by surplus_bytes_leave_nothing_visible;
    CutsShort by a_wrong_size_leaves_nothing;
    StoresWhatever by wrong_bytes_leave_nothing, a_wrong_size_leaves_nothing;
    ReadsForNothing by present_content_is_not_read_again;
    IgnoresEnd by any_part_can_be_got;
    AnnouncesWrongly by what_is_put_is_got, opening_tells_the_size;
    SeesAbsent by nothing_is_there_at_first, removed_content_is_gone_and_can_come_back;
    SeesPresent by what_is_put_is_got, empty_content_is_content;
    ForgetsPartial by a_broken_put_is_resumed, a_put_may_break_again_and_again;
    OffsetTooHigh by nothing_is_there_at_first, an_unverifiable_key_keeps_no_partial_content;
    LocksAir by a_lock_blocks_removal_until_it_is_released, two_locks_need_two_releases,
        a_lock_blocks_removal_before_a_deadline, a_held_lock_outlives_its_retention;
    LocksAbsent by absent_content_cannot_be_locked;
    DropReleases by a_dropped_lock_keeps_blocking, retention_ends_after_ten_minutes,
        a_release_does_not_free_what_another_lock_retains;
    NeverReleases by a_lock_blocks_removal_until_it_is_released, two_locks_need_two_releases;
    DeadlineIncluded by the_deadline_itself_is_too_late;
    DeadlineIgnored by content_is_removed_before_its_deadline_only;
    AbsentIsNotRemoved by absent_content_counts_as_removed;
    RemovesNothing by removed_content_is_gone_and_can_come_back;
    VouchesForNothing by content_that_came_another_way_is_vouched_for;
    ClockOfItsOwn by the_clock_does_not_go_back;
}

#[test]
fn without_a_laxity_nothing_is_found() {
    assert!(!breaks(Lax::Nowhere, |place| suite::what_is_put_is_got(place).boxed_local()));
}

fn breaks(
    lax: Lax,
    promise: impl for<'a> FnOnce(&'a dyn Place) -> future::LocalBoxFuture<'a, ()>,
) -> bool {
    let place = LaxPlace { lax, stern: Stern::new() };
    catch_unwind(AssertUnwindSafe(|| suite::run(promise(&place)))).is_err()
}

#[derive(Clone)]
struct LaxPlace {
    lax: Lax,
    stern: Stern,
}

impl LaxPlace {
    fn is(&self, lax: Lax) -> bool {
        self.lax == lax
    }
}

impl Place for LaxPlace {
    fn annex(&self) -> Arc<dyn Annex> {
        Arc::new(self.clone())
    }
    fn clock(&self) -> Option<Arc<TestClock>> {
        self.stern.clock()
    }
}

impl std::fmt::Display for LaxPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lax place")
    }
}

#[async_trait]
impl Annex for LaxPlace {
    fn uuid(&self) -> &Uuid {
        self.stern.uuid()
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        let present = self.stern.check_present(asker, key).await?;
        Ok((present || self.is(Lax::SeesAbsent)) && !self.is(Lax::SeesPresent))
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        let to = span.to.filter(|_| !self.is(Lax::IgnoresEnd));
        let mut content = self.stern.get(asker, key, file, Span { to, ..span }).await?;
        if self.is(Lax::AnnouncesWrongly) {
            content.len += 1;
        }
        Ok(content)
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        Ok(match self.stern.put_offset(asker, key, file).await? {
            PutOffset::From(_) if self.is(Lax::ForgetsPartial) => PutOffset::From(0),
            PutOffset::From(from) if self.is(Lax::OffsetTooHigh) => PutOffset::From(from + 1),
            offset => offset,
        })
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        let content = match self.lax {
            Lax::BelievesDoubtful => believing(content),
            Lax::BelievesSilence => ended(content),
            Lax::CutsSurplus | Lax::CutsShort => self.cut(key, content).await?,
            Lax::ReadsForNothing => {
                let mut content = content;
                let first = content.pieces.next().await;
                let pieces = stream::iter(first).chain(content.pieces).boxed();
                Content { pieces, ..content }
            }
            _ => content,
        };
        if self.is(Lax::StoresWhatever) && self.stern.content_of(key).is_none() {
            let mut bytes = Vec::new();
            content
                .pour(|piece| {
                    bytes.extend_from_slice(&piece);
                    Ok(())
                })
                .await?;
            self.stern.place(key, bytes.into());
            return Ok(Stored::default());
        }
        self.stern.put(asker, key, file, content).await
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        if self.is(Lax::VouchesForNothing) {
            return Ok(Stored::default());
        }
        self.stern.put_present(asker, key, file).await
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        match self.lax {
            Lax::RemovesNothing => Ok(Removal::done()),
            Lax::AbsentIsNotRemoved if self.stern.content_of(key).is_none() => {
                Ok(Removal::refused())
            }
            _ => self.stern.remove(asker, key).await,
        }
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        match self.lax {
            Lax::DeadlineIncluded => self.stern.remove_before(asker, key, deadline.plus(1)).await,
            Lax::DeadlineIgnored => self.stern.remove(asker, key).await,
            _ => self.stern.remove_before(asker, key, deadline).await,
        }
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        if self.is(Lax::ClockOfItsOwn) {
            return Ok(Timestamp { seconds: 5 });
        }
        self.stern.timestamp(asker).await
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        let lock = self.stern.lock(asker, key).await?;
        Ok(match (self.lax, lock) {
            (Lax::LocksAbsent, None) => Some(Lock::new(Air)),
            (Lax::LocksAir, Some(lock)) => {
                lock.release().await?;
                Some(Lock::new(Air))
            }
            (Lax::DropReleases, Some(lock)) => Some(Lock::new(Loose(Some(lock)))),
            (Lax::NeverReleases, Some(lock)) => {
                drop(lock);
                Some(Lock::new(Air))
            }
            (_, lock) => lock,
        })
    }
}

impl LaxPlace {
    /// The content without what is more than announced, or announced as what it should be.
    async fn cut(&self, key: &Key, mut content: Content) -> Result<Content> {
        let mut bytes = Vec::new();
        while let Some(Piece::Bytes(piece)) = content.pieces.next().await.transpose()? {
            bytes.extend_from_slice(&piece);
        }
        bytes.truncate(usize::try_from(content.len).unwrap());
        if self.is(Lax::CutsShort) {
            self.stern.place(key, bytes.clone().into());
        }
        Ok(Content { from: content.from, ..Content::whole(bytes.into()) })
    }
}

/// Every end is a good one.
fn believing(content: Content) -> Content {
    let pieces = content.pieces.map(|piece| {
        Ok(match piece? {
            Piece::End(_) => Piece::End(Verdict::Valid),
            piece => piece,
        })
    });
    Content { pieces: pieces.boxed(), ..content }
}

/// No end is an end.
fn ended(content: Content) -> Content {
    let pieces = content.pieces.chain(stream::iter([Ok(Piece::End(Verdict::Valid))]));
    Content { pieces: pieces.boxed(), ..content }
}

struct Air;

#[async_trait]
impl Held for Air {
    async fn release(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Loose(Option<Lock>);

#[async_trait]
impl Held for Loose {
    async fn release(mut self: Box<Self>) -> Result<()> {
        self.0.take().unwrap().release().await
    }
}

impl Drop for Loose {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.release().now_or_never().unwrap().unwrap();
        }
    }
}
